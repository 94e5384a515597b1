"""Figures of a table: the paper's AP beside ours, what rows change, how our runs learnt, and what
is behind their numbers.

Bars are 95 % intervals where the runs' match records give them, else the standard deviation of
several seeds; with neither there is no bar. What is drawn stands in Bundle.rows; a figure's caption
is also its alternative text.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, nan
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style
from reports.breakdown import ERRORS, Insight
from reports.numbers import signed
from reports.render import part
from reports.results import Bundle, ComparedRow, Sample, thin
from reports.style import BESIDE, CYCLE, DASHES, MUTED, OURS_STYLE, PAPER_STYLE, STYLE, WIDTH

CURVE_NAMES = {
    "loss/cls": "classification loss",
    "loss/box": "box loss",
    "loss/centerness": "centerness loss",
    "AP": "AP (%)",
}
PRECISIONS = {"ap50": "IoU 0.50", "ap75": "IoU 0.75", "ap": "mean of IoU 0.50 to 0.95"}
LEGEND_LETTERS, LEGEND_HANDLE = 80, 7  # that fit into a line; what a line sample takes of them
MIN_RANGE = 3.0  # AP points an axis covers at least: noise shall not look like an effect
KINDS_ACROSS = 3  # kinds of errors beside each other


@dataclass(frozen=True)
class Plate:
    """A figure, drawn once into the report's folder; notebooks and pages show that file."""

    name: str  # of its files, without an ending
    caption: str  # also its alternative text
    draw: Callable[[], Figure]

    def write(self, folder: Path) -> list[Path]:
        """Draw it, and write its files."""
        figure = self.draw()
        files = {kind: folder / f"{self.name}.{kind}" for kind in ("png", "svg")}
        for kind, file in files.items():
            file.write_bytes(style.save(figure, kind, self.caption))
        return list(files.values())

    def shown(self, folder: Path) -> str:
        """HTML with the figure in it: its file's, or where a notebook is opened elsewhere, anew."""
        file = folder / f"{self.name}.svg"
        svg = file.read_bytes() if file.is_file() else style.save(self.draw(), "svg", self.caption)
        return part("plot", embedded(svg), self.caption)


def embedded(svg: bytes) -> str:
    """An SVG as an address that needs no file."""
    return f"data:image/svg+xml;base64,{b64encode(svg).decode()}"


def plates(bundle: Bundle) -> dict[str, Plate]:
    """The figures that a table's results allow, by a short name, which also ends their files'."""
    beside = " beside the paper’s" if bundle.table.has_paper else ""
    others = [row for row in bundle.rows if row is not bundle.reference]
    has_history = any(run.history for row in bundle.rows for run in row.results)
    has_insights = bool(insights_by_row(bundle))
    found = {  # whether it is allowed, its caption, its drawing
        "ap": (True, f"AP of every row{beside}. {bars(bundle)}", comparison_figure),
        "gains": (
            any(row.ap.gain.n for row in others),
            f"AP against “{bundle.reference.row.label}”{beside}. {bars(bundle)}",
            gains_figure,
        ),
        "curves": (
            has_history,
            "How the runs learnt: a colour per row, a line per seed.",
            learning_figure,
        ),
        "precision": (
            has_insights,
            "Precision against recall, averaged over the categories and seeds.",
            precision_figure,
        ),
        "errors": (
            has_insights,
            "What AP50 would gain if one kind of error were mended, each by itself, as TIDE "
            "(Bolya et al., ECCV 2020) counts it. Where a row’s bar ends before the dashed line, "
            "the row loses less to that kind than the reference row.",
            errors_figure,
        ),
    }
    return {
        name: Plate(f"{bundle.table.name}-{name}", caption, partial(draw, bundle))
        for name, (is_allowed, caption, draw) in found.items()
        if is_allowed
    }


def bars(bundle: Bundle) -> str:
    """What the bars of a table's figures are."""
    rows = [row for row in bundle.rows if row.results]
    estimates = [found for row in rows if (found := row.ap.ours.estimate)]
    if estimates and all(one.seed_error is not None for one in estimates):
        return "Bars: 95 % intervals, over images and seeds."
    if estimates:
        return "Bars: 95 % intervals over images, for these trained weights."
    has_spread = any(row.ap.ours.std is not None for row in rows)
    return "Bars: standard deviation over the seeds." if has_spread else "No interval is known."


# AP, and what it changes: the paper's and ours


class Series(NamedTuple):
    """Of each row a value and the ends of its bar, not a number where there is none."""

    name: str
    values: Sequence[tuple[float, float, float]]
    look: Mapping[str, Any]


def _paper(name: str, values: Sequence[float | None]) -> Series:
    return Series(name, [(nan if it is None else it, nan, nan) for it in values], PAPER_STYLE)


def _ours(name: str, samples: Sequence[Sample]) -> Series:
    values = []
    for sample in samples:
        mean, std = (nan if it is None else it for it in (sample.mean, sample.std))
        found = sample.estimate
        values.append((mean, *((found.low, found.high) if found else (mean - std, mean + std))))
    return Series(name, values, OURS_STYLE)


@matplotlib.rc_context(STYLE)
def comparison_figure(bundle: Bundle) -> Figure:
    """The paper's AP and ours: against the setting that a sweep varies, else one dot per row.

    On one axis where values may be compared, else side by side, an AP point as long in both; ours
    alone where the paper has none.
    """
    paper = _paper("paper, COCO val2017", [row.ap.paper for row in bundle.rows])
    ours = _ours(f"ours, scale {bundle.scale} on {bundle.data}", [it.ap.ours for it in bundle.rows])
    panels = [[paper, ours]] if bundle.is_as_in_paper else [[paper], [ours]]
    panels = panels if bundle.table.has_paper else [[ours]]
    return (_sweep if bundle.table.axis else _dots)(bundle, panels)


@matplotlib.rc_context(STYLE)
def gains_figure(bundle: Bundle) -> Figure:
    """How far each row's AP is from the reference row's: ours with its interval, the paper's."""
    rows = [row for row in bundle.rows if row is not bundle.reference]
    shown = [_ours("ours", [row.ap.gain for row in rows])]
    if bundle.table.has_paper:
        shown = [_paper("paper", [row.ap.paper_gain for row in rows]), *shown]
    figure = Figure(figsize=(WIDTH, 0.24 * len(rows) * len(shown) + 0.8))
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, lw=0.8)
    for i, series in enumerate(shown):
        _dot_series(axes, series, i - (len(shown) - 1) / 2)
    rows_down(axes, [row.row.label for row in rows])
    ((low, high),) = _limits([shown], after=0.2)
    axes.set_xlim(min(low, -0.3), max(high, 0.3))
    if len(shown) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    figure.supxlabel(f"AP against {bundle.reference.row.label} (points)", fontsize=8)
    return figure


def _sweep(bundle: Bundle, panels: Sequence[Sequence[Series]]) -> Figure:
    """AP upwards, the settings in the paper's order to the right."""
    figure = Figure(figsize=(WIDTH, 2.4))
    settings = [row.row.cells[0] for row in bundle.rows]
    grid = figure.subplots(1, len(panels), squeeze=False).ravel().tolist()
    for axes, series, limits in zip(grid, panels, _limits(panels), strict=True):
        for one in series:
            y, low, high = np.array(one.values).T  # what is not measured is a gap, not a bridge
            reach = None if np.isnan(low).all() else np.maximum([y - low, high - y], 0.0)
            axes.errorbar(range(len(y)), y, yerr=reach, capsize=2, label=one.name, **one.look)
        axes.set_xticks(range(len(settings)), settings)
        axes.set_xlim(-0.5, len(settings) - 0.5)
        axes.set(ylim=limits, ylabel="AP (%)")
        _name(axes, series)
    figure.supxlabel(bundle.table.axis, fontsize=8)
    return figure


def _dots(bundle: Bundle, panels: Sequence[Sequence[Series]]) -> Figure:
    """AP to the right, the rows downwards; a dashed line through the reference row's dot."""
    labels = [row.row.label for row in bundle.rows]
    figure = Figure(figsize=(WIDTH, 0.25 * len(labels) * len(panels[0]) + 0.9))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel().tolist()
    limits_by_panel = _limits(panels, after=0.35)  # the numbers stand to the right of the dots
    for axes, series, limits in zip(grid, panels, limits_by_panel, strict=True):
        for i, one in enumerate(series):
            _dot_series(axes, one, i - (len(series) - 1) / 2, bundle.table.reference)
        rows_down(axes, labels)
        axes.set_xlim(limits)
        _name(axes, series)
    figure.supxlabel(f"AP (%); dashed: {bundle.reference.row.label}", fontsize=8)
    return figure


def rows_down(axes: Axes, labels: Sequence[str]) -> None:
    """A line per row of a table, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _dot_series(axes: Axes, series: Series, offset: float, reference: int | None = None) -> None:
    """A dot, its bar and its number per row; without a reference row with their signs."""
    label: str | None = series.name
    for row, (value, low, high) in enumerate(series.values):
        if value != value:  # not a number: not measured
            continue
        y, has_bar = row + 0.35 * offset, low == low
        reach = [[value - low], [high - value]] if has_bar else None
        axes.errorbar([value], [y], xerr=reach, capsize=2, ls="", label=label, **series.look)
        text = f"{value:.1f}" if reference is not None else signed(value)
        axes.annotate(text, (high if has_bar else value, y), (5, 0), **BESIDE)
        if row == reference:
            axes.axvline(value, color=series.look["color"], ls="--", lw=0.7, zorder=0)
        label = None


def _name(axes: Axes, series: Sequence[Series]) -> None:
    """A title for one series, a legend for two, a word for none measured."""
    if len(series) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series))
        return
    axes.set_title(series[0].name, loc="left")
    if np.isnan(series[0].values).all():
        axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")


def _limits(panels: Sequence[Sequence[Series]], after: float = 0.15) -> list[tuple[float, float]]:
    """Ranges of AP that hold every number and are equally long, so that slopes can be compared.

    after: what is left free behind the largest number, as a share of the range.
    """
    ranges = []
    for panel in panels:
        ends = [end for one in panel for value in one.values for end in value if end == end]
        ranges.append((min(ends, default=0.0), max(ends, default=0.0)))
    length = max(MIN_RANGE, *(high - low for low, high in ranges))
    middles = [(low + high) / 2 for low, high in ranges]
    return [(middle - 0.65 * length, middle + (0.5 + after) * length) for middle in middles]


# How the runs learnt


@matplotlib.rc_context(STYLE)
def learning_figure(bundle: Bundle) -> Figure:
    """Losses and AP against the training step: a colour per row, a line per seed."""
    rows = [row for row in bundle.rows if any(run.history for run in row.results)]
    entries = (entry for row in rows for run in row.results for entry in run.history)
    logged = dict.fromkeys(name for entry in entries for name in entry)
    names = [name for name in logged if name.startswith("loss/")] + ["AP"] * ("AP" in logged)
    down, across = max(1, ceil(len(names) / 2)), min(2, max(1, len(names)))
    columns, lines = legend_columns([row.row.label for row in rows])
    figure = Figure(figsize=(WIDTH, 1.8 * down + 0.16 * lines + 0.3))
    panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        for i, row in enumerate(rows):
            look = line_style(i, len(rows), is_sweep=bool(bundle.table.axis))
            look |= {"marker": "o", "markersize": 3} if name == "AP" else {"linewidth": 0.8}
            for seed, run in enumerate(row.results):
                points = [(it["step"], it[name]) for it in thin(run.history) if name in it]
                steps, values = np.array(points).reshape(-1, 2).T
                axes.plot(steps, values, label=None if seed else row.row.label, **look)
        axes.set(xlabel="step", ylabel=CURVE_NAMES.get(name, name))
        axes.set_xlim(left=0)
        if name == "AP":
            axes.set_ylim(bottom=0)
    if rows:
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=columns)
    return figure


def legend_columns(labels: Sequence[str]) -> tuple[int, int]:
    """How many of these labels fit beside each other under a figure, and how many lines it takes.

    No more than are needed for that many lines, so that the last line is not a single one.
    """
    longest = max(map(len, labels), default=0)
    fitting = max(1, LEGEND_LETTERS // (longest + LEGEND_HANDLE))
    lines = ceil(len(labels) / fitting)
    return ceil(len(labels) / max(lines, 1)) or 1, lines


def line_style(i: int, count: int, *, is_sweep: bool) -> dict[str, Any]:
    """Of row i of so many: a colour of its own, or in a sweep a shade; and its dashes."""
    shade = matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](0.85 * i / max(count - 1, 1)))
    color = shade if is_sweep or count > len(CYCLE) else CYCLE[i]
    return {"color": color, "linestyle": DASHES[i % len(DASHES)]}


# What is behind the numbers: of a row with several seeds the mean over them


def insights_by_row(bundle: Bundle) -> list[tuple[ComparedRow, list[Insight]]]:
    """Each row of which anything is known, and the insights of its runs."""
    known = bundle.insights
    names = [[it.signature for it in row.results if it.signature in known] for row in bundle.rows]
    pairs = zip(bundle.rows, names, strict=True)
    return [(row, [known[name] for name in found]) for row, found in pairs if found]


@matplotlib.rc_context(STYLE)
def precision_figure(bundle: Bundle) -> Figure:
    """Precision against recall, a panel per IoU, a line per row."""
    known = insights_by_row(bundle)
    columns, lines = legend_columns([row.row.label for row, _ in known])
    figure = Figure(figsize=(WIDTH, 2.1 + 0.16 * lines))
    panels = figure.subplots(1, len(PRECISIONS), sharey=True)
    for axes, (name, title) in zip(panels, PRECISIONS.items(), strict=True):
        for i, (row, insights) in enumerate(known):
            look = line_style(i, len(known), is_sweep=bool(bundle.table.axis))
            curves = [it.precision[name] for it in insights if name in it.precision]
            curve = np.mean(curves, axis=0) if curves else []  # undefined without objects
            axes.plot(range(len(curve)), curve, label=row.row.label, **look)
        axes.set(xlim=(0, 100), ylim=(0, 100))
        axes.set_title(title, loc="left")
    panels[1].set_xlabel("recall (%)")
    panels[0].set_ylabel("precision (%)")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns)
    return figure


@matplotlib.rc_context({**STYLE, "axes.axisbelow": True})
def errors_figure(bundle: Bundle) -> Figure:
    """What AP50 would gain if one kind of error were mended: a panel per kind, a bar per row."""
    known, reference = insights_by_row(bundle), bundle.reference
    points = {
        kind: [float(np.mean([it.errors[kind].points for it in insights])) for _, insights in known]
        for kind in ERRORS
    }
    places = [i for i, (row, _) in enumerate(known) if row is reference]
    down = ceil(len(ERRORS) / KINDS_ACROSS)
    figure = Figure(figsize=(WIDTH, down * (0.19 * len(known) + 0.35) + 0.3))
    panels = figure.subplots(down, KINDS_ACROSS, sharey=True, sharex=True, squeeze=False)
    for axes, (kind, values) in zip(panels.ravel(), points.items(), strict=True):
        line = values[places[0]] if places else 0.0
        if places:
            axes.axvline(line, color=CYCLE[1], ls="--", lw=0.8)
        axes.barh(range(len(values)), values, height=0.7, color=CYCLE[0])
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        for y, value in enumerate(values):  # the numbers keep clear of the reference row's line
            at = (max(value, line), y)
            axes.annotate(f"{value:.1f}", at, (3, 0), **BESIDE, color=MUTED)
        axes.set_title(kind, loc="left")
    axes.set_xlim(0, 1.25 * max(1.0, *(value for values in points.values() for value in values)))
    for axes in panels[:, 0]:
        rows_down(axes, [row.row.label for row, _ in known])
    label = reference.row.label
    figure.supxlabel(f"AP50 gained if mended (points); dashed: {label}", fontsize=8)
    return figure
