"""What AP50 would be if one kind of error were mended (TIDE: Bolya et al., ECCV 2020, Sec. 2.3).

    classification, localization   the detection becomes true, of the class of the truth it is
                                   about; of several for one truth, the lower scores are left out
    both, duplicate, background    the detection is left out
    missed                         the truth need not be found
    false positives                every false detection is left out
    false negatives                no truth need be found but those that are

Each kind is mended by itself, so the gains need not add up to what is missing to 100.

Shapes: D detections, G truths, C categories of Matches.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL, HALF, KINDS, NO_ERROR, NOBODY, Errors
from detector.evaluation.match_records import FALSE, IGNORED, TRUE, Matches

MENDED_BY_TRUTH = ("classification", "localization")
MISSED, FALSE_POSITIVES, FALSE_NEGATIVES = "missed", "false positives", "false negatives"
ERRORS = (*KINDS, MISSED)  # in the order in which they are shown
SPECIAL = (FALSE_POSITIVES, FALSE_NEGATIVES)
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision


@dataclass(frozen=True)
class Share:
    """How often a kind of error occurs, and what AP50 would gain without it, in points."""

    count: int
    points: float


@dataclass(frozen=True, eq=False)
class _Scene:
    """What AP50 is computed from: the detections that count, and how many truths there are."""

    category: NDArray[np.int64]  # [D]
    score: NDArray[np.float64]  # [D]
    is_true: NDArray[np.bool_]  # [D]
    is_left: NDArray[np.bool_]  # [D]
    num_truths: NDArray[np.int64]  # [C]


def breakdown(matches: Matches, errors: Errors) -> dict[str, Share]:
    """ERRORS and SPECIAL: how many there are, and what AP50 would gain without them."""
    state = matches.state[:, ALL, HALF]
    scene = _Scene(
        matches.category.astype(np.int64),
        matches.score,
        state == TRUE,
        state != IGNORED,
        _count(matches, matches.truth_counts[:, ALL]),
    )
    is_false = state == FALSE
    num_found = np.bincount(scene.category[scene.is_true], minlength=len(scene.num_truths))
    num_missed = _count(matches, errors.missed)
    mended = {name: _without(scene, matches, errors, name) for name in KINDS} | {
        MISSED: replace(scene, num_truths=scene.num_truths - num_missed),
        FALSE_POSITIVES: replace(scene, is_left=scene.is_left & ~is_false),
        FALSE_NEGATIVES: replace(scene, num_truths=num_found),
    }
    counts = {name: int((errors.kind == place).sum()) for place, name in enumerate(KINDS)} | {
        MISSED: int(num_missed.sum()),
        FALSE_POSITIVES: int(is_false.sum()),
        FALSE_NEGATIVES: int((scene.num_truths - num_found).sum()),
    }
    now = _ap50(scene)
    return {name: Share(counts[name], _ap50(scene) - now) for name, scene in mended.items()}


def _count(matches: Matches, is_meant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[G] -> [C]: how many of them each category has."""
    return np.bincount(matches.truth_category[is_meant], minlength=len(matches.category_ids))


def _without(scene: _Scene, matches: Matches, errors: Errors, name: str) -> _Scene:
    """The scene with one kind of false detections mended."""
    is_meant = errors.kind == KINDS.index(name)
    if name not in MENDED_BY_TRUTH:
        return replace(scene, is_left=scene.is_left & ~is_meant)
    is_found = scene.is_true & (errors.kind == NO_ERROR) & (errors.target != NOBODY)
    claims = np.flatnonzero(is_meant | is_found)
    # The best of each truth's stays; of equal scores the one that was true before.
    order = claims[np.lexsort((is_meant[claims], -scene.score[claims], errors.target[claims]))]
    is_best = np.diff(errors.target[order], prepend=NOBODY) != 0
    best, others = order[is_best], order[~is_best]
    category, is_true, is_left = scene.category.copy(), scene.is_true.copy(), scene.is_left.copy()
    category[best] = matches.truth_category[errors.target[best]]
    is_true[best], is_left[others] = True, False
    return replace(scene, category=category, is_true=is_true, is_left=is_left)


def _ap50(scene: _Scene) -> float:
    """In percent, the mean over the categories with truths; 100 where nothing is left to find."""
    left = np.flatnonzero(scene.is_left)
    ordered = left[np.lexsort((-scene.score[left], scene.category[left]))]
    ends = np.searchsorted(scene.category[ordered], np.arange(len(scene.num_truths) + 1))
    found = [
        _average_precision(scene.is_true[ordered[ends[place] : ends[place + 1]]], number)
        for place, number in enumerate(scene.num_truths.tolist())
        if number
    ]
    return 100 * float(np.mean(found)) if found else 100.0


def _average_precision(is_true: NDArray[np.bool_], num_truths: int) -> float:
    """The mean over 101 recalls of the highest precision there or beyond, as COCO has it."""
    found = np.cumsum(is_true)
    precision = found / np.arange(1, len(found) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(found / num_truths, RECALLS)
    return float(np.append(highest, 0.0)[reached].mean())
