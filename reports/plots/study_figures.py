"""Pictures of the whole study: the path from RetinaNet to ATSS, and what ATSS is robust to."""

from collections.abc import Sequence
from math import nan

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.intervals import Estimate
from reports.numbers import signed
from reports.pages.headlines import Step, Varied
from reports.plots.figures import MIN_RANGE, rows_down
from reports.plots.theme import (
    BESIDE,
    CYCLE,
    INK,
    MUTED,
    OURS_STYLE,
    PAPER,
    PAPER_STYLE,
    STYLE,
    WIDTH,
)
from reports.results import Bundle

Line = tuple[float | None, float | None, Estimate | None]  # AP, step, the step's interval

# Colours of a gain and of a loss: what fills our bars, and their edge.
UP, DOWN = (CYCLE[5], CYCLE[0]), (CYCLE[3], CYCLE[1])
BAR = 0.55  # of a line's height


def path_figure(steps: Sequence[Step], bundle: Bundle) -> Figure:
    """A waterfall: where each step begins, where it ends, and by how much; the paper's and ours.

    bundle: any of the setup, for its name.
    """
    with matplotlib.rc_context({**STYLE, "axes.axisbelow": True}):
        figure = Figure(figsize=(WIDTH, 0.27 * len(steps) + 0.75))
        left, right = figure.subplots(1, 2, sharey=True)
        papers = [(step.paper, step.paper_gain, None) for step in steps]
        ours = [(step.ours.mean, _gain(step), step.interval) for step in steps]
        _waterfall(left, papers, is_ours=False)
        _waterfall(right, ours, is_ours=True)
        left.set_title("paper, COCO val2017", loc="left")
        right.set_title(f"ours, scale {bundle.scale} on {bundle.data}", loc="left")
        for axes in (left, right):
            rows_down(axes, [step.label for step in steps])
        right.tick_params(axis="y", labelleft=False)
        figure.supxlabel("AP (%), and what each step changes", fontsize=8)
        return figure


def _gain(step: Step) -> float | None:
    return step.interval.value if step.interval else step.gain.mean


def _waterfall(axes: Axes, lines: Sequence[Line], *, is_ours: bool) -> None:
    """A dot for the first line that is known, a bar for every one whose step is."""
    ends = [end for line in lines for end in _ends(line)]
    if not ends:
        axes.text(0.5, 0.5, "no run is finished", transform=axes.transAxes, ha="center")
        return
    for y, (value, gain, interval) in enumerate(lines):
        if value is None:
            continue
        if gain is None:
            axes.plot([value], [y], **(OURS_STYLE if is_ours else PAPER_STYLE), ls="")
            axes.annotate(f"{value:.1f}", (value, y), (6, 0), **BESIDE)
        else:
            _bar(axes, y, value, gain, interval, is_ours=is_ours)
        if y + 1 < len(lines) and lines[y + 1][1] is not None:
            axes.plot([value, value], [y, y + 1], color=MUTED, lw=0.6, zorder=0.9)
    length = max(MIN_RANGE, max(ends) - min(ends))
    axes.set_xlim(min(ends) - 0.08 * length, max(ends) + 0.22 * length)


def _ends(line: Line) -> list[float]:
    """All that has to be on the axis."""
    value, gain, interval = line
    if value is None:
        return []
    reach = 0.0 if interval is None else interval.high - interval.value
    return [value - (gain or 0.0), value - reach, value + reach]


def _bar(
    axes: Axes, y: int, value: float, gain: float, interval: Estimate | None, *, is_ours: bool
) -> None:
    """From the value before to this one, with the interval of the step around its end."""
    fill, edge = UP if gain >= 0 else DOWN
    if not is_ours:
        fill, edge = PAPER, MUTED
    axes.barh(y, gain, left=value - gain, height=BAR, color=fill, edgecolor=edge, linewidth=0.9)
    end = max(value, value - gain)
    if interval:
        reach = interval.high - interval.value
        axes.errorbar([value], [y], xerr=[reach], color=INK, capsize=2, lw=0.9, ls="")
        end = max(end, value + reach)
    axes.annotate(signed(gain), (end, y), (4, 0), **BESIDE)


def sweeps_figure(sweeps: Sequence[Varied]) -> Figure:
    """Difference of AP from ATSS as it is used everywhere else, a panel per setting."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3))
        letters = [sum(max(2, len(step.label)) for step in sweep.steps) for sweep in sweeps]
        panels = figure.subplots(1, len(sweeps), sharey=True, width_ratios=letters)
        for axes, sweep in zip(panels, sweeps, strict=True):
            axes.axhline(0, color=MUTED, lw=0.8)
            places = range(len(sweep.steps))
            paper = [nan if s.paper_gain is None else s.paper_gain for s in sweep.steps]
            axes.plot(places, paper, label="paper", ls="--", **PAPER_STYLE)
            ours = [nan if s.gain.mean is None else s.gain.mean for s in sweep.steps]
            bars = [s.interval.high - s.interval.value if s.interval else nan for s in sweep.steps]
            axes.errorbar(places, ours, yerr=bars, capsize=2, label="ours", **OURS_STYLE)
            axes.set_xticks(places, [step.label for step in sweep.steps])
            axes.set_xlim(-0.5, len(sweep.steps) - 0.5)
            axes.set_xlabel(sweep.setting)
        panels[0].set_ylabel("AP against ATSS (points)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return figure
