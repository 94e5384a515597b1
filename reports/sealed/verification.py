"""Whether an archive's cells and claims stand: every one is made again of the runs' records.

A cell is a row's number in one metric. It stands if its runs are what they are called, their match
records give the numbers, its table's bundle is made of them, and none of these members was changed.
A printed page that is another than the one made here is told by itself.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.claim import places
from reports.bundle import Bundle
from reports.compare import ComparedRow
from reports.sealed.archive import MALFORMED, Problem, Unsealed
from reports.sealed.runs import SealedRun, read_json, read_run
from reports.sealed.tables import SealedTable, differences, read_table
from reports.sealed.text import TRAINED, texts
from reports.study import Study

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CheckedCell:
    """One number, mean over its seeds, in percent; None where nothing was measured."""

    row: str
    metric: str
    value: float | None
    problems: tuple[Problem, ...]

    @property
    def stands(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems


@dataclass(frozen=True)
class CheckedTable:
    """A table's cells; bundle None, and no cells, where it cannot be read."""

    where: str
    bundle: Bundle | None
    cells: tuple[CheckedCell, ...]


@dataclass(frozen=True)
class CheckedClaim:
    """A verdict of the archive."""

    setup: str
    name: str
    state: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Verification:
    """All that was looked at; problems: whatever was found wrong, each once."""

    digest: str
    tables: tuple[CheckedTable, ...]
    claims: tuple[CheckedClaim, ...]
    problems: tuple[Problem, ...]
    runs: Mapping[str, SealedRun]

    @property
    def cells(self) -> list[CheckedCell]:
        """Those with a number, of all tables."""
        return [it for table in self.tables for it in table.cells if it.value is not None]


def verify(
    archive: Unsealed, *, is_quick: bool = False, progress: Progress = lambda _: None
) -> Verification:
    """Look at everything. is_quick: of each run's resamples only some are computed again."""
    runs = {}
    for folder in sorted((archive.folder / "runs").glob("*")):
        progress(f"run {folder.name}")
        runs[folder.name] = read_run(folder)
    tables = []
    for path in sorted((archive.folder / "tables").glob("*/*.json")):
        progress(f"{path.parent.name}, {path.stem}")
        tables.append(read_table(path, runs, is_quick=is_quick))
    bundles = {table.where: table.bundle for table in tables if table.bundle is not None}
    found = [*archive.problems]
    found += [problem for run in runs.values() for problem in run.problems]
    found += [problem for table in tables for problem in table.problems]
    found += _unused(runs, bundles)
    found += _told_differently(runs)
    progress("pages and claims")
    try:
        fresh = texts(bundles, runs)
        found += _page_problems(archive, fresh)
    except MALFORMED as error:  # tables of several setups in one folder, say
        fresh = {}
        text = f"no pages can be made of them: {str(error) or type(error).__name__}"
        found.append(Problem("table", "tables", text))
    problems = tuple(dict.fromkeys(found))
    return Verification(
        digest=archive.digest,
        tables=tuple(_table(table, problems) for table in tables),
        claims=tuple(_claims(fresh, bundles, problems)),
        problems=problems,
        runs=runs,
    )


def _unused(runs: Mapping[str, SealedRun], tables: Mapping[str, Bundle]) -> Iterator[Problem]:
    used = {name for bundle in tables.values() for name in bundle.results}
    for name in runs.keys() - used:
        yield Problem("table", f"runs/{name}", "no table has a result of it")


def _told_differently(runs: Mapping[str, SealedRun]) -> Iterator[Problem]:
    """Runs on one data set say the same of it; where they do not, nobody knows which is right."""
    seen: dict[Any, tuple[str, dict[str, Any]]] = {}
    for name, run in runs.items():
        data = run.facts.get("data")
        if not isinstance(data, dict):
            continue
        stated = {key: data.get(key) for key in ("name", "images", "classes")}
        first, known = seen.setdefault(str(data.get("fingerprint")), (name, stated))
        for place, its, other in differences(stated, known):
            text = f"says {place} {its} of its data set, run {first} says {other}"
            yield Problem("record", f"runs/{name}", text)


def _table(table: SealedTable, problems: tuple[Problem, ...]) -> CheckedTable:
    if table.bundle is None:
        return CheckedTable(table.where, None, ())
    cells = (
        CheckedCell(
            row.row.label,
            metric,
            row.metrics[metric].ours.mean,
            tuple(_about(problems, _owners(table.where, row), metric)),
        )
        for row in table.bundle.comparison.rows
        for metric in table.bundle.table.metrics
    )
    return CheckedTable(table.where, table.bundle, tuple(cells))


def _owners(where: str, row: ComparedRow) -> set[str]:
    return {where, *(f"runs/{result.signature}" for result in row.results)}


def _about(problems: tuple[Problem, ...], owners: set[str], part: str) -> Iterator[Problem]:
    return (it for it in problems if it.owner in owners and it.part in ("", part))


def _page_problems(archive: Unsealed, fresh: Mapping[str, str]) -> Iterator[Problem]:
    """What is printed in the archive, and is not what its runs give."""
    for name, text in fresh.items():
        path = archive.folder / name
        if not path.is_file():
            yield Problem("text", name, "it is missing")
        elif name.endswith(".json"):
            yield from _claim_problems(name, path, json.loads(text))
        elif (line := _other_line(_text(path), text)) is not None:
            yield Problem("text", name, line)
    there = {path.relative_to(archive.folder).as_posix() for path in _pages(archive.folder)}
    for name in sorted(there - fresh.keys()):
        yield Problem("text", name, "none of the archive's tables gives such a page")


def _pages(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.txt")
    yield from folder.glob("claims/*")
    yield from folder.glob("tables/*/*.md")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _other_line(stated: str, made: str) -> str | None:
    """The first line that differs; None where none does."""
    if stated == made:
        return None
    ours, theirs = made.splitlines(), stated.splitlines()
    pairs = zip(theirs + [""] * len(ours), ours + [""] * len(theirs), strict=False)
    for number, (its, line) in enumerate(pairs, start=1):
        if its != line:
            return f"line {number} is “{its.strip():.150}”, made again it is “{line.strip():.150}”"
    return "its lines end differently"


def _claim_problems(name: str, path: Path, made: list[dict[str, Any]]) -> Iterator[Problem]:
    """Claims whose verdict is another one."""
    stated = read_json(path)
    listed = stated if isinstance(stated, list) else []
    named = {str(it.get("name")): it for it in listed if isinstance(it, dict)}
    if list(named) != [it["name"] for it in made]:
        yield Problem("text", name, "it has other claims than its tables are about")
    for claim in made:
        pairs = differences(named.get(claim["name"], {}), claim)
        if (first := next(pairs, None)) is not None:
            place, its, ours = first
            text = f"{claim['name']}: {place} is {its}, made again it is {ours}"
            yield Problem("text", name, text, claim["name"])


def _claims(
    fresh: Mapping[str, str], tables: Mapping[str, Bundle], problems: tuple[Problem, ...]
) -> Iterator[CheckedClaim]:
    """Every verdict, with what is wrong with it or with the runs it rests on."""
    claims = {claim.name: claim for claim in TRAINED}
    for name, text in fresh.items():
        if not name.startswith("claims/") or not name.endswith(".json"):
            continue
        setup = Path(name).stem
        mine = {where: it for where, it in tables.items() if where.split("/")[1] == setup}
        study = Study(list(mine.values()))
        for verdict in json.loads(text):
            claim = claims[verdict["name"]]
            rows = {place for part in claim.parts for place in places(part)}
            owners = {f"runs/{run}" for place in rows for run in study.runs(place)}
            owners |= {f"claims/{setup}", *mine}
            wrong = [it for it in problems if it.owner in owners and it.part in ("", claim.name)]
            wrong += [it for it in problems if it.owner in owners and it.part in _metrics(claim)]
            yield CheckedClaim(setup, claim.name, verdict["verdict"], tuple(wrong))


def _metrics(claim: Any) -> set[str]:
    """The metrics that a claim's parts are about."""
    return {part.metric for part in claim.parts if hasattr(part, "metric")}
