"""A printed table: what it is, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (amssymb, booktabs, graphicx), to_html (templates)

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
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

    @property
    def lines(self) -> list[Line]:
        """Those of all blocks."""
        return [cells for block in self.blocks for cells in block]

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """To which side each column is set: numbers to the right, so that their points align."""
        is_number = [True] * self.width
        for cells in self.lines:
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


def with_indices(text: str, escape: Callable[[str], str], index: str) -> str:
    """The text escaped, with the index of a metric set as the template index says."""
    parts = re.split(r"\bAP_?(50|75|S|M|L)\b", text)
    return "".join(index.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


# Markdown

MARKDOWN_RANKS = {"": "{}", "best": "**{}**", "tied": "<ins>{}</ins>"}


def markdown(grid: Grid) -> str:
    """A GitHub table; the covered columns of a wide cell stay empty.

    It has one line of heads: what stands over a head goes in front of it.
    """
    over = [cell.text for cell in grid.over for _ in range(cell.span)] or [""] * grid.width
    heads = [
        Cell(f"{above}: {head.text}" if above and head.text else head.text)
        for above, head in zip(over, over_each_column(grid.head), strict=True)
    ]
    rules = "|".join(":--" if side == "left" else "--:" for side in grid.sides)
    lines = [f"**{_in_markdown(grid.title)}**", "", _markdown_line(heads), f"|{rules}|"]
    lines += [_markdown_line(over_each_column(cells)) for cells in grid.lines]
    for note in grid.notes_with(best="Bold", tied="underlined"):
        lines += ["", _in_markdown(note)]
    return "\n".join(lines) + "\n"


def _markdown_line(cells: list[Cell]) -> str:
    texts = []
    for cell in cells:
        text = MARKDOWN_RANKS[cell.rank].format(_in_markdown(cell.text))
        texts.append(text + (f"<sup>{_in_markdown(cell.mark)}</sup>" if cell.mark else ""))
    return f"| {' | '.join(texts)} |"


def _in_markdown(text: str) -> str:
    def escape(part: str) -> str:
        return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", part)

    # No padding: columns are set to the right, and bold does not begin with a space.
    return with_indices(re.sub(f"[{BREAK}{PAD}]", "", text), escape, "AP<sub>{}</sub>")


# LaTeX: booktabs, numbers set to the right, their marks beyond the column

LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "[": "{[}",  # a line break before it would take it, or a star, for an argument
    "*": "{*}",
    "<": "$<$",
    ">": "$>$",
    '"': "''",
    "“": "``",
    "”": "''",
    "✓": r"$\checkmark$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "÷": r"$\div$",
    "≈": r"$\approx$",
    "Δ": r"$\Delta$",
    "†": r"\dag{}",
    PAD: r"\phantom{0}",
    BREAK: "",
}
LATEX_RANKS = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}

# A table wider than the text is made smaller; a narrow one stays as it is.
RESIZED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs, graphicx}."""
    rows = ["\n".join(_latex_line(cells, grid) for cells in block) for block in grid.blocks]
    notes = map(_in_latex, grid.notes_with(best="Bold", tied="underlined"))
    below = r"\parbox{\linewidth}{\footnotesize " + " \\\\\n".join(notes) + "}"
    lines = [
        r"% needs \usepackage{amssymb,booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\small",
        r"\setlength{\belowcaptionskip}{4pt}",  # the classes have no room there
        rf"\caption{{{_in_latex(grid.title)}}}",
        rf"\label{{tab:{grid.name}}}",
        RESIZED,
        rf"\begin{{tabular}}{{@{{}}{''.join(side[0] for side in grid.sides)}@{{}}}}",
        r"\toprule",
        *_latex_head(grid),
        "\n\\addlinespace\n".join(rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *(["", r"\smallskip", below] if grid.notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_head(grid: Grid) -> Iterator[str]:
    """The heads and their rules; none where no column has a head."""
    if any(cell.text for cell in grid.over):
        yield _latex_line(grid.over, grid)
        for i, cell in starts(grid.over):
            if cell.text:
                yield rf"\cmidrule(lr){{{i + 1}-{i + cell.span}}}"
    if any(cell.text for cell in grid.head):
        yield _latex_line(grid.head, grid)
        yield r"\midrule"


def _latex_line(cells: Line, grid: Grid) -> str:
    texts = []
    for i, cell in starts(cells):
        text = _in_latex(cell.text)
        if text and cell.kind == "interval":
            text = rf"{{\scriptsize {text}}}"
        if text:
            text = LATEX_RANKS[cell.rank].format(text)
            mark = rf"\rlap{{\textsuperscript{{{_in_latex(cell.mark)}}}}}"
            text += mark if cell.mark else ""
        if cell.span > 1 or (cell.text == "✓" and grid.sides[i] == "right"):
            text = rf"\multicolumn{{{cell.span}}}{{c}}{{{text}}}"
        texts.append(text)
    return " & ".join(texts) + r" \\"


def _in_latex(text: str) -> str:
    def escape(part: str) -> str:
        return "".join(LATEX_SIGNS.get(sign, sign) for sign in part)

    return with_indices(text, escape, "AP$_{{{}}}$")


# A terminal, in whatever width that has. What is too wide is made narrower in this order: intervals
# take two lines, columns move together, names of lines are wrapped, and what is left over becomes
# a table of its own with the names.

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
        yield from _fitting(self.grid, console, options)
        for note in self.grid.notes_with(best=f"{SIGNS['best']} bold", tied=SIGNS["tied"]):
            yield from map(Text, wrap(note, width))


def _fitting(grid: Grid, console: Console, options: ConsoleOptions) -> Iterator[Table]:
    """The widest way that fits; where none does, as few tables as do, each with the names."""
    endless = options.update(max_width=10_000)

    def fits(table: Table) -> bool:
        return Measurement.get(console, endless, table).minimum <= options.max_width

    columns = list(range(grid.width))
    for how in (("", 1), ("\n", 1), ("\n", 0)):
        if fits(table := _table(grid, columns, *how)):
            yield table
            return
    words = [i for i in columns[:-1] if grid.sides[i] == "left" and "right" in grid.sides[i:]]
    names = columns[: max(words, default=0) + 1]
    rest = columns[len(names) :]
    while rest:
        size = len(rest)
        while not fits(table := _table(grid, [*names, *rest[:size]], "\n", 0)) and size > 1:
            size -= 1
        yield table
        rest = rest[size:]


def _table(grid: Grid, columns: list[int], break_at: str, padding: int) -> Table:
    """These columns; break_at: what an interval that may be broken has there."""
    heads, over = over_each_column(grid.head), over_each_column(grid.over) or [Cell()] * grid.width
    lines = [over_each_column(cells) for cells in grid.lines]
    has_head = any(cell.text for cell in (*over, *heads))
    look: dict[str, Any] = {"box": HORIZONTALS, "pad_edge": False, "header_style": ""}
    table = Table(show_header=has_head, padding=(0, padding, 0, 0), **look)
    filled = []
    for i in columns:
        behind = max((len(_signs(cells[i])) for cells in lines), default=0)
        texts = [_shown(cells[i], break_at, behind) for cells in lines]
        widest = max((cell_len(it) for text in texts for it in text.plain.split("\n")), default=1)
        head_texts = (over[i].text, heads[i].text)
        is_number, room = grid.sides[i] == "right", LONGEST_LINE
        if is_number:
            room = max(1, widest, *(cell_len(word) for it in head_texts for word in it.split()))
        head = Text("\n".join(part for text in head_texts for part in wrap(text, room)))
        if is_number:  # rich would move what has no sign behind it out of its column
            head, *texts = (_to_the_right(text, room) for text in (head, *texts))
        least = room if is_number else min(max(1, widest, cell_len(head.plain)), NAME)
        table.add_column(head, no_wrap=is_number, min_width=least)
        filled.append(texts)
    rows = zip(*filled, strict=True)
    for block in grid.blocks:
        for _, cells in zip(block, rows, strict=False):
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


# HTML: the templates, which escape whatever they are given

TEMPLATES = Path(__file__).parent / "templates"
STYLE = f"<style>\n{(TEMPLATES / 'grid.css').read_text()}</style>"


@cache
def template(name: str) -> Any:
    """A file of templates/, with what its tables ask for."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # pages alone wait for it

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["indexed"] = _in_html
    environment.globals |= {"starts": starts, "names_of": _names_of}
    return environment.get_template(name)


def part(name: str, *given: Any) -> str:
    """HTML of what pages and notebooks are made of: a macro of parts.html."""
    return str(getattr(template("parts.html").module, name)(*given))


def to_html(grid: Grid) -> str:
    """A <figure> with a <table>; STYLE makes it look like a printed one."""
    return part("grid", grid)


def _names_of(block: Sequence[Line]) -> set[int]:
    """The columns of which only the first line of a block says something: its names."""
    first, *others = block
    if not others or any(cell.span > 1 for cells in block for cell in cells):
        return set()
    return {
        i
        for i, cell in enumerate(first)
        if cell.text and not cell.kind and not any(cells[i].text for cells in others)
    }


def _in_html(text: str) -> Any:
    from markupsafe import Markup

    return Markup(with_indices(text, html.escape, "AP<sub>{}</sub>").replace(BREAK, "<wbr>"))
