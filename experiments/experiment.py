"""Rows, tables and runs: what a table prints, and what must be trained to print it."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from detector.config import (
    ADDED_LATER,
    OUTSIDE_IDENTITY,
    DetectorConfig,
    K,
    Recipe,
    did_you_mean,
)
from detector.metrics import HEADINGS, Metrics

# Raised by hand when the same config and recipe begin to mean another computation: results measured
# before then keep their names and are never mistaken for the new ones. The second counts what
# changed in bf16 alone.
SEMANTICS = 2  # since an image is tested as if it were alone
BF16_SEMANTICS = 1
EARLIER = (1,)  # what reports still show, and say, where nothing newer is there

TEST_ONLY = (  # settings of a recipe that training does not see
    *("score_threshold", "candidates_per_level", "nms_threshold", "max_detections"),
    "multi_scale_test",
)

Layout = Literal["rows", "columns", "grid"]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # of a table: a part of file names and of addresses


@dataclass(frozen=True)
class OwnAssigner:
    """A user's sample selection: (anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A]."""

    name: str
    source: str  # the function's whole file, so that it runs elsewhere and later
    settings: Mapping[str, Any] = field(default_factory=dict)  # what functools.partial sets of it

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name}({settings})" if settings else self.name

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, in few letters: two of one identity select the same samples."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()
        return {"name": self.name, "source": f"sha256:{digest}", "settings": dict(self.settings)}


@dataclass(frozen=True)
class Row:
    """One trained detector of a table.

    assigner takes the place of the config's: a function of a user's file, or partial of one.
    recipe: settings of the schedule that only this row has; at_scale: those that take their place
    at some scale, such as a backbone that a CPU can train.
    """

    label: str  # unique in its table
    config: DetectorConfig
    paper: Metrics = field(default_factory=Metrics)  # the paper's numbers, as far as it has any
    printed: tuple[str, ...] = ()  # a cell for each of the table's headings; by default the label
    assigner: Callable[..., Any] | OwnAssigner | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    at_scale: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError for what no run could be made of, where a user's file says it."""
        is_text = isinstance(self.label, str) and self.label.isprintable() and self.label.strip()
        if not is_text:
            raise ValueError(f"a row needs a label of one line, got {self.label!r}")
        if not isinstance(self.config, DetectorConfig):
            raise ValueError(f"row '{self.label}' needs a DetectorConfig, got {self.config!r}")
        known = [item.name for item in fields(Recipe)]
        for name in (name for its in (self.recipe, *self.at_scale.values()) for name in its):
            if name not in known:
                hint = did_you_mean(name, known)
                raise ValueError(f"row '{self.label}': recipe has no setting '{name}'{hint}")

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in front of the numbers."""
        return self.printed or (self.label,)

    @property
    def changes(self) -> dict[str, Any]:
        """What the row switches in the paper's baseline, RetinaNet (#A=1)."""
        own = {"assigner": str(self.assigner)} if self.assigner else {}
        return changes(self.config) | own | dict(self.recipe)

    def recipe_at(self, scale: str) -> dict[str, Any]:
        """What a scale trains of recipe."""
        return {**self.recipe, **self.at_scale.get(scale, {})}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, of the paper or not: its data, and what it takes to print it.

    ValueError for rows that cannot be told apart or printed.
    """

    number: int = 0  # in the paper; 0 for a table that it does not have
    name: str = ""  # how it is asked for, and what its files are called; by default "table<number>"
    section: str = ""  # of the paper
    title: str = ""
    caption: str = ""  # the paper's, with its "minimal set" corrected to minival
    headings: tuple[str, ...] = ("Run",)  # of the cells in front of the numbers
    rows: tuple[Row, ...]
    layout: Layout = "rows"  # runs down; runs across; or first cell down and second cell across
    metrics: tuple[str, ...] = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")  # those it prints
    reference: int = 0  # index of the row that the others are compared with
    axis: str = ""  # what a sweep varies, with its unit; empty where the rows are not one
    factors: tuple[str, ...] = ()  # settings that its rows combine: their effects are told apart
    scale: str = "paper"  # at which the paper trained it
    tested_on: str = "COCO val2017"  # by the paper
    note: str = ""  # what a reader of the paper's numbers has to know
    line: tuple[str, ...] = ()  # what `atss` is told to make it; by default reproduce and the name

    def __post_init__(self) -> None:
        for name in ("rows", "headings", "metrics", "factors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list will do
        if self.number and not self.name:
            object.__setattr__(self, "name", f"table{self.number}")
        for problem in self._problems():
            raise ValueError(f"table {self.name or '(unnamed)'}: {problem}")

    @property
    def label(self) -> str:
        """What people call it: "Table 2", or the name of a table that the paper does not have."""
        return f"Table {self.number}" if self.number else self.name

    @property
    def heading(self) -> str:
        """Label and title in a line."""
        return ". ".join(filter(None, [self.label, self.title]))

    @property
    def has_paper(self) -> bool:
        """Whether the paper has a number for any cell."""
        return any(getattr(row.paper, name) is not None for row in self.rows for name in HEADINGS)

    def _problems(self) -> Iterator[str]:
        """What keeps it from being trained and printed."""
        if not re.fullmatch(NAME, self.name or "unnamed"):
            yield f"name needs letters, digits, -, _ and dots, got '{self.name}'"
        if not self.rows:
            yield "rows needs at least one Row, got none"
        cells, num = [row.cells for row in self.rows], len(self.headings)
        unique: dict[str, list[Any]] = {"label": [row.label for row in self.rows], "printed": cells}
        for what, values in unique.items():
            for value in (value for value in values if values.count(value) > 1):
                yield f"{what} needs to differ from row to row, got {value!r} twice"
        for value in (value for value in cells if len(value) != num):
            yield f"printed needs a cell for each of {num} headings in every row, got {value}"
        if not self.metrics or not set(self.metrics) <= set(HEADINGS):
            yield f"metrics needs some of {', '.join(HEADINGS)}, got {self.metrics}"
        if self.layout not in get_args(Layout):
            yield f"layout needs one of {', '.join(get_args(Layout))}, got '{self.layout}'"
        crossed = set(product(*zip(*cells, strict=True)))
        if self.layout == "grid" and (len(self.headings) != 2 or set(cells) != crossed):
            yield "layout='grid' needs two printed cells, and a row for every pair of them"
        for name in self.factors:
            if len(set(found := [getattr(row.config, name, None) for row in self.rows])) != 2:
                yield f"factors needs settings with two values in its rows, got {name}={found}"
        if self.reference not in range(len(self.rows)):
            yield f"reference needs a row's index below {len(self.rows)}, got {self.reference!r}"


@dataclass(frozen=True)
class Run:
    """All that can move a number: detector, recipe, fingerprint of the data set, seed."""

    config: DetectorConfig
    recipe: Recipe
    data: str
    seed: int
    assigner: OwnAssigner | None = None  # instead of the config's

    def __post_init__(self) -> None:
        if self.assigner and self.config.k != K:
            raise ValueError(
                f"k={self.config.k} needs assigner='atss', got the own assigner '{self.assigner}': "
                "it would have no effect; functools.partial sets what a function takes"
            )
        if self.assigner:  # takes the place of the config's, which must not give one run two names
            object.__setattr__(self, "config", replace(self.config, assigner="iou"))

    @property
    def training(self) -> "Run | None":
        """The run whose detector this one tests in another way; None where it trains its own."""
        usual = tested_as_usual(self.recipe)
        return None if usual == self.recipe else replace(self, recipe=usual)


def require_distinct(runs: Mapping[str, tuple[Run, Run]]) -> None:
    """ValueError where settings make rows one run that are different ones without them.

    runs: of each row, by its label, the run without the settings and the one with them.
    """
    labels: dict[str, str] = {}
    for label, (plain, run) in runs.items():
        if plain != runs[other := labels.setdefault(signature(run), label)][0]:
            raise ValueError(f"these settings make rows '{other}' and '{label}' the same run")


def tested_as_usual(recipe: Recipe) -> Recipe:
    """The same training, with the paper's test settings: what is left of it when trained once."""
    usual = Recipe()
    return replace(recipe, **{name: getattr(usual, name) for name in TEST_ONLY})


def changes(config: DetectorConfig) -> dict[str, Any]:
    """What config switches in the paper's baseline, RetinaNet (#A=1): field name -> value."""
    baseline = _settings(DetectorConfig())
    return {name: value for name, value in _settings(config).items() if value != baseline[name]}


def canonical(run: Run, semantics: int | None = None) -> dict[str, Any]:
    """The whole resolved run as plain JSON values, without what cannot move a number.

    semantics: of an earlier version. Raises ValueError where recipe.weights is a file that cannot
    be read.
    """
    of_bf16 = BF16_SEMANTICS if run.recipe.precision == "bf16" else 0
    resolved = {
        "semantics": (semantics or SEMANTICS) + of_bf16,
        "config": _settings(run.config),
        "recipe": _settings(run.recipe) | {"weights": weights_identity(run.recipe.weights)},
        "data": run.data,
        "seed": run.seed,
    }
    if run.assigner:
        resolved["assigner"] = run.assigner.identity
    return dict(json.loads(json.dumps(resolved)))


def signature(run: Run, semantics: int | None = None) -> str:
    """Twelve hex digits naming a run: equal runs share a name, whichever table asks for them."""
    return signature_of(canonical(run, semantics))


def signature_of(resolved: Mapping[str, Any]) -> str:
    """The name of a run in canonical form, wherever that was kept."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:12]


def _settings(settings: DetectorConfig | Recipe) -> dict[str, Any]:
    """Field name -> value of everything that belongs to a run's identity."""
    return {
        item.name: value
        for item in fields(settings)
        if (value := getattr(settings, item.name)) != item.default or item.metadata != ADDED_LATER
        if item.metadata != OUTSIDE_IDENTITY
    }


def weights_identity(weights: str) -> str:
    """What the initial weights are, not where they lie: a moved file stays the same."""
    if weights == "imagenet":
        return "torchvision IMAGENET1K_V1"
    if weights == "none" or weights.startswith("sha256:"):  # of a sealed result: no path, but this
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
