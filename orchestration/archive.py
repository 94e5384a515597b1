"""Archives: results folders that can be read anywhere, with the pages made of them.

    stage     a folder with all that an archive holds, but its manifest
    verify    whether its cells and claims stand: the pages are made again, and compared

What stays out: weights, detections, logs, who cancelled what, the commands of launches, and where
data and weights lie. Initial weights are named by their digest, as they are in signatures.
"""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS
from experiments import TABLES
from experiments.claims import CLAIMS
from experiments.experiment import Run, Table, canonical
from orchestration.json_files import write_json
from orchestration.plan import NAMED_DATA, Setup, setups_in
from orchestration.results import bundle
from orchestration.run_folder import RunFolder, Store
from reports.archive import (
    MALFORMED,
    Kind,
    Problem,
    Unsealed,
    check_run,
    is_same,
    unlike,
)
from reports.claims import as_json, claims_grid, deciding, judge
from reports.effects import effects_grids
from reports.measurements import Measurements
from reports.numbers import csv_text
from reports.render import TEMPLATES, markdown
from reports.results import Bundle, table_content, table_of
from reports.tables import changes_grid, gains_grid, paper_grid, runs_grid

RUN_FACTS = ("signature", "name", "rows", "seed", "canonical", "assigner", "code", "environment")
DATA_FACTS = ("name", "fingerprint", "images", "classes", "notes")
RESULT_FACTS = ("signature", "seed", "metrics", "seconds", "spent", "facts")
NOWHERE = "(sealed)"  # where the data of a sealed run is
TEXTS = (".json", ".jsonl", ".md", ".csv", ".txt")
RUN = re.compile("runs/[0-9a-f]{12}(/|$)")
MOST_ROWS, MOST_TOLD = 1000, 20  # of a table; differences of a member

Tell = Callable[[str], None]


def stage(
    store: Store,
    setups: Iterable[tuple[Setup, Sequence[int]]],
    tables: Sequence[Table],
    folder: Path,
    tell: Tell,
) -> int:
    """Lay out all members of an archive but its manifest; how many tables have a result.

    ValueError where a text would tell of a path of this machine.
    """
    names, found = dict[str, None](), list(setups)
    sealed: dict[str, list[Table]] = {}
    for slug, (setup, seeds) in zip(_slugs([_portable(it) for it, _ in found]), found, strict=True):
        for table in tables:
            if results := bundle(store, setup, table, seeds, tell).results:
                names |= dict.fromkeys(results)
                sealed.setdefault(slug, []).append(_portable_table(table))
    for name in names:
        tell(f"run {name}")
        _stage_run(store.folder(name), folder / "runs" / name)
    made, texts = _pages(Store(folder), sealed, tell)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for scores in folder.glob("runs/*/scores.npz"):
        scores.unlink()
    data = {Path(store.folder(name).facts()["data"]["where"]) for name in names}
    _require_portable(folder, [store.root, Path.home(), *filter(Path.is_absolute, data)])
    return len(made)


def _slugs(setups: Sequence[Setup]) -> list[str]:
    """Each setup as a folder; with its data's fingerprint where another setup has that name."""
    names = [setup.slug for setup in setups]
    return [
        f"{name}-{setup.fingerprint[:8]}" if names.count(name) > 1 else name
        for name, setup in zip(names, setups, strict=True)
    ]


def _portable(setup: Setup) -> Setup:
    """Without where data and initial weights lie: those are told by what they are."""
    where = setup.where if setup.where in NAMED_DATA else setup.data
    recipe = replace(setup.recipe, **_named_weights({"weights": setup.recipe.weights}))
    return replace(setup, where=where, recipe=recipe, settings=_named_weights(setup.settings))


def _portable_table(table: Table) -> Table:
    """Without the folders that its file, and weights of its rows, lie in."""
    rows = tuple(replace(row, recipe=_named_weights(row.recipe)) for row in table.rows)
    words = tuple(Path(word).name if word.endswith(".py") else word for word in table.line)
    return replace(table, rows=rows, line=words)


def _named_weights(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with initial weights, if any are among them, named by what they are."""
    if settings.get("weights", "none") in ("none", "imagenet"):
        return dict(settings)
    run = Run(DetectorConfig(), Recipe(weights=settings["weights"]), "", 0)
    return {**settings, "weights": canonical(run)["recipe"]["weights"]}


def _stage_run(run: RunFolder, folder: Path) -> None:
    """Copy what proves a run; of the rest only what is the same on any machine."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, result = run.facts(), run.result() or {}
    setup = _portable(Setup.from_json(facts["setup"]))
    kept = {name: facts[name] for name in RUN_FACTS if name in facts}
    data = {name: facts["data"][name] for name in DATA_FACTS} | {"where": NOWHERE}
    write_json(folder / "run.json", kept | {"setup": setup.to_json(), "data": data})
    write_json(folder / "result.json", {key: result[key] for key in RESULT_FACTS if key in result})
    lines = "".join(json.dumps(entry) + "\n" for entry in run.history())
    (folder / "history.jsonl").write_text(lines, encoding="utf-8")
    if run.warnings():
        write_json(folder / "warnings.json", run.warnings())
    for name in ("matches.npz", "insight.json", "scores.npz"):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)


def _require_portable(folder: Path, private: Iterable[Path]) -> None:
    """ValueError for a text with one of these paths: labels and sources of own tables may have it.

    "/" alone, the home of some containers, would be found anywhere.
    """
    wanted = [str(path) for path in private if len(path.parts) > 1]
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TEXTS):
        text = path.read_text(encoding="utf-8")
        for place in (place for place in wanted if place in text):
            raise ValueError(
                f"{path.relative_to(folder).as_posix()} would hold {place}, which an archive "
                "must not tell: is it in a label, a note or the source of an assigner?"
            )


def _pages(
    store: Store, tables: Mapping[str, Sequence[Table]], tell: Tell
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """All that is made of a staged folder's runs: "tables/demo-shapes/table2" -> bundle; texts.

    tables: a setup's slug -> those that are sealed of it.
    """
    made, texts = dict[str, Bundle](), dict[str, str]()
    setups = setups_in(store)
    slugs = _slugs([setup for setup, _ in setups])
    for slug, (setup, seeds) in sorted(zip(slugs, setups, strict=True), key=lambda it: it[0]):
        mine = [bundle(store, setup, table, seeds, tell) for table in tables.get(slug, ())]
        for content in sorted(mine, key=lambda it: it.table.name):
            where = f"tables/{slug}/{content.table.name}"
            grids = [paper_grid(content), gains_grid(content), *changes_grid(content)]
            grids += [*effects_grids(content), runs_grid(content)]
            rows = table_content(content.table, content.signatures)
            made[where] = content
            texts[f"{where}.json"] = json.dumps(rows, indent=1) + "\n"
            texts[f"{where}.csv"] = csv_text(content)
            texts[f"{where}.md"] = "\n".join(map(markdown, grids))
        texts |= _claims(slug, mine)
    names = dict.fromkeys(name for content in made.values() for name in content.results)
    data = {_about_data(store.folder(name).facts()["data"]) for name in names}
    listed = "\n".join(f"    {where}\n        {_about(it)}" for where, it in made.items())
    readme = (TEMPLATES / "archive.txt").read_text(encoding="utf-8")
    texts["README.txt"] = readme.format(tables=listed, data="\n".join(sorted(data)))
    return made, texts


def _claims(slug: str, tables: Sequence[Bundle]) -> dict[str, str]:
    """What a setup's tables say about the claims that they are about."""
    numbers = {content.table.number for content in tables}
    about = [it for it in CLAIMS if it.evidence == "training" and numbers & set(it.tables)]
    if not about:
        return {}
    verdicts = [judge(claim, Measurements(tables)) for claim in about]
    needs = "".join(f"- {need}\n" for need in deciding(verdicts))
    return {
        f"claims/{slug}.md": markdown(claims_grid(verdicts)) + "\n" + needs,
        f"claims/{slug}.json": json.dumps([as_json(it) for it in verdicts], indent=1) + "\n",
    }


def _about(content: Bundle) -> str:
    changed = f", changed: {', '.join(content.settings)}" if content.settings else ""
    setup = f"scale {content.scale} on {content.data}{changed}"
    return f"{content.table.heading}; {len(content.results)} runs; {setup}"


def _about_data(data: Mapping[str, Any]) -> str:
    images, classes = data["images"], ", ".join(map(str, data["classes"]))
    sizes = f"{images['train']} images to learn, {images['val']} to test"
    return f"    {data['name']}: {sizes}; classes {classes}\n        {data['fingerprint']}"


# Whether it stands


@dataclass(frozen=True)
class Verification:
    """What stands of an archive, once everything was made again of its runs' records."""

    tables: Mapping[str, Bundle]  # made again: "tables/demo-shapes/table2" -> table
    cells: Mapping[tuple[str, str, str], bool]  # table, row's label, metric's heading -> it stands
    claims: Mapping[tuple[str, str], tuple[str, bool]]  # setup's slug, name -> verdict, it stands
    problems: tuple[Problem, ...]  # whatever was found wrong, each once


def verify(archive: Unsealed, tell: Tell = lambda text: None) -> Verification:
    """Make everything again of the runs that are what they say, and compare it with the archive.

    So a number that rests on a run with anything wrong is not made again, and does not stand.
    """
    root, found = archive.folder, [*archive.problems]
    for folder in sorted(root.glob("runs/*")):
        tell(f"run {folder.name}")
        found += check_run(folder)
    for wrong in {Path(it.where).parts[1] for it in found if RUN.match(it.where)}:
        shutil.rmtree(root / "runs" / wrong, ignore_errors=True)
    tables: dict[str, list[Table]] = {}
    made, texts = dict[str, Bundle](), dict[str, str]()
    for path in sorted(root.glob("tables/*/*.json")):
        with _told(found, path.relative_to(root).as_posix(), "no table that this version reads"):
            tables.setdefault(path.parent.name, []).append(_table(path))
    with _told(found, "tables", "no pages can be made of them"):
        made, texts = _pages(Store(root), tables, tell)
    cells, claims = dict[tuple[str, str, str], bool](), dict[tuple[str, str], tuple[str, bool]]()
    for name, text in texts.items():
        wrong_parts = _compare(root, name, text, found)
        where, ending = name.rsplit(".", 1)
        if ending == "csv":
            # A change against another row may be wrong where the number itself stands.
            cut = [part.rsplit(": ", 1) for part in wrong_parts]
            numbers = {cell for cell, column in cut if "gain" not in column}
            for row, metric in product(made[where].rows, made[where].table.metrics):
                label, heading = row.row.label, HEADINGS[metric]
                is_wrong = f"{label}, {heading}" in numbers
                if is_wrong or row.metrics[metric].ours is not None:
                    cells[where, label, heading] = not is_wrong
        elif name.startswith("claims/") and ending == "json":
            for it in json.loads(text):
                claims[Path(name).stem, it["name"]] = it["verdict"], it["name"] not in wrong_parts
    found += _left_over(root, made, texts)
    return Verification(made, cells, claims, tuple(dict.fromkeys(found)))


@contextmanager
def _told(found: list[Problem], where: str, what: str) -> Iterator[None]:
    """Add what stops the block to what was found."""
    try:
        yield
    except MALFORMED as error:
        text = f"{what}: {type(error).__name__}: {error!s:.200}"
        found.append(Problem("table", where, text))


def _table(path: Path) -> Table:
    """A sealed table; what has a name of the paper's is the paper's, since find_tables lets no
    table of one's own have it.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if len(content["rows"]) > MOST_ROWS:
        raise ValueError(f"{len(content['rows']):,} rows, at most {MOST_ROWS:,} are read")
    table = table_of(content)
    if table.name != path.stem:
        raise ValueError(f"it is called {table.name!r:.40}")
    return TABLES.get(table.name, table)


def _compare(root: Path, name: str, made: str, found: list[Problem]) -> set[str]:
    """The parts of a page that are not as it was made again; found gets why."""
    kind: Kind = "table" if name.startswith("tables/") and name[-3:] != ".md" else "text"
    again, stated = _parts(name, made), dict[str, str]()
    if not (root / name).is_file():
        found.append(Problem("text", name, "it is missing"))
        return {*again}
    text = (root / name).read_text(encoding="utf-8", errors="replace")
    with suppress(*MALFORMED):
        stated = _parts(name, text)
    pairs = {key: (stated.get(key, ""), again.get(key, "")) for key in {**again, **stated}}
    wrong = {key: pair for key, pair in pairs.items() if not is_same(*pair)}
    told = islice(wrong.items(), MOST_TOLD)
    found += [Problem(kind, name, f"{key} {unlike(*pair)}") for key, pair in told]
    if not wrong and not is_same(text, made):  # a part stated twice, or in another order
        found.append(Problem(kind, name, f"laid out otherwise: it {unlike(text, made)}"))
    return {*wrong}


def _parts(name: str, text: str) -> dict[str, str]:
    """A page, cut into what stands or falls by itself: cells, rows, verdicts, else lines."""
    if name.endswith(".csv"):
        lines = csv.DictReader(text.splitlines())
        return {f"{it['row']}, {it['metric']}: {key}": f"{it[key]}" for it in lines for key in it}
    if not name.endswith(".json"):
        return {f"line {place}": line for place, line in enumerate(text.splitlines(), start=1)}
    content = json.loads(text)
    if name.startswith("claims/"):
        return {it["name"]: json.dumps(it) for it in content}
    rows = {f"row {place}": row for place, row in enumerate(content.pop("rows"), start=1)}
    return {key: json.dumps(value) for key, value in (content | rows).items()}


def _left_over(
    root: Path, made: Mapping[str, Bundle], texts: Mapping[str, str]
) -> Iterator[Problem]:
    """Runs without a table, and pages that nothing of the archive gives."""
    used = {name for content in made.values() for name in content.results}
    for folder in sorted(root.glob("runs/*")):
        if folder.name not in used:
            yield Problem("table", f"runs/{folder.name}", "no table has a result of it")
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if not name.startswith("runs/") and name not in texts:
            yield Problem("text", name, "none of the archive's runs and tables gives such a page")
