"""All that a report of one table needs, in one JSON file, from which it can be rendered anew."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

from detector.config import Recipe
from detector.metrics import Metrics
from experiments import TABLES
from experiments.experiment import Table, changes
from experiments.schedules import PAPER
from reports.compare import Comparison, Result, join

FORMAT = 1  # of the JSON; raised when an older reader could not read it
CURVE_POINTS = 300  # of one run's history; more than a figure can show


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One table, how its runs were made, what they measured; ValueError for an unknown table."""

    table: str  # a key of TABLES
    scale: str  # a key of SCALES
    recipe: Recipe
    data: str  # the data set's name
    fingerprint: str  # and the digest of its content
    signatures: Mapping[str, Sequence[str]]  # row label -> its runs, one per seed
    results: Mapping[str, Result]  # signature -> what is measured so far
    settings: Mapping[str, Any] = field(default_factory=dict)  # what the user changed in every row
    command: str = ""  # that makes these runs
    notes: Sequence[str] = ()  # what else a reader has to know, such as images left out

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise ValueError(f"no table is called '{self.table}'; there are {', '.join(TABLES)}")

    @property
    def paper_table(self) -> Table:
        """The paper's table."""
        return TABLES[self.table]

    @property
    def comparison(self) -> Comparison:
        """The paper's table joined with the results; ValueError for a row it does not have."""
        return join(self.paper_table, self.signatures, self.results)

    @property
    def is_as_in_paper(self) -> bool:
        """Whether values may be compared with the paper's, not only directions."""
        recipe = replace(self.recipe, evaluations=PAPER.evaluations, threads=PAPER.threads)
        is_coco = self.data.lower().replace(" ", "").startswith("coco2017")
        return is_coco and recipe == PAPER and not self.settings


def save_bundle(bundle: Bundle, path: Path) -> None:
    """Write the bundle as JSON; histories are thinned to what a figure can show."""
    rows = [
        {
            "label": row.label,
            "changes": changes(row.config),
            "paper": asdict(row.paper),
            "signatures": list(bundle.signatures.get(row.label, ())),
        }
        for row in bundle.paper_table.rows
    ]
    results = {
        name: asdict(replace(result, history=thin(result.history)))
        for name, result in bundle.results.items()
    }
    content = {
        "format": FORMAT,
        "table": bundle.table,
        "title": bundle.paper_table.title,
        "scale": bundle.scale,
        "recipe": asdict(bundle.recipe),
        "data": bundle.data,
        "fingerprint": bundle.fingerprint,
        "settings": dict(bundle.settings),
        "command": bundle.command,
        "notes": list(bundle.notes),
        "rows": rows,
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_bundle(path: Path) -> Bundle:
    """The inverse of save_bundle; ValueError for a file that is no bundle of this version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, needs {FORMAT}")
        return Bundle(
            table=content["table"],
            scale=content["scale"],
            recipe=Recipe(**content["recipe"]),
            data=content["data"],
            fingerprint=content["fingerprint"],
            settings=content["settings"],
            command=content["command"],
            notes=content["notes"],
            signatures={row["label"]: row["signatures"] for row in content["rows"]},
            results={name: _result(result) for name, result in content["results"].items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no report bundle of this version: {error}") from error


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
    names = dict.fromkeys(name for entry in entries for name in entry)
    means = {name: fmean(entry[name] for entry in entries if name in entry) for name in names}
    return means | {"step": entries[-1]["step"]}


def _result(content: Mapping[str, Any]) -> Result:
    return Result(**{**content, "metrics": Metrics(**content["metrics"])})
