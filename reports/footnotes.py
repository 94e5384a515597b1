"""How the runs of a report were made, in words.

footnotes    what must stand under a table's numbers, so that nobody misreads them
differing    in what its runs differ beside what the table is about: a seed that is missing, another
             version of the evaluation, another device, other test images; what most rows have goes
             without saying, a row that differs gets a letter and a footnote
facts_grid   what was run, one fact per line
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from detector.config import Recipe
from experiments.experiment import OwnAssigner, Row, Table
from experiments.schedules import SCALES
from experiments.settings import show_setting
from reports.numbers import EARLY, MISSING, level
from reports.render import Grid, line
from reports.results import Bundle, ComparedRow, Result

MAX_FACT = 80  # letters; longer ones differ from run to run
HARMLESS = ("ray", "mlflow")  # facts whose names begin so: no number depends on them
MOST_LETTERS = 5  # with more groups of rows than these, letters help nobody
UNKNOWN = "unknown"


def footnotes(bundle: Bundle) -> tuple[str, ...]:
    """What must stand under the numbers so that nobody misreads them."""
    notes = [*_setup(bundle), *_legend(bundle), *differing(bundle)[1], *_gaps(bundle)]
    return (*notes, *filter(None, [bundle.table.note]), *bundle.notes)


def _setup(bundle: Bundle) -> Iterator[str]:
    """What was trained and tested; what distinguishes rows, and what takes its place here."""
    table, papers = bundle.table, SCALES[bundle.table.scale]
    ours, delta = ("Ours: s", " Δ is ours minus the paper's.") if table.has_paper else ("S", "")
    sizes = {score.num_images for row in bundle.rows for score in row.scores}
    versions = told_by(bundle.results.values()).get("pycocotools", [])
    told = [bundle.fingerprint[:12], *(f"{it:,} test images" for it in sizes if len(sizes) == 1)]
    told += [f"pycocotools {it}" for it in versions if len(versions) == 1]
    yield (
        f"{ours}cale {bundle.scale} on {bundle.data} (fingerprint {', '.join(told)}); "
        f"{schedule(bundle.recipe)}, {image_size(bundle.recipe)}; {seeds(bundle)}.{delta}"
    )
    if bundle.settings:
        yield f"Changed in every row: {settings(bundle)}."
    at_scale = [row.at_scale.get(bundle.scale, {}) for row in table.rows]
    here = {name: value for values in at_scale for name, value in values.items()}
    varied = dict.fromkeys(name for row in table.rows for name in row.recipe)
    if kept := [name for name in varied if name not in {**here, **bundle.settings}]:
        yield f"Changed from row to row: {', '.join(kept)}."
    if replaced := {name: value for name, value in here.items() if name not in bundle.settings}:
        yield (
            f"At this scale every row has {_assigned(replaced)}, so rows that the paper "
            "distinguishes by it alone are one run."
        )
    if table.has_paper and not bundle.is_as_in_paper:
        yield (
            f"The paper's numbers are of {table.tested_on} with "
            f"{_backbones(table.rows, table.scale, papers)} and the full schedule "
            f"({schedule(papers)}, {image_size(papers)}): beside ours only directions can be "
            "compared, not values."
        )


def _legend(bundle: Bundle) -> Iterator[str]:
    """What the ranks and the intervals mean, of those that there are."""
    counts = [len(row.results) for row in bundle.rows]
    single, several, sure = 1 in counts, max(counts) > 1, level() * bundle.has_intervals
    whose = ["the paper's numbers"] if bundle.table.has_paper else []
    whose += ["ours"] if sum(map(bool, counts)) > 1 else []
    tied = "of ours, not told apart from it when all rows are looked at at once"
    weights = " (with one seed, for these trained weights)" if single else ""
    doubt = f"{{tied}}: {tied}{weights}" if sure else "whether by more than chance is not known"
    if whose:
        yield f"{{best}}: the highest of {' and of '.join(whose)}; {doubt}."
    if sure and several:
        yield f"{sure}: confidence interval of the mean over seeds, of images and seeds together."
    if sure and single:
        rows = "of rows with one seed, " if several else ""
        yield (
            f"{sure}: {rows}confidence interval of the images alone: it holds for these trained "
            "weights, not for training again."
        )


def _gaps(bundle: Bundle) -> Iterator[str]:
    """Why numbers of ours are missing."""
    if bundle.missing:
        yield f"{MISSING}: not measured; {progress(bundle)}."
    if unasked := [f"“{row.row.label}”" for row in bundle.rows if not row.signatures]:
        yield f"{MISSING}: no run was asked for in {', '.join(unasked)}."
    measured, metrics = [row for row in bundle.rows if row.results], bundle.table.metrics
    if any(row.metrics[name].ours.n == 0 for row in measured for name in metrics):
        yield f"{MISSING}: undefined, for want of an object of that size."
    early = [
        f"“{row.row.label}” after {stopped.step:,} steps"
        + ("" if stopped.ap is None else f", AP {stopped.ap:.1f}")
        for row in bundle.rows
        for stopped in row.stopped
    ]
    if early:
        yield f"{EARLY}: stopped early, the AP of its last test: {'; '.join(early)}."


def differing(bundle: Bundle) -> tuple[dict[str, str], tuple[str, ...]]:
    """Row label -> the letter of its footnote, of those that are not like most; the footnotes."""
    rows = {row.row.label: _what_may_matter(row) for row in bundle.rows if row.results}
    names = dict.fromkeys(name for told in rows.values() for name in told)
    kinds = {name: Counter(told.get(name, UNKNOWN) for told in rows.values()) for name in names}
    usual = {name: counts.most_common(1)[0][0] for name, counts in kinds.items()}
    groups: dict[str, list[str]] = {}  # what a footnote says -> labels of its rows
    for label, told in rows.items():
        odd = [name for name in names if told.get(name, UNKNOWN) != usual[name]]
        texts = (f"{name} {told.get(name, UNKNOWN)} (most rows: {usual[name]})" for name in odd)
        if odd:
            groups.setdefault("; ".join(texts), []).append(label)
    if len(groups) > MOST_LETTERS:
        listed = (f"{name} ({len(it)} kinds)" for name, it in kinds.items() if len(it) > 1)
        return {}, (f"Rows differ in more than the table says: {', '.join(listed)}.",)
    lettered = list(zip(ascii_lowercase, groups.items(), strict=False))
    letters = {label: letter for letter, (_, labels) in lettered for label in labels}
    return letters, tuple(f"{letter}: {text}." for letter, (text, _) in lettered)


def _what_may_matter(row: ComparedRow) -> dict[str, str]:
    """Everything about a row's runs that could move its number, in words."""
    told = {"seeds": [str(run.seed) for run in row.results], **told_by(row.results)}
    if row.scores:
        told["test images"] = [f"{it.num_images:,} ({it.images[:8]})" for it in row.scores]
    moving = {name: it for name, it in told.items() if not name.lower().startswith(HARMLESS)}
    return {name: " and ".join(dict.fromkeys(values)) for name, values in moving.items()}


def told_by(results: Iterable[Result]) -> dict[str, list[str]]:
    """What runs tell of themselves: each fact's values, each once, and UNKNOWN of silent runs."""
    told = [run.facts for run in results]
    values = {name: [str(it.get(name, UNKNOWN)) for it in told] for facts in told for name in facts}
    return {name: list(dict.fromkeys(found)) for name, found in values.items()}


def facts_grid(bundle: Bundle) -> Grid:
    """What was run, one fact per line; of what runs tell themselves, what few values say."""
    names = (name for row in bundle.table.rows for name in row.recipe_at(bundle.scale))
    varied = dict.fromkeys((it for it in names if it not in bundle.settings), "from row to row")
    told = {name: "; ".join(values) for name, values in told_by(bundle.results.values()).items()}
    facts = {
        "scale": bundle.scale,
        "data set": f"{bundle.data} (fingerprint {bundle.fingerprint[:12]})",
        "seeds": seeds(bundle),
        "finished": progress(bundle),
        "changed in every row": settings(bundle) or "nothing",
        **{name: _rounded(value) for name, value in vars(bundle.recipe).items()},
        **varied,
        **{name: text for name, text in told.items() if len(text) <= MAX_FACT},
    }
    lines = (line(name[0].upper() + name[1:].replace("_", " "), it) for name, it in facts.items())
    name, title = f"{bundle.table.name}-facts", "What was run"
    return Grid(name=name, title=title, head=line("", ""), blocks=(tuple(lines),))


def _rounded(value: object) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{it:.4g}" if isinstance(it, float) else show_setting(it) for it in parts)


def code_version(code: Any) -> str:
    """Which version of this code made a run: "0.1.0, commit 1a2b3c4d5e6f, modified"."""
    its = code if isinstance(code, dict) else {}
    version, commit, tree = (str(its.get(name, UNKNOWN)) for name in ("version", "commit", "tree"))
    told = [text for text in (version, f"commit {commit[:12]}", tree) if UNKNOWN not in text]
    return ", ".join(told) or UNKNOWN


def assigners(table: Table) -> dict[str, str]:
    """The user's own assigners in a table: name -> source."""
    own = [row.assigner for row in table.rows if isinstance(row.assigner, OwnAssigner)]
    return {assigner.name: assigner.source for assigner in own}


def schedule(recipe: Recipe) -> str:
    """Iterations and batch."""
    return f"{recipe.iterations:,} iterations of {_count(recipe.batch_size, 'image')}"


def image_size(recipe: Recipe) -> str:
    """The two sides that images are resized to, in pixels."""
    short = " to ".join(dict.fromkeys(map(str, recipe.short_side)))
    return f"short side {short} px, long side at most {recipe.long_side} px"


def seeds(bundle: Bundle) -> str:
    """Which seeds, and what the number of them lets us say."""
    listed = ", ".join(map(str, bundle.seeds))
    if not listed:
        return "no run is finished"
    if len(bundle.seeds) == 1:
        return f"seed {listed} alone, so the spread between seeds is unknown"
    if bundle.has_intervals:
        return f"mean of seeds {listed}"
    return f"seeds {listed}: mean ±sd, the sample standard deviation over seeds"


def settings(bundle: Bundle) -> str:
    """The user's changes as they would be written on the command line."""
    return _assigned(bundle.settings)


def progress(bundle: Bundle) -> str:
    """How many of the runs asked for are there."""
    asked = sum(len(row.signatures) for row in bundle.rows)
    finished = sum(len(row.results) for row in bundle.rows)
    return f"{finished} of {_count(asked, 'run')} finished"


def _backbones(rows: Sequence[Row], scale: str, recipe: Recipe) -> str:
    """Those of rows at a scale, and the recipe's where a row has none of its own."""
    names = [row.recipe_at(scale).get("backbone", recipe.backbone) for row in rows]
    shown = (
        name.replace("resnet", "ResNet-").replace("resnext", "ResNeXt-").replace("_", " ")
        for name in names or [recipe.backbone]
    )
    return ", ".join(dict.fromkeys(shown))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _assigned(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={show_setting(value)}" for name, value in values.items())
