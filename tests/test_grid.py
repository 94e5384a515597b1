"""The writers of a table, letter by letter, and what no writer may do to a text."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from made_up_results import make_bundle, with_scores
from rich.console import Console

from experiments import TABLES
from experiments.ablations import FACTORIAL
from reports.effects import effects_grids
from reports.render import BREAK, STYLE, Cell, Grid, latex, line, markdown, terminal, to_html
from reports.tables import changes_grid, gains_grid, paper_grid, runs_grid

SMALL = Grid(
    name="small",
    title="Of 100% & more",
    over=(*line("", ""), Cell("over both", span=2)),
    head=line("#A_1|x", "", "AP50", "AP_S"),
    blocks=(
        (
            (
                *(Cell("✓ <a>"), Cell("paper", "paper")),
                *(Cell("37.8", "paper", rank="best"), Cell("–", "paper")),
            ),
            (
                *(Cell(), Cell("ours", "ours")),
                *(Cell("16.3", "ours", rank="tied", mark="a"), Cell("\u20075.0", "ours")),
            ),
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


def printed(grid, width=100):
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(terminal(grid))
    return "\n".join(text.rstrip() for text in console.file.getvalue().splitlines())


def grids_of(table, seeds=(0, 1)):
    """All grids of a table's report, with intervals, and with a row unlike the others."""
    bundle = with_scores(make_bundle(table, seeds))
    name = next(iter(bundle.results))
    odd = {name: replace(bundle.results[name], facts={"device": "cuda"})}
    bundle = replace(bundle, results={**bundle.results, **odd})
    return [
        *(paper_grid(bundle), gains_grid(bundle), *changes_grid(bundle)),
        *(*effects_grids(bundle), runs_grid(bundle)),
    ]


def test_markdown_letter_by_letter():
    assert markdown(SMALL) == (
        "**Of 100% & more**\n"
        "\n"
        "| #A\\_1\\|x |  | over both: AP<sub>50</sub> | over both: AP<sub>S</sub> |\n"
        "|:--|:--|--:|--:|\n"
        "| ✓ \\<a\\> | paper | **37.8** | – |\n"
        "|  | ours | <ins>16.3</ins><sup>a</sup> | 5.0 |\n"
        "|  | 95 % | 15.0–17.9 | 4.0–6.0 |\n"
        "|  | Δ | −21.5 | +0.1<sup>\\*</sup> |\n"
        "\n"
        "Bold: most; underlined: as much.\n"
        "\n"
        "÷ and AP<sub>S</sub>.\n"
    )


def test_latex_letter_by_letter():
    assert latex(SMALL) == (
        "% needs \\usepackage{amssymb,booktabs,graphicx}\n"
        "\\begin{table}\n"
        "\\centering\\small\n"
        "\\setlength{\\belowcaptionskip}{4pt}\n"
        "\\caption{Of 100\\% \\& more}\n"
        "\\label{tab:small}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        "\\begin{tabular}{@{}llrr@{}}\n"
        "\\toprule\n"
        " &  & \\multicolumn{2}{c}{over both} \\\\\n"
        "\\cmidrule(lr){3-4}\n"
        "\\#A\\_1|x &  & AP$_{50}$ & AP$_{S}$ \\\\\n"
        "\\midrule\n"
        "$\\checkmark$ $<$a$>$ & paper & \\textbf{37.8} & -- \\\\\n"
        " & ours & \\underline{16.3}\\rlap{\\textsuperscript{a}} & \\phantom{0}5.0 \\\\\n"
        " & {\\scriptsize 95 \\%} & {\\scriptsize 15.0--17.9} & {\\scriptsize 4.0--6.0} \\\\\n"
        "\\addlinespace\n"
        " & $\\Delta$ & $-$21.5 & +0.1\\rlap{\\textsuperscript{{*}}} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}}\n"
        "\n"
        "\\smallskip\n"
        "\\parbox{\\linewidth}{\\footnotesize Bold: most; underlined: as much. \\\\\n"
        "$\\div$ and AP$_{S}$.}\n"
        "\\end{table}\n"
    )


def test_html_letter_by_letter():
    assert to_html(SMALL) == (
        '<figure class="grid" id="small">\n'
        '<figcaption id="small-title">Of 100% &amp; more</figcaption>\n'
        '<div class="wide" role="region" aria-labelledby="small-title" tabindex="0">'
        '<table aria-labelledby="small-title">\n'
        '<thead><tr><td></td><td></td><th scope="colgroup" class="across" colspan="2">over both'
        '</th></tr><tr><th scope="col" class="first">#A_1|x</th><td></td>'
        '<th scope="col" class="number">AP<sub>50</sub></th>'
        '<th scope="col" class="number">AP<sub>S</sub></th></tr></thead>\n'
        '<tbody><tr><th scope="rowgroup" class="first" rowspan="3">✓ &lt;a&gt;</th>'
        '<th scope="row" class="paper">paper</th>'
        '<td class="number paper"><strong><span class="said">best: </span>37.8</strong></td>'
        '<td class="number paper">–</td></tr>'
        '<tr><th scope="row" class="ours">ours</th><td class="number ours"><u>16.3'
        '<span class="said"> (not told apart from the best)</span></u><sup>a</sup></td>'
        '<td class="number ours">\u20075.0</td></tr>'
        '<tr><th scope="row" class="interval">95 %</th>'
        '<td class="number interval">15.0–<wbr>17.9</td>'
        '<td class="number interval">4.0–<wbr>6.0</td></tr></tbody>\n'
        '<tbody><tr><td class="first"></td><td>Δ</td><td class="number">−21.5</td>'
        '<td class="number difference">+0.1<sup>*</sup></td></tr></tbody>\n'
        "</table></div>\n"
        "<p>Bold: most; underlined: as much.</p><p>÷ and AP<sub>S</sub>.</p></figure>\n"
    )


def test_terminal_letter_by_letter():
    assert printed(SMALL) == (
        "Of 100% & more\n"
        " ─────────────────────────────────\n"
        "                over both\n"
        " #A_1|x              AP50     AP_S\n"
        " ─────────────────────────────────\n"
        " ✓ <a>   paper     37.8●        –\n"
        "         ours      16.3○a    \u20075.0\n"
        "         95 %   15.0–17.9  4.0–6.0\n"
        " ─────────────────────────────────\n"
        "         Δ        −21.5      +0.1*\n"
        " ─────────────────────────────────\n"
        "● bold: most; ○: as much.\n"
        "÷ and AP_S."
    )


def test_a_narrow_terminal_folds_intervals_then_names_and_cuts_last():
    folded = printed(SMALL, 31).splitlines()
    first = next(place for place, text in enumerate(folded) if "15.0–" in text)
    assert "4.0–" in folded[first]
    assert [*folded[first + 1].split()] == ["17.9", "6.0"]
    named = replace(SMALL, blocks=((line("a name of many words", "", "1.0", "2.0"),),))
    wrapped = printed(named, 30).splitlines()
    assert any("many" in text and "1.0" not in text for text in wrapped)
    assert printed(SMALL, 26).count("✓ <a>") == 2  # two tables, each with the names


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("table", [*TABLES.values(), FACTORIAL], ids=lambda table: table.name)
def test_nothing_is_wider_than_the_terminal_or_lost_in_it(table, width):
    if table is FACTORIAL and width < 80:
        return  # five columns of names leave no room for a number
    for grid in grids_of(table):
        text = printed(grid, width)
        assert max(map(len, text.splitlines())) <= width
        numbers = [cell.text for block in grid.blocks for cells in block for cell in cells]
        for number in filter(re.compile(r"[+−±]?\d+\.\d$").match, numbers):
            assert text.count(number) >= numbers.count(number)


@pytest.mark.parametrize("table", [*TABLES.values(), FACTORIAL], ids=lambda table: table.name)
def test_on_80_columns_every_table_of_the_paper_is_one_table(table):
    for grid in [] if table.number == 8 else grids_of(table):  # which has two columns of names
        rules = [text for text in printed(grid, 80).splitlines() if set(text.strip()) == {"─"}]
        assert len(rules) == 2 + len(grid.blocks)


def test_wide_letters_keep_the_columns_straight():
    grid = Grid(name="n", title="", head=line("Run", "AP"), blocks=((line("検出", "1.0"),),))
    assert printed(grid).splitlines()[3] == " 検出  1.0"  # two letters, four columns


def test_numbers_are_set_to_the_right_and_words_to_the_left():
    lines = (line("1", "a", "−1.0", "✓", "1,000"), line("2", "", "–", "", "5"))
    grid = Grid(name="n", title="", head=line(*"abcde"), blocks=(lines,))
    assert grid.sides == ("left", "left", "right", "right", "right")


# --- texts that could be misread


def nasty_grid():
    return paper_grid(make_bundle("table1", data=NASTY))


def test_latex_escapes_whatever_a_data_set_is_called():
    text = latex(nasty_grid())
    line_of_name = next(entry for entry in text.splitlines() if "100" in entry)
    for sign in "&%#$_{}":
        assert f"\\{sign}" in line_of_name
    assert "\\textasciitilde{}\\textasciicircum{}" in line_of_name
    assert "\\textbackslash{}d" in line_of_name
    body = re.sub(r"\\[\\&%#$_{}]", "", text)
    assert body.count("{") == body.count("}")
    assert body.count("$") % 2 == 0
    assert body.count("\\begin") == body.count("\\end") == 2
    assert "#" not in body


def test_latex_rows_have_as_many_cells_as_the_table_has_columns():
    rows = [row for row in latex(nasty_grid()).splitlines() if row.endswith(r" \\")][:9]
    for row in rows:
        plain = row.replace(r"\&", "")
        wide = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d)\}", plain)]
        assert plain.count("&") + 1 + sum(wide) == 9


def test_a_padded_number_is_bold_in_markdown():
    grid = replace(
        SMALL, blocks=(((Cell("row"), Cell("ours"), Cell("\u20075.0", rank="best"), Cell()),),)
    )
    assert "| **5.0** |" in markdown(grid)


def test_html_and_markdown_escape_whatever_a_data_set_is_called():
    assert "<script>" not in to_html(nasty_grid())
    assert "\\<script\\>\\|\\*\\`" in markdown(nasty_grid())


def test_rich_markup_in_a_name_is_text():
    assert "[red]data[/]" in printed(paper_grid(make_bundle("table2", data="[red]data[/]")))


# --- LaTeX that compiles, HTML that can be read


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, which is not here")
def test_every_table_compiles_without_an_overfull_line(tmp_path):
    grids = [grid for table in [*TABLES.values(), FACTORIAL] for grid in grids_of(table)]
    grids += [*grids_of(TABLES["table3"], seeds=(0,)), nasty_grid()]
    bodies = [latex(grid) for grid in grids]
    source = "\n".join(
        [
            "\\documentclass{article}\\usepackage{amssymb,booktabs,graphicx}\\begin{document}",
            "\\clearpage\n".join(bodies),
            "\\end{document}",
        ]
    )
    (tmp_path / "all.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    problems = [text for text in done.stdout.splitlines() if text.startswith(("!", "Overfull \\h"))]
    assert problems == [] and done.returncode == 0
    assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace")
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("table", [*TABLES.values(), FACTORIAL], ids=lambda table: table.name)
def test_html_is_well_formed_and_every_line_covers_all_columns(table):
    for grid in grids_of(table):
        root = ElementTree.fromstring(to_html(grid).replace("<wbr>", ""))
        assert all(head.get("scope") for head in root.iter("th"))
        assert not [tag for tag in root.iter() if {"src", "href"} & set(tag.keys())]
        for part in (*root.iter("thead"), *root.iter("tbody")):
            names = [cell for cell in part[0] if cell.get("rowspan")]
            assert all(int(cell.get("rowspan")) == len(part) > 1 for cell in names)
            for place, cells in enumerate(part):
                wide = sum(int(cell.get("colspan", 1)) for cell in cells)
                assert wide + (len(names) if place else 0) == grid.width


def test_the_style_needs_nothing_from_outside_and_takes_the_pages_colours():
    assert "url(" not in STYLE and "@import" not in STYLE and "http" not in STYLE
    assert re.findall(r"#[0-9a-f]{3,6}\b", STYLE) == []  # no colour of its own, light or dark
