"""A table's rows joined with measured results: the paper's number, ours, and what changed.

Nothing is inferred here: a mean, a sample standard deviation, a count of seeds, and what
intervals.py makes of resampled images where there are any. What was not measured is None, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import hypot
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from detector.metrics import HEADINGS, Metrics
from experiments.experiment import Row, Table

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one finished run measured; plain data, whoever ran it.

    history: one dict per logged step, {"step": ..., "loss/cls": ..., "AP": ...}; seconds: wall time
    of training and test; facts: whatever else is worth telling of the run (device, versions).
    """

    signature: str
    seed: int
    metrics: Metrics
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopped:
    """How far a run came that was ended early on purpose: its last test, which is no result."""

    step: int
    ap: float | None


@dataclass(frozen=True)
class Sample:
    """One quantity measured with several seeds: seed -> value, in AP points.

    deviation: of one seed's value, where it is known better than from the values themselves.
    """

    by_seed: Mapping[int, float]
    deviation: float | None = None

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.by_seed)

    @property
    def mean(self) -> float | None:
        """None without a seed."""
        return fmean(self.by_seed.values()) if self.by_seed else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None with fewer than two seeds."""
        if self.deviation is not None:
            return self.deviation
        return stdev(self.by_seed.values()) if self.n > 1 else None

    def minus(self, other: "Sample") -> "Sample":
        """Differences of the seeds that both have.

        As in their interval, equal seeds of two configurations are two independent trainings.
        """
        shared = [seed for seed in self.by_seed if seed in other.by_seed]
        one, two = (Sample({seed: it.by_seed[seed] for seed in shared}) for it in (self, other))
        deviation = None if one.std is None or two.std is None else hypot(one.std, two.std)
        if self.by_seed == other.by_seed:  # the same runs
            deviation = None if deviation is None else 0.0
        return Sample({seed: one.by_seed[seed] - two.by_seed[seed] for seed in shared}, deviation)


@dataclass(frozen=True)
class Compared:
    """One metric of one row: the paper's number and ours, alone and against the reference row."""

    paper: float | None
    ours: Sample
    paper_gain: float | None  # the paper's number minus the paper's of the reference row
    gain: Sample  # the same of ours, paired by seed

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None where either is missing."""
        return _minus(self.ours.mean, self.paper)


@dataclass(frozen=True)
class ComparedRow:
    """A row of a table with the results of its runs, one per seed that is measured."""

    row: Row
    signatures: tuple[str, ...]  # of all runs asked for, measured or not
    results: tuple[Result, ...]
    metrics: Mapping[str, Compared]  # by field of Metrics, all six
    stopped: tuple[Stopped, ...] = ()  # its runs that were ended early
    scores: tuple["Scores", ...] = ()  # of the results whose images can be resampled
    estimates: Mapping[str, "Estimate"] = field(default_factory=dict)  # by field of Metrics
    differences: Mapping[str, "Estimate"] = field(default_factory=dict)  # from the reference row

    @property
    def ap(self) -> Compared:
        """The headline metric."""
        return self.metrics["ap"]


@dataclass(frozen=True)
class Comparison:
    """A table with our results, row by row in its order."""

    table: Table
    rows: tuple[ComparedRow, ...]

    @property
    def reference(self) -> ComparedRow:
        """The row that the others are compared with."""
        return self.rows[self.table.reference]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds with a result, in order."""
        return tuple(sorted({result.seed for row in self.rows for result in row.results}))

    @cached_property
    def missing(self) -> int:
        """How many of the runs asked for have no result and were not ended early."""
        there = ((len(row.results) + len(row.stopped), len(row.signatures)) for row in self.rows)
        return sum(asked - found for found, asked in there)


def join(
    table: Table,
    signatures: Mapping[str, Sequence[str]],
    results: Mapping[str, Result],
    stopped: Mapping[str, Stopped] | None = None,
    scores: Mapping[str, "Scores"] | None = None,
) -> Comparison:
    """signatures: row label -> its runs, one per seed; results: signature -> what is measured.

    stopped: signature -> how far a run came that was ended early; scores: of any results, what
    their numbers would be for other images, without which there are no estimates.
    A row without signatures and a signature without a result are missing, not wrong. ValueError
    where signatures name a row that the table does not have.
    """
    unknown = set(signatures) - {row.label for row in table.rows}
    if unknown:
        labels = ", ".join(f"'{row.label}'" for row in table.rows)
        raise ValueError(f"{table.name} has no row {sorted(unknown)[0]!r}; its rows are {labels}")
    measured = [
        tuple(results[name] for name in signatures.get(row.label, ()) if name in results)
        for row in table.rows
    ]
    reference, early = table.rows[table.reference], stopped or {}
    resampled = [_all_scores(found, scores or {}) for found in measured]
    rows = tuple(
        ComparedRow(
            row,
            tuple(signatures.get(row.label, ())),
            found,
            {
                name: _compare(name, row, found, reference, measured[table.reference])
                for name in HEADINGS
            },
            tuple(early[name] for name in signatures.get(row.label, ()) if name in early),
            drawn,
            *_estimates(drawn, resampled[table.reference]),
        )
        for row, found, drawn in zip(table.rows, measured, resampled, strict=True)
    )
    return Comparison(table, rows)


def _all_scores(results: Sequence[Result], scores: Mapping[str, "Scores"]) -> tuple["Scores", ...]:
    """Empty unless all have some: an interval of some seeds would not be that of their mean."""
    found = [scores[result.signature] for result in results if result.signature in scores]
    return tuple(found) if len(found) == len(results) else ()


def _estimates(
    runs: Sequence["Scores"], reference: Sequence["Scores"]
) -> tuple[dict[str, "Estimate"], dict[str, "Estimate"]]:
    """A row's numbers, and their differences from the reference row's, each with its interval."""
    if not runs:
        return {}, {}
    from reports.intervals import difference, estimate

    alone = {name: estimate(runs, name) for name in HEADINGS}
    against = {name: difference(runs, reference, name) for name in HEADINGS}
    return (
        {name: found for name, found in alone.items() if found},
        {name: found for name, found in against.items() if found and runs != reference},
    )


def _compare(
    name: str,
    row: Row,
    results: Sequence[Result],
    reference: Row,
    reference_results: Sequence[Result],
) -> Compared:
    paper: float | None = getattr(row.paper, name)
    ours = _sample(name, results)
    return Compared(
        paper,
        ours,
        _minus(paper, getattr(reference.paper, name)),
        ours.minus(_sample(name, reference_results)),
    )


def _sample(name: str, results: Sequence[Result]) -> Sample:
    values = {result.seed: getattr(result.metrics, name) for result in results}
    return Sample({seed: value for seed, value in values.items() if value is not None})


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
