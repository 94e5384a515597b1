"""How the runs of a report were made, in words.

footnotes    what must stand under a table's numbers, so that nobody misreads them
differing    in what its runs differ beside what the table is about: a seed that is missing, another
             version of the evaluation, another device, other test images; what most rows have goes
             without saying, a row that differs gets a letter and a footnote
facts_grid   what was run, one fact per line
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from detector.config import Recipe
from experiments.experiment import OwnAssigner, Row, Table
from experiments.schedules import SCALES
from reports.numbers import EARLY, MISSING, level
from reports.render import Grid, line
from reports.results import Bundle, ComparedRow

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
    table, recipe, papers = bundle.table, bundle.recipe, SCALES[bundle.table.scale]
    ours, delta = ("Ours: s", " Δ is ours minus the paper's.") if table.has_paper else ("S", "")
    sizes = {score.num_images for row in bundle.rows for score in row.scores}
    version = common(bundle, "pycocotools")
    told = [f"{size:,} test images" for size in sizes if len(sizes) == 1]
    told += [f"pycocotools {version}"] if version else []
    yield (
        f"{ours}cale {bundle.scale} on {bundle.data} (fingerprint "
        f"{', '.join([bundle.fingerprint[:12], *told])}); {schedule(recipe)}, "
        f"{image_size(recipe)}; {seeds(bundle)}.{delta}"
    )
    if bundle.settings:
        yield f"Changed in every row: {settings(bundle)}."
    replaced: dict[str, object] = {}
    for row in table.rows:
        replaced |= row.at_scale.get(bundle.scale, {})
    varied = dict.fromkeys(name for row in table.rows for name in row.recipe)
    if kept := [name for name in varied if name not in {**replaced, **bundle.settings}]:
        yield f"Changed from row to row: {', '.join(kept)}."
    if here := {name: value for name, value in replaced.items() if name not in bundle.settings}:
        yield (
            f"At this scale every row has {_assigned(here)}, so rows that the paper distinguishes "
            "by it alone are one run."
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
    best = f"{{best}}: the highest of {' and of '.join(whose)}"
    weights = " (with one seed, for these trained weights)" if single else ""
    if whose and not sure:
        yield f"{best}; whether by more than chance is not known."
    elif whose:
        yield (
            f"{best}; {{tied}}: of ours, not told apart from it when all rows are looked at at "
            f"once{weights}."
        )
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
    names = dict.fromkeys(name for row in rows.values() for name in row)
    told = {name: Counter(row.get(name, UNKNOWN) for row in rows.values()) for name in names}
    usual = {name: counts.most_common(1)[0][0] for name, counts in told.items()}
    groups: dict[str, list[str]] = {}  # what a footnote says -> labels of its rows
    for label, row in rows.items():
        odd = [
            f"{name} {value} (most rows: {usual[name]})"
            for name in names
            if (value := row.get(name, UNKNOWN)) != usual[name]
        ]
        if odd:
            groups.setdefault("; ".join(odd), []).append(label)
    if len(groups) > MOST_LETTERS:
        kinds = {name: len(counts) for name, counts in told.items() if len(counts) > 1}
        listed = ", ".join(f"{name} ({number} kinds)" for name, number in kinds.items())
        return {}, (
            f"Rows differ in more than the table says: {listed}; the list of runs names each.",
        )
    lettered = dict(zip(ascii_lowercase, groups.items(), strict=False))
    letters = {label: letter for letter, (_, labels) in lettered.items() for label in labels}
    return letters, tuple(f"{letter}: {text}." for letter, (text, _) in lettered.items())


def _what_may_matter(row: ComparedRow) -> dict[str, str]:
    """Everything about a row's runs that could move its number, in words."""
    told = {"seeds": [str(result.seed) for result in row.results]}
    for name in dict.fromkeys(name for result in row.results for name in result.facts):
        if not name.lower().startswith(HARMLESS):
            told[name] = [str(result.facts.get(name, UNKNOWN)) for result in row.results]
    if row.scores:
        told["test images"] = [f"{it.num_images:,} ({it.images[:8]})" for it in row.scores]
    return {name: " and ".join(dict.fromkeys(values)) for name, values in told.items()}


def common(bundle: Bundle, name: str) -> str | None:
    """What all runs say of a fact, if they say the same."""
    values = {result.facts.get(name) for row in bundle.rows for result in row.results}
    value = values.pop() if len(values) == 1 else None
    return None if value is None else str(value)


def facts_grid(bundle: Bundle) -> Grid:
    """What was run, one fact per line; of what runs tell themselves, what few values say."""
    recipe = bundle.recipe
    rows = () if "backbone" in bundle.settings else bundle.table.rows
    told: dict[str, dict[str, None]] = {}
    for name, value in (
        fact for row in bundle.rows for run in row.results for fact in run.facts.items()
    ):
        told.setdefault(name[:1].upper() + name[1:], {})[str(value)] = None
    facts = {
        "Scale": bundle.scale,
        "Data set": f"{bundle.data} (fingerprint {bundle.fingerprint[:12]})",
        "Backbone": f"{_backbones(rows, bundle.scale, recipe)}, {recipe.norm}, "
        f"weights {recipe.weights}",
        "Schedule": schedule(recipe),
        "Learning rate": _learning_rate(recipe),
        "Images": image_size(recipe),
        "Precision, threads": f"{recipe.precision}, {recipe.threads}",
        "Test": f"scores above {recipe.score_threshold:g}, NMS at IoU {recipe.nms_threshold:g}, "
        f"at most {recipe.max_detections} detections per image",
        "Changed in every row": settings(bundle) or "nothing",
        "Seeds": seeds(bundle),
        "Finished": progress(bundle),
        **{name: "; ".join(it) for name, it in told.items() if len("; ".join(it)) <= MAX_FACT},
    }
    lines = tuple(line(name, value) for name, value in facts.items())
    return Grid(
        name=f"{bundle.table.name}-facts", title="What was run", head=line("", ""), blocks=(lines,)
    )


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
    smallest, largest = recipe.short_side
    short = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    return f"short side {short} px, long side at most {recipe.long_side} px"


def seeds(bundle: Bundle) -> str:
    """Which seeds, and what the number of them lets us say."""
    found: Sequence[int] = bundle.seeds
    if not found:
        return "no run is finished"
    if len(found) == 1:
        return f"seed {found[0]} alone, so the spread between seeds is unknown"
    listed = ", ".join(str(seed) for seed in found)
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


def _learning_rate(recipe: Recipe) -> str:
    if recipe.lr_decay == "step":
        drops = ", ".join(f"{round(share * recipe.iterations):,}" for share in recipe.lr_drops)
        decay = f"÷ 10 at {drops}"
    else:
        decay = recipe.lr_decay
    return (
        f"{recipe.learning_rate:g} ({recipe.optimizer}), {decay}; × {recipe.warmup_factor:.2g} for "
        f"the first {_count(recipe.warmup_iterations, 'iteration')}"
    )


def _backbones(rows: Sequence[Row], scale: str, recipe: Recipe) -> str:
    """Those of rows at a scale, and the recipe's where a row has none of its own."""
    names = [row.recipe_at(scale).get("backbone", recipe.backbone) for row in rows]
    names = names or [recipe.backbone]
    shown = (name.replace("resnet", "ResNet-").replace("resnext", "ResNeXt-") for name in names)
    return ", ".join(dict.fromkeys(name.replace("_", " ") for name in shown))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _assigned(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, tuple | list):
        return ",".join(_plain(entry) for entry in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
