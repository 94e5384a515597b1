"""Which tables a report prints of a table's runs: as the paper does, what rows change, its runs.

The best of the paper's numbers and of ours are marked, and those of ours not told apart from it.
What must stand below them is told in words: how the runs were made, and which are not like most.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby, zip_longest
from string import ascii_lowercase
from typing import Any, assert_never

from detector.config import Recipe
from detector.metrics import HEADINGS
from experiments.schedules import SCALES
from experiments.settings import show_setting
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
from reports.results import Bundle, Compared, ComparedRow, Result

Block = tuple[Line, ...]
Stack = dict[str, Cell]  # whose it is -> a number of one row and metric: paper's, ours ...
SHORT = 2  # lines of a row that needs no rule to be told from its neighbours
COUNTS, COUNTS_FOR_THESE = "*", "(*)"  # marks of a change whose interval excludes zero
MAX_FACT = 80  # letters; longer ones differ from run to run
HARMLESS = ("ray", "mlflow")  # facts whose names begin so: no number depends on them
UNKNOWN = "unknown"


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
    change, mark = found.estimate, ""
    if change and change.excludes_zero:
        mark = COUNTS_FOR_THESE if change.seed_error is None else COUNTS
    text = signed(change.value) if change else signed(found.ours) + spread(found.std)
    return {
        "paper": Cell(signed(found.paper, ""), "paper"),
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
    changes = {row.row.label: it for row in bundle.rows if (it := row.gain.estimate)}
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
    told = {("change", whose): cell for whose, cell in _changes(bundle, row.gain).items()}
    for source, error in zip(("images", "seeds"), errors(row.gain.estimate), strict=True):
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
    known = [[row.gains[name] for name in metrics] for row in rows]
    changes = [it.estimate for of_row in known for it in of_row if it.estimate]
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
        notes=tuple(notes("runs", bundle, codes)),
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


# How the runs were made, in words


def footnotes(bundle: Bundle) -> tuple[str, ...]:
    """What must stand under the numbers so that nobody misreads them."""
    table, papers, rows = bundle.table, SCALES[bundle.table.scale], bundle.rows
    sizes = {score.num_images for row in rows for score in row.scores}
    versions = told_by(bundle.results.values()).get("pycocotools", [])
    told = [bundle.fingerprint[:12], *(f"{it:,} test images" for it in sizes if len(sizes) == 1)]
    told += [f"pycocotools {it}" for it in versions if len(versions) == 1]
    here = {
        name: it for row in table.rows for name, it in row.at_scale.get(bundle.scale, {}).items()
    }
    backbones = [row.recipe_at(table.scale).get("backbone", papers.backbone) for row in table.rows]
    theirs = ", ".join(dict.fromkeys(backbones)).replace("_", " ")
    theirs = theirs.replace("resnet", "ResNet-").replace("resnext", "ResNeXt-")
    early = (
        f"“{row.row.label}” after {stopped.step:,} steps"
        + ("" if stopped.ap is None else f", AP {stopped.ap:.1f}")
        for row in rows
        for stopped in row.stopped
    )
    known = notes(
        "footnotes",
        bundle=bundle,
        told=told,
        setup=f"{schedule(bundle.recipe)}, {image_size(bundle.recipe)}",
        seeds=sorted({result.seed for row in rows for result in row.results}),
        changed=assigned(bundle.settings),
        kept=", ".join(name for name in _varied(bundle) if name not in here),
        replaced=assigned({name: it for name, it in here.items() if name not in bundle.settings}),
        full=f"{theirs} and the full schedule ({schedule(papers)}, {image_size(papers)})",
        odd=differing(bundle)[1],
        unasked=", ".join(f"“{row.row.label}”" for row in rows if not row.signatures),
        early="; ".join(early),
        is_undefined=any(
            not row.metrics[it].n for row in rows if row.results for it in table.metrics
        ),
    )
    return (*known, *filter(None, [table.note, *bundle.notes]))


def differing(bundle: Bundle) -> tuple[dict[str, str], tuple[str, ...]]:
    """Row label -> the letter of its footnote, of those that are not like most; the footnotes.

    What most rows have goes without saying: seeds, device, versions, test images.
    """
    rows = dict[str, dict[str, str]]()
    for row in filter(lambda row: row.results, bundle.rows):
        known = {"seeds": [str(run.seed) for run in row.results], **told_by(row.results)}
        if row.scores:
            known["test images"] = [f"{it.num_images:,} ({it.images[:8]})" for it in row.scores]
        moving = {name: it for name, it in known.items() if not name.lower().startswith(HARMLESS)}
        rows[row.row.label] = {name: " and ".join(dict.fromkeys(it)) for name, it in moving.items()}
    texts = dict.fromkeys(rows, "")
    for name in dict.fromkeys(name for told in rows.values() for name in told):
        values = {label: told.get(name, UNKNOWN) for label, told in rows.items()}
        usual = Counter(values.values()).most_common(1)[0][0]
        for label, value in values.items():
            if value != usual:
                texts[label] += f"; {name} {value} (most rows: {usual})"
    letters = dict(zip(dict.fromkeys(filter(None, texts.values())), ascii_lowercase, strict=False))
    marks = {label: letters[text] for label, text in texts.items() if text in letters}
    return marks, tuple(f"{letter}: {text[2:]}." for text, letter in letters.items())


def told_by(results: Iterable[Result]) -> dict[str, list[str]]:
    """What runs tell of themselves: each fact's values, each once, and UNKNOWN of silent runs."""
    told = [run.facts for run in results]
    names = dict.fromkeys(name for facts in told for name in facts)
    return {it: list(dict.fromkeys(str(facts.get(it, UNKNOWN)) for facts in told)) for it in names}


def facts(bundle: Bundle) -> list[str]:
    """The recipe, and of what runs tell themselves, what few values say."""
    told = {name: "; ".join(values) for name, values in told_by(bundle.results.values()).items()}
    recipe = assigned(vars(bundle.recipe) | {it: "from row to row" for it in _varied(bundle)})
    return [recipe, *(f"{name}: {text}" for name, text in told.items() if len(text) <= MAX_FACT)]


def _varied(bundle: Bundle) -> list[str]:
    """Settings of the schedule in which rows differ here."""
    names = [name for row in bundle.table.rows for name in row.recipe_at(bundle.scale)]
    return [name for name in dict.fromkeys(names) if name not in bundle.settings]


def code_version(code: Any) -> str:
    """Which version of this code made a run: "0.1.0, commit 1a2b3c4d5e6f, modified"."""
    its = code if isinstance(code, dict) else {}
    version, commit, tree = (str(its.get(name, UNKNOWN)) for name in ("version", "commit", "tree"))
    told = [text for text in (version, f"commit {commit[:12]}", tree) if UNKNOWN not in text]
    return ", ".join(told) or UNKNOWN


def row_changes(bundle: Bundle) -> list[str]:
    """What every row is: "Box: group_norm=true, ..."."""
    return [f"{row.label}: {assigned(row.changes) or 'nothing'}" for row in bundle.table.rows]


def schedule(recipe: Recipe) -> str:
    """Iterations and batch."""
    images = "image" if recipe.batch_size == 1 else "images"
    return f"{recipe.iterations:,} iterations of {recipe.batch_size:,} {images}"


def image_size(recipe: Recipe) -> str:
    """The two sides that images are resized to, in pixels."""
    short = " to ".join(dict.fromkeys(map(str, recipe.short_side)))
    return f"short side {short} px, long side at most {recipe.long_side} px"


def assigned(values: Mapping[str, object]) -> str:
    """Settings as they would be written on the command line."""
    return ", ".join(f"{name}={show_setting(value)}" for name, value in values.items())
