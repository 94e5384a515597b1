"""Numbers of each class under weights of the images, and which of so many differences count.

Shapes: R samples, I images, C classes; D detections of a class.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL
from detector.evaluation.match_records import TRUE, Matches
from reports.resampling import BLOCK, NONE, Numbers, precisions


def recalls(matches: Matches, weights: NDArray[np.uint8]) -> Numbers:
    """[R, I] -> [R]: COCO's AR for at most 100 detections in percent; NaN with nothing to find."""
    total, num_classes = np.zeros(len(weights)), np.zeros(len(weights))
    ends = np.searchsorted(matches.category, np.arange(len(matches.category_ids) + 1))
    for place, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        is_counted = matches.truth_counts[:, ALL] & (matches.truth_category == place)
        num_truths = weights[:, matches.truth_image[is_counted]].sum(axis=1, dtype=np.float64)
        is_true = matches.state[start:end, ALL] == TRUE  # [D, 10]
        rows = np.flatnonzero(is_true.any(axis=1))
        drawn = weights[:, matches.image[start:end][rows]].astype(np.float32)
        found = drawn @ is_true[rows].mean(axis=1, dtype=np.float32)
        is_there = num_truths > 0
        total[is_there] += found[is_there] / num_truths[is_there]
        num_classes += is_there
    return 100 * np.divide(
        total, num_classes, out=np.full(len(weights), np.nan), where=num_classes > 0
    )


def class_precisions(matches: Matches, weights: NDArray[np.uint8]) -> Numbers:
    """[R, I] -> [R, C]: AP of each class in percent, NaN where there is nothing to find."""
    parts = []
    for start in range(0, len(weights), BLOCK):
        block = weights[start : start + BLOCK].astype(np.float32)
        precision = precisions(matches, block, ALL)  # [R, 10, 101, C]
        is_there = precision[:, 0, 0] > NONE
        parts.append(np.where(is_there, 100 * precision.mean(axis=(1, 2)), np.nan))
    return np.concatenate(parts)


def holm(number: int, is_clear: Callable[[int, float], bool], chance: float) -> list[bool]:
    """Which of so many differences count, if any that does not may count with this probability.

    is_clear(place, level): whether a difference's interval of this level excludes zero. Step-down
    method of Holm (Scand. J. Statist. 6, 65-70, 1979).
    """
    told = [False] * number
    while not all(told):
        level = 1 - chance / told.count(False)
        clear = [place for place in range(number) if not told[place] and is_clear(place, level)]
        if not clear:
            break
        for place in clear:
            told[place] = True
    return told
