"""MLflow's page: links within it, and which records, columns and charts it opens with.

The latter are saved views of its own: tags of an experiment, which its page lists under Views and a
link can name (viewStateShareKey). Without one the list has MLflow's own columns, which nothing of
an experiment can change. The format belongs to that page alone, so a version that was not looked at
gets no views, but plain pages.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Protocol
from urllib.parse import quote

from detector.config import DetectorConfig

TRAININGS = "trainings"  # the experiment of all of them
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


class Row(Protocol):
    """What the records of a table's rows are compared by."""

    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


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


def table_views(rows: Sequence[Row]) -> dict[str, str]:
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
