"""MLflow's records, mirrored from the results folder: the only file that knows MLflow.

    trainings                       one record per run: params, curves, artifacts
    Table 2 - demo - shapes         one flat record per row and seed, in the paper's order

The folder is the truth and a record only its image, made by the launching process alone. So a
record that is lost is made again, one that exists is brought up to date, never doubled; trials need
neither MLflow nor its database; a server that is away delays records but stops no training.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestration.records import RowRecord, tags_of, texts
from orchestration.store import RunFolder, Store, records_uri

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # amid the live view
# A server that is away is asked again at the next round, not for minutes within one.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient  # noqa: E402 - reads the settings above when it is imported
from mlflow.entities import Dataset, DatasetInput, Metric, Param, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

TRAININGS = "trainings"
LOCK = ".records.lock"
UNUSED = "Default"  # the experiment that MLflow makes by itself
ROUND_SECONDS = 10.0  # between two looks at the folders of running trials
MAX_METRICS, MAX_PARAMS = 1000, 100  # MLflow's limits for one call
MAX_DIGEST = 36  # letters, its limit for a data set's
AWAY = (MlflowException, OSError)  # what a store that cannot be reached raises

for noisy in ("mlflow", "alembic"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


def open_tracker(store: Store) -> "Tracker":
    """Connect, making what is not there yet. ValueError if the store of records cannot be had."""
    uri = records_uri(store)
    try:
        tracker = Tracker(uri, store)
        with tracker.alone():
            if uri.startswith("sqlite:///"):
                _create(Path(uri.removeprefix("sqlite:///")))
            tracker.experiment(TRAININGS)
    except AWAY as error:
        raise ValueError(
            f"MLflow needs a store of records at {uri} (MLFLOW_TRACKING_URI), "
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
    temporary = database.with_name(f"{database.name}.{os.getpid()}.tmp")
    MlflowClient(f"sqlite:///{temporary}").search_experiments()
    os.replace(temporary, database)
    connection = sqlite3.connect(database)
    connection.execute("pragma journal_mode=wal")
    connection.close()


class Tracker:
    """Writes records of one results folder to one MLflow store."""

    def __init__(self, uri: str, store: Store) -> None:
        self.uri, self.store, self.name = uri, store, uuid4().hex
        self.problem: str | None = None  # why the last attempt to write failed
        self._logged: dict[str, dict[str, int]] = {}  # MLflow's run id -> metric -> last step

    @cached_property
    def client(self) -> MlflowClient:
        """The connection; making one makes a database where there is none."""
        return MlflowClient(self.uri)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process of a results folder writes records at a time.

        Where another one has written meanwhile, what it has logged is looked up anew.
        """
        with (self.store.root / LOCK).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if file.read() != self.name:
                self._logged.clear()
                file.truncate(0)
                file.write(self.name)
            yield

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, made or brought back where needed."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            is_local = self.uri.startswith("sqlite:")  # a server has its own place for artifacts
            artifacts = (self.store.root / "artifacts").as_uri() if is_local else None
            return self.client.create_experiment(name, artifact_location=artifacts)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def pages(self, address: str) -> dict[str, str]:
        """Experiment -> its page of charts; MLflow's own first page is about language models."""
        found = self.client.search_experiments(order_by=["name ASC"])
        return {
            item.name: f"{address}/#/experiments/{item.experiment_id}/runs?compareRunsMode=CHART"
            for item in found
            if item.name != UNUSED
        }

    def mirror(self, folder: RunFolder, *, is_running: bool = False) -> None:
        """Bring the record of a training up to date with its folder; nothing happens twice."""
        with self.alone():
            self._mirror(folder, is_running)

    def _mirror(self, folder: RunFolder, is_running: bool) -> None:
        facts, result, failure = folder.facts(), folder.result(), folder.failure()
        if not facts:
            return
        record = self._record(folder.signature, facts)
        if record.info.status == "FINISHED":
            return
        run_id = record.info.run_id
        self._log_history(run_id, folder, is_new=not record.data.metrics)
        for name, text in folder.remarks().items():
            if text and text != record.data.tags.get(name):
                self.client.set_tag(run_id, name, text)
            elif not text and name in record.data.tags:
                self.client.delete_tag(run_id, name)
        if result is not None:
            self._log_artifacts(run_id, folder, facts)
            self.client.set_tag(run_id, "seconds", round(result["seconds"], 1))
            self.client.set_terminated(run_id, "FINISHED")
        elif failure is not None:
            self.client.set_terminated(run_id, "FAILED")
        elif is_running and record.info.status != "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        elif not is_running and record.info.status == "RUNNING":
            self.client.set_terminated(run_id, "KILLED")

    def _record(self, signature: str, facts: dict[str, Any]) -> Any:
        """The training's record, found by its signature or begun with all that is known before."""
        experiment = self.experiment(TRAININGS)
        found = self.client.search_runs(
            [experiment], f"tags.signature = '{signature}'", max_results=1
        )
        tags = {"signature": signature, "kind": "training"} | tags_of(facts)
        record = (
            found[0] if found else self.client.create_run(experiment, None, tags, facts["name"])
        )
        if not record.data.params:  # new, or its creation was cut short
            self._log_facts(record.info.run_id, facts)
        return record

    def _log_facts(self, run_id: str, facts: dict[str, Any]) -> None:
        """What is known of a run before it is trained: its data set and every setting."""
        data = facts["data"]
        source = {"where": data["where"], "fingerprint": data["fingerprint"]}
        digest = data["fingerprint"][:MAX_DIGEST]
        dataset = Dataset(data["name"], digest, "local", json.dumps(source))
        self.client.log_inputs(run_id, datasets=[DatasetInput(dataset)])
        params = [Param(name, value) for name, value in texts(facts["params"]).items()]
        for part in _parts(params, MAX_PARAMS):
            self.client.log_batch(run_id, params=part)

    def _log_history(self, run_id: str, folder: RunFolder, *, is_new: bool) -> None:
        """Log what is newer than the last step logged: MLflow keeps both values of a step."""
        if run_id not in self._logged:
            self._logged[run_id] = {} if is_new else self._last_steps(run_id)
        logged, now = self._logged[run_id], int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, entry["step"])
            for entry in folder.history()
            for name, value in entry.items()
            if name != "step" and value is not None and entry["step"] > logged.get(name, 0)
        ]
        for part in _parts(metrics, MAX_METRICS):
            self.client.log_batch(run_id, metrics=part)
        logged |= {metric.key: metric.step for metric in metrics}

    def _last_steps(self, run_id: str) -> dict[str, int]:
        """Of every metric of a record, the last step that is logged."""
        histories = {
            name: self.client.get_metric_history(run_id, name)
            for name in self.client.get_run(run_id).data.metrics
        }
        return {name: max(point.step for point in points) for name, points in histories.items()}

    def _log_artifacts(self, run_id: str, folder: RunFolder, facts: dict[str, Any]) -> None:
        self.client.log_dict(run_id, facts["canonical"], "config.json")
        self.client.log_dict(run_id, facts, "run.json")
        for path in (folder.detections, folder.weights, folder.history_file):
            self.client.log_artifact(run_id, str(path))

    def table(self, name: str, note: str, rows: Iterable[RowRecord]) -> None:
        """Fill a table's experiment: a flat record per row, the first on top, a note above them."""
        with self.alone():
            self._table(name, note, rows)

    def _table(self, name: str, note: str, rows: Iterable[RowRecord]) -> None:
        experiment = self.experiment(name)
        self.client.set_experiment_tag(experiment, "mlflow.note.content", note)
        created = self.client.get_experiment(experiment).creation_time
        kept = {run.info.run_name: run for run in self._rows(experiment)}
        for row in sorted(rows, key=lambda row: row.order, reverse=True):
            old = kept.get(row.name)
            if old is not None and not _shows(old, row):
                self.client.delete_run(old.info.run_id)
                old = None
            if old is None:
                self._log_row(experiment, created - 1000 * row.order, row)

    def _rows(self, experiment: str) -> list[Any]:
        return list(
            self.client.search_runs([experiment], "", ViewType.ACTIVE_ONLY, max_results=5000)
        )

    def _log_row(self, experiment: str, start: int, row: RowRecord) -> None:
        """start: in milliseconds; MLflow lists the newest first, so the order is told by it."""
        trainings = self.client.search_runs(
            [self.experiment(TRAININGS)], f"tags.signature = '{row.signature}'", max_results=1
        )
        tags = {"signature": row.signature, "kind": "row"}
        if trainings:
            tags["training_run"] = trainings[0].info.run_id
        record = self.client.create_run(experiment, start, tags, row.name)
        self.client.log_batch(
            record.info.run_id,
            metrics=[Metric(name, value, start, 0) for name, value in row.metrics.items()],
            params=[Param(name, value) for name, value in texts(row.toggles).items()],
        )
        self.client.set_terminated(record.info.run_id, "FINISHED", end_time=start)

    @contextmanager
    def following(self, folders: list[RunFolder]) -> Iterator[None]:
        """Mirror these folders while the block runs, and once more when it ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(folders, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with self.tolerance():
                for folder in folders:
                    self.mirror(folder)

    def _follow(self, folders: list[RunFolder], stop: threading.Event) -> None:
        while not stop.wait(ROUND_SECONDS):
            with self.tolerance():
                for folder in folders:
                    self.mirror(folder, is_running=True)

    @contextmanager
    def tolerance(self) -> Iterator[None]:
        """A store that is away stops nothing: problem says so, until a later attempt succeeds."""
        try:
            yield
            self.problem = None
        except AWAY as error:
            self.problem = _first_line(error)


def _shows(record: Any, row: RowRecord) -> bool:
    """Whether a record is this row as it is now, and whole."""
    data = record.data
    is_same = data.tags.get("signature") == row.signature and data.metrics == row.metrics
    return is_same and data.params == texts(row.toggles) and record.info.status == "FINISHED"


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
