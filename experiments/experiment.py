"""Rows, tables and runs: what the paper prints, and what must be trained to print it beside.

Row, Table   one line or column of a table of the paper, with the paper's own numbers
Run          everything that can move a run's number
changes      what a config switches in the paper's baseline, for people
signature    a run's name, for machines: equal runs share it, whichever table asks for them
"""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from detector.config import DetectorConfig, Recipe
from detector.metrics import Metrics

# Raised by hand when the same config and recipe begin to mean another computation: results measured
# before then keep their names and are never mistaken for the new ones.
SEMANTICS = 1

Layout = Literal["rows", "columns", "grid"]


@dataclass(frozen=True)
class Row:
    """One trained detector of a table.

    label names it, uniquely in its table; printed holds the cells the paper prints in front of the
    numbers, one for each of the table's headings, and is the label alone where left out.
    """

    label: str
    config: DetectorConfig
    paper: Metrics
    printed: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in front of the numbers."""
        return self.printed or (self.label,)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper: its data, and what it takes to print it the paper's way."""

    number: int
    section: str  # of the paper
    title: str
    caption: str  # the paper's, with its "minimal set" corrected to minival
    headings: tuple[str, ...]  # of the cells in front of the numbers
    rows: tuple[Row, ...]
    layout: Layout = "rows"  # runs down; runs across; or first cell down and second cell across
    metrics: tuple[str, ...] = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")  # those it prints
    reference: int = 0  # index of the row that the others are compared with
    axis: str = ""  # what a sweep varies, with its unit; empty where the rows are not one
    note: str = ""  # what a reader of the paper's numbers has to know


@dataclass(frozen=True)
class Run:
    """All that can move a number: detector, recipe, fingerprint of the data set, seed."""

    config: DetectorConfig
    recipe: Recipe
    data: str
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed needs a whole number from 0 on, got {self.seed!r}")


def changes(config: DetectorConfig) -> dict[str, Any]:
    """What config switches in the paper's baseline, RetinaNet (#A=1): field name -> value."""
    baseline = _settings(DetectorConfig())
    return {name: value for name, value in _settings(config).items() if value != baseline[name]}


def canonical(run: Run) -> dict[str, Any]:
    """The whole resolved run as plain JSON values, without what cannot move a number.

    Raises ValueError where recipe.weights is a file that cannot be read.
    """
    recipe = _settings(run.recipe) | {"weights": _weights_identity(run.recipe.weights)}
    resolved = {
        "semantics": SEMANTICS,
        "config": _settings(run.config),
        "recipe": recipe,
        "data": run.data,
        "seed": run.seed,
    }
    plain: dict[str, Any] = json.loads(json.dumps(resolved))
    return plain


def signature(run: Run) -> str:
    """Twelve hex digits naming a run: equal runs share a name, whichever table asks for them."""
    text = json.dumps(canonical(run), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _settings(settings: DetectorConfig | Recipe) -> dict[str, Any]:
    """Field name -> value of everything that belongs to a run's identity."""
    kept = (item for item in fields(settings) if item.metadata.get("identity", True))
    return {item.name: getattr(settings, item.name) for item in kept}


def _weights_identity(weights: str) -> str:
    """What the initial weights are, not where they lie: a moved file stays the same."""
    if weights == "imagenet":
        return "torchvision IMAGENET1K_V1"
    if weights == "none":
        return weights
    try:
        status = Path(weights).stat()
        return f"sha256:{_sha256(weights, status.st_mtime_ns, status.st_size)}"
    except OSError as error:
        raise ValueError(
            f"weights needs imagenet, none or a readable file, got '{weights}': {error.strerror}"
        ) from error


@lru_cache
def _sha256(path: str, _modified: int, _size: int) -> str:
    """The digest of a file's content, read once for all runs of a table."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
