"""What was measured in one setup: rows of the paper's tables -> their runs, their differences."""

import shlex
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, Any

from experiments import TABLES, table9
from experiments.claims import RERUN_DEGREES, RERUN_DEVIATION, Claim, Margin, Place, Spread, places
from experiments.experiment import Row
from reports.footnotes import assigned
from reports.results import Bundle, Compared, ComparedRow, Result

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate

BY_NUMBER = {table.number: table for table in TABLES.values()} | {9: table9.TABLE}
PAPERS_DATA = "coco2017"
USUAL_SCALE = "demo"  # where none is asked for


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
        for bundle in self.bundles[:1]:
            object.__setattr__(self, "scale", bundle.scale)
            object.__setattr__(self, "data", bundle.data)

    @property
    def name(self) -> str:
        """The setup for people: "scale demo on shapes, iterations=300"."""
        if not self.bundles:
            asked = [self.scale and f"at scale {self.scale}", self.data and f"on {self.data}"]
            return " ".join(["nothing measured", *filter(None, asked)])
        changed = assigned(self.bundles[0].settings)
        return f"scale {self.scale} on {self.data}" + (f", {changed}" if changed else "")

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values of all its measured tables may be compared with the paper's."""
        measured = [bundle.is_as_in_paper for bundle in self.bundles if bundle.results]
        return bool(measured) and all(measured)

    def are_as_in_paper(self, tables: Iterable[int]) -> bool:
        """Whether values of these tables may be compared with the paper's, not only directions.

        That is a matter of the setup: a table's rows may all stand in other tables of the study.
        """
        papers = [BY_NUMBER[number] for number in tables]
        if not self.bundles:  # as what is asked for would be
            return {table.scale for table in papers} == {self.scale} and self.data == PAPERS_DATA
        return all(replace(self.bundles[0], table=table).is_as_in_paper for table in papers)

    def has_scale_of(self, claim: Claim) -> bool:
        """Whether its tables belong to this scale: Table 8 has another one than the others.

        At scales that are none of the paper's, all tables are trained.
        """
        own = {BY_NUMBER[number].scale for number in claim.tables}
        is_papers = self.scale in {table.scale for table in BY_NUMBER.values()}
        return claim.evidence != "training" or not is_papers or own == {self.scale}

    def runs(self, place: Place) -> tuple[str, ...]:
        """The signatures of a row's runs, one per seed; none where the row was not asked for."""
        wanted, found = _trains(find_row(place)), dict[str, None]()
        for bundle in self.bundles:
            for row in bundle.table.rows:
                if _trains(row) == wanted:
                    found |= dict.fromkeys(bundle.signatures.get(row.label, ()))
        return tuple(found)

    def results(self, place: Place) -> list[Result]:
        """What a row's runs measured, as far as they are done."""
        return list(self._row(place).results)

    def scores(self, place: Place, of_crowds: bool = False) -> list["Scores"]:
        """The same under resampled images, of those runs whose match records are known."""
        known = self.crowds if of_crowds else ChainMap(*(dict(it.scores) for it in self.bundles))
        return [known[name] for name in self.runs(place) if name in known]

    def compared(self, place: Place, other: Place | None) -> Compared:
        """AP of a row of any table, against that of another."""
        return replace(self._row(place), reference=self._row(other) if other else None).ap

    def _row(self, place: Place) -> ComparedRow:
        results, scores = (
            ChainMap(*(dict(getattr(bundle, name)) for bundle in self.bundles))
            for name in ("results", "scores")
        )
        return ComparedRow(find_row(place), self.runs(place), results, scores)

    def estimate(self, part: Margin | Spread, level: float) -> "Estimate | None":
        """A part of a claim with its interval; None where it is undefined."""
        pairs = list(combinations(places(part), 2))
        found = [it for pair in pairs if (it := self._difference(*pair, part, level))]
        if len(found) < len(pairs):
            return None
        return spread(found) if isinstance(part, Spread) else found[0]

    def _difference(
        self, one: Place, other: Place, part: Margin | Spread, level: float
    ) -> "Estimate | None":
        """With one seed in the paper's setup its reruns' spread stands in for that of the seeds."""
        from reports.intervals import difference

        sides = self.scores(one, part.of_crowds), self.scores(other, part.of_crowds)
        found = difference(*sides, part.metric, level=level)
        is_alone = found is not None and found.seed_error is None
        if not is_alone or not self.are_as_in_paper((one.table, other.table)):
            return found
        error = sqrt(2) * RERUN_DEVIATION[part.metric]  # of the difference of two runs
        return difference(*sides, part.metric, level=level, seeds=(error, RERUN_DEGREES))

    def commands(self, wanted: Iterable[Place], num_seeds: int) -> tuple[str, ...]:
        """The commands that train these rows, one per table; with so many seeds at least."""
        by_table: dict[int, set[str]] = {}
        for place in wanted:
            by_table.setdefault(place.table, set()).add(place.label)
        return tuple(self._command(*it, num_seeds) for it in sorted(by_table.items()))

    def _command(self, number: int, labels: Collection[str], num_seeds: int) -> str:
        """In this setting; at the table's own scale where smaller backbones would stand in."""
        table, options = BY_NUMBER[number], self._options()
        seeds = {result.seed for bundle in self.bundles for result in bundle.results.values()}
        if any((self.scale or USUAL_SCALE) in row.at_scale for row in table.rows):
            options, num_seeds = ["--scale", table.scale, "--data", PAPERS_DATA], 1
        if len(labels) < len(table.rows):
            rows = [place for place, row in enumerate(table.rows, 1) if row.label in labels]
            options += ["--rows", ",".join(map(str, rows))]
        if num_seeds > max(1, len(seeds)):
            if "--seeds" in options:
                del options[(at := options.index("--seeds")) : at + 2]
            options += ["--seeds", ",".join(map(str, sorted({*seeds, *range(num_seeds)})))]
        return shlex.join(["atss", "reproduce", table.name, *options])

    def _options(self) -> list[str]:
        """What tells `atss reproduce` of this setting: as a table of it says."""
        for bundle in self.bundles:
            words = shlex.split(bundle.command)
            if words[:2] == ["atss", "reproduce"]:
                return words[3:]
        asked = {"--scale": self.scale, "--data": self.data}
        return [word for name, value in asked.items() if value for word in (name, value)]


def find_row(place: Place) -> Row:
    """The row of the paper's table."""
    return next(row for row in BY_NUMBER[place.table].rows if row.label == place.label)


def _trains(row: Row) -> tuple[Any, ...]:
    """Equal for rows that are one run in one setup."""
    return row.config, tuple(sorted(row.recipe.items())), str(row.assigner)


def spread(pairs: Sequence["Estimate"]) -> "Estimate":
    """The largest of the differences, whatever their signs, from one interval for each of them.

    All rows lie within a tolerance when every pair does: high is the farthest end of any interval.
    They do not when some pair lies beyond it: low is the nearest end of the farthest interval.
    Errors and seeds are those of the pair with the fewest seeds, so one without seeds' error shows.
    """
    weakest = min(pairs, key=lambda pair: (pair.num_seeds, -max(-pair.low, pair.high)))
    return replace(
        weakest,
        value=max(abs(pair.value) for pair in pairs),
        low=max(max(pair.low, -pair.high, 0.0) for pair in pairs),
        high=max(max(-pair.low, pair.high) for pair in pairs),
    )
