"""A sealed table, made again of the archive's runs and compared with what the archive says it is.

What is told of runs (numbers, intervals, errors) has to come out of them; what is told of rows has
to be what their runs were trained as; and of a table of the paper, its numbers have to be the
paper's. The rest of a bundle, such as the command, is taken as it is.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from detector.metrics import HEADINGS
from experiments import TABLES
from experiments.experiment import OwnAssigner, Row, Run, Table, canonical
from experiments.settings import with_settings
from reports.bundle import Bundle, load_bundle, save_bundle
from reports.resampling import RESAMPLES
from reports.sealed.archive import MALFORMED, Problem
from reports.sealed.records import require_harmless
from reports.sealed.runs import EXACT, SAMPLED, SealedRun, read_json
from reports.statistics import Scores

SHOWN = 60  # letters of a value in a line that says it differs
MOST = 20  # such lines of a table
MISSING = "nothing"


@dataclass(frozen=True, eq=False)
class SealedTable:
    """A table of an archive. bundle: made of its runs; None where the archive's cannot be read."""

    where: str  # "tables/demo-shapes/table2"
    bundle: Bundle | None
    problems: tuple[Problem, ...]


def read_table(path: Path, runs: Mapping[str, SealedRun], *, is_quick: bool) -> SealedTable:
    """The bundle at a path with what its runs measured, by signature, in place of what it says.

    is_quick: of a run's resamples only some are computed again.
    """
    where = f"tables/{path.parent.name}/{path.stem}"
    try:
        return _read(where, path, runs, is_quick=is_quick)
    except MALFORMED as error:
        reason = str(error).rpartition("version: ")[2] or type(error).__name__
        text = f"no bundle that this version reads: {reason:.200}"
        return SealedTable(where, None, (Problem("table", where, text),))


def _read(where: str, path: Path, runs: Mapping[str, SealedRun], *, is_quick: bool) -> SealedTable:
    stated = _without_arrays(path)
    problems = [*_paper_problems(where, stated.table), *_row_problems(stated, runs)]
    for name in stated.results.keys() - runs.keys():
        text = f"{path.stem} has a result of it, the archive has no such run"
        problems.append(Problem("record", f"runs/{name}", text))
    draws, reason = _draws(path.with_suffix(".npz"))
    if reason:
        problems.append(Problem("record", where, reason))
    found = {name: runs[name] for name in stated.results if name in runs}
    scores = dict[str, Scores]()
    for name in (name for name in found if name in draws):
        checked, texts = _scores(found[name], draws[name], is_quick=is_quick)
        scores |= {name: checked} if checked else {}
        problems += [Problem("number", f"runs/{name}", *it) for it in texts]
    bundle = rebuilt(stated, found, scores)
    problems += _differences(where, path, bundle)
    return SealedTable(where, bundle, tuple(problems))


def rebuilt(stated: Bundle, runs: Mapping[str, SealedRun], scores: Mapping[str, Scores]) -> Bundle:
    """A bundle with the runs' own results, errors and notes."""
    results = {name: run.result for name, run in runs.items() if run.result is not None}
    insights = {name: run.insight for name, run in runs.items() if run.insight is not None}
    return replace(
        stated, results=results, scores=scores, insights=insights, notes=_notes(runs.values())
    )


def _notes(runs: Iterable[SealedRun]) -> list[str]:
    """What the runs say of their data and of themselves, each once."""
    notes = [str(note) for run in runs for note in run.facts.get("data", {}).get("notes", [])]
    notes += [f"warning: {text}" for run in runs for text in run.warnings]
    return list(dict.fromkeys(notes))


def _without_arrays(path: Path) -> Bundle:
    """The JSON of a bundle alone: its arrays are not read before they are known to be harmless."""
    with TemporaryDirectory() as folder:
        alone = Path(folder) / path.name
        shutil.copyfile(path, alone)
        return load_bundle(alone)


def _draws(path: Path) -> tuple[dict[str, Any], str]:
    """Each run's resampled numbers [R, 6], as stated; why they cannot be read, if so."""
    if not path.is_file():
        return {}, ""
    try:
        require_harmless(path)
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}, ""
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read: {error}"


def _scores(
    run: SealedRun, stated: Any, *, is_quick: bool
) -> tuple[Scores | None, list[tuple[str, str]]]:
    """A run under resampled images; for which metrics the records give other numbers.

    None where there are no records to tell.
    """
    if run.result is None or run.matches is None:
        return None, []
    size = (RESAMPLES, len(HEADINGS))
    if stated.shape != size or stated.dtype.kind != "f":
        return run.scores(run.draws), [(f"resamples of shape {stated.shape}, needs {size}", "")]
    fresh, seen = (run.sample, stated[SAMPLED]) if is_quick else (run.draws, stated)
    is_same = np.isclose(fresh, seen, rtol=0, atol=EXACT, equal_nan=True).all(axis=0)  # [6]
    problems = [
        (f"the records give other resamples of {heading}", name)
        for same, (name, heading) in zip(is_same, HEADINGS.items(), strict=True)
        if not same
    ]
    # Where they are the same the stated ones stay: their digest is of the very last bits.
    return run.scores(run.draws if problems else stated), problems


def _row_problems(stated: Bundle, runs: Mapping[str, SealedRun]) -> Iterator[Problem]:
    """Whether the runs of each row were trained as the row says, with the bundle's settings."""
    for row in stated.table.rows:
        for name in stated.signatures.get(row.label, ()):
            if name not in stated.results or name not in runs:
                continue
            where, facts = f"runs/{name}", runs[name].facts
            its = facts.get("canonical")
            if not isinstance(its, dict):
                continue  # told already
            if facts.get("scale") != stated.scale:
                text = f"of scale {facts.get('scale')}, its table of {stated.scale}"
                yield Problem("signature", where, text)
            try:
                expected = canonical(_run_of(stated, row, its.get("seed", -1)))
            except MALFORMED as error:
                yield Problem("signature", where, f"row “{row.label}”: {error}")
                continue
            # What an older version computed differently it still computed as this row says.
            expected["semantics"] = its.get("semantics")
            for path, wanted, found in differences(expected, its):
                text = f"row “{row.label}” is of {path} {wanted}, this run of {found}"
                yield Problem("signature", where, text)
                break


def _run_of(bundle: Bundle, row: Row, seed: int) -> Run:
    config, recipe = with_settings(row.config, bundle.recipe, row.recipe_at(bundle.scale))
    config, recipe = with_settings(config, recipe, bundle.settings)
    own = row.assigner if isinstance(row.assigner, OwnAssigner) else None
    return Run(config, recipe, bundle.fingerprint, seed, own)


def _paper_problems(where: str, table: Table) -> Iterator[Problem]:
    """Whether a table of the paper is as the paper has it, as far as this version knows it."""
    if not table.number:
        return
    ours = TABLES.get(f"table{table.number}")
    if ours is None or [row.label for row in table.rows] != [row.label for row in ours.rows]:
        yield Problem("table", where, f"has other rows than the paper's table {table.number}")
        return
    for row, known in zip(table.rows, ours.rows, strict=True):
        for name, heading in HEADINGS.items():
            found, printed = getattr(row.paper, name), getattr(known.paper, name)
            if found != printed:
                text = f"the paper has {heading} {printed} in “{row.label}”, not {found}"
                yield Problem("table", where, text, name)
        if (row.config, row.recipe, row.at_scale) != (known.config, known.recipe, known.at_scale):
            yield Problem("table", where, f"“{row.label}” is another detector than the paper's")
    if replace(table, rows=ours.rows) != ours:
        yield Problem("table", where, "title, headings or layout are not the paper's")


def _differences(where: str, path: Path, bundle: Bundle) -> Iterator[Problem]:
    """Where a bundle's JSON is not that of the bundle made of the runs; a few of them."""
    with TemporaryDirectory() as folder:
        fresh = Path(folder) / path.name
        save_bundle(bundle, fresh)
        pairs = differences(read_json(path), read_json(fresh))
        for place, stated, made in islice(pairs, MOST):
            part, _, rest = place.partition(".")
            name, _, rest = rest.partition(".")
            is_of_run = part in ("results", "scores", "insights") and bool(name)
            metric = rest.rpartition(".")[2]
            text = f"{path.stem} says {rest or part or place} {stated}, its runs give {made}"
            yield Problem(
                "table",
                f"runs/{name}" if is_of_run else where,
                text,
                metric if metric in HEADINGS else "",
            )


def differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two JSON values differ: the place, "results.9f3a.seed", and both values, shortened."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            inner = f"{place}.{key}" if place else str(key)
            yield from differences(one.get(key, MISSING), other.get(key, MISSING), inner)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            yield from differences(mine, its, f"{place}[{index}]")
    elif not _is_same(one, other):
        yield place, _short(one), _short(other)


def _is_same(one: Any, other: Any) -> bool:
    """Equal values of one type; numbers up to what another machine rounds differently."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= EXACT or (isnan(one) and isnan(other))
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    text = value if value is MISSING else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
