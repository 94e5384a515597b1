"""How do time and memory grow with images, batches, objects, anchors, and the number of runs?

    python benchmarks/growth.py [--rounds 5] [--device cuda]

One training step of ATSS (ResNet-18 on a CPU, ResNet-50 on a GPU), and selecting its samples alone,
while one quantity grows and the others stay; then planning and reporting for so many finished runs,
which nobody trained (tests/made_up_folder.py). Times are of one thread's computing, or of a GPU's
clock. An exponent of 1 is linear: fitted over all points, and between the two largest, where
constant parts hide least. Writes growth.json and growth.md.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pages
import torch
from side_by_side import CLASSES, in_turns, machine, made_up_targets, normal_batch, peak_bytes

from detector.backbone import build_backbone
from detector.config import Recipe
from detector.detector import Detector, build_detector
from detector.training import accumulate_gradients, build_optimizer
from experiments.baselines import ATSS
from experiments.experiment import Row, Table

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

SCALES = {1: (8.0,), 3: (8.0, 10.08, 12.7), 9: (8.0, 10.08, 12.7)}
RATIOS = {1: (1.0,), 3: (1.0,), 9: (0.5, 1.0, 2.0)}
PAGE = "a report's page, figures and notebook"
TOO_LITTLE = {"ms": 1.0, "MB": 5.0}  # to say how it grows
FAST = 1.1  # both exponents above this: faster than linear
Works = dict[float, Callable[[], object]]  # by what grows


@dataclass(frozen=True)
class Case:
    """What a step is given; one field grows at a time."""

    side: int  # height in pixels; width is as much, or in proportion
    batch: int = 1
    objects: int = 10  # of an image
    anchors: int = 1  # of a location
    width_by_height: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        return self.side, round(self.side * self.width_by_height)


STEP = Case(side=256)
SELECTING = Case(side=800, width_by_height=1.68)  # 800 x 1344
GROWING = {  # quantity -> (what the axis says, values for a step, values for selecting)
    "side": ("pixels of an image", (128, 192, 256, 384, 512), (200, 400, 800, 1600)),
    "batch": ("images of a batch", (1, 2, 4, 8), (1, 2, 4, 8, 16)),
    "objects": ("objects of an image", (1, 10, 100, 1000), (1, 10, 100, 1000)),
    "anchors": ("anchors of a location", (1, 3, 9), (1, 3, 9)),
}


def detector_of(case: Case, backbone: str, device: str) -> Detector:
    config = replace(ATSS, anchor_scales=SCALES[case.anchors], aspect_ratios=RATIOS[case.anchors])
    torch.manual_seed(0)
    norm = "group_norm" if backbone == "small" else "frozen_batch_norm"
    return build_detector(config, CLASSES, backbone=build_backbone(backbone, norm)).to(device)


def step(case: Case, backbone: str, device: str) -> Callable[[], object]:
    """One training step, as training does it."""
    detector = detector_of(case, backbone, device).train()
    optimizer = build_optimizer(detector, Recipe(learning_rate=1e-9))
    images = normal_batch(case.batch, case.size, device)
    targets = made_up_targets(case.batch, case.size, case.objects, device)

    def work() -> None:
        optimizer.zero_grad()
        accumulate_gradients(detector, images, targets)
        optimizer.step()

    return work


def selecting(case: Case, device: str) -> Callable[[], object]:
    """Its assignment alone."""
    detector = detector_of(case, "small", device)
    targets = made_up_targets(case.batch, case.size, case.objects, device)
    return lambda: detector.select_samples(case.size, targets)


def measure(works: Works, rounds: int, device: str) -> dict[str, list[float]]:
    """x, and of each the milliseconds and megabytes."""
    times = in_turns({str(x): work for x, work in works.items()}, rounds, device)
    return {
        "x": list(works),
        "ms": [1000 * statistics.median(spent) for spent in times.values()],
        "MB": [peak_bytes(work, device) / 1e6 for work in works.values()],
    }


# Runs


def table_of(count: int) -> Table:
    """A table of so many rows, all different."""
    rows = [Row(f"k = {k}", replace(ATSS, k=k)) for k in range(1, count + 1)]
    return Table(name="growth", title="Growth", headings=("Row",), rows=tuple(rows))


def run_works(folder: Path, counts: tuple[int, ...]) -> Iterator[tuple[str, Works]]:
    """Planning, the first gathering (which makes the intervals), later ones, and the page."""
    from made_up_folder import FINGERPRINT, RECIPE, fill

    from orchestration.plan import Setup, make_plan
    from orchestration.results import bundle
    from reports.notebook import write_report
    from reports.tables import paper_grid

    setup = Setup("demo", RECIPE, {}, "animals", FINGERPRINT, "/data/animals")
    stores = {n: fill(folder / str(n), [table_of(n)], seeds=(0,)) for n in counts}

    def plan(count: int) -> object:
        return make_plan(setup, [table_of(count)]).missing(stores[count])

    def gather(count: int, *, anew: bool) -> object:
        for file in stores[count].root.rglob("scores.npz") if anew else ():
            file.unlink()
        return paper_grid(bundle(stores[count], setup, table_of(count), (0,)))

    def page(count: int) -> object:
        return write_report(bundle(stores[count], setup, table_of(count), (0,)), folder / "page")

    yield "planning", {n: partial(plan, n) for n in counts}
    yield "first report's numbers", {n: partial(gather, n, anew=True) for n in counts}
    yield "a later report's numbers", {n: partial(gather, n, anew=False) for n in counts}
    yield PAGE, {n: partial(page, n) for n in counts}


def measure_once(works: Works) -> dict[str, list[float]]:
    """Of works that run in other processes, too; their memory is not seen."""
    milliseconds = []
    for work in works.values():
        before = sum(os.times()[:4])
        work()
        milliseconds.append(1000 * (sum(os.times()[:4]) - before))
    return {"x": list(works), "ms": milliseconds, "MB": [0.0] * len(works)}


# Fits and pages


def exponents(x: list[float], y: list[float]) -> tuple[float, float]:
    """Of y in x: fitted over all points, and between the two largest."""
    fitted = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    return fitted, math.log(y[-1] / y[-2]) / math.log(x[-1] / x[-2])


def everything(given: argparse.Namespace) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What grows -> whose -> x, ms, MB."""
    makers = {
        "training step": (STEP, partial(step, backbone=given.backbone, device=given.device)),
        "selecting samples": (SELECTING, partial(selecting, device=given.device)),
    }
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for quantity, (label, *values) in GROWING.items():
        found[label] = {}
        for (name, (base, make)), points in zip(makers.items(), values, strict=True):
            cases = [replace(base, **{quantity: value}) for value in points]
            keys = [math.prod(c.size) for c in cases] if quantity == "side" else points
            works = {key: make(case) for key, case in zip(keys, cases, strict=True)}
            found[label][name] = measure(works, given.rounds, given.device)
    with tempfile.TemporaryDirectory() as folder:
        found["finished runs"] = {
            name: measure_once(works) if name == PAGE else measure(works, given.rounds, "cpu")
            for name, works in run_works(Path(folder), (4, 8, 16, 32))
        }
    return found


def markdown(found: dict[str, dict], where: str, backbone: str) -> str:
    """The page, without its last section, which is written by hand."""
    lines = [
        "# How time and memory grow",
        "",
        f"A step of ATSS, {backbone}, 256 x 256 pixels, 1 image, 10 objects, 1 anchor; selecting "
        f"samples at 800 x 1344. {where}.",
        "",
        "Exponents: over all points, and between the two largest.",
        "",
        "| what grows | from, to | of | ms, from | to | exponents | MB, to | exponents |",
        "|-|-|-|-:|-:|-|-:|-|",
    ]
    for label, series in found.items():
        for name, line in series.items():
            x, ms, mb = line["x"], line["ms"], line["MB"]
            lines.append(
                f"| {label} | {x[0]:,} to {x[-1]:,} | {name} | {ms[0]:.1f} | {ms[-1]:.1f} | "
                f"{_said(x, ms, 'ms')} | {mb[-1]:.0f} | {_said(x, mb, 'MB')} |"
            )
    device = " --device cuda" if "CUDA" in where else ""
    return "\n".join([*lines, "", f"`python benchmarks/growth.py{device}`", ""])


def _said(x: list[float], y: list[float], unit: str) -> str:
    if min(y) <= 0 or max(y) < TOO_LITTLE[unit]:
        return "too little to see"
    fitted, last = exponents(x, y)
    return f"{fitted:.2f}, {last:.2f}" + (
        " (faster than linear)" if min(fitted, last) > FAST else ""
    )


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if has_gpu else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", help="resnet50 on a GPU, resnet18 elsewhere")
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    given.backbone = given.backbone or ("resnet50" if given.device == "cuda" else "resnet18")
    torch.set_num_threads(1)
    found = everything(given)
    where = machine(given.device)
    page = markdown(found, where, given.backbone)
    pages.write(given.out, "growth", {"where": where} | found, page)


if __name__ == "__main__":
    main()
