"""What MLflow's records say of a table, and how the pages that show them open; no MLflow in here.

A row's params are the toggles that differ from row to row, so that plots show what varies; all the
others are in its training's record. Its numbers are the lines of its own run in the reports' frame.

How a page opens are saved views of MLflow's own: tags of an experiment, which the page lists under
Views and a link can name (viewStateShareKey). Without one a list has MLflow's own columns, which
nothing of an experiment can change. The format belongs to that page alone, so a version that was
not looked at gets no views, but plain pages.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
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
ROW, REPORT, TRAINING = "row", "report", "training"  # values of the tag "kind"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description
VIEWS = "mlflow.sharedViewState."  # what tags with saved views begin with
MAX_TAG = 8000  # letters that MLflow takes
# Between the start times of two rows, with seeds in between, and from the first to the report.
ROW_MILLISECONDS, REPORT_MILLISECONDS = 1000, 1_000_000
KNOWN = "3.17."  # how versions of MLflow begin whose page was looked at
MODE = "workflowType=machine_learning"  # else the page is about language models
VIEW, SEEDS_VIEW = "atss", "atss-seeds"  # keys of our views
WORDS = {VIEW: "charts of all rows", SEEDS_VIEW: "of every seed"}  # for the links to them
NAMES, NAMES_WIDTH = "attributes.`Run Name`", 340  # the column of names; in pixels
MAX_AXES = 8  # of parallel coordinates, beside AP; more cannot be read
COMPARED, OTHERS = "compared", "others"  # a page's two groups of charts
SECTIONS = (
    {"uuid": COMPARED, "name": "Rows compared", "display": True, "isReordered": True, "columns": 2},
    {"uuid": OTHERS, "name": "Model metrics", "display": True, "isReordered": True},
)
BY_ROW = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}
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
TO_TRAINING = "training: losses, detections, weights, every setting"


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


def row_records(
    content: Bundle, setup: Setup, trainings: Mapping[str, Any], more: Mapping[str, str]
) -> list[Record]:
    """The measured rows of a table, one for each seed. more: links for all of them."""
    seeds = content.seeds
    lines = {seed: numbers(_of_seed(content, seed)).set_index(["row", "metric"]) for seed in seeds}
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


def _of_seed(content: Bundle, seed: int) -> Bundle:
    """The table as if only this seed had been run."""
    results = {name: result for name, result in content.results.items() if result.seed == seed}
    found = content.signatures.items()
    signatures = {label: [it for it in names if it in results] for label, names in found}
    return replace(content, signatures=signatures, results=results)


def _numbers(lines: pd.DataFrame) -> dict[str, float]:
    """AP first, then what is to be read beside it; only what is known. lines: of one row."""
    found = {str(name): value for name, value in lines["ours"].items()}
    found |= {name: lines.at["AP", column] for name, column in BESIDE_AP.items()}
    return {name: round(float(it), 4) for name, it in found.items() if pd.notna(it)}


def _settings(row: Row, setup: Setup) -> dict[str, str]:
    """Every toggle of a row, and what its table varies of the schedule."""
    run = setup.row_run(row, 0)
    recipe = {key: getattr(run.recipe, key) for key in row.recipe}
    own = {"assigner": str(run.assigner)} if run.assigner else {}
    return texts(asdict(run.config) | recipe | own)


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


def report_record(content: Bundle, setup: Setup) -> Record:
    """The report's record; it has no numbers of its own, so that no chart shows it."""
    what = f"The report of **{content.table.heading}**, scale {content.scale} on {content.data}"
    note = f"{what}: its page and files are under Artifacts. Made by `{content.command}`."
    tags = _shared_tags(content, setup) | {"kind": REPORT, NOTE: note}
    return Record(name=REPORT, tags=tags, behind=REPORT_MILLISECONDS)


def _shared_tags(content: Bundle, setup: Setup) -> dict[str, str]:
    name = content.table.name
    return {"table": name, "setup": setup.name, "scale": setup.scale, "data": setup.data}


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


def linked(note: str, links: Mapping[str, str]) -> str:
    """A description below its links, words -> address: of a long one a line or two show."""
    line = " · ".join(f"[{words}]({where})" for words, where in links.items())
    return f"{line}\n\n{note}" if links else note


def address(run: Any, artifact: str = "") -> str:
    """Where MLflow's page shows a record, or a file of it, as a link within that page."""
    where = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"{where}/artifacts/{artifact}?{MODE}" if artifact else f"{where}?{MODE}"


def page(experiment: Any, view: str) -> str:
    """An experiment's charts, of the trainings the list, as a view of ours has it if it can."""
    mode = "TABLE" if experiment.name == TRAININGS else "CHART"
    shown = f"&viewStateShareKey={view}" if view and is_known() else ""
    where = f"#/experiments/{experiment.experiment_id}/runs"
    return f"{where}?{MODE}&compareRunsMode={mode}{shown}"


def comparison(runs: Sequence[Any]) -> str:
    """The page that compares records: parallel coordinates, scatter and contour plots."""
    listed = quote(json.dumps([run.info.run_id for run in runs]))
    experiments = quote(json.dumps([runs[0].info.experiment_id]))
    return f"#/compare-runs?runs={listed}&experiments={experiments}&{MODE}"


def is_known() -> bool:
    """Whether MLflow's page is one that shows our views."""
    return version("mlflow").startswith(KNOWN)


def training_views() -> dict[str, str]:
    """The view of all trainings: AP, and the toggles that tell them apart, as columns."""
    toggles = sorted(fields(DetectorConfig), key=lambda item: item.type is bool)  # those last
    params = [f"params.`{item.name}`" for item in toggles]
    columns = ["metrics.`AP`", *params, "tags.`seed`", "tags.`setup`"]
    return {VIEW: _view("All trainings", columns)} if is_known() else {}


def table_views(rows: Sequence[Record]) -> dict[str, str]:
    """A table's views, key -> text: its rows and, with several seeds, every run by itself.

    Rows with several seeds are shown as means. MLflow draws toggles of a mean only if they are
    numbers, so that parallel coordinates of others need the second view.
    """
    if not is_known():
        return {}
    names = dict.fromkeys(name for row in rows for name in row.params)
    params = {name: [row.params.get(name, "") for row in rows] for name in names}
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    columns = [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in metrics]
    page = {
        "searchFilter": "tags.kind = 'row'",
        "groupBy": None,
        "isAccordionReordered": True,
        "compareRunSections": SECTIONS,
        "compareRunCharts": list(_charts(params, metrics)),
    }
    if "seed" not in params:
        return {VIEW: _view("Rows of the table", columns, page)}
    return {
        VIEW: _view("Rows of the table", columns, page | {"groupBy": BY_ROW}),
        SEEDS_VIEW: _view("Every seed by itself", columns, page),
    }


def _view(name: str, columns: Sequence[str], page: Mapping[str, Any] | None = None) -> str:
    """A page with these columns behind that of the names, and no record hidden in its charts."""
    state = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [NAMES, *columns],
        "columnWidths": {NAMES: NAMES_WIDTH},
        "runsHiddenMode": "SHOW_ALL",
        **(page or {}),
    }
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(state)})


def _charts(
    params: Mapping[str, Sequence[str]], metrics: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """AP row by row, against the toggles, and against the paper's; then the other metrics."""
    toggles = [name for name in params if name != "seed"]
    leading = [name for name in ("AP", "gain_AP") if name in metrics]
    for name in leading:
        yield _chart("BAR", name, COMPARED, metricKey=name)
    if len(toggles) == 1 and all(map(_is_number, params[toggles[0]])):
        yield _scatter(toggles[0], "PARAM", "AP")
    elif toggles:
        axes = {"selectedParams": toggles[:MAX_AXES], "selectedMetrics": ["AP"]}
        yield _chart("PARALLEL", "AP by toggle", COMPARED, **axes, showAllRuns=True)
    for name in leading:
        if f"paper_{name}" in metrics:
            yield _scatter(f"paper_{name}", "METRIC", name)
    for name in metrics:
        if name not in leading:
            yield _chart("BAR", name, OTHERS, metricKey=name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scatter(across: str, kind: str, metric: str) -> dict[str, Any]:
    """A metric against a PARAM or another METRIC."""
    axes = {"xaxis": {"key": across, "type": kind}, "yaxis": {"key": metric, "type": "METRIC"}}
    return _chart("SCATTER", f"{metric} against {across}", COMPARED, **axes)


def _chart(kind: str, title: str, section: str, **own: Any) -> dict[str, Any]:
    """One card of a page; own: what this kind of chart needs."""
    return {
        "type": kind,
        "uuid": f"{VIEW}-{section}-{title}",
        "metricSectionId": section,
        "displayName": title,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 100,
        **own,
    }


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
