"""Which configurations a person means: a table's row with all its seeds, or a single run.

table3:5, table3:fcos+atss, my_ablation.py:2    a row, by number, label or a part of it
table3:5@1                                      its run of seed 1
d0aff5                                          a run, as finding.py has it

A row that is measured in several setups is meant in the one without changed settings, if that is
one; --scale, --data and --set name another.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detector.config import Recipe
from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Row, Table, signature
from experiments.settings import show_setting
from orchestration.finding import find_run
from orchestration.plan import OWN, Setup, find_rows, find_tables, resolve_scale, setups_in
from orchestration.run_folder import RunFolder, Store
from reports.facts import image_size, schedule

SEED = re.compile(r"(.*)@(\d+)")
NUMBERED = re.compile(r"table\d+")
TYPED = re.compile(r"[a-z][\w=.,+-]*")  # what no shell changes
SHOWN = 12  # digits of a fingerprint


@dataclass(frozen=True)
class Meant:
    """A configuration in one setup: its finished runs, one per seed."""

    name: str  # for people
    setup: Setup
    folders: tuple[RunFolder, ...]
    note: str = ""  # on the setup, where there was a choice
    problem: str = ""  # why there is no run of it


@dataclass(frozen=True)
class Asked:
    """Only results of these; of all where there is none."""

    scale: str | None = None
    data: str | None = None
    settings: Sequence[str] = ()  # as --set takes them, and no others

    def has(self, setup: Setup) -> bool:
        """Whether a setup is asked for."""
        is_scale = self.scale in (None, setup.scale)
        if not is_scale or self.data not in (None, setup.data, setup.where):
            return False
        wanted = resolve_scale(setup.scale, self.settings)[1]
        return not self.settings or wanted == setup.settings

    def __str__(self) -> str:
        """As it was typed: " --scale mini --set k=5"."""
        words = [("scale", self.scale), ("data", self.data), *(("set", it) for it in self.settings)]
        return "".join(f" --{name} {shlex.quote(value)}" for name, value in words if value)


EVERYTHING = Asked()


def choose(store: Store, texts: Sequence[str], asked: Asked = EVERYTHING) -> tuple[Meant, Meant]:
    """The two configurations, of one setup if there is one that has both; ValueError if unclear."""
    for letter, text in zip("AB", texts, strict=True):
        if not text.strip():
            raise ValueError(f"{letter} is empty: needs a row such as table3:1, or a run")
    ones, others = (_meant(store, text, asked) for text in texts)
    pairs = [(one, other) for one in ones for other in others if _key(one) == _key(other)]
    if not pairs and len(ones) == len(others) == 1:
        pairs = [(ones[0], others[0])]
    if len(pairs) != 1:
        pairs = _unchanged(pairs)
    if len(pairs) != 1:
        pairs = [pair for pair in pairs if all(meant.folders for meant in pair)] or pairs
    if len(pairs) != 1:
        known = [meant.setup for pair in pairs for meant in pair[:1]]
        known = known or [meant.setup for meant in (*ones, *others)]
        problem = "both are measured in several setups" if pairs else "no setup has both"
        ways = [*_ways(known), "or name runs by their signatures, which atss status lists"]
        raise ValueError(f"{problem}: {'; '.join(ways)}")
    first, second = pairs[0]
    for meant in pairs[0]:
        if meant.problem:
            raise ValueError(meant.problem)
    _require_comparable(first, second)
    return first, second


def _unchanged(pairs: Sequence[tuple[Meant, Meant]]) -> list[tuple[Meant, Meant]]:
    """The only pair without changed settings, with a note on the others; all if there is none."""
    plain = [pair for pair in pairs if not any(meant.setup.settings for meant in pair)]
    if len(plain) != 1:
        return list(pairs)
    first, second = plain[0]
    others = [pair[0].setup for pair in pairs if pair != plain[0]]
    _, *ways = _ways([first.setup, *others])
    note = f"Measured in several setups, taken from {first.setup.name}; {'; '.join(ways)}."
    return [(replace(first, note=note), replace(second, note=note))]


def _ways(setups: Sequence[Setup]) -> list[str]:
    """What to type for each: "--set k=5 for demo k=5 - shapes"."""
    found = list({(setup.name, setup.fingerprint): setup for setup in setups}.values())
    several = {part: len({getattr(it, part) for it in found}) > 1 for part in ("scale", "data")}
    is_moved = not several["data"] and len({setup.where for setup in found}) > 1
    ways = []
    for setup in found:
        asked = Asked(
            setup.scale if several["scale"] else None,
            setup.data if several["data"] else setup.where if is_moved else None,
            [f"{name}={show_setting(value)}" for name, value in setup.settings.items()],
        )
        ways.append(f"{asked} for {setup.name}".strip() if str(asked) else setup.name)
    return ways


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


def _meant(store: Store, text: str, asked: Asked) -> list[Meant]:
    """What the text may mean, once for each setup; ValueError if nothing."""
    rows = _rows(text)
    if not rows:
        folder = _run(store, text)
        if not folder.is_done:
            raise ValueError(f"run {folder.signature} is not done: a comparison needs its result")
        facts = folder.facts()
        name = f"{facts['name']} ({folder.signature})"
        return [Meant(name, Setup.from_json(facts["setup"]), (folder,))]
    measured = [
        (meant, only)
        for setup, seeds in setups_in(store)
        for table, row, only in rows
        if (meant := _measured(store, setup, table, row, seeds)).folders
    ]
    here = [(meant, only) for meant, only in measured if asked.has(meant.setup)]
    if not here:
        names = "; ".join(dict.fromkeys(meant.setup.name for meant, _ in measured))
        where = f"in {store.root}{' with' if str(asked) else ''}{asked}"
        there = f", but in {names}" if names else ""
        raise ValueError(f"no finished run of '{text}' {where}{there}")
    return [_of_seed(meant, only, text) for meant, only in here]


def _of_seed(meant: Meant, seed: int | None, text: str) -> Meant:
    """All its runs where no seed is asked for."""
    runs = {folder.facts()["seed"]: folder for folder in meant.folders}
    if seed is None or seed in runs:
        return meant if seed is None else replace(meant, folders=(runs[seed],))
    there = f"seed{'s' if len(runs) > 1 else ''} {', '.join(map(str, sorted(runs)))}"
    problem = (
        f"no finished run of '{text}' in the setup {meant.setup.name}, which has {there} of it"
    )
    return replace(meant, folders=(), problem=problem)


def _run(store: Store, text: str) -> RunFolder:
    """A run as finding.py has it; ValueError that knows of tables where a table may be meant."""
    try:
        return find_run(store, text)
    except ValueError:
        name, colon, _ = text.partition(":")
        near = get_close_matches(_squeezed(name), TABLES | ABLATIONS, n=1)
        if not colon or not (near or NUMBERED.fullmatch(_squeezed(name))):
            raise
        is_typo = near and not NUMBERED.fullmatch(_squeezed(name))
        hint = f" (did you mean '{near[0]}'?)" if is_typo else ""
        first, *_, last = TABLES
        raise ValueError(
            f"no {name.strip()}{hint}; there are {first} ... {last}, {', '.join(ABLATIONS)}, and "
            f"your own: FILE{OWN}"
        ) from None


def _rows(text: str) -> list[tuple[Table, Row, int | None]]:
    """The rows that a text such as table3:5@1 names, and the seed; none where it names no table."""
    before, _, rest = text.partition(":")
    name = _squeezed(before)
    if before.endswith(OWN) and (rest or Path(before).is_file()):
        name = before
    elif name not in TABLES | ABLATIONS:
        return []
    if not rest.strip():
        raise ValueError(_needs_row(name))
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


def _needs_row(name: str) -> str:
    """ "table3 needs a row: table3:1 or table3:fcos; there are: 1 RetinaNet (#A=1); ..."."""
    rows = [row for table in find_tables([name]) for row in table.rows]
    words = [word for row in rows if TYPED.fullmatch(word := _squeezed(row.label))]
    examples = " or ".join(f"{name}:{it}" for it in ["1", *words[:1]])
    listed = "; ".join(f"{number} {row.label}" for number, row in enumerate(rows, start=1))
    return f"{name} needs a row: {examples}; there are: {listed}"


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
