"""Which tables a report prints: the paper's own form with our numbers in it, and each run's origin.

paper_grid   as the paper prints it; under each number of the paper ours, its interval where there
             is one, and the difference; a table that the paper does not have is printed in the
             same way, with ours alone
runs_grid    each run by its name, and by what made it

The best of the paper's numbers and of ours are marked, and those of ours not told apart from it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import assert_never

from detector.metrics import HEADINGS
from reports.differing import common, differing
from reports.facts import footnotes
from reports.numbers import (
    EARLY,
    MISSING,
    ComparedRow,
    Comparison,
    has_intervals,
    interval,
    level,
    number,
    signed,
    spread,
)
from reports.render import Cell, Grid, Line, Rank, line
from reports.results import Bundle, Result

Block = tuple[Line, ...]
Numbers = Sequence[tuple[ComparedRow, str]]  # whose, and which field of Metrics
SHORT = 2  # lines of a row that needs no rule to be told from its neighbours


def paper_grid(bundle: Bundle) -> Grid:
    """The table in the paper's form, our numbers under the paper's if any, footnotes below."""
    table, form = bundle.table, _Form(bundle.comparison)
    over: Line = ()
    match table.layout:
        case "rows":
            head, blocks = _rows_down(form)
        case "columns":
            head, blocks = _rows_across(form)
        case "grid":
            over, head, blocks = _down_and_across(form)
        case _:
            assert_never(table.layout)
    title = f"{table.label} of the paper. {table.title}" if table.number else table.heading
    notes = footnotes(bundle)
    return Grid(name=table.name, title=title, head=head, blocks=blocks, notes=notes, over=over)


class _Form:
    """The numbers of a table, and all that is shown of each."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison, self.table = comparison, comparison.table
        self.letters = differing(comparison).letters
        self.of_paper = {name: ranks_of_paper(comparison, name) for name in self.table.metrics}
        self.of_ours = {name: ranks_of_ours(comparison, name) for name in self.table.metrics}

    @property
    def whose(self) -> tuple[str, ...]:
        """The head of the column that says whose number it is, where there are several."""
        has_several = self.table.has_paper or has_intervals(self.comparison)
        return ("",) if has_several else ()

    def lines(self, stub: Sequence[str], numbers: Numbers) -> Block:
        """The paper's line, ours, its interval, and the difference, as far as there are any."""
        ours = [self._ours(row, name) for row, name in numbers]
        found = {"paper": [self._paper(row, name) for row, name in numbers]}
        found["ours ±sd" if any("±" in cell.text for cell in ours) else "ours"] = ours
        if any(name in row.estimates for row, name in numbers):
            found[level()] = [
                Cell(interval(row.estimates.get(name)), "interval") for row, name in numbers
            ]
        found["Δ"] = [self._difference(row, name) for row, name in numbers]
        lines = [
            [*([Cell(label, cells[0].kind)] if self.whose else []), *cells]
            for label, cells in found.items()
            if any(cell.text for cell in cells)
        ]
        blank = [""] * len(stub)
        return tuple((*line(*(blank if i else stub)), *cells) for i, cells in enumerate(lines))

    def _paper(self, row: ComparedRow, name: str) -> Cell:
        paper = row.metrics[name].paper
        text = "" if paper is None else number(paper)
        return Cell(text, "paper", rank=self.of_paper[name].get(row.row.label, ""))

    def _ours(self, row: ComparedRow, name: str) -> Cell:
        """Our number; of a run that was ended early its last AP, marked as what it is."""
        ours, label = row.metrics[name].ours, row.row.label
        early = [stopped.ap for stopped in row.stopped if stopped.ap is not None]
        if ours.n == 0 and early and name == "ap":
            return Cell(f"{EARLY}{max(early):.1f}", "ours")
        text = number(ours.mean) if name in row.estimates else spread(ours)
        mark = self.letters.get(label, "") if ours.n else ""
        return Cell(text, "ours", rank=self.of_ours[name].get(label, ""), mark=mark)

    def _difference(self, row: ComparedRow, name: str) -> Cell:
        found = row.metrics[name]
        return Cell("" if found.paper is None else signed(found.difference), "difference")


def _rows_down(form: _Form) -> tuple[Line, tuple[Block, ...]]:
    """Tables 3, 5, 6, 7, 8: a run per block, a metric per column."""
    table = form.table
    head = line(*table.headings, *form.whose, *(HEADINGS[name] for name in table.metrics))
    rows = [
        form.lines(row.row.cells, [(row, name) for name in table.metrics])
        for row in form.comparison.rows
    ]
    return head, _together(rows)


def _together(rows: Iterable[Block]) -> tuple[Block, ...]:
    """Rows as blocks; short neighbours need no rule between them."""
    blocks: list[Block] = []
    for is_short, neighbours in groupby(rows, lambda row: len(row) <= SHORT):
        lines = list(neighbours)
        blocks += [tuple(one for row in lines for one in row)] if is_short else lines
    return tuple(blocks)


def _rows_across(form: _Form) -> tuple[Line, tuple[Block, ...]]:
    """Tables 1 and 4: a run per column, under it what the paper prints of it, then the AP."""
    rows, whose = form.comparison.rows, form.whose
    first, *others = form.table.headings
    columns = [row.row.cells for row in rows]
    head = (*line(first, *whose), *_merged([cells[0] for cells in columns]))
    toggles = tuple(
        line(heading, *whose, *(cells[i] for cells in columns))
        for i, heading in enumerate(others, start=1)
    )
    numbers = form.lines(("AP (%)",), [(row, "ap") for row in rows])
    return head, (toggles, numbers) if toggles else (numbers,)


def _down_and_across(form: _Form) -> tuple[Line, Line, tuple[Block, ...]]:
    """Table 2: the first cell goes down, the second across."""
    by_cells = {row.row.cells: row for row in form.comparison.rows}
    down = dict.fromkeys(cells[0] for cells in by_cells)
    across = dict.fromkeys(cells[1] for cells in by_cells)
    of_lines, of_columns = form.table.headings
    over = (*line("", *form.whose), Cell(of_columns, span=len(across)))
    head = line(of_lines, *form.whose, *across)
    blocks = (
        form.lines((one,), [(by_cells[one, other], "ap") for other in across]) for one in down
    )
    return over, head, tuple(blocks)


def _merged(texts: Iterable[str]) -> Line:
    """Equal neighbours as one wide cell."""
    cells: list[Cell] = []
    for text in texts:
        if cells and cells[-1].text == text:
            cells[-1] = Cell(text, span=cells[-1].span + 1)
        else:
            cells.append(Cell(text))
    return tuple(cells)


ORIGINS = ("code", "MLflow run")  # facts of a run that tell what made it, and where its record is


def runs_grid(bundle: Bundle) -> Grid:
    """Every run: its name, seed, AP and time, and what each number can be traced by."""
    comparison = bundle.comparison
    shown = [name for name in ORIGINS if common(comparison, name) is None and _has(bundle, name)]
    head = line("Run", "signature", "seed", "AP", "minutes", *shown)
    blocks = tuple(_run_lines(row, shown) for row in comparison.rows if row.signatures)
    notes = [
        f"Data: {bundle.data}, fingerprint {bundle.fingerprint}. A run's folder is called by its "
        "signature."
    ]
    notes += [
        f"{name[0].upper()}{name[1:]}: {value}."
        for name in ORIGINS
        if (value := common(comparison, name)) is not None
    ]
    name = f"{bundle.table.name}-runs"
    title = "Runs, by signature"
    return Grid(name=name, title=title, head=head, blocks=blocks, notes=tuple(notes))


def _has(bundle: Bundle, fact: str) -> bool:
    return any(fact in result.facts for result in bundle.results.values())


def _run_lines(row: ComparedRow, shown: Sequence[str]) -> Block:
    by_name = {result.signature: result for result in row.results}
    lines = []
    for label, name in zip_longest([row.row.label], row.signatures, fillvalue=""):
        lines.append(line(label, name, *_run_cells(by_name.get(name), shown)))
    return tuple(lines)


def _run_cells(result: Result | None, shown: Sequence[str]) -> list[str]:
    if result is None:
        return [MISSING] * (3 + len(shown))
    minutes = MISSING if result.seconds is None else f"{result.seconds / 60:.1f}"
    origins = [str(result.facts.get(name, MISSING)) for name in shown]
    return [f"{result.seed}", number(result.metrics.ap), minutes, *origins]


# Which numbers are the best of their kind, and which are not told apart from those. The paper's are
# compared as printed. Of ours the highest mean is the best, with all that print the same; others
# are tied with it unless told apart with all rows looked at at once. What is unknown is not
# different. Without any interval nothing is called tied.


def ranks_of_paper(comparison: Comparison, metric: str) -> dict[str, Rank]:
    """Row label -> rank of the paper's number; empty for fewer than two."""
    rows = {row.row.label: row.metrics[metric].paper for row in comparison.rows}
    return _best({label: value for label, value in rows.items() if value is not None})


def ranks_of_ours(comparison: Comparison, metric: str) -> dict[str, Rank]:
    """Row label -> rank of our mean; empty for fewer than two."""
    rows = {row.row.label: row for row in comparison.rows}
    means = {label: row.metrics[metric].ours.mean for label, row in rows.items()}
    measured = {label: mean for label, mean in means.items() if mean is not None}
    ranks = _best(measured)
    if not ranks:
        return {}
    told = _worse([rows[label] for label in measured], metric)
    if told is None:
        return ranks
    is_worse = dict(zip(measured, told, strict=True))
    return ranks | {
        label: "tied" for label in measured if label not in ranks and not is_worse[label]
    }


def _worse(rows: list[ComparedRow], metric: str) -> list[bool | None] | None:
    """Of each row whether it is told apart from the highest; None where none has intervals."""
    if not any(row.scores for row in rows):
        return None
    from reports.intervals import told_apart  # imports numpy, which lists need not wait for

    return told_apart([row.scores for row in rows], metric)


def _best(values: Mapping[str, float]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    texts = {label: number(value) for label, value in values.items()}
    if len(set(texts.values())) < 2:
        return {}
    highest = texts[max(values, key=lambda label: values[label])]
    return {label: "best" for label, text in texts.items() if text == highest}
