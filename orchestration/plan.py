"""What a launch has to train: tables, rows, seeds and settings -> distinct runs in the paper's order.

A run that several rows share is planned once; one that is done is not trained again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detector.config import OUTSIDE_IDENTITY, Recipe
from experiments import TABLES
from experiments.experiment import Row, Run, Table, signature
from experiments.schedules import SCALES
from experiments.settings import parse_settings, with_settings
from orchestration.store import RunFolder, Store

EVERY_TABLE = "all"


@dataclass(frozen=True)
class Setup:
    """What all runs of one comparison share: how they are trained, and on what."""

    scale: str  # "demo", "mini" or "paper"
    settings: Mapping[str, Any]  # those of --set that change the scale or the toggles
    recipe: Recipe  # of the scale, with the settings
    data: str  # name of the data set
    fingerprint: str  # of its content
    where: str  # as given: a directory, a TOML file, or a name; absolute

    @property
    def name(self) -> str:
        """For people: "demo - shapes", "mini iterations=500 - coco-mini"."""
        settings = [f"{name}={_show(value)}" for name, value in sorted(self.settings.items())]
        return f"{' '.join([self.scale, *settings])} - {self.data}"

    def row_run(self, row: Row, seed: int) -> Run:
        """The run behind a row; ValueError where the settings contradict the row's toggles."""
        try:
            config, recipe = with_settings(row.config, self.recipe, self.settings)
        except ValueError as error:
            raise ValueError(f"row '{row.label}': {error}") from error
        return Run(config, recipe, self.fingerprint, seed)


@dataclass(frozen=True)
class PlannedRun:
    """A run and the rows it fills, those asked for first: ("Table 2: ..., Box", "Table 1: ...")."""

    run: Run
    signature: str
    rows: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.rows[0]} - seed {self.run.seed}"


@dataclass(frozen=True)
class Plan:
    """The distinct runs behind some rows of some tables."""

    setup: Setup
    tables: tuple[Table, ...]
    num_rows: int  # asked for, over all tables
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]

    def missing(self, store: Store) -> tuple[PlannedRun, ...]:
        """The runs without a result, in order."""
        return tuple(run for run in self.runs if not store.folder(run.signature).is_done)


def find_tables(names: Sequence[str], known: Mapping[str, Table] = TABLES) -> tuple[Table, ...]:
    """["table2", "table3"] or ["all"] -> tables; ValueError for an unknown name."""
    if EVERY_TABLE in names:
        return tuple(known.values())
    for name in names:
        if name not in known:
            near = get_close_matches(name, [*known, EVERY_TABLE], n=1, cutoff=0.5)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(
                f"no table is called '{name}'{hint}; there are {', '.join(known)} and {EVERY_TABLE}"
            )
    return tuple(known[name] for name in dict.fromkeys(names))


def find_rows(table: Table, wanted: Sequence[str]) -> tuple[Row, ...]:
    """Rows by number from 1, by label, or by a part of one label; all if none is asked for."""
    chosen = [_find_row(table, text) for text in wanted]
    return tuple(row for row in table.rows if not chosen or row in chosen)


def _find_row(table: Table, text: str) -> Row:
    numbered = dict(enumerate(table.rows, start=1))
    if text.isdigit() and int(text) in numbered:
        return numbered[int(text)]
    labels = {row.label.lower(): row for row in table.rows}
    if text.lower() in labels:
        return labels[text.lower()]
    found = [row for label, row in labels.items() if text.lower() in label and text]
    if len(found) == 1:
        return found[0]
    near = get_close_matches(text.lower(), labels, n=1)
    hint = f" (did you mean '{labels[near[0]].label}'?)" if near and not found else ""
    rows = "; ".join(f"{number} {row.label}" for number, row in numbered.items())
    problem = "is part of several rows" if found else "is no row"
    raise ValueError(f"'{text}' {problem} of Table {table.number}{hint}; there are: {rows}")


def resolve_scale(scale: str, texts: Sequence[str]) -> tuple[Recipe, dict[str, Any]]:
    """A scale's recipe and the settings that change it or the rows' toggles, typed.

    Raises ValueError for an unknown scale or setting, and for settings that contradict each other.
    """
    if scale not in SCALES:
        near = get_close_matches(scale, SCALES, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ValueError(f"no scale is called '{scale}'{hint}; there are {', '.join(SCALES)}")
    settings = parse_settings(texts)
    if settings.get("weights", "none") not in ("none", "imagenet"):
        settings["weights"] = str(Path(settings["weights"]).expanduser().absolute())
    of_recipe = {item.name: item for item in fields(Recipe)}
    changed = {name: value for name, value in settings.items() if name in of_recipe}
    recipe = Recipe(**{name: getattr(SCALES[scale], name) for name in of_recipe} | changed)
    telling = {
        name: value
        for name, value in settings.items()
        if name not in of_recipe
        or (
            getattr(recipe, name) != getattr(SCALES[scale], name)
            and of_recipe[name].metadata != OUTSIDE_IDENTITY
        )
    }
    return recipe, telling


def make_plan(
    setup: Setup, tables: Sequence[Table], *, rows: Sequence[str] = (), seeds: Sequence[int] = (0,)
) -> Plan:
    """The distinct runs of the rows, seed by seed; ValueError for what cannot be.

    rows: chooses from the one table asked for.
    """
    if rows and len(tables) > 1:
        raise ValueError(f"--rows chooses from one table, got {len(tables)} tables")
    wanted = [(table, row) for table in tables for row in find_rows(table, rows)]
    others = [(table, row) for table in TABLES.values() for row in table.rows]
    runs: dict[str, PlannedRun] = {}
    for seed in dict.fromkeys(seeds):
        fills = _rows_by_signature(setup, others, seed)
        for table, row in wanted:
            run = setup.row_run(row, seed)
            name = signature(run)
            here = f"Table {table.number}: {row.label}"
            known = runs[name].rows if name in runs else ()
            asked_first = dict.fromkeys([*known, here, *fills.get(name, [])])
            runs[name] = PlannedRun(run, name, tuple(asked_first))
    return Plan(setup, tuple(tables), len(wanted), tuple(dict.fromkeys(seeds)), tuple(runs.values()))


def _rows_by_signature(
    setup: Setup, rows: Sequence[tuple[Table, Row]], seed: int
) -> dict[str, list[str]]:
    """Which of the paper's rows a run fills; rows that the settings contradict fill none."""
    found: dict[str, list[str]] = {}
    for table, row in rows:
        try:
            name = signature(setup.row_run(row, seed))
        except ValueError:
            continue
        found.setdefault(name, []).append(f"Table {table.number}: {row.label}")
    return found


def seeds_in(store: Store, setup: Setup) -> tuple[int, ...]:
    """Every seed some run of this setup was started with."""
    return tuple(sorted({facts["seed"] for facts in map(RunFolder.facts, store.folders())
                         if facts["setup"] == setup.name and facts["data"]["fingerprint"] == setup.fingerprint}))


def slug(name: str) -> str:
    """A name as part of a path: "demo - shapes" -> "demo-shapes"."""
    return re.sub(r"[^A-Za-z0-9.,=]+", "-", name).strip("-")


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_show, value))
    if isinstance(value, bool):
        return str(value).lower()
    return Path(value).name if isinstance(value, str) else f"{value:g}"
