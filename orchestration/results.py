"""From finished runs to what a person reads: the report of a table, and its records in MLflow."""

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.status import Status

from detector.metrics import Metrics
from experiments.experiment import Table, signature
from experiments.settings import show_setting
from experiments.sweep import show
from orchestration.inspection import inspect
from orchestration.plan import GENERATED, NAMED_DATA, Setup, folder_of
from orchestration.progress import count
from orchestration.records import database, local_uri, records_uri, without_password
from orchestration.reporting import INDEX, reports_folder, write_reports
from orchestration.run_folder import RunFolder, Store, read_json, write_json
from orchestration.search import stopped
from orchestration.terminal import near, out_option, warn
from reports.bundle import Bundle
from reports.compare import Result
from reports.facts import code_version
from reports.render import terminal
from reports.tables import paper_grid

EARLIER = (
    "{runs} of before images were tested as if alone: those of several sizes were padded to one, "
    "which moved AP by some tenths"
)
RECORDED = ".recorded.json"  # in a folder of reports: what MLflow has of them


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
        facts=content["facts"]
        | {"code": code_version(folder.facts().get("code"))}
        | _record(folder),
    )


def _record(folder: RunFolder) -> dict[str, str]:
    """The id of the run's record in MLflow, where its folder has word of one."""
    where = read_json(folder.path / "record.json")
    return {"MLflow run": where["run"]} if where else {}


def bundle(
    store: Store,
    setup: Setup,
    table: Table,
    seeds: Sequence[int],
    progress: Callable[[str], None] = lambda text: None,
) -> Bundle:
    """One table with whatever is measured of it; rows that the settings contradict stay empty.

    progress is told what is made of older runs, or for the first report.
    """
    signatures: dict[str, list[str]] = {}
    earlier: set[str] = set()
    for row in table.rows:
        try:
            runs = [setup.row_run(row, seed) for seed in seeds]
        except ValueError:
            continue
        signatures[row.label] = [folder_of(store, run).signature for run in runs]
        earlier |= set(signatures[row.label]) - {signature(run) for run in runs}
    names = dict.fromkeys(name for row in signatures.values() for name in row)
    found = {name: load_result(store.folder(name)) for name in names}
    results = {name: result for name, result in found.items() if result is not None}
    early = {name: stopped(store.folder(name)) for name in names}
    notes = [note for name in results for note in store.folder(name).facts()["data"]["notes"]]
    notes += [f"warning: {it['text']}" for name in results for it in store.folder(name).warnings()]
    notes += [EARLIER.format(runs=count(len(earlier), "run"))] if earlier else []
    inspection = inspect([store.folder(name) for name in results], progress)
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
        notes=list(dict.fromkeys([*notes, *inspection.reasons])),
        scores=inspection.scores,
        insights=inspection.insights,
    )


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

    with console.status("Intervals") as shown:
        tell = partial(_tell, shown, "Intervals")
        bundles = [bundle(store, setup, table, seeds, tell) for table in tables]
    bundles = [content for content in bundles if content.results]
    folder = reports_folder(store, setup)
    for content in bundles:
        for grid in (paper_grid(content), *effects_grids(content.comparison)):
            console.print()
            console.print(terminal(grid))
    with console.status("Reports") as shown:
        problems = write_reports(bundles, store, setup, shown.update, is_forced=is_asked)
    pages = [folder / f"{content.table.name}.html" for content in bundles]
    if problems:  # reports that could not be written do not tell what has changed
        (folder / RECORDED).unlink(missing_ok=True)
    problem = record(store, setup, bundles, folder) if bundles else None
    for page in pages:
        console.print(f"Report   {near(page)} (also .ipynb, .md, .tex, .csv)", soft_wrap=True)
    if (folder / INDEX).is_file():
        console.print(
            f"Site     {near(folder / INDEX)} (can be published as it is)", soft_wrap=True
        )
    if problem:  # the numbers are all there
        warn([f"MLflow: {problem}; the records come later: the next launch makes them up"])
    elif pages:
        console.print(f"Records  atss ui{out_option(store)}", soft_wrap=True)
    return Delivered(len(bundles), tuple(problems))


def record(store: Store, setup: Setup, bundles: Sequence[Bundle], folder: Path) -> str | None:
    """Bring MLflow up to date with these tables; why not, if that failed. folder: of the reports.

    Skipped, with the seconds MLflow takes to load, where the same was recorded before.
    """
    marker = folder / RECORDED
    marks = {"tables": [content.table.name for content in bundles], "reports": _digest(folder)}
    if read_json(marker) == marks | {"store": _record_store(store)}:
        return None
    from orchestration.tracking import link_trainings, mirror, open_tracker, record_table

    try:
        tracker = open_tracker(store)
    except ValueError as error:  # the server is away; the trainings are done, so they are reported
        return str(error)
    signatures = dict.fromkeys(name for content in bundles for name in content.results)
    if tracker.problem:
        return tracker.problem
    with tracker.tolerance():
        for name in signatures:
            mirror(tracker, store.folder(name))
        for content in bundles:
            record_table(tracker, content, setup, folder)
        link_trainings(tracker, signatures)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, marks | {"store": _record_store(store)})
    return tracker.problem


def _digest(folder: Path) -> str:
    """Of all reports of a setup, which change whenever a number does."""
    digest = hashlib.sha256()
    for path in (path for path in sorted(folder.glob("[!.]*")) if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _record_store(store: Store) -> list[str | int | None]:
    """Which database the records are in: a deleted or exchanged one has none of them."""
    uri, file = records_uri(store), database(store)
    is_here = uri == local_uri(store) and file.is_file()
    return [without_password(uri), file.stat().st_ino if is_here else None]


def _tell(status: Status, what: str, text: str) -> None:
    status.update(f"{what}: {text}")


def reproduce_line(setup: Setup, table: Table, seeds: Sequence[int]) -> str:
    """The command that trains what a report shows."""
    words = ["atss", *(table.line or ("reproduce", table.name))]
    words += ["--scale", setup.scale] if setup.scale != "demo" else []
    if setup.where != GENERATED or setup.scale != "demo":
        is_path = setup.where not in NAMED_DATA
        words += ["--data", near(Path(setup.where)) if is_path else setup.where]
    words += ["--seeds", ",".join(map(str, seeds))] if tuple(seeds) != (0,) else []
    written = show if words[1] == "sweep" else show_setting
    for name, value in setup.settings.items():
        words += ["--set", f"{name}={written(value)}"]
    return shlex.join(words)
