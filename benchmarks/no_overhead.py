"""Does ATSS cost anything (Sec. 4.2: "no overhead")? Each pair of rows, with and without it.

    python benchmarks/no_overhead.py [--rounds 15] [--device cuda] [--height 800 --width 1344]

A row with ATSS and the same row without are built as for Table 3 and given the same weights. What
must be equal is compared exactly (parameters, FLOPs of the forward pass, detections); time, which
never is, by the ratio of neighbouring measurements in one interleaved run. Selecting the samples is
timed as well: that is what differs, in training only. Writes no_overhead.json and no_overhead.md.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from math import comb
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from detector.config import DetectorConfig
from detector.detector import Detector, build_detector
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET

PAIRS = {
    "RetinaNet (#A=1)": (IMPROVED_RETINANET, ATSS),
    "FCOS": (FCOS, FCOS_ATSS),
}
CLASSES = 80
OBJECTS = 10  # per image, of 16 to 512 pixels, where samples are selected
LOGIT = -3.5  # the classification bias: a few percent of the scores pass the threshold, as in use
HERE = Path(__file__).parent


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


def objects(size: tuple[int, int], device: str) -> list[dict[str, Tensor]]:
    """One image's ground truth, log-uniform in size, anywhere."""
    random = torch.Generator().manual_seed(0)
    sides = 16 * 32 ** torch.rand(OBJECTS, 2, generator=random)
    corners = torch.rand(OBJECTS, 2, generator=random) * torch.tensor([size[1], size[0]])
    boxes = torch.cat([corners, corners + sides], dim=1).to(device)
    return [{"boxes": boxes, "labels": torch.zeros(OBJECTS, dtype=torch.int64, device=device)}]


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall time of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def in_turns(
    works: tuple[Callable[[], object], ...], rounds: int, device: str
) -> list[list[float]]:
    """Seconds of each work in each round, the order reversed every other round; one warm-up."""
    times: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        spent = {i: seconds(works[i], device) for i in order}
        if number:
            for i, value in spent.items():
                times[i].append(value)
    return times


def ratio(pair: list[list[float]]) -> dict[str, float]:
    """With ATSS over without, round by round: the median, and an interval that holds it by 95 %.

    Of order statistics, as in a sign test: nothing is assumed of how the ratios are spread. Under
    six rounds no interval has that certainty, and the range of all ratios is given.
    """
    ratios = sorted(b / a for a, b in zip(*pair, strict=True))
    n, cut = len(ratios), 0  # how many ratios lie outside the interval on each side
    while 2 * sum(comb(n, i) for i in range(cut + 2)) / 2**n <= 0.05:
        cut += 1
    return {"median": statistics.median(ratios), "low": ratios[cut], "high": ratios[n - 1 - cut]}


def measure(
    configs: tuple[DetectorConfig, DetectorConfig], size: tuple[int, int], rounds: int, device: str
) -> dict[str, object]:
    """Everything of one pair; each list is [without, with ATSS]."""
    without = build(configs[0], None, device)
    pair = (without, build(configs[1], without, device))
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)).to(device)
    found = [detector.detect(images)[0] for detector in pair]
    is_same = all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    targets = objects(size, device)
    inference = in_turns(tuple(lambda d=d: d.detect(images) for d in pair), rounds, device)
    selecting = in_turns(
        tuple(lambda d=d: d.select_samples(size, targets) for d in pair), rounds, device
    )
    return {
        "parameters": [sum(p.numel() for p in d.parameters()) for d in pair],
        "same names and shapes": shapes(pair[0]) == shapes(pair[1]),
        "GFLOPs": [flops(detector, images) / 1e9 for detector in pair],
        "same detections": is_same,
        "detections": len(found[0]["scores"]),
        "inference, ms": [1000 * statistics.median(times) for times in inference],
        "inference, ratio": ratio(inference),
        "selecting samples, ms": [1000 * statistics.median(times) for times in selecting],
    }


def shapes(detector: Detector) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in detector.state_dict().items()}


def markdown(result: dict[str, dict[str, object]], where: str) -> str:
    """The page: a row per quantity and pair."""
    lines = [
        "# ATSS and its cost",
        "",
        "The paper: ATSS improves both detectors without any overhead (Sec. 1, 4.2). Each pair has "
        "the same weights;",
        f"one image of the given size, {where}.",
        "",
        "| | quantity | without | with ATSS | |",
        "|-|-|-:|-:|-|",
    ]
    for name, values in result.items():
        for key in ("parameters", "GFLOPs", "inference, ms", "selecting samples, ms"):
            without, with_atss = values[key]  # type: ignore[misc]
            is_exact = key in ("parameters", "GFLOPs")
            form = "{:,.0f}" if key == "parameters" else "{:.2f}"
            note = (
                ("equal" if without == with_atss else "DIFFERENT") if is_exact else "training only"
            )
            if key.startswith("inference"):
                share: dict[str, float] = values["inference, ratio"]  # type: ignore[assignment]
                note = "ratio {median:.3f} ({low:.3f} to {high:.3f})".format(**share)
            lines.append(
                f"| {name} | {key} | {form.format(without)} | {form.format(with_atss)} | {note} |"
            )
        equal = "equal to the bit" if values["same detections"] else "DIFFERENT"
        lines.append(f"| {name} | {values['detections']} detections | | | {equal} |")
    return "\n".join([*lines, "", "`python benchmarks/no_overhead.py`", ""])


def main() -> None:
    """Measure both pairs, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1344)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    size = (given.height, given.width)
    result = {name: measure(pair, size, given.rounds, given.device) for name, pair in PAIRS.items()}
    chip = torch.cuda.get_device_name() if given.device == "cuda" else platform.machine()
    where = (
        f"{given.height} x {given.width} pixels, ResNet-50, {given.device} ({chip}, "
        f"{torch.get_num_threads()} threads), torch {torch.__version__}, {given.rounds} rounds"
    )
    page = markdown(result, where)
    (given.out / "no_overhead.json").write_text(json.dumps({"where": where} | result, indent=1))
    (given.out / "no_overhead.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
