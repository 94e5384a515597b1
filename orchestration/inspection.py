"""What a finished run leaves for its reports: which detections are right, how far numbers may vary.

matches.npz, insight.json   by the run itself, at its end
scores.npz                  for the first report: the numbers for resampled images (seconds)
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from detector.metrics import Metrics
from orchestration.json_files import read_json, write_atomically, write_json
from orchestration.run_folder import RunFolder

if TYPE_CHECKING:  # they import torch and numpy, which lists need not wait for
    from detector.data.coco import CocoDataset
    from detector.evaluation.match_records import Matches
    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores

Progress = Callable[[str], None]


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
    from detector.evaluation.match_records import save_matches
    from reports.breakdown import insight

    text = json.dumps(test.detections)
    write_atomically(folder.detections, lambda part: part.write_text(text))
    write_atomically(folder.matches, lambda part: save_matches(test.matches, part))
    found = insight(test.matches, data.ground_truth, test.detections)
    write_json(folder.insight, asdict(found))


@dataclass
class Inspection:
    """Of several runs, by signature; reasons: why there is none of others, each in one line."""

    scores: "dict[str, Scores]" = field(default_factory=dict)
    insights: "dict[str, Insight]" = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def inspect(folders: Sequence[RunFolder], progress: Progress) -> Inspection:
    """What done runs left behind; progress is told what has to be made first."""
    from reports.breakdown import Insight

    found, reasons = Inspection(), Counter[str]()
    for folder in folders:
        try:
            insight = msgspec.convert(read_json(folder.insight), Insight)
            found.scores[folder.signature] = _scores(folder, progress)
            found.insights[folder.signature] = insight
        except (msgspec.ValidationError, KeyError, TypeError, FileNotFoundError):
            reasons["matches.npz or insight.json is missing, or none of this version"] += 1
        except (ValueError, OSError) as error:
            reasons[str(error)] += 1
    for reason, count in reasons.items():
        runs = "1 run" if count == 1 else f"{count} runs"
        found.reasons.append(f"no intervals for {runs}: {reason}")
    return found


def _scores(folder: RunFolder, progress: Progress) -> "Scores":
    """A run's numbers for resampled images, of its folder or made now."""
    from detector.evaluation.match_records import load_matches
    from reports.coco_bootstrap import load_scores, save_scores, score

    result = folder.result() or {}
    about = (folder.signature, result["seed"], Metrics(**result["metrics"]))
    source = hashlib.sha256(folder.matches.read_bytes()).hexdigest()
    with suppress(ValueError, FileNotFoundError):  # of other matches, or of another version
        return load_scores(folder.scores, *about, source=source)
    progress(f"{folder.facts()['name']}, seed {result['seed']}: what it would be for other images")
    scores = score(*about, load_matches(folder.matches))
    write_atomically(folder.scores, lambda part: save_scores(scores, part, source=source))
    return scores
