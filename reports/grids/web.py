"""A grid as HTML that a screen reader can read and a phone can show: a wide one scrolls by itself.

Colours are the page's: its variables --ink, --muted and --rule where it has them, else mixed from
its text, so that a table is light on dark where the page is.
"""

import html

from reports.grids.cells import BREAK, Cell, Grid, Line, starts
from reports.grids.indices import with_indices

RANKS = {
    "": "{}",
    "best": '<strong><span class="said">best: </span>{}</strong>',
    "tied": '<u>{}<span class="said"> (not told apart from the best)</span></u>',
}

STYLE = """<style>
.grid { --line: var(--ink, currentColor); --quiet: var(--muted, currentColor);
  --hair: var(--rule, color-mix(in srgb, currentColor 25%, transparent));
  margin: 1.5em 0; font: .875rem/1.45 system-ui, sans-serif; }
.grid figcaption { font-weight: 600; text-align: left; margin-bottom: .5em; }
.grid .wide { overflow-x: auto; position: relative; }
.grid .wide:focus-visible { outline: 2px solid; outline-offset: 2px; }
.grid table { border-collapse: collapse; border: 0; margin: 0; color: inherit; background: none;
  font: inherit; font-variant-numeric: tabular-nums lining-nums;
  border-top: 1.5px solid var(--line); border-bottom: 1.5px solid var(--line); }
.grid thead { border: 0; }
.grid thead tr:last-child > * { border-bottom: 1px solid var(--line); }
.grid tbody + tbody { border-top: 1px solid var(--hair); }
.grid tbody tr, .grid tbody tr:hover { background: none; }
.grid th, .grid td { padding: .15em .7em; text-align: left; vertical-align: baseline;
  font-weight: 400; border: 0; }
.grid thead th { font-weight: 600; vertical-align: bottom; }
.grid .first { padding-left: 0; }
.grid .number { text-align: right; white-space: nowrap; }
.grid .across { text-align: center; border-bottom: 1px solid var(--hair); }
.grid .interval { font-size: .85em; }
.grid .interval, .grid .difference { color: var(--quiet); }
.grid sup { position: absolute; font-size: .7em; line-height: 1; margin-left: .1em; }
.grid strong { font-weight: 700; }
.grid u { text-underline-offset: .2em; }
.grid .said { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; user-select: none; }
.grid p { margin: .3em 0; max-width: 46rem; color: var(--quiet); font-size: .95em; }
@media (max-width: 40rem) { .grid th, .grid td { padding: .15em .45em; } }
</style>"""


def to_html(grid: Grid) -> str:
    """A <figure> with a <table>; STYLE makes it look like a printed one."""
    body = "".join(f"<tbody>{_block(block, grid)}</tbody>\n" for block in grid.blocks)
    notes = "".join(
        f"<p>{_escaped(note)}</p>" for note in grid.notes_with(best="Bold", tied="underlined")
    )
    head = "".join(
        _head(cells, grid) for cells in (grid.over, grid.head) if any(cell.text for cell in cells)
    )
    name = html.escape(grid.name)
    return (
        f'<figure class="grid" id="{name}">\n'
        f'<figcaption id="{name}-title">{_escaped(grid.title)}</figcaption>\n'
        f'<div class="wide" role="region" aria-labelledby="{name}-title" tabindex="0">'
        f'<table aria-labelledby="{name}-title">\n<thead>{head}</thead>\n'
        f"{body}</table></div>\n"
        f"{notes}</figure>\n"
    )


def _head(cells: Line, grid: Grid) -> str:
    """One line of heads; what stands over nothing, or says nothing, heads nothing."""
    texts = []
    for i, cell in starts(cells):
        if not cell.text:
            texts.append("<td></td>" * cell.span)
        elif cell.span > 1:
            texts.append(
                f'<th scope="colgroup" class="across" colspan="{cell.span}">'
                f"{_escaped(cell.text)}</th>"
            )
        else:
            texts.append(f'<th scope="col"{_classes(cell, i, grid)}>{_escaped(cell.text)}</th>')
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
            texts.append(_cell(cell, i, grid, len(block) if i in shared else 1))
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


def _cell(cell: Cell, i: int, grid: Grid, rows: int) -> str:
    named = _classes(cell, i, grid)
    size = f' rowspan="{rows}"' if rows > 1 else ""
    size += f' colspan="{cell.span}"' if cell.span > 1 else ""
    text = RANKS[cell.rank].format(_escaped(cell.text)) if cell.text else ""
    text += f"<sup>{_escaped(cell.mark)}</sup>" if cell.mark else ""
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


def _escaped(text: str) -> str:
    return with_indices(text, html.escape, "AP<sub>{}</sub>").replace(BREAK, "<wbr>")
