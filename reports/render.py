"""A printed table: what it is, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (amssymb, booktabs, graphicx), part("grid") (HTML)

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
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
NUMBER = re.compile(rf"[-+−±–†✓\d.,%/ ()≈{BREAK}{PAD}]|to")
INDEX = re.compile(r"\bAP\\?_?(50|75|S|M|L)\b")  # the "_" may have been escaped


@dataclass(frozen=True)
class Cell:
    """One cell: plain text, whose number it is, how many columns it covers, and how it stands."""

    text: str = ""
    kind: Kind = ""
    span: int = 1  # more than one only in a head
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
    def lines(self) -> list[Line]:
        """Those of all blocks."""
        return [cells for block in self.blocks for cells in block]

    @cached_property
    def columns(self) -> list[Line]:
        """Of each what stands over its head, its head, and its cells."""
        head = by_column(self.head)
        over = by_column(self.over) or (Cell(),) * len(head)
        return list(zip(over, head, *self.lines, strict=True))

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """To which side each column is set: numbers to the right, so that their points align.

        To the left the first, with the names of the lines, even where they are numbers.
        """
        return tuple(
            "right" if i and all(map(is_number, cells)) else "left"
            for i, (_, _, *cells) in enumerate(self.columns)
        )

    def notes_with(self, best: str = "Bold", tied: str = "underlined") -> list[str]:
        """The notes, with a writer's words for what a rank looks like."""
        return [note.replace("{best}", best).replace("{tied}", tied) for note in self.notes]


def line(*texts: str) -> Line:
    """A line of plain cells."""
    return tuple(Cell(text) for text in texts)


def is_number(cell: Cell) -> bool:
    """Whether it may stand in a column of numbers."""
    return not NUMBER.sub("", cell.text)


def starts(cells: Line) -> list[tuple[int, Cell]]:
    """Each cell with the index of its first column."""
    return list(zip(accumulate((cell.span for cell in cells), initial=0), cells, strict=False))


def by_column(cells: Line) -> Line:
    """One cell per column: a wide one stands in its first, empty ones follow."""
    return tuple(it for cell in cells for it in (cell, *[Cell()] * (cell.span - 1)))


@dataclass(frozen=True)
class Language:
    """How texts are written: what stands for signs that would be misread, and for an index, a mark
    and whatever has a rank or kind."""

    signs: dict[str, str]
    index: str
    mark: str
    looks: Mapping[str, str]

    def text(self, plain: str) -> str:
        """Escaped, with the index of a metric set low."""
        signs = str.maketrans(self.signs)
        return INDEX.sub(self.index, plain.translate(signs))

    def cell(self, cell: Cell) -> str:
        """Its text, as its rank or kind looks, and its mark."""
        shown = self.looks.get(cell.rank or cell.kind, "{}").format(self.text(cell.text))
        mark = self.mark.format(self.text(cell.mark)) if cell.mark else ""
        return shown + mark if cell.text else ""


MARKDOWN = Language(
    # No padding: columns are set to the right, and bold does not begin with a space.
    {sign: f"\\{sign}" for sign in r"\`*_|<>[]"} | {BREAK: "", PAD: ""},
    index=r"AP<sub>\1</sub>",
    mark="<sup>{}</sup>",
    looks={"best": "**{}**", "tied": "<ins>{}</ins>"},
)
MATH = {"✓": r"\checkmark", "±": r"\pm", "−": "-", "×": r"\times", "÷": r"\div"}
MATH |= {"≈": r"\approx", "Δ": r"\Delta", "<": "<", ">": ">"}
LATEX = Language(
    {
        **{sign: f"\\{sign}" for sign in "#$%&_{}"},
        **{sign: f"${name}$" for sign, name in MATH.items()},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"[": "{[}", "*": "{*}"},  # a line break before it would take it for an argument
        **{'"': "''", "“": "``", "”": "''", "–": "--", "†": r"\dag{}"},
        **{PAD: r"\phantom{0}", BREAK: ""},
    },
    index=r"AP$_{\1}$",
    mark=r"\rlap{{\textsuperscript{{{}}}}}",  # beyond the column, whose points align
    looks={
        "best": r"\textbf{{{}}}",
        "tied": r"\underline{{{}}}",
        "interval": r"{{\scriptsize {}}}",
    },
)
HTML = Language(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", BREAK: "<wbr>"},
    index=r"AP<sub>\1</sub>",
    mark="<sup>{}</sup>",
    looks={
        "best": '<strong><span class="said">best: </span>{}</strong>',
        "tied": '<u>{}<span class="said"> (not told apart from the best)</span></u>',
    },
)


def markdown(grid: Grid) -> str:
    """A GitHub table, which has one line of heads: what stands over one goes in front of it."""
    over = [cell.text for cell in grid.over for _ in range(cell.span)] or [""] * len(grid.columns)
    heads = tuple(
        Cell(f"{above}: {head.text}" if above and head.text else head.text)
        for above, (_, head, *_) in zip(over, grid.columns, strict=True)
    )
    rules = "|".join(":--" if side == "left" else "--:" for side in grid.sides)
    head, *lines = (
        f"| {' | '.join(map(MARKDOWN.cell, cells))} |" for cells in (heads, *grid.lines)
    )
    texts = [f"**{MARKDOWN.text(grid.title)}**", "", head, f"|{rules}|", *lines]
    for note in grid.notes_with():
        texts += ["", MARKDOWN.text(note)]
    return "\n".join(texts) + "\n"


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs, graphicx}.

    Classes have no room below a caption; a table wider than the text is made smaller.
    """
    over = [(i + 1, cell.span) for i, cell in starts(grid.over) if cell.text]
    heads = [_latex_line(grid.over, grid)] if over else []
    heads += [rf"\cmidrule(lr){{{first}-{first + span - 1}}}" for first, span in over]
    blocks = ["\n".join(_latex_line(cells, grid) for cells in block) for block in grid.blocks]
    notes = " \\\\\n".join(map(LATEX.text, grid.notes_with()))
    below = f"\n\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}\n"
    template = (TEMPLATES / "grid.tex").read_text(encoding="utf-8")
    return template.format(
        title=LATEX.text(grid.title),
        name=grid.name,
        sides="".join(side[0] for side in grid.sides),
        heads="\n".join([*heads, _latex_line(grid.head, grid)]),
        blocks="\n\\addlinespace\n".join(blocks),
        notes=below if grid.notes else "",
    )


def _latex_line(cells: Line, grid: Grid) -> str:
    texts = []
    for i, cell in starts(cells):
        is_centered = cell.span > 1 or (cell.text == "✓" and grid.sides[i] == "right")
        text = LATEX.cell(cell)
        texts.append(rf"\multicolumn{{{cell.span}}}{{c}}{{{text}}}" if is_centered else text)
    return " & ".join(texts) + r" \\"


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
    filled = []
    for (over, head, *cells), side in zip(grid.columns, grid.sides, strict=True):
        is_right, room = side == "right", max((len(_signs(it)) for it in cells), default=0)
        texts = [_shown(cell, break_at, room) for cell in cells]
        kept = [text.plain.split("\n") for text in texts]  # lines that are not to be broken
        kept += [f"{over.text} {head.text}".split()] if is_right else []
        widest = max([1, *(cell_len(it) for them in kept for it in them)])
        longest = widest if is_right else LONGEST_LINE
        heads = [part for cell in (over, head) for part in wrap(cell.text, longest)]
        texts.insert(0, Text("\n".join(heads)))
        if is_right:  # by hand: rich moves what has no sign behind it out of its column
            texts = [_to_the_right(text, widest) for text in texts]
        least = widest if is_right else min(NAME, widest)
        table.add_column(texts[0], no_wrap=is_right, min_width=least, overflow="fold")
        filled.append(texts[1:])
    rows = zip(*filled, strict=True)
    for block in grid.blocks:
        for _ in block:
            table.add_row(*next(rows))
        table.add_section()
    return table


def _shown(cell: Cell, break_at: str, room: int) -> Text:
    """A cell's text, styled, and its signs, for which other numbers leave room behind them."""
    text = Text(cell.text.replace(BREAK, break_at), style=STYLES.get(cell.rank or cell.kind, ""))
    has_room = cell.text and cell.kind != "interval" and is_number(cell)
    return text.append(_signs(cell).ljust(room if has_room else 0), "not bold not underline")


def _signs(cell: Cell) -> str:
    return SIGNS[cell.rank] + cell.mark


def _to_the_right(text: Text, width: int) -> Text:
    lines = text.split("\n", allow_blank=True)
    return Text("\n").join(Text(" " * (width - line.cell_len)) + line for line in lines)


# HTML: the templates, which escape whatever they are given; STYLE is that of a grid

STYLE = f"<style>\n{(TEMPLATES / 'grid.css').read_text()}</style>"


@cache
def _macros() -> Any:
    """Those of parts.html, with what they ask for."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # pages alone wait for it
    from markupsafe import Markup

    blocks: Any = dict.fromkeys(("trim_blocks", "lstrip_blocks", "keep_trailing_newline"), True)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, **blocks
    )
    environment.filters["indexed"] = lambda text: Markup(HTML.text(text))
    environment.filters["written"] = lambda cell: Markup(HTML.cell(cell))
    environment.globals |= {"starts": starts, "names_of": _names_of}
    return environment.get_template("parts.html").module


def part(name: str, *given: Any) -> str:
    """HTML of what pages and notebooks are made of: a macro of parts.html, such as "grid"."""
    return str(getattr(_macros(), name)(*given))


def _names_of(block: Sequence[Line]) -> set[int]:
    """The columns of which only the first line of a block says something: its names."""
    return {
        i
        for i, (first, *below) in enumerate(zip(*block, strict=True))
        if below and first.text and not first.kind and not any(cell.text for cell in below)
    }
