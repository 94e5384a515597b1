"""Figures of a table: the paper's AP beside ours, what rows change, how our runs learnt, and what
is behind their numbers.

There are two kinds: a dot for every row (dot_figure), and a curve for every row (line_figure). What
is drawn stands in Bundle.rows; a figure's caption is also its alternative text.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.breakdown import ERRORS, Insight
from reports.numbers import signed
from reports.render import part
from reports.results import Bundle, Compared, ComparedRow, Sample, thin
from reports.style import CYCLE, DASHES, OURS_STYLE, PAPER, PAPER_STYLE, STYLE, WIDTH, save

CURVE_NAMES = {
    "loss/cls": "classification loss",
    "loss/box": "box loss",
    "loss/centerness": "centerness loss",
    "AP": "AP (%)",
}
PRECISIONS = {"ap50": "IoU 0.50", "ap75": "IoU 0.75", "ap": "mean of IoU 0.50 to 0.95"}
BARS = (
    "Bars are 95 % intervals, of a single seed for its trained weights; without match records the "
    "standard deviation of the seeds."
)
MIN_RANGE = 3.0  # AP points an axis covers at least: noise shall not look like an effect
LEGEND_LETTERS, LEGEND_HANDLE = 80, 7  # that fit into a line; what a line sample takes of them
FEW = 30  # points of a curve that are marked one by one


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
            file.write_bytes(save(figure, kind, self.caption))
        return list(files.values())

    def shown(self, folder: Path) -> str:
        """HTML with the figure in it: its file's, or where a notebook is opened elsewhere, anew."""
        file = folder / f"{self.name}.svg"
        svg = file.read_bytes() if file.is_file() else save(self.draw(), "svg", self.caption)
        return part("plot", embedded(svg), self.caption)


def embedded(svg: bytes) -> str:
    """An SVG as an address that needs no file."""
    return f"data:image/svg+xml;base64,{b64encode(svg).decode()}"


def plates(bundle: Bundle) -> dict[str, Plate]:
    """The figures that a table's results allow, by a short name, which also ends their files'."""
    beside = " beside the paper’s" if bundle.table.has_paper else ""
    found = {"ap": (comparison_figure, f"AP of every row{beside}. {BARS}")}
    if any(row.ap.gain.n for row in bundle.rows if row is not bundle.reference):
        against = f"AP against “{bundle.reference.row.label}”{beside}. {BARS}"
        found["gains"] = (gains_figure, against)
    if any(run.history for row in bundle.rows for run in row.results):
        learnt = "How the runs learnt: a colour per row, a line per seed."
        found["curves"] = (curves_figure, learnt)
    if insights_by_row(bundle):
        found["precision"] = (
            precision_figure,
            "Precision against recall, averaged over the categories and seeds.",
        )
        found["errors"] = (
            errors_figure,
            "What AP50 would gain if one kind of error were mended, each by itself, as TIDE "
            "(Bolya et al., ECCV 2020) counts it. A row left of the dashed line loses less to "
            "that kind than the reference row.",
        )
    return {
        name: Plate(f"{bundle.table.name}-{name}", caption, partial(draw, bundle))
        for name, (draw, caption) in found.items()
    }


# A dot for every row: the paper's numbers and ours


@dataclass(frozen=True)
class Series:
    """A number of each row and the ends of its bar, nan where there is none."""

    name: str
    values: Sequence[tuple[float, float, float]]
    look: Mapping[str, Any]
    texts: Sequence[str] = ()  # beside the dots, instead of the numbers themselves
    line: float = nan  # a dashed line marks this number


def of_paper(name: str, values: Sequence[float | None], **more: Any) -> Series:
    """What the paper prints, where it prints anything."""
    known = [(nan if value is None else value, nan, nan) for value in values]
    return Series(name, known, PAPER_STYLE, **more)


def of_ours(name: str, samples: Sequence[Sample], **more: Any) -> Series:
    """Our means, with their intervals or standard deviations."""
    values = []
    for sample in samples:
        mean, std = (nan if it is None else it for it in (sample.mean, sample.std))
        found = sample.estimate
        values.append((mean, *((found.low, found.high) if found else (mean - std, mean + std))))
    return Series(name, values, OURS_STYLE, **more)


@matplotlib.rc_context(STYLE)
def dot_figure(
    labels: Sequence[str],
    panels: Sequence[Series],
    axis: str,
    *,
    across: int = 2,
    is_shared: bool = False,
) -> Figure:
    """Rows downwards, in every panel with a dot, its bar and its text.

    is_shared: one range for all panels, else ranges that are equally long, so that a point looks
    the same in each.
    """
    down, across = ceil(len(panels) / across), min(across, len(panels))
    figure = Figure(figsize=(WIDTH, down * (0.21 * len(labels) + 0.3) + 0.5))
    grid = figure.subplots(down, across, squeeze=False, sharey=True, sharex=is_shared).ravel()
    for axes, series in zip(grid, panels, strict=True):
        values, low, high = np.array(series.values).T
        reach = None if np.isnan(low).all() else np.maximum([values - low, high - values], 0.0)
        axes.errorbar(values, range(len(labels)), xerr=reach, **series.look)
        axes.axvline(series.line, color=series.look["color"], ls="--", lw=0.7, zorder=1)
        _write_texts(axes, series, np.fmax(values, high))
        axes.set_title(series.name, loc="left")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    _set_ranges(grid, is_shared=is_shared)
    figure.supxlabel(axis)
    return figure


def _write_texts(axes: Axes, series: Series, ends: Iterable[float]) -> None:
    """A text beside each dot that is there, on a piece of paper, so that no line crosses it."""
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
    texts = series.texts or [f"{value:.1f}" for value, _, _ in series.values]
    for i, (text, end) in enumerate(zip(texts, ends, strict=True)):
        if end == end:  # not nan: measured
            axes.annotate(text, (end, i), (5, 0), textcoords="offset points", va="center", bbox=box)
    if not axes.texts:
        axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")


def _set_ranges(grid: Iterable[Axes], *, is_shared: bool) -> None:
    """Show all numbers of each panel, with room for the texts to the right."""
    ends = np.array([axes.dataLim.intervalx for axes in grid])
    ends[~np.isfinite(ends).all(axis=1)] = 0.0
    if is_shared:
        ends[:] = ends.min(), ends.max()
    length = max(MIN_RANGE, *(ends[:, 1] - ends[:, 0]))
    for axes, (low, high) in zip(grid, ends, strict=True):
        start = max((low + high) / 2 - 0.6 * length, min(low, 0.0) - 0.1 * length)
        axes.set_xlim(start, start + 1.45 * length)


def comparison_figure(bundle: Bundle) -> Figure:
    """The paper's AP and ours; in one range where values may be compared."""
    rows = bundle.rows
    shown = [of_ours(f"ours, {bundle.scale} on {bundle.data}", [it.ap.ours for it in rows])]
    if bundle.table.has_paper:
        shown = [of_paper("paper, COCO val2017", [it.ap.paper for it in rows]), *shown]
    return dot_figure(
        [row.row.label for row in rows],
        [replace(one, line=one.values[bundle.table.reference][0]) for one in shown],
        f"AP (%); dashed: {bundle.reference.row.label}",
        is_shared=bundle.is_as_in_paper,
    )


def gains_figure(bundle: Bundle) -> Figure:
    """How far each row's AP is from the reference row's: ours with its interval, the paper's."""
    others = {row.row.label: row.ap for row in bundle.rows if row is not bundle.reference}
    axis = f"AP against {bundle.reference.row.label} (points)"
    return changes_figure(others, axis, has_paper=bundle.table.has_paper)


def changes_figure(known: Mapping[str, Compared], axis: str, *, has_paper: bool = True) -> Figure:
    """What changes AP by how much: the paper's numbers, if it has any, and ours."""
    samples, papers = zip(*((it.gain, it.paper_gain) for it in known.values()), strict=True)
    shown = [of_ours("ours", samples, texts=[signed(it.mean) for it in samples], line=0.0)]
    if has_paper:
        shown = [of_paper("paper", papers, texts=[*map(signed, papers)], line=0.0), *shown]
    return dot_figure(list(known), shown, axis, is_shared=True)


def errors_figure(bundle: Bundle) -> Figure:
    """What AP50 would gain if one kind of error were mended: a panel per kind."""
    known, panels = insights_by_row(bundle), []
    for kind in ERRORS:
        points = [fmean(it.errors[kind].points for it in insights) for _, insights in known]
        lines = [it for it, (row, _) in zip(points, known, strict=True) if row is bundle.reference]
        values = [(it, nan, nan) for it in points]
        panels.append(Series(kind, values, OURS_STYLE, line=next(iter(lines), nan)))
    axis = f"AP50 gained if mended (points); dashed: {bundle.reference.row.label}"
    return dot_figure([it.row.label for it, _ in known], panels, axis, across=3, is_shared=True)


# A curve for every row


@matplotlib.rc_context(STYLE)
def line_figure(
    panels: Mapping[str, Mapping[str, Sequence[Any]]], axis: str, *, across: int, is_sweep: bool
) -> Figure:
    """Of each panel the curves of each row, each curve [points, 2]; the rows are named below."""
    down = max(1, ceil(len(panels) / across))
    figure = Figure(figsize=(WIDTH, 1.8 * down + 0.3))
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, curves_by_row) in zip(grid, panels.items(), strict=False):
        for i, (label, curves) in enumerate(curves_by_row.items()):
            look = line_style(i, len(curves_by_row), is_sweep=is_sweep)
            axes.plot([], [], label=label, **look)
            for curve in curves:
                x, y = np.array(curve).reshape(-1, 2).T
                axes.plot(x, y, lw=0.9, marker="." if len(x) < FEW else "", **look)
        axes.set(xlim=(0, None), xlabel=axis)
        axes.set_title(title, loc="left")
    handles, labels = grid[0].get_legend_handles_labels()
    columns = max(1, LEGEND_LETTERS // (max(map(len, labels), default=0) + LEGEND_HANDLE))
    figure.set_figheight(figure.get_figheight() + 0.16 * ceil(len(labels) / columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def curves_figure(bundle: Bundle) -> Figure:
    """How the runs learnt: losses and AP against the training step, a curve per seed."""
    logged = dict.fromkeys(
        name for row in bundle.rows for run in row.results for it in run.history for name in it
    )
    panels = {
        CURVE_NAMES.get(name, name): {
            row.row.label: [
                [(it["step"], it[name]) for it in thin(run.history) if name in it]
                for run in row.results
            ]
            for row in bundle.rows
            if any(run.history for run in row.results)
        }
        for name in [*(it for it in logged if it.startswith("loss/")), *({"AP"} & logged.keys())]
    }
    return line_figure(panels, "step", across=2, is_sweep=bool(bundle.table.axis))


def precision_figure(bundle: Bundle) -> Figure:
    """Precision against recall in percent, a panel per IoU: the mean over a row's seeds."""
    panels: dict[str, dict[str, Any]] = {title: {} for title in PRECISIONS.values()}
    for row, insights in insights_by_row(bundle):
        for name, title in PRECISIONS.items():
            known = [it.precision[name] for it in insights if name in it.precision]
            means = np.mean(known, axis=0) if known else []  # undefined without objects
            panels[title][row.row.label] = [list(enumerate(means))]
    is_sweep = bool(bundle.table.axis)
    figure = line_figure(panels, "recall (%)", across=len(panels), is_sweep=is_sweep)
    figure.axes[0].set_ylabel("precision (%)")
    return figure


def line_style(i: int, count: int, *, is_sweep: bool) -> dict[str, Any]:
    """Of row i of so many: a colour of its own, or in a sweep a shade; and its dashes."""
    shade = matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](0.85 * i / max(count - 1, 1)))
    color = shade if is_sweep or count > len(CYCLE) else CYCLE[i]
    return {"color": color, "linestyle": DASHES[i % len(DASHES)]}


def insights_by_row(bundle: Bundle) -> list[tuple[ComparedRow, list[Insight]]]:
    """Each row of which anything is known, and the insights of its runs."""
    known = bundle.insights
    runs = [[it.signature for it in row.results if it.signature in known] for row in bundle.rows]
    pairs = zip(bundle.rows, runs, strict=True)
    return [(row, [known[name] for name in names]) for row, names in pairs if names]
