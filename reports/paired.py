"""Two configurations on the same images: in what they differ, and whether that may be chance.

All differences are the second minus the first. Each is paired as statistics.difference does it.

    metrics   the six numbers, and AR: the mean over classes and IoUs of the highest recall
    classes   AP of each; which of so many differences count is by Holm's method, at 5 % for all
              classes together
    errors    what AP50 would gain without each kind of error (breakdown.py)
    images    their scores (breakdown.py)

Shapes: R resamples, C classes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.errors import ALL
from detector.evaluation.match_records import TRUE, Matches
from detector.metrics import HEADINGS, Metrics
from reports.breakdown import ERRORS, SPECIAL, Insight
from reports.coco_bootstrap import (
    BLOCK,
    NONE,
    RESAMPLES,
    Numbers,
    Scores,
    image_weights,
    precisions,
)
from reports.intervals import LEVEL, Estimate, difference
from reports.numbers import MISSING, finite, least_shown, number, signed, signed_interval
from reports.render import BREAK, Cell, Grid, Kind, Line, line

CLASS_RESAMPLES = 300  # their standard deviation is known to 4 %
LEAST_IMAGES = 10  # with an object of a class, for an interval of its AP
CLASSES, IMAGES = 12, 5  # lines of a table, of images: on either side
TOLD = "*"
MORE_SEEDS = "only more seeds can tell"

TABLES = {  # title, and the heads after A, B and their difference
    "metrics": ("B against A (%)", "95 % interval", "error: images", "seeds"),
    "classes": ("AP of each class, the largest differences first (%)", "95 % interval", "objects"),
    "errors": ("What AP50 would gain without one kind of error (points)",),
    "images": ("The images, by id, on which they differ most",),
}
OF_SEEDS = (
    "Error from images, from seeds: standard errors of the difference from the sample of images, "
    "which is paired, and from that of seeds; the interval holds both."
)
OF_ONE_SEED = (
    "Error from images: standard error of the difference from the sample of images, which is "
    "paired. One seed: the interval is of these trained weights, not of configurations."
)
OF_ERRORS = (
    "Each kind is mended by itself, as TIDE does; less is better. Means over seeds; no intervals."
)
OF_IMAGES = (
    "An image's score is its F1 over IoU 0.50:0.95 in percent, of detections above the threshold "
    "that is best for each."
)


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
    difference: float | None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class ClassDifference(Difference):
    """AP of one class; is_told_apart: with all other classes taken into account."""

    num_truths: int = 0
    is_told_apart: bool = False


@dataclass(frozen=True, kw_only=True)
class Paired:
    """All that they differ in; of classes and images the largest differences first."""

    names: tuple[str, str]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]  # of the runs that are compared
    metrics: tuple[Difference, ...]
    classes: tuple[ClassDifference, ...]
    errors: tuple[Difference, ...]
    images: Mapping[int, tuple[float, float]]  # id -> both scores
    num_images: int
    notes: tuple[str, ...]


def compare(first: Side, second: Side) -> Paired:
    """ValueError where they were tested on other images or classes."""
    runs = [*first.runs, *second.runs]
    if len({(run.scores.images, *run.matches.category_ids.tolist()) for run in runs}) > 1:
        raise ValueError(
            f"'{first.name}' and '{second.name}' were tested on other images or classes: "
            "differences are paired by image, so both need the same"
        )
    shared = first.seeds & second.seeds
    ones, others = (
        [run for run in side.runs if run.scores.seed in (shared or side.seeds)]
        for side in (first, second)
    )
    before, after = ([run.scores for run in runs] for runs in (ones, others))
    weights = _weights(ones[0], RESAMPLES)
    recall = {run: recalls(run.matches, weights) for run in (*ones, *others)}
    return Paired(
        names=(first.name, second.name),
        seeds=(tuple(sorted(shared or first.seeds)), tuple(sorted(shared or second.seeds))),
        metrics=(
            *(_change(label, before, after, metric) for metric, label in HEADINGS.items()),
            _change("AR", _in_place_of_ap(ones, recall), _in_place_of_ap(others, recall)),
        ),
        classes=_classes(ones, others),
        errors=tuple(_error(kind, ones, others) for kind in (*ERRORS, *SPECIAL)),
        images=_images(ones, others),
        num_images=ones[0].scores.num_images,
        notes=tuple(_notes(first, second)),
    )


def _notes(first: Side, second: Side) -> Iterator[str]:
    """How the runs are paired, and what else may have moved the numbers."""
    extra = ", ".join(map(str, sorted(first.seeds ^ second.seeds)))
    if not first.seeds & second.seeds:
        yield "They share no seed, so seeds are not paired; images are."
    elif extra:
        yield f"Of the seeds that both have, so without {extra}."
    for name in dict.fromkeys([*first.facts, *second.facts]):
        one, other = (side.facts.get(name, "none") for side in (first, second))
        if one != other:
            yield f"They differ in {name}: {one} (A), {other} (B)."


def _change(
    name: str,
    before: Sequence[Scores],
    after: Sequence[Scores],
    metric: str = "ap",
    *,
    is_known: bool = True,
) -> Difference:
    """is_known: enough for an interval."""
    first, second = (_mean([getattr(run.metrics, metric) for run in it]) for it in (before, after))
    change = None if first is None or second is None else second - first
    known = difference(after, before, metric) if is_known else None
    return Difference(name, first, second, known.value if known else change, known)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _weights(run: Measured, resamples: int) -> NDArray[np.uint8]:
    """[1 + R, I]: every image once, then as drawn."""
    drawn = image_weights(run.scores.num_images, resamples)
    return np.concatenate([np.ones_like(drawn[:1]), drawn])


def _in_place_of_ap(runs: Sequence[Measured], numbers: Mapping[Measured, Numbers]) -> list[Scores]:
    """The scores of another quantity than AP. numbers: [1 + R] of each run, under _weights."""
    found = []
    for run in runs:
        value, draws = float(numbers[run][0]), numbers[run][1:, None]
        metrics = Metrics(ap=None if isnan(value) else value)
        found.append(replace(run.scores, metrics=metrics, draws=draws))
    return found


def _classes(ones: Sequence[Measured], others: Sequence[Measured]) -> tuple[ClassDifference, ...]:
    """Those that have something to find."""
    matches, weights = ones[0].matches, _weights(ones[0], CLASS_RESAMPLES)
    numbers = {run: class_precisions(run.matches, weights) for run in (*ones, *others)}
    found: list[ClassDifference] = []
    sides: list[tuple[list[Scores], list[Scores]]] = []
    for place, item in enumerate(ones[0].insight.classes):
        if item.num_truths:
            of_class = {run: it[:, place] for run, it in numbers.items()}  # [1 + R] each
            before, after = (_in_place_of_ap(runs, of_class) for runs in (ones, others))
            sides.append((after, before))
            is_here = matches.truth_counts[:, ALL] & (matches.truth_category == place)
            is_known = len(np.unique(matches.truth_image[is_here])) >= LEAST_IMAGES
            change = _change(item.name, before, after, is_known=is_known)
            found.append(ClassDifference(**vars(change), num_truths=item.num_truths))

    def is_clear(place: int, level: float) -> bool:
        known = difference(*sides[place], "ap", level=level)
        return bool(found[place].estimate and known and known.excludes_zero)

    told = holm(len(found), is_clear, 1 - LEVEL)
    lines = [replace(it, is_told_apart=place in told) for place, it in enumerate(found)]
    return tuple(sorted(lines, key=lambda it: -abs(it.difference or 0.0)))


def holm(number: int, is_clear: Callable[[int, float], bool], chance: float) -> set[int]:
    """Which of so many differences count, if any that does not may count with this probability.

    is_clear(place, level): whether a difference's interval of this level excludes zero. Step-down
    method of Holm (Scand. J. Statist. 6, 65-70, 1979).
    """
    told: set[int] = set()
    while len(told) < number:
        level = 1 - chance / (number - len(told))
        clear = {place for place in range(number) if is_clear(place, level)}
        if clear <= told:
            break
        told |= clear
    return told


def _error(kind: str, ones: Sequence[Measured], others: Sequence[Measured]) -> Difference:
    before, after = (
        fmean(run.insight.errors[kind].points for run in runs) for runs in (ones, others)
    )
    return Difference(kind, before, after, after - before)


def _images(ones: Sequence[Measured], others: Sequence[Measured]) -> dict[int, tuple[float, float]]:
    """Of those that have something to be found, the means over the runs."""
    columns = (zip(*(run.insight.images for run in runs), strict=True) for runs in (ones, others))
    found = {}
    for before, after in zip(*columns, strict=True):
        one, other = (_mean([image.score for image in images]) for images in (before, after))
        if one is not None and other is not None:
            found[before[0].id] = (one, other)
    return dict(sorted(found.items(), key=lambda it: (-abs(it[1][1] - it[1][0]), it[0])))


# Numbers under weights of the images


def recalls(matches: Matches, weights: NDArray[np.uint8]) -> Numbers:
    """[R, I] -> [R]: COCO's AR for at most 100 detections in percent; NaN with nothing to find."""
    total, num_classes = np.zeros(len(weights)), np.zeros(len(weights))
    rows = np.flatnonzero((matches.state[:, ALL] == TRUE).any(axis=1))
    share = (matches.state[rows, ALL] == TRUE).mean(axis=1, dtype=np.float32)  # of the IoUs
    for place in range(len(matches.category_ids)):
        is_counted = matches.truth_counts[:, ALL] & (matches.truth_category == place)
        num_truths = weights[:, matches.truth_image[is_counted]].sum(axis=1, dtype=np.float64)
        is_mine = matches.category[rows] == place
        found = weights[:, matches.image[rows[is_mine]]].astype(np.float32) @ share[is_mine]
        is_there = num_truths > 0
        total[is_there] += found[is_there] / num_truths[is_there]
        num_classes += is_there
    with np.errstate(invalid="ignore"):
        return 100 * (total / num_classes)


def class_precisions(matches: Matches, weights: NDArray[np.uint8]) -> Numbers:
    """[R, I] -> [R, C]: AP of each class in percent, NaN where there is nothing to find."""
    parts = []
    for start in range(0, len(weights), BLOCK):
        precision = precisions(matches, weights[start : start + BLOCK], ALL)  # [R, 10, 101, C]
        is_there = precision[:, 0, 0] > NONE
        parts.append(np.where(is_there, 100 * precision.mean(axis=(1, 2)), np.nan))
    return np.concatenate(parts)


# As tables, in one sentence, and as JSON


def grids(paired: Paired) -> list[Grid]:
    """Metrics, classes, errors, images."""
    errors = [_line(it)[:4] for it in paired.errors]
    classes = [(*_line(it)[:5], Cell(f"{it.num_truths:,}")) for it in paired.classes[:CLASSES]]
    images = [[_image_line(it, *paired.images[it]) for it in part] for part in extremes(paired)]
    tables: dict[str, tuple[list[list[Line]], Iterable[str]]] = {
        "metrics": ([[_line(it) for it in paired.metrics]], _about(paired)),
        "classes": ([classes], _about_classes(paired.classes)),
        "errors": ([errors[: len(ERRORS)], errors[len(ERRORS) :]], [OF_ERRORS]),
        "images": (images, [OF_IMAGES]),
    }
    return [
        Grid(
            name=f"compare-{name}",
            title=TABLES[name][0],
            head=line("", "A", "B", "B − A", *TABLES[name][1:]),
            blocks=tuple(tuple(block) for block in blocks if block),
            notes=tuple(notes),
        )
        for name, (blocks, notes) in tables.items()
        if any(blocks)
    ]


def _line(it: Difference) -> Line:
    """Name, both numbers, their difference, its interval, its errors from images and from seeds."""
    known = it.estimate
    mark = TOLD if isinstance(it, ClassDifference) and it.is_told_apart else ""
    kind: Kind = "ours" if known and known.excludes_zero else "difference"
    errors = (known.image_error, known.seed_error) if known else (None, None)
    return (
        *line(it.name, number(it.first), number(it.second)),
        Cell(signed(it.difference) + mark, kind),
        Cell(signed_interval(known), "interval"),
        *line(*(MISSING if error is None else f"{error:.2f}" for error in errors)),
    )


def _image_line(image: int, one: float, other: float) -> Line:
    return line(f"{image}", f"{one:.0f}", f"{other:.0f}", signed(other - one))


def _about(paired: Paired) -> Iterator[str]:
    (first, second), is_one = paired.names, len(paired.seeds[0]) == 1
    seeds = " and ".join(dict.fromkeys(", ".join(map(str, they)) for they in paired.seeds))
    seeds = f"seed {seeds}" if is_one else f"seeds {seeds}"
    yield f"A: {first}. B: {second}. {paired.num_images:,} images; {seeds}."
    yield OF_ONE_SEED if is_one else OF_SEEDS
    yield from paired.notes


def _about_classes(classes: Sequence[ClassDifference]) -> Iterator[str]:
    yield (
        f"{TOLD}: told apart with all {len(classes)} classes taken into account (Holm, 5 % for all "
        f"together): {sum(it.is_told_apart for it in classes)}. An interval is of its class alone. "
        f"{MISSING}: too few images."
    )
    if rest := classes[CLASSES:]:
        largest = abs(rest[0].difference or 0.0)
        yield f"{len(rest)} more classes differ by {largest:.1f} AP at most; JSON has all."


def extremes(paired: Paired) -> list[list[int]]:
    """The images on which B is better, and those on which A is, by as much as they differ."""
    better = [image for image, (one, other) in paired.images.items() if other > one]
    worse = [image for image, (one, other) in paired.images.items() if other < one]
    return [better[:IMAGES], worse[:IMAGES]]


def meaning(paired: Paired) -> str:
    """What the comparison says, and what it would take to say more, in one sentence."""
    first, second = paired.names
    ap = paired.metrics[0].estimate
    if ap is None:
        return "AP is undefined for one of them, so nothing can be said."
    over = f"{_count(ap.num_seeds, 'seed')} and {_count(ap.num_images, 'image')}"
    span = f"(95 % interval {signed_interval(ap).replace(BREAK, '')}, over {over})"
    size = f"{abs(ap.value):.1f}"
    amount = f"{second} has {size} AP {'more' if ap.value > 0 else 'less'} than {first} {span}"
    if not ap.excludes_zero:
        if float(size) == 0:
            amount = f"{second} has the AP of {first} {span}"
        wanted = f"from {least_shown(ap)} on these seeds and images would have shown it"
        return f"Not told apart: {amount}; {wanted if ap.num_seeds > 1 else MORE_SEEDS}."
    if ap.num_seeds == 1:
        return (
            f"Told apart as trained weights: {amount}; whether their configurations differ "
            f"{MORE_SEEDS}."
        )
    return f"Told apart: {amount}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def to_json(paired: Paired) -> dict[str, Any]:
    """Everything, also what the tables leave out; null for what is infinite or undefined."""
    content = asdict(paired) | {"meaning": meaning(paired)}
    content["images"] = [
        {"id": image, "first": one, "second": other, "difference": other - one}
        for image, (one, other) in paired.images.items()
    ]
    return dict(finite(content))
