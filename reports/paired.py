"""Two configurations on the same images: in what they differ, and whether that may be chance.

All differences are the second minus the first. Each is paired as statistics.difference does it.

    metrics   the six numbers, and AR: the mean over classes and IoUs of the highest recall
    classes   AP of each; which of so many differences count is by Holm's method, at 5 % for all
              classes together
    errors    what AP50 would gain without each kind of error (mending.py)
    images    those whose scores (insight.py) differ most

Shapes: R resamples, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL
from detector.evaluation.match_records import TRUE, Matches
from detector.metrics import HEADINGS, Metrics
from reports.coco_bootstrap import (
    BLOCK,
    NONE,
    RESAMPLES,
    Numbers,
    Scores,
    image_weights,
    precisions,
)
from reports.insight import Insight
from reports.intervals import LEVEL, Estimate, difference
from reports.mending import ERRORS, SPECIAL

CLASS_RESAMPLES = 300  # their standard deviation is known to 4 %
LEAST_IMAGES = 10  # with an object of a class, for an interval of its AP
RECALL = "AR"


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One run."""

    scores: Scores
    matches: Matches
    insight: Insight


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """One configuration: its runs, one per seed, and how they were made and tested."""

    name: str
    runs: tuple[Measured, ...]
    facts: Mapping[str, str]

    @property
    def seeds(self) -> frozenset[int]:
        """Of its runs."""
        return frozenset(run.scores.seed for run in self.runs)


@dataclass(frozen=True)
class Difference:
    """A quantity of both, in AP points; estimate None where it is unknown how far it may vary."""

    name: str
    first: float | None
    second: float | None
    estimate: Estimate | None = None

    @property
    def value(self) -> float | None:
        """The second minus the first."""
        if self.estimate is not None:
            return self.estimate.value
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class ClassDifference:
    """AP of one class; is_told_apart: with all other classes taken into account."""

    difference: Difference
    num_truths: int
    is_told_apart: bool


@dataclass(frozen=True)
class ImageDifference:
    """The scores of one image."""

    id: int
    first: float
    second: float

    @property
    def value(self) -> float:
        """The second minus the first."""
        return self.second - self.first


@dataclass(frozen=True, kw_only=True)
class Paired:
    """All that two configurations differ in; the largest differences first."""

    names: tuple[str, str]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]  # of the runs that are compared
    metrics: tuple[Difference, ...]
    classes: tuple[ClassDifference, ...]
    errors: tuple[Difference, ...]
    images: tuple[ImageDifference, ...]
    num_images: int
    notes: tuple[str, ...]

    @property
    def ap(self) -> Difference:
        """The headline."""
        return self.metrics[0]


def compare(first: Side, second: Side) -> Paired:
    """ValueError where they were tested on other images or classes."""
    _require_the_same(first, second)
    shared = first.seeds & second.seeds
    used = [tuple(sorted(shared or side.seeds)) for side in (first, second)]
    ones, others = (
        tuple(run for run in side.runs if run.scores.seed in seeds)
        for side, seeds in zip((first, second), used, strict=True)
    )
    before, after = ([run.scores for run in runs] for runs in (ones, others))
    return Paired(
        names=(first.name, second.name),
        seeds=(used[0], used[1]),
        metrics=(
            *(_change(label, before, after, metric) for metric, label in HEADINGS.items()),
            _recall(ones, others),
        ),
        classes=tuple(_classes(ones, others)),
        errors=tuple(
            Difference(name, _points(ones, name), _points(others, name))
            for name in (*ERRORS, *SPECIAL)
        ),
        images=tuple(_images(ones, others)),
        num_images=ones[0].scores.num_images,
        notes=(*_of_seeds(first, second), *_unlike(first, second)),
    )


def _require_the_same(first: Side, second: Side) -> None:
    runs = [*first.runs, *second.runs]
    if len({run.scores.images for run in runs}) > 1:
        numbers = " and ".join(f"{it.runs[0].scores.num_images:,}" for it in (first, second))
        raise ValueError(
            f"'{first.name}' and '{second.name}' were tested on other images ({numbers} of them): "
            "differences are paired by image, so both need the same"
        )
    if len({tuple(run.matches.category_ids.tolist()) for run in runs}) > 1:
        raise ValueError(f"'{first.name}' and '{second.name}' were tested for other classes")


def _of_seeds(first: Side, second: Side) -> list[str]:
    """What a reader has to know of how the runs are paired."""
    if not first.seeds & second.seeds:
        return ["They share no seed, so seeds are not paired; images are."]
    if extra := first.seeds ^ second.seeds:
        return [f"Of the seeds that both have, so without {', '.join(map(str, sorted(extra)))}."]
    return []


def _change(
    name: str, ones: Sequence[Scores], others: Sequence[Scores], metric: str = "ap"
) -> Difference:
    before, after = (_mean([getattr(run.metrics, metric) for run in it]) for it in (ones, others))
    return Difference(name, before, after, difference(others, ones, metric))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _recall(ones: Sequence[Measured], others: Sequence[Measured]) -> Difference:
    weights = _weights(ones[0], RESAMPLES)
    before, after = (
        [_in_place_of_ap(run, recalls(run.matches, weights)) for run in runs]
        for runs in (ones, others)
    )
    return _change(RECALL, before, after)


def _weights(run: Measured, resamples: int) -> NDArray[np.uint8]:
    """[1 + R, I]: every image once, then as drawn."""
    num_images = run.scores.num_images
    once = np.ones((1, num_images), dtype=np.uint8)
    return np.concatenate([once, image_weights(num_images, resamples)])


def _in_place_of_ap(run: Measured, numbers: Numbers) -> Scores:
    """The scores of another quantity than AP. numbers [1 + R]: under _weights."""
    value = None if np.isnan(numbers[0]) else float(numbers[0])
    return replace(run.scores, metrics=Metrics(ap=value), draws=numbers[1:, None])


def _classes(ones: Sequence[Measured], others: Sequence[Measured]) -> list[ClassDifference]:
    """Those that have something to find, the largest differences first."""
    weights = _weights(ones[0], CLASS_RESAMPLES)
    numbers = [
        [(run, class_precisions(run.matches, weights)) for run in runs] for runs in (ones, others)
    ]  # [1 + R, C] of each run
    found: list[tuple[Difference, int]] = []
    sides: list[tuple[list[Scores], list[Scores]]] = []
    for place, item in enumerate(ones[0].insight.classes):
        if item.num_truths:
            before, after = (
                [_in_place_of_ap(run, of_run[:, place]) for run, of_run in side] for side in numbers
            )
            line = _change(item.name, before, after)
            is_known = _num_images_with(ones[0].matches, place) >= LEAST_IMAGES
            found.append((line if is_known else replace(line, estimate=None), item.num_truths))
            sides.append((after, before))

    def is_clear(place: int, level: float) -> bool:
        known = difference(*sides[place], "ap", level=level)
        is_judged = found[place][0].estimate is not None
        return is_judged and known is not None and known.excludes_zero

    told = holm(len(found), is_clear, 1 - LEVEL)
    lines = [ClassDifference(*pair, is_it) for pair, is_it in zip(found, told, strict=True)]
    return sorted(lines, key=lambda it: -abs(it.difference.value or 0.0))


def _num_images_with(matches: Matches, place: int) -> int:
    """How many images have something of a class to be found."""
    is_here = matches.truth_counts[:, ALL] & (matches.truth_category == place)
    return len(np.unique(matches.truth_image[is_here]))


def _points(runs: Sequence[Measured], name: str) -> float:
    return fmean(run.insight.errors[name].points for run in runs)


def _images(one: Sequence[Measured], other: Sequence[Measured]) -> list[ImageDifference]:
    """Those that have a score, the largest differences first."""
    first, second = _scores_of_images(one), _scores_of_images(other)
    lines = [ImageDifference(number, score, second[number]) for number, score in first.items()]
    return sorted(lines, key=lambda line: (-abs(line.value), line.id))


def _scores_of_images(runs: Sequence[Measured]) -> dict[int, float]:
    """The mean over the runs."""
    columns = zip(*(run.insight.images for run in runs), strict=True)
    scores = {images[0].id: [image.score for image in images] for images in columns}
    return {
        number: fmean(known)
        for number, values in scores.items()
        if (known := [value for value in values if value is not None])
    }


def _unlike(first: Side, second: Side) -> list[str]:
    """What else may have moved the numbers."""
    names = dict.fromkeys([*first.facts, *second.facts])
    facts = [
        (name, first.facts.get(name, "none"), second.facts.get(name, "none")) for name in names
    ]
    return [
        f"They differ in {name}: {one} (A), {other} (B)."
        for name, one, other in facts
        if one != other
    ]


# Numbers of each class under weights of the images, and which of so many differences count


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
