"""Settings as text, "k=5" or "anchor_scales=4,5", typed by the dataclasses' fields, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from detector.config import DetectorConfig, Recipe

FIELDS = {item.name: item for kind in (DetectorConfig, Recipe) for item in fields(kind)}
OF_CONFIG = {item.name for item in fields(DetectorConfig)}
HINTS = get_type_hints(DetectorConfig) | get_type_hints(Recipe)
CHOICES = {name: get_args(hint) for name, hint in HINTS.items() if get_origin(hint) is Literal}
SWITCH = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """["k=5", "lr_drops=2/3,8/9"] -> field name -> value of that field's type.

    ValueError for what is not name=value, an unknown name, one given twice, or a value that its
    field cannot hold. Whether the settings go together is with_settings' question.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not name:
            raise ValueError(f"a setting needs name=value, got '{text}'")
        if name in settings:
            raise ValueError(f"{name} is set twice, the second time by '{text}'")
        settings[name] = _parse(field_of(name), value)
    return settings


def with_settings(
    config: DetectorConfig, recipe: Recipe, settings: Mapping[str, Any]
) -> tuple[DetectorConfig, Recipe]:
    """Both with the settings each of them has a field for; ValueError for one that neither has."""
    for name in settings:
        field_of(name)
    changed = {name: value for name, value in settings.items() if name in OF_CONFIG}
    others = {name: value for name, value in settings.items() if name not in OF_CONFIG}
    return replace(config, **changed), replace(recipe, **others)


def show_setting(value: Any) -> str:
    """A setting's value as --set takes it."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(show_setting, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def field_of(name: str) -> Field[Any]:
    """The setting's field; ValueError, with the nearest, for a name that is none."""
    if name not in FIELDS:
        hint, listed = did_you_mean(name, FIELDS), ", ".join(FIELDS)
        raise ValueError(f"no setting is called '{name}'{hint}; there are {listed}")
    return FIELDS[name]


def is_tuple(name: str) -> bool:
    """Whether the setting has several entries."""
    return isinstance(field_of(name).default, tuple)


def kind_of(name: str) -> type:
    """What the setting's value, or each of its entries, is: its default tells."""
    default = field_of(name).default
    return type(default[0] if isinstance(default, tuple) else default)


def did_you_mean(text: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of what is known, for the end of a line that refuses a text; or nothing."""
    near = get_close_matches(text, list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _parse(item: Field[Any], text: str) -> Any:
    choices = CHOICES.get(item.name, (text,))
    if text not in choices:
        hint, listed = did_you_mean(text, choices), ", ".join(choices)
        raise ValueError(f"{item.name} needs one of {listed}, got '{text}'{hint}")
    parts = [part.strip() for part in text.split(",")] if is_tuple(item.name) else [text]
    values = tuple(_scalar(item.name, part, kind_of(item.name)) for part in parts)
    return values if is_tuple(item.name) else values[0]


def _scalar(name: str, text: str, kind: type) -> bool | int | float | str:
    if kind is str:
        return text
    try:
        if kind is bool:
            return SWITCH[text.lower()]
        return int(text) if kind is int else _real(text)
    except (KeyError, ValueError, ArithmeticError):
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ValueError(f"{name} needs {words[kind]}, got '{text}'") from None


def _real(text: str) -> float:
    """A finite number; fractions are welcome, since aspect ratios and drops are best written so."""
    number = float(Fraction(text)) if "/" in text else float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number
