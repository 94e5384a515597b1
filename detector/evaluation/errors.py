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

Shapes: D detections and G truths, of Matches (crowds among them) or of an image. Boxes are [x, y,
width, height].
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

Indices = NDArray[np.int64]
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Errors:
    """Of every detection what is wrong with it, and which truths none is at."""

    kind: NDArray[np.int8]  # [D] place in KINDS, or NO_ERROR
    target: Indices  # [D] place of the truth that it found, or is wrong about; NOBODY for the rest
    missed: NDArray[np.bool_]  # [G]


def errors_of(matches: Matches, ground_truth: Mapping[str, Any], detections: Records) -> Errors:
    """Sort all errors; ground_truth and detections are those that matches was made of."""
    from pycocotools import mask  # which those who only read errors do without

    boxes = _boxes(detections, matches.source)
    truth_boxes = _boxes(ground_truth["annotations"], matches.truth_source)
    counts = matches.truth_counts[:, ALL]  # no crowds
    is_true, is_false = (matches.state[:, ALL, HALF] == state for state in (TRUE, FALSE))
    own, other = np.zeros((2, len(boxes)))  # the highest IoU with a truth of the class, of others
    own_truth, other_truth, target = np.full((3, len(boxes)), NOBODY, dtype=np.int64)
    num_images = len(matches.image_ids)
    of_images = _by_image(matches.image, num_images), _by_image(matches.truth_image, num_images)
    for found, all_truths in zip(*of_images, strict=True):
        truths = all_truths[counts[all_truths]]
        if not len(found) or not len(truths):
            continue
        iou = mask.iou(boxes[found], truth_boxes[truths], np.zeros(len(truths)))
        is_own = matches.category[found, None] == matches.truth_category[truths]
        own[found], own_truth[found] = _nearest(np.where(is_own, iou, 0), truths)
        other[found], other_truth[found] = _nearest(np.where(is_own, 0, iou), truths)
        may_match = np.where(is_own & (iou >= FOREGROUND - ROUNDING), iou, 0)
        for place in np.flatnonzero(is_true[found]):  # those of a class from the best down
            # Of equal overlaps the last, as in pycocotools; its records do not say who found whom.
            theirs = len(truths) - 1 - may_match[place, ::-1].argmax()
            if may_match[place, theirs] > 0:
                target[found[place]] = truths[theirs]
                may_match[:, theirs] = 0
    fits = {  # in this order: what is of the kind, and which truth it is about
        "localization": ((own >= BACKGROUND) & (own < FOREGROUND), own_truth),
        "classification": (other >= FOREGROUND, other_truth),
        "duplicate": (own >= FOREGROUND, own_truth),
        "background": (np.maximum(own, other) < BACKGROUND, target),
    }
    is_kind = [is_false & is_fit for is_fit, _ in fits.values()]
    places = [KINDS.index(name) for name in fits]
    kind = np.select([~is_false, *is_kind], [NO_ERROR, *places], KINDS.index("both"))
    target = np.select(is_kind, [truth for _, truth in fits.values()], target)
    is_covered = np.zeros(len(counts), dtype=bool)
    is_covered[target[target != NOBODY]] = True  # what a duplicate is of, another one has found
    return Errors(kind=kind.astype(np.int8), target=target, missed=counts & ~is_covered)


def _boxes(records: Records, places: NDArray[np.int32]) -> NDArray[np.float64]:
    boxes = [records[place]["bbox"] for place in places.tolist()]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _by_image(image: NDArray[np.int32], num_images: int) -> list[Indices]:
    """[N] -> for every image, the places of what is its."""
    ends = np.cumsum(np.bincount(image, minlength=num_images))
    return np.split(np.argsort(image, kind="stable"), ends[:-1])


def _nearest(iou: NDArray[np.float64], truths: Indices) -> tuple[NDArray[np.float64], Indices]:
    """[D, G], [G] -> each detection's highest IoU, and with which truth: the first of equals."""
    highest = iou.max(axis=1)
    return highest, np.where(highest > 0, truths[iou.argmax(axis=1)], NOBODY)
