"""What was measured in one setup: rows of the paper's tables -> their runs, their differences."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, count, islice
from math import sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Any

from experiments import TABLES, table9
from experiments.claims import RERUN_DEGREES, RERUN_DEVIATION, Claim, Margin, Place, Spread, places
from experiments.experiment import Row, Table
from reports.footnotes import settings
from reports.results import Bundle, Result

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate

BY_NUMBER = {table.number: table for table in TABLES.values()} | {9: table9.TABLE}
Key = tuple[Any, ...]  # what a row trains: equal keys are one run


@dataclass(frozen=True)
class Measurements:
    """The bundles of tables that were measured in one setup.

    Rows that train the same detector are one run, so a row is found wherever its run stands.
    scale, data: what is asked for where nothing was measured. crowds: of runs, by signature, their
    numbers on crowded images less those on others.
    ValueError for bundles of different setups: their numbers are never compared.
    """

    bundles: Sequence[Bundle] = ()
    scale: str = ""
    data: str = ""
    crowds: Mapping[str, "Scores"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        setups = [(it.scale, it.recipe, it.fingerprint, dict(it.settings)) for it in self.bundles]
        if any(setup != setups[0] for setup in setups):
            names = ", ".join(f"{it.table.label} ({it.scale} on {it.data})" for it in self.bundles)
            raise ValueError(f"a study needs tables of one scale, data and settings, got {names}")
        if self.bundles:
            object.__setattr__(self, "scale", self.bundles[0].scale)
            object.__setattr__(self, "data", self.bundles[0].data)

    @property
    def name(self) -> str:
        """The setup for people: "scale demo on shapes, iterations=300"."""
        if not self.bundles:
            asked = [self.scale and f"at scale {self.scale}", self.data and f"on {self.data}"]
            return " ".join(["nothing measured", *filter(None, asked)])
        changed = settings(self.bundles[0])
        return f"scale {self.scale} on {self.data}" + (f", {changed}" if changed else "")

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
        return self._runs.get(_key(find_row(place)), ())

    def results(self, place: Place) -> list[Result]:
        """What a row's runs measured, as far as they are done."""
        return [self._results[name] for name in self.runs(place) if name in self._results]

    def scores(self, place: Place, of_crowds: bool = False) -> list["Scores"]:
        """The same under resampled images, of those runs whose match records are known."""
        every = {name: it for bundle in self.bundles for name, it in bundle.scores.items()}
        found = self.crowds if of_crowds else every
        return [found[name] for name in self.runs(place) if name in found]

    def commands(self, wanted: Iterable[Place], num_seeds: int) -> tuple[str, ...]:
        """The commands that train these rows, one per table; with so many seeds at least."""
        by_table: dict[int, set[int]] = {}
        for place in wanted:
            index = BY_NUMBER[place.table].rows.index(find_row(place))
            by_table.setdefault(place.table, set()).add(index + 1)
        return tuple(
            self._command(BY_NUMBER[number], sorted(rows), num_seeds)
            for number, rows in sorted(by_table.items())
        )

    def without_interval(self, part: Margin | Spread) -> float | None:
        """A part of a claim by the means of its rows' runs; None where it is undefined."""
        means = []
        for place in places(part):
            runs = self.scores(place, True) if is_of_crowds(part) else self.results(place)
            found = (getattr(run.metrics, part.metric) for run in runs)
            known = [value for value in found if value is not None]
            if not known:
                return None
            means.append(fmean(known))
        return means[0] - means[1] if isinstance(part, Margin) else max(means) - min(means)

    def estimate(self, part: Margin | Spread, level: float) -> "Estimate | None":
        """A part of a claim with its interval; None where it is undefined."""
        found = []
        for one, other in combinations(places(part), 2):
            difference = self._difference(one, other, part, level)
            if difference is None:
                return None
            found.append(difference)
        return spread(found) if isinstance(part, Spread) else found[0]

    def _difference(
        self, one: Place, other: Place, part: Margin | Spread, level: float
    ) -> "Estimate | None":
        """With one seed in the paper's setup its reruns' spread stands in for that of the seeds."""
        from reports.intervals import difference

        metric, of_crowds = part.metric, is_of_crowds(part)
        sides = self.scores(one, of_crowds), self.scores(other, of_crowds)
        found = difference(*sides, metric, level=level)
        is_as_in_paper = self.are_as_in_paper((one.table, other.table))
        if found is None or found.seed_error is not None or not is_as_in_paper:
            return found
        error = sqrt(2) * RERUN_DEVIATION[metric]  # of the difference of two runs
        return difference(*sides, metric, level=level, seeds=(error, RERUN_DEGREES))

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

    def _command(self, table: Table, rows: Sequence[int], num_seeds: int) -> str:
        """The table's own command, else another table's in this setting, for these rows."""
        asked = {"--scale": self.scale, "--data": self.data}
        options = [word for pair in asked.items() if pair[1] for word in pair]
        for bundle in sorted(self.bundles, key=lambda it: it.table.name == table.name):
            known = shlex.split(bundle.command)
            if known[:3] == ["atss", "reproduce", bundle.table.name]:
                options = known[3:]
        words = ["atss", "reproduce", table.name, *options]
        if len(rows) < len(table.rows):
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


def is_of_crowds(part: Margin | Spread) -> bool:
    """Whether it is about crowded images."""
    return isinstance(part, Margin) and part.of_crowds


def find_row(place: Place) -> Row:
    """The row of the paper's table."""
    return next(row for row in BY_NUMBER[place.table].rows if row.label == place.label)


def _key(row: Row) -> Key:
    """Equal for rows that train the same detector in one setup."""
    return row.config, tuple(sorted(row.recipe.items())), str(row.assigner)


def spread(pairs: Sequence["Estimate"]) -> "Estimate":
    """The largest of the differences, whatever their signs, from one interval for each of them.

    All rows lie within a tolerance when every pair does: high is the farthest end of any interval.
    They do not when some pair lies beyond it: low is the nearest end of the farthest interval.
    Errors and seeds are those of the pair with the fewest seeds, so one without seeds' error shows.
    """
    reach = [max(-pair.low, pair.high) for pair in pairs]
    weakest = min(range(len(pairs)), key=lambda n: (pairs[n].num_seeds, -reach[n]))
    return replace(
        pairs[weakest],
        value=max(abs(pair.value) for pair in pairs),
        low=max(max(pair.low, -pair.high, 0.0) for pair in pairs),
        high=max(reach),
    )
