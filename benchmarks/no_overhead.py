"""Does ATSS cost anything (Sec. 4.2: "no overhead")? Each pair of rows, with and without it.

    python benchmarks/no_overhead.py [--rounds 15] [--device cuda] [--height 800 --width 1344]

A row with ATSS and the same row without are built as for Table 3 and given the same weights. What
must be equal is compared exactly (parameters, FLOPs of the forward pass, detections); time, which
never is, by the ratio of neighbouring measurements in one interleaved run. Selecting the samples is
timed as well: that is what differs, in training only. Writes no_overhead.json and no_overhead.md.
"""

from collections.abc import Callable
from functools import partial

import pages
import torch
from side_by_side import (
    CLASSES,
    DEVICES,
    asked,
    in_turns,
    made_up_targets,
    milliseconds,
    normal_batch,
    ratio,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from detector.config import DetectorConfig
from detector.detector import Detector, build_detector
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET

PAIRS = {
    "RetinaNet (#A=1)": (IMPROVED_RETINANET, ATSS),
    "FCOS": (FCOS, FCOS_ATSS),
}
OBJECTS = 10  # where samples are selected
LOGIT = -3.5  # the classification bias: a few percent of the scores pass the threshold, as in use


def build(config: DetectorConfig, weights: Detector | None, device: str) -> Detector:
    """A ResNet-50 detector with random weights, or with those of another."""
    torch.manual_seed(0)
    detector = build_detector(config, CLASSES).eval().to(device)
    assert detector.head.cls_logits.bias is not None
    torch.nn.init.constant_(detector.head.cls_logits.bias, LOGIT)
    torch.nn.init.normal_(detector.head.cls_logits.weight, std=0.1)
    if weights is not None:
        detector.load_state_dict(weights.state_dict())
    return detector


def flops(detector: Detector, images: Tensor) -> int:
    """Of one forward pass, by torch's counter (a multiplication and an addition are two)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector(images)
    return int(counter.get_total_flops())


def measure(
    configs: tuple[DetectorConfig, DetectorConfig], size: tuple[int, int], rounds: int, device: str
) -> dict[str, object]:
    """Everything of one pair; each list is [without, with ATSS]."""
    without = build(configs[0], None, device)
    pair = (without, build(configs[1], without, device))
    images = normal_batch(1, size, device)
    targets = made_up_targets(1, size, OBJECTS, device)
    found = [detector.detect(images)[0] for detector in pair]
    shapes = [{name: it.shape for name, it in d.state_dict().items()} for d in pair]

    def turns(work: Callable[[Detector], object]) -> dict[str, list[float]]:
        works = {"without": partial(work, pair[0]), "with": partial(work, pair[1])}
        return in_turns(works, rounds, device)

    inference = turns(lambda detector: detector.detect(images))
    selecting = turns(lambda detector: detector.select_samples(size, targets))
    return {
        "parameters": [sum(p.numel() for p in d.parameters()) for d in pair],
        "same names and shapes": shapes[0] == shapes[1],
        "GFLOPs": [flops(detector, images) / 1e9 for detector in pair],
        "same detections": all(torch.equal(found[0][key], found[1][key]) for key in found[0]),
        "detections": len(found[0]["scores"]),
        "inference, ms": [*milliseconds(inference).values()],
        "inference, ratio": ratio(inference["without"], inference["with"]),
        "selecting samples, ms": [*milliseconds(selecting).values()],
    }


def markdown(result: dict[str, dict], where: str) -> str:
    """The page: a row per quantity and pair."""
    rows = []
    for name, values in result.items():
        share = "ratio {median:.3f} ({low:.3f} to {high:.3f})".format(**values["inference, ratio"])
        for key, form, note in (
            ("parameters", ",.0f", ""),
            ("GFLOPs", ".2f", ""),
            ("inference, ms", ".2f", share),
            ("selecting samples, ms", ".2f", "training only"),
        ):
            without, with_atss = values[key]
            note = note or ("equal" if without == with_atss else "DIFFERENT")
            rows.append([name, key, format(without, form), format(with_atss, form), note])
        equal = "equal to the bit" if values["same detections"] else "DIFFERENT"
        rows.append([name, f"{values['detections']} detections", "", "", equal])
    return pages.page(
        "no_overhead.py",
        "ATSS and its cost",
        "The paper: ATSS improves both detectors without any overhead (Sec. 1, 4.2). Each pair has "
        f"the same weights;\none image of the given size, {where}.",
        pages.table("|quantity|without:|with ATSS:|", rows),
    )


def main() -> None:
    """Measure both pairs, print and write the page."""
    given = asked(pages.options(__doc__, device=DEVICES, rounds=15, height=800, width=1344))
    size = (given.height, given.width)
    result = {name: measure(pair, size, given.rounds, given.device) for name, pair in PAIRS.items()}
    where = (
        f"{given.height} x {given.width} pixels, ResNet-50, {pages.machine(given.device)}, "
        f"{given.rounds} rounds"
    )
    pages.write(given.out, "no_overhead", {"where": where} | result, markdown(result, where))


if __name__ == "__main__":
    main()
