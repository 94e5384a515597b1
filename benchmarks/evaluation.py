"""How long does COCO's evaluation take, beside pycocotools?

    python benchmarks/evaluation.py [--images 5000] [--rounds 3]

The same made-up detections, 100 of each image, 80 classes; both take turns in one process, and what
is compared are ratios of neighbours, by seconds of the processor. Both also say what they found of
every detection, which our statistics need. Writes evaluation.json and evaluation.md.
"""

import argparse
import contextlib
import io
import statistics
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pages
import torch
from bootstrap import CATEGORIES, made_up
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from side_by_side import as_text, in_turns, machine, peak_bytes, ratio

from detector.evaluation.detect import measure
from detector.evaluation.match_records import Matches

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

GOAL = 30  # times as fast as pycocotools
Found = tuple[list[float | None], Matches]  # the twelve numbers, and the records


def by_ours(truth: dict[str, Any], detections: list[dict[str, Any]]) -> Found:
    numbers, matches = measure(truth, detections)
    return list(numbers.values()), matches


def by_pycocotools(truth: dict[str, Any], detections: list[dict[str, Any]]) -> Found:
    """As its own demonstration has it, and the records read from what it leaves."""
    from by_pycocotools import read_matches

    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    params = evaluation.params
    matches = read_matches(evaluation.evalImgs, params.imgIds, params.catIds)
    return [None if value < 0 else 100 * float(value) for value in evaluation.stats], matches


def are_equal(one: Found, other: Found) -> bool:
    """To the last bit."""
    pairs = [(getattr(one[1], it.name), getattr(other[1], it.name)) for it in fields(Matches)]
    return one[0] == other[0] and all(
        ours.dtype == theirs.dtype and np.array_equal(ours, theirs) for ours, theirs in pairs
    )


def measured(num_images: int, rounds: int) -> dict[str, Any]:
    """Seconds, megabytes, how many times as fast, and whether all is equal."""
    truth, detections = made_up(num_images)
    for number, item in enumerate(truth["annotations"], start=1):
        item["id"] = number  # as COCO's: pycocotools takes 0 for "not matched"
    works: dict[str, Callable[[], Found]] = {
        "pycocotools": partial(by_pycocotools, truth, detections),
        "ours": partial(by_ours, truth, detections),
    }
    memory = {name: peak_bytes(work, "cpu") / 1e6 for name, work in works.items()}
    times = in_turns(works, rounds, "cpu")
    return {
        "images": num_images,
        "objects": len(truth["annotations"]),
        "detections": len(detections),
        "CPU seconds": {name: statistics.median(spent) for name, spent in times.items()},
        "MB": memory,
        "times as fast": ratio(times["ours"], times["pycocotools"]),
        "equal": are_equal(works["ours"](), works["pycocotools"]()),
    }


def markdown(found: dict[str, Any], where: str) -> str:
    """The page, without its last section, which is written by hand."""
    lines = [
        "# What COCO's evaluation takes",
        "",
        f"{found['images']:,} images, {CATEGORIES} classes, {found['objects']:,} objects, "
        f"{found['detections']:,} detections; {where}.",
        "",
        "| | CPU seconds | MB |",
        "|-|-:|-:|",
        *(
            f"| {name} | {s:.2f} | {found['MB'][name]:.0f} |"
            for name, s in found["CPU seconds"].items()
        ),
        "",
        f"Ours is {as_text(found['times as fast'], 0)} as fast; goal: {GOAL}x. MB is what an "
        "evaluation adds, at its peak, to the lists of dicts that it is given.",
        "The twelve numbers and the records of every detection are "
        f"{'equal to the last bit' if found['equal'] else 'DIFFERENT'}.",
        "",
        "`python benchmarks/evaluation.py`",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found, where = measured(given.images, given.rounds), machine("cpu")
    pages.write(given.out, "evaluation", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
