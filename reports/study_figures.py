"""Figures of the whole study: the paper's path from RetinaNet to ATSS, and what ATSS is robust to.

path      RetinaNet, five improvements one by one, then samples selected by the Spatial and
          Scale Constraint instead of IoU, then by ATSS       Tables 1, 2, 3
sweeps    what hardly moves AP under ATSS                     Tables 4, 5, 6, 7
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import TABLES
from experiments.claims import Place
from reports.figures import MIN_RANGE, Plate, rows_down
from reports.intervals import Estimate
from reports.measurements import Measurements, find_row
from reports.numbers import signed
from reports.results import Bundle, Compared, measured
from reports.style import BESIDE, CYCLE, INK, MUTED, OURS_STYLE, PAPER, PAPER_STYLE, STYLE, WIDTH

IMPROVEMENTS = TABLES["table1"]
PATH = {
    **{row.label: Place(1, row.label) for row in IMPROVEMENTS.rows[IMPROVEMENTS.reference :]},
    "SSC instead of IoU": Place(2, "Spatial and Scale Constraint, Box"),
    "ATSS instead of SSC": Place(3, "RetinaNet (#A=1) + ATSS"),
}
ATSS = PATH["ATSS instead of SSC"]
SWEEPS = {"table4": "k", "table5": "anchor scale", "table6": "aspect ratio",
          "table7": "scales × ratios"}  # fmt: skip
LEVEL_KS = range(7, 18)  # for which the paper says that AP hardly moves

UP, DOWN = (CYCLE[5], CYCLE[0]), (CYCLE[3], CYCLE[1])  # of our bars: what fills them, their edge


def path(study: Measurements) -> dict[str, Compared]:
    """The steps in the paper's order, measured or not, each against the one before."""
    before = [None, *PATH.values()]
    return {
        label: _against(study, place, other)
        for (label, place), other in zip(PATH.items(), before, strict=False)
    }


def sweeps(study: Measurements) -> dict[str, dict[str, Compared]]:
    """Tables 4 to 7, by setting, as far as they are about ATSS, measured or not.

    Each is against ATSS as it is used everywhere else.
    """
    return {
        setting: {
            "×".join(row.cells[-2:]): _against(study, Place(TABLES[name].number, row.label), ATSS)
            for row in TABLES[name].rows
            if row.config.assigner == "atss" and row.config.k in LEVEL_KS
        }
        for name, setting in SWEEPS.items()
    }


def _against(study: Measurements, place: Place, other: Place | None) -> Compared:
    """AP of a row of any table, against that of another."""
    rows = [
        measured(
            find_row(it),
            study.runs(it),
            {result.signature: result for result in study.results(it)},
            {score.signature: score for score in study.scores(it)},
        )
        for it in (place, other)
        if it
    ]
    return rows[0].against(rows[1] if other else None).ap


def study_plates(study: Measurements) -> dict[str, Plate]:
    """The figures of all tables together that the results allow."""
    steps, settings, found = path(study), sweeps(study), {}
    if any(step.ours.n for step in steps.values()):
        found["path"] = Plate(
            "path",
            "The paper’s path from RetinaNet to ATSS. Each bar begins at the AP of the line above "
            "and ends at its own; the whisker is the 95 % interval of the step.",
            partial(path_figure, steps, study.bundles[0]),
        )
    points = [point for sweep in settings.values() for point in sweep.values()]
    # ATSS itself is a point of every sweep: alone it shows nothing.
    if any(any(point.gain.by_seed.values()) for point in points):
        found["sweeps"] = Plate(
            "sweeps",
            "What ATSS is robust to: AP against ATSS as it is used everywhere else. Bars are 95 % "
            "intervals of the difference.",
            partial(sweeps_figure, settings),
        )
    return found


@matplotlib.rc_context({**STYLE, "axes.axisbelow": True})
def path_figure(steps: Mapping[str, Compared], bundle: Bundle) -> Figure:
    """A waterfall: where each step begins, where it ends, and by how much; the paper's and ours.

    bundle: any of the setup, for its name.
    """
    figure = Figure(figsize=(WIDTH, 0.27 * len(steps) + 0.75))
    left, right = figure.subplots(1, 2, sharey=True)
    paper = [(step.paper, step.paper_gain, None) for step in steps.values()]
    ours = [(step.ours.mean, step.gain.mean, step.gain.estimate) for step in steps.values()]
    _waterfall(left, paper, is_ours=False)
    _waterfall(right, ours, is_ours=True)
    left.set_title("paper, COCO val2017", loc="left")
    right.set_title(f"ours, scale {bundle.scale} on {bundle.data}", loc="left")
    for axes in (left, right):
        rows_down(axes, list(steps))
    right.tick_params(axis="y", labelleft=False)
    figure.supxlabel("AP (%), and what each step changes", fontsize=8)
    return figure


def _waterfall(
    axes: Axes,
    lines: Sequence[tuple[float | None, float | None, Estimate | None]],
    *,
    is_ours: bool,
) -> None:
    """A dot for the first line that is known, a bar for every one whose step is.

    lines: AP, the step to it, the step's interval.
    """
    ends: list[float] = []
    for y, (value, gain, interval) in enumerate(lines):
        if value is None:
            continue
        gain = interval.value if interval else gain
        reach = interval.high - interval.value if interval else 0.0
        start = value - (gain or 0.0)
        ends += [start, value - reach, value + reach]
        if gain is None:
            axes.plot([value], [y], **(OURS_STYLE if is_ours else PAPER_STYLE), ls="")
            axes.annotate(f"{value:.1f}", (value, y), (6, 0), **BESIDE)
        else:  # from the value before to this one, with the interval of the step around its end
            fill, edge = (UP if gain >= 0 else DOWN) if is_ours else (PAPER, MUTED)
            axes.barh(y, gain, left=start, height=0.55, color=fill, edgecolor=edge, linewidth=0.9)
            if interval:
                axes.errorbar([value], [y], xerr=[reach], color=INK, capsize=2, lw=0.9, ls="")
            axes.annotate(signed(gain), (max(start, value + reach), y), (4, 0), **BESIDE)
        if y + 1 < len(lines) and lines[y + 1][1] is not None:
            axes.plot([value, value], [y, y + 1], color=MUTED, lw=0.6, zorder=0.9)
    if not ends:
        axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")
        return
    length = max(MIN_RANGE, max(ends) - min(ends))
    axes.set_xlim(min(ends) - 0.08 * length, max(ends) + 0.22 * length)


@matplotlib.rc_context(STYLE)
def sweeps_figure(sweeps: Mapping[str, Mapping[str, Compared]]) -> Figure:
    """Difference of AP from ATSS as it is used everywhere else, a panel per setting."""
    figure = Figure(figsize=(WIDTH, 2.3))
    letters = [sum(max(2, len(label)) for label in points) for points in sweeps.values()]
    panels = figure.subplots(1, len(sweeps), sharey=True, width_ratios=letters)
    for axes, (setting, points) in zip(panels, sweeps.items(), strict=True):
        axes.axhline(0, color=MUTED, lw=0.8)
        places, gains = range(len(points)), [point.gain for point in points.values()]
        papers = [point.paper_gain for point in points.values()]
        paper = [nan if gain is None else gain for gain in papers]
        axes.plot(places, paper, label="paper", ls="--", **PAPER_STYLE)
        ours = [nan if gain.mean is None else gain.mean for gain in gains]
        bars = [
            gain.estimate.high - gain.estimate.value if gain.estimate else nan for gain in gains
        ]
        axes.errorbar(places, ours, yerr=bars, capsize=2, label="ours", **OURS_STYLE)
        axes.set_xticks(places, list(points))
        axes.set_xlim(-0.5, len(points) - 0.5)
        axes.set_xlabel(setting)
    panels[0].set_ylabel("AP against ATSS (points)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
