"""What a row changes against the table's reference row: what may hold at any scale is a direction.

gains_grid     AP of every row and its change, the paper's and ours, with intervals and errors
changes_grid   the same change in every metric that the table prints
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.metrics import HEADINGS
from reports.differing import differing
from reports.numbers import (
    MISSING,
    ComparedRow,
    Comparison,
    has_intervals,
    interval,
    least_shown,
    level,
    number,
    signed,
    signed_interval,
    spread,
)
from reports.render import Cell, Grid, Line, line

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.intervals import Estimate

COUNTS, COUNTS_FOR_THESE = "*", "(*)"  # marks of a change whose interval excludes zero


def gains_grid(comparison: Comparison) -> Grid:
    """AP of every row, and what it changes against the reference row: the paper's and ours."""
    columns = _Columns(comparison)
    return Grid(
        name=f"{comparison.table.name}-gains",
        title=f"AP (%), and its change against “{comparison.reference.row.label}”",
        over=columns.over,
        head=columns.head,
        blocks=(tuple(columns.line(row) for row in comparison.rows),),
        notes=(
            *_notes(comparison, ["ap"]),
            "n: seeds of a row.",
            *_power(comparison),
            *differing(comparison).notes,
        ),
    )


@dataclass(frozen=True)
class _Columns:
    """Which columns there are: the paper's only if it has numbers, errors only of several seeds."""

    comparison: Comparison

    @property
    def over(self) -> Line:
        """What several columns have in common."""
        of_ap, of_change = (Cell(text, span=len(self._whose)) for text in ("AP", "change"))
        errors = (Cell("error from", span=2),) if self._has_errors else ()
        return (Cell(), of_ap, of_change, *errors, Cell())

    @property
    def head(self) -> Line:
        """Whose number it is; of the errors, which source."""
        errors = ("images", "seeds") if self._has_errors else ()
        return line("Run", *self._whose, *self._whose, *errors, "n")

    def line(self, row: ComparedRow) -> Line:
        """A row's AP, and what it changes unless it is the reference."""
        ap, change = row.ap, row.differences.get("ap")
        is_reference = row is self.comparison.reference
        letter = differing(self.comparison).letters.get(row.row.label, "") if ap.ours.n else ""
        paper = ["" if ap.paper is None else number(ap.paper)]
        paper_gain = ["" if is_reference or ap.paper_gain is None else signed(ap.paper_gain)]
        has_paper = self.comparison.table.has_paper
        return (
            Cell(row.row.label),
            *(Cell(text, "paper") for text in paper * has_paper),
            Cell(number(ap.ours.mean) if row.estimates else spread(ap.ours), "ours", mark=letter),
            *self._interval(interval(row.estimates.get("ap"))),
            *(Cell(text, "paper") for text in paper_gain * has_paper),
            Cell() if is_reference else _change(row, "ap"),
            *self._interval("" if is_reference else signed_interval(change)),
            *(self._errors(None if is_reference else change, is_reference)),
            Cell(f"{ap.ours.n}"),
        )

    @property
    def _whose(self) -> tuple[str, ...]:
        paper = ("paper",) if self.comparison.table.has_paper else ()
        return (*paper, "ours", *([level()] if has_intervals(self.comparison) else []))

    @property
    def _has_errors(self) -> bool:
        changes = (row.differences.get("ap") for row in self.comparison.rows)
        return any(change is not None and change.seed_error is not None for change in changes)

    def _interval(self, text: str) -> list[Cell]:
        return [Cell(text, "interval")] if has_intervals(self.comparison) else []

    def _errors(self, change: "Estimate | None", is_reference: bool) -> list[Cell]:
        """Standard errors of the change, from both samples."""
        if not self._has_errors:
            return []
        if change is None:
            return [Cell("" if is_reference else MISSING, "interval")] * 2
        errors = (change.image_error, change.seed_error)
        return [Cell(MISSING if e is None else f"{e:.2f}", "interval") for e in errors]


def changes_grid(comparison: Comparison) -> tuple[Grid, ...]:
    """What each row changes in all metrics of the table; nothing where AP is the only one."""
    metrics, rows = comparison.table.metrics, [*comparison.rows]
    rows.remove(comparison.reference)
    if len(metrics) < 2 or not rows:
        return ()
    has_paper, has_estimates = comparison.table.has_paper, has_intervals(comparison)
    whose = ("",) if has_paper or has_estimates else ()
    grid = Grid(
        name=f"{comparison.table.name}-changes",
        title=f"Changes against “{comparison.reference.row.label}” (AP points)",
        head=line("Run", *whose, *(HEADINGS[name] for name in metrics)),
        blocks=tuple(_changes(row, metrics, has_paper, has_estimates) for row in rows),
        notes=_notes(comparison, metrics),
    )
    return (grid,)


def _changes(
    row: ComparedRow, metrics: Sequence[str], has_paper: bool, has_estimates: bool
) -> tuple[Line, ...]:
    """The paper's changes, ours, their intervals."""
    papers = [row.metrics[name].paper_gain for name in metrics]
    lines: dict[str, list[Cell]] = {}
    if has_paper:
        lines["paper"] = [Cell("" if gain is None else signed(gain), "paper") for gain in papers]
    lines["ours"] = [_change(row, name) for name in metrics]
    if has_estimates:
        lines[level()] = [
            Cell(signed_interval(row.differences.get(name)), "interval") for name in metrics
        ]
    return tuple(
        (
            Cell("" if i else row.row.label),
            *([Cell(whose, cells[0].kind)] if has_paper or has_estimates else []),
            *cells,
        )
        for i, (whose, cells) in enumerate(lines.items())
    )


def _change(row: ComparedRow, name: str) -> Cell:
    """Our change, with its mark; with the spread between seeds where there is no interval."""
    gain, estimate = row.metrics[name].gain, row.differences.get(name)
    if estimate is None:
        return Cell(signed(gain.mean) + ("" if gain.std is None else f" ±{gain.std:.1f}"), "ours")
    return Cell(signed(estimate.value), "ours", mark=_mark(estimate))


def _mark(estimate: "Estimate") -> str:
    if not estimate.excludes_zero:
        return ""
    return COUNTS_FOR_THESE if estimate.seed_error is None else COUNTS


def _notes(comparison: Comparison, metrics: Sequence[str]) -> tuple[str, ...]:
    """What the numbers are, and what the marks mean."""
    found = [row.differences.get(name) for row in comparison.rows for name in metrics]
    changes = [change for change in found if change is not None]
    if not changes:
        return (
            "Changes of ours are of the seeds that both rows have. ±: standard deviation of one "
            "seed's change, the two trainings of which are independent.",
        )
    notes = ["Changes of ours are paired by image, and of the seeds that both rows have."]
    marks = {_mark(change) for change in changes}
    if any(change.seed_error is not None for change in changes):
        notes.append(
            f"{COUNTS}: the {level()} interval, of the images and of the seeds together, excludes "
            "zero."
        )
    if any(change.seed_error is None for change in changes):
        notes.append(
            f"{COUNTS_FOR_THESE}: the {level()} interval excludes zero for these trained weights. "
            "With one seed it is of the images alone: what training again would change is not in "
            "it, so it decides nothing about the configurations."
        )
    if marks - {""} and len(changes) > 1:
        notes.append(
            f"Each of the {len(changes)} intervals stands for itself: of 20 changes that are none, "
            "one would be marked by chance."
        )
    return tuple(notes)


def _power(comparison: Comparison) -> list[str]:
    """How large a change these seeds and images would show, where one is not shown."""
    unclear = {
        row.row.label: change
        for row in comparison.rows
        if (change := row.differences.get("ap")) and not change.excludes_zero
    }
    if not unclear:
        return []
    listed = "; ".join(f"“{label}” {least_shown(change)}" for label, change in unclear.items())
    return [
        f"Not told apart from “{comparison.reference.row.label}”, and the smallest change that "
        f"these seeds and images would have shown in 4 cases of 5: {listed}."
    ]
