"""Figures of the whole study: the paper's path from RetinaNet to ATSS, and what ATSS is robust to.

path      RetinaNet, five improvements one by one, then samples selected by the Spatial and
          Scale Constraint instead of IoU, then by ATSS       Tables 1, 2, 3
sweeps    what hardly moves AP under ATSS                     Tables 4, 5, 6, 7
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import TABLES
from experiments.claims import Place
from reports.figures import MIN_RANGE, Plate, rows_down
from reports.intervals import Estimate, difference
from reports.measurements import Measurements, find_row
from reports.numbers import Sample, signed
from reports.results import Bundle
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


@dataclass(frozen=True)
class Step:
    """A detector of the path or of a sweep: AP, and its difference from the one before.

    Of a sweep all differences are from ATSS as it is used everywhere else. gain: paired by seed;
    interval: of the gain, where images can be resampled.
    """

    label: str
    paper: float | None
    ours: Sample
    paper_gain: float | None
    gain: Sample
    interval: Estimate | None


def path(study: Measurements) -> list[Step]:
    """The steps in the paper's order, measured or not."""
    before = [None, *PATH.values()]
    return [_step(study, *step, other) for step, other in zip(PATH.items(), before, strict=False)]


def sweeps(study: Measurements) -> dict[str, list[Step]]:
    """Tables 4 to 7, by setting, as far as they are about ATSS, measured or not."""
    return {
        setting: [
            _step(study, "×".join(row.cells[-2:]), Place(TABLES[name].number, row.label), ATSS)
            for row in TABLES[name].rows
            if row.config.assigner == "atss" and row.config.k in LEVEL_KS
        ]
        for name, setting in SWEEPS.items()
    }


def _step(study: Measurements, label: str, place: Place, before: Place | None) -> Step:
    paper, ours = find_row(place).paper.ap, _sample(study, place)
    if before is None:
        return Step(label, paper, ours, None, Sample({}), None)
    other, is_itself = find_row(before).paper.ap, study.runs(place) == study.runs(before)
    interval = None if is_itself else difference(study.scores(place), study.scores(before), "ap")
    paper_gain = paper - other if paper and other else None
    return Step(label, paper, ours, paper_gain, ours.minus(_sample(study, before)), interval)


def _sample(study: Measurements, place: Place) -> Sample:
    aps = {result.seed: result.metrics.ap for result in study.results(place)}
    return Sample({seed: ap for seed, ap in aps.items() if ap is not None})


def study_plates(study: Measurements) -> dict[str, Plate]:
    """The figures of all tables together that the results allow."""
    steps, settings, found = path(study), sweeps(study), {}
    if any(step.ours.n for step in steps):
        found["path"] = Plate(
            "path",
            "The paper’s path from RetinaNet to ATSS. Each bar begins at the AP of the line above "
            "and ends at its own; the whisker is the 95 % interval of the step.",
            partial(path_figure, steps, study.bundles[0]),
        )
    # ATSS itself is a point of every sweep: alone it shows nothing.
    if any(any(step.gain.by_seed.values()) for steps in settings.values() for step in steps):
        found["sweeps"] = Plate(
            "sweeps",
            "What ATSS is robust to: AP against ATSS as it is used everywhere else. Bars are 95 % "
            "intervals of the difference.",
            partial(sweeps_figure, settings),
        )
    return found


def path_figure(steps: Sequence[Step], bundle: Bundle) -> Figure:
    """A waterfall: where each step begins, where it ends, and by how much; the paper's and ours.

    bundle: any of the setup, for its name.
    """
    with matplotlib.rc_context({**STYLE, "axes.axisbelow": True}):
        figure = Figure(figsize=(WIDTH, 0.27 * len(steps) + 0.75))
        left, right = figure.subplots(1, 2, sharey=True)
        _waterfall(left, [(step.paper, step.paper_gain, None) for step in steps], is_ours=False)
        ours = [(step.ours.mean, step.gain.mean, step.interval) for step in steps]
        _waterfall(right, ours, is_ours=True)
        left.set_title("paper, COCO val2017", loc="left")
        right.set_title(f"ours, scale {bundle.scale} on {bundle.data}", loc="left")
        for axes in (left, right):
            rows_down(axes, [step.label for step in steps])
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


def sweeps_figure(sweeps: Mapping[str, Sequence[Step]]) -> Figure:
    """Difference of AP from ATSS as it is used everywhere else, a panel per setting."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3))
        letters = [sum(max(2, len(step.label)) for step in steps) for steps in sweeps.values()]
        panels = figure.subplots(1, len(sweeps), sharey=True, width_ratios=letters)
        for axes, (setting, steps) in zip(panels, sweeps.items(), strict=True):
            axes.axhline(0, color=MUTED, lw=0.8)
            places = range(len(steps))
            paper = [nan if s.paper_gain is None else s.paper_gain for s in steps]
            axes.plot(places, paper, label="paper", ls="--", **PAPER_STYLE)
            ours = [nan if s.gain.mean is None else s.gain.mean for s in steps]
            bars = [s.interval.high - s.interval.value if s.interval else nan for s in steps]
            axes.errorbar(places, ours, yerr=bars, capsize=2, label="ours", **OURS_STYLE)
            axes.set_xticks(places, [step.label for step in steps])
            axes.set_xlim(-0.5, len(steps) - 0.5)
            axes.set_xlabel(setting)
        panels[0].set_ylabel("AP against ATSS (points)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return figure
