"""COCO's twelve numbers, from what its matching found: equal to pycocotools' to the last bit.

Shapes: C categories; D detections of one of them; 4 areas, 10 IoUs, 101 recalls.
"""

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.match_records import AREAS, IGNORED, IOUS, TRUE, Matches
from detector.evaluation.matching import ranks
from detector.metrics import COCO_NUMBERS

RECALLS = np.linspace(0, 1, 101)  # where precision is read
MOSTS = sorted({most for _, _, most in COCO_NUMBERS.values()})
TINY = np.spacing(1)  # as pycocotools has it, against 0 / 0
NONE = -1.0  # of a category without objects

Floats = NDArray[np.float64]


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
