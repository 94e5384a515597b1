"""COCO's evaluation by pycocotools itself: the reference that matching.py is held against."""

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detector.evaluation.match_records import FALSE, IGNORED, TRUE
from detector.metrics import COCO_NUMBERS

States = dict[int, NDArray[np.uint8]]  # of a detection, by its place: [4 areas, 10 IoUs]
Counts = dict[int, list[bool]]  # of a ground truth, by its place: whether it has to be found, [4]


def by_pycocotools(
    ground_truth: dict[str, Any], detections: list[dict[str, Any]]
) -> tuple[dict[str, float | None], States, Counts]:
    """The numbers of evaluation.detect.measure, and what became of every box."""
    found = [{**it, "area": it["bbox"][2] * it["bbox"][3], "iscrowd": 0} for it in detections]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _as_coco(ground_truth, ground_truth["annotations"])
        evaluation = COCOeval(truth, _as_coco(ground_truth, found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [None if value < 0 else 100 * float(value) for value in evaluation.stats]
    states: dict[int, list[Any]] = {}
    counts: Counts = {}
    for record in filter(None, evaluation.evalImgs):  # of a category and an image, area by area
        is_matched, is_ignored = record["dtMatches"] > 0, record["dtIgnore"] > 0
        its = np.where(is_ignored, IGNORED, np.where(is_matched, TRUE, FALSE)).T
        for number, state in zip(record["dtIds"], its, strict=True):
            states.setdefault(number - 1, []).append(state)
        for number, ignored in zip(record["gtIds"], record["gtIgnore"], strict=True):
            counts.setdefault(number - 1, []).append(not ignored)
    together = {place: np.stack(its) for place, its in states.items()}
    return dict(zip(COCO_NUMBERS, values, strict=True)), together, counts


def _as_coco(ground_truth: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    """pycocotools' index of annotations, which are copied, because it writes into them.

    They are numbered anew from 1: pycocotools takes a ground truth with id 0 for "not matched".
    """
    coco = COCO()
    numbered = [{**item, "id": number} for number, item in enumerate(annotations, start=1)]
    coco.dataset = {**ground_truth, "annotations": numbered}
    coco.createIndex()
    return coco
