"""What measured runs say about the paper's claims: supported, contradicted or undecided.

docs/claims.md says which claims there are, and by which rules they are judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb, inf
from statistics import fmean
from typing import Any, Literal

from detector.config import DetectorConfig
from detector.metrics import HEADINGS
from experiments.claims import (
    CLAIMS,
    RERUN_DEVIATION,
    SMALLEST_AP_S,
    Claim,
    Part,
    Place,
    Region,
    Spread,
    places,
)
from reports.intervals import LEVEL, Estimate
from reports.measurements import BY_NUMBER, Measurements, find_row, spread
from reports.numbers import MISSING
from reports.render import Cell, Grid, Line, line, notes

State = Literal["supported", "contradicted", "undecided"]
Cost = Callable[[DetectorConfig], tuple[int, int]]  # a network's parameters, and its operations

NOT_JUDGED = "not judged"
GOOD_SEEDS = 3  # two tell a spread, but badly
# Detectors that hardly find anything are equal for that alone: one row of a part has to reach it.
LEAST_AP = 5.0
TOLERANCE = "the paper's tolerance in AP points"  # for what is equal, in every setup
SHARES = {"supported": "all", "contradicted": "none", "undecided": "only a part"}
TOLD = ("what", "paper", "agrees", "ours", "estimate", "verdict", "reason")  # of a part, in JSON

TITLE, UNTRAINED = "The paper's claims", "what needs no training"


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
    estimate: Estimate | None = None
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


def judge_all(
    study: Measurements, claims: Sequence[Claim] = CLAIMS, cost: Cost | None = None
) -> list[Verdict]:
    """What a study says about each of these claims, as far as they belong to its scale.

    Table 8 has another one than the others; at scales that are none of the paper's all are trained.
    """
    is_own = study.scale not in {table.scale for table in BY_NUMBER.values()}
    return [
        judge(claim, study, cost)
        for claim in claims
        if is_own
        or claim.evidence != "training"
        or all(BY_NUMBER[number].scale == study.scale for number in claim.tables)
    ]


def judge(claim: Claim, study: Measurements, cost: Cost | None = None) -> Verdict:
    """What a study, or for a claim about costs the networks built, say about a claim.

    Counts are judged by reports.positives: they have nothing to do with a study's runs.
    """
    if claim.evidence == "counting":
        found = [Finding(paper=claim.paper, reason="nothing is counted yet")]
        return _conclude(claim, found, ["atss positives"])
    if claim.evidence == "building":
        return _conclude(claim, [_compare_costs(part, cost) for part in claim.parts])
    num_judged = sum(_region(part, study) is not None for part in claim.parts)
    found = [_look_at(part, study, max(1, num_judged)) for part in claim.parts]
    num_seeds = 1 if study.are_as_in_paper(claim.tables) else GOOD_SEEDS
    rows = (place for it in found if it.state == "undecided" for place in it.untrained)
    verdict = _conclude(claim, found, study.commands(rows, num_seeds))
    return replace(verdict, setting=study.name)


def _conclude(claim: Claim, findings: Sequence[Finding], needs: Sequence[str] = ()) -> Verdict:
    """All parts have to hold; one that does not is enough to contradict."""
    judged = [finding for finding in findings if finding.state]
    states = {finding.state for finding in judged}
    state: State = "supported" if states == {"supported"} else "undecided"
    if "contradicted" in states:
        state = "contradicted"
    telling = [finding for finding in judged if finding.state == state]
    names = ", ".join(finding.what for finding in telling)
    told = {"undecided": f"open: {names}", "contradicted": f"against it: {names}"}
    reason = told.get(state, "all parts hold")
    if len(judged) == 1:
        reason = telling[0].reason
    elif state != "undecided" and any(TOLERANCE in finding.reason for finding in telling):
        reason += f", by {TOLERANCE}"
    wanted = dict.fromkeys([*needs, *(need for finding in telling for need in finding.needs)])
    return Verdict(
        claim=claim,
        state=state,
        reason=reason,
        findings=tuple(findings),
        needs=tuple(wanted) if state == "undecided" else (),
    )


def _region(part: Part, study: Measurements) -> Region | None:
    """Which values agree with the paper here; None if none is claimed."""
    tables = [place.table for place in places(part)]
    is_papers = not study.bundles or study.are_as_in_paper(tables)
    if part.region is None or is_papers or isinstance(part, Spread):
        return part.region
    return part.region.direction


def _look_at(part: Part, study: Measurements, num_judged: int) -> Finding:
    """One part of a claim about trained runs, of which so many are judged."""
    rows, is_spread, region = places(part), isinstance(part, Spread), _region(part, study)
    sign = "" if is_spread else "+"
    agrees = replace(region, low=-inf) if region and is_spread else region
    finding = Finding(
        what=part.what,
        paper="" if part.paper is None else number(part.paper, sign),
        agrees=agrees.sign if agrees else "",
        state=None if region is None else "undecided",
    )
    if missing := [place for place in rows if not study.row(place).results]:
        listed = " and ".join(map(str, missing[:2])) + (" ..." if len(missing) > 2 else "")
        return replace(finding, untrained=rows, reason=f"no result of {listed}")
    if problem := _without_interval(part, study):
        return replace(finding, reason=problem)
    pairs, num_looks = study.estimates(part), num_judged * comb(len(rows), 2)
    level = 1 - (1 - LEVEL) / num_looks
    if not pairs:
        undefined = f"{HEADINGS[part.metric]} is undefined here"
        reason = f"{undefined}, or there is no seed that all its rows have"
        return replace(finding, reason=reason)
    value, strict = pairs[0], pairs[0].at(level)
    if is_spread:
        value, strict = spread(pairs), spread([pair.at(level) for pair in pairs])
    ours, low, high = number(value.value, sign), number(value.low), number(value.high)
    finding = replace(finding, ours=f"{ours} ({low} to {high})", estimate=value)
    if region is None or agrees is None:
        return replace(finding, reason=NOT_JUDGED)
    best = max(fmean(it.metrics.ap or 0.0 for it in study.row(place).results) for place in rows)
    if best < LEAST_AP:
        reason = f"the detectors have learnt too little to compare: AP {number(best)} at most"
        return replace(finding, reason=reason, needs=("a longer training",))
    if value.seed_error is None:
        return replace(finding, reason="one seed, so other trainings may differ", untrained=rows)
    if part.metric == "ap_s" and abs(value.value) < SMALLEST_AP_S:
        reason = f"an AP_S difference below {SMALLEST_AP_S:g} is within what reruns differ by"
        return replace(finding, reason=reason)
    state = compare(region, value, strict)
    reason = f"{SHARES[state]} of the interval is {region}"
    if state == "undecided" and compare(region, value, value) == "contradicted":
        reason = f"a part of the interval that allows for {num_looks} comparisons is {region}"
    if is_spread and not study.are_as_in_paper(place.table for place in rows):
        reason += f", {TOLERANCE}"
    if value.num_seeds == 1:
        reason += f" (one seed; reruns taken to differ by {RERUN_DEVIATION[part.metric]:g})"
    needs = (power(value, agrees, level),) if state == "undecided" else ()
    return replace(finding, state=state, reason=reason, needs=needs)


def _without_interval(part: Part, study: Measurements) -> str:
    """Why there can be no interval."""
    if len({study.row(place).signatures for place in places(part)}) < len(places(part)):
        return "rows that differ in the paper are one run in this setup"
    for place in places(part):
        row = study.row(place, of_crowds=part.of_crowds)
        if num_unknown := sum(run.signature not in row.drawn for run in row.results):
            without = f"{num_unknown} of {len(row.results)} runs of {place}"
            return f"no interval: {without} have no match records"
    return ""


def _compare_costs(part: Part, cost: Cost | None) -> Finding:
    """Two networks: as many parameters and operations, exactly."""
    finding = Finding(what=part.what, paper="equal", agrees="equal")
    if cost is None:
        return replace(finding, reason="not built yet", needs=("atss claims --count",))
    found = [cost(find_row(place).config) for place in places(part)]
    one, other = (f"{it[0]:,} parameters, {it[1] / 1e9:,.2f} GFLOPs" for it in found)
    if found[0] == found[1]:
        reason = "parameters and operations are the same numbers"
        return replace(finding, ours=f"{one}: equal", state="supported", reason=reason)
    reason = "parameters or operations differ"
    return replace(finding, ours=f"{one}, {other}", state="contradicted", reason=reason)


def compare(region: Region, loose: Estimate, strict: Estimate) -> State:
    """Supported when all of the loose interval lies in the region, contradicted when no part of
    the strict one does."""
    if _holds(region, loose.low) and _holds(region, loose.high):
        return "supported"
    is_below = strict.high < region.low or (region.is_open and strict.high == region.low)
    return "contradicted" if is_below or strict.low > region.high else "undecided"


def _holds(region: Region, value: float) -> bool:
    is_above = value > region.low if region.is_open else value >= region.low
    return is_above and value <= region.high


def power(estimate: Estimate, region: Region, strict_level: float) -> str:
    """What more seeds or images have to bring about: how far from the nearest end of the region a
    value has to lie so that these would show it, inside by the loose interval, else the strict one.
    """
    ends = (end for end in (region.low, region.high) if abs(end) != inf)
    nearest = min(ends, key=lambda end: abs(estimate.value - end))
    is_inside = _holds(region, estimate.value)
    least = estimate.visible() if is_inside else estimate.visible(strict_level)
    value, end = number(estimate.value), number(nearest)
    if value == end:
        value, end = f"{estimate.value:.2f}", f"{nearest:.2f}"
    return f"more seeds or images, to tell {value} from {end} (these show {least:.1f} or more)"


def number(value: float, sign: str = "") -> str:
    """One decimal, with a minus as it is printed; sign "+" marks what is not negative."""
    return f"{value:{sign}z.1f}".replace("-", "−")


def claims_grid(verdicts: Sequence[Verdict], title: str = TITLE, papers: str = "paper") -> Grid:
    """The verdicts of one setting as a table; papers: whose numbers are beside ours."""
    setting = next((verdict.setting for verdict in verdicts if verdict.setting), UNTRAINED)
    is_trained = any(it.claim.evidence == "training" for it in verdicts)
    is_alone = any(_is_alone(part) for verdict in verdicts for part in verdict.findings)
    told = {"tolerance": TOLERANCE, "rerun": RERUN_DEVIATION["ap"]}
    return Grid(
        name="claims",
        title=f"{title}: {setting}",
        head=line("", "claim", papers, "agrees", "ours", "verdict"),
        blocks=tuple(map(_block, verdicts)),
        notes=tuple(notes("claims", is_trained, is_alone, **told)),
    )


def _block(verdict: Verdict) -> tuple[Line, ...]:
    """A claim's line; of several parts each has one below it."""
    claim, findings = verdict.claim, verdict.findings
    says = claim.name, f"{claim.says} ({claim.where})"
    if len(findings) == 1:
        return (_line(*says, findings[0], claim.paper, verdict.state),)
    parts = (_line("", f"· {it.what}", it, "", it.state or NOT_JUDGED) for it in findings)
    return (line(*says, claim.paper, "", "", verdict.state), *parts)


def _line(name: str, says: str, found: Finding, paper: str, state: str) -> Line:
    ours = Cell(found.ours, "ours", mark="*" if _is_alone(found) else "")
    numbers = Cell(found.paper or paper, "paper"), Cell(found.agrees), ours
    return *line(name, says), *numbers, Cell(state)


def _is_alone(finding: Finding) -> bool:
    return finding.estimate is not None and finding.estimate.num_seeds == 1


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
    parts = [asdict(finding) | {"verdict": finding.state} for finding in verdict.findings]
    return {name: getattr(claim, name) for name in ("name", "says", "where")} | {
        "setting": verdict.setting,
        "paper": claim.paper,
        "verdict": verdict.state,
        "reason": verdict.reason,
        "parts": [{name: part[name] for name in TOLD} for part in parts],
        "needs": list(verdict.needs),
    }
