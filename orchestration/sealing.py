"""What an archive holds: a results folder that can be read anywhere, and the pages made of it.

What stays out: weights, detections, logs, who cancelled what, the commands of launches, and where
data and weights lie. Initial weights are named by their digest, as they are in signatures.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detector.config import DetectorConfig
from experiments.claims import CLAIMS
from experiments.experiment import Row, Run, Table, canonical
from orchestration.plan import NAMED_DATA, Setup, setups_in
from orchestration.results import bundle
from orchestration.run_folder import RunFolder, Store, write_json
from reports.claims import as_json, claims_grid, deciding, judge
from reports.effects import effects_grids
from reports.measurements import Measurements
from reports.numbers import csv_text
from reports.render import markdown
from reports.results import Bundle, table_content
from reports.tables import changes_grid, gains_grid, paper_grid, runs_grid

RUN_FACTS = ("signature", "name", "rows", "seed", "canonical", "assigner", "code", "environment")
DATA_FACTS = ("name", "fingerprint", "images", "classes", "notes")
RESULT_FACTS = ("signature", "seed", "metrics", "seconds", "spent", "facts")
NOWHERE = "(sealed)"  # where the data of a sealed run is
TEXTS = (".json", ".jsonl", ".md", ".csv", ".txt")
README = """Sealed results of the ATSS suite

This archive holds the numbers of the tables below, and all that they rest on but images and
weights. Every table and verdict in it can be made again from the runs' match records:

    atss verify ARCHIVE

says for each cell whether it stands; it needs no data set and no GPU. Without the tool, the files
are plain text, JSON, CSV, and NumPy arrays; manifest.json has the sha256 of each, and the digest of
the whole. The digest proves that an archive is the one whose digest was published, and no more: who
makes up an archive can seal that, too.

Tables

{tables}

Data sets

{data}

A run's folder, named by the signature of all that can move its number:

    run.json        detector, schedule, seed, data set, code and versions
    result.json     the six numbers of COCO's evaluation, in percent, and what they took
    matches.npz     every detection: its image, class, score, and whether it is right (1), wrong (0)
                    or ignored (2) for 4 area ranges x 10 IoUs; and every object to be found
    history.jsonl   the losses and tests of the training
    insight.json    precision and recall, classes and errors, where they were told
    warnings.json   what looked wrong while it was trained
"""

Json = dict[str, Any]
Tell = Callable[[str], None]


def stage(
    store: Store,
    found: Iterable[tuple[Setup, Sequence[int]]],
    tables: Sequence[Table],
    folder: Path,
    tell: Tell,
) -> int:
    """Lay out all members of an archive but its manifest; how many tables have a result.

    ValueError where a text would tell of a path of this machine.
    """
    names, sealed = dict[str, None](), dict[str, list[Table]]()
    setups = list(found)
    slugs = _slugs([_portable(setup) for setup, _ in setups])
    for slug, (setup, seeds) in zip(slugs, setups, strict=True):
        for table in tables:
            content = bundle(store, setup, table, seeds, tell)
            if content.results:
                names |= dict.fromkeys(content.results)
                sealed.setdefault(slug, []).append(_portable_table(table, setup))
    for name in names:
        tell(f"run {name}")
        _stage_run(store.folder(name), folder / "runs" / name)
    made, texts = pages(Store(folder), sealed, tell)
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
    weights = str(canonical(Run(DetectorConfig(), setup.recipe, "", 0))["recipe"]["weights"])
    if setup.recipe.weights in ("none", "imagenet"):
        weights = setup.recipe.weights
    where = setup.where if setup.where in NAMED_DATA else setup.data
    settings = {**setup.settings, **({"weights": weights} if "weights" in setup.settings else {})}
    recipe = replace(setup.recipe, weights=weights)
    return replace(setup, where=where, recipe=recipe, settings=settings)


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


def _portable_table(table: Table, setup: Setup) -> Table:
    """Without the folders that its file, and weights of its rows, lie in."""
    rows = tuple(
        replace(row, recipe={**row.recipe, "weights": _named_weights(setup, row)})
        if "weights" in row.recipe
        else row
        for row in table.rows
    )
    words = tuple(Path(word).name if word.endswith(".py") else word for word in table.line)
    return replace(table, rows=rows, line=words)


def _named_weights(setup: Setup, row: Row) -> str:
    """The initial weights of a row by what they are, not where."""
    return str(canonical(setup.row_run(row, 0))["recipe"]["weights"])


def _require_portable(folder: Path, private: Iterable[Path]) -> None:
    """ValueError for a text with one of these paths: labels and sources of own tables may have it.

    "/" alone, the home of some containers, would be found anywhere.
    """
    wanted = [str(path) for path in private if len(path.parts) > 1]
    for path in sorted(folder.rglob("*")):
        text = path.read_text(encoding="utf-8") if path.suffix in TEXTS else ""
        for place in wanted:
            if place in text:
                raise ValueError(
                    f"{path.relative_to(folder).as_posix()} would hold {place}, which an archive "
                    "must not tell: is it in a label, a note or the source of an assigner?"
                )


def pages(
    store: Store, tables: Mapping[str, Sequence[Table]], tell: Tell
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """All that is made of a staged folder's runs: "tables/demo-shapes/table2" -> bundle; texts.

    tables: a setup's slug -> those that are sealed of it.
    """
    made, texts, data = dict[str, Bundle](), dict[str, str](), dict[str, None]()
    setups = setups_in(store)
    slugs = _slugs([setup for setup, _ in setups])
    for slug, (setup, seeds) in sorted(zip(slugs, setups, strict=True), key=lambda it: it[0]):
        mine = [bundle(store, setup, table, seeds, tell) for table in tables.get(slug, ())]
        for content in sorted(mine, key=lambda it: it.table.name):
            where = f"tables/{slug}/{content.table.name}"
            made[where] = content
            rows = table_content(content.table, content.signatures)
            texts[f"{where}.json"] = json.dumps(rows, indent=1) + "\n"
            texts[f"{where}.csv"] = csv_text(content)
            texts[f"{where}.md"] = _page(content)
        texts |= _claims(slug, mine)
    names = dict.fromkeys(name for content in made.values() for name in content.results)
    for name in names:
        data[_data(store.folder(name).facts()["data"])] = None
    listed = "\n".join(f"    {where}\n        {_about(it)}" for where, it in made.items())
    texts["README.txt"] = README.format(tables=listed, data="\n".join(sorted(data)))
    return made, texts


def _page(content: Bundle) -> str:
    """A table as the report's Markdown has it, with the runs behind it."""
    grids = [paper_grid(content), gains_grid(content), *changes_grid(content)]
    grids += [*effects_grids(content), runs_grid(content)]
    return "\n".join(map(markdown, grids))


def _claims(slug: str, tables: Sequence[Bundle]) -> dict[str, str]:
    """What a setup's tables say about the claims that they are about."""
    numbers = {content.table.number for content in tables}
    about = [it for it in CLAIMS if it.evidence == "training" and numbers & set(it.tables)]
    verdicts = [judge(claim, Measurements(tables)) for claim in about]
    needs = "".join(f"- {need}\n" for need in deciding(verdicts))
    content = [as_json(verdict) for verdict in verdicts]
    return (
        {
            f"claims/{slug}.md": markdown(claims_grid(verdicts)) + "\n" + needs,
            f"claims/{slug}.json": json.dumps(content, indent=1) + "\n",
        }
        if verdicts
        else {}
    )


def _about(content: Bundle) -> str:
    changed = f", changed: {', '.join(content.settings)}" if content.settings else ""
    setup = f"scale {content.scale} on {content.data}{changed}"
    return f"{content.table.heading}; {len(content.results)} runs; {setup}"


def _data(data: Json) -> str:
    images, classes = data["images"], data["classes"]
    return (
        f"    {data['name']}: {images['train']} images to learn, {images['val']} to test; "
        f"{len(classes)} classes ({', '.join(map(str, classes))})\n"
        f"        fingerprint {data['fingerprint']}"
    )
