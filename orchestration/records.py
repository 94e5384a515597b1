"""What MLflow's records say of a table, and the charts their page opens with; no MLflow in here.

A row's params are the toggles that differ from row to row, so that plots show what varies; all the
others are in its trainings' records. Its numbers are its lines in the reports' frame.

How a page opens is a saved view of MLflow's own: a tag of the experiment that a link names
(viewStateShareKey). Its format belongs to that page alone, so it is written for versions of MLflow
whose page was looked at.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from detector.config import DetectorConfig
from experiments.experiment import Row
from experiments.settings import show_setting
from orchestration.plan import Setup
from orchestration.run_folder import Store
from reports.numbers import numbers
from reports.results import Bundle

TRAININGS = "trainings"  # the experiment of all of them
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description
MODE = "workflowType=machine_learning"  # else the page is about language models
VIEW_KEY = "atss"
VIEW = f"mlflow.sharedViewState.{VIEW_KEY}"  # the tag of our view
NAMES = "attributes.`Run Name`"  # the column of names
MAX_AXES = 8  # of parallel coordinates, beside AP; more cannot be read
# A row's metrics beside its six numbers -> columns of the frame, in AP's line.
BESIDE_AP = {
    "paper_AP": "paper",
    "delta_AP": "difference",
    "AP_std": "std",
    "AP_low": "low",  # the 95 % interval
    "AP_high": "high",
    "gain_AP": "gain",  # on the table's reference row
    "gain_AP_low": "gain_low",
    "gain_AP_high": "gain_high",
    "paper_gain_AP": "paper_gain",
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What MLflow is to show of a training, of a row, or of a report."""

    name: str
    tags: Mapping[str, str]  # what it is searched by
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # charts begin with the first
    # How many seconds its start time lies before its experiment's: MLflow lists the newest first.
    # None of a training, which starts now and goes on.
    behind: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The tag that finds it again. Of what never goes on it says the whole content, because
        MLflow cannot take back a param, a metric or a start time."""
        if self.behind is None:
            return "signature", self.tags["signature"]
        return "digest", hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


def table_records(content: Bundle, setup: Setup, trainings: Mapping[str, Any]) -> list[Record]:
    """A table's report, which has no numbers, so that no chart shows it, and its measured rows.

    trainings: signature -> MLflow's record.
    """
    table, lines = content.table, numbers(content).set_index(["row", "metric"])
    shared = {"table": table.name, "setup": setup.name, "scale": setup.scale, "data": setup.data}
    made = f"{table.heading}. Made by `{content.command}`."
    tags = shared | {"kind": "report", NOTE: f"Page and files of {made}"}
    found = [Record(name="report", tags=tags, behind=len(table.rows))]
    measured = {place: row for place, row in enumerate(content.rows) if row.results}
    toggles = pd.DataFrame([_toggles(row.row, setup) for row in measured.values()], measured)
    varying = toggles.loc[:, toggles.nunique() > 1]
    for place, row in measured.items():
        label, runs = row.row.label, row.results
        told = {it.seed: trainings[it.signature] for it in runs if it.signature in trainings}
        links = [f"[Training, seed {seed}]({address(run)})" for seed, run in told.items()]
        tags = shared | {
            "kind": "row",
            "row": label,
            "assigner": toggles.at[place, "assigner"],
            "seeds": " ".join(str(it.seed) for it in runs),
            "signatures": " ".join(it.signature for it in runs),
            "training_run": " ".join(run.info.run_id for run in told.values()),
            NOTE: "\n\n".join([*links, f"**{label}** of {made}"]),
        }
        its = lines.loc[label]
        metrics = {str(name): value for name, value in its["ours"].items()}  # AP first
        metrics |= {name: its.at["AP", column] for name, column in BESIDE_AP.items()}
        known = {name: round(float(it), 4) for name, it in metrics.items() if pd.notna(it)}
        params, name = varying.loc[place].dropna().to_dict(), f"{place + 1:02} {label}"
        found.append(Record(name=name, tags=tags, params=params, metrics=known, behind=place))
    return found


def _toggles(row: Row, setup: Setup) -> dict[str, str]:
    """Every toggle of a row, and what its table varies of the schedule."""
    run = setup.row_run(row, 0)
    recipe = {key: getattr(run.recipe, key) for key in row.recipe}
    own = {"assigner": str(run.assigner)} if run.assigner else {}
    return texts(asdict(run.config) | recipe | own)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Params and tags are written as --set takes them: true, 8, 4,8."""
    return {name: show_setting(value) for name, value in values.items()}


# Pages of MLflow, and how they open


def address(run: Any, inside: str = "") -> str:
    """Where MLflow's page shows a record; inside: "/artifacts/<file>"."""
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{inside}?{MODE}"


def page(experiment: Any, *, has_view: bool) -> str:
    """An experiment's charts, of the trainings the list, as our view has them if there is one."""
    mode = "CHART" if has_view and experiment.name != TRAININGS else "TABLE"
    shown = f"{mode}&viewStateShareKey={VIEW_KEY}" if has_view else mode
    return f"#/experiments/{experiment.experiment_id}/runs?{MODE}&compareRunsMode={shown}"


def training_view() -> str:
    """The list of all trainings: AP, and the toggles that tell them apart, as columns."""
    toggles = sorted(fields(DetectorConfig), key=lambda item: item.type is bool)  # those last
    params = [f"params.`{item.name}`" for item in toggles]
    return _view("All trainings", ["metrics.`AP`", *params, "tags.`seed`", "tags.`setup`"], {})


def table_view(records: Sequence[Record]) -> str:
    """A table's rows with toggles and numbers as columns, and no record hidden in the charts: AP
    and gain by row, AP by toggle and against the paper's, then the other metrics."""
    params = list(dict.fromkeys(name for record in records for name in record.params))
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    columns = [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in metrics]
    axes: dict[str, Any] = {"selectedParams": params[:MAX_AXES], "selectedMetrics": ["AP"]}
    across, up = ({"key": name, "type": "METRIC"} for name in ("paper_AP", "AP"))
    bars = {name: {"type": "BAR", "metricKey": name} for name in metrics}
    charts = {name: bars.pop(name) for name in ("AP", "gain_AP") if name in bars} | {
        "AP by toggle": {"type": "PARALLEL", "showAllRuns": True, **axes},
        "AP against the paper's": {"type": "SCATTER", "xaxis": across, "yaxis": up},
    }
    card: dict[str, Any] = {"metricSectionId": "rows", "deleted": False, "isGenerated": False}
    section = {"uuid": "rows", "name": "Rows compared", "display": True, "isReordered": True}
    state = {
        "searchFilter": "tags.kind = 'row'",
        "isAccordionReordered": True,
        "compareRunSections": [section | {"columns": 2}],
        "compareRunCharts": [
            {"uuid": title, "displayName": title, "runsCountToCompare": 100, **card, **own}
            for title, own in (charts | bars).items()
        ],
    }
    return _view("Rows of the table", columns, state)


def _view(name: str, columns: Sequence[str], more: Mapping[str, Any]) -> str:
    """A page with these columns behind that of the names."""
    state = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [NAMES, *columns],
        "columnWidths": {NAMES: 340},  # pixels
        "runsHiddenMode": "SHOW_ALL",
        **more,
    }
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(state)})


# Where the records are


def records_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, or a database in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(store)


def local_uri(store: Store) -> str:
    """The address of the database in the results folder."""
    return sqlite_uri(database(store))


def sqlite_uri(path: Path) -> str:
    """Of a database; MLflow makes the folder that is written here, so little is escaped."""
    return f"sqlite:///{re.sub('[%?#]', lambda found: quote(found[0]), str(path))}"


def database(store: Store) -> Path:
    """The database of records that a results folder has by itself."""
    return store.root / "mlflow.db"


def without_password(uri: str) -> str:
    """An address that may be shown: "http://alice@host"."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", uri)
