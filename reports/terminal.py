"""A printed table in a terminal, in whatever width that has.

What is too wide is made narrower in this order: intervals take two lines, columns move together,
names of lines are wrapped, and what is left over becomes a table of its own with the names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from textwrap import wrap
from typing import Any

from rich.box import HORIZONTALS
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from reports.render import BREAK, NUMBER, Cell, Grid, Rank, over_each_column

SIGNS: dict[Rank, str] = {"": "", "best": "●", "tied": "○"}  # seen without bold letters too
STYLES: dict[str, str] = {"best": "bold", "tied": "underline", "interval": "dim",
                          "difference": "dim"}  # fmt: skip
NAME = 8  # letters that a name keeps at least
LONGEST_LINE = 100  # letters of a title or a note that the eye finds its way back from


@dataclass(frozen=True)
class Terminal:
    """For rich's console: title, table, notes, wrapped to its width."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, LONGEST_LINE)
        yield from (Text(text, style="bold") for text in wrap(self.grid.title, width))
        yield from _fitting(self.grid, console, options)
        for note in self.grid.notes_with(best=f"{SIGNS['best']} bold", tied=SIGNS["tied"]):
            yield from map(Text, wrap(note, width))


def terminal(grid: Grid) -> Terminal:
    """For rich's console, which tells how wide it is."""
    return Terminal(grid)


def _fitting(grid: Grid, console: Console, options: ConsoleOptions) -> Iterator[Table]:
    """Where the whole is too wide, intervals take two lines; then columns become tables apart."""
    columns = list(range(grid.width))
    words = [i for i in columns[:-1] if grid.sides[i] == "left" and "right" in grid.sides[i:]]
    names = columns[: max(words, default=0) + 1]
    endless = options.update(max_width=10_000)

    def fits(table: Table) -> bool:
        return Measurement.get(console, endless, table).minimum <= options.max_width

    tables = [_table(grid, columns, *how) for how in (("", 1), ("\n", 1), ("\n", 0))]
    if any(map(fits, tables)):
        yield next(filter(fits, tables))
        return
    rest = columns[len(names) :]
    while rest:
        sizes = range(len(rest), 1, -1)
        parts = ((size, _table(grid, [*names, *rest[:size]], "\n", 0)) for size in sizes)
        size, table = next(
            ((size, table) for size, table in parts if fits(table)),
            (1, _table(grid, [*names, rest[0]], "\n", 0)),
        )
        yield table
        rest = rest[size:]


def _table(grid: Grid, columns: list[int], break_at: str, padding: int) -> Table:
    """These columns; break_at: what an interval that may be broken has there."""
    heads = over_each_column(grid.head)
    over = [cell.text for cell in over_each_column(grid.over)] or [""] * grid.width
    has_head = any([*over, *(cell.text for cell in heads)])
    look: dict[str, Any] = {"box": HORIZONTALS, "pad_edge": False, "header_style": ""}
    table = Table(show_header=has_head, padding=(0, padding, 0, 0), **look)
    lines = [over_each_column(cells) for block in grid.blocks for cells in block]
    filled: list[list[Text]] = []
    for i in columns:
        behind = max((len(_signs(cells[i])) for cells in lines), default=0)
        texts = [_shown(cells[i], break_at, behind) for cells in lines]
        widest = max(
            (cell_len(part) for text in texts for part in text.plain.split("\n")), default=1
        )
        words = [*over[i].split(), *heads[i].text.split()]
        is_number = grid.sides[i] == "right"
        room = max([1, widest, *map(cell_len, words)]) if is_number else LONGEST_LINE
        head = Text(
            "\n".join(part for text in (over[i], heads[i].text) for part in wrap(text, room))
        )
        if is_number:  # rich would move what has no sign behind it out of its column
            head, *texts = (_to_the_right(text, room) for text in (head, *texts))
        least = room if is_number else min(max(1, widest, cell_len(head.plain)), NAME)
        table.add_column(head, no_wrap=is_number, min_width=least)
        filled.append(texts)
    rows = iter(zip(*filled, strict=True))
    for block in grid.blocks:
        for cells in islice(rows, len(block)):
            table.add_row(*cells)
        table.add_section()
    return table


def _shown(cell: Cell, break_at: str, behind: int) -> Text:
    """A cell's text, styled, and its signs; other numbers leave as much room behind them."""
    text = Text(cell.text.replace(BREAK, break_at), style=STYLES.get(cell.rank or cell.kind, ""))
    is_number = not (cell.kind == "interval" or NUMBER.sub("", cell.text))
    signs = _signs(cell).ljust(behind if is_number and cell.text else 0)
    return text.append(signs, style="not bold not underline")


def _to_the_right(text: Text, width: int) -> Text:
    lines = text.split("\n", allow_blank=True)
    return Text("\n").join(Text(" " * (width - line.cell_len)) + line for line in lines)


def _signs(cell: Cell) -> str:
    return SIGNS[cell.rank] + cell.mark
