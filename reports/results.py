"""A table's runs: all that a report of it needs, in one JSON file, and as data frames.

What the numbers would be for other images, thousands of them, stands beside the file: table2.json
and table2.npz. Without the latter a report has no intervals.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS, Metrics
from experiments.experiment import OwnAssigner, Row, Table
from experiments.schedules import SCALES
from reports.numbers import Comparison, Result, Stopped, join, numbers
from reports.render import Grid, line

if TYPE_CHECKING:  # they import numpy, and take a second, which lists need not wait for
    import pandas as pd

    from reports.breakdown import Insight
    from reports.coco_bootstrap import Scores

FORMAT = 3  # of the JSON; raised when an older reader could not read it
CURVE_POINTS = 300  # of one run's history; more than a figure can show
PLAIN = ("scale", "recipe", "data", "fingerprint", "settings", "command", "notes")  # as they are
TEXTS = ("table", "row", "metric", "seeds", "signatures")  # columns that hold no numbers
FRAMES: dict[str, tuple[str, ...]] = {  # columns, so that a frame without lines has them as well
    "runs": ("minutes", *HEADINGS),
    "history": ("step", "name", "value"),
    "curves": ("metric", "recall", "precision"),
    "errors": ("kind", "count", "points"),
    "classes": ("id", "name", "num_truths", "ap", "ap50"),
    "images": ("id", "score", "found", "missed", "false"),
}


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
    def comparison(self) -> Comparison:
        """The table joined with the results; ValueError for a row it does not have."""
        return join(self.table, self.signatures, self.results, self.stopped, self.scores)

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values may be compared with the paper's, not only directions."""
        papers = SCALES[self.table.scale]
        recipe = replace(self.recipe, evaluations=papers.evaluations, threads=papers.threads)
        is_coco = self.data.lower().replace(" ", "") == "coco2017"  # its TOML file's name
        return is_coco and recipe == papers and not self.settings


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
        "scores": _save_scores(bundle.scores, path.with_suffix(".npz")),
        "insights": {name: insight.to_json() for name, insight in bundle.insights.items()},
    }
    path.write_text(json.dumps(content, indent=1, default=asdict) + "\n", encoding="utf-8")


def load_bundle(path: Path) -> Bundle:
    """The inverse of save_bundle; ValueError for a file that is no bundle of this version."""
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
            scores=_load_scores(content["scores"], results, path.with_suffix(".npz")),
            insights=_insights(content["insights"]),
        )
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no report bundle of this version: {error}") from error


def table_content(table: Table, signatures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A table in JSON's terms; signatures: row label -> its runs."""
    rows = [_plain(row) | {"signatures": list(signatures.get(row.label, ()))} for row in table.rows]
    return {item.name: getattr(table, item.name) for item in fields(Table)} | {"rows": rows}


def table_of(content: Mapping[str, Any]) -> Table:
    """The inverse of table_content; KeyError, TypeError or ValueError for what is none."""
    return Table(**_tuples(content) | {"rows": tuple(map(_row, content["rows"]))})


def _plain(row: Row) -> dict[str, Any]:
    """A row in JSON's terms; changes are for people, who need not know the defaults."""
    return {
        "label": row.label,
        "changes": row.changes,
        "config": asdict(row.config),
        "paper": asdict(row.paper),
        "printed": row.printed,
        "recipe": dict(row.recipe),
        "at_scale": {scale: dict(settings) for scale, settings in row.at_scale.items()},
        "assigner": asdict(row.assigner) if isinstance(row.assigner, OwnAssigner) else None,
    }


def _row(content: Mapping[str, Any]) -> Row:
    assigner = content["assigner"]
    return Row(
        content["label"],
        DetectorConfig(**content["config"]),
        Metrics(**content["paper"]),
        tuple(content["printed"]),
        OwnAssigner(**assigner) if assigner else None,
        _tuples(content["recipe"]),
        {scale: _tuples(settings) for scale, settings in content["at_scale"].items()},
    )


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


def _save_scores(scores: Mapping[str, "Scores"], path: Path) -> dict[str, Any]:
    """Write the draws, if there are any; returns what the JSON says of them."""
    if not scores:
        path.unlink(missing_ok=True)
        return {}
    import numpy as np

    draws: dict[str, Any] = {name: score.draws for name, score in scores.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **draws)
    told = ("images", "num_images", "digest")
    return {name: {it: getattr(score, it) for it in told} for name, score in scores.items()}


def _load_scores(
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
                images=facts["images"],
                num_images=facts["num_images"],
            )
            if found[name].digest != facts["digest"]:
                raise ValueError(f"{path.name} has other draws for {name}")
    return found


def _insights(content: Mapping[str, Any]) -> dict[str, "Insight"]:
    if not content:
        return {}
    from reports.breakdown import Insight

    return {name: Insight.from_json(insight) for name, insight in content.items()}


def frames(bundle: Bundle) -> dict[str, "pd.DataFrame"]:
    """Tidy data frames, for whoever wants to go on from a report; what is not known is NaN.

    numbers: see numbers.py; runs: a line per run, with the facts that it told; the others: a line
    per run and step, recall, kind of error (points: what AP50 would gain without them), class,
    image. All numbers are AP points or percent.
    """
    import pandas as pd

    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in FRAMES}
    for row in bundle.comparison.rows:
        for result in row.results:
            names = {"row": row.row.label, "signature": result.signature, "seed": result.seed}
            for frame, values in _lines(result, bundle.insights.get(result.signature)):
                lines[frame].append(names | values)
    made = {"numbers": numbers(bundle.comparison)}
    plain = made["numbers"].columns.difference(TEXTS)
    made["numbers"][plain] = made["numbers"][plain].apply(pd.to_numeric)
    for name, found in lines.items():
        columns = None if found else ["row", "signature", "seed", *FRAMES[name]]
        made[name] = pd.DataFrame(found, columns=columns)
    return made


def overview(data: Mapping[str, "pd.DataFrame"]) -> Grid:
    """Which frames there are, how long they are, and their columns."""
    lines = [
        line(name, f"{len(frame):,}", ", ".join(map(str, frame.columns)))
        for name, frame in data.items()
    ]
    head = line("frame", "lines", "columns")
    return Grid(name="frames", title="Data frames", head=head, blocks=(tuple(lines),))


def _lines(result: Result, insight: "Insight | None") -> Iterator[tuple[str, dict[str, Any]]]:
    """Which frame has which lines of a run."""
    minutes = None if result.seconds is None else result.seconds / 60
    yield "runs", {"minutes": minutes} | asdict(result.metrics) | result.facts
    for entry in result.history:
        for name, value in entry.items():
            if name != "step":
                yield "history", {"step": entry["step"], "name": name, "value": value}
    if insight is None:
        return
    for metric, curve in insight.precision.items():
        for recall, precision in enumerate(curve):
            yield "curves", {"metric": metric, "recall": recall, "precision": precision}
    for kind, share in insight.errors.items():
        yield "errors", {"kind": kind, "count": share.count, "points": share.points}
    yield from (("classes", asdict(found)) for found in insight.classes)
    yield from (("images", asdict(found)) for found in insight.images)
