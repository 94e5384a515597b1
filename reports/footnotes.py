"""How the runs of a report were made, in words: what must stand under a table's numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any

from detector.config import Recipe
from experiments.schedules import SCALES
from experiments.settings import show_setting
from reports.numbers import EARLY, MISSING, SURE
from reports.results import Bundle, Result

MAX_FACT = 80  # letters; longer ones differ from run to run
HARMLESS = ("ray", "mlflow")  # facts whose names begin so: no number depends on them
UNKNOWN = "unknown"


def footnotes(bundle: Bundle) -> tuple[str, ...]:
    """What must stand under the numbers so that nobody misreads them."""
    known = [*_setup(bundle), *_legend(bundle), *differing(bundle)[1], *_gaps(bundle)]
    return tuple(filter(None, [*known, bundle.table.note, *bundle.notes]))


def _setup(bundle: Bundle) -> list[Any]:
    """What was trained and tested; what distinguishes rows, and what takes its place here.

    In these lists what is empty or False goes without saying.
    """
    table, papers, settings = bundle.table, SCALES[bundle.table.scale], bundle.settings
    sizes = {score.num_images for row in bundle.rows for score in row.scores}
    versions = told_by(bundle.results.values()).get("pycocotools", [])
    told = [bundle.fingerprint[:12], *(f"{it:,} test images" for it in sizes if len(sizes) == 1)]
    told += [f"pycocotools {it}" for it in versions if len(versions) == 1]
    known = sorted({result.seed for row in bundle.rows for result in row.results})
    listed = ", ".join(map(str, known))
    seeds = f"seeds {listed}: mean ±sd, the sample standard deviation over seeds"
    if len(known) < 2:
        alone = f"seed {listed} alone, so the spread between seeds is unknown"
        seeds = alone if listed else "no run is finished"
    elif bundle.has_intervals:
        seeds = f"mean of seeds {listed}"
    here = {
        name: it for row in table.rows for name, it in row.at_scale.get(bundle.scale, {}).items()
    }
    replaced = {name: value for name, value in here.items() if name not in settings}
    kept = ", ".join(name for name in _varied(bundle) if name not in here)
    backbones = [row.recipe_at(table.scale).get("backbone", papers.backbone) for row in table.rows]
    theirs = ", ".join(dict.fromkeys(backbones)).replace("_", " ")
    theirs = theirs.replace("resnet", "ResNet-").replace("resnext", "ResNeXt-")
    return [
        f"{'Ours: s' if table.has_paper else 'S'}cale {bundle.scale} on {bundle.data} "
        f"(fingerprint {', '.join(told)}); {schedule(bundle.recipe)}, "
        f"{image_size(bundle.recipe)}; {seeds}."
        + " Δ is ours minus the paper's."
        * table.has_paper,
        settings and f"Changed in every row: {assigned(settings)}.",
        kept and f"Changed from row to row: {kept}.",
        replaced
        and f"At this scale every row has {assigned(replaced)}, so rows that the paper "
        "distinguishes by it alone are one run.",
        table.has_paper
        and not bundle.is_as_in_paper
        and f"The paper's numbers are of {table.tested_on} with {theirs} and the full schedule "
        f"({schedule(papers)}, {image_size(papers)}): beside ours only directions can be "
        "compared, not values.",
    ]


def _legend(bundle: Bundle) -> list[Any]:
    """What the ranks and the intervals mean, of those that there are."""
    counts = [len(row.results) for row in bundle.rows]
    single, several, sure = 1 in counts, max(counts) > 1, SURE * bundle.has_intervals
    whose = ["the paper's numbers"] * bundle.table.has_paper
    whose += ["ours"] * (sum(map(bool, counts)) > 1)
    tied = "{tied}: of ours, not told apart from it when all rows are looked at at once"
    tied += " (with one seed, for these trained weights)" * single
    doubt = tied if sure else "whether by more than chance is not known"
    return [
        whose and f"{{best}}: the highest of {' and of '.join(whose)}; {doubt}.",
        sure
        and several
        and f"{sure}: confidence interval of the mean over seeds, of images and seeds together.",
        sure
        and single
        and f"{sure}: {'of rows with one seed, ' * several}confidence interval of the images "
        "alone: it holds for these trained weights, not for training again.",
    ]


def _gaps(bundle: Bundle) -> list[Any]:
    """Why numbers of ours are missing."""
    unasked = ", ".join(f"“{row.row.label}”" for row in bundle.rows if not row.signatures)
    early = "; ".join(
        f"“{row.row.label}” after {stopped.step:,} steps"
        + ("" if stopped.ap is None else f", AP {stopped.ap:.1f}")
        for row in bundle.rows
        for stopped in row.stopped
    )
    asked, finished, ended = (
        sum(len(getattr(row, name)) for row in bundle.rows)
        for name in ("signatures", "results", "stopped")
    )
    runs = f"{finished} of {asked:,} {'run' if asked == 1 else 'runs'} finished"
    measured = [row for row in bundle.rows if row.results]
    is_undefined = any(not row.metrics[it].n for row in measured for it in bundle.table.metrics)
    return [
        asked > finished + ended and f"{MISSING}: not measured; {runs}.",
        unasked and f"{MISSING}: no run was asked for in {unasked}.",
        is_undefined and f"{MISSING}: undefined, for want of an object of that size.",
        early and f"{EARLY}: stopped early, the AP of its last test: {early}.",
    ]


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
    names = dict.fromkeys(name for told in rows.values() for name in told)
    usual = {
        name: Counter(told.get(name, UNKNOWN) for told in rows.values()).most_common(1)[0][0]
        for name in names
    }
    letters: dict[str, str] = {}
    notes: dict[str, str] = {}  # what a footnote says -> its letter
    for label, told in rows.items():
        odd = [name for name in names if told.get(name, UNKNOWN) != usual[name]]
        text = "; ".join(f"{it} {told.get(it, UNKNOWN)} (most rows: {usual[it]})" for it in odd)
        if odd and (text in notes or len(notes) < len(ascii_lowercase)):
            letters[label] = notes.setdefault(text, ascii_lowercase[len(notes)])
    return letters, tuple(f"{letter}: {text}." for text, letter in notes.items())


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
