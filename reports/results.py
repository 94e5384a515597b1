"""A table's runs: what they measured, beside the paper's numbers, and all of it in one JSON file.

Their draws stand beside it, table2.json and table2.npz. What was not measured is None, never 0.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import hypot
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from msgspec import convert

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS, Metrics
from experiments.experiment import OwnAssigner, Row, Table
from experiments.schedules import SCALES

if TYPE_CHECKING:  # they import numpy, and take a second, which lists need not wait for
    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores
    from reports.intervals import Estimate

PLAIN = ("scale", "recipe", "data", "fingerprint", "settings", "command", "notes")  # as they are
SCORED = ("images", "num_images", "digest")  # what the JSON says of draws


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one finished run measured; plain data, whoever ran it.

    seconds: wall time of training and test; facts: whatever else is worth telling of the run
    (device, versions).
    """

    signature: str
    seed: int
    metrics: Metrics
    seconds: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopped:
    """How far a run came that was ended early on purpose: its last test, which is no result."""

    step: int
    ap: float | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A number of a row, or what it changes in another row's, in AP points: the paper's and ours.

    ours: mean over seeds; std: of one seed's value (n - 1), None with fewer than two; estimate: the
    same mean with its interval, where images can be resampled.
    """

    paper: float | None = None
    by_seed: Mapping[int, float] = field(default_factory=dict)
    ours: float | None = None
    std: float | None = None
    n: int = 0  # how many seeds
    difference: float | None = None  # ours minus the paper's
    estimate: "Estimate | None" = None


@dataclass(frozen=True)
class ComparedRow:
    """A row of a table with what is known of its runs, one per seed, by their signatures."""

    row: Row
    signatures: Sequence[str]  # of all runs asked for, measured or not
    known: Mapping[str, Result]
    drawn: Mapping[str, "Scores"]
    ended: Mapping[str, Stopped] = field(default_factory=dict)
    reference: "ComparedRow | None" = None  # what its numbers are compared with

    @property
    def results(self) -> list[Result]:
        """Of its runs that are done."""
        return [self.known[name] for name in self.signatures if name in self.known]

    @property
    def stopped(self) -> list[Stopped]:
        """Its runs that were ended early."""
        return [self.ended[name] for name in self.signatures if name in self.ended]

    @property
    def scores(self) -> list["Scores"]:
        """Of the results; none unless the images of all can be resampled.

        An interval of some seeds would not be that of their mean.
        """
        names = [result.signature for result in self.results]
        return [self.drawn[it] for it in names] if all(it in self.drawn for it in names) else []

    @cached_property
    def metrics(self) -> dict[str, Compared]:
        """The numbers by field of Metrics, all six."""
        return {name: self._compared(name) for name in HEADINGS}

    @cached_property
    def gains(self) -> dict[str, Compared]:
        """What each is more than the reference row's, which itself has no estimate of it."""
        other = self.reference
        return {name: self._compared(name, other) if other else Compared() for name in HEADINGS}

    @property
    def ap(self) -> Compared:
        """The headline metric."""
        return self.metrics["ap"]

    @property
    def gain(self) -> Compared:
        """What the row changes in it."""
        return self.gains["ap"]

    def _compared(self, name: str, other: "ComparedRow | None" = None) -> Compared:
        """A number of the row, or what it is more than another's, of the seeds that both have."""
        rows = (self, other) if other else (self,)
        papers, scores = [getattr(it.row.paper, name) for it in rows], [it.scores for it in rows]
        values = [it._values(name) for it in rows]
        seeds = [seed for seed in values[0] if all(seed in its for its in values)]
        by_seed = {it: values[0][it] - sum(its[it] for its in values[1:]) for it in seeds}
        paper, ours = _less(*papers), fmean(by_seed.values()) if by_seed else None
        std = estimate = None
        if len(seeds) > 1:  # as in an interval, equal seeds of both are two independent trainings
            stds = [stdev(its[seed] for seed in seeds) for its in values]
            std = 0.0 if values[1:] == values[:1] else hypot(*stds)
        if all(scores) and scores[1:] != scores[:1]:
            from reports.intervals import contrast, difference

            alone = [(1, scores[0])]
            estimate = difference(scores[0], scores[1], name) if other else contrast(alone, name)
        return Compared(
            paper=paper,
            by_seed=by_seed,
            ours=ours,
            std=std,
            n=len(seeds),
            difference=_less(ours, paper),
            estimate=estimate,
        )

    def _values(self, name: str) -> dict[int, float]:
        values = {result.seed: getattr(result.metrics, name) for result in self.results}
        return {seed: value for seed, value in values.items() if value is not None}


def _less(one: float | None, other: float | None = 0) -> float | None:
    """The first, less the second if there is one; None where one is unknown."""
    return None if one is None or other is None else one - other


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
        """The table's rows with their numbers."""
        known, table = (self.results, self.scores, self.stopped), self.table
        rows = [ComparedRow(it, self.signatures.get(it.label, ()), *known) for it in table.rows]
        return tuple(replace(row, reference=rows[table.reference]) for row in rows)

    @property
    def reference(self) -> ComparedRow:
        """The row that the others are compared with."""
        return self.rows[self.table.reference]

    @property
    def has_intervals(self) -> bool:
        """Whether anything is known of how far our numbers are to be trusted."""
        return any(it.estimate for row in self.rows for it in row.metrics.values())

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values may be compared with the paper's, not only directions."""
        papers = SCALES[self.table.scale]
        recipe = replace(self.recipe, evaluations=papers.evaluations, threads=papers.threads)
        is_coco = self.data.lower().replace(" ", "") == "coco2017"  # its TOML file's name
        return is_coco and recipe == papers and not self.settings


# The file


def bundle_text(bundle: Bundle) -> str:
    """The bundle as JSON; of its draws only digests."""
    content = {
        "table": table_content(bundle.table, bundle.signatures),
        **{name: getattr(bundle, name) for name in (*PLAIN, "results", "stopped", "insights")},
        "scores": {
            name: {told: getattr(it, told) for told in SCORED} for name, it in bundle.scores.items()
        },
    }
    return json.dumps(content, indent=1, default=asdict) + "\n"


def save_bundle(bundle: Bundle, path: Path) -> None:
    """Write the bundle as JSON, and its scores' draws beside it as NumPy's archive."""
    archive = path.with_suffix(".npz")
    archive.unlink(missing_ok=True)
    if bundle.scores:
        import numpy as np

        draws: dict[str, Any] = {name: it.draws for name, it in bundle.scores.items()}
        np.savez_compressed(archive, **draws)
    path.write_text(bundle_text(bundle), encoding="utf-8")


def load_bundle(path: Path) -> Bundle:
    """The inverse of save_bundle; ValueError for a file that is no bundle of this version.

    Without its draws it has no scores; ValueError where they are another bundle's.
    """
    import numpy as np

    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores

    archive, scores = path.with_suffix(".npz"), dict[str, Scores]()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = convert(content["results"], dict[str, Result])
        if content["scores"] and archive.exists():
            with np.load(archive, allow_pickle=False) as draws:
                for name, facts in content["scores"].items():
                    run, images = results[name], (facts["images"], facts["num_images"])
                    scores[name] = Scores(name, run.seed, run.metrics, draws[name], *images)
                    if scores[name].digest != facts["digest"]:
                        raise ValueError(f"{archive.name} has other draws for {name}")
        return Bundle(
            table=table_of(content["table"]),
            **{name: content[name] for name in PLAIN} | {"recipe": Recipe(**content["recipe"])},
            signatures={row["label"]: row["signatures"] for row in content["table"]["rows"]},
            results=results,
            stopped=convert(content["stopped"], dict[str, Stopped]),
            scores=scores,
            insights=convert(content["insights"], dict[str, Insight]),
        )
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no report bundle of this version: {error}") from error


def table_content(table: Table, signatures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A table in JSON's terms; signatures: row label -> its runs.

    A row's changes are for people, who need not know the defaults.
    """
    content = asdict(table)
    for row, told in zip(table.rows, content["rows"], strict=True):
        told["assigner"] = told["assigner"] if isinstance(row.assigner, OwnAssigner) else None
        told |= {"changes": row.changes, "signatures": list(signatures.get(row.label, ()))}
    return content


def table_of(content: Mapping[str, Any]) -> Table:
    """The inverse of table_content; KeyError, TypeError or ValueError for what is none."""
    content, rows = _tuples(content), []
    for row in content["rows"]:
        told = {name: row[name] for name in ("label", "printed", "recipe", "at_scale")}
        config, paper = DetectorConfig(**row["config"]), Metrics(**row["paper"])
        assigner = OwnAssigner(**row["assigner"]) if row["assigner"] else None
        rows.append(Row(**told, config=config, paper=paper, assigner=assigner))
    return Table(**{**content, "rows": rows})


def _tuples(content: Any) -> Any:
    """JSON has lists only; tables and settings have tuples only."""
    if isinstance(content, dict):
        return {name: _tuples(value) for name, value in content.items()}
    return tuple(map(_tuples, content)) if isinstance(content, list) else content
