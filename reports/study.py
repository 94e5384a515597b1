"""Several tables of one setup as one study: a row of the paper's tables -> the runs behind it.

Rows that train the same detector are one run, so a row is found wherever its run stands.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from experiments import TABLES
from experiments.claim import Claim, Place
from experiments.experiment import Row
from reports.bundle import Bundle
from reports.compare import Result
from reports.facts import settings

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.statistics import Scores

BY_NUMBER = {table.number: table for table in TABLES.values()}
Key = tuple[Any, ...]  # what a row trains: equal keys are one run


@dataclass(frozen=True)
class Study:
    """The bundles of tables that were measured in one setup.

    scale, data: what is asked for where nothing was measured.
    ValueError for bundles of different setups: their numbers are never compared.
    """

    bundles: Sequence[Bundle] = ()
    scale: str = ""
    data: str = ""

    def __post_init__(self) -> None:
        setups = [_setup(bundle) for bundle in self.bundles]
        if any(setup != setups[0] for setup in setups):
            names = ", ".join(f"{it.table.label} ({it.scale} on {it.data})" for it in self.bundles)
            raise ValueError(f"a study needs tables of one scale, data and settings, got {names}")
        if self.bundles:
            object.__setattr__(self, "scale", self.bundles[0].scale)
            object.__setattr__(self, "data", self.bundles[0].data)

    @property
    def is_measured(self) -> bool:
        """Whether any run is there."""
        return any(bundle.results for bundle in self.bundles)

    @property
    def name(self) -> str:
        """The setup for people: "scale demo on shapes, iterations=300"."""
        if not self.bundles:
            asked = [self.scale and f"at scale {self.scale}", self.data and f"on {self.data}"]
            return " ".join(["nothing measured", *filter(None, asked)])
        first = self.bundles[0]
        changed = f", {settings(first)}" if first.settings else ""
        return f"scale {self.scale} on {self.data}{changed}"

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values of all its measured tables may be compared with the paper's."""
        measured = [bundle for bundle in self.bundles if bundle.results]
        return bool(measured) and all(bundle.is_as_in_paper for bundle in measured)

    def are_as_in_paper(self, tables: Iterable[int]) -> bool:
        """Whether values of these tables may be compared with the paper's, not only directions.

        That is a matter of the setup: a table's rows may all stand in other tables of the study.
        """
        papers = [BY_NUMBER[number] for number in tables]
        if not self.bundles:  # as what is asked for would be
            return {table.scale for table in papers} == {self.scale} and self.data == "coco2017"
        return all(replace(self.bundles[0], table=table).is_as_in_paper for table in papers)

    def has_scale_of(self, claim: Claim) -> bool:
        """Whether its tables belong to this scale: Table 8 has another one than the others.

        At scales that are none of the paper's, all tables are trained.
        """
        papers = {number: table.scale for number, table in BY_NUMBER.items()}
        if claim.evidence != "training" or self.scale not in papers.values():
            return True
        return {papers[number] for number in claim.tables} <= {self.scale}

    def runs(self, place: Place) -> tuple[str, ...]:
        """The signatures of a row's runs, one per seed; none where the row was not asked for."""
        row = find_row(place)
        return () if row is None else self._runs.get(_key(row), ())

    def results(self, place: Place) -> list[Result]:
        """What a row's runs measured, as far as they are done."""
        return [self._results[name] for name in self.runs(place) if name in self._results]

    def scores(self, place: Place) -> list["Scores"]:
        """The same under resampled images, of those runs whose match records are known."""
        found = {name: it for bundle in self.bundles for name, it in bundle.scores.items()}
        return [found[name] for name in self.runs(place) if name in found]

    def lines(self, wanted: Iterable[Place], num_seeds: int = 0) -> tuple[str, ...]:
        """The commands that train these rows, one per table; with so many seeds at least."""
        by_table: dict[int, set[int]] = {}
        for place in wanted:
            numbers = by_table.setdefault(place.table, set())
            if (row := find_row(place)) is not None:
                numbers.add(BY_NUMBER[place.table].rows.index(row) + 1)
        return tuple(
            self._line(BY_NUMBER[table].name, sorted(numbers), num_seeds)
            for table, numbers in sorted(by_table.items())
            if numbers
        )

    @cached_property
    def _runs(self) -> dict[Key, tuple[str, ...]]:
        found: dict[Key, dict[str, None]] = {}
        for bundle in self.bundles:
            for row in bundle.table.rows:
                names = bundle.signatures.get(row.label, ())
                found.setdefault(_key(row), {}).update(dict.fromkeys(names))
        return {key: tuple(names) for key, names in found.items()}

    @cached_property
    def _results(self) -> dict[str, Result]:
        return {name: it for bundle in self.bundles for name, it in bundle.results.items()}

    def _line(self, name: str, rows: Sequence[int], num_seeds: int) -> str:
        words = self._command(name)
        if not words:
            asked = {"--scale": self.scale, "--data": self.data}
            options = [word for pair in asked.items() if pair[1] for word in pair]
            words = ["atss", "reproduce", name, *options]
        if len(rows) < len(TABLES[name].rows):
            words += ["--rows", ",".join(map(str, rows))]
        seeds = sorted({result.seed for result in self._results.values()})
        if num_seeds > max(1, len(seeds)):
            others = (seed for seed in count() if seed not in seeds)
            seeds = sorted([*seeds, *islice(others, num_seeds - len(seeds))])
            if "--seeds" in words:
                at = words.index("--seeds")
                del words[at : at + 2]
            words += ["--seeds", ",".join(map(str, seeds))]
        return shlex.join(words)

    def _command(self, name: str) -> list[str]:
        """The table's own command, else another table's in this setting, for this one."""
        found = {bundle.table.name: shlex.split(bundle.command) for bundle in self.bundles}
        if found.get(name):
            return found[name]
        for other, words in found.items():
            if words[:3] == ["atss", "reproduce", other]:
                return [*words[:2], name, *words[3:]]
        return []


def find_row(place: Place) -> Row | None:
    """The row of the paper's table; None where that table is not among ours."""
    rows = BY_NUMBER[place.table].rows if place.table in BY_NUMBER else ()
    return next((row for row in rows if row.label == place.label), None)


def _key(row: Row) -> Key:
    """Equal for rows that train the same detector in one setup."""
    return row.config, tuple(sorted(row.recipe.items())), str(row.assigner)


def _setup(bundle: Bundle) -> tuple[Any, ...]:
    """What all tables of a study share."""
    return (
        bundle.scale,
        bundle.recipe,
        bundle.fingerprint,
        sorted(map(repr, bundle.settings.items())),
    )
