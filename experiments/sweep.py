"""A sweep: one detector, and settings that take several values, as a table of its own.

    k=3,5,7                   alternatives
    anchor_scales=4+8,8       a tuple's entries are joined by +
    k=3..7                    every whole number from 3 to 7
    anchor_scales=4..6..0.5   in steps of 0.5
    learning_rate=0.001..0.1  for a search, any number between; with ..log, any order of magnitude

A grid takes every combination. Those that no detector can be (k without ATSS) are left out, each
with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import exp, log, prod
from typing import Any

from detector.config import Recipe
from experiments.experiment import Row, Run, Table
from experiments.own_tables import own_assigner
from experiments.settings import (
    OF_CONFIG,
    is_tuple,
    kind_of,
    parse_settings,
    show_setting,
    with_settings,
)

NUMBERS = (int, float)
DIGITS = 4  # significant ones of a number that is proposed: it is part of a label
MOST_VALUES = 1000  # of a range, and combinations of a grid: nobody trains more


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
        return kind_of(self.name) in NUMBERS and is_alone

    def at(self, share: float) -> Any:
        """The value at a share, from 0 to 1, of the range."""
        assert self.ends is not None
        low, high = map(log, self.ends) if self.is_log else self.ends
        number = low + share * (high - low)
        digits = f"{exp(number) if self.is_log else number:.{DIGITS}g}"
        return _value(self.name, f"{float(digits):.0f}" if kind_of(self.name) is int else digits)


def parse_axis(text: str) -> Axis:
    """One of the forms above; ValueError in one line for what is none."""
    name, _, told = (part.strip() for part in text.partition("="))
    if not name or not told:
        raise ValueError(f"a setting needs name=value, got '{text}'")
    if ".." in told and kind_of(name) in NUMBERS:
        return _range(name, told)
    return Axis(name, tuple(_value(name, part) for part in told.split(",")))


def _range(name: str, text: str) -> Axis:
    """LOW..HIGH with whole ends is in steps of 1, and of a number any between for a search."""
    pieces = [piece.strip() for piece in text.split("..")]
    is_log = pieces[2:] == ["log"]
    numbers = pieces[:2] if is_log else pieces
    for number in numbers:
        _value(name, number)  # says what a number of this setting is
    low, high, *steps = map(Fraction, numbers)
    step = steps[0] if steps else Fraction(1)
    if len(steps) > 1 or low >= high or step <= 0 or (is_log and low <= 0):
        raise ValueError(
            f"{name} needs a range alone: LOW..HIGH, LOW..HIGH..STEP with a step above 0, or "
            f"LOW..HIGH..log above 0, and LOW below HIGH, got '{text}'"
        )
    ends, is_whole = (float(low), float(high)), low.denominator == high.denominator == 1
    if is_log or not (steps or is_whole):
        return Axis(name, (), ends, is_log)
    if (count := (high - low) // step + 1) > MOST_VALUES:
        raise ValueError(
            f"{name} needs at most {MOST_VALUES} values, got {count} in '{text}': "
            "LOW..HIGH..STEP takes fewer"
        )
    exact = (low + i * step for i in range(count))
    values = [_value(name, str(it if it.denominator == 1 else float(it))) for it in exact]
    return Axis(name, tuple(values), None if steps or kind_of(name) is int else ends)


def _value(name: str, text: str) -> Any:
    return parse_settings([f"{name}={text.replace('+', ',') if is_tuple(name) else text}"])[name]


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
        for name in (axis.name for axis in self.axes if not axis.values):
            raise ValueError(
                f"{name} needs values or a step in a grid, such as {name}=LOW..HIGH..STEP; "
                "a search draws without"
            )
        if (number := prod(len(axis.values) for axis in self.axes)) > MOST_VALUES:
            raise ValueError(
                f"a grid needs at most {MOST_VALUES} combinations, got {number}: "
                "--search optuna --samples N takes some"
            )
        points = product(*([(axis.name, it) for it in axis.values] for axis in self.axes))
        return [row for point in points if (row := self.row(dict(point)))]

    def row(self, point: Mapping[str, Any]) -> Row | None:
        """The base with these settings; None, and noted, where no detector can be that."""
        base = self.base
        label = ", ".join(f"{name} = {show(value)}" for name, value in point.items())
        try:
            config, recipe = with_settings(base.config, self.recipe, {**base.recipe, **point})
            Run(config, recipe, "", 0, own_assigner(base.assigner, point))
        except ValueError as error:
            self.left_out.setdefault(label, str(error))
            return None
        return Row(
            label,
            config,
            printed=tuple(map(show, point.values())),
            assigner=base.assigner,
            recipe={**base.recipe, **{key: point[key] for key in point if key not in OF_CONFIG}},
            at_scale={
                scale: {key: told[key] for key in told if key not in point}
                for scale, told in base.at_scale.items()
            },
        )

    def table(self, rows: Sequence[Row]) -> Table:
        """Rows of this sweep as a table; ValueError without any."""
        if not rows:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.left_out.items())
            raise ValueError(f"no combination is left to train; {reasons}")
        names = tuple(axis.name for axis in self.axes)
        base = (self.base.config, self.base.recipe)
        bases = [i for i, row in enumerate(rows) if (row.config, row.recipe) == base]
        num_values = [len({getattr(row.config, name, None) for row in rows}) for name in names]
        is_crossed = len(names) > 1 and set(num_values) == {2}
        return Table(
            name=self.name,
            title=f"{self.base.label}: {', '.join(names)}",
            headings=names,
            rows=tuple(rows),
            reference=next(iter(bases), 0),
            axis=names[0] if len(names) == 1 else "",
            factors=names if is_crossed else (),  # toggles: then their effects are told
            line=self.line,
        )
