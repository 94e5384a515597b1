"""Archives: results folders that can be read anywhere, with the pages made of them.

    stage     a folder with all that an archive holds, but its manifest
    verify    whether its cells and claims stand: the pages are made again, and compared

What stays out: weights, detections, logs, who cancelled what, the commands of launches, and where
data and weights lie. Initial weights are named by their digest, as they are in signatures.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments import TABLES
from experiments.claims import CLAIMS
from experiments.experiment import Table, weights_identity
from orchestration.json_files import write_json
from orchestration.plan import NAMED_DATA, Setup, setups_in
from orchestration.results import bundle
from orchestration.run_folder import RunFolder, Store
from reports.archive import check_run, is_same, unseal
from reports.claims import as_json, claims_grid, deciding, judge
from reports.effects import effects_grids
from reports.measurements import Measurements
from reports.numbers import csv_text
from reports.render import TEMPLATES, markdown
from reports.results import Bundle, table_content, table_of
from reports.tables import changes_grid, gains_grid, paper_grid, runs_grid

RUN_FACTS = ("signature", "name", "rows", "seed", "canonical", "assigner", "code", "environment")
COPIED = ("result.json", "history.jsonl", "matches.npz", "insight.json", "warnings.json")
NOWHERE = "(sealed)"  # where the data of a sealed run is
MOST_ROWS = 1000  # of a sealed table

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
    private, called = {store.root, Path.home()}, dict[str, Setup]()
    sealed, names = dict[str, dict[str, Table]](), dict[str, None]()
    for setup, seeds in setups:
        private.add(Path(setup.where))
        slug = _portable(setup).slug
        for table in tables:
            if results := bundle(store, setup, table, seeds, tell).results:
                if called.setdefault(slug, setup) != setup:
                    raise ValueError(f"two setups are called {slug}: choose by --data or --scale")
                sealed.setdefault(slug, {})[table.name] = _portable_table(table)
                names |= dict.fromkeys(results)
    for name in names:
        tell(f"run {name}")
        _stage_run(store.folder(name), folder / "runs" / name)
    made, texts = _pages(Store(folder), sealed, tell)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    _require_portable(folder, private)
    return len(made)


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
    is_file = settings.get("weights", "none") not in ("none", "imagenet")
    named = {"weights": weights_identity(settings["weights"])} if is_file else {}
    return {**settings, **named}


def _stage_run(run: RunFolder, folder: Path) -> None:
    """Copy what proves a run; of its facts only what is the same on any machine."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = run.facts()
    kept = {name: facts[name] for name in RUN_FACTS if name in facts}
    kept["setup"] = _portable(Setup.from_json(facts["setup"])).to_json()
    write_json(folder / "run.json", kept | {"data": facts["data"] | {"where": NOWHERE}})
    for name in (*COPIED, run.scores.name):  # the last saves time, and is not sealed
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)


def _require_portable(folder: Path, private: Iterable[Path]) -> None:
    """ValueError for a text with one of these paths: labels and sources of own tables may have it.

    "/" alone, the home of some containers, would be found anywhere.
    """
    wanted = [str(path) for path in private if len(path.parts) > 1]
    for path in sorted(it for it in folder.rglob("*.*") if it.is_file() and it.suffix != ".npz"):
        text = path.read_text(encoding="utf-8")
        for place in (place for place in wanted if place in text):
            raise ValueError(
                f"{path.relative_to(folder).as_posix()} would hold {place}, which an archive "
                "must not tell: is it in a label, a note or the source of an assigner?"
            )


def _pages(
    store: Store, sealed: Mapping[str, Mapping[str, Table]], tell: Tell
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """What is made of a folder's runs: "tables/demo-shapes/table2" -> bundle; page -> text.

    sealed: a setup's slug -> its tables. Of numbers and of claims a page has a line for each.
    """
    made = dict[str, Bundle]()
    texts = {"README.txt": (TEMPLATES / "archive.txt").read_text(encoding="utf-8")}
    found = setups_in(store)  # also one for each of the initial weights that rows have
    for slug, setup in sorted({setup.slug: setup for setup, _ in found}.items()):
        seeds = sorted({seed for one, its in found if one.slug == slug for seed in its})
        asked = [table for _, table in sorted(sealed.get(slug, {}).items())]
        tables = [bundle(store, setup, table, seeds, tell) for table in asked]
        for content in tables:
            where = f"tables/{slug}/{content.table.name}"
            grids = [paper_grid(content), gains_grid(content), *changes_grid(content)]
            grids += [*effects_grids(content), runs_grid(content)]
            rows = table_content(content.table, content.signatures)
            made[where] = content
            texts[f"{where}.json"] = json.dumps(rows, indent=1) + "\n"
            texts[f"{where}.csv"] = csv_text(content)
            texts[f"{where}.md"] = "\n".join(map(markdown, grids))
        numbers = {content.table.number for content in tables}
        about = [it for it in CLAIMS if it.evidence == "training" and numbers & set(it.tables)]
        if about:
            verdicts = [judge(claim, Measurements(tables)) for claim in about]
            needs = "".join(f"- {need}\n" for need in deciding(verdicts))
            lines = "".join(json.dumps(as_json(it)) + "\n" for it in verdicts)
            texts[f"claims/{slug}.md"] = f"{markdown(claims_grid(verdicts))}\n{needs}"
            texts[f"claims/{slug}.jsonl"] = lines
    return made, texts


@dataclass(frozen=True)
class Verification:
    """What stands of an archive, once everything was made again of its runs' records."""

    digest: str
    code: Mapping[str, str]  # that sealed it
    problems: Sequence[str] = ()  # whatever was found wrong: where, and what
    tables: Mapping[str, Bundle] = field(default_factory=dict)  # made again, by their pages' names
    pages: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # lines that stand, of all


def verify(file: Path, tell: Tell = lambda text: None, wanted: str = "") -> Verification:
    """Make everything again of the runs that are what they say, and compare it with the archive.

    So a number that rests on a run with anything wrong is not made again, and does not stand.
    Nothing is looked at unless the digest begins as is wanted. ValueError for what is no archive.
    """
    with TemporaryDirectory() as name:
        manifest, digest, problems = unseal(file, root := Path(name))
        if not digest.startswith(wanted):
            return Verification(digest, manifest.code)
        for folder in sorted(root.glob("runs/*")):
            tell(f"run {folder.name}")
            try:
                check_run(folder)
            except Exception as error:  # what nobody vouches for may raise anything
                problems.append(f"runs/{folder.name}: {type(error).__name__}: {error!s:.200}")
                shutil.rmtree(folder)
        made, texts, pages = dict[str, Bundle](), dict[str, str](), dict[str, tuple[int, int]]()
        try:
            sealed = dict[str, dict[str, Table]]()
            for path in root.glob("tables/*/*.json"):
                sealed.setdefault(path.parent.name, {})[path.stem] = _table(path)
            made, texts = _pages(Store(root), sealed, tell)
        except Exception as error:
            problems.append(f"no table can be made: {type(error).__name__}: {error!s:.200}")
        files = (it for it in root.rglob("*.*") if it.is_file() and root / "runs" not in it.parents)
        stated = {it.relative_to(root).as_posix(): it.read_bytes() for it in files}
        for page in sorted({*texts, *stated}):
            one, other = stated.get(page, b"").decode(errors="replace"), texts.get(page, "")
            pairs = [*zip_longest(one.splitlines(), other.splitlines(), fillvalue="")]
            same = [is_same(*pair) for pair in pairs]
            counted = same[1:] if page.endswith(".csv") else same  # without the columns' names
            pages[page] = sum(counted), len(counted)
            if not all(same):
                one, other = pairs[same.index(False)]
                told = f"{same.count(False)} of {len(same)} lines are not what its runs give"
                problems.append(f"{page}: {told}, the first: {one or other:.100}")
    return Verification(digest, manifest.code, problems, made, pages)


def _table(path: Path) -> Table:
    """A sealed table; what has a name of the paper's is the paper's, since find_tables lets no
    table of one's own have it.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if len(content["rows"]) > MOST_ROWS:
        raise ValueError(f"{path.name} has more than {MOST_ROWS:,} rows")
    table = table_of(content)
    return TABLES.get(table.name, table)
