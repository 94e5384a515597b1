"""Which tables a report prints of a table's runs.

paper_grid     as the paper prints it; under each number of the paper ours, its interval where there
               is one, and the difference; a table that the paper does not have is printed in the
               same way, with ours alone
gains_grid     what may hold at any scale: AP of every row and its change against the reference row,
               the paper's and ours, with intervals and errors
changes_grid   the same change in every metric that the table prints
runs_grid      each run by its name, and by what made it

The best of the paper's numbers and of ours are marked, and those of ours not told apart from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import assert_never

from detector.metrics import HEADINGS
from reports.footnotes import common, differing, footnotes
from reports.numbers import (
    EARLY,
    MISSING,
    interval,
    least_shown,
    level,
    number,
    signed,
    signed_interval,
    spread,
)
from reports.render import Cell, Grid, Kind, Line, Rank, line
from reports.results import Bundle, ComparedRow, Result

Block = tuple[Line, ...]
Numbers = Sequence[tuple[ComparedRow, str]]  # whose, and which field of Metrics
SHORT = 2  # lines of a row that needs no rule to be told from its neighbours
COUNTS, COUNTS_FOR_THESE = "*", "(*)"  # marks of a change whose interval excludes zero
ORIGINS = ("code", "MLflow run")  # facts of a run that tell what made it, and where its record is


def paper_grid(bundle: Bundle) -> Grid:
    """The table in the paper's form, our numbers under the paper's if any, footnotes below."""
    table, form = bundle.table, _Form(bundle)
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

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.table = bundle, bundle.table
        self.letters, _ = differing(bundle)
        self.of_paper = {name: ranks_of_paper(bundle, name) for name in self.table.metrics}
        self.of_ours = {name: ranks_of_ours(bundle, name) for name in self.table.metrics}
        # The column that says whose number it is, where there are several.
        self.whose = ("",) if self.table.has_paper or bundle.has_intervals else ()

    def lines(self, stub: Sequence[str], numbers: Numbers) -> Block:
        """The paper's line, ours, its interval, and the difference, as far as there are any."""
        cells = [self._cells(row, name) for row, name in numbers]
        paper, ours, intervals, differences = (list(each) for each in zip(*cells, strict=True))
        found = {
            "paper": paper,
            "ours ±sd" if any("±" in cell.text for cell in ours) else "ours": ours,
            level(): intervals
            if any(row.metrics[name].ours.estimate for row, name in numbers)
            else [],
            "Δ": differences,
        }
        lines = {label: cells for label, cells in found.items() if any(it.text for it in cells)}
        return _block(stub, lines, bool(self.whose))

    def _cells(self, row: ComparedRow, name: str) -> tuple[Cell, Cell, Cell, Cell]:
        """The same of one number; of a run that was ended early its last AP, marked as that."""
        found, label = row.metrics[name], row.row.label
        early = [stopped.ap for stopped in row.stopped if stopped.ap is not None]
        if found.ours.n == 0 and early and name == "ap":
            ours = Cell(f"{EARLY}{max(early):.1f}", "ours")
        else:
            mark = self.letters.get(label, "") if found.ours.n else ""
            rank = self.of_ours[name].get(label, "")
            ours = Cell(_ours(row, name), "ours", rank=rank, mark=mark)
        rank = self.of_paper[name].get(label, "")
        difference = "" if found.paper is None else signed(found.difference)
        return (
            Cell(_if_any(found.paper, number), "paper", rank=rank),
            ours,
            Cell(interval(found.ours.estimate), "interval"),
            Cell(difference, "difference"),
        )


def _if_any(value: float | None, written: Callable[[float], str]) -> str:
    """A number of the paper's, which has not all."""
    return "" if value is None else written(value)


def _ours(row: ComparedRow, name: str) -> str:
    """Our number; with the spread between seeds where there is no interval."""
    ours = row.metrics[name].ours
    return number(ours.mean) if ours.estimate else spread(ours)


def _block(stub: Sequence[str], lines: Mapping[str, Sequence[Cell]], has_several: bool) -> Block:
    """Lines below each other: the stub once, then whose each is, where there are several."""
    blank = [""] * len(stub)
    return tuple(
        (*line(*(blank if i else stub)), *[Cell(whose, cells[0].kind)][:has_several], *cells)
        for i, (whose, cells) in enumerate(lines.items())
    )


def _rows_down(form: _Form) -> tuple[Line, tuple[Block, ...]]:
    """Tables 3, 5, 6, 7, 8: a run per block, a metric per column."""
    table = form.table
    head = line(*table.headings, *form.whose, *(HEADINGS[name] for name in table.metrics))
    rows = [
        form.lines(row.row.cells, [(row, name) for name in table.metrics])
        for row in form.bundle.rows
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
    rows, whose = form.bundle.rows, form.whose
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
    by_cells = {row.row.cells: row for row in form.bundle.rows}
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


def gains_grid(bundle: Bundle) -> Grid:
    """AP of every row, and what it changes against the reference row: the paper's and ours."""
    changes = [change for row in bundle.rows if (change := row.ap.gain.estimate)]
    has_errors = any(change.seed_error is not None for change in changes)
    is_shown = {"paper": bundle.table.has_paper, level(): bundle.has_intervals}
    is_shown |= {"images": has_errors, "seeds": has_errors}
    letters, notes = differing(bundle)
    rows = [
        [it for it in _gain(bundle, row, letters) if is_shown.get(it[1], True)]
        for row in bundle.rows
    ]
    return Grid(
        name=f"{bundle.table.name}-gains",
        title=f"AP (%), and its change against “{bundle.reference.row.label}”",
        over=_merged(over for over, _, _ in rows[0]),
        head=line(*(head for _, head, _ in rows[0])),
        blocks=(tuple(tuple(cell for _, _, cell in row) for row in rows),),
        notes=(*_notes(bundle, ["ap"]), "n: seeds of a row.", *_power(bundle), *notes),
    )


def _gain(
    bundle: Bundle, row: ComparedRow, letters: Mapping[str, str]
) -> list[tuple[str, str, Cell]]:
    """A row's AP, and what it changes unless it is the reference, below two lines of heads."""
    ap, change, is_reference = row.ap, row.ap.gain.estimate, row is bundle.reference
    errors = (None, None) if change is None else (change.image_error, change.seed_error)
    letter = letters.get(row.row.label, "") if ap.ours.n else ""

    def unless_reference(text: str, kind: Kind) -> Cell:
        return Cell("" if is_reference else text, kind)

    by_images, by_seeds = (MISSING if error is None else f"{error:.2f}" for error in errors)
    return [
        ("", "Run", Cell(row.row.label)),
        ("AP", "paper", Cell(_if_any(ap.paper, number), "paper")),
        ("AP", "ours", Cell(_ours(row, "ap"), "ours", mark=letter)),
        ("AP", level(), Cell(interval(ap.ours.estimate), "interval")),
        ("change", "paper", unless_reference(_if_any(ap.paper_gain, signed), "paper")),
        ("change", "ours", Cell() if is_reference else _change(row, "ap")),
        ("change", level(), unless_reference(signed_interval(change), "interval")),
        ("error from", "images", unless_reference(by_images, "interval")),
        ("error from", "seeds", unless_reference(by_seeds, "interval")),
        ("", "n", Cell(f"{ap.ours.n}")),
    ]


def changes_grid(bundle: Bundle) -> tuple[Grid, ...]:
    """What each row changes in all metrics of the table; nothing where AP is the only one."""
    metrics = bundle.table.metrics
    rows = [row for row in bundle.rows if row is not bundle.reference]
    if len(metrics) < 2 or not rows:
        return ()
    is_shown = {"paper": bundle.table.has_paper, level(): bundle.has_intervals}
    has_several, blocks = any(is_shown.values()), []
    for row in rows:
        papers = [_if_any(row.metrics[name].paper_gain, signed) for name in metrics]
        intervals = [signed_interval(row.metrics[name].gain.estimate) for name in metrics]
        lines = {
            "paper": [Cell(text, "paper") for text in papers],
            "ours": [_change(row, name) for name in metrics],
            level(): [Cell(text, "interval") for text in intervals],
        }
        kept = {whose: cells for whose, cells in lines.items() if is_shown.get(whose, True)}
        blocks.append(_block([row.row.label], kept, has_several))
    whose = [""][:has_several]
    grid = Grid(
        name=f"{bundle.table.name}-changes",
        title=f"Changes against “{bundle.reference.row.label}” (AP points)",
        head=line("Run", *whose, *(HEADINGS[name] for name in metrics)),
        blocks=tuple(blocks),
        notes=_notes(bundle, metrics),
    )
    return (grid,)


def _change(row: ComparedRow, name: str) -> Cell:
    """Our change, with its mark; with the spread between seeds where there is no interval."""
    gain, estimate = row.metrics[name].gain, row.metrics[name].gain.estimate
    if estimate is None:
        return Cell(signed(gain.mean) + ("" if gain.std is None else f" ±{gain.std:.1f}"), "ours")
    counts = COUNTS_FOR_THESE if estimate.seed_error is None else COUNTS
    return Cell(signed(estimate.value), "ours", mark=counts if estimate.excludes_zero else "")


def _notes(bundle: Bundle, metrics: Sequence[str]) -> tuple[str, ...]:
    """What the numbers are, and what the marks mean."""
    found = [row.metrics[name].gain.estimate for row in bundle.rows for name in metrics]
    changes = [change for change in found if change is not None]
    if not changes:
        return (
            "Changes of ours are of the seeds that both rows have. ±: standard deviation of one "
            "seed's change, the two trainings of which are independent.",
        )
    notes = ["Changes of ours are paired by image, and of the seeds that both rows have."]
    if any(change.seed_error is not None for change in changes):
        notes.append(
            f"{COUNTS}: the {level()} interval, of the images and of the seeds together, excludes "
            "zero."
        )
    if any(change.seed_error is None for change in changes):
        notes.append(
            f"{COUNTS_FOR_THESE}: the {level()} interval excludes zero for these trained weights. "
            "With one seed it is of the images alone: what training again would change is not in "
            "it, so it decides nothing about the configurations."
        )
    if any(change.excludes_zero for change in changes) and len(changes) > 1:
        notes.append(
            f"Each of the {len(changes)} intervals stands for itself: of 20 changes that are none, "
            "one would be marked by chance."
        )
    return tuple(notes)


def _power(bundle: Bundle) -> list[str]:
    """How large a change these seeds and images would show, where one is not shown."""
    unclear = {
        row.row.label: change
        for row in bundle.rows
        if (change := row.ap.gain.estimate) and not change.excludes_zero
    }
    if not unclear:
        return []
    listed = "; ".join(f"“{label}” {least_shown(change)}" for label, change in unclear.items())
    return [
        f"Not told apart from “{bundle.reference.row.label}”, and the smallest change that "
        f"these seeds and images would have shown in 4 cases of 5: {listed}."
    ]


def runs_grid(bundle: Bundle) -> Grid:
    """Every run: its name, seed, AP and time, and what each number can be traced by."""
    facts = dict.fromkeys(name for result in bundle.results.values() for name in result.facts)
    same = {name: common(bundle, name) for name in ORIGINS}
    shown = [name for name in ORIGINS if same[name] is None and name in facts]
    blocks = [
        tuple(
            line("" if i else row.row.label, name, *_run(bundle.results.get(name), shown))
            for i, name in enumerate(row.signatures)
        )
        for row in bundle.rows
        if row.signatures
    ]
    notes = [
        f"Data: {bundle.data}, fingerprint {bundle.fingerprint}. A run's folder is called by its "
        "signature."
    ]
    notes += [f"{name[0].upper()}{name[1:]}: {told}." for name, told in same.items() if told]
    return Grid(
        name=f"{bundle.table.name}-runs",
        title="Runs, by signature",
        head=line("Run", "signature", "seed", "AP", "minutes", *shown),
        blocks=tuple(blocks),
        notes=tuple(notes),
    )


def _run(result: Result | None, shown: Sequence[str]) -> list[str]:
    if result is None:
        return [MISSING] * (3 + len(shown))
    minutes = MISSING if result.seconds is None else f"{result.seconds / 60:.1f}"
    origins = [str(result.facts.get(name, MISSING)) for name in shown]
    return [f"{result.seed}", number(result.metrics.ap), minutes, *origins]


# Which numbers are the best of their kind, and which are not told apart from those. The paper's are
# compared as printed. Of ours the highest mean is the best, with all that print the same; others
# are tied with it unless told apart with all rows looked at at once. What is unknown is not
# different. Without any interval nothing is called tied.


def ranks_of_paper(bundle: Bundle, metric: str) -> dict[str, Rank]:
    """Row label -> rank of the paper's number; empty for fewer than two."""
    rows = {row.row.label: row.metrics[metric].paper for row in bundle.rows}
    return _best({label: value for label, value in rows.items() if value is not None})


def ranks_of_ours(bundle: Bundle, metric: str) -> dict[str, Rank]:
    """Row label -> rank of our mean; empty for fewer than two."""
    means = {row.row.label: row.metrics[metric].ours.mean for row in bundle.rows}
    measured = {label: mean for label, mean in means.items() if mean is not None}
    ranks = _best(measured)
    scores = {row.row.label: row.scores for row in bundle.rows if row.row.label in measured}
    if not ranks or not any(scores.values()):
        return ranks
    from reports.intervals import told_apart  # imports numpy, which lists need not wait for

    is_worse = told_apart(list(scores.values()), metric)
    tied: dict[str, Rank] = {
        label: "tied" for label, it_is in zip(scores, is_worse, strict=True) if not it_is
    }
    return tied | ranks


def _best(values: Mapping[str, float]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    texts = {label: number(value) for label, value in values.items()}
    if len(set(texts.values())) < 2:
        return {}
    highest = texts[max(values, key=lambda label: values[label])]
    return {label: "best" for label, text in texts.items() if text == highest}
