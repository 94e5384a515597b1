"""A grid in LaTeX's words: booktabs, numbers set to the right, their marks beyond the column."""

from reports.grids.cells import BREAK, PAD, Cell, Grid, Line, starts
from reports.grids.indices import with_indices

SIGNS = {
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
RANKS = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}
SIDES = {"left": "l", "right": "r"}

# A table wider than the text is made smaller; a narrow one stays as it is.
OPEN = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(grid: Grid) -> str:
    """A table environment for \\usepackage{amssymb, booktabs, graphicx}."""
    rows = ["\n".join(_line(cells, grid) for cells in block) for block in grid.blocks]
    notes = " \\\\\n".join(
        _escaped(note) for note in grid.notes_with(best="Bold", tied="underlined")
    )
    columns = "".join(SIDES[side] for side in grid.sides)
    lines = [
        "% needs \\usepackage{amssymb,booktabs,graphicx}",
        "\\begin{table}",
        "\\centering\\small",
        "\\setlength{\\belowcaptionskip}{4pt}",  # the classes have no room there
        f"\\caption{{{_escaped(grid.title)}}}",
        f"\\label{{tab:{grid.name}}}",
        OPEN,
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        "\\toprule",
        *_head(grid),
        "\n\\addlinespace\n".join(rows),
        "\\bottomrule",
        "\\end{tabular}}",
    ]
    if notes:
        lines += ["", "\\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _head(grid: Grid) -> list[str]:
    """The heads and their rules; none where no column has a head."""
    lines = []
    if any(cell.text for cell in grid.over):
        lines.append(_line(grid.over, grid))
        lines += [
            f"\\cmidrule(lr){{{i + 1}-{i + cell.span}}}"
            for i, cell in starts(grid.over)
            if cell.text
        ]
    if any(cell.text for cell in grid.head):
        lines += [_line(grid.head, grid), "\\midrule"]
    return lines


def _line(cells: Line, grid: Grid) -> str:
    texts = []
    for i, cell in starts(cells):
        text = _cell(cell)
        is_centered = cell.text == "✓" and grid.sides[i] == "right"
        if cell.span > 1 or is_centered:
            text = f"\\multicolumn{{{cell.span}}}{{c}}{{{text}}}"
        texts.append(text)
    return " & ".join(texts) + r" \\"


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text)
    if not text:
        return ""
    if cell.kind == "interval":
        text = f"{{\\scriptsize {text}}}"
    mark = f"\\rlap{{\\textsuperscript{{{_escaped(cell.mark)}}}}}" if cell.mark else ""
    return RANKS[cell.rank].format(text) + mark


def _escaped(text: str) -> str:
    def escape(part: str) -> str:
        return "".join(SIGNS.get(sign, sign) for sign in part)

    return with_indices(text, escape, "AP$_{{{}}}$")
