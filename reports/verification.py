"""What of an archive stands, once its pages are made again: cells, claims, and several archives."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase

from detector.metrics import HEADINGS
from experiments.claims import CLAIMS, places
from experiments.settings import show_setting
from reports.archive import Problem
from reports.intervals import difference
from reports.measurements import Measurements
from reports.numbers import MISSING, number, signed, signed_interval, spread
from reports.render import Cell, Grid, Line, line
from reports.results import Bundle, ComparedRow

STANDS, FAILS = "✓", "✗"
INCOMPARABLE = {  # numbers that differ in one of these do not only differ in who measured them
    *("data set", "test images", "schedule", "meaning of configs"),
    *("pycocotools", "numpy"),
}


@dataclass(frozen=True)
class Checked:
    """A cell, which is a row's number in one metric, or a claim.

    It stands if nothing is wrong with its runs or its table.
    """

    where: str  # "tables/demo-shapes/table2", "claims/demo-shapes"
    name: str  # of the row, or of the claim
    metric: str  # its heading; empty of a claim
    value: float | str | None  # the mean over seeds, in percent; the verdict
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Verification:
    """All that was looked at; problems: whatever was found wrong, each once."""

    digest: str
    tables: Mapping[str, Bundle]  # made again
    semantics: Mapping[str, str]  # of each run
    cells: tuple[Checked, ...]
    claims: tuple[Checked, ...]
    problems: tuple[Problem, ...]

    def mark(self, checked: Checked) -> str:
        """Whether it stands; if not, with the numbers of the problems from 1."""
        reasons = [str(self.problems.index(problem) + 1) for problem in checked.problems]
        return FAILS + ",".join(reasons) if reasons else STANDS


def checked_cells(tables: Mapping[str, Bundle], problems: Sequence[Problem]) -> Iterator[Checked]:
    """Those with a number, or with something wrong."""
    for where, content in tables.items():
        for row in content.rows:
            owners = {where, *(f"runs/{name}" for name in row.signatures)}
            for metric in content.table.metrics:
                heading, value = HEADINGS[metric], row.metrics[metric].ours.mean
                found = _about(problems, owners, heading)
                wrong = tuple(it for it in found if it.row in ("", row.row.label))
                if wrong or value is not None:
                    yield Checked(where, row.row.label, heading, value, wrong)


def checked_claims(
    tables: Mapping[str, Bundle], texts: Mapping[str, str], problems: Sequence[Problem]
) -> Iterator[Checked]:
    """Each with what is wrong with it, or with the runs and tables it rests on."""
    claims = {claim.name: claim for claim in CLAIMS}
    for name in (name for name in texts if name.startswith("claims/") and name.endswith(".json")):
        slug = Path(name).stem
        mine = {where: it for where, it in tables.items() if where.split("/")[1] == slug}
        study = Measurements(list(mine.values()))
        for verdict in json.loads(texts[name]):
            parts = claims[verdict["name"]].parts
            rows = {place for part in parts for place in places(part)}
            owners = {f"runs/{run}" for place in rows for run in study.runs(place)}
            owners |= {f"claims/{slug}", *mine}
            metrics = {HEADINGS[part.metric] for part in parts if hasattr(part, "metric")}
            wrong = _about(problems, owners, verdict["name"], *metrics)
            yield Checked(f"claims/{slug}", verdict["name"], "", verdict["verdict"], tuple(wrong))


def _about(problems: Sequence[Problem], owners: set[str], *parts: str) -> list[Problem]:
    """Those of owners, in all or one of these respects; printed pages stand for themselves."""
    mine = (it for it in problems if it.owner in owners and not it.where.endswith(".md"))
    return [it for it in mine if it.part in ("", *parts)]


def checked_grid(where: str, archive: Verification) -> Grid:
    """A table's cells, each with its mark."""
    content = archive.tables[where]
    found = {(it.name, it.metric): it for it in archive.cells if it.where == where}

    def cell(checked: Checked | None) -> Cell:
        """The number and its mark."""
        if checked is None:
            return Cell(MISSING)
        value = checked.value if isinstance(checked.value, float) else None
        return Cell(f"{number(value)} {archive.mark(checked)}")

    headings = [HEADINGS[metric] for metric in content.table.metrics]
    labels = [row.label for row in content.table.rows]
    lines = [
        (Cell(label), *(cell(found.get((label, heading))) for heading in headings))
        for label in labels
    ]
    return Grid(
        name=content.table.name,
        title=f"{content.table.heading} ({where})",
        head=line("Run", *headings),
        blocks=(tuple(lines),),
    )


# Several archives


def side_by_side(archives: Mapping[str, Verification]) -> Iterator[Grid]:
    """One grid for every table that is in several archives, or in several setups of one."""
    found: dict[str, list[tuple[str, Bundle, dict[str, str]]]] = {}
    for name, archive in archives.items():
        for content in archive.tables.values():
            side = (name, content, _facts(content, archive.semantics))
            found.setdefault(content.table.heading, []).append(side)
    for heading, sides in found.items():
        if len(sides) > 1:
            yield _beside(heading, dict(zip(ascii_uppercase, sides, strict=False)))


def _beside(heading: str, sides: Mapping[str, tuple[str, Bundle, dict[str, str]]]) -> Grid:
    """Each row's numbers, and the differences of neighbours; then all that may be their reason."""
    tables = [content.table for _, content, _ in sides.values()]
    metrics = [it for it in tables[0].metrics if all(it in table.metrics for table in tables)]
    rows: dict[str, dict[str, ComparedRow]] = {}
    for letter, (_, content, _) in sides.items():
        for row in content.rows:
            rows.setdefault(row.row.label, {})[letter] = row
    whose = [
        f"{letter}: {name}, scale {content.scale} on {content.data}."
        for letter, (name, content, _) in sides.items()
    ]
    unequal = [
        f"“{label}” is not the same detector in each."
        for label, mine in rows.items()
        if len({repr((it.row.config, it.row.recipe, it.row.assigner)) for it in mine.values()}) > 1
    ]
    facts = {letter: facts for letter, (_, _, facts) in sides.items()}
    return Grid(
        name=f"{tables[0].name}-side-by-side",
        title=f"{heading}, side by side",
        head=line("Run", "", *(HEADINGS[metric] for metric in metrics)),
        blocks=tuple(_block(label, mine, metrics) for label, mine in rows.items()),
        notes=(*whose, *_unequal(facts), *unequal),
    )


def _block(label: str, rows: Mapping[str, ComparedRow], metrics: Sequence[str]) -> tuple[Line, ...]:
    """A row's numbers by letter, then the differences of those next to each other."""
    lines: list[Line] = [
        (
            Cell("" if place else label),
            Cell(letter, "ours"),
            *(Cell(spread(row.metrics[it].ours) or MISSING, "ours") for it in metrics),
        )
        for place, (letter, row) in enumerate(rows.items())
    ]
    lines += [
        (
            Cell(""),
            Cell(f"{b} − {a}", "difference"),
            *(Cell(_difference(rows[b], rows[a], it), "difference") for it in metrics),
        )
        for a, b in pairwise(rows)
        if rows[a].results and rows[b].results
    ]
    return tuple(lines)


def _difference(row: ComparedRow, other: ComparedRow, metric: str) -> str:
    """Of the means; with its interval where both have these images and seeds."""
    one, its = row.metrics[metric].ours, other.metrics[metric].ours
    if one.mean is None or its.mean is None:
        return MISSING
    if row.results == other.results:  # down to the seconds that they took
        return "same run" if one.n == 1 else "same runs"
    has_same_seeds = set(one.by_seed) == set(its.by_seed)
    estimate = difference(row.scores, other.scores, metric) if has_same_seeds else None
    if estimate is None:
        return signed(one.mean - its.mean)
    return f"{signed(estimate.value)} ({signed_interval(estimate)})"


def _facts(content: Bundle, semantics: Mapping[str, str]) -> dict[str, str]:
    """All that a table's numbers depend on beside its rows, in words."""
    told: dict[str, list[str]] = {
        "test images": [f"{it.num_images:,} ({it.images[:8]})" for it in content.scores.values()],
        "seeds": [str(result.seed) for result in content.results.values()],
    }
    for name, result in content.results.items():
        for fact, value in {**result.facts, "meaning of configs": semantics[name]}.items():
            told.setdefault(fact, []).append(str(value))
    recipe = {f"schedule: {name}": value for name, value in asdict(content.recipe).items()}
    settings = {f"setting: {name}": value for name, value in content.settings.items()}
    return {
        "data set": f"{content.data} ({content.fingerprint[:12]})",
        **{name: " and ".join(dict.fromkeys(values)) for name, values in told.items()},
        **{name: show_setting(value) for name, value in {**recipe, **settings}.items()},
    }


def _unequal(facts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every fact that is not the same for all letters; what makes numbers incomparable first."""
    names = dict.fromkeys(name for its in facts.values() for name in its)
    differ = [name for name in names if len({its.get(name, "") for its in facts.values()}) > 1]
    if not differ:
        yield "They differ in nothing that is recorded of data, schedule, evaluation and versions."
    if INCOMPARABLE & {name.split(":")[0] for name in differ}:
        yield "Not comparable as they stand: the numbers differ in more than who measured them."
    for name in differ:
        values = "; ".join(f"{letter} {its.get(name, 'not set')}" for letter, its in facts.items())
        yield f"Differ in {name}: {values}."
