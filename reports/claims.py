"""What measured runs say about the paper's claims: supported, contradicted or undecided.

A part of a claim is supported when its whole 95 % interval lies in the claim's region. Whoever
looks at m quantities finds one outside its region by chance m times as often, so a part is
contradicted when all of a stricter interval, of 1 - 0.05 / m, lies outside. A claim is supported
when all its parts are, and contradicted when one of them is. All else is undecided: a difference
that is not significant proves no equality.

The regions are the paper's, with a tolerance; they hold for runs as in the paper. Elsewhere only
the sign of a difference is judged; what is said to be equal has the same tolerance there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb, inf
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from detector.config import DetectorConfig
from detector.metrics import HEADINGS
from experiments.claims import (
    CLAIMS,
    RERUN_DEVIATION,
    SMALLEST_AP_S,
    Claim,
    Equal,
    Margin,
    Place,
    Region,
    Spread,
    places,
)
from reports.measurements import Measurements, find_row, is_of_crowds
from reports.render import Cell, Grid, Line, line

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.intervals import Estimate

State = Literal["supported", "contradicted", "undecided"]
Costs = Mapping[DetectorConfig, tuple[int, int]]  # a network's parameters, and its operations

MISSING = "–"
GOOD_SEEDS = 3  # two tell a spread, but badly
# Detectors that hardly find anything are equal for that alone: one row of a part has to reach it.
LEAST_AP = 5.0
TOLERANCE = "the paper's tolerance in AP points"  # for what is equal, in every setup

TITLE, UNTRAINED = "The paper's claims", "what needs no training"
VERDICTS = (
    "Supported: the whole interval (95 %, over images and seeds) agrees. Contradicted: none of it "
    "does. Undecided: anything else."
)
MANY = (
    "Each verdict stands for itself: they are not corrected for being {number}, so of 20 "
    "differences that are none one would be taken for one."
)
PAPERS = (
    "Agrees: where a number of ours has to lie at the scale paper on COCO val2017; elsewhere only "
    "the sign of a difference is judged."
)
AS_IN_PAPER = "Judged by the paper's numbers, with a tolerance for reruns."
DIRECTIONS = (
    "Not trained as in the paper, whose numbers are of COCO val2017: only the sign of a difference "
    "is judged. What is said to be equal has the paper's tolerance in AP points."
)
ONE_SEED = "*"
OF_RERUNS = (
    f"{ONE_SEED}: one seed; the spread of published reruns stands in for that of the seeds "
    f"(standard deviation of a run: {RERUN_DEVIATION['ap']:g} in AP)."
)
OF_ONE_SEED = (
    f"{ONE_SEED}: one seed; over images alone, so of these trained weights, not of others."
)
NOT_JUDGED = "not judged"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is measured of one part of a claim; state None: shown, not judged.

    agrees: the region in which a number of ours has to lie here, in few letters.
    untrained: rows whose runs, or further seeds, would decide it; needs: what else would.
    """

    what: str = ""
    paper: str = ""
    agrees: str = ""
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


def judge_all(
    study: Measurements, claims: Sequence[Claim] = CLAIMS, costs: Costs | None = None
) -> list[Verdict]:
    """What a study says about each of these claims, as far as they belong to its scale."""
    return [judge(claim, study, costs) for claim in claims if study.has_scale_of(claim)]


def judge(claim: Claim, study: Measurements, costs: Costs | None = None) -> Verdict:
    """What a study, or for a claim about costs the networks built, say about a claim.

    Counts are judged by reports.positives: they have nothing to do with a study's runs.
    """
    match claim.evidence:
        case "counting":
            finding = Finding(paper=claim.paper, reason="nothing is counted yet")
            return _conclude(claim, [finding], ("atss positives",))
        case "building":
            equal = (part for part in claim.parts if isinstance(part, Equal))
            return _conclude(claim, [_compare_costs(part, costs or {}) for part in equal])
        case "training":
            trained = [part for part in claim.parts if not isinstance(part, Equal)]
            num_judged = sum(_region(part, study) is not None for part in trained)
            found = [_look_at(part, study, max(1, num_judged)) for part in trained]
            is_as_in_paper = study.are_as_in_paper(claim.tables)
            rows = (place for it in found if it.state == "undecided" for place in it.untrained)
            needs = study.commands(rows, 1 if is_as_in_paper else GOOD_SEEDS)
            verdict = _conclude(claim, found, needs)
            return replace(verdict, setting=study.name, is_as_in_paper=is_as_in_paper)


def _conclude(claim: Claim, findings: Sequence[Finding], needs: Sequence[str] = ()) -> Verdict:
    """All parts have to hold; one that does not is enough to contradict."""
    judged = [finding for finding in findings if finding.state is not None]
    states = {finding.state for finding in judged}
    state: State = "supported" if states == {"supported"} else "undecided"
    if "contradicted" in states:
        state = "contradicted"
    telling = [finding for finding in judged if finding.state == state]
    names = ", ".join(finding.what for finding in telling)
    if len(judged) == 1:
        reason = telling[0].reason
    elif state == "undecided":
        reason = f"open: {names}"
    else:
        reason = "all parts hold" if state == "supported" else f"against it: {names}"
        if any(TOLERANCE in finding.reason for finding in telling):
            reason += f", by {TOLERANCE}"
    wanted = [*needs, *(need for finding in telling for need in finding.needs)]
    return Verdict(
        claim=claim,
        state=state,
        reason=reason,
        findings=tuple(findings),
        needs=tuple(dict.fromkeys(wanted)) if state == "undecided" else (),
    )


def _region(part: Margin | Spread, study: Measurements) -> Region | None:
    """Which values agree with the paper, in the setup of the study; None: none is claimed."""
    if isinstance(part, Spread) or part.region is None or _has_papers_region(part, study):
        return part.region
    return part.region.direction


def _has_papers_region(part: Margin | Spread, study: Measurements) -> bool:
    """Where nothing is measured, the page says what the paper's regions are."""
    return not study.bundles or study.are_as_in_paper(place.table for place in places(part))


def _look_at(part: Margin | Spread, study: Measurements, num_judged: int) -> Finding:
    """One part of a claim about trained runs, of which so many are judged."""
    from reports.intervals import LEVEL

    rows, region = places(part), _region(part, study)
    sign = "" if isinstance(part, Spread) else "+"
    agrees = "" if region is None else region.sign
    finding = Finding(
        what=part.what,
        paper="" if part.paper is None else number(part.paper, sign),
        agrees=f"≤ {part.within:g}" if isinstance(part, Spread) else agrees,
        state=None if region is None else "undecided",
    )
    if missing := [place for place in rows if not study.results(place)]:
        listed = " and ".join(map(str, missing[:2])) + (" ..." if len(missing) > 2 else "")
        return replace(finding, reason=f"no result of {listed}", untrained=rows)
    if problem := _problem(part, study):
        mean = study.without_interval(part)
        ours = MISSING if mean is None else number(mean, sign)
        return replace(finding, ours=ours, reason=problem)
    strict_level = 1 - (1 - LEVEL) / (num_judged * comb(len(rows), 2))
    value, strict = study.estimate(part, LEVEL), study.estimate(part, strict_level)
    if value is None or strict is None:
        heading = HEADINGS[part.metric]
        reason = f"{heading} is undefined here, or there is no seed that all its rows have"
        return replace(finding, reason=reason)
    finding = replace(finding, ours=shown(value, sign), estimate=value)
    if region is None:
        return replace(finding, reason="not judged")
    if problem := _too_little(rows, study, value):
        return replace(finding, reason=problem, needs=("a longer training",))
    if value.seed_error is None:
        return replace(finding, reason="one seed, so other trainings may differ", untrained=rows)
    if part.metric == "ap_s" and abs(value.value) < SMALLEST_AP_S:
        reason = f"an AP_S difference below {SMALLEST_AP_S:g} is within what reruns differ by"
        return replace(finding, reason=reason)
    state = compare(region, value, strict)
    which = {"supported": "all", "contradicted": "none", "undecided": "only a part"}[state]
    reason = f"{which} of the interval is {region}"
    if isinstance(part, Spread) and not _has_papers_region(part, study):
        reason += f", {TOLERANCE}"
    if value.num_seeds == 1:
        reason += f" (one seed; reruns taken to differ by {RERUN_DEVIATION[part.metric]:g})"
    if state == "undecided":
        ends = replace(region, low=-inf) if isinstance(part, Spread) else region
        return replace(finding, reason=reason, needs=(power(value, ends, strict_level),))
    return replace(finding, state=state, reason=reason)


def _problem(part: Margin | Spread, study: Measurements) -> str:
    """Why there can be no interval."""
    rows, of_crowds = places(part), is_of_crowds(part)
    if len({study.runs(place) for place in rows}) < len(rows):
        return "rows that differ in the paper are one run in this setup"
    for place in rows:
        num_runs, num_known = len(study.results(place)), len(study.scores(place, of_crowds))
        if num_known < num_runs:
            without = f"{num_runs - num_known} of {num_runs} runs of {place}"
            return f"no interval: {without} have no match records"
    return ""


def _too_little(rows: Sequence[Place], study: Measurements, value: "Estimate") -> str:
    """Why equal numbers would say nothing of the rows, nor unequal ones."""
    best = max(fmean(it.metrics.ap or 0.0 for it in study.results(place)) for place in rows)
    if best < LEAST_AP:
        return f"the detectors have learnt too little to compare: AP {number(best)} at most"
    if value.image_error == 0 and not value.seed_error:
        return "the same number whatever the images and seeds: nothing to compare"
    return ""


def _compare_costs(part: Equal, costs: Costs) -> Finding:
    """Two networks: as many parameters and operations, exactly."""
    configs = [find_row(place).config for place in places(part)]
    found = [costs[config] for config in configs if config in costs]
    finding = Finding(what=part.what, paper="equal", agrees="equal")
    if len(found) < len(configs):
        return replace(finding, reason="not built yet", needs=("atss claims --count",))
    one, other = (
        f"{parameters:,} parameters, {operations / 1e9:,.2f} GFLOPs"
        for parameters, operations in found
    )
    if found[0] == found[1]:
        reason = "parameters and operations are the same numbers"
        return replace(finding, ours=f"{one}: equal", state="supported", reason=reason)
    reason = "parameters or operations differ"
    return replace(finding, ours=f"{one}, {other}", state="contradicted", reason=reason)


def compare(region: Region, loose: "Estimate", strict: "Estimate") -> State:
    """Supported when all of the loose interval lies in the region, contradicted when no part of
    the strict one does."""
    if _holds(region, loose.low) and _holds(region, loose.high):
        return "supported"
    is_below = strict.high < region.low or (region.is_open and strict.high == region.low)
    return "contradicted" if is_below or strict.low > region.high else "undecided"


def _holds(region: Region, value: float) -> bool:
    is_above = value > region.low if region.is_open else value >= region.low
    return is_above and value <= region.high


def power(estimate: "Estimate", region: Region, strict_level: float) -> str:
    """What more seeds or images have to bring about: how far from the nearest end of the region
    a value has to lie so that these would show it.

    Inside, the loose interval has to get clear of it, outside the strict one.
    """
    from reports.intervals import LEVEL, visible

    ends = [end for end in (region.low, region.high) if abs(end) != inf]
    nearest = min(ends, key=lambda end: abs(estimate.value - end))
    level = LEVEL if _holds(region, estimate.value) else strict_level
    value, end = number(estimate.value), number(nearest)
    if value == end:
        value, end = f"{estimate.value:.2f}", f"{nearest:.2f}"
    least = f"{visible(estimate, level):.1f}"
    return f"more seeds or images, to tell {value} from {end} (these show {least} or more)"


def shown(estimate: "Estimate", sign: str = "") -> str:
    """A value with its interval: "+3.9 (3.1 to 4.8)"."""
    return f"{number(estimate.value, sign)} ({number(estimate.low)} to {number(estimate.high)})"


def number(value: float, sign: str = "") -> str:
    """One decimal, with a minus as it is printed; sign "+" marks what is not negative."""
    rounded = round(value, 1) + 0.0  # no negative zero
    return f"{rounded:{sign}.1f}".replace("-", "−")


def claims_grid(verdicts: Sequence[Verdict], title: str = TITLE, papers: str = "paper") -> Grid:
    """The verdicts of one setting as a table; papers: whose numbers are beside ours."""
    settings = dict.fromkeys(verdict.setting for verdict in verdicts if verdict.setting)
    notes: list[str] = []
    is_measured = any(_is_measured(verdict) for verdict in verdicts)
    if not is_measured and any(verdict.claim.evidence == "training" for verdict in verdicts):
        notes.append(PAPERS)
    if is_measured:
        is_as_in_paper = any(verdict.is_as_in_paper for verdict in verdicts)
        notes += [VERDICTS, AS_IN_PAPER if is_as_in_paper else DIRECTIONS]
        notes += [MANY.format(number=len(verdicts))] if len(verdicts) > 1 else []
    alone = [finding.estimate for verdict in verdicts for finding in verdict.findings]
    spreads = {it.seed_error is None for it in alone if it is not None and it.num_seeds == 1}
    notes += [{True: OF_ONE_SEED, False: OF_RERUNS}[is_unknown] for is_unknown in sorted(spreads)]
    return Grid(
        name="claims",
        title=": ".join([title, *(settings or [UNTRAINED])]),
        head=line("", "claim", papers, "agrees", "ours", "verdict"),
        blocks=tuple(_block(verdict) for verdict in verdicts),
        notes=tuple(notes),
    )


def _is_measured(verdict: Verdict) -> bool:
    """Whether there is an interval to be judged."""
    return any(finding.estimate is not None for finding in verdict.findings)


def _block(verdict: Verdict) -> tuple[Line, ...]:
    claim, findings = verdict.claim, verdict.findings
    says = f"{claim.says} ({claim.where})"
    first, *others = findings
    if not others:
        return ((*line(claim.name, says), *_numbers(first, claim.paper), Cell(verdict.state)),)
    head = (*line(claim.name, says, claim.paper, "", ""), Cell(verdict.state))
    parts = (
        (*line("", f"· {finding.what}"), *_numbers(finding, ""), Cell(finding.state or NOT_JUDGED))
        for finding in findings
    )
    return (head, *parts)


def _numbers(finding: Finding, paper: str) -> Line:
    is_alone = finding.estimate is not None and finding.estimate.num_seeds == 1
    ours = Cell(finding.ours, "ours", mark=ONE_SEED if is_alone else "")
    return Cell(finding.paper or paper, "paper"), Cell(finding.agrees), ours


def deciding(verdicts: Sequence[Verdict]) -> list[str]:
    """What would decide the undecided: "H1, H3: atss reproduce table1 --rows 1,2"."""
    names: dict[str, list[str]] = {}
    for verdict in verdicts:
        for need in verdict.needs:
            names.setdefault(need, []).append(verdict.claim.name)
    return [f"{', '.join(found)}: {need}" for need, found in names.items()]


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict in JSON's terms, every number in full."""
    claim = verdict.claim
    return {
        "name": claim.name,
        "says": claim.says,
        "where": claim.where,
        "setting": verdict.setting,
        "paper": claim.paper,
        "verdict": verdict.state,
        "reason": verdict.reason,
        "parts": [
            {
                "what": finding.what,
                "paper": finding.paper,
                "agrees": finding.agrees,
                "ours": finding.ours,
                "estimate": asdict(finding.estimate) if finding.estimate else None,
                "verdict": finding.state,
                "reason": finding.reason,
            }
            for finding in verdict.findings
        ],
        "needs": list(verdict.needs),
    }
