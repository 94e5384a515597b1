"""What is behind one run's numbers: precision and recall, classes, errors, images.

    precision   the mean of each curve is one of the six numbers
    errors      how often each kind occurs, and what AP50 would gain without it (mending.py)
    images      of each a score: how well its objects are found when only detections above a
                threshold count, the one at which most is right and least is wrong over all images

An image's score is its F1 = 2 true / (true + false + to be found), meaned over IoU 0.50:0.95, in
percent; of an image with nothing to be found there is none. The threshold is that of the highest F1
over all images and classes at IoU 0.5. AP cannot rank images: of one alone it is mostly 0 or 100.

Shapes: I images, C categories, D detections of Matches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL, HALF, errors_of
from detector.evaluation.match_records import AREAS, FALSE, IGNORED, IOUS, TRUE, Matches
from detector.metrics import HEADINGS
from reports.coco_bootstrap import NONE, Numbers, precisions
from reports.mending import Share, breakdown

DIGITS = 2  # of percent


@dataclass(frozen=True)
class ClassInsight:
    """One class: AP in percent, None where there is nothing to find."""

    id: int
    name: str
    num_truths: int
    ap: float | None
    ap50: float | None


@dataclass(frozen=True)
class ImageInsight:
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


@dataclass(frozen=True, kw_only=True)
class Insight:
    """What is behind one run's numbers."""

    precision: Mapping[str, tuple[float, ...]]  # field of Metrics -> percent at 101 recalls
    classes: tuple[ClassInsight, ...]  # by id
    errors: Mapping[str, Share]  # of mending.ERRORS and SPECIAL
    threshold: float  # the score from which on detections count for images
    images: tuple[ImageInsight, ...]  # in the order of Matches

    def best(self, count: int) -> list[ImageInsight]:
        """The images with the highest scores; of equal ones those with more objects."""
        return [image for _, _, _, image in sorted(self._ranks(-1.0))[:count]]

    def worst(self, count: int) -> list[ImageInsight]:
        """The images with the lowest scores; of equal ones those with more objects."""
        return [image for _, _, _, image in sorted(self._ranks(1.0))[:count]]

    def _ranks(self, sign: float) -> list[tuple[float, int, int, ImageInsight]]:
        return [
            (sign * image.score, -image.num_truths, image.id, image)
            for image in self.images
            if image.score is not None
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "precision": {name: list(curve) for name, curve in self.precision.items()},
            "classes": [asdict(item) for item in self.classes],
            "errors": {name: asdict(share) for name, share in self.errors.items()},
            "threshold": self.threshold,
            "images": [list(astuple(image)) for image in self.images],
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Insight":
        """The inverse of to_json; KeyError or TypeError for other content."""
        return Insight(
            precision={name: tuple(curve) for name, curve in content["precision"].items()},
            classes=tuple(ClassInsight(**item) for item in content["classes"]),
            errors={name: Share(**share) for name, share in content["errors"].items()},
            threshold=content["threshold"],
            images=tuple(ImageInsight(*image) for image in content["images"]),
        )


def insight(
    matches: Matches, ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]
) -> Insight:
    """ground_truth and detections are those that matches was made of."""
    once = np.ones((1, len(matches.image_ids)), dtype=np.float32)
    by_area = [precisions(matches, once, area)[0] for area in range(len(AREAS))]
    names = {item["id"]: item["name"] for item in ground_truth["categories"]}
    threshold = _best_threshold(matches)
    return Insight(
        precision=_curves(by_area),
        classes=tuple(_classes(matches, by_area[ALL], names)),
        errors=breakdown(matches, errors_of(matches, ground_truth, detections)),
        threshold=threshold,
        images=tuple(_images(matches, threshold)),
    )


def _curves(by_area: Sequence[Numbers]) -> dict[str, tuple[float, ...]]:
    """[10, 101, C] of each area -> each metric's curve, meaned over its IoUs and the classes."""
    every, small, medium, large = by_area
    parts = (every, every[IOUS == 0.5], every[IOUS == 0.75], small, medium, large)
    found = {}
    for name, part in zip(HEADINGS, parts, strict=True):
        is_there = part[0, 0] > NONE  # [C]
        if is_there.any():
            curve = 100 * part[:, :, is_there].mean(axis=(0, 2))
            found[name] = tuple(curve.round(DIGITS).tolist())
    return found


def _classes(matches: Matches, precision: Numbers, names: Mapping[int, str]) -> list[ClassInsight]:
    """precision: [10, 101, C]."""
    counted = matches.truth_category[matches.truth_counts[:, ALL]]
    counts = np.bincount(counted, minlength=len(matches.category_ids)).tolist()
    ap, ap50 = 100 * precision.mean(axis=(0, 1)), 100 * precision[HALF].mean(axis=0)
    return [
        ClassInsight(
            id=number,
            name=names[number],
            num_truths=count,
            ap=round(float(ap[place]), DIGITS) if count else None,
            ap50=round(float(ap50[place]), DIGITS) if count else None,
        )
        for place, (number, count) in enumerate(
            zip(matches.category_ids.tolist(), counts, strict=True)
        )
    ]


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


def _images(matches: Matches, threshold: float) -> list[ImageInsight]:
    size = len(matches.image_ids)
    is_shown = matches.score >= threshold
    state, image = matches.state[is_shown, ALL], matches.image[is_shown]
    true, false = (
        np.stack([np.bincount(image[is_it], minlength=size) for is_it in (state == kind).T], axis=1)
        for kind in (TRUE, FALSE)
    )  # [I, 10] each
    counted = matches.truth_image[matches.truth_counts[:, ALL]]
    truths = np.bincount(counted, minlength=size)
    f1 = 2 * true / np.maximum(true + false + truths[:, None], 1)
    scores = (100 * f1.mean(axis=1)).round(DIGITS)
    columns: list[NDArray[Any]] = [matches.image_ids, scores, true[:, HALF], truths, false[:, HALF]]
    return [
        ImageInsight(number, score if count else None, found, count - found, wrong)
        for number, score, found, count, wrong in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
