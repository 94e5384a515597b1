"""A printed table: what it is, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (amssymb, booktabs, graphicx), to_html

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
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


def with_indices(text: str, escape: Callable[[str], str], index: str) -> str:
    """The text escaped, with the index of a metric set as the template index says."""
    parts = re.split(r"\bAP_?(50|75|S|M|L)\b", text)
    return "".join(index.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


# Markdown


RULES = {"left": ":--", "right": "--:"}
MARKDOWN_RANKS = {"": "{}", "best": "**{}**", "tied": "<ins>{}</ins>"}


def markdown(grid: Grid) -> str:
    """A GitHub table; the covered columns of a wide cell stay empty."""
    lines = [f"**{_in_markdown(grid.title)}**", ""]
    lines += [
        _markdown_line(_one_head(grid)),
        "|" + "|".join(RULES[side] for side in grid.sides) + "|",
    ]
    lines += [_markdown_line(over_each_column(cells)) for block in grid.blocks for cells in block]
    for note in grid.notes_with(best="Bold", tied="underlined"):
        lines += ["", _in_markdown(note)]
    return "\n".join(lines) + "\n"


def _one_head(grid: Grid) -> list[Cell]:
    """The one line of heads that Markdown has: what stands over a head goes in front of it."""
    heads = over_each_column(grid.head)
    over = [cell.text for cell in grid.over for _ in range(cell.span)] or [""] * len(heads)
    return [
        Cell(f"{above}: {head.text}") if above and head.text else head
        for above, head in zip(over, heads, strict=True)
    ]


def _markdown_line(cells: list[Cell]) -> str:
    texts = []
    for cell in cells:
        text = MARKDOWN_RANKS[cell.rank].format(_in_markdown(cell.text))
        texts.append(text + (f"<sup>{_in_markdown(cell.mark)}</sup>" if cell.mark else ""))
    return "| " + " | ".join(texts) + " |"


def _in_markdown(text: str) -> str:
    escape = re.compile(r"([\\`*_|<>\[\]])")
    text = text.replace(BREAK, "")
    return with_indices(text, lambda part: escape.sub(r"\\\1", part), "AP<sub>{}</sub>")


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
LATEX_SIDES = {"left": "l", "right": "r"}

# A table wider than the text is made smaller; a narrow one stays as it is.
RESIZED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs, graphicx}."""
    rows = ["\n".join(_latex_line(cells, grid) for cells in block) for block in grid.blocks]
    notes = " \\\\\n".join(
        _in_latex(note) for note in grid.notes_with(best="Bold", tied="underlined")
    )
    columns = "".join(LATEX_SIDES[side] for side in grid.sides)
    lines = [
        "% needs \\usepackage{amssymb,booktabs,graphicx}",
        "\\begin{table}",
        "\\centering\\small",
        "\\setlength{\\belowcaptionskip}{4pt}",  # the classes have no room there
        f"\\caption{{{_in_latex(grid.title)}}}",
        f"\\label{{tab:{grid.name}}}",
        RESIZED,
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        "\\toprule",
        *_latex_head(grid),
        "\n\\addlinespace\n".join(rows),
        "\\bottomrule",
        "\\end{tabular}}",
    ]
    if notes:
        lines += ["", "\\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _latex_head(grid: Grid) -> list[str]:
    """The heads and their rules; none where no column has a head."""
    lines = []
    if any(cell.text for cell in grid.over):
        lines.append(_latex_line(grid.over, grid))
        lines += [
            f"\\cmidrule(lr){{{i + 1}-{i + cell.span}}}"
            for i, cell in starts(grid.over)
            if cell.text
        ]
    if any(cell.text for cell in grid.head):
        lines += [_latex_line(grid.head, grid), "\\midrule"]
    return lines


def _latex_line(cells: Line, grid: Grid) -> str:
    texts = []
    for i, cell in starts(cells):
        text = _latex_cell(cell)
        is_centered = cell.text == "✓" and grid.sides[i] == "right"
        if cell.span > 1 or is_centered:
            text = f"\\multicolumn{{{cell.span}}}{{c}}{{{text}}}"
        texts.append(text)
    return " & ".join(texts) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = _in_latex(cell.text)
    if not text:
        return ""
    if cell.kind == "interval":
        text = f"{{\\scriptsize {text}}}"
    mark = f"\\rlap{{\\textsuperscript{{{_in_latex(cell.mark)}}}}}" if cell.mark else ""
    return LATEX_RANKS[cell.rank].format(text) + mark


def _in_latex(text: str) -> str:
    def escape(part: str) -> str:
        return "".join(LATEX_SIGNS.get(sign, sign) for sign in part)

    return with_indices(text, escape, "AP$_{{{}}}$")


# HTML that a screen reader can read and a phone can show: a wide table scrolls by itself


STYLE = f"<style>\n{(Path(__file__).parent / 'templates' / 'grid.css').read_text()}</style>"
HTML_RANKS = {
    "": "{}",
    "best": '<strong><span class="said">best: </span>{}</strong>',
    "tied": '<u>{}<span class="said"> (not told apart from the best)</span></u>',
}


def to_html(grid: Grid) -> str:
    """A <figure> with a <table>; STYLE makes it look like a printed one."""
    body = "".join(f"<tbody>{_block(block, grid)}</tbody>\n" for block in grid.blocks)
    notes = "".join(
        f"<p>{_in_html(note)}</p>" for note in grid.notes_with(best="Bold", tied="underlined")
    )
    head = "".join(
        _html_head(cells, grid)
        for cells in (grid.over, grid.head)
        if any(cell.text for cell in cells)
    )
    name = html.escape(grid.name)
    return (
        f'<figure class="grid" id="{name}">\n'
        f'<figcaption id="{name}-title">{_in_html(grid.title)}</figcaption>\n'
        f'<div class="wide" role="region" aria-labelledby="{name}-title" tabindex="0">'
        f'<table aria-labelledby="{name}-title">\n<thead>{head}</thead>\n'
        f"{body}</table></div>\n"
        f"{notes}</figure>\n"
    )


def _html_head(cells: Line, grid: Grid) -> str:
    """One line of heads; what stands over nothing, or says nothing, heads nothing."""
    texts = []
    for i, cell in starts(cells):
        if not cell.text:
            texts.append("<td></td>" * cell.span)
        elif cell.span > 1:
            texts.append(
                f'<th scope="colgroup" class="across" colspan="{cell.span}">'
                f"{_in_html(cell.text)}</th>"
            )
        else:
            texts.append(f'<th scope="col"{_classes(cell, i, grid)}>{_in_html(cell.text)}</th>')
    return "<tr>" + "".join(texts) + "</tr>"


def _block(block: tuple[Line, ...], grid: Grid) -> str:
    """Lines that belong together; what names them all is written once, beside all of them."""
    shared = _shared(block)
    lines = []
    for row, cells in enumerate(block):
        texts = []
        for i, cell in starts(cells):
            if i in shared and row:
                continue
            texts.append(_html_cell(cell, i, grid, len(block) if i in shared else 1))
        lines.append("<tr>" + "".join(texts) + "</tr>")
    return "".join(lines)


def _shared(block: tuple[Line, ...]) -> set[int]:
    """The columns of which only the first line of a block says something: its names."""
    first, *others = block
    if not others or any(cell.span > 1 for cells in block for cell in cells):
        return set()
    return {
        i
        for i, cell in enumerate(first)
        if cell.text and not cell.kind and not any(cells[i].text for cells in others)
    }


def _html_cell(cell: Cell, i: int, grid: Grid, rows: int) -> str:
    named = _classes(cell, i, grid)
    size = f' rowspan="{rows}"' if rows > 1 else ""
    size += f' colspan="{cell.span}"' if cell.span > 1 else ""
    text = HTML_RANKS[cell.rank].format(_in_html(cell.text)) if cell.text else ""
    text += f"<sup>{_in_html(cell.mark)}</sup>" if cell.mark else ""
    is_name = cell.text and grid.sides[i] == "left" and (i == 0 or cell.kind)
    if not is_name:
        return f"<td{named}{size}>{text}</td>"
    scope = "rowgroup" if rows > 1 else "row"
    return f'<th scope="{scope}"{named}{size}>{text}</th>'


def _classes(cell: Cell, i: int, grid: Grid) -> str:
    """What STYLE has to know of a cell."""
    names = [*["first"] * (i == 0), *["number"] * (grid.sides[i] == "right"), cell.kind]
    text = " ".join(filter(None, names))
    return f' class="{text}"' if text else ""


def _in_html(text: str) -> str:
    return with_indices(text, html.escape, "AP<sub>{}</sub>").replace(BREAK, "<wbr>")


# The terminal, in whatever width that has


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
    over = [cell.text for cell in grid.over for _ in range(cell.span)] or [""] * grid.width
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
        room = max([widest, *map(cell_len, words)]) if is_number else LONGEST_LINE
        head = Text(
            "\n".join(part for text in (over[i], heads[i].text) for part in wrap(text, room))
        )
        if is_number:  # rich would move what has no sign behind it out of its column
            head, *texts = (_to_the_right(text, room) for text in (head, *texts))
        least = room if is_number else min(max(widest, cell_len(head.plain)), NAME)
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
