"""Which tables a report prints of a table's runs: as the paper does, what rows change, its runs.

The best of the paper's numbers and of ours are marked, and those of ours not told apart from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby, zip_longest
from typing import assert_never

from detector.metrics import HEADINGS
from reports.footnotes import differing, footnotes, told_by
from reports.numbers import (
    EARLY,
    MISSING,
    SURE,
    errors,
    interval,
    number,
    signed,
    signed_interval,
    spread,
)
from reports.render import Cell, Grid, Line, Rank, line, notes
from reports.results import Bundle, Compared, ComparedRow

Block = tuple[Line, ...]
Stack = dict[str, Cell]  # whose it is -> a number of one row and metric: paper's, ours ...
SHORT = 2  # lines of a row that needs no rule to be told from its neighbours
COUNTS, COUNTS_FOR_THESE = "*", "(*)"  # marks of a change whose interval excludes zero


def paper_grid(bundle: Bundle) -> Grid:
    """The table in the paper's form, our numbers under the paper's if any, footnotes below."""
    table, rows, stacks = bundle.table, bundle.table.rows, _stacks(bundle)
    whose, (heading, *others), over = _whose(bundle), table.headings, Line()
    match table.layout:
        case "rows":  # Tables 3, 5, 6, 7, 8: a run per block, a metric per column
            head = line(*table.headings, *whose, *(HEADINGS[name] for name in table.metrics))
            parts = [
                _block(row.cells, whose, [stacks[row.label, name] for name in table.metrics])
                for row in rows
            ]
            groups = groupby(parts, lambda part: len(part) <= SHORT)
            blocks = [
                block
                for is_short, group in groups
                for block in ([tuple(chain(*group))] if is_short else group)
            ]
        case "columns":  # Tables 1 and 4: a run per column, under it what it has, then the AP
            cells = zip(*(row.cells for row in rows), strict=True)
            head, *toggles = (
                line(name, *whose, *texts)
                for name, texts in zip(table.headings, cells, strict=True)
            )
            ap = _block(["AP (%)"], whose, [stacks[row.label, "ap"] for row in rows])
            blocks = [tuple(toggles), ap] if toggles else [ap]
        case "grid":  # Table 2: the first cell goes down, the second across
            crossed = {row.cells: stacks[row.label, "ap"] for row in rows}
            down, across = (dict.fromkeys(cells) for cells in zip(*crossed, strict=True))
            over = line("", *whose, *others * len(across))
            head = line(heading, *whose, *across)
            blocks = [_block([it], whose, [crossed[it, to] for to in across]) for it in down]
        case _:
            assert_never(table.layout)
    return Grid(
        name=table.name,
        title=f"{table.label} of the paper. {table.title}" if table.number else table.heading,
        head=head,
        blocks=tuple(blocks),
        notes=footnotes(bundle),
        over=over,
    )


def _whose(bundle: Bundle) -> list[str]:
    """The head of a column that tells whose numbers are in a line, where there is one."""
    return [""] if bundle.table.has_paper or bundle.has_intervals else []


def _stacks(bundle: Bundle) -> dict[tuple[str, str], Stack]:
    """Row label and metric -> the paper's number, ours, its interval, and the difference.

    Of a run that was ended early ours is its last AP, marked as that.
    """
    letters, _ = differing(bundle)
    stacks: dict[tuple[str, str], Stack] = {}
    for name in bundle.table.metrics:
        papers = {row.row.label: row.metrics[name].paper for row in bundle.rows}
        ranks = {"paper": _best(papers), "ours": ranks_of_ours(bundle, name)}
        for row in bundle.rows:
            found, label = row.metrics[name], row.row.label
            stack = _numbers(bundle, found, letters.get(label, ""))
            for whose, of in ranks.items():
                stack[whose] = replace(stack[whose], rank=of.get(label, ""))
            early = [stopped.ap for stopped in row.stopped if stopped.ap is not None]
            if not found.n and early and name == "ap":
                stack["ours"] = Cell(f"{EARLY}{max(early):.1f}", "ours")
            difference = "" if found.paper is None else signed(found.difference)
            stacks[label, name] = stack | {"Δ": Cell(difference, "difference")}
    return stacks


def _numbers(bundle: Bundle, found: Compared, letter: str) -> Stack:
    """Ours with the spread between seeds where there is no interval; the paper has not all."""
    text = number(found.ours) + ("" if found.estimate else spread(found.std))
    return {
        "paper": Cell(number(found.paper, ""), "paper"),
        "ours": Cell(text, "ours", mark=letter if found.n else ""),
        SURE: Cell(interval(found.estimate) if bundle.has_intervals else "", "interval"),
    }


def _changes(bundle: Bundle, found: Compared) -> Stack:
    """The same of what a row changes, ours with its mark."""
    change, mark = found.gain_estimate, ""
    if change and change.excludes_zero:
        mark = COUNTS_FOR_THESE if change.seed_error is None else COUNTS
    text = signed(change.value) if change else signed(found.gain) + spread(found.gain_std)
    return {
        "paper": Cell(signed(found.paper_gain, ""), "paper"),
        "ours": Cell(text, "ours", mark=mark),
        SURE: Cell(signed_interval(change) if bundle.has_intervals else "", "interval"),
    }


def _block(stub: Sequence[str], whose: Sequence[str], stacks: Sequence[Stack]) -> Block:
    """What stacks say, beside each other: the stub once, then whose each is, if that is told."""
    lines: list[Line] = []
    is_change = "Δ" not in stacks[0]
    for name in stacks[0]:
        cells = [stack[name] for stack in stacks]
        silent = {""} if is_change or name != SURE else {"", MISSING}
        if any(cell.text not in silent for cell in cells):
            has_spread = name == "ours" and not is_change and any("±" in it.text for it in cells)
            said = Cell(f"{name} ±sd" if has_spread else name, cells[0].kind)
            names = line(*([""] * len(stub) if lines else stub))
            lines.append((*names, *(said for _ in whose), *cells))
    return tuple(lines)


def gains_grid(bundle: Bundle) -> Grid:
    """AP of every row, and what it changes against the reference row: the paper's and ours."""
    letters, odd = differing(bundle)
    rows = [_gains_line(bundle, row, letters.get(row.row.label, "")) for row in bundle.rows]
    shown = [head for head in rows[0] if any(row[head].text for row in rows)]
    changes = {row.row.label: it for row in bundle.rows if (it := row.ap.gain_estimate)}
    if all(it.seed_error is None for it in changes.values()):  # images are the only source
        shown = [head for head in shown if head[0] != "error from"]
    first = bundle.reference.row.label
    return Grid(
        name=f"{bundle.table.name}-gains",
        title=f"AP (%), and its change against “{first}”",
        over=line(*(over for over, _ in shown)),
        head=line(*(head for _, head in shown)),
        blocks=(tuple(tuple(row[head] for head in shown) for row in rows),),
        notes=tuple(notes("gains", by_row=changes, first=first, odd=odd)),
    )


def _gains_line(bundle: Bundle, row: ComparedRow, letter: str) -> dict[tuple[str, str], Cell]:
    """Its cells by the two heads above each; the reference row changes nothing."""
    told = {("change", whose): cell for whose, cell in _changes(bundle, row.ap).items()}
    for source, error in zip(("images", "seeds"), errors(row.ap.gain_estimate), strict=True):
        told["error from", source] = Cell(error, "interval")
    if row is bundle.reference:
        told = {head: Cell("", cell.kind) for head, cell in told.items()}
    aps = {("AP", whose): cell for whose, cell in _numbers(bundle, row.ap, letter).items()}
    return {("", "Run"): Cell(row.row.label), **aps, **told, ("", "n"): Cell(f"{row.ap.n}")}


def changes_grid(bundle: Bundle) -> tuple[Grid, ...]:
    """What each row changes in all metrics of the table; nothing where AP is the only one."""
    metrics, whose = bundle.table.metrics, _whose(bundle)
    rows = [row for row in bundle.rows if row is not bundle.reference]
    if len(metrics) < 2 or not rows:
        return ()
    known = [[row.metrics[name] for name in metrics] for row in rows]
    changes = [it.gain_estimate for of_row in known for it in of_row if it.gain_estimate]
    blocks = (
        _block([row.row.label], whose, [_changes(bundle, it) for it in of_row])
        for row, of_row in zip(rows, known, strict=True)
    )
    grid = Grid(
        name=f"{bundle.table.name}-changes",
        title=f"Changes against “{bundle.reference.row.label}” (AP points)",
        head=line("Run", *whose, *(HEADINGS[name] for name in metrics)),
        blocks=tuple(blocks),
        notes=tuple(notes("changes", changes=changes)),
    )
    return (grid,)


def runs_grid(bundle: Bundle) -> Grid:
    """Every run: its name, seed, AP and time, and by which code they were made."""

    def told(name: str) -> list[str]:
        """Seed, AP and minutes."""
        run = bundle.results.get(name)
        if run is None:
            return [MISSING] * 3
        minutes = MISSING if run.seconds is None else f"{run.seconds / 60:.1f}"
        return [f"{run.seed}", number(run.metrics.ap), minutes]

    codes = told_by(bundle.results.values()).get("code", [])
    about = f"Data: {bundle.data}, fingerprint {bundle.fingerprint}."
    return Grid(
        name=f"{bundle.table.name}-runs",
        title="Runs, by signature",
        head=line("Run", "signature", "seed", "AP", "minutes"),
        blocks=tuple(
            tuple(
                line(label, name, *told(name))
                for label, name in zip_longest([row.row.label], row.signatures, fillvalue="")
            )
            for row in bundle.rows
            if row.signatures
        ),
        notes=(
            f"{about} A run's folder is called by its signature.",
            *([f"Code: {'; '.join(codes)}."] if codes else []),
        ),
    )


def ranks_of_ours(bundle: Bundle, metric: str) -> dict[str, Rank]:
    """Row label -> rank of our mean; empty for fewer than two.

    The highest mean is the best, with all that print the same; others are tied with it unless told
    apart with all rows looked at at once: what is unknown is not different. Without any interval
    nothing is called tied.
    """
    means = {row.row.label: row.metrics[metric].ours for row in bundle.rows}
    scores = {row.row.label: row.scores for row in bundle.rows if means[row.row.label] is not None}
    best = _best(means)
    if not best or not any(scores.values()):
        return best
    from reports.intervals import told_apart  # imports numpy, which lists need not wait for

    is_worse = zip(scores, told_apart(list(scores.values()), metric), strict=True)
    tied: dict[str, Rank] = {label: "tied" for label, it_is in is_worse if not it_is}
    return tied | best


def _best(values: Mapping[str, float | None]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    known = {label: value for label, value in values.items() if value is not None}
    highest = number(max(known.values(), default=None))
    best: dict[str, Rank] = {it: "best" for it, value in known.items() if number(value) == highest}
    return best if len(best) < len(known) else {}
