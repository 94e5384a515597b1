"""A table's runs: what they measured, beside the paper's numbers, and all of it in one JSON file.

    Bundle        a table, how its runs were made, what they measured
    Bundle.rows   each row's numbers: the paper's and ours, alone and against the row of reference

Nothing is inferred here: a mean, a sample standard deviation, a count of seeds, and the intervals
of intervals.py where images can be resampled. What was not measured is None, never 0. What the
numbers would be for other images, thousands of them, stands beside the file: table2.json and
table2.npz. Without the latter a report has no intervals.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from math import ceil, hypot
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS, Metrics
from experiments.experiment import OwnAssigner, Row, Table
from experiments.schedules import SCALES

if TYPE_CHECKING:  # they import numpy, and take a second, which lists need not wait for
    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate

FORMAT = 3  # of the JSON; raised when an older reader could not read it
CURVE_POINTS = 300  # of one run's history; more than a figure can show
PLAIN = ("scale", "recipe", "data", "fingerprint", "settings", "command", "notes")  # as they are
SCORED = ("images", "num_images", "digest")  # what the JSON says of draws


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

    by_seed: Mapping[int, float] = field(default_factory=dict)
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
    results: tuple[Result, ...]
    stopped: tuple[Stopped, ...]  # its runs that were ended early
    scores: tuple["Scores", ...]  # of the results; empty unless the images of all can be resampled
    metrics: Mapping[str, Compared] = field(default_factory=dict)  # by field of Metrics, all six

    @property
    def ap(self) -> Compared:
        """The headline metric."""
        return self.metrics["ap"]

    def against(self, reference: "ComparedRow | None") -> "ComparedRow":
        """The row with its numbers, alone and against the reference, if there is one."""
        metrics = {}
        for name in HEADINGS:
            ours, paper = self._sample(name), getattr(self.row.paper, name)
            gain, paper_gain = Sample(), None
            if reference:
                gain = ours.minus(reference._sample(name))
                paper_gain = _minus(paper, getattr(reference.row.paper, name))
            if self.scores:
                from reports.intervals import difference, estimate

                ours = replace(ours, estimate=estimate(self.scores, name))
                if reference and self.scores != reference.scores:
                    known = difference(self.scores, reference.scores, name)
                    gain = replace(gain, estimate=known)
            metrics[name] = Compared(paper, ours, paper_gain, gain)
        return replace(self, metrics=metrics)

    def _sample(self, name: str) -> Sample:
        values = {result.seed: getattr(result.metrics, name) for result in self.results}
        return Sample({seed: value for seed, value in values.items() if value is not None})


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def measured(
    row: Row,
    names: Sequence[str],
    results: Mapping[str, Result],
    scores: Mapping[str, "Scores"],
    stopped: Mapping[str, Stopped] | None = None,
) -> ComparedRow:
    """What is measured of a row whose runs have these names; scores: of any results, their draws.

    A name without a result is missing, not wrong.
    """
    found = tuple(results[name] for name in names if name in results)
    drawn = tuple(scores[it.signature] for it in found if it.signature in scores)
    early = tuple(stopped[name] for name in names if name in stopped) if stopped else ()
    # An interval of some seeds would not be that of their mean.
    return ComparedRow(row, tuple(names), found, early, drawn if len(drawn) == len(found) else ())


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One table, how its runs were made, what they measured."""

    table: Table
    scale: str  # a key of SCALES
    recipe: Recipe
    data: str  # the data set's name
    fingerprint: str  # and the digest of its content
    signatures: Mapping[str, Sequence[str]]  # row label -> its runs, one per seed
    results: Mapping[str, Result]  # signature -> what is measured so far
    stopped: Mapping[str, Stopped] = field(default_factory=dict)  # signature -> how far it came
    settings: Mapping[str, Any] = field(default_factory=dict)  # what the user changed in every row
    command: str = ""  # that makes these runs
    notes: Sequence[str] = ()  # what else a reader has to know, such as images left out
    scores: Mapping[str, "Scores"] = field(default_factory=dict)  # signature -> resampled
    insights: Mapping[str, "Insight"] = field(default_factory=dict)  # signature -> its errors

    @cached_property
    def rows(self) -> tuple[ComparedRow, ...]:
        """The table's rows with their numbers; ValueError for a row that it does not have."""
        if unknown := sorted(set(self.signatures) - {row.label for row in self.table.rows}):
            labels = ", ".join(f"'{row.label}'" for row in self.table.rows)
            raise ValueError(f"{self.table.name} has no row {unknown[0]!r}; its rows are {labels}")
        known = self.results, self.scores, self.stopped
        rows = [
            measured(row, self.signatures.get(row.label, ()), *known) for row in self.table.rows
        ]
        return tuple(row.against(rows[self.table.reference]) for row in rows)

    @property
    def reference(self) -> ComparedRow:
        """The row that the others are compared with."""
        return self.rows[self.table.reference]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds with a result, in order."""
        return tuple(sorted({result.seed for row in self.rows for result in row.results}))

    @property
    def missing(self) -> int:
        """How many of the runs asked for have no result and were not ended early."""
        there = ((len(row.results) + len(row.stopped), len(row.signatures)) for row in self.rows)
        return sum(asked - found for found, asked in there)

    @property
    def has_intervals(self) -> bool:
        """Whether anything is known of how far our numbers are to be trusted."""
        return any(it.ours.estimate for row in self.rows for it in row.metrics.values())

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values may be compared with the paper's, not only directions."""
        papers = SCALES[self.table.scale]
        recipe = replace(self.recipe, evaluations=papers.evaluations, threads=papers.threads)
        is_coco = self.data.lower().replace(" ", "") == "coco2017"  # its TOML file's name
        return is_coco and recipe == papers and not self.settings


# The file


def save_bundle(bundle: Bundle, path: Path) -> None:
    """Write the bundle as JSON, and its scores' draws beside it as NumPy's archive.

    Histories are thinned to what a figure can show.
    """
    content = {
        "format": FORMAT,
        "table": table_content(bundle.table, bundle.signatures),
        **{name: getattr(bundle, name) for name in PLAIN},
        "results": {
            name: replace(result, history=thin(result.history))
            for name, result in bundle.results.items()
        },
        "stopped": bundle.stopped,
        "scores": {
            name: {told: getattr(score, told) for told in SCORED}
            for name, score in bundle.scores.items()
        },
        "insights": {name: insight.to_json() for name, insight in bundle.insights.items()},
    }
    archive = path.with_suffix(".npz")
    if bundle.scores:
        import numpy as np

        draws: dict[str, Any] = {name: score.draws for name, score in bundle.scores.items()}
        with archive.open("wb") as file:
            np.savez_compressed(file, **draws)
    else:
        archive.unlink(missing_ok=True)
    path.write_text(json.dumps(content, indent=1, default=asdict) + "\n", encoding="utf-8")


def load_bundle(path: Path) -> Bundle:
    """The inverse of save_bundle; ValueError for a file that is no bundle of this version."""
    from reports.breakdown import Insight

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, needs {FORMAT}")
        results = {
            name: Result(**result | {"metrics": Metrics(**result["metrics"])})
            for name, result in content["results"].items()
        }
        return Bundle(
            table=table_of(content["table"]),
            **{name: content[name] for name in PLAIN} | {"recipe": Recipe(**content["recipe"])},
            signatures={row["label"]: row["signatures"] for row in content["table"]["rows"]},
            results=results,
            stopped={name: Stopped(**where) for name, where in content["stopped"].items()},
            scores=_scores(content["scores"], results, path.with_suffix(".npz")),
            insights={name: Insight.from_json(it) for name, it in content["insights"].items()},
        )
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no report bundle of this version: {error}") from error


def _scores(
    told: Mapping[str, Any], results: Mapping[str, Result], path: Path
) -> dict[str, "Scores"]:
    """Empty where the draws are not there; ValueError where they are another bundle's."""
    if not told or not path.exists():
        return {}
    import numpy as np

    from reports.coco_bootstrap import Scores

    found = {}
    with np.load(path, allow_pickle=False) as draws:
        for name, facts in told.items():
            found[name] = Scores(
                signature=name,
                seed=results[name].seed,
                metrics=results[name].metrics,
                draws=draws[name],
                **{it: facts[it] for it in SCORED[:-1]},
            )
            if found[name].digest != facts["digest"]:
                raise ValueError(f"{path.name} has other draws for {name}")
    return found


def table_content(table: Table, signatures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A table in JSON's terms; signatures: row label -> its runs.

    A row's changes are for people, who need not know the defaults.
    """
    rows = [
        {
            "label": row.label,
            "changes": row.changes,
            "config": asdict(row.config),
            "paper": asdict(row.paper),
            "printed": row.printed,
            "recipe": dict(row.recipe),
            "at_scale": {scale: dict(settings) for scale, settings in row.at_scale.items()},
            "assigner": asdict(row.assigner) if isinstance(row.assigner, OwnAssigner) else None,
            "signatures": list(signatures.get(row.label, ())),
        }
        for row in table.rows
    ]
    return {item.name: getattr(table, item.name) for item in fields(Table)} | {"rows": rows}


def table_of(content: Mapping[str, Any]) -> Table:
    """The inverse of table_content; KeyError, TypeError or ValueError for what is none."""
    rows = tuple(
        Row(
            row["label"],
            DetectorConfig(**row["config"]),
            Metrics(**row["paper"]),
            tuple(row["printed"]),
            OwnAssigner(**row["assigner"]) if row["assigner"] else None,
            _tuples(row["recipe"]),
            {scale: _tuples(settings) for scale, settings in row["at_scale"].items()},
        )
        for row in content["rows"]
    )
    return Table(**_tuples(content) | {"rows": rows})


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists only; tables and settings have tuples only."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }


def thin(
    history: Sequence[Mapping[str, float]], points: int = CURVE_POINTS
) -> list[dict[str, float]]:
    """At most so many entries: means of neighbours; a step with an AP keeps its place."""
    if len(history) <= points:
        return [dict(entry) for entry in history]
    evaluated = sum("AP" in entry for entry in history)
    size = ceil(len(history) / max(points - evaluated, 1))
    bins: list[list[Mapping[str, float]]] = [[]]
    for entry in history:
        bins[-1].append(entry)
        if len(bins[-1]) == size or "AP" in entry:
            bins.append([])
    return [_mean(entries) for entries in bins if entries]


def _mean(entries: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each value's mean over the entries that have it, at the last entry's step."""
    values: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry.items():
            if value is not None:  # AP of small objects, where the data set has none
                values.setdefault(name, []).append(value)
    means = {name: fmean(found) for name, found in values.items()}
    return means | {"step": entries[-1]["step"]}
