"""How fast is a whole training step beside torchvision's detectors?

    python benchmarks/training_step.py [--rounds 7] [--device cuda] [--settings fp32 bf16-compiled]
        [--only "FCOS" "torchvision FCOS"]

Our FCOS and ATSS against fcos_resnet50_fpn, our RetinaNet with nine anchors per location (Table 7,
row 1) against retinanet_resnet50_fpn; all made equal as side_by_side.py says, one optimizer. On a
GPU the default is the paper's batch: 16 images of 800 x 1333, padded. A second, separate pass cuts
the step at the borders of its stages, forward and backward, and counts their FLOPs. On a CPU, times
are those of one thread's computing, which others' load hardly touches. Writes training_step.json
and training_step.md.
"""

import argparse
import statistics
from functools import partial

import pages
import torch
from side_by_side import (
    CLASSES,
    DEVICES,
    as_text,
    asked,
    in_turns,
    made_up_targets,
    normal_batch,
    now,
    peak_bytes,
    ratio,
    torchvision_detector,
)
from stages import Case, Setting, stages
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FCOS as TheirFCOS
from torchvision.models.detection import RetinaNet as TheirRetinaNet

from detector.config import Recipe
from detector.detector import Detector, build_detector
from detector.training import build_optimizer
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, IMPROVED_RETINANET

OURS = {
    "FCOS": FCOS,
    "ATSS": ATSS,
    "improved RetinaNet": IMPROVED_RETINANET,
    "RetinaNet, #A=9": TABLES["table7"].rows[0].config,
}
THEIRS = {"torchvision FCOS": TheirFCOS, "torchvision RetinaNet": TheirRetinaNet}
AGAINST = dict.fromkeys(OURS, "torchvision FCOS") | {"RetinaNet, #A=9": "torchvision RetinaNet"}
OBJECTS = 7  # per image, as in COCO
# Dense peaks of data sheets in FLOP/s; elsewhere a matrix product measured in the same run.
PEAKS = {
    "H200": {"fp32": 67e12, "tf32": 494.5e12, "bf16": 989.5e12},
    "H100": {"fp32": 67e12, "tf32": 494.5e12, "bf16": 989.5e12},
    "A100": {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12},
}


def build(name: str, setting: Setting, device: str) -> nn.Module:
    """A detector of OURS or THEIRS; all have the same backbone."""
    torch.manual_seed(0)
    ours = build_detector(OURS.get(name, FCOS), CLASSES)
    model = ours if name in OURS else torchvision_detector(THEIRS[name], ours.backbone)
    backbones = [it.get_submodule("backbone").parameters() for it in (ours, model)]
    trained, theirs = (sum(p.numel() for p in it if p.requires_grad) for it in backbones)
    assert trained == theirs
    return setting.apply(model.to(device).train())


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """The paper's SGD; its rate is so small that no round differs from the first."""
    return build_optimizer(model, Recipe(learning_rate=1e-9))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, case: Case) -> float:
    """One step as training does it; the loss."""
    optimizer.zero_grad()
    with case.setting.autocast(case.device):
        call = model.loss if isinstance(model, Detector) else model
        losses = call(case.images, case.targets)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    optimizer.step()
    return total.item()


def staged(name: str, case: Case, rounds: int) -> dict[str, dict[str, float]]:
    """Stage -> median milliseconds and GFLOPs."""
    model = build(name, case.setting, case.device)
    optimizer = optimizer_of(model)
    with FlopCounterMode(display=False) as counter:
        flops = stages(model, optimizer, case, counter.get_total_flops)
    timed = [stages(model, optimizer, case, partial(now, case.device)) for _ in range(rounds + 1)]
    return {
        stage: {
            "ms": 1000 * statistics.median(times[stage] for times in timed[1:]),
            "GFLOP": flops[stage] / 1e9,
        }
        for stage in flops
    }


def peak_memory(name: str, case: Case) -> int:
    """Bytes that two steps take beyond the detector, its optimizer and its input."""
    model = build(name, case.setting, case.device)
    work = partial(step, model, optimizer_of(model), case)
    return peak_bytes(lambda: (work(), work()), case.device)


def peak_flops(setting: Setting, device: str) -> tuple[float, str]:
    """FLOP/s this device could do at most, and how that is known."""
    if device == "cuda":
        for chip, peaks in PEAKS.items():
            if chip in torch.cuda.get_device_name():
                return peaks[setting.precision], f"data sheet of {chip}"
    side = 8192 if device == "cuda" else 1024
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = in_turns({"product": lambda: a @ b}, 10, device)["product"]
    return 2 * side**3 / min(times), f"matrix product of side {side}"


def measure(name: str, given: argparse.Namespace) -> dict[str, object]:
    """Everything of one setting."""
    setting = Setting.of(name)
    torch.backends.cuda.matmul.allow_tf32 = setting.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = setting.precision == "tf32"
    case = case_of(setting, given)
    peak, source = peak_flops(setting, given.device)
    models = {n: build(n, setting, given.device) for n in given.only}
    works = {n: partial(step, m, optimizer_of(m), case) for n, m in models.items()}
    losses = {n: work() for n, work in works.items()}
    assert all(loss < float("inf") for loss in losses.values()), losses
    times = in_turns(works, given.rounds, given.device)
    del models, works
    rows = {}
    for detector, spent in times.items():
        parts = {} if setting.compiled else staged(detector, case, max(given.rounds // 2, 1))
        flops = 1e9 * sum(part["GFLOP"] for part in parts.values())
        against = it if (it := AGAINST.get(detector)) in times else None
        middle = statistics.median(spent)
        rows[detector] = {
            "ms": 1000 * middle,
            "images per second": given.batch / middle,
            "GFLOP per image": flops / given.batch / 1e9,
            "share of peak": flops / middle / peak,
            "memory, MB": peak_memory(detector, case) / 1e6,
            "against": against,
            "ratio": ratio(spent, times[against]) if against else None,
            "stages": parts,
        }
    return {"peak, TFLOP/s": peak / 1e12, "peak from": source, "detectors": rows}


def case_of(setting: Setting, given: argparse.Namespace) -> Case:
    """The input: random images, objects of any size."""
    size = (given.height, given.width)
    images = normal_batch(given.batch, size, given.device)
    if setting.channels_last:
        images = images.to(memory_format=torch.channels_last)
    targets = made_up_targets(given.batch, size, OBJECTS, given.device)
    return Case(images, targets, given.device, setting)


def markdown(found: dict[str, dict], given: argparse.Namespace, where: str) -> str:
    """The page, without its last section, which is written by hand."""
    unmeasured = [
        "On a GPU (16 x 800 x 1333; fp32, TF32 and bf16; compiled or not): not measured: no GPU."
    ]
    return pages.page(
        f"training_step.py --device {given.device}",
        "A training step beside torchvision's",
        f"{given.batch} images of {given.height} x {given.width} pixels, {OBJECTS} objects each, "
        f"{CLASSES} classes, ResNet-50,\n"
        "frozen batch norm, stem and layer1 not trained, SGD; the same weights and input for all, "
        "and no resizing in any.\n"
        f"{given.rounds} rounds in turns; {where}. A ratio over 1: ours is faster.",
        *(text for name, values in found.items() for text in _of_setting(name, values)),
        *(unmeasured if given.device == "cpu" else []),
    )


def _of_setting(name: str, values: dict) -> list[str]:
    peak = f"{values['peak, TFLOP/s']:.2f} TFLOP/s ({values['peak from']})"
    rows, cells = values["detectors"], []
    for detector, row in rows.items():
        speed = f"{row['ms']:.0f}", f"{row['images per second']:.2f}"
        against = as_text(row["ratio"]) + f" {row['against']}" if row["ratio"] else ""
        cells.append([detector, *speed, *_share(row), f"{row['memory, MB']:.0f}", against])
    heads = "|ms a step:|images/s:|GFLOP/image:|of peak:|memory, MB:|torchvision / ours"
    texts = [f"## {name}", f"The most the device could do: {peak}.", pages.table(heads, cells)]
    staged = [detector for detector, row in rows.items() if row["stages"]]
    if not staged:
        return texts
    stages = [
        [stage, *(_cell(rows[detector]["stages"][stage]) for detector in staged)]
        for stage in rows[staged[0]]["stages"]
    ]
    heads = "|".join(["", *staged])
    return [*texts, "Where it goes, ms (and GFLOP/s of the stage):", pages.table(heads, stages)]


def _share(row: dict) -> tuple[str, str]:
    """FLOPs are counted by stages, which a compiled detector does not have."""
    share = f"{row['GFLOP per image']:.1f}", f"{100 * row['share of peak']:.0f} %"
    return share if row["stages"] else ("", "")


def _cell(part: dict[str, float]) -> str:
    rate = f" ({part['GFLOP'] / part['ms'] * 1000:.0f})" if part["GFLOP"] else ""
    return f"{part['ms']:.1f}{rate}"


def main() -> None:
    """Measure, print and write the page."""
    sizes, only = {"batch": 0, "height": 0, "width": 0}, [*OURS, *THEIRS]
    options = pages.options(__doc__, device=DEVICES, rounds=7, **sizes, only=only)
    options.add_argument("--settings", nargs="+")
    given = asked(options)
    on_gpu = given.device == "cuda"
    precisions = ("fp32", "tf32", "bf16") if on_gpu else ("fp32", "bf16")
    more = ("", "-compiled", "-channels_last", "-channels_last-compiled") if on_gpu else ("",)
    chosen = given.settings or [p + form for p in precisions for form in more]
    found = {name: measure(name, given) for name in chosen}
    where = pages.machine(given.device)
    stem = "training_step_cuda" if on_gpu else "training_step"
    pages.write(given.out, stem, {"where": where} | found, markdown(found, given, where))


if __name__ == "__main__":
    main()
