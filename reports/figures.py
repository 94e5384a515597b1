"""Figures of a table and of the whole study; a figure's caption is also its alternative text.

plates         of a table: the paper's AP beside ours, what rows change, precision, kinds of errors
study_plates   of all tables: the paper's path from RetinaNet to ATSS, and what ATSS is robust to

All but the curves of precision are dots with intervals, a row downwards for each.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from experiments import TABLES
from experiments.claims import Place
from reports.breakdown import ERRORS, Insight
from reports.measurements import Measurements
from reports.numbers import signed
from reports.render import part
from reports.results import Bundle, Compared, ComparedRow
from reports.style import CYCLE, DASHES, OURS_STYLE, PAPER, PAPER_STYLE, STYLE, WIDTH, save

PRECISIONS = {"ap50": "IoU 0.50", "ap75": "IoU 0.75", "ap": "mean of IoU 0.50 to 0.95"}
BARS = (
    "Bars are 95 % intervals, of a single seed for its trained weights; without match records the "
    "standard deviation of the seeds."
)
OF_PRECISION = "Precision against recall, averaged over the categories and seeds."
OF_ERRORS = (
    "What AP50 would gain if one kind of error were mended, each by itself, as TIDE (Bolya et al., "
    "ECCV 2020) counts it. A row left of the dashed line loses less to that kind than the "
    "reference row."
)
OF_STUDY = {
    "path": "The paper’s path from {first} to ATSS: what each step changes.",
    "sweeps": "What ATSS is robust to: AP against ATSS as it is used elsewhere.",
}
MIN_RANGE = 3.0  # AP points an axis covers at least: noise shall not look like an effect
LEGEND_LETTERS, LEGEND_HANDLE = 80, 7  # that fit into a line; what a line sample takes of them

IMPROVEMENTS = TABLES["table1"]
PATH = {  # RetinaNet, five improvements, then samples by the Spatial and Scale Constraint, by ATSS
    **{row.label: Place(1, row.label) for row in IMPROVEMENTS.rows[IMPROVEMENTS.reference :]},
    "SSC instead of IoU": Place(2, "Spatial and Scale Constraint, Box"),
    "ATSS instead of SSC": Place(3, "RetinaNet (#A=1) + ATSS"),
}
ATSS = PATH["ATSS instead of SSC"]
SWEEPS = {4: "k", 5: "anchor scale", 6: "aspect ratio", 7: "scales × ratios"}
LEVEL_KS = range(7, 18)  # for which the paper says that AP hardly moves


Insights = Mapping[str, Sequence[Insight]]  # row's label -> those of its runs


@dataclass(frozen=True)
class Plate:
    """A figure, drawn once into the report's folder; notebooks and pages show that file."""

    name: str  # of its files, without an ending
    caption: str
    draw: Callable[[], Figure]

    def write(self, folder: Path) -> None:
        """Draw it, and write its files."""
        figure = self.draw()
        for kind in ("png", "svg"):
            (folder / f"{self.name}.{kind}").write_bytes(save(figure, kind, self.caption))

    def shown(self, folder: Path) -> str:
        """HTML with the figure in it: its file's, or where a notebook is opened elsewhere, anew."""
        file = folder / f"{self.name}.svg"
        svg = file.read_bytes() if file.is_file() else save(self.draw(), "svg", self.caption)
        address = f"data:image/svg+xml;base64,{b64encode(svg).decode()}"  # which needs no file
        return part("plot", address, self.caption)


def plates(bundle: Bundle) -> dict[str, Plate]:
    """The figures that a table's results allow, by a short name, which also ends their files'."""
    table, first, known = bundle.table, bundle.reference.row.label, bundle.insights
    ours = f"{' beside the paper’s' * table.has_paper}. {BARS}"
    found = {"ap": (f"AP of every row{ours}", partial(comparison_figure, bundle))}
    gains = {row.row.label: row.gain for row in bundle.rows if row is not bundle.reference}
    if any(it.by_seed for it in gains.values()):
        axis = f"AP against {first} (points)"
        draw = partial(changes_figure, gains, axis, has_paper=table.has_paper)
        found["gains"] = f"AP against “{first}”{ours}", draw
    told = {
        row.row.label: [known[it] for it in row.signatures if it in known] for row in bundle.rows
    }
    if insights := {label: of_runs for label, of_runs in told.items() if of_runs}:
        found["precision"] = OF_PRECISION, partial(precision_figure, insights, bool(table.axis))
        found["errors"] = OF_ERRORS, partial(errors_figure, insights, first)
    return {name: Plate(f"{table.name}-{name}", *about) for name, about in found.items()}


def study_plates(study: Measurements) -> dict[str, Plate]:
    """The figures of all tables together that the results allow."""
    (first, _), *steps = path(study).items()
    found = {}
    for name, rows in (("path", dict(steps)), ("sweeps", sweeps(study))):
        gains = {label: row.gain for label, row in rows.items()}
        # ATSS itself is a point of every sweep: alone it shows nothing.
        if any(any(it.by_seed.values()) for it in gains.values()):
            caption = f"{OF_STUDY[name].format(first=first)} Bars are 95 % intervals."
            draw = partial(changes_figure, gains, "change of AP (points)")
            found[name] = Plate(name, caption, draw)
    return found


def path(study: Measurements) -> dict[str, ComparedRow]:
    """The steps in the paper's order, measured or not, each against the one before."""
    pairs = zip(PATH.items(), [None, *PATH.values()], strict=False)
    return {label: study.row(place, before) for (label, place), before in pairs}


def sweeps(study: Measurements) -> dict[str, ComparedRow]:
    """Tables 4 to 7, as far as they are about ATSS, against ATSS as it is used everywhere else."""
    return {
        " ".join([what, "×".join(row.cells[-2:])]): study.row(Place(number, row.label), ATSS)
        for number, what in SWEEPS.items()
        for row in TABLES[f"table{number}"].rows
        if row.config.assigner == "atss" and row.config.k in LEVEL_KS
    }


# A dot for every row


Point = tuple[float | None, float | None, float | None]  # a row's number, the ends of its bar
# Title, a point per row, how it looks, and which number a dashed line marks.
Panel = tuple[str, Sequence[Point], Mapping[str, Any], float | None]


def _panels(
    known: Iterable[Compared], titles: tuple[str, str], dashed: tuple[float | None, float | None]
) -> list[Panel]:
    """The paper's numbers, and ours with their intervals, or else the spread of the seeds."""
    papers, ours = list[Point](), list[Point]()
    for it in known:
        papers.append((it.paper, None, None))
        ends: tuple[float | None, float | None] = None, None
        if it.estimate:
            ends = it.estimate.low, it.estimate.high
        elif it.ours is not None and it.std is not None:
            ends = it.ours - it.std, it.ours + it.std
        ours.append((it.ours, *ends))
    points, looks = (papers, ours), (PAPER_STYLE, OURS_STYLE)
    return list(zip(titles, points, looks, dashed, strict=True))


@matplotlib.style.context(STYLE)
def dots_with_intervals(
    labels: Sequence[str],
    panels: Sequence[Panel],
    axis: str,
    *,
    write: Callable[[float], str] = "{:.1f}".format,
    is_shared: bool = False,
) -> Figure:
    """Rows downwards, in every panel with a dot, its bar and its number.

    is_shared: one range for all panels, else ranges that are equally long, so that a point looks
    the same in each.
    """
    across = min(3, len(panels))
    down = ceil(len(panels) / across)
    figure = Figure(figsize=(WIDTH, down * (0.21 * len(labels) + 0.3) + 0.5))
    grid = figure.subplots(down, across, squeeze=False, sharey=True, sharex=is_shared).ravel()
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}  # so that no line crosses it
    for axes, (title, points, look, line) in zip(grid, panels, strict=True):
        values, low, high = np.array(points, dtype=float).T
        reach = None if np.isnan(low).all() else np.maximum([values - low, high - values], 0.0)
        axes.errorbar(values, range(len(labels)), xerr=reach, **look)
        if line is not None:
            axes.axvline(line, color=look["color"], ls="--", lw=0.7, zorder=1)
        ends = np.fmax(values, high)
        for i in np.flatnonzero(~np.isnan(ends)):
            place: Any = {"textcoords": "offset points", "va": "center", "bbox": paper}
            axes.annotate(write(values[i]), (ends[i], i), (5, 0), **place)
        if not axes.texts:
            axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")
        axes.set_title(title, loc="left")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    reached = np.array([axes.dataLim.intervalx for axes in grid])  # from where to where
    reached[~np.isfinite(reached).all(axis=1)] = 0.0
    if is_shared:
        reached[:] = reached.min(), reached.max()
    length = max(MIN_RANGE, *np.diff(reached)[:, 0])
    for axes, (first, last) in zip(grid, reached, strict=True):  # with room for the texts
        start = max((first + last) / 2 - 0.6 * length, min(first, 0.0) - 0.1 * length)
        axes.set_xlim(start, start + 1.45 * length)
    figure.supxlabel(axis)
    return figure


def comparison_figure(bundle: Bundle) -> Figure:
    """The paper's AP and ours; in one range where values may be compared."""
    aps, first = {row.row.label: row.ap for row in bundle.rows}, bundle.reference
    titles = "paper, COCO val2017", f"ours, {bundle.scale} on {bundle.data}"
    panels = _panels(aps.values(), titles, (first.ap.paper, first.ap.ours))
    shown, axis = panels[not bundle.table.has_paper :], f"AP (%); dashed: {first.row.label}"
    return dots_with_intervals(list(aps), shown, axis, is_shared=bundle.is_as_in_paper)


def changes_figure(known: Mapping[str, Compared], axis: str, *, has_paper: bool = True) -> Figure:
    """What changes AP by how much: the paper's numbers, if it has any, and ours."""
    shown = _panels(known.values(), ("paper", "ours"), (0.0, 0.0))[not has_paper :]
    return dots_with_intervals(list(known), shown, axis, write=signed, is_shared=True)


def errors_figure(known: Insights, reference: str) -> Figure:
    """What AP50 would gain if one kind of error were mended: a panel per kind."""
    panels: list[Panel] = []
    for kind in ERRORS:
        means = {row: fmean(it.errors[kind].points for it in of) for row, of in known.items()}
        points = [(it, None, None) for it in means.values()]
        panels.append((kind, points, OURS_STYLE, means.get(reference)))
    axis = f"AP50 gained if mended (points); dashed: {reference}"
    return dots_with_intervals(list(known), panels, axis, is_shared=True)


@matplotlib.style.context(STYLE)
def precision_figure(known: Insights, is_series: bool) -> Figure:
    """Precision against recall in percent, a panel per IoU: the mean over a row's seeds."""
    columns = max(1, LEGEND_LETTERS // (max(map(len, known)) + LEGEND_HANDLE))
    figure = Figure(figsize=(WIDTH, 2.1 + 0.16 * ceil(len(known) / columns)))
    shades = matplotlib.colormaps["cividis"](np.linspace(0, 0.85, len(known)))
    colors = shades if is_series or len(known) > len(CYCLE) else CYCLE
    looks = list(zip(known.items(), colors, cycle(DASHES), strict=False))
    grid = figure.subplots(1, len(PRECISIONS))
    for axes, (name, title) in zip(grid, PRECISIONS.items(), strict=True):
        for (label, insights), color, dashes in looks:
            curves = [it.precision[name] for it in insights if name in it.precision]
            means = np.mean(curves, axis=0) if curves else []  # undefined without objects
            axes.plot(range(len(means)), means, label=label, color=color, ls=dashes, lw=0.9)
        axes.set(xlim=(0, None), xlabel="recall (%)")
        axes.set_title(title, loc="left")
    grid[0].set_ylabel("precision (%)")
    figure.legend(handles=grid[0].get_lines(), loc="outside lower center", ncols=columns)
    return figure
