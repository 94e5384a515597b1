"""What is wrong with each detection, sorted as TIDE does (Bolya et al., ECCV 2020, Sec. 2.2).

A detection that is false at IoU 0.5 is one of KINDS, the first that fits of

    localization    0.1 <= IoU < 0.5 with a truth of its class
    classification  IoU >= 0.5 with a truth of another class
    duplicate       IoU >= 0.5 with a truth of its class, which a better detection has found
    background      IoU < 0.1 with every truth
    both            the others: 0.1 <= IoU < 0.5 with a truth of another class

The paper leaves open what a detection is that fits two; the order is that of its authors' code.
A truth is missed if no detection found it, and no localization or classification error is of it.
Crowds are no truths, and what COCO's evaluation ignores is no error.

Shapes: D detections and G truths of Matches, crowds among them; P pairs of
a detection and a truth in its image. Boxes are [x, y, width, height].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.match_records import FALSE, TRUE, Matches

KINDS = ("classification", "localization", "both", "duplicate", "background")
NO_ERROR = -1  # of a detection that is true, or ignored
NOBODY = -1  # the target of a detection that is at no truth
FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU
ALL, HALF = 0, 0  # places in Matches.state: every area, IoU 0.5
ROUNDING = 1e-9  # of an IoU: what COCO's evaluation called true has a truth for certain
BLOCK = 50_000  # detections whose pairs are in memory at once

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Nearest = tuple[Array, Indices]  # [D] the highest IoU, 0 without one, and with which truth
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Errors:
    """Of every detection what is wrong with it, and which truths none is at."""

    kind: NDArray[np.int8]  # [D] place in KINDS, or NO_ERROR
    target: Indices  # [D] place of the truth that it found, or is wrong about; NOBODY for the rest
    missed: NDArray[np.bool_]  # [G]


def errors_of(matches: Matches, ground_truth: Mapping[str, Any], detections: Records) -> Errors:
    """Sort all errors; ground_truth and detections are those that matches was made of."""
    annotations = ground_truth["annotations"]
    boxes = _boxes(detections, matches.source)
    (own, own_truth), (other, other_truth), claims = _nearest(
        matches, boxes, _boxes(annotations, matches.truth_source)
    )
    kind = _kinds(matches, own, other)
    target = np.select(
        [kind == KINDS.index(name) for name in ("localization", "classification", "duplicate")],
        [own_truth, other_truth, own_truth],
        NOBODY,
    )
    found, theirs = _found(matches, *claims)
    target[found] = theirs
    is_covered = np.zeros(len(matches.truth_image), dtype=bool)
    is_covered[target[target != NOBODY]] = True  # what a duplicate is of, another one has found
    return Errors(kind=kind, target=target, missed=matches.truth_counts[:, ALL] & ~is_covered)


def _boxes(records: Records, places: NDArray[np.int32]) -> Array:
    boxes = [records[place]["bbox"] for place in places.tolist()]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _nearest(
    matches: Matches, boxes: Array, truth_boxes: Array
) -> tuple[Nearest, Nearest, tuple[Indices, Indices, Array]]:
    """[D, 4], [G, 4] -> the truths of a detection's class, and of others, that are nearest to it.

    And the pairs that may match, [P] each: detection, truth, IoU.
    """
    counted = np.flatnonzero(matches.truth_counts[:, ALL])  # no crowds
    ordered = counted[np.argsort(matches.truth_image[counted], kind="stable")]
    counts = np.bincount(matches.truth_image[ordered], minlength=len(matches.image_ids))
    first = np.cumsum(counts) - counts  # of each image's truths in ordered
    size = len(boxes)
    own, other = [(np.zeros(size), np.full(size, NOBODY, dtype=np.int64)) for _ in range(2)]
    claims = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    for start in range(0, size, BLOCK):
        image = matches.image[start : start + BLOCK]
        repeats = counts[image]
        detection = np.repeat(np.arange(start, start + len(image)), repeats)  # [P]
        place = np.arange(len(detection)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        truth = ordered[np.repeat(first[image], repeats) + place]
        iou = _iou(boxes[detection], truth_boxes[truth])
        is_own = matches.category[detection] == matches.truth_category[truth]
        _keep_highest(*own, detection[is_own], truth[is_own], iou[is_own])
        _keep_highest(*other, detection[~is_own], truth[~is_own], iou[~is_own])
        may_match = is_own & (iou >= FOREGROUND - ROUNDING)
        claims.append((detection[may_match], truth[may_match], iou[may_match]))
    detections, theirs, ious = zip(*claims, strict=True)
    return own, other, (np.concatenate(detections), np.concatenate(theirs), np.concatenate(ious))


def _iou(boxes: Array, others: Array) -> Array:
    """[P, 4], [P, 4] -> [P], computed in the order in which pycocotools does."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, 0] * sides[:, 1]
    union = boxes[:, 2] * boxes[:, 3] + others[:, 2] * others[:, 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _keep_highest(
    highest: Array, whose: Indices, detection: Indices, truth: Indices, iou: Array
) -> None:
    """Write each detection's highest IoU of the pairs, and with which truth: the first of equals.

    The pairs of a detection are neighbors.
    """
    if not len(detection):
        return
    begins = np.flatnonzero(np.diff(detection, prepend=-1))
    top = np.maximum.reduceat(iou, begins)
    is_top = (iou == np.repeat(top, np.diff(begins, append=len(iou)))) & (iou > 0)
    highest[detection[begins]] = top
    whose[detection[is_top][::-1]] = truth[is_top][::-1]


def _kinds(matches: Matches, own: Array, other: Array) -> NDArray[np.int8]:
    fits = {
        "localization": (own >= BACKGROUND) & (own < FOREGROUND),
        "classification": other >= FOREGROUND,
        "duplicate": own >= FOREGROUND,
        "background": np.maximum(own, other) < BACKGROUND,
    }
    places = [KINDS.index(name) for name in fits]
    kind = np.select(list(fits.values()), places, KINDS.index("both"))
    is_false = matches.state[:, ALL, HALF] == FALSE
    return np.where(is_false, kind, NO_ERROR).astype(np.int8)


def _found(
    matches: Matches, detection: Indices, truth: Indices, iou: Array
) -> tuple[Indices, Indices]:
    """The true detections, and which truth each found: in turn the one that it overlaps most.

    Of equal overlaps the last, as in pycocotools, whose records do not say who found whom.
    """
    is_true = matches.state[:, ALL, HALF] == TRUE
    detection, truth, iou = (part[is_true[detection]] for part in (detection, truth, iou))
    order = np.lexsort((-truth, -iou, detection))  # detections are numbered from the best down
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for one, other in zip(detection[order].tolist(), truth[order].tolist(), strict=True):
        if one not in pairs and other not in taken:
            pairs[one] = other
            taken.add(other)
    found = np.array([*pairs.items()], dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
