"""Tables of several archives side by side, and in what they differ beside their numbers.

Whose number is whose is a letter. Nothing that could move a number is left unsaid: data, schedule,
seeds, test images, evaluator, versions, devices, code. A difference is that of the means above it;
it has an interval where both have the same test images and the same seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from string import ascii_uppercase
from typing import Any

from detector.metrics import HEADINGS
from experiments.settings import show_setting
from reports.bundle import Bundle
from reports.compare import ComparedRow
from reports.grids.cells import Cell, Grid, Line, line
from reports.numbers import MISSING, signed, signed_interval, spread
from reports.sealed.runs import SealedRun
from reports.sealed.verification import CheckedTable, Verification
from reports.statistics import difference

FAILS = "✗"
EVALUATOR = ("pycocotools", "numpy")
COMPARABLE = ("data set", "test images", "schedule", "evaluator", "meaning of configs")


def side_by_side(archives: Mapping[str, Verification]) -> list[Grid]:
    """One grid for every table that is in several archives, or in several setups of one."""
    found: dict[str, list[tuple[str, CheckedTable, Verification]]] = {}
    for name, archive in archives.items():
        for table in archive.tables:
            if table.bundle is not None:
                key = table.bundle.table.heading
                found.setdefault(key, []).append((name, table, archive))
    return [_grid(heading, sides) for heading, sides in found.items() if len(sides) > 1]


def _grid(heading: str, sides: Sequence[tuple[str, CheckedTable, Verification]]) -> Grid:
    letters = dict(zip(ascii_uppercase, sides, strict=False))
    bundles = {letter: _bundle(table) for letter, (_, table, _) in letters.items()}
    first = bundles["A"].table
    metrics = [
        name for name in first.metrics if all(name in _metrics(it) for it in bundles.values())
    ]
    labels = dict.fromkeys(row.label for it in bundles.values() for row in it.table.rows)
    fails = {
        letter: {(cell.row, cell.metric) for cell in table.cells if not cell.stands}
        for letter, (_, table, _) in letters.items()
    }
    blocks = tuple(tuple(_lines(label, bundles, metrics, fails)) for label in labels)
    facts = {
        letter: _facts(bundles[letter], archive.runs) for letter, (_, _, archive) in letters.items()
    }
    whose = [
        f"{letter}: {name}, scale {bundles[letter].scale} on {bundles[letter].data}."
        for letter, (name, _, _) in letters.items()
    ]
    is_wrong = any(fails.values())
    return Grid(
        name=f"{first.name}-side-by-side",
        title=f"{heading}, side by side",
        head=line("Run", "", *(HEADINGS[name] for name in metrics)),
        blocks=blocks,
        notes=(
            *whose,
            *_footnotes(facts),
            *_detectors(labels, bundles),
            *([f"{FAILS}: does not stand in its archive."] if is_wrong else []),
        ),
    )


def _bundle(table: CheckedTable) -> Bundle:
    assert table.bundle is not None
    return table.bundle


def _metrics(bundle: Bundle) -> tuple[str, ...]:
    return bundle.table.metrics


def _lines(
    label: str,
    bundles: Mapping[str, Bundle],
    metrics: Sequence[str],
    fails: Mapping[str, set[tuple[str, str]]],
) -> Iterator[Line]:
    """A row: a line for each letter, and for neighbours their difference with its interval."""
    rows = {letter: _row(bundle, label) for letter, bundle in bundles.items()}
    for place, (letter, row) in enumerate(rows.items()):
        cells = (
            Cell(_number(row, name) + (FAILS if (label, name) in fails[letter] else ""), "ours")
            for name in metrics
        )
        yield (Cell("" if place else label), Cell(letter, "ours"), *cells)
    for one, other in pairwise(rows):
        mine, its = rows[one], rows[other]
        if mine is None or its is None or not mine.results or not its.results:
            continue
        texts = (_difference(its, mine, name) for name in metrics)
        yield (
            Cell(""),
            Cell(f"{other} − {one}", "difference"),
            *(Cell(text, "difference") for text in texts),
        )


def _row(bundle: Bundle, label: str) -> ComparedRow | None:
    return next((row for row in bundle.comparison.rows if row.row.label == label), None)


def _number(row: ComparedRow | None, name: str) -> str:
    return MISSING if row is None or not row.results else spread(row.metrics[name].ours)


def _difference(row: ComparedRow, other: ComparedRow, name: str) -> str:
    """The difference of the means; with its interval where both have these images and seeds."""
    one, its = row.metrics[name].ours, other.metrics[name].ours
    if one.mean is None or its.mean is None:
        return MISSING
    if row.results == other.results:  # down to the seconds that they took
        return "same run" if one.n == 1 else "same runs"
    has_same_seeds = set(one.by_seed) == set(its.by_seed)
    estimate = difference(row.scores, other.scores, name) if has_same_seeds else None
    if estimate is None or estimate.num_seeds < one.n:  # a run without match records
        return signed(one.mean - its.mean)
    return f"{signed(estimate.value)} ({signed_interval(estimate)})"


def _facts(bundle: Bundle, runs: Mapping[str, SealedRun]) -> dict[str, str]:
    """All that a table's numbers depend on beside its rows, in words."""
    mine = [runs[name] for name in bundle.results if name in runs]
    environments: dict[str, dict[str, None]] = {}
    for result in bundle.results.values():
        for name, value in result.facts.items():
            environments.setdefault(name, {})[str(value)] = None
    told = {name: " and ".join(values) for name, values in environments.items()}
    recipe = {name: show_setting(value) for name, value in asdict(bundle.recipe).items()}
    evaluator = ", ".join(f"{name} {told[name]}" for name in EVALUATOR if name in told)
    return {
        "data set": f"{bundle.data} ({bundle.fingerprint[:12]})",
        "test images": _several(
            f"{s.num_images:,} ({s.images[:8]})" for s in bundle.scores.values()
        ),
        "seeds": _several(str(result.seed) for result in bundle.results.values()),
        "evaluator": evaluator or "unknown",
        "meaning of configs": _several(str(_canonical(run).get("semantics")) for run in mine),
        **{f"schedule: {name}": value for name, value in recipe.items()},
        **{f"setting: {name}": show_setting(it) for name, it in bundle.settings.items()},
        **{name: value for name, value in told.items() if name not in EVALUATOR},
    }


def _several(values: Any) -> str:
    return " and ".join(dict.fromkeys(values)) or "unknown"


def _canonical(run: SealedRun) -> Mapping[str, Any]:
    its = run.facts.get("canonical")
    return its if isinstance(its, dict) else {}


def _footnotes(facts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every fact that is not the same for all letters; what makes numbers incomparable first."""
    names = list(dict.fromkeys(name for its in facts.values() for name in its))
    differ = [n for n in names if len({its.get(n, "not set") for its in facts.values()}) > 1]
    if not differ:
        yield "They differ in nothing that is recorded of data, schedule, evaluation and versions."
        return
    if any(name.split(":")[0] in COMPARABLE for name in differ):
        yield "Not comparable as they stand: the numbers differ in more than who measured them."
    for name in differ:
        values = "; ".join(f"{letter} {its.get(name, 'not set')}" for letter, its in facts.items())
        yield f"Differ in {name}: {values}."


def _detectors(
    labels: Sequence[str] | Mapping[str, None], bundles: Mapping[str, Bundle]
) -> Iterator[str]:
    """Rows of one name that are not one detector."""
    for label in labels:
        detectors = [
            (row.row.config, row.row.recipe_at(it.scale), row.row.assigner)
            for it in bundles.values()
            if (row := _row(it, label)) is not None
        ]
        if any(detector != detectors[0] for detector in detectors):
            yield f"“{label}” is not the same detector in each."
