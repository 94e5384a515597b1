"""What MLflow's records say of a table, and the charts their page opens with; no MLflow in here.

A row's params are the toggles that differ from row to row, so that plots show what varies; all the
others are in its training's record. Its numbers are the lines of its own run in the reports' frame.

How a page opens is a saved view of MLflow's own: a tag of the experiment that a link names
(viewStateShareKey). Its format belongs to that page alone, so it is written for versions of MLflow
whose page was looked at.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from experiments.experiment import Row
from experiments.settings import show_setting
from orchestration.plan import Setup
from orchestration.run_folder import Store
from reports.numbers import numbers
from reports.results import Bundle

TRAININGS = "trainings"  # the experiment of all of them
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description
# Between the start times of two rows, with seeds in between, and from the first to the report.
ROW_MILLISECONDS, REPORT_MILLISECONDS = 1000, 1_000_000
MODE = "workflowType=machine_learning"  # else the page is about language models
VIEW_KEY = "atss"
VIEW = f"mlflow.sharedViewState.{VIEW_KEY}"  # the tag of our view
NAMES = "attributes.`Run Name`"  # the column of names
MAX_AXES = 8  # of parallel coordinates, beside AP; more cannot be read
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


@dataclass(frozen=True, kw_only=True)
class Record:
    """What MLflow is to show of a training, of a row with one seed, or of a report."""

    name: str
    tags: Mapping[str, str]  # what it is searched by
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # charts begin with the first
    # How far its start time lies before its experiment's, in milliseconds: MLflow lists the newest
    # first. None of a training, which starts now and goes on.
    behind: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The tag that finds it again. Of what never goes on it says the whole content, because
        MLflow cannot take back a param, a metric or a start time."""
        if self.behind is None:
            return "signature", self.tags["signature"]
        return "digest", hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]


def table_records(content: Bundle, setup: Setup, trainings: Mapping[str, Any]) -> list[Record]:
    """A table's report, which has no numbers, so that no chart shows it, and its measured rows, one
    for each seed. trainings: signature -> MLflow's record."""
    table, runs = content.table, content.signatures
    shared = {"table": table.name, "setup": setup.name, "scale": setup.scale, "data": setup.data}
    made = f"Made by `{content.command}`."
    note = f"The report of **{table.heading}**: its page and files are under Artifacts. {made}"
    tags = shared | {"kind": "report", NOTE: note}
    records = [Record(name="report", tags=tags, behind=REPORT_MILLISECONDS)]
    toggles = {row.label: _toggles(row, setup) for row in table.rows if runs.get(row.label)}
    frame = pd.DataFrame(toggles).T
    varying = frame.loc[:, frame.nunique() > 1]
    for seed in content.seeds:
        alone = _of_seed(content, seed)
        lines = numbers(alone).set_index(["row", "metric"])
        for place, row in enumerate(table.rows):
            for name in alone.signatures.get(row.label, ()):
                params = varying.loc[row.label].dropna().to_dict()
                tags = {"kind": "row", "row": row.label, "seed": str(seed), "signature": name}
                tags |= {"assigner": toggles[row.label]["assigner"]}
                tags[NOTE] = f"**{row.label}** of {table.heading}. {made}"
                if name in trainings:
                    tags["training_run"] = trainings[name].info.run_id
                    tags[NOTE] = f"[Its training]({address(trainings[name])})\n\n{tags[NOTE]}"
                record = Record(
                    name=f"{place + 1:02} {row.label} - seed {seed}",
                    tags=shared | tags,
                    params=params | ({"seed": str(seed)} if len(content.seeds) > 1 else {}),
                    metrics=_metrics(lines.loc[row.label]),
                    behind=place * ROW_MILLISECONDS + min(seed, ROW_MILLISECONDS - 1),
                )
                records.append(record)
    return records


def _of_seed(content: Bundle, seed: int) -> Bundle:
    """The table as if only this seed had been run."""
    results = {name: result for name, result in content.results.items() if result.seed == seed}
    found = content.signatures.items()
    signatures = {label: [it for it in names if it in results] for label, names in found}
    return replace(content, signatures=signatures, results=results)


def _metrics(lines: pd.DataFrame) -> dict[str, float]:
    """AP first, then what is to be read beside it; only what is known. lines: of one row."""
    found = {str(name): value for name, value in lines["ours"].items()}
    found |= {name: lines.at["AP", column] for name, column in BESIDE_AP.items()}
    return {name: round(float(it), 4) for name, it in found.items() if pd.notna(it)}


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
    """An experiment's charts as our view has them, or a plain list."""
    shown = f"CHART&viewStateShareKey={VIEW_KEY}" if has_view else "TABLE"
    return f"#/experiments/{experiment.experiment_id}/runs?{MODE}&compareRunsMode={shown}"


def table_view(records: Sequence[Record]) -> str:
    """A table's rows with toggles and numbers as columns, and no record hidden in the charts: AP
    and gain by row, AP by toggle and against the paper's, then the other metrics."""
    params = list(dict.fromkeys(name for record in records for name in record.params))
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    columns = [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in metrics]
    toggles = [name for name in params if name != "seed"][:MAX_AXES]
    axes: dict[str, Any] = {"selectedParams": toggles, "selectedMetrics": ["AP"]}
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
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [NAMES, *columns],
        "columnWidths": {NAMES: 340},  # pixels
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "compareRunSections": [section | {"columns": 2}],
        "compareRunCharts": [
            {"uuid": title, "displayName": title, "runsCountToCompare": 100, **card, **own}
            for title, own in (charts | bars).items()
        ],
    }
    view = {"name": "Rows of the table", "createdAt": 0, "state": json.dumps(state)}
    return json.dumps(view)


# Where the records are


def records_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, or a database in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(store)


def local_uri(store: Store) -> str:
    """The address of the database in the results folder."""
    return f"sqlite:///{quote(str(database(store)))}"


def database(store: Store) -> Path:
    """The database of records that a results folder has by itself."""
    return store.root / "mlflow.db"


def without_password(uri: str) -> str:
    """An address that may be shown: "http://alice@host"."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", uri)
