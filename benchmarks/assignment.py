"""What does sample selection cost, beside the way the paper's published code goes?

    python benchmarks/assignment.py [--rounds 7] [--device cuda] [--images 16]

Images of 800 x 1344 pixels: 22,400 anchors each, 201,600 with nine per location, with 10 and with
100 objects. Ours against papers_path.py in one interleaved run: time per batch, peak memory of an
image, and in how many anchors the two agree. On a CPU, times are those of one thread's computing.
On a GPU ours runs under torch's check for host synchronization, which raises at the first. Writes
assignment.json and assignment.md.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pages
import papers_path
import torch
from side_by_side import as_text, in_turns, machine, made_up_targets, peak_bytes, ratio
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import build_assigner
from detector.config import DetectorConfig
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET

SIZE = (800, 1344)
CONFIGS = {
    "ATSS": ATSS,
    "IoU": IMPROVED_RETINANET,
    "SSC": FCOS,
    "center sampling": FCOS_CENTER_SAMPLING,
    "ATSS, #A=9": TABLES["table7"].rows[2].config,
    "IoU, #A=9": TABLES["table7"].rows[0].config,
}
GOAL = 10  # times the paper's path, at 100 objects
HERE = Path(__file__).parent

Select = Callable[[list[Tensor], Tensor], Tensor]


def papers(config: DetectorConfig) -> Select | None:
    """The paper's path for a config; FCOS's center sampling is not in its code."""
    if config.assigner == "atss":
        return partial(papers_path.atss, k=config.k * config.anchors_per_location)
    if config.assigner == "iou":
        return partial(papers_path.iou, in_gt_box=config.in_gt_box)
    return papers_path.space_and_scale if config.assigner == "ssc" else None


def anchors_of(config: DetectorConfig, device: str) -> list[Tensor]:
    """Per level, of the whole input."""
    cells = [cell_anchors(s, config.anchor_scales, config.aspect_ratios) for s in STRIDES]
    return grid_anchors(level_sizes(*SIZE), [cell.to(device) for cell in cells])


def over_batch(select: Select, anchors: list[Tensor], batch: list[Tensor]) -> list[Tensor]:
    """Image after image."""
    return [select(anchors, gt_boxes) for gt_boxes in batch]


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


def measure(config: DetectorConfig, objects: int, given: argparse.Namespace) -> dict[str, object]:
    """One line of the table."""
    targets = made_up_targets(given.images, SIZE, objects, given.device)
    batch = [target["boxes"] for target in targets]
    anchors = anchors_of(config, given.device)
    ours, theirs = build_assigner(config), papers(config)
    works = {"ours": partial(over_batch, ours, anchors, batch)}
    if theirs is not None:
        works["theirs"] = partial(over_batch, theirs, anchors, batch)
    times = in_turns(works, given.rounds, given.device)
    result: dict[str, object] = {
        "ms a batch": {name: 1000 * statistics.median(spent) for name, spent in times.items()},
        "memory, MB": {
            name: peak_bytes(partial(select, anchors, batch[0]), given.device) / 1e6
            for name, select in (("ours", ours), ("theirs", theirs))
            if select is not None
        },
        "host waits": without_waiting(partial(ours, anchors, batch[0]), given.device),
    }
    if theirs is not None:
        found, expected = (torch.stack(work()) for work in works.values())
        result["ratio"] = ratio(times["ours"], times["theirs"])
        result["anchors that differ"] = int((found != expected).sum())
        result["anchors"] = found.numel()
    return result


def markdown(found: dict[str, dict], given: argparse.Namespace, where: str) -> str:
    """The page, without its last section, which is written by hand."""
    lines = [
        "# What sample selection costs",
        "",
        f"{given.images} images of {SIZE[0]} x {SIZE[1]} pixels, {given.rounds} rounds in turns; "
        f"{where}.",
        "The paper's path is papers_path.py: an image at a time, as in the paper's code. Goal: "
        f"{GOAL} x at 100 objects.",
        "",
        "| | objects | ours, ms | paper's, ms | paper's / ours | MB: ours | paper's "
        "| anchors that differ |",
        "|-|-:|-:|-:|-|-:|-:|-:|",
    ]
    for name, values in found.items():
        config, objects = name.rsplit(", ", 1)
        times, memory = values["ms a batch"], values["memory, MB"]
        theirs = f"{times['theirs']:.1f}" if "ratio" in values else ""
        baseline = f"{memory['theirs']:.0f}" if "ratio" in values else ""
        share = as_text(values["ratio"], 1) if "ratio" in values else ""
        differ = f"{values['anchors that differ']} of {values['anchors']}" if share else ""
        lines.append(
            f"| {config} | {objects.split()[0]} | {times['ours']:.1f} | {theirs} | {share} | "
            f"{memory['ours']:.0f} | {baseline} | {differ} |"
        )
    waits = {values["host waits"] for values in found.values()}
    lines += ["", f"Times are of the batch, memory of one image. Host waits: {', '.join(waits)}."]
    return "\n".join([*lines, "", "`python benchmarks/assignment.py`", ""])


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if has_gpu else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    found = {}
    for name, config in CONFIGS.items():
        for objects in given.objects:
            found[f"{name}, {objects} objects"] = measure(config, objects, given)
    where = machine(given.device)
    page = markdown(found, given, where)
    stem = "assignment" if given.device == "cpu" else "assignment_cuda"
    pages.write(given.out, stem, {"where": where} | found, page)


if __name__ == "__main__":
    main()
