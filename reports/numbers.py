"""A table's rows beside the paper's: THE numbers, as a data frame, and how each is written.

    join      rows with what their runs measured: the paper's number, ours, and what changed
    numbers   the same as a frame, one line per row and metric; the CSV is this, and MLflow's rows
              and archives read it
    number, signed, interval ...   one decimal as in the paper, a sign on what is a change

Nothing is inferred here: a mean, a sample standard deviation, a count of seeds, and the intervals
of intervals.py where images can be resampled. What was not measured is None, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import hypot, isfinite
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from detector.metrics import HEADINGS, Metrics
from experiments.experiment import Row, Table
from reports.render import BREAK, PAD

if TYPE_CHECKING:  # they import numpy and pandas, which lists need not wait for
    import pandas as pd

    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate

MISSING = "–"
EARLY = "†"


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

    deviation: of one seed's value, where it is known better than from the values themselves;
    estimate: their mean with its interval, where images can be resampled.
    """

    by_seed: Mapping[int, float]
    deviation: float | None = None
    estimate: "Estimate | None" = None

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
    gain: Sample  # the same of ours, paired by seed; no estimate for the reference row itself

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None where either is missing."""
        return _minus(self.ours.mean, self.paper)


@dataclass(frozen=True)
class ComparedRow:
    """A row of a table with the results of its runs, one per seed that is measured."""

    row: Row
    signatures: tuple[str, ...]  # of all runs asked for, measured or not
    results: tuple["Result", ...]
    stopped: tuple["Stopped", ...]  # its runs that were ended early
    scores: tuple["Scores", ...]  # of the results; empty unless the images of all can be resampled
    metrics: Mapping[str, Compared] = field(default_factory=dict)  # by field of Metrics, all six

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
    results: Mapping[str, "Result"],
    stopped: Mapping[str, "Stopped"] | None = None,
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
    early, resampled, rows = stopped or {}, scores or {}, []
    for row in table.rows:
        names = tuple(signatures.get(row.label, ()))
        found = tuple(results[name] for name in names if name in results)
        ended = tuple(early[name] for name in names if name in early)
        drawn = tuple(resampled[it.signature] for it in found if it.signature in resampled)
        # An interval of some seeds would not be that of their mean.
        rows.append(
            ComparedRow(row, names, found, ended, drawn if len(drawn) == len(found) else ())
        )
    return Comparison(table, tuple(_against(rows[table.reference], row) for row in rows))


def _against(reference: ComparedRow, row: ComparedRow) -> ComparedRow:
    """The row with its numbers, alone and against the reference."""
    metrics = {}
    for name in HEADINGS:
        paper, papers = getattr(row.row.paper, name), getattr(reference.row.paper, name)
        ours = _sample(row, name)
        gain = ours.minus(_sample(reference, name))
        if row.scores:
            from reports.intervals import difference, estimate

            others = reference.scores if row.scores != reference.scores else ()
            ours = replace(ours, estimate=estimate(row.scores, name))
            gain = replace(gain, estimate=difference(row.scores, others, name))
        metrics[name] = Compared(paper, ours, _minus(paper, papers), gain)
    return replace(row, metrics=metrics)


def _sample(row: ComparedRow, name: str) -> Sample:
    values = {result.seed: getattr(result.metrics, name) for result in row.results}
    return Sample({seed: value for seed, value in values.items() if value is not None})


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def numbers(comparison: Comparison) -> "pd.DataFrame":
    """A line per row and metric, every number in full precision; what is not known is None.

    low, high: the 95 % interval; image_error, seed_error: standard errors from the samples of
    images and of seeds, the latter None with one seed, whose interval is of the images alone.
    """
    import pandas as pd

    lines = [_line(comparison.table, row, name) for row in comparison.rows for name in HEADINGS]
    return pd.DataFrame(lines, dtype=object)


def csv_text(comparison: Comparison) -> str:
    """The numbers as they are; what is not known stays empty; lists are separated by spaces."""
    return numbers(comparison).to_csv(index=False, lineterminator="\n")


def _line(table: Table, row: ComparedRow, name: str) -> dict[str, float | int | str | None]:
    found, estimate = row.metrics[name], row.metrics[name].ours.estimate
    return {
        "table": table.number or table.name,
        "row": row.row.label,
        "metric": HEADINGS[name],
        "paper": found.paper,
        "ours": found.ours.mean,
        "std": found.ours.std,
        "n": found.ours.n,
        **_spread(estimate),
        "images": None if estimate is None else estimate.num_images,
        "difference": found.difference,
        "paper_gain": found.paper_gain,
        "gain": found.gain.mean,
        "gain_std": found.gain.std,
        **_spread(found.gain.estimate, "gain_"),
        "seeds": " ".join(str(seed) for seed in found.ours.by_seed),
        "signatures": " ".join(row.signatures),
    }


def _spread(estimate: "Estimate | None", of: str = "") -> dict[str, float | None]:
    names = ("low", "high", "image_error", "seed_error")
    return {of + name: getattr(estimate, name, None) for name in names}


def finite(value: Any) -> Any:
    """The same content for JSON, which has neither infinity nor NaN: null in their place."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def number(value: float | None) -> str:
    """One decimal, as the paper; figure spaces keep the points of 5.3 and 12.8 in one line."""
    return MISSING if value is None else f"{value:.1f}".rjust(4, PAD)


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if value is None:
        return MISSING
    text = f"{value:+.1f}".replace("-", "−")
    return "±0.0" if text[1:] == "0.0" else text


def spread(sample: Sample) -> str:
    """Mean, and standard deviation where several seeds tell one."""
    return number(sample.mean) + ("" if sample.std is None else f" ±{sample.std:.1f}")


def interval(estimate: "Estimate | None") -> str:
    """From low to high, of a number that cannot be below zero."""
    if estimate is None:
        return MISSING
    return f"{max(estimate.low, 0):.1f}–{BREAK}{min(estimate.high, 100):.1f}"


def signed_interval(estimate: "Estimate | None") -> str:
    """From low to high, of a difference; +0.0 tells on which side of zero it is."""
    if estimate is None:
        return MISSING
    return f"{estimate.low:+.1f} to {BREAK}{estimate.high:+.1f}".replace("-", "−")


def has_intervals(comparison: Comparison) -> bool:
    """Whether anything is known of how far our numbers are to be trusted."""
    return any(it.ours.estimate for row in comparison.rows for it in row.metrics.values())


def level() -> str:
    """How sure intervals are: "95 %"."""
    from reports.intervals import LEVEL

    return f"{LEVEL:.0%}".replace("%", " %")


def least_shown(estimate: "Estimate") -> str:
    """The smallest difference that these seeds and images could have shown: "0.8 AP"."""
    from reports.intervals import visible

    return f"{visible(estimate):.1f} AP"
