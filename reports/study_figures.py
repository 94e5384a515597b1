"""Figures of the whole study: the paper's path from RetinaNet to ATSS, and what ATSS is robust to.

path      RetinaNet, five improvements one by one, then samples selected by the Spatial and
          Scale Constraint instead of IoU, then by ATSS       Tables 1, 2, 3
sweeps    what hardly moves AP under ATSS                     Tables 4, 5, 6, 7
"""

from dataclasses import replace
from functools import partial

from experiments import TABLES
from experiments.claims import Place
from reports.figures import Plate, changes_figure
from reports.measurements import Measurements, find_row
from reports.results import Compared, measured

IMPROVEMENTS = TABLES["table1"]
PATH = {
    **{row.label: Place(1, row.label) for row in IMPROVEMENTS.rows[IMPROVEMENTS.reference :]},
    "SSC instead of IoU": Place(2, "Spatial and Scale Constraint, Box"),
    "ATSS instead of SSC": Place(3, "RetinaNet (#A=1) + ATSS"),
}
ATSS = PATH["ATSS instead of SSC"]
SWEEPS = {4: "k", 5: "anchor scale", 6: "aspect ratio", 7: "scales × ratios"}
CHANGE = "change of AP (points)"
LEVEL_KS = range(7, 18)  # for which the paper says that AP hardly moves


def path(study: Measurements) -> dict[str, Compared]:
    """The steps in the paper's order, measured or not, each against the one before."""
    before = [None, *PATH.values()]
    return {
        label: _against(study, place, other)
        for (label, place), other in zip(PATH.items(), before, strict=False)
    }


def sweeps(study: Measurements) -> dict[str, Compared]:
    """Tables 4 to 7, as far as they are about ATSS, against ATSS as it is used everywhere else."""
    return {
        " ".join([setting, "×".join(row.cells[-2:])]): _against(
            study, Place(number, row.label), ATSS
        )
        for number, setting in SWEEPS.items()
        for row in TABLES[f"table{number}"].rows
        if row.config.assigner == "atss" and row.config.k in LEVEL_KS
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
    return replace(rows[0], reference=rows[1] if other else None).ap


def study_plates(study: Measurements) -> dict[str, Plate]:
    """The figures of all tables together that the results allow."""
    first, *steps = path(study).items()
    wanted = {
        "path": (dict(steps), f"The paper’s path from {first[0]} to ATSS: what each step changes."),
        "sweeps": (
            sweeps(study),
            "What ATSS is robust to: AP against ATSS as it is used elsewhere.",
        ),
    }
    return {
        name: Plate(
            name, f"{caption} Bars are 95 % intervals.", partial(changes_figure, points, CHANGE)
        )
        for name, (points, caption) in wanted.items()
        # ATSS itself is a point of every sweep: alone it shows nothing.
        if any(any(point.gain.by_seed.values()) for point in points.values())
    }
