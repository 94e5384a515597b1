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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from reports.render import Cell, Grid, Line, Rank, line
from reports.results import Bundle, ComparedRow, Sample

Block = tuple[Line, ...]
SHORT = 2  # lines of a row that needs no rule to be told from its neighbours
COUNTS, COUNTS_FOR_THESE = "*", "(*)"  # marks of a change whose interval excludes zero
ORIGINS = ("code", "MLflow run")  # facts of a run that tell what made it, and where its record is


def paper_grid(bundle: Bundle) -> Grid:
    """The table in the paper's form, our numbers under the paper's if any, footnotes below."""
    table, rows, cells = bundle.table, bundle.rows, _cells(bundle)
    # A column says whose number it is, where there are several.
    has_several = table.has_paper or bundle.has_intervals
    whose, over = [""][:has_several], Line()
    match table.layout:
        case "rows":  # Tables 3, 5, 6, 7, 8: a run per block, a metric per column
            head = line(*table.headings, *whose, *(HEADINGS[name] for name in table.metrics))
            lines = {
                row.row.cells: [cells[row.row.label, name] for name in table.metrics]
                for row in rows
            }
            blocks = _together(_numbers(stub, it, has_several) for stub, it in lines.items())
        case "columns":  # Tables 1 and 4: a run per column, under it what it has, then the AP
            first, *others = table.headings
            head = (*line(first, *whose), *_merged(row.row.cells[0] for row in rows))
            toggles = tuple(
                line(heading, *whose, *(row.row.cells[i] for row in rows))
                for i, heading in enumerate(others, start=1)
            )
            ap = _numbers(["AP (%)"], [cells[row.row.label, "ap"] for row in rows], has_several)
            blocks = (toggles, ap) if toggles else (ap,)
        case "grid":  # Table 2: the first cell goes down, the second across
            crossed = {row.row.cells: cells[row.row.label, "ap"] for row in rows}
            down, across = (dict.fromkeys(it[i] for it in crossed) for i in (0, 1))
            over = (*line("", *whose), Cell(table.headings[1], span=len(across)))
            head = line(table.headings[0], *whose, *across)
            blocks = tuple(
                _numbers([it], [crossed[it, other] for other in across], has_several) for it in down
            )
        case _:
            assert_never(table.layout)
    title = f"{table.label} of the paper. {table.title}" if table.number else table.heading
    notes = footnotes(bundle)
    return Grid(name=table.name, title=title, head=head, blocks=blocks, notes=notes, over=over)


def _cells(bundle: Bundle) -> dict[tuple[str, str], tuple[Cell, ...]]:
    """Row label and metric -> the paper's number, ours, its interval, and the difference.

    Of a run that was ended early ours is its last AP, marked as that.
    """
    letters, _ = differing(bundle)
    cells: dict[tuple[str, str], tuple[Cell, ...]] = {}
    for name in bundle.table.metrics:
        of_paper, of_ours = ranks_of_paper(bundle, name), ranks_of_ours(bundle, name)
        for row in bundle.rows:
            found, label = row.metrics[name], row.row.label
            early = [stopped.ap for stopped in row.stopped if stopped.ap is not None]
            text, mark = _ours(row, name), letters.get(label, "") if found.ours.n else ""
            if not found.ours.n and early and name == "ap":
                text = f"{EARLY}{max(early):.1f}"
            difference = "" if found.paper is None else signed(found.difference)
            cells[label, name] = (
                Cell(_if_any(found.paper, number), "paper", rank=of_paper.get(label, "")),
                Cell(text, "ours", rank=of_ours.get(label, ""), mark=mark),
                Cell(interval(found.ours.estimate), "interval"),
                Cell(difference, "difference"),
            )
    return cells


def _numbers(stub: Sequence[str], cells: Iterable[tuple[Cell, ...]], has_several: bool) -> Block:
    """The paper's line, ours, its interval, and the difference, as far as there are any."""
    paper, ours, intervals, differences = zip(*cells, strict=True)
    is_known = any(cell.text != MISSING for cell in intervals)
    lines: dict[str, Sequence[Cell]] = {
        "paper": paper,
        "ours ±sd" if any("±" in cell.text for cell in ours) else "ours": ours,
        level(): intervals if is_known else (),
        "Δ": differences,
    }
    shown = {whose: cells for whose, cells in lines.items() if any(it.text for it in cells)}
    return _block(stub, shown, has_several)


def _block(stub: Sequence[str], lines: Mapping[str, Sequence[Cell]], has_several: bool) -> Block:
    """Lines below each other: the stub once, then whose each is, where there are several."""
    blank = [""] * len(stub)
    return tuple(
        (*line(*(blank if i else stub)), *[Cell(whose, cells[0].kind)][:has_several], *cells)
        for i, (whose, cells) in enumerate(lines.items())
    )


def _if_any(value: float | None, written: Callable[[float], str]) -> str:
    """A number of the paper's, which has not all."""
    return "" if value is None else written(value)


def _ours(row: ComparedRow, name: str) -> str:
    """Our number; with the spread between seeds where there is no interval."""
    ours = row.metrics[name].ours
    return number(ours.mean) if ours.estimate else spread(ours)


def _together(rows: Iterable[Block]) -> tuple[Block, ...]:
    """Rows as blocks; short neighbours need no rule between them."""
    blocks: list[Block] = []
    for is_short, neighbours in groupby(rows, lambda row: len(row) <= SHORT):
        lines = list(neighbours)
        blocks += [tuple(one for row in lines for one in row)] if is_short else lines
    return tuple(blocks)


def _merged(texts: Iterable[str]) -> Line:
    """Equal neighbours as one wide cell."""
    return tuple(Cell(text, span=len(list(cells))) for text, cells in groupby(texts))


def gains_grid(bundle: Bundle) -> Grid:
    """AP of every row, and what it changes against the reference row: the paper's and ours."""
    changes = [change for row in bundle.rows if (change := row.ap.gain.estimate)]
    has_errors = any(change.seed_error is not None for change in changes)
    is_shown = {"paper": bundle.table.has_paper, level(): bundle.has_intervals}
    is_shown |= {"images": has_errors, "seeds": has_errors}
    letters, notes = differing(bundle)
    rows = [
        {head: cell for head, cell in _gain(bundle, row, letters) if is_shown.get(head[1], True)}
        for row in bundle.rows
    ]
    return Grid(
        name=f"{bundle.table.name}-gains",
        title=f"AP (%), and its change against “{bundle.reference.row.label}”",
        over=_merged(over for over, _ in rows[0]),
        head=line(*(head for _, head in rows[0])),
        blocks=(tuple(tuple(row.values()) for row in rows),),
        notes=(*_notes(bundle, ["ap"]), "n: seeds of a row.", *_power(bundle), *notes),
    )


def _gain(
    bundle: Bundle, row: ComparedRow, letters: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], Cell]]:
    """A row's AP, and what it changes unless it is the reference, each below its two heads."""
    ap, change = row.ap, row.ap.gain.estimate
    letter = letters.get(row.row.label, "") if ap.ours.n else ""
    errors = (None, None) if change is None else (change.image_error, change.seed_error)
    by_images, by_seeds = (MISSING if error is None else f"{error:.2f}" for error in errors)
    changes = {
        ("change", "paper"): Cell(_if_any(ap.paper_gain, signed), "paper"),
        ("change", "ours"): _change(ap.gain),
        ("change", level()): Cell(signed_interval(change), "interval"),
        ("error from", "images"): Cell(by_images, "interval"),
        ("error from", "seeds"): Cell(by_seeds, "interval"),
    }
    yield ("", "Run"), Cell(row.row.label)
    yield ("AP", "paper"), Cell(_if_any(ap.paper, number), "paper")
    yield ("AP", "ours"), Cell(_ours(row, "ap"), "ours", mark=letter)
    yield ("AP", level()), Cell(interval(ap.ours.estimate), "interval")
    for head, cell in changes.items():
        yield head, Cell("", cell.kind) if row is bundle.reference else cell
    yield ("", "n"), Cell(f"{ap.ours.n}")


def changes_grid(bundle: Bundle) -> tuple[Grid, ...]:
    """What each row changes in all metrics of the table; nothing where AP is the only one."""
    metrics = bundle.table.metrics
    rows = [row for row in bundle.rows if row is not bundle.reference]
    if len(metrics) < 2 or not rows:
        return ()
    is_shown = {"paper": bundle.table.has_paper, level(): bundle.has_intervals}
    has_several, blocks = any(is_shown.values()), []
    for row in rows:
        gains = [row.metrics[name] for name in metrics]
        lines = {
            "paper": [Cell(_if_any(it.paper_gain, signed), "paper") for it in gains],
            "ours": [_change(it.gain) for it in gains],
            level(): [Cell(signed_interval(it.gain.estimate), "interval") for it in gains],
        }
        kept = {whose: cells for whose, cells in lines.items() if is_shown.get(whose, True)}
        blocks.append(_block([row.row.label], kept, has_several))
    grid = Grid(
        name=f"{bundle.table.name}-changes",
        title=f"Changes against “{bundle.reference.row.label}” (AP points)",
        head=line("Run", *[""][:has_several], *(HEADINGS[name] for name in metrics)),
        blocks=tuple(blocks),
        notes=tuple(_notes(bundle, metrics)),
    )
    return (grid,)


def _change(gain: Sample) -> Cell:
    """Our change, with its mark; with the spread between seeds where there is no interval."""
    estimate, mark = gain.estimate, ""
    if estimate is None:
        return Cell(signed(gain.mean) + ("" if gain.std is None else f" ±{gain.std:.1f}"), "ours")
    if estimate.excludes_zero:
        mark = COUNTS_FOR_THESE if estimate.seed_error is None else COUNTS
    return Cell(signed(estimate.value), "ours", mark=mark)


def _notes(bundle: Bundle, metrics: Sequence[str]) -> Iterator[str]:
    """What the numbers are, and what the marks mean."""
    found = [row.metrics[name].gain.estimate for row in bundle.rows for name in metrics]
    changes = [change for change in found if change is not None]
    if not changes:
        yield (
            "Changes of ours are of the seeds that both rows have. ±: standard deviation of one "
            "seed's change, the two trainings of which are independent."
        )
        return
    yield "Changes of ours are paired by image, and of the seeds that both rows have."
    if any(change.seed_error is not None for change in changes):
        yield (
            f"{COUNTS}: the {level()} interval, of the images and of the seeds together, excludes "
            "zero."
        )
    if any(change.seed_error is None for change in changes):
        yield (
            f"{COUNTS_FOR_THESE}: the {level()} interval excludes zero for these trained weights. "
            "With one seed it is of the images alone: what training again would change is not in "
            "it, so it decides nothing about the configurations."
        )
    if any(change.excludes_zero for change in changes) and len(changes) > 1:
        yield (
            f"Each of the {len(changes)} intervals stands for itself: of 20 changes that are none, "
            "one would be marked by chance."
        )


def _power(bundle: Bundle) -> Iterator[str]:
    """How large a change these seeds and images would show, where one is not shown."""
    changes = {row.row.label: row.ap.gain.estimate for row in bundle.rows}
    unclear = [
        f"“{label}” {least_shown(change)}"
        for label, change in changes.items()
        if change and not change.excludes_zero
    ]
    if unclear:
        yield (
            f"Not told apart from “{bundle.reference.row.label}”, and the smallest change that "
            f"these seeds and images would have shown in 4 cases of 5: {'; '.join(unclear)}."
        )


def runs_grid(bundle: Bundle) -> Grid:
    """Every run: its name, seed, AP and time, and what each number can be traced by."""
    facts = {name for result in bundle.results.values() for name in result.facts}
    same = {name: common(bundle, name) for name in ORIGINS}
    shown = [name for name in ORIGINS if same[name] is None and name in facts]
    blocks = []
    for row in bundle.rows:
        lines: list[Line] = []
        for name in row.signatures:
            told = [MISSING] * (3 + len(shown))
            if run := bundle.results.get(name):
                minutes = MISSING if run.seconds is None else f"{run.seconds / 60:.1f}"
                origins = [str(run.facts.get(origin, MISSING)) for origin in shown]
                told = [f"{run.seed}", number(run.metrics.ap), minutes, *origins]
            lines.append(line("" if lines else row.row.label, name, *told))
        blocks += [tuple(lines)] if lines else []
    return Grid(
        name=f"{bundle.table.name}-runs",
        title="Runs, by signature",
        head=line("Run", "signature", "seed", "AP", "minutes", *shown),
        blocks=tuple(blocks),
        notes=(
            f"Data: {bundle.data}, fingerprint {bundle.fingerprint}. A run's folder is called by "
            "its signature.",
            *(f"{name[0].upper()}{name[1:]}: {told}." for name, told in same.items() if told),
        ),
    )


# Which numbers are the best of their kind, and which are not told apart from those. The paper's are
# compared as printed. Of ours the highest mean is the best, with all that print the same; others
# are tied with it unless told apart with all rows looked at at once. What is unknown is not
# different. Without any interval nothing is called tied.


def ranks_of_paper(bundle: Bundle, metric: str) -> dict[str, Rank]:
    """Row label -> rank of the paper's number; empty for fewer than two."""
    return _best({row.row.label: row.metrics[metric].paper for row in bundle.rows})


def ranks_of_ours(bundle: Bundle, metric: str) -> dict[str, Rank]:
    """Row label -> rank of our mean; empty for fewer than two."""
    means = {row.row.label: row.metrics[metric].ours.mean for row in bundle.rows}
    scores = {row.row.label: row.scores for row in bundle.rows if means[row.row.label] is not None}
    ranks = _best(means)
    if not ranks or not any(scores.values()):
        return ranks
    from reports.intervals import told_apart  # imports numpy, which lists need not wait for

    is_worse = told_apart(list(scores.values()), metric)
    tied: dict[str, Rank] = {
        label: "tied" for label, it_is in zip(scores, is_worse, strict=True) if not it_is
    }
    return tied | ranks


def _best(values: Mapping[str, float | None]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    known = {label: value for label, value in values.items() if value is not None}
    texts = {label: number(value) for label, value in known.items()}
    if len(set(texts.values())) < 2:
        return {}
    highest = texts[max(known, key=lambda label: known[label])]
    return {label: "best" for label, text in texts.items() if text == highest}
