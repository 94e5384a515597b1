"""What a person means: a run, or a table's row with all its seeds.

d0aff5                                          a run, by its signature or the beginning of one
box, "Table 2: ..., Box", "box - seed 1"        by a row as it is printed, or a part of that
table3:5, table3:fcos+atss, my_ablation.py:2    a row, by number, label or a part of it
table3:5@1                                      its run of seed 1

What means several is refused with their list. A row that is measured in several setups is meant in
the one without changed settings, if that is one; --scale, --data and --set name another.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path

from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Row, Table
from experiments.settings import did_you_mean, show_setting
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


@dataclass(frozen=True)
class NamedRow:
    """What a text such as table3:5@1 says."""

    table: Table
    row: Row
    seed: int | None  # None means all

    @property
    def name(self) -> str:
        """As it is printed: "Table 2: ..., Box"."""
        return f"{self.table.label}: {self.row.label}"


def named_row(text: str) -> NamedRow | None:
    """The row that a text such as table3:5@1 names; None where it names no table."""
    before, colon, rest = text.partition(":")
    name, known = squeezed(before), [*TABLES, *ABLATIONS]
    if before.endswith(OWN) and (rest or Path(before).is_file()):
        name = before
    elif name not in known:
        if colon and not rest.startswith(" ") and get_close_matches(name, known, n=1):
            find_tables([name])  # says which there are
        return None
    label, _, seed = rest.rpartition("@") if re.search(r"@\d+$", rest) else (rest, "", "")
    tables = find_tables([name])
    labels = [row.label for table in tables for row in table.rows]
    if not label.strip():
        listed = "; ".join(f"{number} {it}" for number, it in enumerate(labels, start=1))
        raise ValueError(f"{name} needs a row, such as {name}:1; there are: {listed}")
    found = []
    for table in tables:  # of one file: the label tells which
        try:
            found += [(table, row) for row in find_rows(table, [label.strip()])]
        except ValueError:
            if len(tables) == 1:
                raise
    if len(found) != 1:
        there = "; ".join(labels)
        raise ValueError(f"'{label}' is {len(found)} rows of {before}; there are: {there}")
    return NamedRow(*found[0], int(seed) if seed else None)


def find_run(store: Store, wanted: str) -> RunFolder:
    """The only run that is meant, begun or not; ValueError with a list where that is unclear."""
    known: dict[str, Facts] = {**store.planned()}
    known |= {folder.signature: folder.facts() for folder in store.folders()}
    if not known:
        raise ValueError(
            f"no run '{wanted}' in {store.root}, which holds none; --out names another"
        )
    text = wanted.strip().lower()
    if re.search(r":\S", wanted) and (named := named_row(wanted)):  # table3:2@1
        of_seed = "" if named.seed is None else f" - seed {named.seed}"
        text = f"{named.name}{of_seed}".lower()
    names = {it: _names(facts) for it, facts in known.items()}
    found = text and (
        [it for it in known if it == text]
        or [it for it in known if text in names[it]]
        or [it for it in known if it.startswith(text)]
        or [it for it in known if any(text in name for name in names[it])]
    )
    if len(found) == 1:
        return store.folder(found[0])
    problem = f"means {len(found)} runs of" if found else "is no run of"
    hint = ", and a signature, or its beginning, one"
    if not found:
        everything = [*names, *sum(names.values(), [])]
        words = [word for name in everything for word in re.findall(r"\w{3,}", name)]
        hint = did_you_mean(wanted.strip().lower(), [*everything, *words])
        if Path(wanted).exists():
            hint = " (it is a file or folder; a RUN or --weights FILE is needed before images)"
    shown = [
        f"{it} ({known[it].get('name')}, {known[it].get('setup', {}).get('name')})"
        for it in (found or known)
    ]
    if (more := len(shown) - LISTED) > 0:
        shown[LISTED:] = [f"and {more} more: atss status lists them"]
    raise ValueError(f"'{wanted}' {problem} {store.root}{hint}; there are {'; '.join(shown)}")


def _names(facts: Facts) -> list[str]:
    """All that a run is called, in small letters: "table 2: box", "box", each with its seed."""
    rows = [str(row).lower() for row in facts.get("rows", [])]
    names = [name for row in rows for name in (row, row.partition(": ")[2])]
    return names + [f"{name} - seed {facts.get('seed', 0)}" for name in names]


# Two configurations in one setup


@dataclass(frozen=True)
class Asked:
    """Only results of these; of all where there is none."""

    scale: str | None = None
    data: str | None = None
    settings: Sequence[str] = ()  # as --set takes them, and no others

    def has(self, setup: Setup) -> bool:
        """Whether a setup is asked for."""
        if not setup.is_at(self.scale, self.data):
            return False
        return not self.settings or resolve_scale(setup.scale, self.settings)[1] == setup.settings

    def __str__(self) -> str:
        """As it was typed: " --scale mini --set k=5"."""
        words = [("scale", self.scale), ("data", self.data), *(("set", it) for it in self.settings)]
        return "".join(f" --{name} {shlex.quote(value)}" for name, value in words if value)


EVERYTHING = Asked()


@dataclass(frozen=True)
class Meant:
    """A configuration in one setup: its finished runs, one per seed."""

    name: str  # for people
    setup: Setup
    folders: tuple[RunFolder, ...]
    note: str = ""  # on the setup, where there was a choice

    @property
    def where(self) -> tuple[str, str]:
        """What it must share with what it is compared with."""
        return self.setup.name, self.setup.fingerprint


def find_pair(store: Store, texts: Sequence[str], asked: Asked = EVERYTHING) -> tuple[Meant, Meant]:
    """The two configurations, of one setup if there is one that has both; ValueError if unclear."""
    for letter, text in zip("AB", texts, strict=True):
        if not text.strip():
            raise ValueError(f"{letter} is empty: needs a row such as table3:1, or a run")
    sides, seeds = zip(*(_meant(store, text, asked) for text in texts), strict=True)
    every = list(product(*sides))
    pairs = [(one, other) for one, other in every if one.where == other.where]
    if not pairs and len(every) == 1:
        pairs = every
    note, plain = "", [pair for pair in pairs if not any(it.setup.settings for it in pair)]
    if len(pairs) > 1 and len(plain) == 1:
        ((chosen, _),) = plain
        others = [one.setup for one, _ in pairs if one != chosen]
        ways = "; ".join(_ways([chosen.setup, *others])[1:])
        note, pairs = f"Measured in several setups, taken from {chosen.setup.name}; {ways}.", plain
    if len(pairs) != 1:
        problem = "both are measured in several setups" if pairs else "no setup has both"
        known = [one for one, _ in pairs] or [one for side in sides for one in side]
        ways = "; ".join(_ways([one.setup for one in known]))
        raise ValueError(
            f"{problem}: {ways}; or name runs by their signatures, which atss status lists"
        )
    first, second = (
        replace(_of_seed(*side), note=note) for side in zip(pairs[0], seeds, texts, strict=True)
    )
    _require_comparable(first, second)
    return first, second


def _ways(setups: Sequence[Setup]) -> list[str]:
    """What to type for each: "--set k=5 for demo k=5 - shapes"."""
    found = list({(setup.name, setup.fingerprint): setup for setup in setups}.values())

    def differs(part: str) -> bool:
        return len({getattr(setup, part) for setup in found}) > 1

    part = "data" if differs("data") else "where"
    ways = []
    for it in found:
        settings = [f"{name}={show_setting(value)}" for name, value in it.settings.items()]
        where = getattr(it, part) if differs(part) else None
        asked = str(Asked(it.scale if differs("scale") else None, where, settings))
        ways.append(f"{asked} for {it.name}".strip() if asked else it.name)
    return ways


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


def _meant(store: Store, text: str, asked: Asked) -> tuple[list[Meant], int | None]:
    """What the text may mean, once for each setup, and its seed; ValueError if nothing."""
    named = named_row(text)
    if named is None:
        folder = find_run(store, text)
        if not folder.is_done:
            raise ValueError(f"run {folder.signature} is not done: a comparison needs its result")
        facts = folder.facts()
        name = f"{facts['name']} ({folder.signature})"
        return [Meant(name, Setup.from_json(facts["setup"]), (folder,))], None
    measured = []
    for setup, seeds in setups_in(store):
        with suppress(ValueError):  # settings that contradict the row's toggles
            runs = [folder_of(store, setup.row_run(named.row, seed)) for seed in seeds]
            if done := tuple(folder for folder in runs if folder.is_done):
                measured.append(Meant(named.name, setup, done))
    if here := [meant for meant in measured if asked.has(meant.setup)]:
        return here, named.seed
    names = "; ".join(dict.fromkeys(meant.setup.name for meant in measured))
    where = f"in {store.root}{' with' if str(asked) else ''}{asked}"
    raise ValueError(f"no finished run of '{text}' {where}{f', but in {names}' if names else ''}")


def _of_seed(meant: Meant, seed: int | None, text: str) -> Meant:
    """All its runs where no seed is asked for; ValueError where it has none of that."""
    runs = {folder.facts()["seed"]: folder for folder in meant.folders}
    if seed is None:
        return meant
    if seed not in runs:
        there = f"seed{'s' if len(runs) > 1 else ''} {', '.join(map(str, sorted(runs)))}"
        raise ValueError(
            f"no finished run of '{text}' in the setup {meant.setup.name}, which has {there} of it"
        )
    return replace(meant, folders=(runs[seed],))
