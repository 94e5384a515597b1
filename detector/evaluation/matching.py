"""COCO's matching of detections to ground truths, in all images at once, and its twelve numbers.

In each image and category the detections choose one after the other, the highest score first: at
every IoU, of the ground truths that they reach and that no better detection has, the one which they
overlap most (of equals the last), and one that counts rather than one that does not. Crowds and
what lies outside an area range do not count; many may choose the same crowd.

pycocotools does this one choice after the other. Here the r-th detections of all images and
categories choose together, for all areas and IoUs, and the result is the same to the last bit.

Shapes: D detections, G ground truths, P pairs of the two; 4 areas and 10 IoUs, as in Matches.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.data.annotations import positions
from detector.evaluation.match_records import AREAS, FALSE, IGNORED, IOUS, TRUE, Matches
from detector.metrics import COCO_NUMBERS

MOST = 100  # detections of an image and category that count
LOWEST, HIGHEST = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)]).T  # of AREAS
NOTHING = -1
RECALLS = np.linspace(0, 1, 101)  # where precision is read
MOSTS = sorted({most for _, _, most in COCO_NUMBERS.values()})
TINY = np.spacing(1)  # as pycocotools has it, against 0 / 0
NONE = -1.0  # of a category without objects

Records = Sequence[Mapping[str, Any]]
Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class _Boxes(NamedTuple):
    """N detections or ground truths."""

    image: NDArray[Any]  # [N] int64, index of its image
    category: NDArray[Any]  # [N] int64
    group: NDArray[Any]  # [N] int64, its image and category as one number
    box: NDArray[Any]  # [N, 4] float64: x, y, width, height


def match(ground_truth: Mapping[str, Any], detections: Records) -> Matches:
    """What COCO's evaluation finds of detections, in images and of categories of ground_truth."""
    images = sorted({image["id"] for image in ground_truth["images"]})
    categories = sorted({category["id"] for category in ground_truth["categories"]})
    annotations = ground_truth["annotations"]
    truths = _read(annotations, images, categories)
    area = np.array([item["area"] for item in annotations], dtype=np.float64)
    is_crowd = np.array([item["iscrowd"] for item in annotations], dtype=bool)
    counts = ~is_crowd[:, None] & ~_is_outside(area)
    found = _read(detections, images, categories)
    score = np.array([item["score"] for item in detections], dtype=np.float64)
    order = np.lexsort((found.image, -score, found.category))
    order = order[ranks(found.group[order]) < MOST]
    found = _Boxes(*(column[order] for column in found))
    return Matches(
        image_ids=np.array(images, dtype=np.int64),
        category_ids=np.array(categories, dtype=np.int64),
        image=found.image.astype(np.int32),
        category=found.category.astype(np.int16),
        score=score[order],
        state=_states(found, truths, counts, is_crowd),
        source=order.astype(np.int32),
        truth_image=truths.image.astype(np.int32),
        truth_category=truths.category.astype(np.int16),
        truth_counts=counts,
        truth_source=np.arange(len(annotations), dtype=np.int32),
    )


def ranks(groups: NDArray[Any]) -> Indices:
    """[N] -> [N]: how many of the same group stand before each."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=NOTHING))
    result = np.empty(len(groups), dtype=np.int64)
    result[order] = np.arange(len(groups)) - starts.repeat(np.diff(starts, append=len(groups)))
    return result


def _read(records: Records, images: Sequence[int], categories: Sequence[int]) -> _Boxes:
    image = positions([record["image_id"] for record in records], images)
    category = positions([record["category_id"] for record in records], categories)
    box = np.array([record["bbox"] for record in records], dtype=np.float64)
    return _Boxes(image, category, image * len(categories) + category, box.reshape(len(records), 4))


def _is_outside(areas: Floats) -> Flags:
    """[N] -> [N, 4]. Of the ranges, both ends are inside."""
    return (areas[:, None] < LOWEST) | (areas[:, None] > HIGHEST)


def _states(found: _Boxes, truths: _Boxes, counts: Flags, is_crowd: Flags) -> NDArray[np.uint8]:
    """[D, 4, 10] of detections in the order of their scores. counts: [G, 4], is_crowd: [G]."""
    is_outside = _is_outside(found.box[:, 2] * found.box[:, 3])
    unmatched = np.where(is_outside, IGNORED, FALSE).astype(np.uint8)
    state = unmatched[:, :, None].repeat(len(IOUS), axis=2)
    taken = np.zeros((len(truths.group), len(AREAS), len(IOUS)), dtype=bool)
    rank, detection, truth, overlap = _pairs(found, truths, is_crowd)
    for number in np.unique(rank):
        step = slice(*np.searchsorted(rank, (number, number + 1)))
        may_choose = (overlap[step, None, None] >= IOUS) & ~taken[truth[step]]
        last = _last(detection[step], may_choose, counts[truth[step]])
        _, area, iou = places = np.nonzero(last != NOTHING)
        chosen = truth[step][last[places]]
        taken[chosen, area, iou] = ~is_crowd[chosen]
        state[detection[step][last[places]], area, iou] = np.where(
            counts[chosen, area], TRUE, IGNORED
        )
    return state


def _last(detection: Indices, may_choose: Flags, counts: Flags) -> NDArray[np.int32]:
    """For each detection [.., 4, 10]: the last of its pairs that it may choose and that counts,
    else the last that it may choose, else NOTHING.

    detection: [P], equal ones together; may_choose: [P, 4, 10]; counts: [P, 4].
    """
    size = len(detection)
    value = np.arange(size, dtype=np.int32)[:, None] + np.where(counts, size, 0).astype(np.int32)
    starts = np.flatnonzero(np.diff(detection, prepend=NOTHING))
    best = np.maximum.reduceat(np.where(may_choose, value[:, :, None], NOTHING), starts)
    return np.where(best == NOTHING, NOTHING, best % size)


def _pairs(
    found: _Boxes, truths: _Boxes, is_crowd: Flags
) -> tuple[Indices, Indices, Indices, Floats]:
    """The pairs that overlap enough to match at the lowest IoU, in the order in which they choose.

    Each [P]: how many detections of that image and category choose before, the detection, the
    ground truth, and their IoU.
    """
    by_group = np.argsort(truths.group, kind="stable")
    first, end = (
        np.searchsorted(truths.group[by_group], found.group, side) for side in ("left", "right")
    )
    detection = np.repeat(np.arange(len(found.group)), end - first)
    truth = by_group[first[detection] + ranks(detection)]
    iou = _overlaps(found.box[detection], truths.box[truth], is_crowd[truth])
    near = iou >= IOUS[0]
    detection, truth, iou = detection[near], truth[near], iou[near]
    rank = ranks(found.group)[detection]
    order = np.lexsort((truth, iou, detection, rank))
    return rank[order], detection[order], truth[order], iou[order]


def _overlaps(boxes: Floats, truths: Floats, is_crowd: Flags) -> Floats:
    """[P, 4] xywh twice, [P] -> [P]: IoU; with a crowd, the share of the box inside it.

    By pycocotools' steps, whose bits these are.
    """
    start = np.maximum(boxes[:, :2], truths[:, :2])
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], truths[:, :2] + truths[:, 2:])
    shared = (end - start).clip(min=0).prod(axis=1)
    area = boxes[:, 2:].prod(axis=1)
    whole = np.where(is_crowd, area, area + truths[:, 2:].prod(axis=1) - shared)
    return np.divide(shared, whole, out=np.zeros(len(whole)), where=shared > 0)


def accumulate(matches: Matches) -> dict[str, float | None]:
    """COCO_NUMBERS in percent, None where there is nothing to find. Without detections AP is 0."""
    num_categories = len(matches.category_ids)
    precision = np.full((len(AREAS), len(IOUS), len(RECALLS), num_categories), NONE)
    recall = np.full((len(MOSTS), len(AREAS), len(IOUS), num_categories), NONE)
    rank = ranks(matches.category * np.int64(len(matches.image_ids)) + matches.image)
    ends = np.searchsorted(matches.category, np.arange(num_categories + 1))
    for category in np.unique(matches.truth_category):
        mine = slice(ends[category], ends[category + 1])
        state = np.ascontiguousarray(matches.state[mine].transpose(1, 2, 0))  # [4, 10, D]
        num_truths = matches.truth_counts[matches.truth_category == category].sum(axis=0)
        for area in np.flatnonzero(num_truths):
            is_true, num_found = state[area] == TRUE, (state[area] != IGNORED).cumsum(axis=1)
            precision[area, :, :, category] = [
                _precision(true, found, num_truths[area])
                for true, found in zip(is_true, num_found, strict=True)
            ]
            for place, most in enumerate(MOSTS):
                num_true = is_true[:, rank[mine] < most].sum(axis=1)
                recall[place, area, :, category] = num_true / num_truths[area]
    numbers = {}
    for name, (iou, within, most) in COCO_NUMBERS.items():
        every = precision if name.startswith("AP") else recall[MOSTS.index(most)]
        values = every[AREAS.index(within.partition(",")[0])]
        values = values if ":" in iou else values[float(iou) == IOUS]
        defined = values[values > NONE]
        numbers[name] = 100 * float(defined.mean()) if defined.size else None
    return numbers


def _precision(is_true: NDArray[np.bool_], num_found: NDArray[np.int64], num_truths: int) -> Floats:
    """[D], [D], best score first -> [101]: the highest that is reached at a recall or beyond."""
    places = np.flatnonzero(is_true)  # only there recall rises, and precision is highest
    num_true = np.arange(1, len(places) + 1)
    precision = num_true / (num_found[places] + TINY)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(num_true / num_truths, RECALLS)
    return np.append(best, 0)[reached]  # 0 where the recall is not reached
