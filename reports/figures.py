"""Pictures of a comparison: the paper's AP beside ours, and how our runs learnt.

Colours are Okabe and Ito's, told apart by every kind of eye; shapes and line styles say the same.
Sized for a column of 10 to 16 cm.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.bundle import Bundle, thin
from reports.compare import ComparedRow, Comparison

PAPER_STYLE: Any = {"color": "#555555", "marker": "D", "markerfacecolor": "white"}
OURS_STYLE: Any = {"color": "#0072b2", "marker": "o"}
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000")
CURVE_NAMES = {
    "loss/cls": "classification loss",
    "loss/box": "box loss",
    "loss/centerness": "centerness loss",
    "AP": "AP (%)",
}
DASHES = ("-", "--", "-.", ":")

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "reports",  # the same figure is the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # a data set may have dollars in its name
}
WIDTH = 5.5  # inches, 14 cm
LEGEND_LETTERS, LEGEND_HANDLE = 80, 7  # that fit into a line; what a line sample takes of them
MIN_RANGE = 3.0  # AP points an axis covers at least: noise shall not look like an effect


def save(figure: Figure, kind: str) -> bytes:
    """The figure as "png" (200 dpi) or "svg"."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def comparison_figure(bundle: Bundle) -> Figure:
    """The paper's AP and ours: against the setting that a sweep varies, else one dot per row.

    On one axis where values may be compared, else side by side, an AP point as long in both; ours
    alone where the paper has none.
    """
    comparison = bundle.comparison
    papers = [row.ap.paper for row in comparison.rows]
    paper = Series("paper, COCO val2017", papers, [None] * len(papers), PAPER_STYLE)
    ours = Series(
        f"ours, scale {bundle.scale} on {bundle.data}",
        [row.ap.ours.mean for row in comparison.rows],
        [row.ap.ours.std for row in comparison.rows],
        OURS_STYLE,
    )
    panels = [[paper, ours]] if bundle.is_as_in_paper else [[paper], [ours]]
    if not bundle.table.has_paper:
        panels = [[ours]]
    with matplotlib.rc_context(STYLE):
        if comparison.table.axis:
            return _sweep(comparison, panels)
        return _dots(comparison, panels)


def learning_figure(bundle: Bundle) -> Figure:
    """Losses and AP against the training step: a colour per row, a line per seed."""
    rows = [row for row in bundle.comparison.rows if any(run.history for run in row.results)]
    names = _curve_names(rows)
    down, across = max(1, (len(names) + 1) // 2), min(2, max(1, len(names)))
    longest = max((len(row.row.label) for row in rows), default=0)
    columns = max(1, LEGEND_LETTERS // (longest + LEGEND_HANDLE))
    with matplotlib.rc_context(STYLE):
        legend = 0.16 * ceil(len(rows) / columns)
        figure = Figure(figsize=(WIDTH, 1.8 * down + legend + 0.3))
        panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, names, strict=False):
            _curves(axes, name, rows, is_sweep=bool(bundle.table.axis))
        if rows:
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return figure


@dataclass(frozen=True)
class Series:
    """One number per row of the table, some missing, with its spread where known."""

    name: str
    values: Sequence[float | None]
    spreads: Sequence[float | None]
    style: Mapping[str, Any]

    @property
    def points(self) -> list[tuple[int, float, float]]:
        """(row, value, spread or 0) of the rows that have a value."""
        pairs = enumerate(zip(self.values, self.spreads, strict=True))
        return [(i, value, spread or 0.0) for i, (value, spread) in pairs if value is not None]


def _sweep(comparison: Comparison, panels: Sequence[Sequence[Series]]) -> Figure:
    """AP upwards, the settings in the paper's order to the right."""
    figure = Figure(figsize=(WIDTH, 2.4))
    settings = [row.row.cells[0] for row in comparison.rows]
    grid = figure.subplots(1, len(panels), squeeze=False).ravel().tolist()
    for axes, series, limits in zip(grid, panels, _limits(panels), strict=True):
        for one in series:
            y = [nan if value is None else value for value in one.values]  # a gap, not a bridge
            spread = [value or 0.0 for value in one.spreads]
            axes.errorbar(range(len(y)), y, yerr=spread, capsize=2, label=one.name, **one.style)
        axes.set_xticks(range(len(settings)), settings)
        axes.set_xlim(-0.5, len(settings) - 0.5)
        axes.set(ylim=limits, ylabel="AP (%)", xlabel=comparison.table.axis)
        _name(axes, series)
    return figure


def _dots(comparison: Comparison, panels: Sequence[Sequence[Series]]) -> Figure:
    """AP to the right, the rows downwards; a dashed line through the reference row's dot."""
    labels = [row.row.label for row in comparison.rows]
    figure = Figure(figsize=(WIDTH, 0.25 * len(labels) * len(panels[0]) + 0.9))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel().tolist()
    limits_by_panel = _limits(panels, after=0.35)  # the numbers stand to the right of the dots
    for axes, series, limits in zip(grid, panels, limits_by_panel, strict=True):
        for i, one in enumerate(series):
            _dot_series(axes, one, i - (len(series) - 1) / 2, comparison.table.reference)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlim=limits, ylim=(len(labels) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        _name(axes, series)
    figure.supxlabel(f"AP (%); dashed: {comparison.reference.row.label}", fontsize=8)
    return figure


def _dot_series(axes: Axes, series: Series, offset: float, reference: int) -> None:
    for row, value, spread in series.points:
        y = row + 0.35 * offset
        label = series.name if row == series.points[0][0] else None
        axes.errorbar([value], [y], xerr=[spread], capsize=2, ls="", label=label, **series.style)
        text = f"{value:.1f}" + (f" ±{spread:.1f}" if spread else "")
        axes.annotate(text, (value + spread, y), (5, 0), textcoords="offset points", va="center")
        if row == reference:
            axes.axvline(value, color=series.style["color"], ls="--", lw=0.7, zorder=0)


def _name(axes: Axes, series: Sequence[Series]) -> None:
    """A title for one series, a legend for two, a word for none measured."""
    if len(series) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series))
        return
    axes.set_title(series[0].name, loc="left")
    if not series[0].points:
        axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")


def _limits(panels: Sequence[Sequence[Series]], after: float = 0.15) -> list[tuple[float, float]]:
    """Ranges of AP that hold every number and are equally long, so that slopes can be compared.

    after: what is left free behind the largest number, as a share of the range.
    """
    ranges = []
    for panel in panels:
        ends = [v + sign * s for one in panel for _, v, s in one.points for sign in (-1, 1)]
        ranges.append((min(ends, default=0.0), max(ends, default=0.0)))
    length = max(MIN_RANGE, *(high - low for low, high in ranges))
    middles = [(low + high) / 2 for low, high in ranges]
    return [(middle - 0.65 * length, middle + (0.5 + after) * length) for middle in middles]


def _curve_names(rows: Sequence[ComparedRow]) -> list[str]:
    """The losses in the order they were logged, then AP."""
    entries = (entry for row in rows for run in row.results for entry in run.history)
    names = dict.fromkeys(name for entry in entries for name in entry)
    losses = [name for name in names if name.startswith("loss/")]
    return losses + (["AP"] if "AP" in names else [])


def _curves(axes: Axes, name: str, rows: Sequence[ComparedRow], *, is_sweep: bool) -> None:
    shades = matplotlib.colormaps["cividis"]
    for i, row in enumerate(rows):
        last = max(len(rows) - 1, 1)
        style: dict[str, Any] = {
            "color": shades(0.85 * i / last) if is_sweep else CYCLE[i % len(CYCLE)],
            "linestyle": DASHES[i % len(DASHES)],
            **({"marker": "o", "markersize": 3} if name == "AP" else {"linewidth": 0.8}),
        }
        label: str | None = row.row.label
        for run in row.results:
            entries = [entry for entry in thin(run.history) if name in entry]
            steps, values = [e["step"] for e in entries], [e[name] for e in entries]
            axes.plot(steps, values, label=label, **style)
            label = None
    axes.set(xlabel="step", ylabel=CURVE_NAMES.get(name, name))
    axes.set_xlim(left=0)
    if name == "AP":
        axes.set_ylim(bottom=0)
