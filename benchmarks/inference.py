"""How fast is detection, post-processing included, beside torchvision's detectors?

    python benchmarks/inference.py [--rounds 7] [--device cuda] [--candidates 4000]

Ours and theirs as side_by_side.py makes them equal, with the paper's test settings: score over
0.05, 1000 pairs a level, NMS at 0.6 (0.5 for RetinaNet), 100 detections. Weights are random, so the
classification bias is shifted until as many (anchor, class) pairs of an image pass the threshold as
--candidates says, in ours and in theirs. Timed are the whole and the post-processing alone. On a
CPU, times are those of one thread's computing. Writes inference.json and inference.md.
"""

import argparse
from collections.abc import Callable
from functools import partial

import pages
import torch
from side_by_side import (
    CLASSES,
    DEVICES,
    as_text,
    asked,
    in_turns,
    milliseconds,
    normal_batch,
    peak_bytes,
    ratio,
    torchvision_detector,
)
from stages import Setting
from torch import Tensor, nn
from torchvision.models.detection import FCOS as TheirFCOS
from torchvision.models.detection import RetinaNet as TheirRetinaNet

from detector.config import DetectorConfig
from detector.detector import Detector, build_detector
from detector.postprocess import Postprocess
from experiments import TABLES
from experiments.baselines import ATSS, FCOS

SCORE, PER_LEVEL, MOST = 0.05, 1000, 100
PAIRS: dict[str, tuple[DetectorConfig, type[nn.Module], float]] = {  # ours, theirs, NMS
    "FCOS": (FCOS, TheirFCOS, 0.6),
    "ATSS": (ATSS, TheirFCOS, 0.6),
    "RetinaNet, #A=9": (TABLES["table7"].rows[0].config, TheirRetinaNet, 0.5),
}


def build(config: DetectorConfig, theirs: type[nn.Module], nms: float) -> dict[str, nn.Module]:
    """Ours and theirs, of one backbone; classes differ from one another from the start."""
    torch.manual_seed(0)
    settings = Postprocess(SCORE, PER_LEVEL, nms, MOST)
    ours = build_detector(config, CLASSES, postprocess=settings)
    test = {"score_thresh": SCORE, "nms_thresh": nms}
    test |= {"detections_per_img": MOST, "topk_candidates": PER_LEVEL}
    pair = {"ours": ours, "theirs": torchvision_detector(theirs, ours.backbone, **test)}
    for model in pair.values():
        torch.nn.init.normal_(logits_of(model).weight, std=0.03)
    return pair


def logits_of(model: nn.Module) -> nn.Conv2d:
    """The convolution that predicts classes."""
    name = "head.cls_logits"
    if not isinstance(model, Detector):
        name = "head.classification_head.cls_logits"
    found = model.get_submodule(name)
    assert isinstance(found, nn.Conv2d)
    return found


def shift_to(model: nn.Module, images: Tensor, candidates: int) -> float:
    """Change the bias until that many pairs an image pass; how many do."""
    if isinstance(model, Detector):
        logits, least = model(images).cls_logits, torch.tensor(SCORE)  # [B, A, C], probability
    else:
        outputs = model.head(list(model.backbone(images).values()))
        logits, least = outputs["cls_logits"], torch.tensor(SCORE)
        if "bbox_ctrness" in outputs:  # theirs asks it of the score, ours of the probability
            least = (SCORE**2 / outputs["bbox_ctrness"].sigmoid()).clamp(max=1)  # [B, A, 1]
    needed = least.logit().to(logits) - logits
    shift = needed.flatten().kthvalue(candidates * len(images)).values
    bias = logits_of(model).bias
    assert bias is not None
    bias += shift
    return int((needed < shift).sum()) / len(images)


def post_processing(model: nn.Module, images: Tensor) -> Callable[[], object]:
    """What comes after the network, alone."""
    if isinstance(model, Detector):
        size, sizes = images.shape[2:], [tuple(images.shape[2:])] * len(images)
        found, after = model(images), model.postprocess
        return lambda: after(found, model.anchors(*size), model.coder, sizes, model.score)
    features = list(model.backbone(images).values())
    outputs = model.head(features)
    per_location = outputs["cls_logits"].shape[1] // sum(f[0, 0].numel() for f in features)
    counts = [level[0, 0].numel() * per_location for level in features]
    split = {name: list(value.split(counts, dim=1)) for name, value in outputs.items()}
    batch, _ = model.transform(images)

    def work() -> object:
        anchors = [list(one.split(counts)) for one in model.anchor_generator(batch, features)]
        return model.postprocess_detections(split, anchors, batch.image_sizes)

    return work


@torch.no_grad()
def measure(name: str, images: Tensor, given: argparse.Namespace) -> dict[str, object]:
    """Both of a pair, in turns."""
    setting = Setting("bf16" if given.bf16 else "fp32", compiled=given.compiled)
    pair = {n: m.eval().to(given.device) for n, m in build(*PAIRS[name]).items()}
    pairs = {n: shift_to(model, images, given.candidates) for n, model in pair.items()}
    whole = {
        n: partial(m.detect if isinstance(m, Detector) else m, images)
        for n, m in ((n, setting.apply(m)) for n, m in pair.items())
    }
    with setting.autocast(given.device):
        found = {n: sum(len(one["scores"]) for one in work()) for n, work in whole.items()}
        times = in_turns(whole, given.rounds, given.device)
        works = {n: post_processing(m, images) for n, m in pair.items()}
        after = in_turns(works, 3 * given.rounds, given.device)
        memory = {n: peak_bytes(work, given.device) / 1e6 for n, work in whole.items()}
    return {
        "candidates": pairs,
        "detections": {n: count / len(images) for n, count in found.items()},
        "ms": milliseconds(times),
        "ratio": ratio(times["ours"], times["theirs"]),
        "post-processing, ms": milliseconds(after),
        "post-processing, ratio": ratio(after["ours"], after["theirs"]),
        "memory, MB": memory,
    }


def markdown(found: dict[str, dict], given: argparse.Namespace, where: str) -> str:
    """The page, without its last section, which is written by hand."""
    rows = []
    for name, values in found.items():
        for label, unit, digits in (
            ("candidates", "pairs over the threshold, an image", 0),
            ("detections", "detections, an image", 0),
            ("ms", "all, ms", 1),
            ("post-processing, ms", "post-processing, ms", 1),
            ("memory, MB", "memory, MB", 0),
        ):
            both = [f"{values[label][n]:.{digits}f}" for n in ("ours", "theirs")]
            share = as_text(values[label.replace("ms", "ratio")]) if "ms" in label else ""
            rows.append([name, unit, *both, share])
    unmeasured = ["On a GPU (16 x 800 x 1344): not measured: no GPU."]
    return pages.page(
        f"inference.py --device {given.device}",
        "Detection beside torchvision's",
        f"{given.batch} images of {given.height} x {given.width} pixels, {given.rounds} rounds in "
        f"turns; {where}.\n"
        f"Score over {SCORE}, {PER_LEVEL} pairs a level, NMS at 0.6 (RetinaNet 0.5), {MOST} "
        "detections. A ratio over 1: ours is faster.",
        pages.table("||ours:|torchvision:|torchvision / ours", rows),
        *(unmeasured if given.device == "cpu" else []),
    )


def main() -> None:
    """Measure, print and write the page."""
    sizes = {"batch": 0, "height": 0, "width": 0}
    how = {"candidates": 4000, "bf16": False, "compiled": False}
    given = asked(pages.options(__doc__, device=DEVICES, rounds=7, **sizes, **how))
    images = normal_batch(given.batch, (given.height, given.width), given.device)
    found = {name: measure(name, images, given) for name in PAIRS}
    where = pages.machine(given.device)
    stem = "inference" if given.device == "cpu" else "inference_cuda"
    pages.write(given.out, stem, {"where": where} | found, markdown(found, given, where))


if __name__ == "__main__":
    main()
