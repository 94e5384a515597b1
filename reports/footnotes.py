"""How the runs of a report were made, in words: what must stand under a table's numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any

from detector.config import Recipe
from experiments.schedules import SCALES
from experiments.settings import show_setting
from reports.render import notes
from reports.results import Bundle, Result

MAX_FACT = 80  # letters; longer ones differ from run to run
HARMLESS = ("ray", "mlflow")  # facts whose names begin so: no number depends on them
UNKNOWN = "unknown"


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
