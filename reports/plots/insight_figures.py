"""Pictures of what is behind a table's numbers: precision against recall, and kinds of errors.

Of a row with several seeds the mean over them.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from detector.metrics import HEADINGS
from reports.insight import Insight
from reports.mending import ERRORS
from reports.numbers import ComparedRow
from reports.plots.figures import legend_columns, line_style, rows_down
from reports.plots.theme import BESIDE, CYCLE, MUTED, STYLE, WIDTH
from reports.results import Bundle

CURVES = ("ap50", "ap75", "ap")
ACROSS = 3  # panels in a line
REFERENCE = CYCLE[1]  # the line through the reference row's bar


def insights_of(bundle: Bundle, row: ComparedRow) -> list[Insight]:
    """Of those runs of a row that have one."""
    names = [result.signature for result in row.results]
    return [bundle.insights[name] for name in names if name in bundle.insights]


def known_rows(bundle: Bundle) -> list[ComparedRow]:
    """The rows of which anything can be drawn here."""
    return [row for row in bundle.comparison.rows if insights_of(bundle, row)]


def precision_figure(bundle: Bundle) -> Figure:
    """Precision against recall, a panel per IoU, a line per row."""
    rows = known_rows(bundle)
    columns, lines = legend_columns([row.row.label for row in rows])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.1 + 0.16 * lines))
        panels = figure.subplots(1, len(CURVES), sharey=True)
        for axes, name in zip(panels, CURVES, strict=True):
            for i, row in enumerate(rows):
                style = line_style(i, len(rows), is_sweep=bool(bundle.table.axis))
                curve = mean_curve(insights_of(bundle, row), name)
                axes.plot(np.arange(len(curve)), curve, label=row.row.label, **style)
            axes.set(xlim=(0, 100), ylim=(0, 100))
            axes.set_title(TITLES[name], loc="left")
        panels[1].set_xlabel("recall (%)")
        panels[0].set_ylabel("precision (%)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return figure


TITLES = {"ap50": "IoU 0.50", "ap75": "IoU 0.75", "ap": "mean of IoU 0.50 to 0.95"}
assert set(TITLES) <= set(HEADINGS)


def mean_curve(insights: Sequence[Insight], name: str) -> NDArray[np.float64]:
    """[101] or, where the metric is undefined, [0]: the mean of the runs' curves."""
    curves = [insight.precision[name] for insight in insights if name in insight.precision]
    return np.mean(curves, axis=0) if curves else np.empty(0)


def mean_points(insights: Sequence[Insight], kind: str) -> float:
    """What AP50 would gain without this kind of error, in points."""
    return float(np.mean([insight.errors[kind].points for insight in insights]))


def errors_figure(bundle: Bundle) -> Figure:
    """What AP50 would gain if one kind of error were mended: a panel per kind, a bar per row."""
    rows = known_rows(bundle)
    down = -(-len(ERRORS) // ACROSS)
    with matplotlib.rc_context({**STYLE, "axes.axisbelow": True}):
        figure = Figure(figsize=(WIDTH, down * (0.19 * len(rows) + 0.35) + 0.3))
        panels = figure.subplots(down, ACROSS, sharey=True, sharex=True, squeeze=False)
        longest = max(mean_points(insights_of(bundle, row), k) for row in rows for k in ERRORS)
        for axes, kind in zip(panels.ravel(), ERRORS, strict=True):
            line = 0.0
            if bundle.comparison.reference in rows:
                line = mean_points(insights_of(bundle, bundle.comparison.reference), kind)
                axes.axvline(line, color=REFERENCE, ls="--", lw=0.8)
            _bars(axes, [mean_points(insights_of(bundle, row), kind) for row in rows], line)
            axes.set_title(kind, loc="left")
        axes.set_xlim(0, 1.25 * max(longest, 1.0))
        for axes in panels[:, 0]:
            rows_down(axes, [row.row.label for row in rows])
        reference = bundle.comparison.reference.row.label
        figure.supxlabel(f"AP50 gained if mended (points); dashed: {reference}", fontsize=8)
        return figure


def _bars(axes: Axes, values: Sequence[float], line: float) -> None:
    """Bars and their numbers, which keep clear of the reference row's line."""
    axes.barh(range(len(values)), values, height=0.7, color=CYCLE[0])
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for y, value in enumerate(values):
        axes.annotate(f"{value:.1f}", (max(value, line), y), (3, 0), **BESIDE, color=MUTED)
