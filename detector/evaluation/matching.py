"""COCO's matching of detections to ground truths, in all images at once, and its twelve numbers.

In each image and category the detections choose one after the other, the highest score first: at
every IoU, of the ground truths that they reach and that no better detection has, the one which they
overlap most (of equals the last), and one that counts rather than one that does not. Crowds and
what lies outside an area range do not count; many may choose the same crowd.

pycocotools does this one choice after the other. Here the r-th detections of all images and
categories choose together, for all areas and IoUs; overlaps are pycocotools' own.

Shapes: D detections, G ground truths, P pairs of the two; 4 areas and 10 IoUs, as in Matches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from detector.evaluation.match_records import AREAS, FALSE, IGNORED, IOUS, TRUE, Matches
from detector.metrics import COCO_NUMBERS

MOST = 100  # detections of an image and category that count
LOWEST, HIGHEST = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)]).T  # of AREAS
NOTHING = -1

Records = Sequence[Mapping[str, Any]]
Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Boxes:
    """N detections or ground truths."""

    source: Indices  # [N] place in the list that was given
    image: Indices  # [N] index of its image
    category: Indices  # [N]
    group: Indices  # [N] its image and category, as one number
    box: Floats  # [N, 4] x, y, width, height

    def __getitem__(self, chosen: Indices | Flags) -> "_Boxes":
        return _Boxes(**{name: values[chosen] for name, values in vars(self).items()})


def match(ground_truth: Mapping[str, Any], detections: Records) -> Matches:
    """What COCO's evaluation finds of detections.

    What is in none of the images, or of none of the categories, is left out.
    """
    images = sorted({image["id"] for image in ground_truth["images"]})
    categories = sorted({category["id"] for category in ground_truth["categories"]})
    annotations = ground_truth["annotations"]
    truths = _read(annotations, images, categories)
    area = _column(annotations, "area", truths)
    is_crowd = _column(annotations, "iscrowd", truths) != 0
    counts = ~is_crowd[:, None] & ~_is_outside(area)
    found = _read(detections, images, categories)
    score = _column(detections, "score", found)
    order = np.lexsort((found.image, -score, found.category))
    order = order[ranks(found.group[order]) < MOST]
    found = found[order]
    return Matches(
        image_ids=np.array(images, dtype=np.int64),
        category_ids=np.array(categories, dtype=np.int64),
        image=found.image.astype(np.int32),
        category=found.category.astype(np.int16),
        score=score[order],
        state=_states(found, truths, counts, is_crowd),
        source=found.source.astype(np.int32),
        truth_image=truths.image.astype(np.int32),
        truth_category=truths.category.astype(np.int16),
        truth_counts=counts,
        truth_source=truths.source.astype(np.int32),
    )


def ranks(groups: NDArray[Any]) -> Indices:
    """[N] -> [N]: how many of the same group stand before each."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=NOTHING))
    result = np.empty(len(groups), dtype=np.int64)
    result[order] = np.arange(len(groups)) - starts.repeat(np.diff(starts, append=len(groups)))
    return result


def _read(records: Records, images: Sequence[int], categories: Sequence[int]) -> _Boxes:
    """Those of these images and categories, in their order."""
    image = _places(records, "image_id", images)
    category = _places(records, "category_id", categories)
    sides = np.array([record["bbox"] for record in records], dtype=np.float64)
    boxes = _Boxes(
        source=np.arange(len(records)),
        image=image,
        category=category,
        group=image * len(categories) + category,
        box=sides.reshape(len(records), 4),
    )
    is_known = (image != NOTHING) & (category != NOTHING)
    return boxes if is_known.all() else boxes[is_known]


def _places(records: Records, key: str, ids: Sequence[int]) -> Indices:
    """[N] each record's place in ids, or NOTHING."""
    places = {id: place for place, id in enumerate(ids)}
    return np.array([places.get(record[key], NOTHING) for record in records], dtype=np.int64)


def _column(records: Records, key: str, boxes: _Boxes) -> Floats:
    """[N] what the records of the boxes have there."""
    return np.array([record[key] for record in records], dtype=np.float64)[boxes.source]


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
    of_found = np.flatnonzero(np.isin(found.group, truths.group))
    of_found = of_found[np.argsort(found.group[of_found], kind="stable")]
    of_truths = np.argsort(truths.group, kind="stable")
    groups = np.unique(found.group[of_found])
    start, end = _ends(found.group[of_found], groups)
    first, last = _ends(truths.group[of_truths], groups)
    boxes, others, crowds = found.box[of_found], truths.box[of_truths], is_crowd[of_truths]
    overlaps = [
        mask.iou(boxes[a:b], others[c:d], crowds[c:d]).ravel()
        for a, b, c, d in np.stack([start, end, first, last], axis=1).tolist()
    ]
    iou = np.concatenate([np.zeros(0), *overlaps])
    width = last - first
    size = (end - start) * width
    within = np.arange(len(iou)) - np.repeat(np.cumsum(size) - size, size)
    rank, place = np.divmod(within, np.repeat(width, size))
    detection = of_found[np.repeat(start, size) + rank]
    truth = of_truths[np.repeat(first, size) + place]
    near = np.flatnonzero(iou >= IOUS[0])
    order = near[np.lexsort((truth[near], iou[near], detection[near], rank[near]))]
    return rank[order], detection[order], truth[order], iou[order]


def _ends(sorted_groups: Indices, groups: Indices) -> tuple[Indices, Indices]:
    """Where each group begins and ends."""
    return np.searchsorted(sorted_groups, groups), np.searchsorted(sorted_groups, groups, "right")


RECALLS = np.linspace(0, 1, 101)  # where precision is read
MOSTS = sorted({most for _, _, most in COCO_NUMBERS.values()})
TINY = np.spacing(1)  # as pycocotools has it, against 0 / 0
NONE = -1.0  # of a category without objects


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
    return {name: _number(name, precision, recall) for name in COCO_NUMBERS}


def _precision(is_true: NDArray[np.bool_], num_found: NDArray[np.int64], num_truths: int) -> Floats:
    """[D], [D], best score first -> [101]: the highest that is reached at a recall or beyond."""
    places = np.flatnonzero(is_true)  # only there recall rises, and precision is highest
    num_true = np.arange(1, len(places) + 1)
    precision = num_true / (num_found[places] + TINY)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(num_true / num_truths, RECALLS)
    return np.append(best, 0)[reached]  # 0 where the recall is not reached


def _number(name: str, precision: Floats, recall: Floats) -> float | None:
    """The mean over all that is defined. precision: [4, 10, 101, C], recall: [3, 4, 10, C]."""
    iou, area, most = COCO_NUMBERS[name]
    every = precision if name.startswith("AP") else recall[MOSTS.index(most)]
    values = every[AREAS.index(area.partition(",")[0])]
    if ":" not in iou:
        values = values[float(iou) == IOUS]
    defined = values[values > NONE]
    return 100 * float(defined.mean()) if defined.size else None
