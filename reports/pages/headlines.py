"""What a study says in a few lines: the paper's path from RetinaNet to ATSS, its sweeps, findings.

path      RetinaNet, five improvements one by one, then samples selected by the Spatial and
          Scale Constraint instead of IoU, then by ATSS       Tables 1, 2, 3
sweeps    what hardly moves AP under ATSS                     Tables 4, 5, 6, 7
finding   what a table says, in a sentence
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments import TABLES
from experiments.claims import CLAIMS, Claim, Place, places
from experiments.experiment import Table
from reports import positives
from reports.claims import Verdict, judge_all
from reports.intervals import Estimate, difference
from reports.measurements import Measurements, find_row
from reports.numbers import MISSING, Compared, ComparedRow, Sample, signed
from reports.results import Bundle

IMPROVEMENTS = TABLES["table1"]
PATH = (
    *((row.label, Place(1, row.label)) for row in IMPROVEMENTS.rows[IMPROVEMENTS.reference :]),
    ("SSC instead of IoU", Place(2, "Spatial and Scale Constraint, Box")),
    ("ATSS instead of SSC", Place(3, "RetinaNet (#A=1) + ATSS")),
)
ATSS = PATH[-1][1]
SWEEPS = {"table4": "k", "table5": "anchor scale", "table6": "aspect ratio",
          "table7": "scales × ratios"}  # fmt: skip
LEVEL_KS = range(7, 18)  # for which the paper says that AP hardly moves


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


@dataclass(frozen=True)
class Varied:
    """A setting of ATSS and its values."""

    table: str
    setting: str
    steps: tuple[Step, ...]

    @property
    def ranges(self) -> tuple[float | None, float | None]:
        """The highest AP minus the lowest: the paper's, and ours."""
        return _range([s.paper for s in self.steps]), _range([s.ours.mean for s in self.steps])


def path(study: Measurements) -> tuple[Step, ...]:
    """The steps in the paper's order, measured or not."""
    before = (None, *(place for _, place in PATH))
    return tuple(
        _step(study, label, place, other)
        for (label, place), other in zip(PATH, before, strict=False)
    )


def sweeps(study: Measurements) -> tuple[Varied, ...]:
    """Tables 4 to 7 as far as they are about ATSS, measured or not."""
    found = []
    for name, setting in SWEEPS.items():
        table = TABLES[name]
        steps = [
            _step(study, "×".join(row.cells[-2:]), Place(table.number, row.label), ATSS)
            for row in table.rows
            if row.config.assigner == "atss" and row.config.k in LEVEL_KS
        ]
        found.append(Varied(name, setting, tuple(steps)))
    return tuple(found)


def _step(study: Measurements, label: str, place: Place, before: Place | None) -> Step:
    row, other = find_row(place), None if before is None else find_row(before)
    assert row is not None, place
    ours = _sample(study, place)
    is_itself = before is not None and study.runs(place) == study.runs(before)
    has_both = before is not None and row.paper.ap is not None and other and other.paper.ap
    return Step(
        label,
        row.paper.ap,
        ours,
        (row.paper.ap or 0.0) - (other.paper.ap or 0.0) if has_both and other else None,
        Sample({}) if before is None else ours.minus(_sample(study, before)),
        None
        if before is None or is_itself
        else difference(study.scores(place), study.scores(before), "ap"),
    )


def _sample(study: Measurements, place: Place) -> Sample:
    aps = {result.seed: result.metrics.ap for result in study.results(place)}
    return Sample({seed: ap for seed, ap in aps.items() if ap is not None})


def _range(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known and len(known) == len(values) else None


def judged(study: Measurements, counts: Path | None) -> list[Verdict]:
    """What the runs say about every claim, and where there are counts of positives, these.

    counts: positives.csv of `atss positives`, on the data of the study.
    """
    found = judge_all(study)
    if counts is None:
        return found
    counted = {verdict.claim.name: verdict for verdict in positives.claims(pd.read_csv(counts))}
    return [counted.get(verdict.claim.name, verdict) for verdict in found]


def claims_about(table: Table) -> list[Claim]:
    """The paper's claims about trained runs that need no other table's rows."""
    known = [(row.config, row.recipe) for row in table.rows] if table.number else []
    found = []
    for claim in CLAIMS:
        rows = [find_row(place) for part in claim.parts for place in places(part)]
        is_here = (row is not None and (row.config, row.recipe) in known for row in rows)
        if claim.evidence == "training" and all(is_here):
            found.append(claim)
    return found


def caution(study: Measurements) -> list[str]:
    """What a reader has to know before comparing our values with the paper's."""
    if study.is_as_in_paper:
        return []
    return [
        "The paper’s numbers are of COCO val2017 at its full schedule. Beside ours, which are not, "
        "only directions can be compared, not values."
    ]


def finding(bundle: Bundle) -> str:
    """What our numbers of a table say, beside the paper's if it has any."""
    rows = [row for row in bundle.comparison.rows if row.ap.ours.n]
    if not rows:
        return "No run is finished."
    if len(rows) == 1:
        return f"AP {_value(rows[0].ap)} for “{rows[0].row.label}”, the only row measured."
    papers = [row for row in bundle.comparison.rows if row.ap.paper is not None]
    low, high = min(papers, key=_paper, default=None), max(papers, key=_paper, default=None)
    if bundle.table.axis:
        told = _extremes(rows)
        if low is None or high is None:
            return told
        return (
            f"{told} The paper: {low.ap.paper:.1f} ({low.row.label}) to "
            f"{high.ap.paper:.1f} ({high.row.label})."
        )
    told = _best(bundle, rows)
    return (
        told if high is None else f"{told} The paper’s: “{high.row.label}” ({high.ap.paper:.1f})."
    )


def _paper(row: ComparedRow) -> float:
    return row.ap.paper or 0.0


def _mean(row: ComparedRow) -> float:
    return row.ap.ours.mean or 0.0


def _extremes(rows: Sequence[ComparedRow]) -> str:
    low, high = min(rows, key=_mean), max(rows, key=_mean)
    ends = (f"{_value(row.ap)} ({row.row.label}{_others(row, rows)})" for row in (low, high))
    return f"AP {' to '.join(ends)}."


def _best(bundle: Bundle, rows: Sequence[ComparedRow]) -> str:
    best, reference = max(rows, key=_mean), bundle.comparison.reference
    named = f"The highest AP: “{best.row.label}” ({_value(best.ap)}{_others(best, rows)})"
    if best is reference:
        return f"{named}, the row of reference."
    if best.signatures == reference.signatures:
        return f"{named}, the run of the row of reference."
    gain = best.ap.gain.estimate
    value = gain.value if gain else best.ap.gain.mean
    if value is None:
        return f"{named}."
    interval = f" ({within(gain)})" if gain else ""
    return f"{named}, {signed(value)}{interval} against “{reference.row.label}”."


def _others(row: ComparedRow, rows: Sequence[ComparedRow]) -> str:
    """How many of these rows are the run of this one, which is then not the only one there."""
    count = sum(other.signatures == row.signatures for other in rows) - 1
    return f", and {count} row{'s' if count > 1 else ''} of the same run" if count else ""


def within(estimate: Estimate) -> str:
    """An interval as text: "95 %: +0.1 to +2.3"; of one seed it says of what alone it is."""
    of = ", these weights" if estimate.seed_error is None else ""
    return f"95 %{of}: {signed(estimate.low)} to {signed(estimate.high)}"


def _value(ap: Compared) -> str:
    return MISSING if ap.ours.mean is None else f"{ap.ours.mean:.1f}"
