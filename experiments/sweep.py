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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from itertools import product
from math import exp, log, prod
from typing import Any, Literal, get_origin

from detector.config import DetectorConfig, Recipe
from detector.metrics import Metrics
from experiments.experiment import Row, Run, Table
from experiments.own_tables import own_assigner
from experiments.settings import HINTS, field_of, parse_settings, show_setting, with_settings

Point = dict[str, Any]  # setting -> value
DIGITS = 4  # significant ones of a number that is drawn: it is part of a label
MOST_VALUES = 1000  # of a range, and combinations of a grid: nobody trains more
ATTEMPTS = 100  # for each draw, to find one that is new and that a detector can be
OF_CONFIG = {item.name for item in fields(DetectorConfig)}


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
        return _kind(self.name) in (int, float) and all(
            not isinstance(value, tuple) or len(value) == 1 for value in self.values
        )

    def at(self, share: float) -> Any:
        """The value at a share, from 0 to 1, of the range or of the list."""
        if self.ends is None:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        low, high = self.ends
        if self.is_log:
            number = exp(log(low) + share * (log(high) - log(low)))
        else:
            number = low + share * (high - low)
        digits = f"{number:.{DIGITS}g}"
        return _value(self.name, f"{float(digits):.0f}" if _kind(self.name) is int else digits)


def parse_axis(text: str) -> Axis:
    """One of the forms above; ValueError in one line for what is none."""
    name, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not name:
        raise ValueError(f"a setting needs name=value, got '{text}'")
    parts = [_part(name, part.strip()) for part in values.split(",")]
    axis = parts[0]
    if len(parts) > 1:
        if not all(part.values for part in parts):
            raise ValueError(f"{name} needs a range alone, or one with a step, got '{text}'")
        axis = Axis(name, tuple(value for part in parts for value in part.values))
    for i, value in enumerate(axis.values):
        if value in axis.values[:i]:
            is_tuple = isinstance(field_of(name).default, tuple)
            hint = "; a tuple's entries are joined by +" if is_tuple else ""
            raise ValueError(f"{name} has the value {show(value)} twice, got '{text}'{hint}")
    return axis


def _part(name: str, text: str) -> Axis:
    """What stands between two commas: a value or a range."""
    if ".." not in text:
        return Axis(name, (_value(name, text),))
    low, high, *step = (_number(name, piece.strip(), text) for piece in text.split(".."))
    if low is None or high is None or len(step) > 1 or low >= high:
        raise ValueError(f"{name} needs a range LOW..HIGH or LOW..HIGH..STEP, got '{text}'")
    ends = float(low), float(high)
    if step == [None]:
        if low <= 0:
            raise ValueError(f"{name} needs a range above 0 for ..log, got '{text}'")
        return Axis(name, (), ends, is_log=True)
    is_listed = bool(step) or low.denominator == high.denominator == 1
    width = step[0] if step and step[0] is not None else Fraction(1)
    if width <= 0:
        raise ValueError(f"{name} needs a step above 0, got '{text}'")
    if is_listed and (high - low) / width >= MOST_VALUES:
        raise ValueError(
            f"{name} needs at most {MOST_VALUES} values, got {int((high - low) / width) + 1} in "
            f"'{text}': LOW..HIGH..STEP takes fewer"
        )
    numbers = [low + i * width for i in range(int((high - low) / width) + 1)] if is_listed else []
    values = tuple(_value(name, _decimal(number)) for number in numbers)
    return Axis(name, values, None if step or _kind(name) is int else ends)


def _number(name: str, text: str, whole: str) -> Fraction | None:
    """A piece of a range exactly; None for the word log."""
    if _kind(name) not in (int, float):
        raise ValueError(
            f"{name} needs alternatives, such as a,b; only numbers have ranges: '{whole}'"
        )
    if text == "log":
        return None
    _value(name, text)  # says what a number of this setting is
    return Fraction(text)


def _decimal(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else repr(float(number))


def _value(name: str, text: str) -> Any:
    is_tuple = isinstance(field_of(name).default, tuple)
    return parse_settings([f"{name}={text.replace('+', ',') if is_tuple else text}"])[name]


def _kind(name: str) -> type:
    """What a setting's value, or each of its entries, is."""
    default = field_of(name).default
    is_choice = get_origin(HINTS[name]) is Literal
    return str if is_choice else type(default[0] if isinstance(default, tuple) else default)


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
        is_base = [
            row.config == self.base.config and row.recipe == self.base.recipe for row in rows
        ]
        return Table(
            name=self.name,
            title=f"{self.base.label}: {', '.join(names)}",
            headings=names,
            rows=tuple(rows),
            reference=is_base.index(True) if True in is_base else 0,
            axis=names[0] if len(names) == 1 else "",
            factors=_factors(names, rows),
            line=self.line,
        )


def _factors(names: Iterable[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """The settings, if they are several toggles of the detector: then their effects are told."""
    values = {name: {repr(getattr(row.config, name, None)) for row in rows} for name in names}
    is_crossed = len(values) > 1 and all(len(found) == 2 for found in values.values())
    return tuple(values) if is_crossed else ()
