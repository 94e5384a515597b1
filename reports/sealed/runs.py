"""A sealed run, checked against itself: its name, its match records, the numbers they give.

What does not agree is a problem of the run; what cannot be read is one, too, and nothing is raised.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.match_records import Matches
from detector.metrics import HEADINGS, Metrics
from experiments.experiment import OwnAssigner, signature_of
from reports.compare import Result
from reports.facts import code_version
from reports.insight import Insight
from reports.resampling import image_weights, metrics_of
from reports.sealed.archive import MALFORMED, Problem
from reports.sealed.records import read_records
from reports.statistics import Scores, digest_of_images

SAMPLED = slice(0, None, 50)  # of a run's resamples, where not all are computed again
ROUNDED = 0.01  # percent: what rounded values may be off in the mean
EXACT = 1e-9  # AP points: sums may round differently on another machine, digits do not change so


@dataclass(frozen=True, eq=False)
class SealedRun:
    """One run of an archive, as far as it can be read, and what is wrong with it.

    result has the numbers that its records give; stated are those that result.json says.
    """

    signature: str
    facts: Mapping[str, Any]  # run.json
    result: Result | None
    matches: Matches | None
    warnings: tuple[str, ...]
    insight: Insight | None
    problems: tuple[Problem, ...]

    @cached_property
    def draws(self) -> NDArray[np.float64]:
        """[R, 6]: the numbers under resampled images, computed once for all tables."""
        assert self.matches is not None
        return metrics_of(self.matches, image_weights(len(self.matches.image_ids)))

    @cached_property
    def sample(self) -> NDArray[np.float64]:
        """Some of the draws, those at SAMPLED."""
        assert self.matches is not None
        return metrics_of(self.matches, image_weights(len(self.matches.image_ids))[SAMPLED])

    def scores(self, draws: NDArray[np.float64]) -> Scores:
        """The run for estimates, with these draws."""
        assert self.result is not None and self.matches is not None
        return Scores(
            signature=self.signature,
            seed=self.result.seed,
            metrics=self.result.metrics,
            draws=draws,
            images=digest_of_images(self.matches),
            num_images=len(self.matches.image_ids),
        )


def read_run(folder: Path) -> SealedRun:
    """A run's folder in an unpacked archive; what cannot be read or does not agree is a problem."""
    where, problems = f"runs/{folder.name}", list[Problem]()
    facts, content = _object(folder / "run.json"), _object(folder / "result.json")
    for name, found in (("run.json", facts), ("result.json", content)):
        if found is None:
            problems.append(Problem("record", where, f"{name} is missing, or no JSON object"))
    if facts is not None:
        problems += [Problem("signature", where, it) for it in _names(folder.name, facts)]
    matches, reason = read_records(folder / "matches.npz", facts or {})
    if matches is None:
        problems.append(Problem("record", where, reason))
    result, insight = None, None
    try:
        if content is not None:
            result = _result(content, facts or {}, folder / "history.jsonl")
            problems += [Problem("number", where, *it) for it in _last_test(result)]
            problems += [Problem("signature", where, it) for it in _owner(result, facts or {})]
        if result is not None and matches is not None:
            result, found_problems = _recomputed(result, matches, where)
            problems += found_problems
        if (folder / "insight.json").is_file():
            insight = Insight.from_json(read_json(folder / "insight.json"))
            texts = _of_insight(insight, result, matches)
            problems += [Problem("number", where, text) for text in texts]
    except MALFORMED as error:
        problems.append(Problem("record", where, f"cannot be read: {error!r:.100}"))
    warnings = read_json(folder / "warnings.json")
    listed = warnings if isinstance(warnings, list) else []
    said = [str(it.get("text")) for it in listed if isinstance(it, dict)]
    return SealedRun(
        folder.name, facts or {}, result, matches, tuple(said), insight, tuple(problems)
    )


def read_json(path: Path) -> Any:
    """A file's content; None where it is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _object(path: Path) -> dict[str, Any] | None:
    content = read_json(path)
    return content if isinstance(content, dict) else None


def _names(signature: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Whether the run is the one that its folder's name says."""
    its, data = facts.get("canonical"), facts.get("data")
    if not isinstance(its, dict) or signature_of(its) != signature:
        yield "its config, recipe, data set and seed have another signature"
        return
    fingerprint = data.get("fingerprint") if isinstance(data, dict) else None
    for name, found, needed in (
        ("signature", facts.get("signature"), signature),
        ("seed", facts.get("seed"), its.get("seed")),
        ("data set", fingerprint, its.get("data")),
    ):
        if found != needed:
            yield f"run.json says {name} {found!r:.40}, its signature is of {needed!r:.40}"
    try:
        own = OwnAssigner(**facts["assigner"]).identity if facts.get("assigner") else None
    except MALFORMED:
        own = None
    if own != its.get("assigner"):
        yield "the source of its own assigner is not the one that its signature is of"


def _owner(result: Result, facts: Mapping[str, Any]) -> Iterator[str]:
    """Whether result.json is of this run."""
    for name in ("signature", "seed"):
        found, needed = getattr(result, name), facts.get(name)
        if found != needed:
            yield f"result.json is of {name} {found!r:.40}, run.json of {needed!r:.40}"


def _result(content: Mapping[str, Any], facts: Mapping[str, Any], history: Path) -> Result:
    """As the reports have it, but for what only one machine knows."""
    lines = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []
    metrics = Metrics(**content["metrics"])
    for name, value in asdict(metrics).items():
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"{name} needs a number, got {value!r:.40}")
    return Result(
        signature=content["signature"],
        seed=content["seed"],
        metrics=metrics,
        history=[json.loads(line) for line in lines],
        seconds=content["seconds"],
        facts=content["facts"] | {"code": code_version(facts.get("code"))},
    )


def _last_test(result: Result) -> Iterator[tuple[str, str]]:
    """Whether the last test of the history found what the result says."""
    tests = [entry for entry in result.history if "AP" in entry]
    for name, heading in HEADINGS.items():
        stated = getattr(result.metrics, name)
        if tests and heading in tests[-1] and not _same(stated, tests[-1][heading]):
            yield (
                f"{heading} {_shown(stated)} in result.json, {_shown(tests[-1][heading])} in the "
                "last test of history.jsonl",
                name,
            )


def _recomputed(result: Result, matches: Matches, where: str) -> tuple[Result, list[Problem]]:
    """The result with the numbers that the records give, and where it said something else."""
    weights = np.ones((1, len(matches.image_ids)), dtype=np.uint8)
    found = [None if np.isnan(it) else float(it) for it in metrics_of(matches, weights)[0]]
    metrics, problems = {}, []
    for (name, heading), value in zip(HEADINGS.items(), found, strict=True):
        stated = getattr(result.metrics, name)
        metrics[name] = stated if _same(stated, value) else value
        if not _same(stated, value):
            text = f"{heading} {_shown(stated)} in result.json, its records give {_shown(value)}"
            problems.append(Problem("number", where, text, name))
    return replace(result, metrics=Metrics(**metrics)), problems


def _of_insight(insight: Insight, result: Result | None, matches: Matches | None) -> Iterator[str]:
    """Whether what insight.json says is of this run: its curves' means are the numbers."""
    means = {name: fmean(curve) for name, curve in insight.precision.items()}
    classes = [item.ap for item in insight.classes if item.ap is not None]
    told = [*means.items(), *([("ap", fmean(classes))] if classes else [])]
    for name, mean in told:
        value = getattr(result.metrics, name) if result else None
        if value is not None and abs(mean - value) > ROUNDED:
            text = f"curves and classes of insight.json have a mean of {mean:.2f}, not {value:.2f}"
            yield f"{HEADINGS[name]}: {text}"
    if matches is not None:
        ids = [image.id for image in insight.images]
        if ids != matches.image_ids.tolist():
            yield "insight.json is of other images than its records"


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= EXACT


def _shown(value: float | None) -> str:
    """With as many digits as tell it from another."""
    return "undefined" if value is None else repr(value)
