"""A printed table: what it is, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (amssymb, booktabs, graphicx), part("grid") (HTML)

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined. The last three are
jinja2's templates: grid.md, grid.tex, and parts.html, which has all else that pages are made of.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

from rich.box import HORIZONTALS
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Kind = Literal["", "paper", "ours", "interval", "difference"]
Rank = Literal["", "best", "tied"]  # tied: not told apart from the best

TEMPLATES = Path(__file__).parent / "templates"
BREAK = "\u200b"  # where a long number may be broken: after the dash of an interval
PAD = "\u2007"  # as wide as a digit
NUMBER = re.compile(rf"(?:[-+−±–†✓\d.,%/ ()≈{BREAK}{PAD}]|to)*")
INDEX = re.compile(r"\bAP\\?_?(50|75|S|M|L)\b")  # the "_" may have been escaped


@dataclass(frozen=True)
class Cell:
    """One cell: plain text, whose number it is, and how it stands."""

    text: str = ""
    kind: Kind = ""
    rank: Rank = ""  # among the numbers that it is compared with
    mark: str = ""  # raised behind it: a footnote's letter, or the sign of a difference that counts


Line = tuple[Cell, ...]  # one for each column


def line(*texts: str) -> Line:
    """A line of plain cells."""
    return tuple(Cell(text) for text in texts)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table to be printed: a head, blocks of lines with a rule between, notes below.

    over: a line above the head. In both, neighbours that say the same are printed as one. Notes
    may say {best} and {tied}: each writer puts in how it shows a rank.
    """

    name: str  # for references to it, such as "table1"
    title: str
    head: Line
    blocks: tuple[tuple[Line, ...], ...]
    notes: tuple[str, ...] = ()
    over: Line = ()

    @property
    def lines(self) -> list[Line]:
        """Those of all blocks."""
        return [cells for block in self.blocks for cells in block]

    @property
    def heads(self) -> list[list[tuple[int, str, int]]]:
        """The lines of the head: each text, from which column on, and over how many."""
        return [_spans(cells) for cells in (self.over, self.head) if any(it.text for it in cells)]

    @cached_property
    def columns(self) -> list[Line]:
        """Of each what stands over its head, its head, and its cells."""
        spans = [{first: text for first, text, _ in _spans(it)} for it in (self.over, self.head)]
        heads = (line(*(told.get(i, "") for i in range(len(self.head)))) for told in spans)
        return list(zip(*heads, *self.lines, strict=True))

    @cached_property
    def sides(self) -> tuple[Literal["left", "right"], ...]:
        """To which side each column is set: numbers to the right, so that their points align.

        To the left the first, with the names of the lines, even where they are numbers.
        """
        return tuple(
            "right" if i and all(NUMBER.fullmatch(cell.text) for cell in cells) else "left"
            for i, (_, _, *cells) in enumerate(self.columns)
        )

    def notes_with(self, best: str = "Bold", tied: str = "underlined") -> list[str]:
        """The notes, with a writer's words for what a rank looks like."""
        return [note.replace("{best}", best).replace("{tied}", tied) for note in self.notes]


def _spans(cells: Line) -> list[tuple[int, str, int]]:
    """Each text with its first column and the number of columns: equal neighbours are one."""
    groups = groupby(range(len(cells)), lambda i: cells[i].text or i)
    columns = (list(group) for _, group in groups)
    return [(its[0], cells[its[0]].text, len(its)) for its in columns]


# Languages, by the ending of their templates: what stands for signs that would be misread.

MATH = {"✓": r"\checkmark", "±": r"\pm", "−": "-", "×": r"\times", "÷": r"\div"}
MATH |= {"≈": r"\approx", "Δ": r"\Delta", "<": "<", ">": ">"}
ESCAPES = {
    # No padding: columns are set to the right, and bold does not begin with a space.
    "md": {sign: f"\\{sign}" for sign in r"\`*_|<>[]"} | {BREAK: "", PAD: ""},
    "tex": {
        **{sign: f"\\{sign}" for sign in "#$%&_{}"},
        **{sign: f"${name}$" for sign, name in MATH.items()},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"[": "{[}", "*": "{*}"},  # a line break before it would take it for an argument
        **{'"': "''", "“": "``", "”": "''", "–": "--", "†": r"\dag{}"},
        **{PAD: r"\phantom{0}", BREAK: ""},
    },
    "html": {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", BREAK: "<wbr>"},
}
# Braces are text in LaTeX: all templates but those of HTML have angles in their place.
ANGLES: Any = {
    **{"block_start_string": "<%", "block_end_string": "%>"},
    **{"variable_start_string": "<<", "variable_end_string": ">>"},
    **{"comment_start_string": "<#", "comment_end_string": "#>"},
}


@cache
def template(name: str) -> Any:
    """A template of ours, whose filter "text" escapes, and sets the index of a metric low."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # lists need not wait for it
    from markupsafe import Markup

    language = name.partition(".")[2]
    signs = str.maketrans(ESCAPES.get(language, {}))
    low = r"AP$_{\1}$" if language == "tex" else r"AP<sub>\1</sub>"
    syntax: Any = dict.fromkeys(("trim_blocks", "lstrip_blocks", "keep_trailing_newline"), True)
    syntax |= {"autoescape": True} if language == "html" else ANGLES
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, **syntax
    )
    environment.filters["text"] = lambda text: Markup(INDEX.sub(low, text.translate(signs)))
    environment.globals |= {"enumerate": enumerate, "names_of": _names_of}
    return environment.get_template(name)


def markdown(grid: Grid) -> str:
    """A GitHub table, which has one line of heads: what stands over one goes in front of it."""
    return str(template("grid.md").render(grid=grid))


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs, graphicx}.

    Classes have no room below a caption; a table wider than the text is made smaller.
    """
    return str(template("grid.tex").render(grid=grid))


def notes(name: str, *texts: Any, **given: Any) -> list[str]:
    """What is said of a table, note by note: a macro of notes.txt, such as "footnotes"."""
    text = str(getattr(template("notes.txt").module, name)(*texts, **given))
    return [note for note in text.split("\n") if note]


def part(name: str, *given: Any) -> str:
    """HTML of what pages and notebooks are made of: a macro of parts.html, such as "grid"."""
    return str(getattr(template("parts.html").module, name)(*given))


STYLE = f"<style>\n{(TEMPLATES / 'grid.css').read_text()}</style>"  # of a grid in HTML


def _names_of(block: Sequence[Line]) -> set[int]:
    """The columns of which only the first line of a block says something: its names."""
    return {
        i
        for i, (first, *below) in enumerate(zip(*block, strict=True))
        if below and first.text and not first.kind and not any(cell.text for cell in below)
    }


# A terminal. Where it is too narrow, intervals take two lines and columns move together; then names
# of lines are wrapped, and numbers at last.

SIGNS: dict[Rank, str] = {"": "", "best": "●", "tied": "○"}  # seen without bold letters too
STYLES = {"best": "bold", "tied": "underline", "interval": "dim", "difference": "dim"}
NAME = 8  # letters that a name keeps at least
LONGEST_LINE = 100  # letters of a title or a note that the eye finds its way back from


@dataclass(frozen=True)
class terminal:
    """A writer like the others, for rich's console, which tells how wide it is."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, LONGEST_LINE)
        yield from (Text(text, style="bold") for text in wrap(self.grid.title, width))
        endless = options.update(max_width=10_000)
        for break_at, padding in (("", 1), ("\n", 1), ("\n", 0)):
            table = _table(self.grid, break_at, padding)
            if Measurement.get(console, endless, table).minimum <= options.max_width:
                break
        if sum(1 + (column.min_width or 0) for column in table.columns) >= options.max_width:
            for column in table.columns:
                column.min_width, column.no_wrap = 1, False
        yield table
        for note in self.grid.notes_with(best=f"{SIGNS['best']} bold", tied=SIGNS["tied"]):
            yield from map(Text, wrap(note, width))


def _table(grid: Grid, break_at: str, padding: int) -> Table:
    """break_at: what an interval that may be broken has there."""
    table = Table(box=HORIZONTALS, pad_edge=False, header_style="", padding=(0, padding, 0, 0))
    columns = []
    for (over, head, *cells), side in zip(grid.columns, grid.sides, strict=True):
        is_right, heads = side == "right", [it.text for it in (over, head) if it.text]
        room = max((len(_signs(it)) for it in cells), default=0) if is_right else 0
        texts = [_shown(cell, break_at, room) for cell in cells]
        kept = [it for text in texts for it in text.plain.split("\n")]  # not to be broken
        kept += " ".join(heads).split() if is_right else []
        widest = max(map(cell_len, ["-", *kept]))
        table.add_column(
            Text("\n".join(heads), no_wrap=False),
            justify=side,
            min_width=widest if is_right else min(NAME, widest),
            max_width=widest if is_right else None,
            no_wrap=is_right,
            overflow="fold",
        )
        columns.append([_to_the_right(it, widest) for it in texts] if is_right else texts)
    rows = zip(*columns, strict=True)
    for block in grid.blocks:
        for _ in block:
            table.add_row(*next(rows))
        table.add_section()
    return table


def _shown(cell: Cell, break_at: str, room: int) -> Text:
    """A cell's text, styled, and its signs, for which other numbers leave room behind them."""
    text = Text(cell.text.replace(BREAK, break_at), style=STYLES.get(cell.rank or cell.kind, ""))
    has_room = cell.text and cell.kind != "interval"
    return text.append(_signs(cell).ljust(room if has_room else 0), "not bold not underline")


def _signs(cell: Cell) -> str:
    return SIGNS[cell.rank] + cell.mark


def _to_the_right(text: Text, width: int) -> Text:
    """By hand: rich would move what has no sign behind it out of its column."""
    lines = text.split("\n", allow_blank=True)
    return Text("\n", justify="left").join(
        Text(" " * (width - line.cell_len)) + line for line in lines
    )
