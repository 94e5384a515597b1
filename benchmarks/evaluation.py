"""How long does COCO's evaluation take, beside pycocotools?

    python benchmarks/evaluation.py [--images 5000] [--rounds 3]

The same made-up detections, 100 of each image, 80 classes; both take turns in one process, and what
is compared are ratios of neighbours, by seconds of the processor. Both also say what they found of
every detection, which our statistics need. Writes evaluation.json and evaluation.md.
"""

import statistics
from dataclasses import astuple
from functools import partial
from typing import Any

import numpy as np
import pages
import torch
from bootstrap import CATEGORIES, by_pycocotools, made_up
from side_by_side import as_text, in_turns, peak_bytes, ratio

from detector.evaluation.detect import measure

GOAL = 30  # times as fast as pycocotools


def measured(num_images: int, rounds: int) -> dict[str, Any]:
    """Seconds, megabytes, how many times as fast, and whether all is equal to the last bit."""
    truth, detections = made_up(num_images)
    works = {
        "pycocotools": partial(by_pycocotools, truth, detections),
        "ours": partial(measure, truth, detections),
    }
    memory = {name: peak_bytes(work, "cpu") / 1e6 for name, work in works.items()}
    times = in_turns(works, rounds, "cpu")
    (numbers, records), (our_numbers, our_records) = (work() for work in works.values())
    pairs = zip(astuple(records), astuple(our_records), strict=True)
    is_equal = all(one.dtype == its.dtype and np.array_equal(one, its) for one, its in pairs)
    return {
        "images": num_images,
        "objects": len(truth["annotations"]),
        "detections": len(detections),
        "CPU seconds": {name: statistics.median(spent) for name, spent in times.items()},
        "MB": memory,
        "times as fast": ratio(times["ours"], times["pycocotools"]),
        "equal": numbers == our_numbers and is_equal,
    }


def markdown(found: dict[str, Any], where: str) -> str:
    """The page, without its last section, which is written by hand."""
    spent = found["CPU seconds"].items()
    return pages.page(
        "evaluation.py",
        "What COCO's evaluation takes",
        f"{found['images']:,} images, {CATEGORIES} classes, {found['objects']:,} objects, "
        f"{found['detections']:,} detections; {where}.",
        pages.table(
            "|CPU seconds:|MB:", [(it, f"{s:.2f}", f"{found['MB'][it]:.0f}") for it, s in spent]
        ),
        f"Ours is {as_text(found['times as fast'], 0)} as fast; goal: {GOAL}x. MB is what an "
        "evaluation adds, at its peak, to the lists of dicts that it is given.\n"
        "The twelve numbers and the records of every detection are "
        f"{'equal to the last bit' if found['equal'] else 'DIFFERENT'}.",
    )


def main() -> None:
    """Measure, print and write the page."""
    given = pages.options(__doc__, images=5000, rounds=3).parse_args()
    torch.set_num_threads(1)
    found, where = measured(given.images, given.rounds), pages.machine()
    pages.write(given.out, "evaluation", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
