"""MLflow's records of trainings and tables. The only file that knows MLflow.

    trainings                     a record per run: settings, curves, artifacts
    Table 2 - demo - shapes       a record per row, and one of the report

The folder is the truth and a record only its image, made by the launching process alone. So a
record that is lost is made again, one that exists is found by its key and never doubled; trials
need neither MLflow nor its database; a server that is away delays records but stops no training.
All records are flat: MLflow hides what is nested.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestration import records
from orchestration.json_files import read_json, write_atomically
from orchestration.plan import Setup
from orchestration.records import NOTE, TRAININGS, VIEW, Record, texts
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
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

KNOWN = "3.17."  # how versions of MLflow begin whose page was looked at
UNUSED = "Default"  # the experiment that MLflow makes by itself
LOCK = ".records.lock"
MAX_RECORDS = 50_000  # that one search gives
MAX_DIGEST, MAX_TAG, MAX_EXPERIMENT_TAG = 36, 8000, 20_000  # letters that MLflow takes
ATTACHED = ["run.json", "history.jsonl", "detections.json", "matches.npz", "insight.json"]
ATTACHED += ["weights.safetensors"]  # of a training's folder
ROUND_SECONDS = 10.0  # between two looks at the folders of running trials
# What a store raises that cannot be reached, or written to.
AWAY = (MlflowException, OSError, SQLAlchemyError, sqlite3.Error, ImportError)

for noisy in ("mlflow", "alembic"):  # a database that goes away is told in a line, by us
    logging.getLogger(noisy).setLevel(logging.CRITICAL)


class Tracker:
    """Writes records of one results folder to one MLflow store."""

    def __init__(self, uri: str, store: Store) -> None:
        self.uri, self.store = uri, store
        self.problem: str | None = None  # why the last attempt to write failed
        self.is_known = mlflow.__version__.startswith(KNOWN)  # so its pages have our views

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
            line = (str(error).splitlines() or [type(error).__name__])[0]
            self.problem = records.without_password(f"{line} ({self.uri})")

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

    def find(self, experiment: Any, sought: str = "") -> list[Any]:
        """An experiment's records that are not deleted, by MLflow's own search language."""
        ids = [experiment.experiment_id]
        return list(self.client.search_runs(ids, sought, max_results=MAX_RECORDS))

    def put(self, experiment: Any, record: Record, data: Mapping[str, str]) -> Any:
        """Find a record by its key; begin it, or complete what was cut short, where needed.

        data: "name", "fingerprint" and "where" of the data set.
        """
        start = None if record.behind is None else experiment.creation_time - 1000 * record.behind
        (key, value), is_training = record.key, start is None
        run = next(iter(self.find(experiment, f"tags.{key} = '{value}'")), None)
        if run is None:
            tags = {name: text[:MAX_TAG] for name, text in {**record.tags, key: value}.items()}
            run = self.client.create_run(experiment.experiment_id, start, tags, record.name)
        if run.data.params if is_training else run.info.status == "FINISHED":  # what is last below
            return run
        run_id, source = run.info.run_id, {name: data[name] for name in ("where", "fingerprint")}
        digest = data["fingerprint"][:MAX_DIGEST]
        dataset = entities.Dataset(data["name"], digest, "local", json.dumps(source))
        what = entities.InputTag("mlflow.data.context", "training" if is_training else "validation")
        self.client.log_inputs(run_id, [entities.DatasetInput(dataset, [what])])
        metrics = [entities.Metric(*it, start or 0, 0) for it in record.metrics.items()]
        params = [entities.Param(*it) for it in record.params.items()]
        self.client.log_batch(run_id, metrics, params)
        if not is_training:
            self.client.set_terminated(run_id, "FINISHED", end_time=start)
        return run

    def attach(self, run: Any, files: Iterable[Path]) -> None:
        """Attach those files that are there, in place of older ones of their names."""
        for path in filter(Path.is_file, files):
            self.client.log_artifact(run.info.run_id, str(path))

    def pages(self, at: str) -> dict[str, str]:
        """Experiment -> its page as it is to open; by itself MLflow opens no records."""
        found = self.client.search_experiments(order_by=["name ASC"])
        shown = {it.name: records.page(it, has_view=VIEW in it.tags) for it in found}
        return {name: f"{at}/{page}" for name, page in shown.items() if name != UNUSED}


def open_tracker(store: Store) -> Tracker:
    """Connect, making what is not there yet; problem says why records have to come later."""
    tracker = Tracker(records.records_uri(store), store)
    with tracker.tolerance(), tracker.alone():
        if tracker.uri == records.local_uri(store):
            _create(records.database(store))
        trainings = tracker.experiment(TRAININGS)
        if tracker.is_known and VIEW not in trainings.tags:
            view = records.training_view()
            tracker.client.set_experiment_tag(trainings.experiment_id, VIEW, view)
    return tracker


def _create(database: Path) -> None:
    """Make the database elsewhere and move it here whole.

    That takes MLflow seconds, and one that is killed meanwhile leaves tables it never mends. The
    file remembers the write-ahead logging, with which `atss ui` reads while a launch writes.
    """
    if database.exists() and database.stat().st_size:
        return
    at = records.sqlite_uri
    write_atomically(database, lambda part: mlflow.MlflowClient(at(part)).search_experiments())
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma journal_mode=wal")


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
        record = _training(folder.signature, facts)
        run = tracker.put(tracker.experiment(TRAININGS), record, facts["data"])
        where = {"experiment": run.info.experiment_id, "run": run.info.run_id}
        if read_json(folder.path / "record.json") != where:
            folder.write("record", where)
        if run.info.status != "FINISHED":
            _advance(tracker, run, folder, is_running)


def _training(signature: str, facts: Mapping[str, Any]) -> Record:
    """What is known of a training before it begins."""
    setup, rows = facts["setup"], "; ".join(facts["rows"])
    known = {"kind": "training", "signature": signature, "rows": rows, "seed": facts["seed"]}
    known |= {name: setup[name] for name in ("scale", "data")} | {"setup": setup["name"]}
    known |= {f"code.{name}": text for name, text in facts["code"].items()}
    known |= {f"environment.{name}": text for name, text in facts["environment"].items()}
    known["assigner"] = facts["params"]["assigner"]
    known[NOTE] = (
        "One training, with its losses and AP step by step; detections, weights and settings are "
        f"under Artifacts. It fills {rows}.\n\nOn disk it is `runs/{signature}` of the results "
        f"folder, trained by `{facts['command']}`."
    )
    return Record(name=facts["name"], tags=texts(known), params=texts(facts["params"]))


def _advance(tracker: Tracker, run: Any, folder: RunFolder, is_running: bool) -> None:
    """What has happened in the folder since: steps, remarks, the end."""
    run_id, client = run.info.run_id, tracker.client
    result = folder.result()  # before the history, which is whole once there is a result
    client.log_batch(run_id, _new_points(run, folder))
    failure = (folder.failure() or {}).get("reason", "")
    tags = {"failure": failure, "cancelled": folder.cancellation()}
    tags["warning"] = "; ".join(warning["text"] for warning in folder.warnings())
    status = "FAILED" if failure else "RUNNING" if is_running else "KILLED"
    if result is not None:
        status, seconds = "FINISHED", result.get("seconds")
        tags["seconds"] = "" if seconds is None else str(round(seconds, 1))
        tracker.attach(run, (folder.path / name for name in ATTACHED))
    for name, text in tags.items():
        if text and text != run.data.tags.get(name):
            client.set_tag(run_id, name, text)
        elif not text and name in run.data.tags:
            client.delete_tag(run_id, name)
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


def record_table(tracker: Tracker, content: Bundle, setup: Setup, folder: Path) -> None:
    """Bring a table's experiment up to date, delete what is so no longer. folder: of reports."""
    name = content.table.name
    data = {"name": setup.data, "fingerprint": setup.fingerprint, "where": setup.where}
    with tracker.alone():
        trained = tracker.find(tracker.experiment(TRAININGS), "tags.kind = 'training'")
        trainings = {run.data.tags["signature"]: run for run in trained}
        experiment = tracker.experiment(f"{content.table.label} - {setup.name}")
        wanted = records.table_records(content, setup, trainings)
        report, *rows = (tracker.put(experiment, record, data) for record in wanted)
        kept = {run.info.run_id for run in (report, *rows)}
        for run in tracker.find(experiment, f"tags.table = '{name}'"):
            if run.info.run_id not in kept:
                tracker.client.delete_run(run.info.run_id)
        tracker.attach(report, sorted(folder.glob(f"{name}.*")))
        links = f"[Charts]({records.page(experiment, has_view=tracker.is_known)})"
        links += f" · [report]({records.address(report, f'/artifacts/{name}.html')})"
        note = f"{links}\n\n{markdown(paper_grid(content))}"[:MAX_EXPERIMENT_TAG]
        view = {VIEW: records.table_view(wanted)} if tracker.is_known else {}
        for tag, text in ({NOTE: note} | view).items():
            tracker.client.set_experiment_tag(experiment.experiment_id, tag, text)
