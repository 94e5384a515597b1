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
A_ROW = re.compile(r"(?!\d+:)([^:]+):(.+?)(?:@(\d+))?")  # "table3:2@1", and not the label "1:2"


class NamedRow(NamedTuple):
    """What a text such as table3:5@1 says."""

    name: str  # as it is printed: "Table 2: ..., Box"
    row: Row
    seed: int | None  # None means all


def named_row(text: str) -> NamedRow | None:
    """The row that a text such as table3:5@1 names; None where it is no such text."""
    if (parts := A_ROW.fullmatch(text)) is None:
        return None
    of, label, seed = parts.groups()
    if label[0] == " " and squeezed(of) not in TABLES | ABLATIONS:  # a sweep's row, as printed
        return None
    label, found = label.strip(), []
    tables = find_tables([of if of.endswith(OWN) else squeezed(of)])
    passed_over = [ValueError] if len(tables) > 1 else []  # of a file: the label tells which
    for table in tables:
        with suppress(*passed_over):
            found += [(f"{table.label}: {it.label}", it) for it in find_rows(table, [label])]
    if len(found) != 1:
        labels = "; ".join(row.label for table in tables for row in table.rows)
        raise ValueError(f"'{label}' is {len(found)} rows of {of}; there are: {labels}")
    return NamedRow(*found[0], int(seed) if seed else None)


def find_run(store: Store, wanted: str) -> RunFolder:
    """The only run that is meant, begun or not; ValueError with a list where that is unclear."""
    known = store.planned() | {folder.signature: folder.facts() for folder in store.folders()}
    text, names = wanted.strip().lower(), {it: _names(facts) for it, facts in known.items()}
    if ": " not in wanted and (named := named_row(wanted)):  # else it is as printed
        text = (named.name + ("" if named.seed is None else f" - seed {named.seed}")).lower()
    found = text and (
        [it for it in known if text in (it, *names[it])]
        or [it for it in known if it.startswith(text)]
        or [it for it in known if any(text in name for name in names[it])]
    )
    if len(found) == 1:
        return store.folder(found[0])
    problem, hint = f"means {len(found)} runs of", ", and a signature, or its beginning, one"
    if not found:
        problem, hint = "is no run of", did_you_mean(text, [*names, *sum(names.values(), [])])
    shown = [f"{it} ({known[it].get('name')})" for it in found or known]
    if (more := len(shown) - LISTED) > 0:
        shown[LISTED:] = [f"and {more} more: atss status lists them"]
    listed = "; ".join(shown) or "none"
    raise ValueError(f"'{wanted}' {problem} {store.root}{hint}; there are {listed}")


def _names(facts: Facts) -> list[str]:
    """All that a run is called, in small letters: "table 2: box", "box", each with its seed."""
    rows = [str(row).lower() for row in facts.get("rows", [])]
    names = [name for row in rows for name in (row, row.partition(": ")[2]) if name]
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
    pairs = [
        it for it in every if len({(one.setup.name, one.setup.fingerprint) for one in it}) == 1
    ]
    names, note = "; ".join(one.setup.name for one, _ in pairs) or "none", ""
    plain = [pair for pair in pairs if not pair[0].setup.settings]
    if len(pairs) > 1 and len(plain) == 1:
        note, pairs = f"Taken from {plain[0][0].setup.name}; measured in {names}.", plain
    if not pairs and len(every) == 1:  # in what they differ, the notes of their comparison tell
        pairs = every
    if len(pairs) != 1:
        choose = "needs one, which --scale, --data and --set choose, or signatures"
        raise ValueError(f"setups in which both are measured: {names}; a comparison {choose}")
    ((first, second),) = pairs
    both = f"'{first.name}' and '{second.name}'"
    if shared := {it.signature for it in first.folders} & {it.signature for it in second.folders}:
        raise ValueError(f"{both} are the same run ({min(shared)}): equal configurations are one")
    if first.setup.fingerprint != second.setup.fingerprint:
        of = f"{first.setup.data} and {second.setup.data}"
        raise ValueError(f"{both} are of different data, {of}: a comparison needs the same images")
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
                rows = done[0].facts().get("rows", [])
                is_other = rows and named.name not in rows  # as are Table 8's, but for its scales
                also = f" (here the run of {rows[0]})" if is_other else ""
                seed = "" if named.seed is None else f", seed {named.seed}"
                found.append(Meant(f"{named.name}{seed}{also}", setup, done))
    if not found and named.seed is not None:
        others = _meant(store, text.rpartition("@")[0], setups)
        known_seeds = {folder.facts()["seed"] for it in others for folder in it.folders}
        there = ", ".join(map(str, sorted(known_seeds)))
        raise ValueError(f"no finished run of '{text}' in {store.root}; there are seeds {there}")
    if not found:
        known = "; ".join(setup.name for setup, _ in setups_in(store)) or "none"
        raise ValueError(
            f"no finished run of '{text}' as asked for in {store.root}; there are: {known}"
        )
    return found
