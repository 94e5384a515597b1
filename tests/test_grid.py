"""The writers of a table, letter by letter, and what no writer may do to a text."""

import io
import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest
from made_up_results import make_bundle, with_scores
from rich.console import Console
from test_oracles import check

from experiments import TABLES
from experiments.ablations import FACTORIAL
from reports.effects import effects_grids
from reports.render import BREAK, Cell, Grid, latex, line, markdown, part, terminal
from reports.tables import changes_grid, gains_grid, paper_grid, runs_grid

OURS = {"rank": "tied", "mark": "a"}
SMALL = Grid(
    name="small",
    title="Of 100% & more",
    over=line("", "", "over both", "over both"),
    head=line("#A_1|x", "", "AP50", "AP_S"),
    blocks=(
        (
            (Cell("✓ <a>"), Cell("paper", "paper"), Cell("37.8", "paper", rank="best"), Cell("–")),
            (Cell(), Cell("ours", "ours"), Cell("16.3", "ours", **OURS), Cell("\u20075.0", "ours")),
            (
                *(Cell(), Cell("95 %", "interval")),
                *(Cell(f"15.0–{BREAK}17.9", "interval"), Cell(f"4.0–{BREAK}6.0", "interval")),
            ),
        ),
        ((*line("", "Δ", "−21.5"), Cell("+0.1", "difference", mark="*")),),
    ),
    notes=("{best}: most; {tied}: as much.", "÷ and AP_S."),
)
NASTY = 'a_b & 100% #1 $x ~^ {c} \\d "e" <script>|*`'
all_tables = pytest.mark.parametrize("table", [*TABLES.values(), FACTORIAL], ids=lambda it: it.name)


def printed(grid, width=100):
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(terminal(grid))
    return "\n".join(text.rstrip() for text in console.file.getvalue().splitlines())


def grids_of(table, seeds=(0, 1)):
    """All grids of a table's report, with intervals, and with a row unlike the others."""
    bundle = with_scores(make_bundle(table, seeds, missing={(table.rows[0].label, 1)}))
    return [
        *(paper_grid(bundle), gains_grid(bundle), *changes_grid(bundle)),
        *(*effects_grids(bundle), runs_grid(bundle)),
    ]


def test_a_grid_letter_by_letter():
    check("grid/small.md", markdown(SMALL))
    check("grid/small.tex", latex(SMALL))
    check("grid/small.html", part("grid", SMALL))
    check("grid/small.txt", printed(SMALL))


@pytest.mark.parametrize("width", [20, 80])
@all_tables
def test_nothing_is_wider_than_the_terminal_or_lost_in_it(table, width):
    """On 80 columns every table is one table, with its numbers whole; on 20 they are folded."""
    for grid in grids_of(table):
        lines = printed(grid, width).splitlines()
        assert max(map(len, lines)) <= width
        assert sum(set(text.strip()) == {"─"} for text in lines) == 2 + len(grid.blocks)
        numbers = [cell.text for cells in grid.lines for cell in cells]
        for number in filter(re.compile(r"[+−±]?\d+\.\d$").match, numbers):
            assert width < 80 or "\n".join(lines).count(number) >= numbers.count(number)


# --- texts that could be misread


def test_whatever_a_data_set_is_called_is_escaped():
    grid = paper_grid(make_bundle("table1", data=NASTY))
    text = latex(grid)
    name = next(entry for entry in text.splitlines() if "100" in entry)
    assert all(f"\\{sign}" in name for sign in "&%#$_{}")
    assert "\\textasciitilde{}\\textasciicircum{}" in name and "\\textbackslash{}d" in name
    body = re.sub(r"\\[\\&%#$_{}]", "", text)
    assert body.count("{") == body.count("}") and body.count("$") % 2 == 0 and "#" not in body
    for row in [row for row in text.splitlines() if row.endswith(r" \\")][:9]:
        wide = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d)\}", row)]
        assert row.replace(r"\&", "").count("&") + 1 + sum(wide) == len(grid.columns)
    assert "<script>" not in part("grid", grid) and "\\<script\\>\\|\\*\\`" in markdown(grid)
    assert "[red]data[/]" in printed(paper_grid(make_bundle("table2", data="[red]data[/]")))


# --- LaTeX that compiles, HTML that can be read


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, which is not here")
def test_every_table_compiles_without_an_overfull_line(tmp_path):
    grids = [grid for table in [*TABLES.values(), FACTORIAL] for grid in grids_of(table)]
    grids += [*grids_of(TABLES["table3"], (0,)), paper_grid(make_bundle("table1", data=NASTY))]
    head = "\\documentclass{article}\\usepackage{amssymb,booktabs,graphicx}\\begin{document}"
    source = "\n".join([head, "\\clearpage\n".join(map(latex, grids)), "\\end{document}"])
    (tmp_path / "all.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    problems = [text for text in done.stdout.splitlines() if text.startswith(("!", "Overfull \\h"))]
    assert problems == [] and done.returncode == 0
    assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace")


@all_tables
def test_html_is_well_formed_and_every_line_covers_all_columns(table):
    for grid in grids_of(table):
        root = ElementTree.fromstring(part("grid", grid).replace("<wbr>", ""))
        assert all(head.get("scope") for head in root.iter("th"))
        for lines in (*root.iter("thead"), *root.iter("tbody")):
            names = [cell for cell in lines[0] if cell.get("rowspan")]
            assert all(int(cell.get("rowspan")) == len(lines) > 1 for cell in names)
            for place, cells in enumerate(lines):
                wide = sum(int(cell.get("colspan", 1)) for cell in cells)
                assert wide + (len(names) if place else 0) == len(grid.columns)
