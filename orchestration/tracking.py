"""MLflow's records of trainings and tables. The only file that knows MLflow.

    trainings                     a record per run: settings, curves, artifacts
    Table 2 - demo - shapes       a record per row and seed, and one of the report

The folder is the truth and a record only its image, made by the launching process alone. So a
record that is lost is made again, one that exists is brought up to date, never doubled; trials need
neither MLflow nor its database; a server that is away delays records but stops no training. All
records are flat: MLflow hides what is nested.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestration.json_files import read_json
from orchestration.plan import Setup
from orchestration.records import (
    NOTE,
    ROW,
    TRAINING,
    TRAININGS,
    VIEW,
    VIEWS,
    WORDS,
    Record,
    address,
    comparison,
    cut,
    database,
    linked,
    local_uri,
    page,
    records_uri,
    report_files,
    report_record,
    row_records,
    table_views,
    texts,
    training_views,
    without_password,
)
from orchestration.run_folder import RunFolder, Store
from reports.render import markdown
from reports.results import Bundle
from reports.tables import paper_grid

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # amid the live view
# A server that is away is asked again at the next round, not for minutes within one.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

import mlflow  # noqa: E402 - reads the settings above when it is imported
from mlflow import entities  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy.exc import OperationalError, SQLAlchemyError  # noqa: E402

UNUSED = "Default"  # the experiment that MLflow makes by itself
LOCK = ".records.lock"
MAX_RECORDS = 50_000  # that one search gives
MAX_DIGEST, MAX_EXPERIMENT_TAG = 36, 20_000  # letters that MLflow takes
ROUND_SECONDS = 10.0  # between two looks at the folders of running trials
# What a store raises that cannot be reached, or written to.
AWAY = (MlflowException, OSError, SQLAlchemyError, sqlite3.Error)
ABOUT = (
    "Every training, once, whichever rows of tables it fills: its losses and AP step by step, all "
    "settings, and under Artifacts detections, match records and weights. Search for "
    "`tags.assigner = 'atss'`, `tags.rows LIKE '%Table 2:%'` or `tags.signature = '...'`."
)

for noisy in ("mlflow", "alembic"):  # a database that goes away is told in a line, by us
    logging.getLogger(noisy).setLevel(logging.CRITICAL)


class Tracker:
    """Writes records of one results folder to one MLflow store."""

    def __init__(self, uri: str, store: Store) -> None:
        self.uri, self.store = uri, store
        self.problem: str | None = None  # why the last attempt to write failed

    @cached_property
    def client(self) -> mlflow.MlflowClient:
        """The connection; making one makes a database where there is none."""
        return mlflow.MlflowClient(self.uri)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process of a results folder writes records at a time."""
        with (self.store.root / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def tolerance(self) -> Iterator[None]:
        """A store that is away stops nothing: problem says so, until a later attempt succeeds."""
        try:
            yield
            self.problem = None
        except AWAY as error:
            self.problem = _first_line(error)

    def experiment(self, name: str) -> Any:
        """The experiment of this name, made or brought back where needed."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            is_local = self.uri.startswith("sqlite:")  # a server has its own place for artifacts
            artifacts = (self.store.root / "artifacts").as_uri() if is_local else None
            return self.client.get_experiment(self.client.create_experiment(name, artifacts))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found

    def find(self, experiments: Iterable[Any], sought: str) -> list[Any]:
        """The records that are not deleted, by MLflow's own search language."""
        ids = [experiment.experiment_id for experiment in experiments]
        return list(self.client.search_runs(ids, sought, max_results=MAX_RECORDS))

    def put(
        self, experiment: Any, record: Record, data: Mapping[str, str], run: Any | None = None
    ) -> Any:
        """Begin a record, or complete that of an earlier run of ours; it, as it was found or made.

        data: "name", "fingerprint" and "where" of the data set.
        """
        start = experiment.creation_time - record.behind if record.behind is not None else None
        if run is None:
            tags = {name: cut(text) for name, text in record.tags.items()}
            run = self.client.create_run(experiment.experiment_id, start, tags, record.name)
        run_id, known, now = run.info.run_id, run.data, int(time.time() * 1000)
        if not (run.inputs and run.inputs.dataset_inputs):  # new, or its creation was cut short
            source = json.dumps({name: data[name] for name in ("where", "fingerprint")})
            digest = data["fingerprint"][:MAX_DIGEST]
            what = "training" if start is None else "validation"
            dataset = entities.Dataset(data["name"], digest, "local", source)
            context = [entities.InputTag("mlflow.data.context", what)]
            self.client.log_inputs(run_id, datasets=[entities.DatasetInput(dataset, context)])
        changed = {key: it for key, it in record.metrics.items() if known.metrics.get(key) != it}
        metrics = [entities.Metric(key, value, now, 0) for key, value in changed.items()]
        params = [entities.Param(*it) for it in record.params.items() if it[0] not in known.params]
        self.tag(run, record.tags)
        self.client.log_batch(run_id, metrics, params)
        if start is not None and run.info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED", end_time=start)
        return run

    def tag(self, run: Any, tags: Mapping[str, str]) -> None:
        """Set those tags that a record does not have yet."""
        wanted = {name: cut(text) for name, text in tags.items()}
        new = [entities.RunTag(*it) for it in wanted.items() if it not in run.data.tags.items()]
        self.client.log_batch(run.info.run_id, tags=new)

    def attach(self, run: Any, files: Iterable[Path]) -> None:
        """Attach those files that are there, in place of older ones of their names."""
        for path in (path for path in files if path.is_file()):
            self.client.log_artifact(run.info.run_id, str(path))

    def describe(self, experiment: Any, note: str, views: Mapping[str, str]) -> None:
        """The description of an experiment's page, and how that opens."""
        wanted = {VIEWS + key: text for key, text in views.items()}
        for tag, text in (wanted | {NOTE: cut(note, MAX_EXPERIMENT_TAG)}).items():
            if experiment.tags.get(tag) != text:
                self.client.set_experiment_tag(experiment.experiment_id, tag, text)

    def pages(self, at: str) -> dict[str, str]:
        """Experiment -> its page as it is to open; by itself MLflow opens no records."""
        found = self.client.search_experiments(order_by=["name ASC"])
        views = {it.name: VIEW if VIEWS + VIEW in it.tags else "" for it in found}
        return {it.name: f"{at}/{page(it, views[it.name])}" for it in found if it.name != UNUSED}


def open_tracker(store: Store) -> Tracker:
    """Connect, making what is not there yet; problem says that a server is away, whose records come
    later. ValueError if the store cannot be had at all."""
    uri = records_uri(store)
    tracker, is_local = Tracker(uri, store), uri.startswith("sqlite:")
    try:
        with tracker.alone():
            if uri == local_uri(store):
                _create(database(store))
            tracker.experiment(TRAININGS)
    except (*AWAY, ImportError) as error:
        is_away = isinstance(error, OperationalError) or uri.startswith("http")
        tracker.problem = _first_line(error)
        if not is_away or is_local:
            named = " (MLFLOW_TRACKING_URI)" if uri != local_uri(store) else ""
            raise ValueError(
                f"MLflow needs a store of records at {without_password(uri)}{named}, "
                f"which cannot be opened: {_first_line(error)}"
            ) from error
    return tracker


def _create(database: Path) -> None:
    """Make the database elsewhere and move it here whole.

    That takes MLflow seconds, and one that is killed meanwhile leaves tables it never mends. The
    file remembers the write-ahead logging, with which `atss ui` reads while a launch writes.
    """
    if database.exists() and database.stat().st_size:
        return
    for left in database.parent.glob(f"{database.name}.*.tmp*"):  # of a launch that was killed
        left.unlink()
    temporary = database.with_name(f"{database.name}.{os.getpid()}.tmp")
    mlflow.MlflowClient(f"sqlite:///{quote(str(temporary))}").search_experiments()
    os.replace(temporary, database)
    connection = sqlite3.connect(database)
    connection.execute("pragma journal_mode=wal")
    connection.close()


def _first_line(error: BaseException) -> str:
    """What went wrong, in a line without passwords."""
    return without_password((str(error).splitlines() or [type(error).__name__])[0])


# Trainings: the image of a run's folder, which says in record.json where its record is.


@contextmanager
def following(tracker: Tracker, folders: Sequence[RunFolder]) -> Iterator[None]:
    """Mirror these folders, and those that join them, while the block runs and once at its end."""
    stop = threading.Event()

    def follow() -> None:
        """In a thread of its own."""
        is_over = False
        while not is_over:
            is_over = stop.wait(ROUND_SECONDS)
            with tracker.tolerance():
                for folder in folders:
                    mirror(tracker, folder, is_running=not is_over)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def mirror(tracker: Tracker, folder: RunFolder, *, is_running: bool = False) -> None:
    """Bring the record of a training up to date with its folder; nothing happens twice."""
    facts = folder.facts()
    if not facts:
        return
    with tracker.alone():
        home = tracker.experiment(TRAININGS)
        run = next(iter(tracker.find([home], f"tags.signature = '{folder.signature}'")), None)
        if run is None or not run.data.params:
            run = tracker.put(home, _training(folder.signature, facts, []), facts["data"], run)
        where = {"experiment": run.info.experiment_id, "run": run.info.run_id}
        if read_json(folder.path / "record.json") != where:
            folder.write("record", where)
        if run.info.status != "FINISHED":
            _advance(tracker, run, folder, is_running)


def _training(signature: str, facts: Mapping[str, Any], rows: Sequence[str]) -> Record:
    """What is known of a training before it begins. rows: links to its rows, if there are any."""
    setup: Mapping[str, str] = facts["setup"]
    known: dict[str, Any] = {}
    for group in ("code", "environment"):
        known |= {f"{group}.{name}": text for name, text in facts[group].items()}
    note = [
        "One training, with its losses and AP step by step; detections, weights and settings are "
        "under Artifacts. It fills\n",
        *(f"- {text}" for text in rows or facts["rows"]),
        f"\nSignature `{signature}`, in the results folder `runs/{signature}`.\n",
        f"Trained by `{facts['command']}`.",
    ]
    return Record(
        name=facts["name"],
        tags=texts(known)
        | {"signature": signature, "kind": TRAINING, "rows": "; ".join(facts["rows"])}
        | {"setup": setup["name"], "scale": setup["scale"], "data": setup["data"]}
        | {"seed": str(facts["seed"]), "assigner": facts["params"]["assigner"]}
        | {NOTE: "\n".join(note)},
        params=texts(facts["params"]),
    )


def _advance(tracker: Tracker, run: Any, folder: RunFolder, is_running: bool) -> None:
    """What has happened in the folder since: steps, remarks, the end."""
    run_id, client = run.info.run_id, tracker.client
    result = folder.result()  # before the history, which is whole once there is a result
    client.log_batch(run_id, _new_points(run, folder))
    remarks = {"failure": (folder.failure() or {}).get("reason", "")}
    remarks["cancelled"] = folder.cancellation()
    remarks["warning"] = "; ".join(warning["text"] for warning in folder.warnings())
    tracker.tag(run, {name: text for name, text in remarks.items() if text})
    for name in (name for name, text in remarks.items() if not text and name in run.data.tags):
        client.delete_tag(run_id, name)
    if result is not None:
        client.log_dict(run_id, folder.facts()["canonical"], "config.json")
        client.log_dict(run_id, folder.facts(), "run.json")
        made = (folder.detections, folder.weights, folder.history_file)
        tracker.attach(run, [*made, folder.matches, folder.insight])
        if (seconds := result.get("seconds")) is not None:
            client.set_tag(run_id, "seconds", round(seconds, 1))
    is_failed = folder.failure() is not None
    ended = "FINISHED" if result is not None else "FAILED" if is_failed else "KILLED"
    status = "RUNNING" if is_running and result is None and not is_failed else ended
    if status != run.info.status:
        end = client.update_run if status == "RUNNING" else client.set_terminated
        end(run_id, status)


def _new_points(run: Any, folder: RunFolder) -> list[entities.Metric]:
    """What is newer than the last step logged: MLflow would keep both values of a step."""
    logged = {metric.key: metric.step for metric in run.data.to_proto().metrics}
    now = int(time.time() * 1000)
    return [
        entities.Metric(name, value, now, entry["step"])
        for entry in folder.history()
        for name, value in entry.items()
        if name != "step" and value is not None and entry["step"] > logged.get(name, 0)
    ]


def link_trainings(tracker: Tracker, signatures: Iterable[str]) -> None:
    """Let each training's record name the rows that it fills, in whatever table."""
    with tracker.alone():
        home, views = tracker.experiment(TRAININGS), training_views()
        links = {"AP and toggles of every training": page(home, VIEW)} if views else {}
        tracker.describe(home, linked(ABOUT, links), views)
        tables = {it.experiment_id: it for it in tracker.client.search_experiments()}
        rows: dict[str, list[str]] = {}
        for row in tracker.find(tables.values(), f"tags.kind = '{ROW}'"):
            link = f"[{tables[row.info.experiment_id].name}: {row.info.run_name}]({address(row)})"
            rows.setdefault(row.data.tags["signature"], []).append(link)
        trainings = _trainings(tracker)
        for name in (name for name in signatures if name in trainings):
            facts = tracker.store.folder(name).facts()
            tracker.tag(trainings[name], _training(name, facts, sorted(rows.get(name, []))).tags)


def _trainings(tracker: Tracker) -> dict[str, Any]:
    """Signature -> record of every training."""
    found = tracker.find([tracker.experiment(TRAININGS)], f"tags.kind = '{TRAINING}'")
    return {run.data.tags["signature"]: run for run in found}


# Tables: an experiment each, with a record per row and seed, and one of the report below them.


def record_table(tracker: Tracker, content: Bundle, setup: Setup, folder: Path) -> None:
    """Bring a table's experiment up to date. folder: of its report."""
    files = report_files(folder, content.table.name)
    data = {"name": setup.data, "fingerprint": setup.fingerprint, "where": setup.where}
    with tracker.alone():
        experiment = tracker.experiment(f"{content.table.label} - {setup.name}")
        report = {}
        if files:
            (run,) = _put_all(tracker, experiment, [report_record(content, setup)], data)
            tracker.attach(run, files)
            report = {"report": address(run, f"{content.table.name}.html")}
        rows = row_records(content, setup, _trainings(tracker), report)
        runs = _put_all(tracker, experiment, rows, data)
        views = table_views(rows)
        links = {WORDS[key]: page(experiment, key) for key in views} | report
        links |= {"all rows compared": comparison(runs)}
        tracker.describe(experiment, linked(markdown(paper_grid(content)), links), views)


def _put_all(
    tracker: Tracker, experiment: Any, records: Sequence[Record], data: Mapping[str, str]
) -> list[Any]:
    """Bring a table's records of one kind up to date; doubled, lost and unfit ones are deleted.

    MLflow cannot take back a param, a metric or a start time; its page can restore a record.
    """
    wanted = {record.name: record for record in records}
    kept: dict[str, Any] = {}
    for run in tracker.find([experiment], f"tags.kind = '{records[0].tags['kind']}'"):
        name, record = run.info.run_name, wanted.get(run.info.run_name)
        if (
            record is not None
            and name not in kept
            and run.info.start_time == experiment.creation_time - (record.behind or 0)
            and run.data.tags.get("signature") == record.tags.get("signature")
            and run.data.metrics.keys() <= record.metrics.keys()
            and run.data.params.items() <= record.params.items()
        ):
            kept[name] = run
        else:
            tracker.client.delete_run(run.info.run_id)
    return [tracker.put(experiment, it, data, kept.get(it.name)) for it in records]
