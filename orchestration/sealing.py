"""From a results folder to what an archive holds: bundles and runs, without paths and host names.

What stays out: weights, detections, logs, who cancelled what, the commands of launches, and where
data and weights lie. Initial weights are named by their digest, as they are in signatures.
"""

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from detector.config import DetectorConfig, Recipe
from experiments.experiment import Row, Run, Table, canonical
from orchestration.plan import Setup
from orchestration.results import bundle
from orchestration.store import RunFolder, Store
from reports.bundle import Bundle, save_bundle
from reports.sealed.runs import read_run
from reports.sealed.tables import rebuilt
from reports.sealed.text import texts

Progress = Callable[[str], None]
RUN_FACTS = ("signature", "name", "rows", "seed", "canonical", "assigner", "code", "environment")
DATA_FACTS = ("name", "fingerprint", "images", "classes", "notes")
RESULT_FACTS = ("signature", "seed", "metrics", "seconds", "spent", "facts")
NAMED_WEIGHTS = ("none", "imagenet")


def stage(
    store: Store,
    found: Iterable[tuple[Setup, Sequence[int]]],
    tables: Sequence[Table],
    folder: Path,
    progress: Progress,
) -> int:
    """Lay out all members of an archive but its manifest; how many tables have a result.

    ValueError where a text would tell of a path of this machine.
    """
    bundles: dict[str, Bundle] = {}
    for setup, seeds in found:
        slug = _slug(setup, bundles)
        for table in tables:
            content = bundle(store, setup, table, seeds, progress)
            if content.results:
                bundles[f"tables/{slug}/{table.name}"] = content
    names = dict.fromkeys(name for content in bundles.values() for name in content.results)
    for name in names:
        progress(f"run {name}")
        _stage_run(store.folder(name), folder / "runs" / name)
    runs = {name: read_run(folder / "runs" / name) for name in names}
    sealed = {
        where: rebuilt(
            _portable(content), {name: runs[name] for name in content.results}, content.scores
        )
        for where, content in sorted(bundles.items())
    }
    for where, content in sealed.items():
        path = folder / f"{where}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_bundle(content, path)
    for name, text in texts(sealed, {name: runs[name] for name in sorted(runs)}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    _require_portable(folder, [store.root, Path.home(), *_locations(store, names)])
    return len(bundles)


def _slug(setup: Setup, bundles: Iterable[str]) -> str:
    """The setup as a folder; with its data's fingerprint where another setup has that name."""
    taken = {where.split("/")[1] for where in bundles}
    return f"{setup.slug}-{setup.fingerprint[:8]}" if setup.slug in taken else setup.slug


def _stage_run(run: RunFolder, folder: Path) -> None:
    """Copy what proves a run; of the rest only what is the same on any machine."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, result = run.facts(), run.result() or {}
    kept = {name: facts[name] for name in RUN_FACTS if name in facts}
    kept |= {
        "scale": facts["setup"]["scale"],
        "data": {name: facts["data"][name] for name in DATA_FACTS},
    }
    _write(folder / "run.json", kept)
    _write(folder / "result.json", {name: result[name] for name in RESULT_FACTS if name in result})
    lines = "".join(json.dumps(entry) + "\n" for entry in run.history())
    (folder / "history.jsonl").write_text(lines, encoding="utf-8")
    if run.warnings():
        _write(folder / "warnings.json", run.warnings())
    for name in ("matches.npz", "insight.json"):
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _portable(content: Bundle) -> Bundle:
    """The bundle as it would be on any machine."""
    weights = _identity(content.recipe)
    table = content.table
    rows = tuple(_portable_row(row, content.recipe) for row in table.rows)
    settings = dict(content.settings)
    return replace(
        content,
        table=replace(table, rows=rows, line=tuple(_portable_words(table.line))),
        recipe=replace(content.recipe, weights=weights),
        settings=settings | ({"weights": weights} if "weights" in settings else {}),
        command=shlex.join(_portable_words(shlex.split(content.command))),
    )


def _portable_row(row: Row, recipe: Recipe) -> Row:
    if "weights" not in row.recipe:
        return row
    weights = _identity(replace(recipe, **row.recipe))
    return replace(row, recipe={**row.recipe, "weights": weights})


def _identity(recipe: Recipe) -> str:
    """The initial weights by what they are, not where."""
    if recipe.weights in NAMED_WEIGHTS:
        return recipe.weights
    return str(canonical(Run(DetectorConfig(), recipe, "", 0))["recipe"]["weights"])


def _portable_words(words: Sequence[str]) -> list[str]:
    """A command without the folders that its files and data lie in."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        name, is_setting, values = word.partition("=")
        if before == "--data" or word.endswith(".py"):
            word = PurePath(word).name
        elif is_setting and name == "weights":
            word = f"weights={','.join(PurePath(value).name for value in values.split(','))}"
        found.append(word)
    return found


def _locations(store: Store, names: Iterable[str]) -> set[Path]:
    """Where the runs' data lies."""
    places = {Path(store.folder(name).facts()["data"]["where"]) for name in names}
    return {place for place in places if place.is_absolute()}


def _require_portable(folder: Path, private: Iterable[Path]) -> None:
    """ValueError for a text with one of these paths: labels and sources of own tables may have it.

    "/" alone, the home of some containers, would be found anywhere.
    """
    wanted = [str(path) for path in private if len(path.parts) > 1]
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".jsonl", ".md", ".txt"):
            text = path.read_text(encoding="utf-8")
            for place in wanted:
                if place in text:
                    raise ValueError(
                        f"{path.relative_to(folder).as_posix()} would hold {place}, which an "
                        "archive must not tell: is it in a label, a note or the source of an "
                        "assigner?"
                    )
