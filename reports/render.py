"""A printed table: what it is, and four ways to write it down.

    Grid -> markdown, latex (amssymb, booktabs, graphicx), to_html; terminal (terminal.py)

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
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
