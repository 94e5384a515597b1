"""Which configurations a person means: a table's row with all its seeds, or a single run.

table3:5, table3:fcos+atss, my_ablation.py:2    a row, by number, label or a part of it
table3:5@1                                      its run of seed 1
d0aff5                                          a run, as finding.py has it
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from detector.config import Recipe
from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Row, Table, signature
from experiments.settings import show_setting
from orchestration.finding import find_run
from orchestration.plan import OWN, Setup, find_rows, find_tables, setups_in
from orchestration.store import RunFolder, Store
from reports.facts import image_size, schedule

SEED = re.compile(r"(.*)@(\d+)")
SHOWN = 12  # digits of a fingerprint


@dataclass(frozen=True)
class Meant:
    """A configuration in one setup: its finished runs, one per seed."""

    name: str  # for people
    setup: Setup
    folders: tuple[RunFolder, ...]


def choose(
    store: Store, texts: Sequence[str], scale: str | None, data: str | None
) -> tuple[Meant, Meant]:
    """The two configurations, of one setup if there is one that has both; ValueError if unclear.

    scale, data: only results of these.
    """
    ones, others = (_meant(store, text, scale, data) for text in texts)
    pairs = [(one, other) for one in ones for other in others if _key(one) == _key(other)]
    if not pairs and len(ones) == len(others) == 1:
        pairs = [(ones[0], others[0])]
    if len(pairs) != 1:
        known = [one for one, _ in pairs] or [*ones, *others]
        setups = "; ".join(dict.fromkeys(meant.setup.name for meant in known))
        problem = "both are measured in several setups" if pairs else "no setup has both"
        raise ValueError(f"{problem}: {setups}; choose with --scale and --data, or name the runs")
    first, second = pairs[0]
    _require_comparable(first, second)
    return first, second


def _key(meant: Meant) -> tuple[str, str]:
    return meant.setup.name, meant.setup.fingerprint


def _require_comparable(first: Meant, second: Meant) -> None:
    shared = {it.signature for it in first.folders} & {it.signature for it in second.folders}
    if shared:
        raise ValueError(
            f"'{first.name}' and '{second.name}' are the same run ({sorted(shared)[0]}): "
            "equal configurations are trained once"
        )
    if first.setup.fingerprint != second.setup.fingerprint:
        told = " and ".join(
            f"{it.setup.data} ({it.setup.fingerprint[:SHOWN]})" for it in (first, second)
        )
        raise ValueError(
            f"'{first.name}' and '{second.name}' are of different data, {told}: a comparison needs "
            "the same images"
        )


def _meant(store: Store, text: str, scale: str | None, data: str | None) -> list[Meant]:
    """What the text may mean, once for each setup; ValueError if nothing."""
    rows = _rows(text)
    if not rows:
        folder = find_run(store, text)
        if not folder.is_done:
            raise ValueError(f"run {folder.signature} is not done: a comparison needs its result")
        facts = folder.facts()
        name = f"{facts['name']} ({folder.signature})"
        return [Meant(name, Setup.from_json(facts["setup"]), (folder,))]
    found = [
        meant
        for setup, seeds in setups_in(store)
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where)
        for table, row, only in rows
        if (meant := _measured(store, setup, table, row, seeds if only is None else [only])).folders
    ]
    if not found:
        asked = "".join(f" --{name} {it}" for name, it in (("scale", scale), ("data", data)) if it)
        raise ValueError(f"no finished run of '{text}' in {store.root}{asked and ' with'}{asked}")
    return found


def _rows(text: str) -> list[tuple[Table, Row, int | None]]:
    """The rows that a text such as table3:5@1 names, and the seed; none where it names no table."""
    before, colon, rest = text.partition(":")
    name = _squeezed(before)
    if before.endswith(OWN) and colon:
        name = before
    elif not colon or name not in TABLES | ABLATIONS:
        return []
    seeded = SEED.fullmatch(rest)
    label, seed = (seeded[1], int(seeded[2])) if seeded else (rest, None)
    tables = find_tables([name])
    if len(tables) == 1:
        return [(tables[0], _row(tables[0], label), seed)]
    found = []
    for table in tables:  # of one file: the label tells which
        with suppress(ValueError):
            found.append((table, _row(table, label), seed))
    if len(found) != 1:
        labels = "; ".join(row.label for table in tables for row in table.rows)
        raise ValueError(f"'{label}' is {len(found)} rows of {before}; there are: {labels}")
    return found


def _row(table: Table, text: str) -> Row:
    """By number, label or part of a label, with or without its spaces; ValueError if unclear."""
    wanted = _squeezed(text)
    labels = {_squeezed(row.label): row for row in table.rows}
    if wanted in labels:
        return labels[wanted]
    found = [row for label, row in labels.items() if wanted in label]
    if len(found) == 1 and wanted and not wanted.isdigit():
        return found[0]
    return find_rows(table, [text.strip()])[0]


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text.lower())


def _measured(store: Store, setup: Setup, table: Table, row: Row, seeds: Sequence[int]) -> Meant:
    """The row's finished runs; none where the settings contradict its toggles."""
    folders: list[RunFolder] = []
    with suppress(ValueError):
        runs = [setup.row_run(row, seed) for seed in seeds]
        folders = [store.folder(signature(run)) for run in runs]
    name = f"{table.label}: {row.label}"
    return Meant(name, setup, tuple(folder for folder in folders if folder.is_done))


def facts_of(meant: Meant) -> dict[str, str]:
    """How its numbers came about, in words; what differs between two of these may matter."""
    folder, setup = meant.folders[0], meant.setup
    recipe = _recipe(setup, folder.facts()["canonical"]["recipe"])
    made = (folder.result() or {}).get("facts", {})
    settings = [f"{name}={show_setting(value)}" for name, value in setup.settings.items()]
    return {
        "scale": setup.scale,
        "settings": ", ".join(settings) or "none",
        "backbone": f"{recipe.backbone}, weights {recipe.weights}",
        "schedule": schedule(recipe),
        "image size": image_size(recipe),
        "test": f"scores above {recipe.score_threshold:g}, NMS at IoU {recipe.nms_threshold:g}, at "
        f"most {recipe.max_detections} detections per image",
        "evaluator": f"pycocotools {made.get('pycocotools', 'of an unknown version')}",
    }


def _recipe(setup: Setup, canonical: dict[str, Any]) -> Recipe:
    """The run's own: a row may change parts of its setup's."""
    known = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in canonical.items()
        if hasattr(setup.recipe, name)
    }
    return Recipe(**asdict(setup.recipe) | known)
