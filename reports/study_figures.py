"""Figures of the whole study: the paper's path from RetinaNet to ATSS, and what ATSS is robust to.

path      RetinaNet, five improvements one by one, then samples selected by the Spatial and
          Scale Constraint instead of IoU, then by ATSS       Tables 1, 2, 3
sweeps    what hardly moves AP under ATSS                     Tables 4, 5, 6, 7
"""

from collections.abc import Mapping
from functools import partial
from math import nan

from matplotlib.figure import Figure

from experiments import TABLES
from experiments.claims import Place
from reports.figures import Plate, Series, dot_figure, gains, of_paper
from reports.measurements import Measurements, find_row
from reports.numbers import signed
from reports.results import Bundle, Compared, measured
from reports.style import OURS_STYLE

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
    steps, found = path(study), {}
    points = {
        f"{setting} {value}": point
        for setting, sweep in sweeps(study).items()
        for value, point in sweep.items()
    }
    if any(step.ours.n for step in steps.values()):
        found["path"] = Plate(
            "path",
            "The paper’s path from RetinaNet to ATSS: AP, and what each step changes, with the "
            "95 % interval of the step.",
            partial(path_figure, steps, study.bundles[0]),
        )
    # ATSS itself is a point of every sweep: alone it shows nothing.
    if any(any(point.gain.by_seed.values()) for point in points.values()):
        found["sweeps"] = Plate(
            "sweeps",
            "What ATSS is robust to: AP against ATSS as it is used everywhere else. Bars are 95 % "
            "intervals of the difference.",
            partial(sweeps_figure, points),
        )
    return found


def path_figure(steps: Mapping[str, Compared], bundle: Bundle) -> Figure:
    """AP from step to step, and by how much each changes it: the paper's and ours.

    bundle: any of the setup, for its name.
    """
    known, values = list(steps.values()), []
    for step in known:
        mean = nan if step.ours.mean is None else step.ours.mean
        reach = step.gain.estimate.high - step.gain.estimate.value if step.gain.estimate else nan
        values.append((mean, mean - reach, mean + reach))
    ours = Series(
        f"ours, {bundle.scale} on {bundle.data}",
        values,
        OURS_STYLE,
        texts=[_text(step.ours.mean, step.gain.mean) for step in known],
    )
    paper = of_paper(
        "paper, COCO val2017",
        [step.paper for step in known],
        texts=[_text(step.paper, step.paper_gain) for step in known],
    )
    axis = "AP (%), and what each step changes"
    return dot_figure(list(steps), [[paper], [ours]], axis, is_joined=True)


def _text(ap: float | None, change: float | None) -> str:
    """A number, and by how much it differs from the one above, where that is known."""
    return "" if ap is None else f"{ap:.1f}" + f" ({signed(change)})" * (change is not None)


def sweeps_figure(points: Mapping[str, Compared]) -> Figure:
    """Difference of AP from ATSS as it is used everywhere else."""
    panels = [[one] for one in gains(list(points.values()), has_paper=True)]
    return dot_figure(list(points), panels, "AP against ATSS (points)")
