"""Two configurations on the same images: in what they differ, and whether that may be chance.

All differences are the second minus the first, paired as intervals.difference does it: the six
numbers and AR, AP of each class, kinds of errors and the images' scores (breakdown.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from detector.evaluation.match_records import Matches
from detector.metrics import HEADINGS, Metrics
from reports.breakdown import ERRORS, SPECIAL, Insight
from reports.coco_bootstrap import (
    RESAMPLES,
    Scores,
    class_precisions,
    image_weights,
    recalls,
    truths_of,
)
from reports.intervals import Estimate, difference
from reports.numbers import MISSING, errors, number, signed, signed_interval
from reports.render import BREAK, Cell, Grid, Kind, Line, line

CLASS_RESAMPLES = 300  # their standard deviation is known to 4 %
LEAST_IMAGES = 10  # with an object of a class, for an interval of its AP
CLASSES, IMAGES = 12, 5  # lines of a table, of images: on either side
MORE_SEEDS = "only more seeds can tell"

SIDES = ("A", "B", "B − A")
TABLES = {  # title, and the heads after A, B and their difference
    "metrics": ("B against A (%)", "95 % interval", "error: images", "seeds"),
    "classes": ("AP of each class, the largest differences first (%)", "95 % interval", "objects"),
    "errors": ("What AP50 would gain without one kind of error (points)",),
    "images": ("The images, by id, on which they differ most",),
}
OF_SEEDS = (
    "Error from images, from seeds: standard errors of the difference from the sample of images, "
    "which is paired, and from that of seeds; the interval holds both. With one seed it is of "
    "these trained weights, not of configurations."
)
OF_CLASSES = (
    "An interval is of its class alone: of 20 that do not differ one would be told apart. "
    f"{MISSING}: too few images."
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
    def seeds(self) -> set[int]:
        """Those of its runs."""
        return {run.scores.seed for run in self.runs}


@dataclass(frozen=True)
class Difference:
    """A quantity of both, in AP points; estimate None where it is unknown how far it may vary."""

    name: str
    first: float | None
    second: float | None
    difference: float | None
    estimate: Estimate | None
    num_truths: int | None = None  # of a class


@dataclass(frozen=True, kw_only=True)
class Paired:
    """All that they differ in; of classes and images the largest differences first."""

    names: tuple[str, str]
    seeds: tuple[list[int], list[int]]  # of the runs that are compared
    metrics: list[Difference]
    classes: list[Difference]
    errors: list[Difference]
    images: list[Difference]  # their names are their ids
    num_images: int
    notes: list[str]


def compare(first: Side, second: Side, note: str = "") -> Paired:
    """note: what else to say. ValueError where they were tested on other images or classes."""
    tested = [(run.scores.images, run.matches.category_ids) for run in (*first.runs, *second.runs)]
    if len({(images, *classes.tolist()) for images, classes in tested}) > 1:
        raise ValueError(
            f"'{first.name}' and '{second.name}' were tested on other images or classes: "
            "differences are paired by image, so both need the same"
        )
    shared = first.seeds & second.seeds
    before, after = (
        [run for run in side.runs if run.scores.seed in shared or not shared]
        for side in (first, second)
    )
    found: dict[str, list[Difference]] = {name: [] for name in TABLES}
    for its in zip(*map(_quantities, [*before, *after]), strict=True):
        (kind, name, num_truths, _), scores = its[0], [it for *_, it in its]
        sides = scores[: len(before)], scores[len(before) :]
        found[kind].append(_difference(name, num_truths, *sides))
    for kind in ("classes", "images"):
        found[kind].sort(key=lambda it: -abs(it.difference or 0.0))
    return Paired(
        names=(first.name, second.name),
        seeds=(sorted(shared or first.seeds), sorted(shared or second.seeds)),
        **found,
        num_images=before[0].scores.num_images,
        notes=[*filter(None, [note]), *_notes(first, second)],
    )


def _difference(
    name: str, num_truths: int | None, before: Sequence[Scores], after: Sequence[Scores]
) -> Difference:
    one, other = _mean(before), _mean(after)
    change = None if one is None or other is None else other - one
    return Difference(name, one, other, change, difference(after, before), num_truths)


def _mean(runs: Sequence[Scores]) -> float | None:
    aps = [ap for run in runs if (ap := run.metrics.ap) is not None]
    return fmean(aps) if len(aps) == len(runs) else None


def _notes(first: Side, second: Side) -> Iterator[str]:
    """How the runs are paired, and what else may have moved the numbers."""
    if not first.seeds & second.seeds:
        yield "They share no seed, so seeds are not paired; images are."
    elif extra := first.seeds ^ second.seeds:
        yield f"Of the seeds that both have, so without {', '.join(map(str, sorted(extra)))}."
    sides = [
        {name: side.facts.get(name, "none") for name in [*first.facts, *second.facts]}
        for side in (first, second)
    ]
    pairs = ((name, one, sides[1][name]) for name, one in sides[0].items())
    if facts := [f"{name}: {one} (A), {other} (B)" for name, one, other in pairs if one != other]:
        yield f"They differ in {'; '.join(facts)}."


def _quantities(run: Measured) -> Iterator[tuple[str, str, int | None, Scores]]:
    """All numbers of a run that are compared, in the same order for all runs of the same images.

    A key of TABLES, the number's name, objects of a class, and whose ap it is: with draws of NaN
    where it is unknown how far it may vary.
    """
    matches, insight, scores = run.matches, run.insight, run.scores

    def of(value: float | None, draws: Any = np.nan) -> Scores:
        """draws: [R]; None and NaN where undefined."""
        ap = None if value is None or np.isnan(value) else float(value)
        return replace(scores, metrics=Metrics(ap=ap), draws=np.reshape(draws, (-1, 1)))

    for place, (field, label) in enumerate(HEADINGS.items()):
        yield "metrics", label, None, of(getattr(scores.metrics, field), scores.draws[:, place])
    drawn = image_weights(scores.num_images, RESAMPLES)
    weights = np.concatenate([np.ones_like(drawn[:1]), drawn])  # every image once, then as drawn
    recall, *draws_of_it = recalls(matches, weights).tolist()
    yield "metrics", "AR", None, of(recall, draws_of_it)
    aps = class_precisions(matches, weights[: 1 + CLASS_RESAMPLES])  # [1 + R, C]
    num_images = (truths_of(matches) > 0).sum(axis=0)  # [C]
    for place, item in enumerate(insight.classes):
        draws = aps[1:, place] if num_images[place] >= LEAST_IMAGES else np.nan
        if item.num_truths:
            yield "classes", item.name, item.num_truths, of(aps[0, place], draws)
    for kind in (*ERRORS, *SPECIAL):
        yield "errors", kind, None, of(insight.errors[kind].points)
    for image in (image for image in insight.images if image.score is not None):
        yield "images", f"{image.id}", None, of(image.score)


# As tables, and in one sentence


def grids(paired: Paired) -> list[Grid]:
    """Metrics, classes, errors, images."""
    first, second = paired.names
    seeds = " and ".join(dict.fromkeys(", ".join(map(str, they)) for they in paired.seeds))
    seeds = f"seed {seeds}" if seeds.isdigit() else f"seeds {seeds}"
    about = f"A: {first}. B: {second}. {paired.num_images:,} images; {seeds}."
    tables: dict[str, tuple[Sequence[Sequence[Difference]], Iterable[str]]] = {
        "metrics": ([paired.metrics], [about, OF_SEEDS, *paired.notes]),
        "classes": ([paired.classes[:CLASSES]], [OF_CLASSES]),
        "errors": ([paired.errors[: len(ERRORS)], paired.errors[len(ERRORS) :]], [OF_ERRORS]),
        "images": (extremes(paired), [OF_IMAGES]),
    }
    return [
        Grid(
            name=f"compare-{name}",
            title=TABLES[name][0],
            head=line("", *SIDES, *TABLES[name][1:]),
            blocks=tuple(tuple(_line(name, it) for it in block) for block in blocks if block),
            notes=tuple(notes),
        )
        for name, (blocks, notes) in tables.items()
        if any(blocks)
    ]


def _line(table: str, it: Difference) -> Line:
    """The cells under the heads of a table."""
    both = [f"{one:.0f}" if table == "images" else number(one) for one in (it.first, it.second)]
    kind: Kind = "ours" if it.estimate and it.estimate.excludes_zero else "difference"
    heads = ("", "A", "B", "error: images", "seeds", "objects")
    texts = (it.name, *both, *errors(it.estimate), f"{it.num_truths or 0:,}")
    cells = dict(zip(heads, line(*texts), strict=True)) | {
        "B − A": Cell(signed(it.difference), kind),
        "95 % interval": Cell(signed_interval(it.estimate), "interval"),
    }
    return tuple(cells[head] for head in ("", *SIDES, *TABLES[table][1:]))


def extremes(paired: Paired) -> list[list[Difference]]:
    """The images on which B is better, and those on which A is, by as much as they differ."""
    known = [(it, it.difference or 0.0) for it in paired.images]
    return [[it for it, by in known if sign * by > 0][:IMAGES] for sign in (1, -1)]


def meaning(paired: Paired) -> str:
    """What the comparison says, and what it would take to say more, in one sentence."""
    first, second = paired.names
    ap = paired.metrics[0].estimate
    if ap is None:
        return "AP is undefined for one of them, so nothing can be said."
    seeds, images = f"{ap.num_seeds} seed{'s' * (ap.num_seeds > 1)}", f"{ap.num_images:,} images"
    span = f"(95 % interval {signed_interval(ap).replace(BREAK, '')}, over {seeds} and {images})"
    size, many = f"{abs(ap.value):.1f}", "more" if ap.value > 0 else "less"
    amount = f"{second} has {size} AP {many} than {first} {span}"
    if ap.excludes_zero and ap.num_seeds > 1:
        return f"Told apart: {amount}."
    if ap.excludes_zero:
        whether = f"whether their configurations differ {MORE_SEEDS}"
        return f"Told apart as trained weights: {amount}; {whether}."
    wanted = f"from {ap.visible():.1f} AP on these seeds and images would have shown it"
    return f"Not told apart: {amount}; {wanted if ap.num_seeds > 1 else MORE_SEEDS}."
