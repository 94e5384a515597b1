"""A sweep: one detector, and settings that take several values, as a table of its own.

    k=3,5,7                   alternatives
    anchor_scales=4+8,8       a tuple's entries are joined by +
    k=3..7                    every whole number from 3 to 7
    anchor_scales=4..6..0.5   in steps of 0.5
    learning_rate=0.001..0.1  for a search, any number between; with ..log, any order of magnitude

A grid takes every combination, a random search draws some. Combinations that no detector can be
(k without ATSS) are left out, each with its reason.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from math import exp, log, prod
from typing import Any

from detector.config import Recipe
from detector.metrics import Metrics
from experiments.experiment import Row, Run, Table
from experiments.own_tables import own_assigner
from experiments.settings import (
    CHOICES,
    OF_CONFIG,
    is_tuple,
    kind_of,
    parse_settings,
    show_setting,
    with_settings,
)

DIGITS = 4  # significant ones of a number that is drawn: it is part of a label
MOST_VALUES = 1000  # of a range, and combinations of a grid: nobody trains more
ATTEMPTS = 100  # for each draw, to find one that is new and that a detector can be


@dataclass(frozen=True)
class Axis:
    """A setting with its values, or with the ends of the range that a search draws from."""

    name: str
    values: tuple[Any, ...] = ()
    ends: tuple[float, float] | None = None
    is_log: bool = False

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers."""
        is_alone = all(not isinstance(value, tuple) or len(value) == 1 for value in self.values)
        return _is_number(self.name) and is_alone

    def at(self, share: float) -> Any:
        """The value at a share, from 0 to 1, of the range or of the list."""
        if self.ends is None:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        low, high = map(log, self.ends) if self.is_log else self.ends
        number = low + share * (high - low)
        digits = f"{exp(number) if self.is_log else number:.{DIGITS}g}"
        is_whole = kind_of(self.name) is int
        return _value(self.name, f"{float(digits):.0f}" if is_whole else digits)


def parse_axis(text: str) -> Axis:
    """One of the forms above; ValueError in one line for what is none."""
    name, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not name:
        raise ValueError(f"a setting needs name=value, got '{text}'")
    parts = [_part(name, part.strip()) for part in values.split(",")]
    if len(parts) > 1 and not all(part.values for part in parts):
        raise ValueError(f"{name} needs a range alone, or one with a step, got '{text}'")
    joined = tuple(value for part in parts for value in part.values)
    for i, value in enumerate(joined):
        if value in joined[:i]:
            hint = "; a tuple's entries are joined by +" if is_tuple(name) else ""
            raise ValueError(f"{name} has the value {show(value)} twice, got '{text}'{hint}")
    return parts[0] if len(parts) == 1 else Axis(name, joined)


def _part(name: str, text: str) -> Axis:
    """What stands between two commas: a value or a range."""
    if ".." not in text:
        return Axis(name, (_value(name, text),))
    if not _is_number(name):
        raise ValueError(
            f"{name} needs alternatives, such as a,b; only numbers have ranges: '{text}'"
        )
    pieces = [piece.strip() for piece in text.split("..")]
    is_log = len(pieces) == 3 and pieces[-1] == "log"
    for piece in pieces[: 3 - is_log]:
        _value(name, piece)  # says what a number of this setting is
    low, high, *step = map(Fraction, pieces[: -1 if is_log else None])
    if len(step) > 1 or low >= high:
        raise ValueError(f"{name} needs a range LOW..HIGH or LOW..HIGH..STEP, got '{text}'")
    ends = float(low), float(high)
    if is_log:
        if low <= 0:
            raise ValueError(f"{name} needs a range above 0 for ..log, got '{text}'")
        return Axis(name, (), ends, is_log=True)
    if step and step[0] <= 0:
        raise ValueError(f"{name} needs a step above 0, got '{text}'")
    if not step and not low.denominator == high.denominator == 1:
        return Axis(name, (), ends)
    width = step[0] if step else Fraction(1)
    number = int((high - low) / width) + 1
    if number > MOST_VALUES:
        raise ValueError(
            f"{name} needs at most {MOST_VALUES} values, got {number} in '{text}': "
            "LOW..HIGH..STEP takes fewer"
        )
    exact = [low + i * width for i in range(number)]
    texts = [str(it) if it.denominator == 1 else repr(float(it)) for it in exact]
    values = tuple(_value(name, one) for one in texts)
    return Axis(name, values, None if step or kind_of(name) is int else ends)


def _value(name: str, text: str) -> Any:
    return parse_settings([f"{name}={text.replace('+', ',') if is_tuple(name) else text}"])[name]


def _is_number(name: str) -> bool:
    return kind_of(name) in (int, float) and name not in CHOICES


def show(value: Any) -> str:
    """A value as a sweep takes it."""
    return show_setting(value).replace(",", "+")


@dataclass(frozen=True)
class Sweep:
    """What is varied, of which detector; recipe: how the others are trained."""

    base: Row
    recipe: Recipe
    axes: tuple[Axis, ...]
    name: str
    line: tuple[str, ...]  # the command
    left_out: dict[str, str] = field(default_factory=dict)  # label -> why no detector can be that

    def grid(self) -> list[Row]:
        """Every combination that a detector can be; ValueError for an axis without steps."""
        for axis in self.axes:
            if not axis.values:
                low, high = axis.ends or (0, 0)
                raise ValueError(
                    f"{axis.name} needs values or a step in a grid, such as "
                    f"{axis.name}={low:g}..{high:g}..STEP; a search draws without"
                )
        if (number := prod(len(axis.values) for axis in self.axes)) > MOST_VALUES:
            raise ValueError(
                f"a grid needs at most {MOST_VALUES} combinations, got {number}: "
                "--search random --samples N draws some"
            )
        names = [axis.name for axis in self.axes]
        combinations = product(*(axis.values for axis in self.axes))
        points = (dict(zip(names, values, strict=True)) for values in combinations)
        return [row for point in points if (row := self.row(point))]

    def draw(self, samples: int, seed: int = 0) -> list[Row]:
        """So many different combinations, or as many as there are; the same ones every time."""
        numbers, rows = random.Random(seed), dict[str, Row]()
        for _ in range(ATTEMPTS * samples):
            row = self.row({axis.name: axis.at(numbers.random()) for axis in self.axes})
            if row is not None:
                rows.setdefault(row.label, row)
            if len(rows) == samples:
                break
        return list(rows.values())

    def row(self, point: Mapping[str, Any]) -> Row | None:
        """The base with these settings; None, and noted, where no detector can be that."""
        label = ", ".join(f"{name} = {show(value)}" for name, value in point.items())
        try:
            _, recipe = with_settings(self.base.config, self.recipe, self.base.recipe)
            config, recipe = with_settings(self.base.config, recipe, point)
            Run(config, recipe, "", 0, own_assigner(self.base.assigner))
        except ValueError as error:
            self.left_out.setdefault(label, str(error))
            return None
        schedule = {name: value for name, value in point.items() if name not in OF_CONFIG}
        return replace(
            self.base,
            label=label,
            config=config,
            paper=Metrics(),
            printed=tuple(show(value) for value in point.values()),
            recipe={**self.base.recipe, **schedule},
            at_scale={
                scale: {name: value for name, value in settings.items() if name not in point}
                for scale, settings in self.base.at_scale.items()
            },
        )

    def table(self, rows: Sequence[Row]) -> Table:
        """Rows of this sweep as a table; ValueError without any."""
        if not rows:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.left_out.items())
            raise ValueError(f"no combination is left to train; {reasons}")
        names = tuple(axis.name for axis in self.axes)
        base = (self.base.config, self.base.recipe)
        is_base = [(row.config, row.recipe) == base for row in rows]
        found = [{repr(getattr(row.config, name, None)) for row in rows} for name in names]
        is_crossed = len(names) > 1 and all(len(values) == 2 for values in found)
        return Table(
            name=self.name,
            title=f"{self.base.label}: {', '.join(names)}",
            headings=names,
            rows=tuple(rows),
            reference=is_base.index(True) if True in is_base else 0,
            axis=names[0] if len(names) == 1 else "",
            factors=names if is_crossed else (),  # toggles: then their effects are told
            line=self.line,
        )
