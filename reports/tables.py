"""Which tables a report prints: the paper's own form with our numbers in it, and what goes with it.

paper_grid   as the paper prints it; under each number of the paper ours and the difference; a
             table that the paper does not have is printed in the same way, with ours alone
gains_grid   AP against the table's reference row: what may hold at any scale is a direction
runs_grid    each run by its name
csv_text     every number in full precision, one metric of one row per line
"""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from typing import assert_never

from detector.metrics import HEADINGS
from experiments.experiment import Table
from reports.bundle import Bundle
from reports.compare import Compared, ComparedRow, Comparison, Sample
from reports.facts import EARLY, MISSING, footnotes
from reports.grid import Cell, Grid, Line, line


def paper_grid(bundle: Bundle) -> Grid:
    """The table in the paper's form, our numbers under the paper's if any, footnotes below."""
    comparison = bundle.comparison
    table = comparison.table
    match table.layout:
        case "rows":
            head, blocks = _rows_down(comparison)
        case "columns":
            head, blocks = _rows_across(comparison)
        case "grid":
            head, blocks = _down_and_across(comparison)
        case _:
            assert_never(table.layout)
    title = f"{table.label} of the paper. {table.title}" if table.number else table.heading
    return Grid(name=table.name, title=title, head=head, blocks=blocks, notes=footnotes(bundle))


def _rows_down(comparison: Comparison) -> tuple[Line, tuple[tuple[Line, ...], ...]]:
    """Tables 3, 5, 6, 7: a run per block, a metric per column."""
    table = comparison.table
    head = line(*table.headings, *_whose(table), *(HEADINGS[name] for name in table.metrics))
    rows = [
        _lines(table, row.row.cells, [(row, row.metrics[name]) for name in table.metrics])
        for row in comparison.rows
    ]
    return head, _together(rows)


def _together(rows: Iterable[tuple[Line, ...]]) -> tuple[tuple[Line, ...], ...]:
    """Rows as blocks; neighbours of one line each need no rule between them."""
    blocks: list[tuple[Line, ...]] = []
    for is_short, neighbours in groupby(rows, lambda row: len(row) == 1):
        lines = list(neighbours)
        blocks += [tuple(one for row in lines for one in row)] if is_short else lines
    return tuple(blocks)


def _rows_across(comparison: Comparison) -> tuple[Line, tuple[tuple[Line, ...], ...]]:
    """Tables 1 and 4: a run per column, under it what the paper prints of it, then the AP."""
    table = comparison.table
    first, *others = table.headings
    columns = [row.row.cells for row in comparison.rows]
    head = (*line(first, *_whose(table)), *_merged([cells[0] for cells in columns]))
    toggles = tuple(
        line(heading, *_whose(table), *(cells[i] for cells in columns))
        for i, heading in enumerate(others, start=1)
    )
    numbers = _lines(table, ("AP (%)",), [(row, row.ap) for row in comparison.rows])
    return head, (toggles, numbers) if toggles else (numbers,)


def _down_and_across(comparison: Comparison) -> tuple[Line, tuple[tuple[Line, ...], ...]]:
    """Table 2: the first cell goes down, the second across."""
    table = comparison.table
    by_cells = {row.row.cells: (row, row.ap) for row in comparison.rows}
    down = dict.fromkeys(cells[0] for cells in by_cells)
    across = dict.fromkeys(cells[1] for cells in by_cells)
    head = line(" \\ ".join(table.headings), *_whose(table), *across)
    blocks = (_lines(table, (one,), [by_cells[one, other] for other in across]) for one in down)
    return head, tuple(blocks)


def _whose(table: Table) -> tuple[str, ...]:
    """The head of the column that says whose number it is, where there are two."""
    return ("",) if table.has_paper else ()


def _lines(
    table: Table, stub: Sequence[str], numbers: Sequence[tuple[ComparedRow, Compared]]
) -> tuple[Line, ...]:
    """The paper's line, ours, and the difference; ours alone where the paper has none."""
    ours = [Cell(_ours(row, n), "ours") for row, n in numbers]
    if not table.has_paper:
        return ((*line(*stub), *ours),)
    if all(n.paper is None for _, n in numbers):
        return ((*line(*stub), Cell("ours", "ours"), *ours),)
    blank = line(*("" for _ in stub))
    paper = ["" if n.paper is None else number(n.paper) for _, n in numbers]
    difference = ["" if n.paper is None else signed(n.difference) for _, n in numbers]
    return (
        (*line(*stub, "paper"), *(Cell(text, "paper") for text in paper)),
        (*blank, Cell("ours", "ours"), *ours),
        (*blank, Cell("Δ", "difference"), *(Cell(text, "difference") for text in difference)),
    )


def _ours(row: ComparedRow, n: Compared) -> str:
    """Our number; of a run that was ended early its last AP, marked as what it is."""
    early = [stopped.ap for stopped in row.stopped if stopped.ap is not None]
    if n.ours.n == 0 and early and n is row.ap:
        return f"{EARLY}{max(early):.1f}"
    return spread(n.ours)


def _merged(texts: Iterable[str]) -> Line:
    """Equal neighbours as one wide cell."""
    cells: list[Cell] = []
    for text in texts:
        if cells and cells[-1].text == text:
            cells[-1] = Cell(text, span=cells[-1].span + 1)
        else:
            cells.append(Cell(text))
    return tuple(cells)


def number(value: float | None) -> str:
    """One decimal, as the paper; figure spaces keep the points of 5.3 and 12.8 in one line."""
    return MISSING if value is None else f"{value:.1f}".rjust(4, "\u2007")


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if value is None:
        return MISSING
    text = f"{abs(value):.1f}"
    sign = "±" if float(text) == 0 else "+" if value > 0 else "−"
    return sign + text


def spread(sample: Sample) -> str:
    """Mean, and standard deviation where several seeds tell one."""
    return number(sample.mean) + ("" if sample.std is None else f" ±{sample.std:.1f}")


def gains_grid(comparison: Comparison) -> Grid:
    """AP of every row, and what it changes against the reference row: the paper's and ours."""
    table, reference = comparison.table, comparison.reference.row.label
    heads = {"AP": ["AP, paper", "AP, ours"], "change": ["change, paper", "change, ours"]}
    shown = [names if table.has_paper else names[1:] for names in heads.values()]
    return Grid(
        name=f"{table.name}-gains",
        title=f"AP (%), and its change against “{reference}”",
        head=line("Run", *(name for names in shown for name in names), "seeds"),
        blocks=(
            tuple(
                _gain_line(row, row.row.label == reference, table.has_paper)
                for row in comparison.rows
            ),
        ),
        notes=(
            "Changes of ours are paired by seed: the mean of the differences ± their standard "
            "deviation.",
        ),
    )


def _gain_line(row: ComparedRow, is_reference: bool, has_paper: bool) -> Line:
    ap, std = row.ap, row.ap.gain.std
    gain = signed(ap.gain.mean) + ("" if std is None else f" ±{std:.1f}")
    paper_gain = "" if ap.paper_gain is None else signed(ap.paper_gain)
    changes = ("", "") if is_reference else (paper_gain, gain)
    return (
        Cell(row.row.label),
        *([Cell("" if ap.paper is None else number(ap.paper))] if has_paper else []),
        Cell(spread(ap.ours), "ours"),
        *([Cell(changes[0])] if has_paper else []),
        Cell(changes[1], "ours"),
        Cell(f"{ap.ours.n}"),
    )


def runs_grid(comparison: Comparison) -> Grid:
    """Every run: its name, seed, time and AP."""
    head = line("Run", "signature", "seed", "AP", "minutes")
    blocks = tuple(_run_lines(row) for row in comparison.rows if row.signatures)
    name = f"{comparison.table.name}-runs"
    return Grid(name=name, title="Runs, by signature", head=head, blocks=blocks)


def _run_lines(row: ComparedRow) -> tuple[Line, ...]:
    by_name = {result.signature: result for result in row.results}
    lines = []
    for label, name in zip_longest([row.row.label], row.signatures, fillvalue=""):
        result = by_name.get(name)
        if result is None:
            lines.append(line(label, name, MISSING, MISSING, MISSING))
            continue
        minutes = MISSING if result.seconds is None else f"{result.seconds / 60:.1f}"
        lines.append(line(label, name, f"{result.seed}", number(result.metrics.ap), minutes))
    return tuple(lines)


COLUMNS = (
    *("table", "row", "metric", "paper", "ours", "std", "n", "difference"),
    *("paper_gain", "gain", "gain_std", "seeds", "signatures"),
)


def csv_text(comparison: Comparison) -> str:
    """Long form under COLUMNS; what is not known stays empty; lists are separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.rows:
        for name, heading in HEADINGS.items():
            n = row.metrics[name]
            seeds = " ".join(str(seed) for seed in n.ours.by_seed)
            writer.writerow(
                [comparison.table.number or comparison.table.name, row.row.label, heading]
                + [n.paper, n.ours.mean, n.ours.std, n.ours.n, n.difference]
                + [n.paper_gain, n.gain.mean, n.gain.std, seeds, " ".join(row.signatures)]
            )
    return text.getvalue()
