"""Two configurations on the same images: in what they differ, and whether that may be chance.

All differences are the second minus the first, paired as intervals.difference does it: the six
numbers and AR, AP of each class, kinds of errors and the images' scores (breakdown.py).

Shapes: R resamples, I images, C classes.
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
from reports.intervals import LEVEL, Estimate, difference
from reports.numbers import errors, number, signed, signed_interval
from reports.render import BREAK, Cell, Grid, Kind, Line, line, notes

CLASS_RESAMPLES = 300  # their standard deviation is known to 4 %
LEAST_IMAGES = 10  # with an object of a class, for an interval of its AP
CLASSES, IMAGES = 12, 5  # lines of a table, of images: on either side
TOLD = "*"

SIDES = ("A", "B", "B − A")
TABLES = {  # title, and the heads after A, B and their difference
    "metrics": ("B against A (%)", "95 % interval", "error: images", "seeds"),
    "classes": ("AP of each class, the largest differences first (%)", "95 % interval", "objects"),
    "errors": ("What AP50 would gain without one kind of error (points)",),
    "images": ("The images, by id, on which they differ most",),
}


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


@dataclass(frozen=True)
class Difference:
    """A quantity of both, in AP points; estimate None where it is unknown how far it may vary."""

    name: str
    first: float | None
    second: float | None
    difference: float | None
    estimate: Estimate | None
    num_truths: int | None = None  # of a class
    is_told_apart: bool = False  # of a class: with all others taken into account


@dataclass(frozen=True, kw_only=True)
class Paired:
    """All that they differ in; of classes and images the largest differences first."""

    names: tuple[str, str]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]  # of the runs that are compared
    metrics: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    errors: tuple[Difference, ...]
    images: tuple[Difference, ...]  # their names are their ids
    num_images: int
    notes: tuple[str, ...]


def compare(first: Side, second: Side, note: str = "") -> Paired:
    """note: what else to say. ValueError where they were tested on other images or classes."""
    runs = [*first.runs, *second.runs]
    if len({(run.scores.images, *run.matches.category_ids.tolist()) for run in runs}) > 1:
        raise ValueError(
            f"'{first.name}' and '{second.name}' were tested on other images or classes: "
            "differences are paired by image, so both need the same"
        )
    every = [{run.scores.seed for run in side.runs} for side in (first, second)]
    seeds = [every[0] & every[1] or side for side in every]
    sides = [
        [list(_quantities(run)) for run in side.runs if run.scores.seed in chosen]
        for side, chosen in zip((first, second), seeds, strict=True)
    ]
    found: dict[str, list[Difference]] = {name: [] for name in TABLES}
    for ones, others in zip(*(zip(*side, strict=True) for side in sides), strict=True):
        kind, name, num_truths, _ = ones[0]
        before, after = ([scores for *_, scores in side] for side in (ones, others))
        means = [[it.metrics.ap for it in side] for side in (before, after)]
        one, other = (None if None in aps else fmean(aps) for aps in means)
        change = None if one is None or other is None else other - one
        it = Difference(name, one, other, change, difference(after, before), num_truths)
        found[kind].append(it)
    told = holm([it.estimate for it in found["classes"]])
    classes = [
        replace(it, is_told_apart=place in told) for place, it in enumerate(found["classes"])
    ]
    images = [it for it in found["images"] if it.difference is not None]
    return Paired(
        names=(first.name, second.name),
        seeds=(tuple(sorted(seeds[0])), tuple(sorted(seeds[1]))),
        metrics=tuple(found["metrics"]),
        classes=tuple(sorted(classes, key=lambda it: -abs(it.difference or 0.0))),
        errors=tuple(found["errors"]),
        images=tuple(sorted(images, key=lambda it: (-abs(it.difference or 0.0), int(it.name)))),
        num_images=runs[0].scores.num_images,
        notes=tuple(filter(None, [note, *_notes(first, second, *every)])),
    )


def _notes(first: Side, second: Side, seeds: set[int], others: set[int]) -> Iterator[str]:
    """How the runs are paired, and what else may have moved the numbers."""
    if not seeds & others:
        yield "They share no seed, so seeds are not paired; images are."
    elif extra := seeds ^ others:
        yield f"Of the seeds that both have, so without {', '.join(map(str, sorted(extra)))}."
    facts = [
        f"{name}: {first.facts.get(name, 'none')} (A), {second.facts.get(name, 'none')} (B)"
        for name in dict.fromkeys([*first.facts, *second.facts])
        if first.facts.get(name) != second.facts.get(name)
    ]
    if facts:
        yield f"They differ in {'; '.join(facts)}."


def _quantities(run: Measured) -> Iterator[tuple[str, str, int | None, Scores]]:
    """All numbers of a run that are compared, in the same order for all runs of the same images.

    A key of TABLES, the number's name, objects of a class, and whose ap it is: with draws of NaN
    where it is unknown how far it may vary.
    """
    matches, insight = run.matches, run.insight

    def of(numbers: Iterable[Any]) -> Scores:
        """numbers: the value, then its draws; None and NaN where undefined."""
        value, *draws = np.array(list(numbers), dtype=float)
        metrics = Metrics(ap=None if np.isnan(value) else float(value))
        return replace(run.scores, metrics=metrics, draws=np.array(draws or [np.nan])[:, None])

    for place, (field, label) in enumerate(HEADINGS.items()):
        value = getattr(run.scores.metrics, field)
        yield "metrics", label, None, of([value, *run.scores.draws[:, place]])
    drawn = image_weights(run.scores.num_images, RESAMPLES)
    weights = np.concatenate([np.ones_like(drawn[:1]), drawn])  # every image once, then as drawn
    yield "metrics", "AR", None, of(recalls(matches, weights))
    of_classes = class_precisions(matches, weights[: 1 + CLASS_RESAMPLES])
    num_images = (truths_of(matches) > 0).sum(axis=0)  # [C]
    for place, item in enumerate(insight.classes):
        if item.num_truths:
            known = None if num_images[place] >= LEAST_IMAGES else 1  # else no draws
            yield "classes", item.name, item.num_truths, of(of_classes[:known, place])
    for kind in (*ERRORS, *SPECIAL):
        yield "errors", kind, None, of([insight.errors[kind].points])
    for image in insight.images:
        yield "images", f"{image.id}", None, of([image.score])


def holm(estimates: Sequence[Estimate | None], chance: float = 1 - LEVEL) -> set[int]:
    """Places of the differences that count, if any that does not may count with this probability.

    Step-down method of Holm (Scand. J. Statist. 6, 65-70, 1979).
    """
    told: set[int] = set()
    while len(told) < len(estimates):
        level = 1 - chance / (len(estimates) - len(told))
        known = enumerate(estimates)
        clear = {place for place, it in known if it and it.at(level).excludes_zero}
        if clear <= told:
            break
        told |= clear
    return told


# As tables, and in one sentence


def grids(paired: Paired) -> list[Grid]:
    """Metrics, classes, errors, images."""
    blocks: dict[str, Sequence[Sequence[Difference]]] = {
        "metrics": [paired.metrics],
        "classes": [paired.classes[:CLASSES]],
        "errors": [paired.errors[: len(ERRORS)], paired.errors[len(ERRORS) :]],
        "images": extremes(paired),
    }
    return [
        Grid(
            name=f"compare-{name}",
            title=TABLES[name][0],
            head=line("", *SIDES, *TABLES[name][1:]),
            blocks=tuple(tuple(_line(name, it) for it in block) for block in blocks[name] if block),
            notes=tuple(notes(f"compared_{name}", paired)),
        )
        for name in TABLES
        if any(blocks[name])
    ]


def _line(table: str, it: Difference) -> Line:
    """The cells under the heads of a table."""
    both = [f"{one:.0f}" if table == "images" else number(one) for one in (it.first, it.second)]
    kind: Kind = "ours" if it.estimate and it.estimate.excludes_zero else "difference"
    heads = ("", "A", "B", "error: images", "seeds", "objects")
    texts = (it.name, *both, *errors(it.estimate), f"{it.num_truths or 0:,}")
    cells = dict(zip(heads, line(*texts), strict=True)) | {
        "B − A": Cell(signed(it.difference) + (TOLD if it.is_told_apart else ""), kind),
        "95 % interval": Cell(signed_interval(it.estimate), "interval"),
    }
    return tuple(cells[head] for head in ("", *SIDES, *TABLES[table][1:]))


def extremes(paired: Paired) -> list[list[Difference]]:
    """The images on which B is better, and those on which A is, by as much as they differ."""
    known = [(it, it.difference or 0.0) for it in paired.images]
    return [[it for it, by in known if sign * by > 0][:IMAGES] for sign in (1, -1)]


def meaning(paired: Paired) -> str:
    """What the comparison says, and what it would take to say more, in one sentence."""
    ap = paired.metrics[0].estimate
    span = signed_interval(ap).replace(BREAK, "")
    return " ".join(notes("meaning", *paired.names, ap, span))
