"""From finished runs to what a person reads: tables, reports and their site, records in MLflow.

<out>/reports/<setup>/<table>.html     and the table's other files
<out>/reports/<setup>/index.html       with claims.html, for several tables
"""

import hashlib
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import convert
from rich.console import Console

from detector.metrics import Metrics
from experiments import TABLES
from experiments.experiment import Table, signature
from experiments.settings import show_setting
from experiments.sweep import show
from orchestration.json_files import read_json, write_atomically, write_json
from orchestration.plan import GENERATED, NAMED_DATA, Setup, folder_of, slug
from orchestration.progress import count
from orchestration.records import database, local_uri, records_uri, without_password
from orchestration.run_folder import CHECKED, POSITIVES, RunFolder, Store
from orchestration.terminal import near, out_option, warn
from reports.breakdown import Insight
from reports.coco_bootstrap import Scores, load_scores, save_scores, score
from reports.effects import effects_grids
from reports.render import terminal
from reports.results import Bundle, Result, bundle_text, load_bundle
from reports.tables import code_version, paper_grid

EARLIER = (
    "{runs} of before images were tested as if alone: those of several sizes were padded to one, "
    "which moved AP by some tenths"
)
UNKNOWN = "matches.npz or insight.json is missing, damaged, or of another version"
REPORTS, INDEX = "reports", "index.html"
ENDINGS = (".json", ".html", ".ipynb", ".md", ".tex", ".csv")  # what a report consists of
MARKS = ".marks.json"  # in a folder of reports: which tables are recorded as they are, and where

Progress = Callable[[str], None]


def load_result(folder: RunFolder) -> Result | None:
    """A done run as the reports want it; None where it is not done, or its files are unreadable."""
    content = folder.result()
    if content is None or folder.problem("run") or not folder.facts():
        return None
    facts = content.get("facts", {}) | {"code": code_version(folder.facts().get("code"))}
    return convert({**content, "facts": facts}, Result)


class Inspection(NamedTuple):
    """Of several runs, by signature; reasons: why there is none of others, in a line."""

    scores: dict[str, Scores]
    insights: dict[str, Insight]
    reasons: list[str]


def inspect(folders: Sequence[RunFolder], progress: Progress) -> Inspection:
    """What done runs left behind; progress is told what has to be made first."""
    scores, insights = dict[str, Scores](), dict[str, Insight]()
    for folder in folders:
        with suppress(ValueError, KeyError, TypeError, OSError):
            insight = convert(read_json(folder.insight), Insight)
            scores[folder.signature] = _scores(folder, progress)
            insights[folder.signature] = insight
    missing = len(folders) - len(insights)
    reasons = [f"no intervals for {count(missing, 'run')}: {UNKNOWN}"] if missing else []
    return Inspection(scores, insights, reasons)


def _scores(folder: RunFolder, progress: Progress) -> Scores:
    """A run's numbers for resampled images, of its folder or made now."""
    from detector.evaluation.match_records import load_matches  # it waits for torch

    result = folder.result() or {}
    about = (folder.signature, result["seed"], Metrics(**result["metrics"]))
    source = hashlib.sha256(folder.matches.read_bytes()).hexdigest()
    with suppress(ValueError, FileNotFoundError):  # of other matches, or of another version
        return load_scores(folder.scores, *about, source=source)
    progress(f"{folder.facts()['name']}, seed {result['seed']}: what it would be for other images")
    scores = score(*about, load_matches(folder.matches))
    with suppress(OSError):  # it is only kept to be quick
        write_atomically(folder.scores, lambda part: save_scores(scores, part, source=source))
    return scores


def bundle(
    store: Store,
    setup: Setup,
    table: Table,
    seeds: Sequence[int],
    progress: Progress = lambda text: None,
) -> Bundle:
    """One table with whatever is measured of it; rows that the settings contradict stay empty.

    progress is told what is made for the first report.
    """
    signatures: dict[str, list[str]] = {}
    earlier: set[str] = set()
    for row in table.rows:
        with suppress(ValueError):
            runs = [setup.row_run(row, seed) for seed in seeds]
            signatures[row.label] = [folder_of(store, run).signature for run in runs]
            earlier |= set(signatures[row.label]) - {signature(run) for run in runs}
    folders = {name: store.folder(name) for row in signatures.values() for name in row}
    results = {name: it for name, folder in folders.items() if (it := load_result(folder))}
    done = [folders[name] for name in results]
    scores, insights, reasons = inspect(done, progress)
    notes = [
        *(note for folder in done for note in folder.facts()["data"]["notes"]),
        *(folder.problem(name) for folder in folders.values() for name in CHECKED),
        *(f"warning, {it.facts()['name']}: {w['text']}" for it in done for w in it.warnings()),
        EARLIER.format(runs=count(len(earlier), "run")) if earlier else "",
        *reasons,
    ]
    return Bundle(
        table=table,
        scale=setup.scale,
        recipe=setup.recipe,
        data=setup.data,
        fingerprint=setup.fingerprint,
        signatures=signatures,
        results=results,
        stopped={name: how for name, folder in folders.items() if (how := folder.stopped())},
        settings=setup.settings,
        command=reproduce_line(setup, table, seeds),
        notes=list(dict.fromkeys(filter(None, notes))),
        scores=scores,
        insights=insights,
    )


def deliver(
    store: Store,
    setup: Setup,
    tables: Sequence[Table],
    seeds: Sequence[int],
    console: Console,
    *,
    is_asked: bool = False,
) -> list[str] | None:
    """Print the tables, write their reports, record them; what did not work.

    Tables without a single result are left out; None where that are all. is_asked: written even if
    nothing changed.
    """
    with console.status("Intervals") as shown:
        bundles = [bundle(store, setup, table, seeds, shown.update) for table in tables]
    bundles = [content for content in bundles if content.results]
    if not bundles:
        return None
    for content in bundles:
        for grid in (paper_grid(content), *effects_grids(content)):
            console.print()
            console.print(terminal(grid))
    with console.status("Reports") as shown:
        problems = write_reports(bundles, store, setup, shown.update, is_forced=is_asked)
        problem = record(store, setup, bundles)
    folder = reports_folder(store, setup)
    pages = [near(folder / f"{content.table.name}.html") for content in bundles]
    lines = [f"Report   {page} (also .ipynb, .md, .tex, .csv)" for page in pages]
    if (folder / INDEX).is_file():
        lines.append(f"Site     {near(folder / INDEX)} (can be published as it is)")
    if problem:  # the numbers are all there
        warn([f"MLflow: {problem}; the records come later: the next launch makes them up"])
    else:
        lines.append(f"Records  atss ui{out_option(store)}")
    console.print("\n".join(lines), soft_wrap=True)
    return problems


def reports_folder(store: Store, setup: Setup) -> Path:
    """Where the reports of a setup are."""
    return store.root / REPORTS / setup.slug


def write_reports(
    bundles: Sequence[Bundle], store: Store, setup: Setup, progress: Progress, *, is_forced: bool
) -> list[str]:
    """Write the reports whose content has changed, or all by force, and the site; what failed.

    The site is made for several tables, and kept up to date once it is there.
    """
    folder, problems = reports_folder(store, setup), []
    for content in bundles:
        name = content.table.name
        files = [folder / f"{name}{ending}" for ending in ENDINGS]
        is_whole = all(file.is_file() for file in files) and not is_forced
        if is_whole and files[0].read_bytes() == bundle_text(content).encode():
            continue
        from orchestration.gallery import bring_gallery  # seconds of imports, often not needed
        from reports import notebook

        progress(f"Report of {name}")
        (folder / MARKS).unlink(missing_ok=True)
        bring_gallery(content, setup, store.folder, folder)
        try:
            notebook.write_report(content, folder, progress)
        except (notebook.NotebookError, OSError) as error:  # a cell that fails, a full disk
            problems.append(f"the report of {name} failed: {error}")
            files[0].unlink(missing_ok=True)  # so that the next time it is written anew
    if len(bundles) > 1 or (folder / INDEX).is_file():
        progress("Site")
        try:
            _write_site(bundles, store, setup, folder)
        except (OSError, ValueError) as error:
            problems.append(f"the pages about all tables failed: {error}")
    return problems


def record(store: Store, setup: Setup, bundles: Sequence[Bundle]) -> str | None:
    """Bring MLflow up to date with these tables; why not, if that failed.

    Skipped, with the seconds MLflow takes to load, where it has these reports.
    """
    folder, names = reports_folder(store, setup), [content.table.name for content in bundles]
    marks = read_json(folder / MARKS) or {}
    if all(marks.get(name) == _records_place(store) for name in names):
        return None
    from orchestration.tracking import mirror, open_tracker, record_table

    tracker = open_tracker(store)
    if tracker.problem:
        return tracker.problem
    with tracker.tolerance():
        for name in dict.fromkeys(name for content in bundles for name in content.results):
            mirror(tracker, store.folder(name))
        for content in bundles:
            record_table(tracker, content, setup, folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARKS, marks | dict.fromkeys(names, _records_place(store)))
    return tracker.problem


def _records_place(store: Store) -> str:
    """Which database the records are in: a deleted or exchanged one has none of them."""
    uri, file = records_uri(store), database(store)
    is_here = uri == local_uri(store) and file.is_file()
    return f"{without_password(uri)} {file.stat().st_ino if is_here else ''}"


def _write_site(bundles: Sequence[Bundle], store: Store, setup: Setup, folder: Path) -> None:
    """The pages about all tables of the folder, the others' as their reports were written.

    The paper's tables come first.
    """
    from reports import site
    from reports.measurements import Measurements

    found = {content.table.name: content for content in bundles}
    for file in sorted(folder.glob("*.json")):
        if file.stem not in found and file.with_suffix(".html").is_file():
            try:
                found[file.stem] = load_bundle(file)
            except ValueError as error:  # damaged, or another version's
                warn([str(error)])
    order = [*TABLES, *sorted(found.keys() - TABLES.keys())]
    counts = store.root / POSITIVES / slug(f"{setup.data} val") / "positives.csv"
    study = Measurements([found[name] for name in order if name in found])
    site.write_site(study, folder, counts if counts.is_file() else None)


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
