"""What is behind one run's numbers: precision and recall, classes, errors, images.

    precision   curves, of which the mean of each is one of the six numbers
    errors      how often each kind occurs, and what AP50 would gain without it
    images      of each a score: how well its objects are found when only detections above a
                threshold count, the one at which most is right and least is wrong over all images

An image's score is its F1 = 2 true / (true + false + to be found), meaned over IoU 0.50:0.95, in
percent; of an image with nothing to be found there is none. The threshold is that of the highest F1
over all images and classes at IoU 0.5. AP cannot rank images: of one alone it is mostly 0 or 100.

Errors are mended as TIDE does (Bolya et al., ECCV 2020, Sec. 2.3), each kind by itself, so the
gains need not add up to what is missing to 100:

    classification, localization   the detection becomes true, of the class of the truth it is
                                   about; of several for one truth, the lower scores are left out
    both, duplicate, background    the detection is left out
    missed                         the truth need not be found
    false positives                every false detection is left out
    false negatives                no truth need be found but those that are

Shapes: I images, C categories, D detections, G truths of Matches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL, HALF, KINDS, NOBODY, Errors, errors_of
from detector.evaluation.match_records import AREAS, FALSE, IGNORED, TRUE, Matches
from reports.coco_bootstrap import NONE, RECALLS, Numbers, by_metric, precisions

ERRORS = (*KINDS, "missed")  # in the order in which they are shown
SPECIAL = ("false positives", "false negatives")
MENDED_BY_TRUTH = ("classification", "localization")
DIGITS = 2  # of percent


@dataclass(frozen=True)
class ClassInsight:
    """One class, and how many of its objects have to be found."""

    id: int
    name: str
    num_truths: int


class ImageInsight(NamedTuple):
    """One image: its score in percent, and at the threshold and IoU 0.5 what is right and wrong."""

    id: int
    score: float | None
    found: int
    missed: int
    false: int

    @property
    def num_truths(self) -> int:
        """How many objects have to be found."""
        return self.found + self.missed


@dataclass(frozen=True)
class Share:
    """How often a kind of error occurs, and what AP50 would gain without it, in points."""

    count: int
    points: float


@dataclass(frozen=True, kw_only=True)
class Insight:
    """What is behind one run's numbers."""

    precision: Mapping[str, tuple[float, ...]]  # field of Metrics -> percent at 101 recalls
    classes: tuple[ClassInsight, ...]  # by id
    errors: Mapping[str, Share]  # of ERRORS and SPECIAL
    threshold: float  # the score from which on detections count for images
    images: tuple[ImageInsight, ...]  # in the order of Matches

    def best(self, count: int, sign: int = -1) -> list[ImageInsight]:
        """The images with the highest scores; of equal ones those with more objects."""
        scored = [image for image in self.images if image.score is not None]
        ranked = sorted(scored, key=lambda it: (sign * (it.score or 0), -it.num_truths, it.id))
        return ranked[:count]

    def worst(self, count: int) -> list[ImageInsight]:
        """The images with the lowest scores; of equal ones those with more objects."""
        return self.best(count, sign=1)


def insight(
    matches: Matches, ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]
) -> Insight:
    """ground_truth and detections are those that matches was made of."""
    once = np.ones((1, len(matches.image_ids)), dtype=np.float32)
    by_area = [precisions(matches, once, area)[0] for area in range(len(AREAS))]
    names = {item["id"]: item["name"] for item in ground_truth["categories"]}
    counts = _by_class(matches, matches.truth_counts[:, ALL])
    threshold = _best_threshold(matches)
    return Insight(
        precision=_curves(by_area),
        classes=tuple(
            ClassInsight(number, names[number], count)
            for number, count in zip(matches.category_ids.tolist(), counts.tolist(), strict=True)
        ),
        errors=shares(matches, errors_of(matches, ground_truth, detections)),
        threshold=threshold,
        images=_images(matches, threshold),
    )


def _curves(by_area: Sequence[Numbers]) -> dict[str, tuple[float, ...]]:
    """[10, 101, C] of each area -> each metric's curve, meaned over its IoUs and the classes."""
    found = {}
    for name, part in by_metric(by_area).items():
        is_there = part[0, 0] > NONE  # [C]
        if is_there.any():
            curve = 100 * part[:, :, is_there].mean(axis=(0, 2))
            found[name] = tuple(curve.round(DIGITS).tolist())
    return found


def _by_class(matches: Matches, is_meant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[G] -> [C]: how many of them each category has."""
    return np.bincount(matches.truth_category[is_meant], minlength=len(matches.category_ids))


def _best_threshold(matches: Matches) -> float:
    """The score of the highest F1 over all images and classes at IoU 0.5; 0 without detections."""
    state = matches.state[:, ALL, HALF]
    counted = np.flatnonzero(state != IGNORED)
    if not len(counted):
        return 0.0
    order = counted[np.argsort(-matches.score[counted], kind="stable")]
    true = np.cumsum(state[order] == TRUE)
    f1 = 2 * true / (np.arange(1, len(order) + 1) + matches.truth_counts[:, ALL].sum())
    is_last = np.diff(matches.score[order], append=-1.0) != 0  # equal scores count together
    return float(matches.score[order][is_last][np.argmax(f1[is_last])])


def _images(matches: Matches, threshold: float) -> tuple[ImageInsight, ...]:
    size = len(matches.image_ids)
    is_shown = matches.score >= threshold
    state, image = matches.state[is_shown, ALL], matches.image[is_shown]
    true, false = (
        np.stack([np.bincount(image[is_it], minlength=size) for is_it in (state == kind).T], axis=1)
        for kind in (TRUE, FALSE)
    )  # [I, 10] each
    truths = np.bincount(matches.truth_image[matches.truth_counts[:, ALL]], minlength=size)
    f1 = 2 * true / np.maximum(true + false + truths[:, None], 1)
    scores = (100 * f1.mean(axis=1)).round(DIGITS)
    columns = (matches.image_ids, scores, true[:, HALF], truths, false[:, HALF])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(
        ImageInsight(number, score if count else None, found, count - found, wrong)
        for number, score, found, count, wrong in rows
    )


# Errors, each kind mended by itself

Lines = tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.bool_]]  # [D] each, see _ap50


def shares(matches: Matches, errors: Errors) -> dict[str, Share]:
    """ERRORS and SPECIAL: how many there are, and what AP50 would gain without them."""
    state, truths = matches.state[:, ALL, HALF], _by_class(matches, matches.truth_counts[:, ALL])
    is_true, missed = state == TRUE, _by_class(matches, errors.missed)
    found = np.bincount(matches.category[is_true], minlength=len(truths))
    lines: Lines = matches.category, is_true, state != IGNORED
    without = {
        name: (errors.kind == place, _mended(matches, errors, place, lines), truths)
        for place, name in enumerate(KINDS)
    } | {
        "missed": (missed, lines, truths - missed),
        "false positives": (state == FALSE, (matches.category, is_true, is_true), truths),
        "false negatives": (truths - found, lines, found),
    }
    now = _ap50(matches.score, lines, truths)
    return {
        name: Share(int(wrong.sum()), _ap50(matches.score, *then) - now)
        for name, (wrong, *then) in without.items()
    }


def _ap50(score: NDArray[np.float64], lines: Lines, num_truths: NDArray[np.int64]) -> float:
    """Of detections' scores, categories, whether they are true, and count; and of truths [C].

    In percent, the mean over the categories with truths; 100 with nothing left to find.
    """
    category, is_true, is_left = lines
    left = np.flatnonzero(is_left)
    left = left[np.lexsort((-score[left], category[left]))]
    by_class = np.split(is_true[left], np.searchsorted(category[left], range(1, len(num_truths))))
    pairs = zip(by_class, num_truths.tolist(), strict=True)
    found = [_average_precision(mine, number) for mine, number in pairs if number]
    return 100 * float(np.mean(found)) if found else 100.0


def _average_precision(is_true: NDArray[np.bool_], num_truths: int) -> float:
    """The mean over 101 recalls of the highest precision there or beyond, as COCO has it."""
    found = np.cumsum(is_true)
    precision = found / np.arange(1, len(found) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(found / num_truths, RECALLS)
    return float(np.append(highest, 0.0)[reached].mean())


def _mended(matches: Matches, errors: Errors, place: int, lines: Lines) -> Lines:
    """The detections with one of KINDS mended."""
    is_meant, (category, is_true, is_left) = errors.kind == place, lines
    if KINDS[place] not in MENDED_BY_TRUTH:
        return category, is_true, is_left & ~is_meant
    is_found = is_true & (errors.target != NOBODY)
    claims = np.flatnonzero(is_meant | is_found)
    # The best of each truth's stays; of equal scores the one that was true before.
    order = claims[np.lexsort((is_meant[claims], -matches.score[claims], errors.target[claims]))]
    is_best = np.diff(errors.target[order], prepend=NOBODY) != 0
    best, others = order[is_best], order[~is_best]
    category, is_true, is_left = category.copy(), is_true.copy(), is_left.copy()
    category[best] = matches.truth_category[errors.target[best]]
    is_true[best], is_left[others] = True, False
    return category, is_true, is_left
