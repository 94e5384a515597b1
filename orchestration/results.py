"""From finished runs to what a person reads: the report of a table, and its records in MLflow."""

import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from detector.metrics import HEADINGS, Metrics
from experiments.experiment import Table, signature
from experiments.settings import show_setting
from experiments.sweep import show
from orchestration.early import stopped
from orchestration.plan import GENERATED, NAMED_DATA, Setup
from orchestration.store import RunFolder, Store, read_json, records_uri, write_json
from reports.bundle import Bundle, save_bundle
from reports.compare import Result
from reports.grid import markdown, terminal
from reports.tables import paper_grid

DEFAULT_OUT = "results"
REPORTS = "reports"
ENDINGS = (".html", ".ipynb", ".md", ".tex", ".csv")  # what a report consists of, the page first


def load_result(folder: RunFolder) -> Result | None:
    """A done run as the reports want it, None where it is not done."""
    content = folder.result()
    if content is None:
        return None
    return Result(
        signature=content["signature"],
        seed=content["seed"],
        metrics=Metrics(**content["metrics"]),
        history=folder.history(),
        seconds=content["seconds"],
        facts=content["facts"],
    )


def bundle(store: Store, setup: Setup, table: Table, seeds: Sequence[int]) -> Bundle:
    """One table with whatever is measured of it; rows that the settings contradict stay empty."""
    signatures: dict[str, list[str]] = {}
    for row in table.rows:
        try:
            runs = [setup.row_run(row, seed) for seed in seeds]
        except ValueError:
            continue
        signatures[row.label] = [signature(run) for run in runs]
    names = dict.fromkeys(name for row in signatures.values() for name in row)
    found = {name: load_result(store.folder(name)) for name in names}
    results = {name: result for name, result in found.items() if result is not None}
    early = {name: stopped(store.folder(name)) for name in names}
    notes = [note for name in results for note in store.folder(name).facts()["data"]["notes"]]
    notes += [f"warning: {it['text']}" for name in results for it in store.folder(name).warnings()]
    return Bundle(
        table=table,
        scale=setup.scale,
        recipe=setup.recipe,
        data=setup.data,
        fingerprint=setup.fingerprint,
        signatures=signatures,
        results=results,
        stopped={name: where for name, where in early.items() if where is not None},
        settings=setup.settings,
        command=reproduce_line(setup, table, seeds),
        notes=list(dict.fromkeys(notes)),
    )


def write_report(
    content: Bundle, folder: Path, *, is_forced: bool, progress: Callable[[str], None]
) -> str | None:
    """Write a report's files if what they show has changed, or by force; what failed, if so."""
    if not is_forced and _is_current(content, folder):
        return None
    from reports.render import NotebookError  # seconds of imports, often not needed
    from reports.render import write_report as render

    try:
        render(content, folder, progress)
    except (NotebookError, OSError) as error:  # a cell that fails, a full disk
        return f"the report of {content.table.name} failed: {error}"
    return None


def _is_current(content: Bundle, folder: Path) -> bool:
    """Whether all files are there, and made from the same numbers."""
    paths = [folder / f"{content.table.name}{ending}" for ending in (".json", *ENDINGS)]
    if not all(path.is_file() for path in paths):
        return False
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "fresh.json"
        save_bundle(content, fresh)
        is_same = fresh.read_bytes() == paths[0].read_bytes()
    return is_same and paths[1].stat().st_mtime >= paths[0].stat().st_mtime


def row_records(content: Bundle, setup: Setup) -> list[dict[str, Any]]:
    """The measured rows of a table, one per seed, as tracking.RowRecord wants them."""
    table, records = content.table, []
    for number, row in enumerate(table.rows):
        for place, name in enumerate(content.signatures.get(row.label, ())):
            if name not in content.results:
                continue
            result = content.results[name]
            run = setup.row_run(row, result.seed)
            toggles = asdict(run.config) | {key: getattr(run.recipe, key) for key in row.recipe}
            own = {"assigner": str(run.assigner)} if run.assigner else {}
            records.append(
                {
                    "name": f"{number + 1:02} {row.label} - seed {result.seed}",
                    "order": number * len(content.signatures[row.label]) + place,
                    "signature": name,
                    "toggles": toggles | own,
                    "metrics": _numbers(result.metrics, row.paper),
                }
            )
    return records


def _numbers(ours: Metrics, paper: Metrics) -> dict[str, float]:
    """AP first, then the others, then the paper's AP and the difference; only what is known."""
    numbers = {HEADINGS[name]: value for name, value in asdict(ours).items()}
    if ours.ap is not None and paper.ap is not None:
        numbers |= {"paper_AP": paper.ap, "delta_AP": round(ours.ap - paper.ap, 4)}
    return {name: value for name, value in numbers.items() if value is not None}


def record(store: Store, setup: Setup, bundles: Sequence[Bundle]) -> str | None:
    """Bring MLflow up to date with these tables; why not, if that failed.

    Skipped, with the seconds MLflow takes to load, where the same was recorded before.
    """
    tables = [(f"{content.table.label} - {setup.name}", content) for content in bundles]
    wanted = [(name, row_records(content, setup)) for name, content in tables]
    marker = store.root / REPORTS / setup.slug / ".recorded.json"
    marks = {"store": _record_store(store), "tables": _digest(wanted)}
    if read_json(marker) == marks:
        return None
    from orchestration.tracking import RowRecord, open_tracker

    try:
        tracker = open_tracker(store)
    except ValueError as error:  # the server is away; the trainings are done, so they are reported
        return str(error)
    with tracker.tolerance():
        for name in dict.fromkeys(name for content in bundles for name in content.results):
            tracker.mirror(store.folder(name))
        for (name, rows), (_, content) in zip(wanted, tables, strict=True):
            tracker.table(name, markdown(paper_grid(content)), [RowRecord(**row) for row in rows])
    if tracker.problem is None:
        with tracker.tolerance():
            marker.parent.mkdir(parents=True, exist_ok=True)
            write_json(marker, {**marks, "store": _record_store(store)})
    return tracker.problem


def _record_store(store: Store) -> list[Any]:
    """Which database the records are in: a deleted or exchanged one has none of them."""
    path = Path(records_uri(store).removeprefix("sqlite:///"))
    return [records_uri(store), path.stat().st_ino if path.is_file() else None]


@dataclass(frozen=True)
class Delivered:
    """What a person gets: how many tables were printed, and whether all of it worked."""

    num_tables: int
    problems: tuple[str, ...]


def deliver(
    store: Store,
    setup: Setup,
    tables: Sequence[Table],
    seeds: Sequence[int],
    console: Console,
    *,
    is_asked: bool = False,
) -> Delivered:
    """Print the tables, write their reports, record them; is_asked: even if nothing changed.

    Tables without a single result are left out.
    """
    from reports.effects import effects_grids  # imports numpy, which lists need not wait for

    bundles = [bundle(store, setup, table, seeds) for table in tables]
    bundles = [content for content in bundles if content.results]
    folder = store.root / REPORTS / setup.slug
    pages, problems = [], []
    for content in bundles:
        for grid in (paper_grid(content), *effects_grids(content.comparison)):
            console.print()
            console.print(terminal(grid))
    for content in bundles:
        with console.status("Report") as shown:
            problem = write_report(
                content,
                folder,
                is_forced=is_asked,
                progress=partial(_tell, shown, content.table.name),
            )
        problems += [problem] if problem else []
        pages.append(folder / f"{content.table.name}.html")
    problem = record(store, setup, bundles) if bundles else None
    for page in pages:
        console.print(f"Report   {_near(page)} (also .ipynb, .md, .tex, .csv)", soft_wrap=True)
    if problem:
        problems.append(f"MLflow: {problem}; the next launch makes the records up")
    elif pages:
        console.print(f"Records  atss ui{_out_option(store)}", soft_wrap=True)
    return Delivered(len(bundles), tuple(problems))


def _tell(status: Status, name: str, text: str) -> None:
    status.update(f"Report of {name}: {text}")


def _near(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _out_option(store: Store) -> str:
    near = _near(store.root)
    return "" if near == DEFAULT_OUT else f" --out {shlex.quote(near)}"


def reproduce_line(setup: Setup, table: Table, seeds: Sequence[int]) -> str:
    """The command that trains what a report shows."""
    words = ["atss", *(table.line or ("reproduce", table.name))]
    words += ["--scale", setup.scale] if setup.scale != "demo" else []
    if setup.where != GENERATED or setup.scale != "demo":
        is_path = setup.where not in NAMED_DATA
        words += ["--data", _near(Path(setup.where)) if is_path else setup.where]
    words += ["--seeds", ",".join(map(str, seeds))] if tuple(seeds) != (0,) else []
    written = show if words[1] == "sweep" else show_setting
    for name, value in setup.settings.items():
        words += ["--set", f"{name}={written(value)}"]
    return shlex.join(words)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
