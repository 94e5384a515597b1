"""MLflow, behind the few verbs that our records need: the only file that knows it.

    trainings                       one record per run: params, curves, artifacts   mirroring.py
    Table 2 - demo - shapes         one flat record per row and seed, and one of    recording.py
                                    the report

The folder is the truth and a record only its image, made by the launching process alone. So a
record that is lost is made again, one that exists is brought up to date, never doubled; trials need
neither MLflow nor its database; a server that is away delays records but stops no training.
"""

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestration.records import MOST_NOTE, NOTE, VIEW, charts, cut
from orchestration.store import Store, records_uri

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # amid the live view
# A server that is away is asked again at the next round, not for minutes within one.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient  # noqa: E402 - reads the settings above when it is imported
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

TRAININGS = "trainings"
VIEWS = "mlflow.sharedViewState."  # what tags of an experiment with saved views begin with
LOCK = ".records.lock"
UNUSED = "Default"  # the experiment that MLflow makes by itself
MAX_METRICS, MAX_PARAMS = 1000, 100  # MLflow's limits for one call
MAX_RECORDS = 50_000  # that one search gives
MAX_DIGEST = 36  # letters, its limit for a data set's
Point = tuple[str, float, int, int]  # of a metric: name, value, time in milliseconds, step
# What a store raises that cannot be reached, or written to.
AWAY = (MlflowException, OSError, SQLAlchemyError, sqlite3.Error)

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
        self.logged: dict[str, dict[str, int]] = {}  # MLflow's run id -> metric -> last step

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
                self.logged.clear()
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

    def pages(self, at: str) -> dict[str, str]:
        """Experiment -> its page of charts; MLflow's own first page is about language models."""
        pages = {}
        for item in self.client.search_experiments(order_by=["name ASC"]):
            view = VIEW if VIEWS + VIEW in item.tags else ""
            if item.name != UNUSED:
                pages[item.name] = f"{at}/{charts(item.experiment_id, view)}"
        return pages

    def find(self, experiment: str, sought: str) -> Any | None:
        """A record that is not deleted, by MLflow's own search language; None if there is none."""
        found = self.client.search_runs([experiment], sought, max_results=1)
        return found[0] if found else None

    def records(self, experiments: Sequence[str], kind: str) -> list[Any]:
        """The records of a kind that are not deleted."""
        sought = f"tags.kind = '{kind}'"
        return list(self.client.search_runs(list(experiments), sought, max_results=MAX_RECORDS))

    def begin(
        self, experiment: str, name: str, tags: Mapping[str, str], start: int | None = None
    ) -> Any:
        """A new record. start: in milliseconds; MLflow lists the newest first."""
        return self.client.create_run(experiment, start, dict(tags), name)

    def log(
        self,
        run_id: str,
        *,
        points: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a record. A param that is there cannot change; a tag takes another's place."""
        for many in _parts((Metric(*point) for point in points), MAX_METRICS):
            self.client.log_batch(run_id, metrics=many)
        for some in _parts((Param(*item) for item in (params or {}).items()), MAX_PARAMS):
            self.client.log_batch(run_id, params=some)
        for few in _parts((RunTag(*item) for item in (tags or {}).items()), MAX_PARAMS):
            self.client.log_batch(run_id, tags=few)

    def last_steps(self, run_id: str) -> dict[str, int]:
        """Of every metric of a record, the last step that is logged."""
        histories = {
            name: self.client.get_metric_history(run_id, name)
            for name in self.client.get_run(run_id).data.metrics
        }
        return {name: max(point.step for point in points) for name, points in histories.items()}

    def log_data(self, run_id: str, data: Mapping[str, Any], context: str) -> None:
        """The data set behind a record; context: what it was for, in MLflow's words."""
        source = {name: data[name] for name in ("where", "fingerprint")}
        digest = data["fingerprint"][:MAX_DIGEST]
        dataset = Dataset(data["name"], digest, "local", json.dumps(source))
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])

    def log_files(self, run_id: str, files: Iterable[Path]) -> None:
        """Attach those files that are there, in place of older ones of their names."""
        for path in files:
            if path.is_file():
                self.client.log_artifact(run_id, str(path))

    def log_tables(self, run_id: str, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Attach tables, file name -> columns and data, so that MLflow shows them as such."""
        for name, table in tables.items():
            self.client.log_dict(run_id, dict(table), name)
        listed = [{"path": name, "type": "table"} for name in tables]
        self.client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps(listed))

    def end(self, run_id: str, at: int) -> None:
        """A record of something that took no time."""
        self.client.set_terminated(run_id, "FINISHED", end_time=at)

    def delete(self, run_id: str) -> None:
        """MLflow keeps what is deleted: its page can restore it."""
        self.client.delete_run(run_id)

    def describe(self, experiment: str, note: str, views: Mapping[str, str]) -> None:
        """The description of an experiment's page, and how that opens."""
        known = self.client.get_experiment(experiment).tags
        wanted = {NOTE: cut(note, MOST_NOTE), **{VIEWS + key: it for key, it in views.items()}}
        for tag, text in wanted.items():
            if known.get(tag) != text:
                self.client.set_experiment_tag(experiment, tag, text)

    @contextmanager
    def tolerance(self) -> Iterator[None]:
        """A store that is away stops nothing: problem says so, until a later attempt succeeds."""
        try:
            yield
            self.problem = None
        except AWAY as error:
            self.problem = _first_line(error)


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
