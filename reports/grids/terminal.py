"""A grid as lines of a terminal, in whatever width that has.

What is too wide is made narrower in this order: intervals take two lines, names of lines are
wrapped, columns move together, and what is left over becomes a table of its own with the names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from reports.grids.cells import BREAK, Cell, Grid, Kind, Line, Rank, Side, over_each_column, starts

GAP, CLOSE = 2, 1  # spaces between columns
LINE = 100  # letters of a title or a note that the eye finds its way back from
NAME = 12  # letters that a name keeps at least
SIGNS: dict[Rank, str] = {"": "", "best": "●", "tied": "○"}  # seen without bold letters too
STYLES: dict[Rank, str] = {"": "", "best": "bold", "tied": "underline"}
QUIET: dict[Kind, str] = {"interval": "dim", "difference": "dim"}


class Terminal:
    """For rich's console."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, table, notes; wrapped to the console's width."""
        width = options.max_width
        for text in wrap(self.grid.title, min(width, LINE)):
            yield Text(text, style="bold")
        for part in _parts(self.grid, width):
            yield from _Layout(part, width).lines()
        for note in self.grid.notes_with(best=f"{SIGNS['best']} bold", tied=SIGNS["tied"]):
            yield from map(Text, wrap(note, min(width, LINE)))


def terminal(grid: Grid) -> Terminal:
    """For rich's console, which tells how wide it is."""
    return Terminal(grid)


def _parts(grid: Grid, width: int) -> Iterator[Grid]:
    """The grid, or as many columns at a time as fit beside the names."""
    if _Layout(grid, width).is_fitting:
        yield grid
        return
    names = _names(grid.sides)
    first = names
    while first < grid.width:
        lasts = range(grid.width, first, -1)
        parts = {last: _columns(grid, names, first, last) for last in lasts}
        fitting = (last for last in lasts if _Layout(parts[last], width).is_fitting)
        last = next(fitting, first + 1)
        yield parts[last]
        first = last


def _names(sides: Sequence[Side]) -> int:
    """How many columns say what a line is: up to the last one of words that numbers follow."""
    words = [i for i, side in enumerate(sides[:-1]) if side == "left" and "right" in sides[i:]]
    return max(words, default=0) + 1


def _columns(grid: Grid, names: int, first: int, last: int) -> Grid:
    """The grid with the columns of names and those from first to last, without the last."""
    kept = [*range(names), *range(first, last)]

    def cut(cells: Line) -> Line:
        spans = [sum(i in kept for i in range(at, at + one.span)) for at, one in starts(cells)]
        return tuple(
            replace(one, span=span) for one, span in zip(cells, spans, strict=True) if span
        )

    blocks = tuple(tuple(cut(cells) for cells in block) for block in grid.blocks)
    return replace(grid, head=cut(grid.head), over=cut(grid.over), blocks=blocks)


class _Layout:
    """Where everything goes: widths of columns, and of the signs behind their numbers."""

    def __init__(self, grid: Grid, width: int) -> None:
        self.grid, self.sides = grid, grid.sides
        self.body = [over_each_column(cells) for block in grid.blocks for cells in block]
        self.behind = [
            max((len(_sign(cells[i])) for cells in self.body), default=0) for i in range(grid.width)
        ]
        self.is_broken, self.gap = False, GAP
        self.rest: dict[int, list[str]] = {}  # column -> what is left of the name above
        self.widths = self._widths()
        if self.total > width:
            self.is_broken = True
            self.widths = self._widths()
        self._wrap_names(width)
        if self.total > width:
            self.gap = CLOSE
            self.widths = self._widths()
            self._wrap_names(width)
        self.is_fitting = self.total <= width

    @property
    def total(self) -> int:
        """Letters of a line."""
        return sum(self.widths) + self.gap * (len(self.widths) - 1)

    def lines(self) -> Iterator[Text]:
        """The table between two rules."""
        rule = Text("─" * self.total)
        yield rule
        for cells in (self.grid.over, self.grid.head):
            if any(cell.text for cell in cells):
                yield from self._head(cells)
                yield rule if cells is self.grid.head else Text(self._under(cells))
        for block in self.grid.blocks:
            for cells, below in zip_longest(block, block[1:]):
                yield from self._lines(cells, below)
            yield rule

    def _widths(self) -> list[int]:
        """What the widest cell of each column takes; wide cells widen their last one."""
        widths = [
            max(self._need(cells[i], i) for cells in self.body) if self.body else 0
            for i in range(self.grid.width)
        ]
        for cells in (self.grid.head, self.grid.over):
            for i, cell in starts(cells):
                there = sum(widths[i : i + cell.span]) + self.gap * (cell.span - 1)
                need = max(map(cell_len, self._split(cell)))
                widths[i + cell.span - 1] += max(0, need - there)
        return widths

    def _need(self, cell: Cell, i: int) -> int:
        behind = 0 if cell.kind == "interval" else self.behind[i]
        return max(map(cell_len, self._split(cell))) + behind

    def _split(self, cell: Cell) -> list[str]:
        """Its text; broken where an interval may be, if that is asked for."""
        text = cell.text.replace(BREAK, "\n" if self.is_broken else "")
        return [part.strip(" ") for part in text.split("\n")]

    def _wrap_names(self, width: int) -> None:
        """Make the widest columns of words narrower until all fits, but not too narrow."""
        words = [i for i, side in enumerate(self.sides) if side == "left"]
        while self.total > width and words:
            widest = max(words, key=lambda i: self.widths[i])
            if self.widths[widest] <= NAME:
                return
            self.widths[widest] -= 1

    def _lines(self, cells: Line, below: Line | None = None) -> Iterator[Text]:
        """A line of the body, which is several of the terminal where a cell has several.

        What is left of a long name goes on beside the line below, where that has no other.
        """
        texts = [self._texts(i, cell) or self.rest.pop(i, []) for i, cell in starts(cells)]
        free = {i for i, cell in starts(below or ()) if self.sides[i] == "left" and not cell.text}
        heights = [1 if i in free else len(texts[at]) for at, (i, _) in enumerate(starts(cells))]
        height = max(1, *heights)
        self.rest = {i: texts[at][height:] for at, (i, _) in enumerate(starts(cells))}
        for row in range(height):
            yield self._row(cells, [own[row] if row < len(own) else "" for own in texts])

    def _head(self, cells: Line) -> Iterator[Text]:
        """A line of heads, which stand on the rule below them."""
        texts = [self._texts(i, cell) for i, cell in starts(cells)]
        height = max(map(len, texts))
        for row in range(height):
            downs = [row - (height - len(own)) for own in texts]
            own = [own[down] if down >= 0 else "" for own, down in zip(texts, downs, strict=True)]
            yield self._row(cells, own, is_head=True)

    def _texts(self, i: int, cell: Cell) -> list[str]:
        """A cell's lines of text, as its columns are wide; none of an empty one."""
        lines = (wrap(text, self._room(i, cell)) or [""] for text in self._split(cell))
        return [text for parts in lines for text in parts] if cell.text else []

    def _room(self, i: int, cell: Cell) -> int:
        return sum(self.widths[i : i + cell.span]) + self.gap * (cell.span - 1)

    def _row(self, cells: Line, texts: list[str], *, is_head: bool = False) -> Text:
        """One line of the terminal."""
        row = Text()
        for (i, cell), text in zip(starts(cells), texts, strict=True):
            has_signs = not is_head and cell.kind != "interval"
            side = "center" if cell.span > 1 else self.sides[i]
            row.append_text(_set(cell, text, self._room(i, cell), side, self.behind[i] * has_signs))
            row.append(" " * self.gap)
        row.rstrip()
        return row

    def _under(self, cells: Line) -> str:
        """A rule under each text that stands over several columns."""
        parts = []
        for i, cell in starts(cells):
            parts.append(("─" if cell.text else " ") * self._room(i, cell))
        return (" " * self.gap).join(parts).rstrip()


def _set(cell: Cell, part: str, width: int, side: str, behind: int) -> Text:
    """One text in its column, styled; numbers leave the room for the signs behind them."""
    sign = _sign(cell) if part else ""
    room = width - (max(behind, len(sign)) if side == "right" else len(sign))
    before = {"right": room - cell_len(part), "center": (room - cell_len(part)) // 2}.get(side, 0)
    text = Text(" " * max(before, 0))
    text.append(part, style=STYLES[cell.rank] or QUIET.get(cell.kind, ""))
    text.append(sign)
    text.append(" " * max(width - text.cell_len, 0))
    return text


def _sign(cell: Cell) -> str:
    return SIGNS[cell.rank] + cell.mark
