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
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from detector.metrics import HEADINGS
from experiments.experiment import Row
from experiments.settings import show_setting
from orchestration import charts
from orchestration.charts import TRAININGS, VIEW, address, comparison, linked, page
from orchestration.plan import Setup
from orchestration.store import RunFolder, Store, read_json, records_uri
from reports.bundle import Bundle
from reports.frames import frames
from reports.grids.grid import markdown
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

UNUSED = "Default"  # the experiment that MLflow makes by itself
ROW, REPORT, TRAINING = "row", "report", "training"  # values of the tag "kind"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description
VIEWS = "mlflow.sharedViewState."  # what tags with saved views begin with
LOCK = ".records.lock"
MAX_RECORDS = 50_000  # that one search gives
MAX_DIGEST, MAX_TAG, MAX_EXPERIMENT_TAG = 36, 8000, 20_000  # letters that MLflow takes
ROUND_SECONDS = 10.0  # between two looks at the folders of running trials
# Between the start times of two rows, with seeds in between, and from the first to the report.
ROW_MILLISECONDS, REPORT_MILLISECONDS = 1000, 1_000_000
# What a store raises that cannot be reached, or written to.
AWAY = (MlflowException, OSError, SQLAlchemyError, sqlite3.Error)
ABOUT = (
    "Every training, once, whichever rows of tables it fills: its losses and AP step by step, all "
    "settings, and under Artifacts detections, match records and weights. Search for "
    "`tags.assigner = 'atss'`, `tags.rows LIKE '%Table 2:%'` or `tags.signature = '...'`."
)
TO_TRAINING = "training: losses, detections, weights, every setting"
# A row's metrics beside its six numbers -> columns of the frame, in AP's line.
BESIDE_AP = {
    "paper_AP": "paper",
    "delta_AP": "difference",
    "AP_low": "low",  # the 95 % interval: these trained weights, other images
    "AP_high": "high",
    "gain_AP": "gain",  # on the table's reference row of the same seed
    "gain_AP_low": "gain_low",
    "gain_AP_high": "gain_high",
    "paper_gain_AP": "paper_gain",
}

for noisy in ("mlflow", "alembic"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What MLflow is to show of a training, of a row with one seed, or of a report."""

    name: str  # within a table it finds the record again
    tags: Mapping[str, str]  # what it is searched by
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # charts begin with the first
    # How far its start time lies before its experiment's, in milliseconds: MLflow lists the newest
    # first. None where it starts now.
    behind: int | None = None


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
    mlflow.MlflowClient(f"sqlite:///{temporary}").search_experiments()
    os.replace(temporary, database)
    connection = sqlite3.connect(database)
    connection.execute("pragma journal_mode=wal")
    connection.close()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# Trainings: the image of a run's folder, which says in record.json where its record is.


@contextmanager
def following(tracker: Tracker, folders: Sequence[RunFolder]) -> Iterator[None]:
    """Mirror these folders, and those that join them, while the block runs and once at its end."""
    stop = threading.Event()

    def follow() -> None:
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
    remarks = folder.remarks()
    tracker.tag(run, {name: text for name, text in remarks.items() if text})
    for name in (name for name, text in remarks.items() if not text and name in run.data.tags):
        client.delete_tag(run_id, name)
    if result is not None:
        client.log_dict(run_id, folder.facts()["canonical"], "config.json")
        client.log_dict(run_id, folder.facts(), "run.json")
        made = (folder.detections, folder.weights, folder.history_file)
        tracker.attach(run, [*made, folder.matches, folder.insight])
        client.set_tag(run_id, "seconds", round(result["seconds"], 1))
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
        home, views = tracker.experiment(TRAININGS), charts.training_views()
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
            (run,) = _put_all(tracker, experiment, [_report(content, setup)], data)
            tracker.attach(run, files)
            report = {"report": address(run, f"{content.table.name}.html")}
        rows = row_records(content, setup, _trainings(tracker), report)
        runs = _put_all(tracker, experiment, rows, data)
        views = charts.table_views(rows)
        links = {charts.WORDS[key]: page(experiment, key) for key in views} | report
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


def row_records(
    content: Bundle, setup: Setup, trainings: Mapping[str, Any], more: Mapping[str, str]
) -> list[Record]:
    """The measured rows of a table, one for each seed. more: links for all of them."""
    seeds = content.comparison.seeds
    lines = {seed: frame(_of_seed(content, seed)).set_index(["row", "metric"]) for seed in seeds}
    there = [row for row in content.table.rows if content.signatures.get(row.label)]
    settings = pd.DataFrame({row.label: _settings(row, setup) for row in there}).T
    varying = settings.loc[:, settings.nunique() > 1]
    records = []
    for number, row in enumerate(content.table.rows):
        for name in (it for it in content.signatures.get(row.label, ()) if it in content.results):
            seed, params = content.results[name].seed, varying.loc[row.label].dropna().to_dict()
            tags = {"kind": ROW, "row": row.label, "seed": str(seed), "signature": name}
            tags["assigner"], links = settings.at[row.label, "assigner"], more
            if name in trainings:
                tags["training_run"] = trainings[name].info.run_id
                links = {TO_TRAINING: address(trainings[name]), **more}
            tags[NOTE] = linked(_row_note(content, number, seed), links)
            records.append(
                Record(
                    name=f"{number + 1:02} {row.label} - seed {seed}",
                    tags=_shared_tags(content, setup) | tags,
                    params=params | ({"seed": str(seed)} if len(seeds) > 1 else {}),
                    metrics=_numbers(lines[seed].loc[row.label]),
                    behind=number * ROW_MILLISECONDS + min(seed, ROW_MILLISECONDS - 1),
                )
            )
    return records


def frame(content: Bundle) -> pd.DataFrame:
    """Until reports have one: a line per row and metric."""
    data = frames(content)
    index = ["row", "metric"]
    gains = data["differences"].rename(
        columns=lambda name: name if name in index else f"gain_{name}"
    )
    found = data["metrics"].merge(gains, "left", on=index)
    is_reference = found["row"] == content.table.rows[content.table.reference].label
    found.loc[is_reference, ["gain_ours", "gain_paper"]] = 0.0
    found["difference"] = found["ours"].astype(float) - found["paper"].astype(float)
    found["metric"] = found["metric"].map(HEADINGS)
    return found.rename(columns={"gain_paper": "paper_gain", "gain_ours": "gain"})


def _of_seed(content: Bundle, seed: int) -> Bundle:
    """The table as if only this seed had been run."""
    results = {name: result for name, result in content.results.items() if result.seed == seed}
    found = content.signatures.items()
    signatures = {label: [it for it in names if it in results] for label, names in found}
    return replace(content, signatures=signatures, results=results)


def _numbers(lines: pd.DataFrame) -> dict[str, float]:
    """AP first, then what is to be read beside it; only what is known. lines: of one row."""
    numbers = {str(name): value for name, value in lines["ours"].items()}
    numbers |= {name: lines.at["AP", column] for name, column in BESIDE_AP.items()}
    return {name: round(float(it), 4) for name, it in numbers.items() if pd.notna(it)}


def _settings(row: Row, setup: Setup) -> dict[str, str]:
    """Every toggle of a row, and what its table varies of the schedule."""
    run = setup.row_run(row, 0)
    recipe = {key: getattr(run.recipe, key) for key in row.recipe}
    own = {"assigner": str(run.assigner)} if run.assigner else {}
    return texts(asdict(run.config) | recipe | own)


def _shared_tags(content: Bundle, setup: Setup) -> dict[str, str]:
    name = content.table.name
    return {"table": name, "setup": setup.name, "scale": setup.scale, "data": setup.data}


def _row_note(content: Bundle, number: int, seed: int) -> str:
    """What a row is, in a few lines."""
    table, row = content.table, content.table.rows[number]
    where = f", Sec. {table.section} of the paper" if table.section else ""
    changed = ", ".join(f"{name}={text}" for name, text in texts(row.changes).items())
    return (
        f"Row {number + 1} of {table.heading}{where}: **{row.label}**, seed {seed}, scale "
        f"{content.scale} on {content.data}. It is RetinaNet (#A=1) with "
        f"{changed or 'nothing changed'}. Intervals are of the images alone: these trained "
        f"weights, other images.\n\nMade by `{content.command}`."
    )


def _report(content: Bundle, setup: Setup) -> Record:
    """The report's record; it has no numbers of its own, so that no chart shows it."""
    what = f"The report of **{content.table.heading}**, scale {content.scale} on {content.data}"
    note = f"{what}: its page and files are under Artifacts. Made by `{content.command}`."
    tags = _shared_tags(content, setup) | {"kind": REPORT, NOTE: note}
    return Record(name=REPORT, tags=tags, behind=REPORT_MILLISECONDS)


def report_files(folder: Path, name: str) -> list[Path]:
    """The files of a table's report, not those of a table with a longer name."""
    longer = tuple(it.stem for it in folder.glob(f"{name}?*.json"))
    found = (path for path in sorted(folder.glob(f"{name}[.-]*")) if path.is_file())
    return [path for path in found if not path.name.startswith(longer or ("\0",))]


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Params and tags are written as --set takes them: true, 8, 4,8."""
    return {name: show_setting(value) for name, value in values.items()}


def cut(text: str, most: int = MAX_TAG) -> str:
    """The text, or its first lines, where MLflow would refuse the whole."""
    end = "\n..."
    return text if len(text) <= most else text[: most - len(end)].rsplit("\n", 1)[0] + end
