"""A printed table, whatever it says, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (booktabs, amssymb), to_html

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, and shows a cell's kind its own way.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

Kind = Literal["", "paper", "ours", "difference"]


@dataclass(frozen=True)
class Cell:
    """One cell: plain text, how many columns it covers, and whose number it is."""

    text: str = ""
    kind: Kind = ""
    span: int = 1


Line = tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table to be printed: one head line, blocks of lines with a rule between, notes below."""

    name: str  # for references to it, such as "table1"
    title: str
    head: Line
    blocks: tuple[tuple[Line, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Columns."""
        return sum(cell.span for cell in self.head)


def line(*texts: str) -> Line:
    """A line of plain cells."""
    return tuple(Cell(text) for text in texts)


def terminal(grid: Grid) -> Table:
    """For rich's console, which fits it to the window."""
    styles = {"": "", "paper": "", "ours": "bold", "difference": "dim"}
    table = Table(
        title=Text(grid.title),
        caption=Text("\n".join(grid.notes)),
        title_justify="left",
        caption_justify="left",
        box=HORIZONTALS,
        padding=(0, 1, 0, 0),
    )
    for i, text in enumerate(_spread(grid.head)):
        table.add_column(Text(text), no_wrap=i == 0)  # the name; numbers fold before their "±"
    for block in grid.blocks:
        for cells in block:
            kinds = [kind for cell in cells for kind in [cell.kind] * cell.span]
            texts = zip(_spread(cells), kinds, strict=True)
            table.add_row(*(Text(text, style=styles[kind]) for text, kind in texts))
        table.add_section()
    return table


def markdown(grid: Grid) -> str:
    """A GitHub table; the covered columns of a wide cell stay empty."""
    lines = [f"**{_markdown(grid.title)}**", ""]
    lines += [_markdown_line(grid.head), "|" + "---|" * grid.width]
    lines += [_markdown_line(cells) for block in grid.blocks for cells in block]
    for note in grid.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs}."""
    rows = ["\n".join(_latex_line(cells) for cells in block) for block in grid.blocks]
    notes = " \\\\\n".join(_latex(note) for note in grid.notes)
    lines = [
        "% needs \\usepackage{amssymb,booktabs}",
        "\\begin{table}",
        "\\centering\\small",
        f"\\caption{{{_latex(grid.title)}}}",
        f"\\label{{tab:{grid.name}}}",
        f"\\begin{{tabular}}{{@{{}}{'l' * grid.width}@{{}}}}",
        "\\toprule",
        _latex_line(grid.head),
        "\\midrule",
        "\n\\addlinespace\n".join(rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if notes:
        lines += ["", "\\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def to_html(grid: Grid) -> str:
    """A <figure> with a <table>; STYLE makes it look like a printed one."""
    body = "".join(
        "<tbody>" + "".join(_html_line(cells, "td") for cells in block) + "</tbody>\n"
        for block in grid.blocks
    )
    notes = "".join(f"<p>{_html(note)}</p>" for note in grid.notes)
    head = _html_line(grid.head, "th") if any(cell.text for cell in grid.head) else ""
    return (
        f'<figure class="grid" id="{html.escape(grid.name)}">\n'
        f"<figcaption>{_html(grid.title)}</figcaption>\n"
        f'<div class="wide"><table>\n<thead>{head}</thead>\n'
        f"{body}</table></div>\n"
        f"{notes}</figure>\n"
    )


STYLE = """<style>
.grid { margin: 1.5em 0; font-family: system-ui, sans-serif; font-size: 14px; }
.grid figcaption { font-weight: 600; text-align: left; margin-bottom: .5em; }
.grid .wide { overflow-x: auto; }
.grid table { border-collapse: collapse; border: 0; margin: 0; font-variant-numeric: tabular-nums; }
.grid table { border-top: 1.5px solid #222; border-bottom: 1.5px solid #222; }
.grid th { border-bottom: 1.5px solid #222; font-weight: 600; }
.grid tbody + tbody { border-top: 1px solid #ccc; }
.grid tbody tr, .grid tbody tr:hover { background: none; }
.grid th, .grid td { padding: .2em .8em; text-align: left; white-space: pre; }
.grid .ours { font-weight: 600; }
.grid .difference { color: #555; }
.grid p { margin: .3em 0; max-width: 60em; color: #444; font-size: 13px; }
</style>"""


def _spread(cells: Line) -> list[str]:
    """One text per column: a wide cell's stands in its first."""
    return [text for cell in cells for text in [cell.text] + [""] * (cell.span - 1)]


def _with_indices(text: str, escape: Callable[[str], str], index: str) -> str:
    """The text escaped, with the index of a metric set as the template index says."""
    parts = re.split(r"\bAP_?(50|75|S|M|L)\b", text)
    return "".join(index.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _markdown(text: str) -> str:
    escape = re.compile(r"([\\`*_|<>\[\]])")
    return _with_indices(text, lambda part: escape.sub(r"\\\1", part), "AP<sub>{}</sub>")


def _markdown_line(cells: Line) -> str:
    texts = [_markdown(text) for text in _spread(cells)]
    kinds = [kind for cell in cells for kind in [cell.kind] * cell.span]
    bold = [f"**{t}**" if t and k == "ours" else t for t, k in zip(texts, kinds, strict=True)]
    return "| " + " | ".join(bold) + " |"


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "[": "{[}",  # a line break before it would take it, or a star, for an argument
    "*": "{*}",
    "<": "$<$",
    ">": "$>$",
    '"': "''",
    "✓": r"\checkmark",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "÷": r"$\div$",
    "Δ": r"$\Delta$",
    "\u2007": r"\phantom{0}",
}


def _latex(text: str) -> str:
    def escape(part: str) -> str:
        return "".join(LATEX.get(sign, sign) for sign in part)

    return _with_indices(text, escape, "AP$_{{{}}}$")


def _latex_line(cells: Line) -> str:
    texts = []
    for cell in cells:
        text = _latex(cell.text)
        if text and cell.kind == "ours":
            text = f"\\textbf{{{text}}}"
        texts.append(f"\\multicolumn{{{cell.span}}}{{c}}{{{text}}}" if cell.span > 1 else text)
    return " & ".join(texts) + r" \\"


def _html(text: str) -> str:
    return _with_indices(text, html.escape, "AP<sub>{}</sub>")


def _html_line(cells: Line, tag: str) -> str:
    texts = []
    for cell in cells:
        kind = f' class="{cell.kind}"' if cell.kind else ""
        span = f' colspan="{cell.span}"' if cell.span > 1 else ""
        texts.append(f"<{tag}{kind}{span}>{_html(cell.text)}</{tag}>")
    return "<tr>" + "".join(texts) + "</tr>"
