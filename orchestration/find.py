"""What a person means: a run, or a table's row with all its seeds.

d0aff5                                          a run, by its signature or the beginning of one
box, "Table 2: ..., Box", "box - seed 1"        by a row as it is printed, or a part of that
table3:5, table3:fcos+atss, my_ablation.py:2    a row, by number, label or a part of it
table3:5@1                                      its run of seed 1

What means several is refused with their list; for a row's setup see find_pair.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Row
from experiments.settings import did_you_mean
from orchestration.plan import (
    OWN,
    Setup,
    find_rows,
    find_tables,
    folder_of,
    resolve_scale,
    setups_in,
    squeezed,
)
from orchestration.run_folder import Facts, RunFolder, Store

LISTED = 5  # runs in a line that refuses one
SHOWN = 12  # digits of a fingerprint
A_ROW = re.compile(r"[^\W\d][^:]*:\S")  # "table3:2", and not "Table 3: FCOS" or the label "1:2"


class NamedRow(NamedTuple):
    """What a text such as table3:5@1 says."""

    name: str  # as it is printed: "Table 2: ..., Box"
    row: Row
    seed: int | None  # None means all


def named_row(text: str) -> NamedRow | None:
    """The row that a text such as table3:5@1 names; None where it names no table."""
    before, _, rest = text.partition(":")
    is_own = before.endswith(OWN) and bool(rest)
    if not (is_own or A_ROW.match(text) or squeezed(before) in TABLES | ABLATIONS):
        return None
    label, _, seed = rest.rpartition("@") if re.search(r"@\d+$", rest) else (rest, "", "")
    tables, found = find_tables([before if is_own else squeezed(before)]), []
    for table in tables:  # of one file: the label tells which
        try:
            rows = find_rows(table, [label.strip()])
            found += [(f"{table.label}: {row.label}", row) for row in rows]
        except ValueError:
            if len(tables) == 1:
                raise
    if len(found) != 1:
        labels = "; ".join(row.label for table in tables for row in table.rows)
        raise ValueError(f"'{label}' is {len(found)} rows of {before}; there are: {labels}")
    return NamedRow(*found[0], int(seed) if seed else None)


def find_run(store: Store, wanted: str) -> RunFolder:
    """The only run that is meant, begun or not; ValueError with a list where that is unclear."""
    known = store.planned() | {folder.signature: folder.facts() for folder in store.folders()}
    if not known:
        raise ValueError(
            f"no run '{wanted}' in {store.root}, which holds none; --out names another"
        )
    text, names = wanted.strip().lower(), {it: _names(facts) for it, facts in known.items()}
    if re.search(r":\S", wanted) and (named := named_row(wanted)):  # table3:2@1
        text = (named.name + ("" if named.seed is None else f" - seed {named.seed}")).lower()
    found = text and (
        [it for it in known if it == text]
        or [it for it in known if text in names[it]]
        or [it for it in known if it.startswith(text)]
        or [it for it in known if any(text in name for name in names[it])]
    )
    if len(found) == 1:
        return store.folder(found[0])
    problem, hint = f"means {len(found)} runs of", ", and a signature, or its beginning, one"
    if not found:
        problem, hint = "is no run of", did_you_mean(text, [*names, *sum(names.values(), [])])
        if Path(wanted).exists():
            hint = " (it is a file or folder; a RUN or --weights FILE is needed before images)"
    facts = [(it, known[it].get("name"), known[it].get("setup", {})) for it in found or known]
    shown = [f"{it} ({name}, {setup.get('name')})" for it, name, setup in facts]
    if (more := len(shown) - LISTED) > 0:
        shown[LISTED:] = [f"and {more} more: atss status lists them"]
    raise ValueError(f"'{wanted}' {problem} {store.root}{hint}; there are {'; '.join(shown)}")


def _names(facts: Facts) -> list[str]:
    """All that a run is called, in small letters: "table 2: box", "box", each with its seed."""
    rows = [str(row).lower() for row in facts.get("rows", [])]
    names = [name for row in rows for name in (row, row.partition(": ")[2])]
    return names + [f"{name} - seed {facts.get('seed', 0)}" for name in names]


# Two configurations in one setup


class Meant(NamedTuple):
    """A configuration in one setup: its finished runs, one per seed."""

    name: str  # for people
    setup: Setup
    folders: tuple[RunFolder, ...]


def find_pair(
    store: Store,
    texts: Sequence[str],
    *,
    scale: str | None = None,
    data: str | None = None,
    settings: Sequence[str] = (),
) -> tuple[Meant, Meant, str]:
    """Two configurations of a setup that has both, and what to say of it; ValueError if unclear.

    A row that is measured in several setups is meant in the one without changed settings, if that
    is one; scale, data and settings choose another.
    """
    setups = [
        (setup, seeds)
        for setup, seeds in setups_in(store, scale, data)
        if not settings or resolve_scale(setup.scale, settings)[1] == setup.settings
    ]
    every = list(product(*(_meant(store, text, setups) for text in texts)))
    alike = [
        pair for pair in every if len({(it.setup.name, it.setup.fingerprint) for it in pair}) == 1
    ]
    # Of two single runs the notes of their comparison tell in what they differ.
    pairs = alike or (every if len(every) == 1 else [])
    names, note = "; ".join(dict.fromkeys(one.setup.name for one, _ in pairs or every)), ""
    plain = [pair for pair in pairs if not pair[0].setup.settings]
    if len(pairs) > 1 and len(plain) == 1:
        note, pairs = f"Taken from {plain[0][0].setup.name}; measured in {names}.", plain
    if len(pairs) != 1:
        problem = "both are measured in several setups" if pairs else "no setup has both"
        raise ValueError(f"{problem}: {names}; --scale, --data and --set choose, or signatures")
    ((first, second),) = pairs
    both = f"'{first.name}' and '{second.name}'"
    if shared := {it.signature for it in first.folders} & {it.signature for it in second.folders}:
        problem = f"{both} are the same run ({min(shared)})"
        raise ValueError(f"{problem}: equal configurations are trained once")
    if first.setup.fingerprint != second.setup.fingerprint:
        of = [f"{it.setup.data} ({it.setup.fingerprint[:SHOWN]})" for it in (first, second)]
        problem = f"{both} are of different data, {' and '.join(of)}"
        raise ValueError(f"{problem}: a comparison needs the same images")
    return first, second, note


def _meant(store: Store, text: str, setups: Sequence[tuple[Setup, tuple[int, ...]]]) -> list[Meant]:
    """A run alone, or a row's finished runs in each setup; ValueError where nothing is done."""
    if (named := named_row(text)) is None:
        folder = find_run(store, text)
        if not folder.is_done:
            raise ValueError(f"run {folder.signature} is not done: a comparison needs its result")
        facts = folder.facts()
        name = f"{facts['name']} ({folder.signature})"
        return [Meant(name, Setup.from_json(facts["setup"]), (folder,))]
    found = []
    for setup, seeds in setups:
        wanted = [seed for seed in seeds if named.seed in (None, seed)]
        with suppress(ValueError):  # settings that contradict the row's toggles
            runs = [folder_of(store, setup.row_run(named.row, seed)) for seed in wanted]
            if done := tuple(folder for folder in runs if folder.is_done):
                found.append(Meant(named.name, setup, done))
    if not found:
        known = [(setup.name, ", ".join(map(str, seeds))) for setup, seeds in setups_in(store)]
        there = "; ".join(f"{name}, seeds {seeds}" for name, seeds in known) or "none"
        raise ValueError(
            f"no finished run of '{text}' as asked for in {store.root}; there are: {there}"
        )
    return found
