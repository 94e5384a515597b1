"""What a launch has to train: tables, rows, seeds, settings -> distinct runs in the paper's order.

A run that several rows share is planned once; one that is done is not trained again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from detector.config import OUTSIDE_IDENTITY, Recipe
from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET
from experiments.experiment import (
    EARLIER,
    TEST_ONLY,
    Row,
    Run,
    Table,
    require_distinct,
    signature,
    tested_as_usual,
)
from experiments.own_tables import load_tables, own_assigner
from experiments.schedules import SCALES
from experiments.settings import did_you_mean, parse_settings, show_setting, with_settings
from orchestration.run_folder import RunFolder, Store

EVERY_TABLE = "all"
OWN = ".py"  # the ending of a user's own tables
GENERATED = "shapes"  # the data set that demo scale brings along
NAMED_DATA = (GENERATED, "shapes-large", "coco2017")  # data sets that are no paths
MAX_SLUG = 100  # letters; a file name holds 255
THESIS = (  # what is trained first: it carries the paper's argument
    ATSS,
    IMPROVED_RETINANET,
    FCOS,
    replace(IMPROVED_RETINANET, assigner="ssc"),
    replace(IMPROVED_RETINANET, regress_from="point"),
    FCOS_ATSS,
    FCOS_CENTER_SAMPLING,
)
GROUPS = (  # in the order of training
    THESIS,
    tuple(row.config for row in TABLES["table1"].rows),
    tuple(row.config for row in TABLES["table7"].rows),
    tuple(replace(ATSS, k=k) for k in (3, 5, 19, 15)),
)


@dataclass(frozen=True)
class Setup:
    """What all runs of one comparison share: how they are trained, and on what."""

    scale: str  # a key of SCALES
    recipe: Recipe  # of the scale, with the settings
    settings: Mapping[str, Any]  # those of --set that move a number or a toggle
    data: str  # name of the data set
    fingerprint: str  # of its content
    where: str  # for open_data: a name, or an absolute path

    @property
    def name(self) -> str:
        """For people: "demo - shapes", "mini iterations=500 - coco-mini"."""
        shown = {name: show_setting(value) for name, value in sorted(self.settings.items())}
        if "weights" in shown:
            shown["weights"] = Path(shown["weights"]).name
        settings = [f"{name}={value}" for name, value in shown.items()]
        return f"{' '.join([self.scale, *settings])} - {self.data}"

    @property
    def slug(self) -> str:
        """The name as a part of a path."""
        return slug(self.name)

    @property
    def as_trained(self) -> "Setup":
        """Without what only tests: the setup of the runs whose detectors are tested anew."""
        settings = {name: it for name, it in self.settings.items() if name not in TEST_ONLY}
        return replace(self, recipe=tested_as_usual(self.recipe), settings=settings)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"name": self.name, "settings": dict(self.settings)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Setup":
        """The inverse of to_json; ValueError where a field or value is not of this version."""
        values = {item.name: content[item.name] for item in fields(Setup)}
        told = values["settings"].items()
        values["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in told}
        try:
            return Setup(**values | {"recipe": Recipe(**content["recipe"])})
        except TypeError as error:
            raise ValueError(f"a setup of another version: {error}") from error

    def row_run(self, row: Row, seed: int) -> Run:
        """The run behind a row; ValueError where the settings contradict the row's toggles."""
        try:
            config, recipe = with_settings(row.config, self.recipe, row.recipe_at(self.scale))
            config, recipe = with_settings(config, recipe, self.settings)
            own = own_assigner(row.assigner, self.settings)
            return Run(config, recipe, self.fingerprint, seed, own)
        except ValueError as error:
            raise ValueError(f"row '{row.label}': {error}") from error


@dataclass(frozen=True)
class PlannedRun:
    """A run and the rows it fills, those asked for first: ("Table 2: ..., Box", "Table 1: ...")."""

    run: Run
    signature: str
    rows: tuple[str, ...]
    training: "PlannedRun | None" = None  # of the detector that it only tests in another way

    @property
    def name(self) -> str:
        return f"{self.rows[0]} - seed {self.run.seed}"


@dataclass(frozen=True)
class Job:
    """A run, and all it takes to train it somewhere."""

    run: Run
    folder: Path  # absolute
    where: str  # of the data set, for open_data
    facts: Mapping[str, Any]  # for run.json
    device: str = "cpu"
    micro_batch_size: int | None = None  # images per forward pass; None takes the whole batch
    workers: int = 0  # processes that load images
    processes: int = 1  # that share each batch, each with a device of its own
    training: "Job | None" = None  # of the detector that it only tests in another way


@dataclass(frozen=True)
class Plan:
    """The distinct runs behind some rows of some tables."""

    setup: Setup
    tables: tuple[Table, ...]
    num_rows: int  # asked for, over all tables
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]

    def missing(self, store: Store, *, is_asha: bool = False) -> tuple[PlannedRun, ...]:
        """The runs without a result, in order; for ASHA not those that it ended early before."""
        runs = [(run, store.folder(run.signature)) for run in self.runs]
        return tuple(run for run, it in runs if not (it.is_done or (is_asha and it.stopped())))

    def seeds_measured(self, store: Store) -> tuple[int, ...]:
        """The seeds asked for, and those of earlier launches of this setup: a report shows all."""
        alike = [it for it in setups_in(store) if it[0] == replace(self.setup, where=it[0].where)]
        return tuple(sorted({*self.seeds, *(seed for _, seeds in alike for seed in seeds)}))


def find_tables(names: Sequence[str]) -> tuple[Table, ...]:
    """["table2", "my_ablation.py"] or ["all"] -> tables; ValueError for what is none."""
    known, found = TABLES | ABLATIONS, dict[str, Table]()
    for name in names:
        if name == EVERY_TABLE:
            found |= STUDY
        elif name in known:
            found[name] = known[name]
        elif name.endswith(OWN):
            path = Path(name).expanduser()
            if not path.is_file():
                raise ValueError(
                    f"{name} is no file of tables: No such file in {path.absolute().parent}; "
                    f"your own tables need a {OWN} file that defines TABLE (docs/own-tables.md)"
                )
            own = load_tables(path)
            for key, table in own.items():
                if (known | found).get(key, table).line != table.line:
                    raise ValueError(f"{name}: a table of its own needs another name than '{key}'")
            found |= own
        else:
            files = map(str, Path().glob(f"*{OWN}"))
            hint = did_you_mean(name, [*known, EVERY_TABLE, *files], cutoff=0.5)
            raise ValueError(
                f"no table is called '{name}'{hint}; there are {', '.join(known)}, {EVERY_TABLE} "
                f"(table1 to table7), and your own: a {OWN} file"
            )
    return tuple(found.values())


def find_rows(table: Table, wanted: Sequence[str]) -> tuple[Row, ...]:
    """Rows by number from 1, by label, or by a part of one, with or without its spaces.

    All if none is asked for.
    """
    numbered = {str(number): row for number, row in enumerate(table.rows, start=1)}
    labels = {squeezed(row.label): row for row in table.rows}
    exact, chosen = labels | numbered, list[Row]()
    for text in wanted:
        part = squeezed(text)
        is_part = part and not part.isdigit()  # a number that no row has is in many a label
        within = [row for label, row in labels.items() if is_part and part in label]
        found = [exact[part]] if part in exact else within
        if len(found) != 1:
            hint = "" if found else did_you_mean(text, [row.label for row in table.rows])
            problem = "is part of several rows" if found else "is no row"
            rows = "; ".join(f"{number} {row.label}" for number, row in numbered.items())
            raise ValueError(f"'{text}' {problem} of {table.label}{hint}; there are: {rows}")
        chosen += found
    return tuple(row for row in table.rows if not wanted or row in chosen)


def slug(text: str) -> str:
    """A text as a part of a path: "demo - shapes" as "demo-shapes"."""
    return re.sub(r"[^A-Za-z0-9.,=_]+", "-", text).strip("-")[:MAX_SLUG]


def squeezed(text: str) -> str:
    """Small letters without spaces: how names are compared."""
    return re.sub(r"\s", "", text.lower())


def resolve_scale(scale: str, texts: Sequence[str]) -> tuple[Recipe, dict[str, Any]]:
    """A scale's recipe and the settings that change it or the rows' toggles, typed.

    Raises ValueError for an unknown setting, and for settings that contradict each other.
    """
    settings = parse_settings(texts)
    if settings.get("weights", "none") not in ("none", "imagenet"):
        settings["weights"] = str(Path(settings["weights"]).expanduser().absolute())
    usual, of_recipe = SCALES[scale], {item.name: item for item in fields(Recipe)}
    recipe = replace(usual, **{name: it for name, it in settings.items() if name in of_recipe})
    for name in of_recipe.keys() & settings:
        is_idle = getattr(recipe, name) == getattr(usual, name)
        if is_idle or of_recipe[name].metadata == OUTSIDE_IDENTITY:
            del settings[name]
    return recipe, settings


def asked_setup(scale: str, data: str | None, settings: Sequence[str] | None) -> Setup:
    """The setup that options ask for; its data is not opened yet and has no name.

    At demo scale the generated set is the default.
    """
    recipe, changed = resolve_scale(scale, settings or [])
    if data is None and scale != "demo":
        hint = " (coco2017 for the paper's)" if scale.startswith("paper") else ""
        raise ValueError(
            f"--scale {scale} needs --data: a folder or a TOML file in COCO format{hint}; "
            "only --scale demo brings its own"
        )
    where = GENERATED if data is None else data
    if where not in NAMED_DATA:
        where = str(Path(where).expanduser().absolute())
    return Setup(scale, recipe, changed, "", "", where)


def make_plan(
    setup: Setup, tables: Sequence[Table], *, rows: Sequence[str] = (), seeds: Sequence[int] = (0,)
) -> Plan:
    """The distinct runs of the rows; ValueError for what cannot be.

    rows: chooses from the one table asked for. The runs are in the order of training: those that
    carry the paper's thesis first, seed by seed; tests of what others train last.
    """
    if rows and len(tables) > 1:
        raise ValueError(f"--rows chooses from one table, got {len(tables)} tables")
    wanted = [(table, row) for table in tables for row in find_rows(table, rows)]
    for table in tables if setup.settings else ():
        plain = replace(setup, settings={})
        asked = find_rows(table, rows)
        require_distinct({it.label: (plain.row_run(it, 0), setup.row_run(it, 0)) for it in asked})
    related = {table.name: table for table in (*STUDY.values(), *tables)}
    others = [(table, row) for table in related.values() for row in table.rows]
    seeds = tuple(dict.fromkeys(seeds))
    runs: dict[str, Run] = {}
    fills: dict[str, dict[str, None]] = {}  # the rows of each run, those asked for first
    for seed, (table, row) in product(seeds, wanted):
        run = setup.row_run(row, seed)
        runs |= {signature(it): it for it in (run.training, run) if it}
        fills.setdefault(signature(run), {})[f"{table.label}: {row.label}"] = None
    for seed, (table, row) in product(seeds, others):
        with suppress(ValueError):  # settings that contradict the row: it has no run
            name = signature(setup.row_run(row, seed))
            fills.setdefault(name, {})[f"{table.label}: {row.label}"] = None

    def planned(run: Run) -> PlannedRun:
        """With the rows it fills or, of a training that is only tested otherwise, those tests'."""
        name = signature(run)
        tests = [
            label for it in runs.values() if it.training == run for label in fills[signature(it)]
        ]
        filled = tuple(fills.get(name) or [f"{label} (its training)" for label in tests])
        return PlannedRun(run, name, filled, planned(run.training) if run.training else None)

    def order(run: Run) -> tuple[bool, int, int, int]:
        """By a config's first group, seed by seed; tests of what others train need not wait."""
        found = [(n, its.index(run.config)) for n, its in enumerate(GROUPS) if run.config in its]
        group, place = found[0] if found else (len(GROUPS), 0)
        return run.training is not None, group, seeds.index(run.seed), place

    ordered = map(planned, sorted(runs.values(), key=order))
    return Plan(setup, tuple(tables), len(wanted), seeds, tuple(ordered))


def folder_of(store: Store, run: Run) -> RunFolder:
    """A run's folder; where it has no result, that of the same run under EARLIER semantics."""
    names = [signature(run), *(signature(run, semantics) for semantics in EARLIER)]
    folders = [store.folder(name) for name in names]
    return next((folder for folder in folders if folder.is_done), folders[0])


def setups_in(
    store: Store, scale: str | None = None, data: str | None = None
) -> list[tuple[Setup, tuple[int, ...]]]:
    """The setups that runs were started with, and their seeds; oldest first.

    data: a data set's name or place.
    """
    found: dict[str, tuple[Setup, set[int]]] = {}
    for folder in store.folders():
        facts = folder.facts()
        with suppress(KeyError, ValueError):  # of another version: not for this one to report
            setup = Setup.from_json(facts["setup"])
            # A row may have settings of its own; of a weights file only the run knows the content.
            weights = facts["canonical"]["recipe"].get("weights")
            free = {"evaluations": 0, "compiled": "auto", "weights": weights}
            recipe = asdict(setup.recipe) | free
            key = json.dumps([setup.name, setup.fingerprint, recipe])
            found.setdefault(key, (setup, set()))[1].add(facts["seed"])
    return [
        (it, tuple(sorted(seeds)))
        for it, seeds in found.values()
        if scale in (None, it.scale) and data in (None, it.data, it.where)
    ]
