"""Tables in MLflow: each has an experiment, with a record per row and seed, and one of the report.

All are flat: MLflow hides what is nested. A row's record leads to its training's, to the report and
back; the report's names all of them. What a table no longer has is deleted in MLflow's sense: its
page can restore it.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.plan import Setup
from orchestration.record_views import training_views
from orchestration.records import (
    NOTE,
    REPORT,
    ROW,
    SEEDS_VIEW,
    TRAINING,
    VIEW,
    ReportRecord,
    RowRecord,
    TableRecord,
    address,
    charts,
    comparison,
    cut,
    link_line,
    tags_of,
    texts,
    training_note,
    with_links,
)
from orchestration.reporting import with_others
from orchestration.store import Store, read_json, records_uri, write_json
from orchestration.table_records import table_record
from reports.bundle import Bundle

if TYPE_CHECKING:  # they import MLflow and numpy, which take seconds
    from orchestration.tracking import Tracker
    from reports.verdicts import Verdict

WORDS = {VIEW: "charts of all rows", SEEDS_VIEW: "of every seed"}  # for the links to views
ABOUT = (
    "Every training, once, whichever rows of tables it fills: its losses and AP step by step, all "
    "settings, and under Artifacts detections, match records and weights. Search for "
    "`tags.assigner = 'atss'`, `tags.rows LIKE '%Table 2:%'` or `tags.signature = '...'`."
)
# Endings of a report's files that its description names, the page first.
SHOWN = {".html": "page", ".ipynb": "notebook", ".md": "Markdown", ".tex": "LaTeX", ".csv": "CSV"}
FIRST = 1_000_000  # milliseconds from the report's start time to the first row's: it stands last


def record(store: Store, setup: Setup, bundles: Sequence[Bundle], folder: Path) -> str | None:
    """Bring MLflow up to date with these tables; why not, if that failed. folder: of the reports.

    Skipped, with the seconds MLflow takes to load, where the same was recorded before.
    """
    marker = folder / ".recorded.json"
    plain = [table_record(content, setup, folder) for content in bundles]
    marks = {"store": _record_store(store), "tables": _digest(plain)}
    if read_json(marker) == marks:
        return None
    from orchestration.mirroring import mirror
    from orchestration.tracking import open_tracker

    try:
        tracker = open_tracker(store)
    except ValueError as error:  # the server is away; the trainings are done, so they are reported
        return str(error)
    signatures = list(dict.fromkeys(name for content in bundles for name in content.results))
    verdicts = _verdicts(bundles, folder)
    with tracker.tolerance():
        for name in signatures:
            mirror(tracker, store.folder(name))
        for content in bundles:
            concerned = [it for it in verdicts if content.table.number in it.claim.tables]
            record_table(tracker, table_record(content, setup, folder, concerned))
        link_trainings(tracker, store, signatures)
    if tracker.problem is None:
        with tracker.tolerance():
            marker.parent.mkdir(parents=True, exist_ok=True)
            write_json(marker, {**marks, "store": _record_store(store)})
    return tracker.problem


def _verdicts(bundles: Sequence[Bundle], folder: Path) -> list["Verdict"]:
    """What these tables and the folder's others say about the paper's claims."""
    from reports.study import Study  # imports numpy, which lists need not wait for
    from reports.verdicts import judge_all

    try:
        return judge_all(Study(with_others(bundles, folder)))
    except ValueError:  # the others are of other data, of the same name
        return judge_all(Study(bundles))


def record_table(tracker: "Tracker", table: TableRecord) -> None:
    """Fill a table's experiment: a record per row, the first on top, that of the report last."""
    with tracker.alone():
        experiment = tracker.experiment(table.name)
        created = tracker.client.get_experiment(experiment).creation_time
        report = _begin_report(tracker, experiment, table, created - FIRST)
        more = {"report": address(experiment, report)} if report else {}
        trainings = _trainings(tracker)
        kept = _kept(tracker, experiment, ROW)
        runs: dict[str, str] = {}  # name of a row's record -> its id
        for row in sorted(table.rows, key=lambda row: row.order):
            tags = _row_tags(table, row, trainings.get(row.signature), more)
            old, start = kept.get(row.name), created - row.order
            runs[row.name] = _record_row(tracker, experiment, row, tags, start, table.data, old)
        for name in kept.keys() - runs.keys():
            tracker.delete(kept[name].info.run_id)
        if report and table.report:
            _fill_report(tracker, experiment, report, table.report, runs)
        links = {WORDS[key]: charts(experiment, key) for key in table.views} | more
        if len(runs) > 1:
            links["all rows compared"] = comparison(experiment, runs.values())
        note = "\n\n".join([link_line(links), table.note])  # only its first line is always shown
        tracker.describe(experiment, note, table.views)


def _kept(tracker: "Tracker", experiment: str, kind: str) -> dict[str, Any]:
    """The records of a kind that are there, by name; doubled ones are deleted."""
    kept: dict[str, Any] = {}
    for record in tracker.records([experiment], kind):
        if kept.setdefault(record.info.run_name, record) is not record:
            tracker.delete(record.info.run_id)
    return kept


def _trainings(tracker: "Tracker") -> dict[str, Any]:
    """Signature -> record of every training."""
    from orchestration.tracking import TRAININGS

    found = tracker.records([tracker.experiment(TRAININGS)], TRAINING)
    return {record.data.tags["signature"]: record for record in found}


def _row_tags(
    table: TableRecord, row: RowRecord, training: Any | None, more: Mapping[str, str]
) -> dict[str, str]:
    """What a row's record is searched by, and its description with links to what it is made of."""
    tags = {**table.tags, **row.tags, "signature": row.signature}
    links = dict(more)
    if training is not None:
        tags["training_run"] = training.info.run_id
        where = address(training.info.experiment_id, training.info.run_id)
        links = {"training: losses, detections, weights, every setting": where, **links}
    return tags | {NOTE: cut(with_links(row.note, links))}


def _record_row(
    tracker: "Tracker",
    experiment: str,
    row: RowRecord,
    tags: Mapping[str, str],
    start: int,
    data: Mapping[str, str],
    old: Any | None,
) -> str:
    """A row's record as it is now, the old one completed or replaced; its id in MLflow.

    start: in milliseconds; MLflow lists the newest first, so the order is told by it.
    """
    params = texts(row.toggles)
    if old is not None and not _can_become(old, row, params, start):
        tracker.delete(old.info.run_id)
        old = None
    if old is None:
        old = tracker.begin(experiment, row.name, tags, start)
        tracker.log_data(old.info.run_id, data, "validation")
    run_id, there = old.info.run_id, old.data
    changed = {name: it for name, it in row.metrics.items() if there.metrics.get(name) != it}
    now = int(time.time() * 1000)  # the latest value counts
    tracker.log(
        run_id,
        points=[(name, it, now, 0) for name, it in changed.items()],
        params={name: text for name, text in params.items() if name not in there.params},
        tags={name: text for name, text in tags.items() if there.tags.get(name) != text},
    )
    if old.info.status != "FINISHED":
        tracker.end(run_id, start)
    return str(run_id)


def _can_become(old: Any, row: RowRecord, params: Mapping[str, str], start: int) -> bool:
    """Whether a record is of the same run and place, and has nothing that cannot be changed."""
    is_same = old.data.tags.get("signature") == row.signature and old.info.start_time == start
    has_no_other = old.data.metrics.keys() <= row.metrics.keys()
    return is_same and has_no_other and old.data.params.items() <= params.items()


def _begin_report(
    tracker: "Tracker", experiment: str, table: TableRecord, start: int
) -> str | None:
    """The id of the report's record, found or made; None where there is no report."""
    kept = _kept(tracker, experiment, REPORT)
    if table.report is None:
        return None
    record = kept.get(REPORT)
    if record is None:
        record = tracker.begin(experiment, REPORT, {**table.tags, "kind": REPORT}, start)
    if record.info.status != "FINISHED":  # new, or its creation was cut short
        tracker.log_data(record.info.run_id, table.data, "validation")
        tracker.end(record.info.run_id, start)
    return str(record.info.run_id)


def _fill_report(
    tracker: "Tracker",
    experiment: str,
    run_id: str,
    report: ReportRecord,
    rows: Mapping[str, str],
) -> None:
    """Bring a report's record up to date. rows: names of the rows' records -> their ids."""
    known = tracker.client.get_run(run_id).data.tags
    there = {path.name for path in report.files}
    links = {
        words: address(experiment, run_id, f"{report.name}{ending}")
        for ending, words in SHOWN.items()
        if f"{report.name}{ending}" in there
    }
    shown = [f"- [{name}]({address(experiment, run)})" for name, run in rows.items()]
    note = "\n".join([report.note, "", "Its rows:", "", *shown])
    tags = {NOTE: cut(with_links(note, links)), "digest": report.digest}
    if known.get("digest") != report.digest:
        tracker.log_files(run_id, report.files)
        tracker.log_tables(run_id, report.tables)
    tracker.log(run_id, tags={name: text for name, text in tags.items() if known.get(name) != text})


def link_trainings(tracker: "Tracker", store: Store, signatures: Sequence[str]) -> None:
    """Let each training's record name the rows that it fills, in whatever table."""
    from orchestration.tracking import TRAININGS

    with tracker.alone():
        tracker.describe(tracker.experiment(TRAININGS), ABOUT, training_views())
        tables = {it.experiment_id: it.name for it in tracker.client.search_experiments()}
        rows: dict[str, dict[str, str]] = {}
        for row in tracker.records(list(tables), ROW):
            name = f"{tables[row.info.experiment_id]}: {row.info.run_name}"
            where = address(row.info.experiment_id, row.info.run_id)
            rows.setdefault(row.data.tags["signature"], {})[name] = where
        trainings = _trainings(tracker)
        for name in (name for name in signatures if name in trainings):
            facts, known = store.folder(name).facts(), trainings[name].data.tags
            note = training_note(facts, dict(sorted(rows.get(name, {}).items())))
            tags = tags_of(facts) | {NOTE: cut(note)}
            stale = {key: text for key, text in tags.items() if known.get(key) != text}
            tracker.log(trainings[name].info.run_id, tags=stale)


def _record_store(store: Store) -> list[Any]:
    """Which database the records are in: a deleted or exchanged one has none of them."""
    path = Path(records_uri(store).removeprefix("sqlite:///"))
    return [records_uri(store), path.stat().st_ino if path.is_file() else None]


def _digest(tables: Sequence[TableRecord]) -> str:
    plain = json.dumps([asdict(table) for table in tables], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()
