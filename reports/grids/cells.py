"""What a printed table is: cells, lines, blocks, notes; how it is written down is grid's matter."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["", "paper", "ours", "interval", "difference"]
Rank = Literal["", "best", "tied"]  # tied: not told apart from the best
Side = Literal["left", "right"]

BREAK = "\u200b"  # where a long number may be broken: after the dash of an interval
PAD = "\u2007"  # as wide as a digit
NUMBER = re.compile(rf"[-+−±–†✓\d.,%/ ()≈{BREAK}{PAD}]|to")


@dataclass(frozen=True)
class Cell:
    """One cell: plain text, how many columns it covers, whose number it is and how it stands."""

    text: str = ""
    kind: Kind = ""
    span: int = 1
    rank: Rank = ""  # among the numbers that it is compared with
    mark: str = ""  # raised behind it: a footnote's letter, or the sign of a difference that counts


Line = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table to be printed: a head, blocks of lines with a rule between, notes below.

    over: a line above the head, whose texts each stand over as many columns as they cover. Notes
    may say {best} and {tied}: each writer puts in how it shows a rank.
    """

    name: str  # for references to it, such as "table1"
    title: str
    head: Line
    blocks: tuple[tuple[Line, ...], ...]
    notes: tuple[str, ...] = ()
    over: Line = ()

    @property
    def width(self) -> int:
        """Columns."""
        return sum(cell.span for cell in self.head)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """To which side each column is set: numbers to the right, so that their points align."""
        is_number = [True] * self.width
        for cells in (cells for block in self.blocks for cells in block):
            for i, cell in starts(cells):
                if cell.span == 1 and NUMBER.sub("", cell.text):
                    is_number[i] = False
        is_number[0] = False  # the names of the lines, even where they are numbers
        return tuple("right" if is_one else "left" for is_one in is_number)

    def notes_with(self, *, best: str, tied: str) -> list[str]:
        """The notes, with a writer's words for what a rank looks like."""
        return [note.replace("{best}", best).replace("{tied}", tied) for note in self.notes]


def line(*texts: str) -> Line:
    """A line of plain cells."""
    return tuple(Cell(text) for text in texts)


def starts(cells: Line) -> list[tuple[int, Cell]]:
    """Each cell with the index of its first column."""
    found, i = [], 0
    for cell in cells:
        found.append((i, cell))
        i += cell.span
    return found


def over_each_column(cells: Line) -> list[Cell]:
    """One cell per column: a wide one stands in its first, empty ones follow."""
    return [one for cell in cells for one in [cell] + [Cell(kind=cell.kind)] * (cell.span - 1)]
