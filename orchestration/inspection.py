"""What is made of a finished run's detections: which are right, and how far its numbers may vary.

matches.npz, insight.json   by the run itself, at its end; of older runs for the first report
scores.npz                  for the first report: the numbers for resampled images (seconds)
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from detector.metrics import Metrics
from orchestration.json_files import read_json, write_atomically, write_json
from orchestration.run_folder import RunFolder

if TYPE_CHECKING:  # they import torch and numpy, which lists need not wait for
    from detector.data.coco import CocoDataset, DataSet
    from detector.evaluation.match_records import Matches
    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores

Progress = Callable[[str], None]
Opener = Callable[[str], "DataSet"]


@dataclass(frozen=True)
class Tested:
    """A test of a detector: its six numbers, and what they are made of."""

    metrics: Metrics
    detections: list[dict[str, Any]]
    matches: "Matches"


def tested(data: "CocoDataset", detections: list[dict[str, Any]]) -> Tested:
    """The evaluation of the detections of a data set."""
    from detector.evaluation.detect import measure, six

    numbers, matches = measure(data.ground_truth, detections)
    return Tested(six(numbers), detections, matches)


def leave(folder: RunFolder, data: "CocoDataset", test: Tested) -> None:
    """Write what a test found into the run's folder: all that its reports need of it."""
    text = json.dumps(test.detections)
    write_atomically(folder.detections, lambda part: part.write_text(text))
    _leave_records(folder, data, test)


def _leave_records(folder: RunFolder, data: "CocoDataset", test: Tested) -> None:
    from detector.evaluation.match_records import save_matches
    from reports.breakdown import insight

    write_atomically(folder.matches, lambda part: save_matches(test.matches, part))
    found = insight(test.matches, data.ground_truth, test.detections)
    write_json(folder.insight, found.to_json())


@dataclass
class Inspection:
    """Of several runs, by signature; reasons: why there is none of others, each in one line."""

    scores: "dict[str, Scores]" = field(default_factory=dict)
    insights: "dict[str, Insight]" = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def inspect(folders: Sequence[RunFolder], progress: Progress) -> Inspection:
    """What done runs left behind; progress is told what has to be made first."""
    found, reasons = Inspection(), Counter[tuple[str, str]]()
    opened: Opener = lru_cache(maxsize=1)(_open)  # runs of one study share a data set: COCO is big
    for folder in folders:
        what = "intervals"
        try:
            found.scores[folder.signature] = _scores(folder, progress, opened)
            what = "errors by kind"
            found.insights[folder.signature] = _insight(folder)
        except (ValueError, OSError) as error:
            reasons[what, str(error)] += 1
    for (what, reason), count in reasons.items():
        runs = "1 run" if count == 1 else f"{count} runs"
        found.reasons.append(f"no {what} for {runs}: {reason}")
    return found


def _scores(folder: RunFolder, progress: Progress, opened: Opener) -> "Scores":
    """A run's numbers for resampled images, of its folder or made now; ValueError if they cannot
    be made."""
    from detector.evaluation.match_records import load_matches
    from reports.coco_bootstrap import load_scores, save_scores, score

    result = folder.result() or {}
    about = (folder.signature, result["seed"], Metrics(**result["metrics"]))
    name = f"{folder.facts()['name']}, seed {result['seed']}"
    if not (folder.matches.exists() and folder.insight.exists()):
        progress(f"{name}: which detections are right")
        _make_records(folder, opened)
    source = hashlib.sha256(folder.matches.read_bytes()).hexdigest()
    with suppress(ValueError, FileNotFoundError):  # of other matches, or of another version
        return load_scores(folder.scores, *about, source=source)
    progress(f"{name}: what it would be for other images")
    scores = score(*about, load_matches(folder.matches))
    write_atomically(folder.scores, lambda part: save_scores(scores, part, source=source))
    return scores


def _insight(folder: RunFolder) -> "Insight":
    from reports.breakdown import Insight

    try:
        return Insight.from_json(read_json(folder.insight) or {})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder.insight} is no insight of this version: {error}") from error


def _open(where: str) -> "DataSet":
    from detector.data.coco import open_data

    return open_data(where)


def _make_records(folder: RunFolder, opened: Opener) -> None:
    """Evaluate a run's detections again; ValueError unless that gives the numbers it has."""
    facts, before = folder.facts()["data"], (folder.result() or {})["metrics"]
    try:
        data = opened(facts["where"])
        detections = json.loads(folder.detections.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"they need matches.npz or the data set: {error}") from error
    if data.fingerprint != facts["fingerprint"]:
        raise ValueError(
            f"they need matches.npz or the data set as it was: {facts['where']} has changed "
            f"(fingerprint {data.fingerprint[:12]}, trained with {facts['fingerprint'][:12]})"
        )
    test = tested(data.val, detections)
    if asdict(test.metrics) != before:
        raise ValueError(
            f"{folder.detections} gives AP {test.metrics.ap}, but result.json has {before['ap']}: "
            "one of them was changed"
        )
    _leave_records(folder, data.val, test)
