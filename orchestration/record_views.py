"""How MLflow's pages of ours open: which records, columns and charts, as saved views of its own.

An experiment keeps such views in its tags, its page lists them under Views, and a link can name one
(viewStateShareKey). The format is that of MLflow 3.17's page; one that does not know it shows every
chart, as without a view.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.settings import show_setting
from orchestration.records import ROW, SEEDS_VIEW, VIEW, RowRecord

MAX_AXES = 8  # of parallel coordinates, beside AP; more cannot be read
NAMES, NAMES_WIDTH = "attributes.`Run Name`", 340  # the column of names; in pixels
COMPARED, OTHERS = "compared", "others"  # a page's two groups of charts
SECTIONS = (
    {"uuid": COMPARED, "name": "Rows compared", "display": True, "isReordered": True, "columns": 2},
    {"uuid": OTHERS, "name": "Model metrics", "display": True, "isReordered": True},
)
BY_ROW = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}
OF_TRAININGS = ("tags.`setup`", "tags.`assigner`", "tags.`seed`")


def table_views(rows: Sequence[RowRecord]) -> dict[str, str]:
    """A table's views, key -> text: its rows and, with several seeds, every run by itself.

    Rows with several seeds are shown as means. MLflow draws toggles of a mean only if they are
    numbers, so that parallel coordinates of others need the second view.
    """
    has_seeds = any("seed" in row.toggles for row in rows)
    views = {VIEW: _saved("Rows of the table", _table_state(rows, BY_ROW if has_seeds else None))}
    if has_seeds:
        views[SEEDS_VIEW] = _saved("Every seed by itself", _table_state(rows, None))
    return views


def training_views() -> dict[str, str]:
    """The view of all trainings: none left out, with what tells them apart as columns."""
    columns = [*OF_TRAININGS, "metrics.`AP`", "metrics.`loss`"]
    return {VIEW: _saved("All trainings", _state(columns))}


def _saved(name: str, state: Mapping[str, Any]) -> str:
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(state)})


def _state(columns: Sequence[str]) -> dict[str, Any]:
    """A page with these columns behind that of the names, and no record hidden in its charts."""
    return {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": [NAMES, *columns],
        "columnWidths": {NAMES: NAMES_WIDTH},
        "runsHiddenMode": "SHOW_ALL",
    }


def _table_state(rows: Sequence[RowRecord], group: Mapping[str, Any] | None) -> dict[str, Any]:
    """The page of a table: its rows without the report, what differs as columns, then charts."""
    values: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.toggles.items():
            values.setdefault(name, []).append(show_setting(value))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    columns = [f"params.`{name}`" for name in values] + [f"metrics.`{name}`" for name in metrics]
    values.pop("seed", None)
    return _state(columns) | {
        "searchFilter": f"tags.kind = '{ROW}'",
        "groupBy": group,
        "isAccordionReordered": True,
        "compareRunSections": SECTIONS,
        "compareRunCharts": list(_charts(values, metrics)),
    }


def _charts(toggles: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> Iterator[Any]:
    """AP row by row, against the toggles, and against the paper's; then the other metrics."""
    leading = [name for name in ("AP", "gain_AP") if name in metrics]
    for name in leading:
        yield _chart("BAR", name, COMPARED, metricKey=name)
    if len(toggles) == 1 and all(map(_is_number, *toggles.values())):
        (name,) = toggles
        yield _scatter((name, "PARAM"), "AP")
    elif toggles:
        axes = {"selectedParams": list(toggles)[:MAX_AXES], "selectedMetrics": ["AP"]}
        yield _chart("PARALLEL", "AP by toggle", COMPARED, **axes, showAllRuns=True)
    for ours, paper in (("AP", "paper_AP"), ("gain_AP", "paper_gain_AP")):
        if ours in metrics and paper in metrics:
            yield _scatter((paper, "METRIC"), ours)
    for name in metrics:
        if name not in leading:
            yield _chart("BAR", name, OTHERS, metricKey=name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scatter(across: tuple[str, str], metric: str) -> dict[str, Any]:
    """across: name and kind of what the metric is drawn against."""
    key, kind = across
    axes = {"xaxis": {"key": key, "type": kind}, "yaxis": {"key": metric, "type": "METRIC"}}
    return _chart("SCATTER", f"{metric} against {key}", COMPARED, **axes)


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
