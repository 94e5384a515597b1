"""COCO's evaluation by pycocotools itself: the reference that matching.py is held against.

Shapes: D detections, G ground truths; 4 areas, 10 IoUs, as in Matches.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detector.evaluation.match_records import AREAS, FALSE, IGNORED, IOUS, TRUE, Matches
from detector.metrics import COCO_NUMBERS

Record = dict[str, Any]  # of COCOeval, of an image, a category and an area range


def by_pycocotools(
    ground_truth: dict[str, Any], detections: list[dict[str, Any]]
) -> tuple[dict[str, float | None], Matches]:
    """As evaluation.detect.measure: the same numbers, but slowly."""
    found = [{**it, "area": it["bbox"][2] * it["bbox"][3], "iscrowd": 0} for it in detections]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _as_coco(ground_truth, ground_truth["annotations"])
        evaluation = COCOeval(truth, _as_coco(ground_truth, found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [None if value < 0 else 100 * float(value) for value in evaluation.stats]
    params = evaluation.params
    matches = read_matches(evaluation.evalImgs, params.imgIds, params.catIds)
    return dict(zip(COCO_NUMBERS, values, strict=True)), matches


def _as_coco(ground_truth: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    """pycocotools' index of annotations, which are copied, because it writes into them.

    They are numbered anew from 1: pycocotools takes a ground truth with id 0 for "not matched".
    """
    coco = COCO()
    numbered = [{**item, "id": number} for number, item in enumerate(annotations, start=1)]
    coco.dataset = {**ground_truth, "annotations": numbered}
    coco.createIndex()
    return coco


def read_matches(
    records: Sequence[Record | None], image_ids: Sequence[int], category_ids: Sequence[int]
) -> Matches:
    """COCOeval.evalImgs -> Matches: for every category, area and image a record, or None.

    Annotations and detections are numbered from 1, in the order in which they were given.
    """
    shaped = np.empty(len(records), dtype=object)
    shaped[:] = list(records)
    found: list[tuple[Any, ...]] = []  # category, image, score, states, source
    truths: list[tuple[Any, ...]] = []  # source, image, category, counts
    for category, by_area in enumerate(shaped.reshape(len(category_ids), len(AREAS), -1)):
        for image, of_areas in enumerate(by_area.T):
            if (first := of_areas[0]) is None:
                continue
            states = np.stack([_states(record) for record in of_areas], axis=1)
            scored = zip(first["dtScores"], states, first["dtIds"], strict=True)
            found += [(category, image, score, state, id - 1) for score, state, id in scored]
            # Each record has sorted the ground truths in its own way.
            ignored = [dict(zip(it["gtIds"], it["gtIgnore"], strict=True)) for it in of_areas]
            for id in first["gtIds"]:
                truths.append((id - 1, image, category, [not its[id] for its in ignored]))
    found.sort(key=lambda item: (item[0], -item[2]))
    truths.sort(key=lambda item: item[0])
    of_category, of_image, score, state, source = zip(*found, strict=True) if found else [()] * 5
    truth_source, truth_image, truth_category, counts = (
        zip(*truths, strict=True) if truths else [()] * 4
    )
    return Matches(
        image_ids=np.asarray(image_ids, dtype=np.int64),
        category_ids=np.asarray(category_ids, dtype=np.int64),
        image=np.array(of_image, dtype=np.int32),
        category=np.array(of_category, dtype=np.int16),
        score=np.array(score, dtype=np.float64),
        state=np.array(state, dtype=np.uint8).reshape(-1, len(AREAS), len(IOUS)),
        source=np.array(source, dtype=np.int32),
        truth_image=np.array(truth_image, dtype=np.int32),
        truth_category=np.array(truth_category, dtype=np.int16),
        truth_counts=np.array(counts, dtype=bool).reshape(-1, len(AREAS)),
        truth_source=np.array(truth_source, dtype=np.int32),
    )


def _states(record: Record) -> NDArray[np.uint8]:
    """[D, 10] of the record's detections."""
    is_matched, is_ignored = record["dtMatches"] > 0, record["dtIgnore"] > 0
    return np.where(is_ignored, IGNORED, np.where(is_matched, TRUE, FALSE)).T.astype(np.uint8)
