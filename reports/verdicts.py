"""What measured runs say about a claim of the paper: supported, contradicted or undecided.

A part of a claim is supported when its whole 95 % interval lies in the claim's region, and
contradicted when all of the stricter one of reports.evidence lies outside. A claim is supported
when all its parts are, and contradicted when one of them is. All else is undecided: a difference
that is not significant proves no equality.

The regions are the paper's, with a tolerance; they hold for runs as in the paper. Elsewhere only
the sign of a difference is judged; what is said to be equal has the same tolerance there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import TYPE_CHECKING

from detector.config import DetectorConfig
from detector.metrics import HEADINGS
from experiments.claim import (
    RERUN_DEVIATION,
    SMALLEST_AP_S,
    Claim,
    Difference,
    Equal,
    Place,
    Region,
    Spread,
    places,
)
from experiments.claims import CLAIMS
from experiments.experiment import Table
from reports.evidence import (
    MISSING,
    Interval,
    State,
    compare,
    estimates,
    number,
    power,
    shown,
    without_interval,
)
from reports.study import Study, find_row

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.statistics import Estimate

GOOD_SEEDS = 3  # two tell a spread, but badly
# Detectors that hardly find anything are equal for that alone: one row of a part has to reach it.
LEAST_AP = 5.0
PAPERS = "the paper's tolerance in AP points"  # for what is equal, in every setup


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is measured of one part of a claim; state None: shown, not judged.

    agrees: the region in which a number of ours has to lie here, in few letters; whose: whose it
    is, where it is not of this setup.
    untrained: rows whose runs, or further seeds, would decide it; needs: what else would.
    """

    what: str = ""
    paper: str = ""
    agrees: str = ""
    whose: str = ""
    ours: str = MISSING
    state: State | None = "undecided"
    reason: str = ""
    estimate: "Estimate | None" = None
    untrained: tuple[Place, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, what is measured of it, and what that says; needs: what would decide it.

    setting: scale and data, or what else was looked at.
    """

    claim: Claim
    state: State
    reason: str  # in one line
    findings: tuple[Finding, ...]
    needs: tuple[str, ...] = ()
    setting: str = ""
    is_as_in_paper: bool = False

    @property
    def ours(self) -> tuple[str, ...]:
        """What was measured, part by part."""
        return tuple(finding.ours for finding in self.findings)


@dataclass(frozen=True)
class Cost:
    """What a network costs: its parameters, and the operations of one forward pass."""

    parameters: int
    operations: int


Costs = Mapping[DetectorConfig, Cost]


def judge_all(study: Study, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """What a study says about each of these claims, as far as they belong to its scale."""
    return [judge(claim, study) for claim in claims if study.has_scale_of(claim)]


def concerning(verdicts: Sequence[Verdict], table: Table) -> list[Verdict]:
    """Those that are about rows of this table of the paper."""
    return [verdict for verdict in verdicts if table.number in verdict.claim.tables]


def judge(claim: Claim, study: Study, costs: Costs | None = None) -> Verdict:
    """What a study, or for a claim about costs the networks built, say about a claim.

    Counts are judged by reports.positives.fairness: they have nothing to do with a study's runs.
    """
    match claim.evidence:
        case "counting":
            needs = ("atss positives",)
            finding = Finding(paper=claim.paper, reason="nothing is counted yet", needs=needs)
            return conclude(claim, [finding])
        case "building":
            equal = (part for part in claim.parts if isinstance(part, Equal))
            return conclude(claim, [_compare_costs(part, costs or {}) for part in equal])
        case "training":
            trained = [part for part in claim.parts if not isinstance(part, Equal)]
            num_judged = sum(_region(part, study) is not None for part in trained)
            found = [_look_at(part, study, max(1, num_judged)) for part in trained]
            judged = conclude(claim, found, study)
            is_as_in_paper = study.are_as_in_paper(claim.tables)
            return replace(judged, setting=study.name, is_as_in_paper=is_as_in_paper)


def conclude(claim: Claim, findings: Sequence[Finding], study: Study | None = None) -> Verdict:
    """All parts have to hold; one that does not is enough to contradict."""
    judged = [finding for finding in findings if finding.state is not None]
    states = {finding.state for finding in judged}
    state: State = "undecided"
    if "contradicted" in states:
        state = "contradicted"
    elif states == {"supported"}:
        state = "supported"
    telling = [finding for finding in judged if finding.state == state]
    reason = "; ".join(dict.fromkeys(finding.reason for finding in telling))
    if len(judged) > 1:
        reason = "all parts hold"
        if state != "supported":
            against = {"contradicted": "against it", "undecided": "open"}[state]
            reason = f"{against}: {', '.join(finding.what for finding in telling)}"
        if state != "undecided":
            whose = dict.fromkeys(f"by {it.whose}" for it in telling if it.whose)
            reason = ", ".join([reason, *whose])
    needs: list[str] = []
    if state == "undecided":
        rows = [place for finding in telling for place in finding.untrained]
        num_seeds = 1 if study and study.are_as_in_paper(claim.tables) else GOOD_SEEDS
        needs += study.lines(rows, num_seeds) if study else ()
        needs += [text for finding in telling for text in finding.needs]
    return Verdict(
        claim=claim,
        state=state,
        reason=reason,
        findings=tuple(findings),
        needs=tuple(dict.fromkeys(needs)),
    )


def _region(part: Difference | Spread, study: Study) -> Region | None:
    """Which values agree with the paper, in the setup of the study; None: none is claimed.

    Where nothing is measured, they are the paper's.
    """
    if isinstance(part, Spread) or part.region is None or _has_papers_region(part, study):
        return part.region
    return part.region.direction


def _has_papers_region(part: Difference | Spread, study: Study) -> bool:
    return not study.bundles or study.are_as_in_paper(place.table for place in places(part))


def _look_at(part: Difference | Spread, study: Study, num_judged: int) -> Finding:
    """One part of a claim about trained runs, of which so many are judged."""
    sign = "+" if isinstance(part, Difference) else ""
    region = _region(part, study)
    finding = Finding(
        what=part.what,
        paper=number(part.paper, sign),
        agrees=_agrees(part, region),
        whose=PAPERS if isinstance(part, Spread) and not _has_papers_region(part, study) else "",
        state=None if region is None else "undecided",
    )
    if missing := tuple(place for place in places(part) if not study.results(place)):
        listed = " and ".join(map(str, missing[:2])) + (" ..." if len(missing) > 2 else "")
        return replace(finding, reason=f"no result of {listed}", untrained=places(part))
    if problem := _problem(part, study):
        return replace(finding, ours=without_interval(part, study), reason=problem)
    found = estimates(part, study, num_judged)
    if found is None:
        heading = HEADINGS[part.metric]
        reason = f"{heading} is undefined here, or there is no seed that all its rows have"
        return replace(finding, reason=reason)
    value = found.loose
    finding = replace(finding, ours=shown(value, sign), estimate=value)
    if region is None:
        return replace(finding, reason="not judged")
    if problem := _too_little(part, study, value):
        return replace(finding, reason=problem, needs=("a longer training",))
    if value.seed_error is None:
        reason = "one seed, so other trainings may differ"
        return replace(finding, reason=reason, untrained=places(part))
    return _judge_part(part, finding, region, found)


def _agrees(part: Difference | Spread, region: Region | None) -> str:
    if isinstance(part, Spread):
        return f"≤ {part.within:g}"
    return "" if region is None else region.sign


def _problem(part: Difference | Spread, study: Study) -> str:
    """Why there can be no interval."""
    runs = {place: study.runs(place) for place in places(part)}
    if len(set(runs.values())) < len(runs):
        return "rows that differ in the paper are one run in this setup"
    for place in runs:
        num_runs, num_known = len(study.results(place)), len(study.scores(place))
        if num_known < num_runs:
            without = f"{num_runs - num_known} of {num_runs} runs of {place}"
            return f"no interval: {without} have no match records"
    return ""


def _too_little(part: Difference | Spread, study: Study, value: "Estimate") -> str:
    """Why equal numbers would say nothing of the rows, nor unequal ones."""
    rows = [study.results(place) for place in places(part)]
    best = max(fmean(result.metrics.ap or 0.0 for result in row) for row in rows)
    if best < LEAST_AP:
        return f"the detectors have learnt too little to compare: AP {number(best)} at most"
    if value.image_error == 0 and not value.seed_error:
        return "the same number whatever the images and seeds: nothing to compare"
    return ""


def _judge_part(
    part: Difference | Spread, finding: Finding, region: Region, found: Interval
) -> Finding:
    """A part with an interval that knows of the seeds, and a region."""
    value = found.loose
    if part.metric == "ap_s" and abs(value.value) < SMALLEST_AP_S:
        reason = f"an AP_S difference below {SMALLEST_AP_S:g} is within what reruns differ by"
        return replace(finding, reason=reason)
    where = f"{region}, {finding.whose}" if finding.whose else f"{region}"
    if value.num_seeds == 1:
        where += f" (one seed; reruns taken to differ by {RERUN_DEVIATION[part.metric]:g})"
    state = compare(region, found)
    if state == "undecided":
        ends = replace(region, low=-inf) if isinstance(part, Spread) else region
        reason = f"only a part of the interval is {where}"
        return replace(finding, reason=reason, needs=(power(found, ends),))
    which = "all" if state == "supported" else "none"
    return replace(finding, state=state, reason=f"{which} of the interval is {where}")


def _compare_costs(part: Equal, costs: Costs) -> Finding:
    """Two networks: as many parameters and operations, exactly."""
    rows = [find_row(place) for place in (part.one, part.other)]
    found = [costs[row.config] for row in rows if row is not None and row.config in costs]
    finding = Finding(what=part.what, paper="equal", agrees="equal")
    if len(found) < len(rows):
        return replace(finding, reason="not built yet", needs=("atss claims --count",))
    one, other = (
        f"{it.parameters:,} parameters, {it.operations / 1e9:,.2f} GFLOPs" for it in found
    )
    if found[0] == found[1]:
        reason = "parameters and operations are the same numbers"
        return replace(finding, ours=f"{one}: equal", state="supported", reason=reason)
    reason = "parameters or operations differ"
    return replace(finding, ours=f"{one}, {other}", state="contradicted", reason=reason)
