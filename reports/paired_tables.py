"""A paired comparison as tables, as JSON, and in one sentence."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reports.numbers import MISSING, finite, least_shown, number, signed, signed_interval
from reports.paired import Difference, ImageDifference, Paired
from reports.render import BREAK, Cell, Grid, line

CLASSES, IMAGES = 12, 5  # lines of a table, of images: on either side
TOLD = "*"


def grids(paired: Paired) -> list[Grid]:
    """Metrics, classes, errors, images."""
    found = [_metrics(paired), _classes(paired), _errors(paired), _images(paired)]
    return [grid for grid in found if any(grid.blocks)]


def _metrics(paired: Paired) -> Grid:
    first, second = paired.names
    seeds = " and ".join(dict.fromkeys(", ".join(map(str, they)) for they in paired.seeds))
    word = "seed" if len(paired.seeds[0]) == 1 else "seeds"
    notes = [f"A: {first}. B: {second}. {paired.num_images:,} images; {word} {seeds}."]
    notes.append(
        "Error from images, from seeds: standard errors of the difference from the sample of "
        "images, which is paired, and from that of seeds; the interval holds both."
        if len(paired.seeds[0]) > 1
        else "Error from images: standard error of the difference from the sample of images, which "
        "is paired. One seed: the interval is of these trained weights, not of configurations."
    )
    return Grid(
        name="compare-metrics",
        title="B against A (%)",
        head=line("", "A", "B", "B − A", "95 % interval", "error: images", "seeds"),
        blocks=(tuple(_with_errors(it) for it in paired.metrics),),
        notes=(*notes, *paired.notes),
    )


def _with_errors(it: Difference) -> tuple[Cell, ...]:
    known = it.estimate
    seeds = MISSING if known is None or known.seed_error is None else f"{known.seed_error:.2f}"
    images = MISSING if known is None else f"{known.image_error:.2f}"
    return (*_line(it), *line(images, seeds))


def _line(it: Difference, mark: str = "") -> tuple[Cell, ...]:
    """Name, both numbers, their difference, its interval."""
    is_clear = it.estimate is not None and it.estimate.excludes_zero
    return (
        Cell(it.name),
        Cell(number(it.first)),
        Cell(number(it.second)),
        Cell(signed(it.value) + mark, "ours" if is_clear else "difference"),
        Cell(signed_interval(it.estimate), "interval"),
    )


def _classes(paired: Paired) -> Grid:
    told = sum(it.is_told_apart for it in paired.classes)
    shown, rest = paired.classes[:CLASSES], paired.classes[CLASSES:]
    notes = [
        f"{TOLD}: told apart with all {len(paired.classes)} classes taken into account (Holm, 5 % "
        f"for all together): {told}. An interval is of its class alone. {MISSING}: too few images."
    ]
    if rest:
        largest = max(abs(it.difference.value or 0.0) for it in rest)
        notes.append(f"{len(rest)} more classes differ by {largest:.1f} AP at most; JSON has all.")
    lines = [
        (*_line(it.difference, TOLD if it.is_told_apart else ""), Cell(f"{it.num_truths:,}"))
        for it in shown
    ]
    return Grid(
        name="compare-classes",
        title="AP of each class, the largest differences first (%)",
        head=line("", "A", "B", "B − A", "95 % interval", "objects"),
        blocks=(tuple(lines),) if lines else (),
        notes=tuple(notes),
    )


def _errors(paired: Paired) -> Grid:
    blocks = (paired.errors[:-2], paired.errors[-2:])
    return Grid(
        name="compare-errors",
        title="What AP50 would gain without one kind of error (points)",
        head=line("", "A", "B", "B − A"),
        blocks=tuple(tuple(_line(it)[:4] for it in part) for part in blocks),
        notes=(
            "Each kind is mended by itself, as TIDE does; less is better. Means over seeds; no "
            "intervals.",
        ),
    )


def extremes(paired: Paired, count: int = IMAGES) -> list[tuple[ImageDifference, ...]]:
    """The images on which B is better, and those on which A is, by as much as they differ."""
    better = [it for it in paired.images if it.value > 0]
    worse = [it for it in paired.images if it.value < 0]
    return [tuple(better[:count]), tuple(worse[:count])]


def _images(paired: Paired) -> Grid:
    blocks = [
        tuple(
            line(f"{it.id}", f"{it.first:.0f}", f"{it.second:.0f}", signed(it.value)) for it in part
        )
        for part in extremes(paired)
    ]
    return Grid(
        name="compare-images",
        title="The images, by id, on which they differ most",
        head=line("", "A", "B", "B − A"),
        blocks=tuple(block for block in blocks if block),
        notes=(
            "An image's score is its F1 over IoU 0.50:0.95 in percent, of detections above the "
            "threshold that is best for each.",
        ),
    )


def meaning(paired: Paired) -> str:
    """What the comparison says, and what it would take to say more, in one sentence."""
    first, second = paired.names
    ap = paired.ap.estimate
    if ap is None:
        return "AP is undefined for one of them, so nothing can be said."
    over = f"{_count(ap.num_seeds, 'seed')} and {_count(ap.num_images, 'image')}"
    span = f"95 % interval {signed_interval(ap).replace(BREAK, '')}, over {over}"
    size = f"{abs(ap.value):.1f}"
    side = "more" if ap.value > 0 else "less"
    amount = f"{second} has {size} AP {side} than {first} ({span})"
    if not ap.excludes_zero:
        if float(size) == 0:
            amount = f"{second} has the AP of {first} ({span})"
        wanted = f"; from {least_shown(ap)} on these seeds and images would have shown it"
        if ap.num_seeds == 1:
            wanted = "; only more seeds can tell"
        return f"Not told apart: {amount}{wanted}."
    if ap.num_seeds == 1:
        return (
            f"Told apart as trained weights: {amount}; whether their configurations differ only "
            "more seeds can tell."
        )
    return f"Told apart: {amount}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def to_json(paired: Paired) -> dict[str, Any]:
    """Everything, also what the tables leave out; null for what is infinite or undefined."""
    content = {
        "names": list(paired.names),
        "seeds": [list(they) for they in paired.seeds],
        "num_images": paired.num_images,
        "metrics": _plain(paired.metrics),
        "classes": [
            {
                **_plain([it.difference])[0],
                "num_truths": it.num_truths,
                "is_told_apart": it.is_told_apart,
            }
            for it in paired.classes
        ],
        "errors": _plain(paired.errors),
        "images": [asdict(it) | {"difference": it.value} for it in paired.images],
        "notes": list(paired.notes),
        "meaning": meaning(paired),
    }
    return {name: finite(value) for name, value in content.items()}


def _plain(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    return [asdict(it) | {"difference": it.value} for it in differences]
