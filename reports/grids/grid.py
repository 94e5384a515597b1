"""A printed table, whatever it says, and four ways to write it down.

    Grid -> terminal (rich), markdown, latex (amssymb, booktabs, graphicx), to_html

Cells hold plain text. Each writer escapes what its language would misread, sets the index of AP50
or AP_S low where it can, sets numbers to the right so that their points align, and shows the rank
of a number: the best of its kind bold, those not told apart from it underlined.
"""

import re

from reports.grids.cells import BREAK, Cell, Grid, Kind, Line, line, over_each_column
from reports.grids.indices import with_indices
from reports.grids.latex import latex
from reports.grids.terminal import terminal
from reports.grids.web import STYLE, to_html

__all__ = [
    "BREAK",
    "STYLE",
    "Cell",
    "Grid",
    "Kind",
    "Line",
    "latex",
    "line",
    "markdown",
    "terminal",
    "to_html",
]

RULES = {"left": ":--", "right": "--:"}
RANKS = {"": "{}", "best": "**{}**", "tied": "<ins>{}</ins>"}


def markdown(grid: Grid) -> str:
    """A GitHub table; the covered columns of a wide cell stay empty."""
    lines = [f"**{_escaped(grid.title)}**", ""]
    lines += [_written(_head(grid)), "|" + "|".join(RULES[side] for side in grid.sides) + "|"]
    lines += [_written(over_each_column(cells)) for block in grid.blocks for cells in block]
    for note in grid.notes_with(best="Bold", tied="underlined"):
        lines += ["", _escaped(note)]
    return "\n".join(lines) + "\n"


def _head(grid: Grid) -> list[Cell]:
    """The one line of heads that Markdown has: what stands over a head goes in front of it."""
    heads = over_each_column(grid.head)
    over = [cell.text for cell in grid.over for _ in range(cell.span)] or [""] * len(heads)
    return [
        Cell(f"{above}: {head.text}") if above and head.text else head
        for above, head in zip(over, heads, strict=True)
    ]


def _written(cells: list[Cell]) -> str:
    texts = []
    for cell in cells:
        text = RANKS[cell.rank].format(_escaped(cell.text))
        texts.append(text + (f"<sup>{_escaped(cell.mark)}</sup>" if cell.mark else ""))
    return "| " + " | ".join(texts) + " |"


def _escaped(text: str) -> str:
    escape = re.compile(r"([\\`*_|<>\[\]])")
    text = text.replace(BREAK, "")
    return with_indices(text, lambda part: escape.sub(r"\\\1", part), "AP<sub>{}</sub>")
