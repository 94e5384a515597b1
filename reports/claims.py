"""How verdicts on the paper's claims are shown: a table, what would decide them, and JSON's terms.

A claim is a block of the table: its sentence, the paper's number, ours with its interval, what that
says; under it its parts, where it has several.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from experiments.claim import RERUN_DEVIATION
from reports.render import Cell, Grid, Line, line
from reports.verdicts import Finding, Verdict

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


def claims_grid(verdicts: Sequence[Verdict]) -> Grid:
    """The verdicts of one setting as a table."""
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
        title=": ".join([TITLE, *(settings or [UNTRAINED])]),
        head=line("", "claim", "paper", "agrees", "ours", "verdict"),
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
