"""What does sample selection cost, beside the way the paper's published code goes?

    python benchmarks/assignment.py [--rounds 7] [--device cuda] [--images 16]

Images of 800 x 1344 pixels: 22,400 anchors each, 201,600 with nine per location, with 10 and with
100 objects; and what the demo has. Ours against papers_path.py in one interleaved
run: time and peak memory per batch, and in how many anchors the two agree. On a CPU, times are
those of one thread's computing; the calls that a GPU would get are counted. On a GPU ours runs
under torch's check for host synchronization, which raises at the first. Writes assignment.json and
assignment.md.
"""

import argparse
from collections.abc import Callable
from functools import partial

import pages
import papers_path
import torch
from side_by_side import (
    DEVICES,
    as_text,
    asked,
    in_turns,
    made_up_targets,
    milliseconds,
    peak_bytes,
    ratio,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import build_assigner
from detector.config import DetectorConfig
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET

PAPER = (800, 1344)
DEMO, DEMO_IMAGES, DEMO_OBJECTS = (128, 192), 8, 3
CONFIGS = {
    "ATSS": ATSS,
    "IoU": IMPROVED_RETINANET,
    "SSC": FCOS,
    "center sampling": FCOS_CENTER_SAMPLING,
    "ATSS, #A=9": TABLES["table7"].rows[2].config,
    "IoU, #A=9": TABLES["table7"].rows[0].config,
}
GOAL = 10  # times the paper's path, at 100 objects
Select = Callable[[list[Tensor], Tensor], Tensor]


def papers(config: DetectorConfig) -> Select | None:
    """The paper's path for a config; FCOS's center sampling is not in its code."""
    if config.assigner == "atss":
        return partial(papers_path.atss, k=config.k * config.anchors_per_location)
    if config.assigner == "iou":
        return partial(papers_path.iou, in_gt_box=config.in_gt_box)
    return papers_path.space_and_scale if config.assigner == "ssc" else None


def anchors_of(config: DetectorConfig, size: tuple[int, int], device: str) -> list[Tensor]:
    """Per level, of the whole input."""
    cells = [cell_anchors(s, config.anchor_scales, config.aspect_ratios) for s in STRIDES]
    return grid_anchors(level_sizes(*size), [cell.to(device) for cell in cells])


def over_batch(select: Select, anchors: list[Tensor], batch: list[Tensor]) -> Tensor:
    """Image after image."""
    return torch.stack([select(anchors, gt_boxes) for gt_boxes in batch])


def without_waiting(work: Callable[[], object], device: str) -> str:
    """ "none", or what made the host wait for the GPU."""
    if device != "cuda":
        return "not measured: no GPU"
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


class Calls(TorchDispatchMode):
    """Counts what is asked of a device, as on a GPU: everything but views."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def calls(work: Callable[[], object]) -> int:
    """How many this work takes."""
    with Calls() as counted:
        work()
    return counted.count


def measure(
    config: DetectorConfig,
    size: tuple[int, int],
    images: int,
    objects: int,
    given: argparse.Namespace,
) -> dict[str, object]:
    """One line of the table."""
    targets = made_up_targets(images, size, objects, given.device)
    batch = [target["boxes"] for target in targets]
    anchors = anchors_of(config, size, given.device)
    ours, theirs = build_assigner(config), papers(config)
    works = {"ours": partial(ours.of_batch, anchors, batch)}
    if theirs is not None:
        works["theirs"] = partial(over_batch, theirs, anchors, batch)
    times = in_turns(works, given.rounds, given.device)
    result: dict[str, object] = {
        "ms a batch": milliseconds(times),
        "memory, MB": {name: peak_bytes(work, given.device) / 1e6 for name, work in works.items()},
        "calls": {name: calls(work) for name, work in works.items()},
        "host waits": without_waiting(works["ours"], given.device),
    }
    if theirs is not None:
        found, expected = (work() for work in works.values())
        result["ratio"] = ratio(times["ours"], times["theirs"])
        result["anchors that differ"] = int((found != expected).sum())
        result["anchors"] = found.numel()
    return result


def markdown(found: dict[str, dict], given: argparse.Namespace, where: str) -> str:
    """The page, without its last section, which is written by hand."""
    rows = []
    for name, values in found.items():
        config, objects = name.rsplit(", ", 1)
        has_both = "ratio" in values
        ms, memory, calls = (
            [format(values[key][it], how) for it in values[key]] + [""] * (not has_both)
            for key, how in (("ms a batch", ".1f"), ("memory, MB", ".0f"), ("calls", "d"))
        )
        faster = as_text(values["ratio"], 1) if has_both else ""
        differ = "{anchors that differ} of {anchors}".format_map(values) if has_both else ""
        rows.append([config, objects.split()[0], *ms, faster, *memory, *calls, differ])
    waits = {values["host waits"] for values in found.values()}
    return pages.page(
        "assignment.py",
        "What sample selection costs",
        f"Images of {PAPER[0]} x {PAPER[1]} pixels, {given.images} a batch; the demo's: "
        f"{DEMO[0]} x {DEMO[1]}, {DEMO_IMAGES}. {given.rounds} rounds in turns; {where}.\n"
        "The paper's path is papers_path.py: an image at a time, as in the paper's code. Goal: "
        f"{GOAL} x at 100 objects.",
        pages.table(
            "|objects:|ours, ms:|paper's, ms:|paper's / ours|MB: ours:|paper's:"
            "|calls on a GPU: ours:|paper's:|anchors that differ:",
            rows,
        ),
        f"All is of a batch. Host waits: {', '.join(waits)}.",
    )


def main() -> None:
    """Measure, print and write the page."""
    options = pages.options(__doc__, device=DEVICES, rounds=7, images=16, objects=[10, 100])
    given = asked(options)
    lines = [
        (f"{name}, {objects} objects", (config, PAPER, given.images, objects))
        for name, config in CONFIGS.items()
        for objects in given.objects
    ] + [
        (f"{name}, the demo's, {DEMO_OBJECTS} objects", (config, DEMO, DEMO_IMAGES, DEMO_OBJECTS))
        for name, config in list(CONFIGS.items())[:4]
    ]
    found = {name: measure(*line, given) for name, line in lines}
    where = pages.machine(given.device)
    stem = "assignment" if given.device == "cpu" else "assignment_cuda"
    pages.write(given.out, stem, {"where": where} | found, markdown(found, given, where))


if __name__ == "__main__":
    main()
