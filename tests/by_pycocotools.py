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

# Of every column: its type, and its shape beyond the first axis.
COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "image": (np.int32, ()),
    "category": (np.int16, ()),
    "score": (np.float64, ()),
    "state": (np.uint8, (len(AREAS), len(IOUS))),
    "source": (np.int32, ()),
    "truth_image": (np.int32, ()),
    "truth_category": (np.int16, ()),
    "truth_counts": (np.bool_, (len(AREAS),)),
    "truth_source": (np.int32, ()),
}
Record = dict[str, Any]  # of COCOeval, of an image, a category and an area range


def by_pycocotools(
    ground_truth: dict[str, Any], detections: list[dict[str, Any]]
) -> tuple[dict[str, float | None], Matches]:
    """As evaluation.detect.measure: the same numbers, but slowly."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluated(ground_truth, detections)
    values = [None if value < 0 else 100 * float(value) for value in evaluation.stats]
    params = evaluation.params
    matches = read_matches(evaluation.evalImgs, params.imgIds, params.catIds)
    return dict(zip(COCO_NUMBERS, values, strict=True)), matches


def evaluated(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    """pycocotools' own evaluation, which prints its numbers."""
    found = _as_coco(ground_truth, [_measured(item) for item in detections])
    evaluation = COCOeval(_as_coco(ground_truth, ground_truth["annotations"]), found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _measured(detection: dict[str, Any]) -> dict[str, Any]:
    return {**detection, "area": detection["bbox"][2] * detection["bbox"][3], "iscrowd": 0}


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
    parts: list[dict[str, NDArray[Any]]] = [
        {name: np.zeros((0, *shape)) for name, (_, shape) in COLUMNS.items()}
    ]
    by_category = shaped.reshape(len(category_ids), len(AREAS), len(image_ids))
    for category, by_area in enumerate(by_category):
        images = np.flatnonzero([record is not None for record in by_area[0]])
        if len(images):
            parts.append(_of_category(category, by_area[:, images], images))
    columns: dict[str, NDArray[Any]] = {
        name: np.concatenate([part[name] for part in parts]).astype(dtype)
        for name, (dtype, _) in COLUMNS.items()
    }
    order = np.argsort(columns["truth_source"])
    columns |= {name: values[order] for name, values in columns.items() if "truth" in name}
    return Matches(
        image_ids=np.asarray(image_ids, dtype=np.int64),
        category_ids=np.asarray(category_ids, dtype=np.int64),
        **columns,
    )


def _of_category(
    category: int, by_area: NDArray[np.object_], images: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The columns of one category. by_area: its records [4, N] of N images."""
    first = by_area[0]
    score = _joined(first, "dtScores")
    order = np.argsort(-score, kind="stable")
    truths = _joined(first, "gtIds")
    by_number = np.argsort(truths)
    counts = np.zeros((len(truths), len(AREAS)), dtype=bool)
    for area, records in enumerate(by_area):  # each has sorted the ground truths in its own way
        places = np.searchsorted(truths[by_number], _joined(records, "gtIds"))
        counts[places, area] = _joined(records, "gtIgnore") == 0
    return {
        "image": np.repeat(images, [len(record["dtIds"]) for record in first])[order],
        "category": np.full(len(score), category),
        "score": score[order],
        "state": np.stack([_states(records) for records in by_area], axis=1)[order],
        "source": _joined(first, "dtIds")[order] - 1,
        "truth_image": np.repeat(images, [len(record["gtIds"]) for record in first])[by_number],
        "truth_category": np.full(len(truths), category),
        "truth_counts": counts,
        "truth_source": truths[by_number] - 1,
    }


def _joined(records: NDArray[np.object_], name: str) -> NDArray[np.float64]:
    return np.concatenate([record[name] for record in records]).astype(np.float64)


def _states(records: NDArray[np.object_]) -> NDArray[np.uint8]:
    """[D, 10] of the detections in these records' order."""
    is_matched = np.concatenate([record["dtMatches"] for record in records], axis=1) > 0
    ignored = np.concatenate([record["dtIgnore"] for record in records], axis=1) > 0
    return np.where(ignored, IGNORED, np.where(is_matched, TRUE, FALSE)).T.astype(np.uint8)
