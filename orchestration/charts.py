"""How MLflow's pages of ours open: which records, columns and charts, as saved views of its own.

An experiment keeps such views in its tags, its page lists them under Views, and a link can name one
(viewStateShareKey). Without one the list has MLflow's own columns, which nothing can change. The
format belongs to that page alone: a version that was not looked at gets no views, so plain pages.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from detector.config import DetectorConfig

KNOWN = "3.17."  # how versions of MLflow begin whose page was looked at
VIEW, SEEDS_VIEW = "atss", "atss-seeds"  # keys of our views
NAMES, NAMES_WIDTH = "attributes.`Run Name`", 340  # the column of names; in pixels
MAX_AXES = 8  # of parallel coordinates, beside AP; more cannot be read
COMPARED, OTHERS = "compared", "others"  # a page's two groups of charts
SECTIONS = (
    {"uuid": COMPARED, "name": "Rows compared", "display": True, "isReordered": True, "columns": 2},
    {"uuid": OTHERS, "name": "Model metrics", "display": True, "isReordered": True},
)
BY_ROW = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}


def is_known() -> bool:
    """Whether MLflow's page is one that shows our views."""
    return version("mlflow").startswith(KNOWN)


def training_views() -> dict[str, str]:
    """The view of all trainings: AP, and the toggles that tell them apart, as columns."""
    toggles = [f"params.`{item.name}`" for item in fields(DetectorConfig)]
    columns = ["metrics.`AP`", *toggles, "tags.`seed`", "tags.`setup`"]
    return {VIEW: _view("All trainings", columns)} if is_known() else {}


def table_views(params: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> dict[str, str]:
    """A table's views, key -> text: its rows and, with several seeds, every run by itself.

    params: name -> its values. Rows with several seeds are shown as means. MLflow draws toggles of
    a mean only if they are numbers, so that parallel coordinates of others need the second view.
    """
    if not is_known():
        return {}
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
