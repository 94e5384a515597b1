"""What was measured in one setup: rows of the paper's tables -> their runs, their differences."""

import shlex
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING

from experiments import TABLES, table9
from experiments.claims import RERUN_DEGREES, RERUN_DEVIATION, Part, Place, places
from experiments.experiment import Row
from reports.results import Bundle, ComparedRow
from reports.tables import assigned

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
        for name in ("scale", "data") if self.bundles else ():
            object.__setattr__(self, name, getattr(self.bundles[0], name))

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

    def row(
        self, place: Place, other: Place | None = None, *, of_crowds: bool = False
    ) -> ComparedRow:
        """A row of any table with its runs, against another; no run where it was not asked for."""
        row = find_row(place)
        wanted = row.config, row.recipe, str(row.assigner)  # equal for rows that are one run
        signatures = dict.fromkeys(
            name
            for bundle in self.bundles
            for it in bundle.table.rows
            if (it.config, it.recipe, str(it.assigner)) == wanted
            for name in bundle.signatures.get(it.label, ())
        )
        results = ChainMap(*(dict(it.results) for it in self.bundles))
        scores = ChainMap(*(dict(it.scores) for it in self.bundles))
        drawn = self.crowds if of_crowds else scores
        reference = self.row(other) if other else None
        return ComparedRow(row, tuple(signatures), results, drawn, reference=reference)

    def estimates(self, part: Part) -> list["Estimate"]:
        """Of the differences of any two rows of a claim's part; none where one is undefined.

        With one seed in the paper's setup its reruns' spread stands in for that of the seeds.
        """
        from reports.intervals import difference

        found = []
        for pair in combinations(places(part), 2):
            one, other = (self.row(it, of_crowds=part.of_crowds).scores for it in pair)
            if not (estimate := difference(one, other, part.metric)):
                return []
            tables = (place.table for place in pair)
            if estimate.seed_error is None and self.are_as_in_paper(tables):
                error = sqrt(2) * RERUN_DEVIATION[part.metric]  # of the difference of two runs
                estimate = replace(estimate, seed_error=error, seed_degrees=RERUN_DEGREES).at()
            found.append(estimate)
        return found

    def commands(self, wanted: Iterable[Place], num_seeds: int) -> tuple[str, ...]:
        """The commands that train these rows, one per table; with so many seeds at least.

        In this setting; at the table's own scale where smaller backbones would stand in.
        """
        places, commands = set(wanted), []
        seeds = {result.seed for bundle in self.bundles for result in bundle.results.values()}
        data = self.data or ("" if self.scale in ("", USUAL_SCALE) else PAPERS_DATA)
        asked = ["--scale", self.scale] * bool(self.scale) + ["--data", data] * bool(data)
        made = (shlex.split(bundle.command) for bundle in self.bundles)
        setting = next((it[3:] for it in made if it[:2] == ["atss", "reproduce"]), asked)
        for number in sorted({place.table for place in places}):
            table, options, least = BY_NUMBER[number], [*setting], num_seeds
            if any((self.scale or USUAL_SCALE) in row.at_scale for row in table.rows):
                options, least = ["--scale", table.scale, "--data", PAPERS_DATA], 1
            numbered = enumerate(table.rows, 1)
            rows = [str(n) for n, row in numbered if Place(number, row.label) in places]
            if len(rows) < len(table.rows):
                options += ["--rows", ",".join(rows)]
            if least > max(1, len(seeds)):
                if "--seeds" in options:
                    del options[(at := options.index("--seeds")) : at + 2]
                options += ["--seeds", ",".join(map(str, sorted({*seeds, *range(least)})))]
            commands.append(shlex.join(["atss", "reproduce", table.name, *options]))
        return tuple(commands)


def find_row(place: Place) -> Row:
    """The row of the paper's table."""
    return next(row for row in BY_NUMBER[place.table].rows if row.label == place.label)


def spread(pairs: Sequence["Estimate"]) -> "Estimate":
    """The largest of the differences, whatever their signs, from one interval for each of them.

    low is the nearest end of the farthest interval, high the farthest end of any. Errors and seeds
    are those of the pair with the fewest seeds, so one without seeds' error shows.
    """
    weakest = min(pairs, key=lambda pair: (pair.num_seeds, -max(-pair.low, pair.high)))
    return replace(
        weakest,
        value=max(abs(pair.value) for pair in pairs),
        low=max(max(pair.low, -pair.high, 0.0) for pair in pairs),
        high=max(max(-pair.low, pair.high) for pair in pairs),
    )
