"""What a verification found, as tables: every cell with a mark, and below them why one fails."""

from collections.abc import Sequence

from detector.metrics import HEADINGS
from experiments.claim import Evidence
from experiments.claims import CLAIMS
from reports.grids.cells import Cell, Grid, line
from reports.numbers import MISSING, number
from reports.sealed.archive import Problem
from reports.sealed.verification import CheckedCell, CheckedTable, Verification

STANDS, FAILS = "✓", "✗"
ABSENT: dict[Evidence, str] = {
    "training": "none of their tables is sealed here",
    "counting": "about assignments, not runs: atss positives counts them",
    "building": "about sizes, not runs: atss claims --count builds and counts",
}
NO_RESULT = f"{MISSING}: no result, so nothing to check."


def cells_grid(table: CheckedTable) -> Grid | None:
    """A table's cells; None for one that could not be read."""
    if table.bundle is None:
        return None
    shown = table.bundle.table
    reasons = _Reasons()
    cells = {(cell.row, cell.metric): cell for cell in table.cells}
    lines = tuple(
        (
            Cell(row.label),
            *(_cell(cells[row.label, metric], reasons) for metric in shown.metrics),
        )
        for row in shown.rows
    )
    is_empty = any(cell.value is None for cell in table.cells)
    return Grid(
        name=shown.name,
        title=f"{shown.heading} ({table.where})",
        head=line("Run", *(HEADINGS[metric] for metric in shown.metrics)),
        blocks=(lines,),
        notes=(*reasons.notes, *([NO_RESULT] if is_empty else [])),
    )


class _Reasons:
    """Numbers for the problems of a table, in the order in which its cells name them."""

    def __init__(self) -> None:
        self.numbers: dict[Problem, int] = {}

    def of(self, problems: Sequence[Problem]) -> str:
        """ "1,3"."""
        found = [self.numbers.setdefault(it, len(self.numbers) + 1) for it in problems]
        return ",".join(map(str, found))

    @property
    def notes(self) -> list[str]:
        """Each number with what it stands for."""
        return [f"{FAILS}{number} {problem}" for problem, number in self.numbers.items()]


def _cell(cell: CheckedCell, reasons: _Reasons) -> Cell:
    if cell.value is None and cell.stands:
        return Cell(MISSING)
    mark = STANDS if cell.stands else FAILS + reasons.of(cell.problems)
    return Cell(f"{number(cell.value)} {mark}")


def claims_lines(found: Verification) -> list[str]:
    """The verdicts of each setup in a line, and those that do not stand each in its own."""
    lines = []
    for setup in dict.fromkeys(claim.setup for claim in found.claims):
        mine = [claim for claim in found.claims if claim.setup == setup]
        told = ", ".join(
            f"{claim.name} {claim.state} {FAILS if claim.problems else STANDS}" for claim in mine
        )
        lines.append(f"Claims, {setup}: {told}")
        lines += [
            f"  {claim.name} {FAILS} {problem}"
            for claim in mine
            for problem in claim.problems
            if problem.part == claim.name
        ]
    return lines


def absent_claims(found: Verification) -> list[str]:
    """The paper's claims that the archive says nothing of, and why, in a line."""
    reasons: dict[str, list[str]] = {}
    for claim in CLAIMS:
        if claim.name not in {one.name for one in found.claims}:
            reasons.setdefault(ABSENT[claim.evidence], []).append(claim.name)
    told = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return [f"Claims not in it: {told}"] if told else []


def others(found: Verification) -> list[Problem]:
    """What is wrong beside cells and claims: the manifest, printed pages, members without use."""
    told = {problem for table in found.tables for cell in table.cells for problem in cell.problems}
    told |= {problem for claim in found.claims for problem in claim.problems}
    return [problem for problem in found.problems if problem not in told]


def conclusions(found: Verification) -> list[str]:
    """What does not stand, in a line; nothing where all does."""
    cells = [cell for table in found.tables for cell in table.cells]
    counts = {
        "cell": (len(found.cells), sum(not cell.stands for cell in cells)),
        "claim": (len(found.claims), sum(bool(claim.problems) for claim in found.claims)),
    }
    wrong = [f"{bad} of {all_} {noun}s" for noun, (all_, bad) in counts.items() if bad]
    if not wrong and found.problems:
        return [f"not as it was sealed: {found.problems[0]}"]
    return [f"{' and '.join(wrong)} do not stand"] if wrong else []
