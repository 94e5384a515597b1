"""Whether an archive's cells and claims stand: its pages are made again of its runs, and compared.

A cell is a row's number in one metric. It stands if nothing is wrong with its runs or its table.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from detector.metrics import HEADINGS
from experiments import TABLES
from experiments.claims import CLAIMS, places
from experiments.experiment import Table
from experiments.settings import show_setting
from orchestration.run_folder import Store
from orchestration.sealing import Tell, pages
from reports.archive import MALFORMED, Problem, Unsealed, check_run, is_same
from reports.intervals import difference
from reports.measurements import Measurements
from reports.numbers import MISSING, number, signed, signed_interval, spread
from reports.render import Cell, Grid, line
from reports.results import Bundle, ComparedRow, table_content, table_of

STANDS, FAILS = "✓", "✗"
EVALUATOR = ("pycocotools", "numpy")
COMPARABLE = ("data set", "test images", "schedule", "meaning of configs")
MOST_ROWS, MOST_TOLD = 1000, 20  # of a table; differences of a member
SHOWN = 60  # letters of a value in a line that says it differs
NOTHING = "nothing"


@dataclass(frozen=True)
class Checked:
    """A cell or a claim, and what is wrong with it; without a problem it stands."""

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


def verify(archive: Unsealed, tell: Tell = lambda text: None) -> Verification:
    """Make everything again of the runs, and say what is not as the archive has it."""
    found, store = [*archive.problems], Store(archive.folder)
    for folder in sorted(archive.folder.glob("runs/*")):
        tell(f"run {folder.name}")
        mine = list(check_run(folder))
        found += mine
        if any(problem.kind == "record" for problem in mine):  # others read it more trustingly
            shutil.rmtree(folder)
    tables: dict[str, list[Table]] = {}
    for path in sorted(archive.folder.glob("tables/*/*.json")):
        where = f"tables/{path.parent.name}/{path.stem}"
        try:
            table = _table(path)
            found += _other_than_the_papers(where, table)
            tables.setdefault(path.parent.name, []).append(table)
        except MALFORMED as error:
            text = f"no table that this version reads: {type(error).__name__}: {error!s:.200}"
            found.append(Problem("table", where, text))
    made, texts = dict[str, Bundle](), dict[str, str]()
    try:
        made, texts = pages(store, tables, tell)
        found += _otherwise(archive.folder, texts)
    except MALFORMED as error:
        text = f"no pages can be made of them: {type(error).__name__}: {error!s:.200}"
        found.append(Problem("table", "tables", text))
    used = {name for content in made.values() for name in content.results}
    there = {folder.name for folder in archive.folder.glob("runs/*")}
    found += [Problem("table", f"runs/{it}", "no table has a result of it") for it in there - used]
    problems = tuple(dict.fromkeys(found))
    facts = {name: store.folder(name).facts() for name in used}
    return Verification(
        digest=archive.digest,
        tables=made,
        semantics={name: str(its["canonical"].get("semantics")) for name, its in facts.items()},
        cells=tuple(_cells(made, problems)),
        claims=tuple(_verdicts(made, texts, problems)),
        problems=problems,
    )


def _table(path: Path) -> Table:
    content = json.loads(path.read_text(encoding="utf-8"))
    if len(content["rows"]) > MOST_ROWS:
        raise ValueError(f"{len(content['rows']):,} rows, at most {MOST_ROWS:,} are read")
    table = table_of({name: value for name, value in content.items()})
    if table.name != path.stem:
        raise ValueError(f"it is called {table.name!r:.40}")
    return table


def _other_than_the_papers(where: str, table: Table) -> Iterator[Problem]:
    """Where a table of the paper is not as the paper has it."""
    ours = TABLES.get(f"table{table.number}")
    if not table.number or ours is None:
        return
    pair = (json.loads(json.dumps(table_content(it, {}))) for it in (table, ours))
    for place, found, known in islice(differences(*pair), MOST_TOLD):
        text = f"{place} is {found}, the paper has {known}"
        row, _, metric = place.partition("].paper.")
        label = ours.rows[int(row.removeprefix("rows["))].label if metric else ""
        yield Problem("table", where, text, HEADINGS.get(metric, ""), label)


def _otherwise(folder: Path, texts: Mapping[str, str]) -> Iterator[Problem]:
    """What is told in the archive, and is not what its runs give."""
    for name, text in texts.items():
        if not (folder / name).is_file():
            yield Problem("text", name, "it is missing")
            continue
        stated = (folder / name).read_text(encoding="utf-8", errors="replace")
        pair = (_values(name, each) for each in (stated, text))
        for place, its, made in islice(differences(*pair), MOST_TOLD):
            key, _, column = place.partition(".")
            row, _, heading = key.rpartition("|")
            is_number = name.endswith(".csv")
            if "gain" in column:  # the number itself may stand
                heading = f"gain in {heading}"
            yield Problem(
                "table" if name.startswith("tables/") and not name.endswith(".md") else "text",
                name,
                f"{place} is {its}, made again it is {made}",
                heading if is_number or name.startswith("claims/") else "",
                row if is_number else "",
            )
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("runs/") and name not in texts:
            yield Problem("text", name, "none of the archive's runs and tables gives such a page")


def _values(name: str, text: str) -> Any:
    """A member as nested values, by which it is compared."""
    if name.endswith(".csv"):
        lines = csv.DictReader(io.StringIO(text))
        return {f"{it.get('row')}|{it.get('metric')}": _numbers(it) for it in lines}
    if name.endswith(".json"):
        with suppress(ValueError, RecursionError):
            content = json.loads(text)
            is_list = name.startswith("claims/") and isinstance(content, list)
            return {it["name"]: it for it in content if "name" in it} if is_list else content
    return {f"line {place}": line for place, line in enumerate(text.splitlines(), start=1)}


def _numbers(values: Mapping[str, str]) -> dict[str, float | str]:
    found: dict[str, float | str] = dict(values)
    for column, value in values.items():
        with suppress(TypeError, ValueError):
            found[column] = float(value)
    return found


def differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Where nested values differ: the place, "rows[0].paper.ap", and both values, shortened."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            inner = f"{place}.{key}" if place else str(key)
            yield from differences(one.get(key, NOTHING), other.get(key, NOTHING), inner)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            yield from differences(mine, its, f"{place}[{index}]")
    elif not is_same(one, other):
        stated, made = (it if isinstance(it, str) else json.dumps(it) for it in (one, other))
        start = max(0, len(os.path.commonprefix([stated, made])) - SHOWN // 2)
        yield place, _cut(stated, start), _cut(made, start)


def _cut(text: str, start: int) -> str:
    """SHOWN letters of it; what is left out is told."""
    end = start + SHOWN
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _about_cells(problems: Iterable[Problem], owners: set[str], *parts: str) -> list[Problem]:
    """Those of owners, in all or one of these respects; printed pages stand for themselves."""
    mine = (it for it in problems if it.owner in owners and not it.where.endswith(".md"))
    return [it for it in mine if it.part in ("", *parts)]


def _cells(tables: Mapping[str, Bundle], problems: Sequence[Problem]) -> Iterator[Checked]:
    """Those with a number, or with something wrong."""
    for where, content in tables.items():
        for row in content.rows:
            owners = {where, *(f"runs/{name}" for name in row.signatures)}
            for metric in content.table.metrics:
                heading, value = HEADINGS[metric], row.metrics[metric].ours.mean
                found = _about_cells(problems, owners, heading)
                wrong = tuple(it for it in found if it.row in ("", row.row.label))
                if wrong or value is not None:
                    yield Checked(where, row.row.label, heading, value, wrong)


def _verdicts(
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
            metrics = {HEADINGS[part.metric] for part in parts if hasattr(part, "metric")}
            owners |= {f"claims/{slug}", *mine}
            wrong = _about_cells(problems, owners, verdict["name"], *metrics)
            yield Checked(name[:-5], verdict["name"], "", verdict["verdict"], tuple(wrong))


# What is shown


def checked_grid(where: str, content: Bundle, cells: Sequence[Checked]) -> Grid:
    """A table's cells, each with a mark, and below why one fails."""
    found = {(it.name, it.metric): it for it in cells if it.where == where}
    reasons: dict[Problem, int] = {}
    for problem in (problem for it in found.values() for problem in it.problems):
        reasons.setdefault(problem, len(reasons) + 1)
    headings = [HEADINGS[metric] for metric in content.table.metrics]

    def cell(checked: Checked | None) -> Cell:
        """The number and its mark."""
        if checked is None:
            return Cell(MISSING)
        value = checked.value if isinstance(checked.value, float) else None
        wrong = ",".join(str(reasons[problem]) for problem in checked.problems)
        return Cell(f"{number(value)} {FAILS + wrong if wrong else STANDS}")

    labels = [row.label for row in content.table.rows]
    return Grid(
        name=content.table.name,
        title=f"{content.table.heading} ({where})",
        head=line("Run", *headings),
        blocks=(
            tuple(
                (Cell(label), *(cell(found.get((label, heading))) for heading in headings))
                for label in labels
            ),
        ),
        notes=tuple(f"{FAILS}{number} {problem}" for problem, number in reasons.items()),
    )


def side_by_side(archives: Mapping[str, Verification]) -> Iterator[Grid]:
    """One grid for every table that is in several archives, or in several setups of one."""
    found: dict[str, list[tuple[str, Bundle, Verification]]] = {}
    for name, archive in archives.items():
        for content in archive.tables.values():
            found.setdefault(content.table.heading, []).append((name, content, archive))
    for heading, sides in found.items():
        if len(sides) > 1:
            yield _beside(heading, dict(zip(ascii_uppercase, sides, strict=False)))


def _beside(heading: str, sides: Mapping[str, tuple[str, Bundle, Verification]]) -> Grid:
    """Each row's numbers, and the differences of neighbours; then all that may be their reason."""
    bundles = {letter: content for letter, (_, content, _) in sides.items()}
    metrics = [
        metric
        for metric in bundles["A"].table.metrics
        if all(metric in content.table.metrics for content in bundles.values())
    ]
    rows: dict[str, dict[str, ComparedRow]] = {}
    for letter, content in bundles.items():
        for row in content.rows:
            rows.setdefault(row.row.label, {})[letter] = row
    blocks = []
    for label, mine in rows.items():
        lines = [
            (
                Cell("" if place else label),
                Cell(letter, "ours"),
                *(Cell(spread(row.metrics[it].ours) or MISSING, "ours") for it in metrics),
            )
            for place, (letter, row) in enumerate(mine.items())
        ]
        lines += [
            (
                Cell(""),
                Cell(f"{other} − {one}", "difference"),
                *(Cell(_difference(mine[other], mine[one], it), "difference") for it in metrics),
            )
            for one, other in pairwise(mine)
            if mine[one].results and mine[other].results
        ]
        blocks.append(tuple(lines))
    whose = [
        f"{letter}: {name}, scale {content.scale} on {content.data}."
        for letter, (name, content, _) in sides.items()
    ]
    facts = {letter: _facts(content, it.semantics) for letter, (_, content, it) in sides.items()}
    detectors = [
        f"“{label}” is not the same detector in each."
        for label, mine in rows.items()
        if len({repr((row.row.config, row.row.recipe, row.row.assigner)) for row in mine.values()})
        > 1
    ]
    return Grid(
        name=f"{bundles['A'].table.name}-side-by-side",
        title=f"{heading}, side by side",
        head=line("Run", "", *(HEADINGS[metric] for metric in metrics)),
        blocks=tuple(blocks),
        notes=(*whose, *_unequal(facts), *detectors),
    )


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
    told: dict[str, list[str]] = {}
    for name, result in content.results.items():
        for fact, value in {**result.facts, "meaning of configs": semantics[name]}.items():
            told.setdefault(fact, []).append(str(value))
    tested = [f"{it.num_images:,} ({it.images[:8]})" for it in content.scores.values()]
    seeds = [str(result.seed) for result in content.results.values()]
    several = {"test images": tested, "seeds": seeds, **told}
    recipe = {f"schedule: {name}": value for name, value in asdict(content.recipe).items()}
    settings = {f"setting: {name}": value for name, value in content.settings.items()}
    return {
        "data set": f"{content.data} ({content.fingerprint[:12]})",
        **{name: " and ".join(dict.fromkeys(values)) for name, values in several.items()},
        **{name: show_setting(value) for name, value in {**recipe, **settings}.items()},
    }


def _unequal(facts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every fact that is not the same for all letters; what makes numbers incomparable first."""
    names = dict.fromkeys(name for its in facts.values() for name in its)
    differ = [name for name in names if len({its.get(name, "") for its in facts.values()}) > 1]
    if not differ:
        yield "They differ in nothing that is recorded of data, schedule, evaluation and versions."
    if any(name.split(":")[0] in (*COMPARABLE, *EVALUATOR) for name in differ):
        yield "Not comparable as they stand: the numbers differ in more than who measured them."
    for name in differ:
        values = "; ".join(f"{letter} {its.get(name, 'not set')}" for letter, its in facts.items())
        yield f"Differ in {name}: {values}."
