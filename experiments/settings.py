"""Settings as text, "k=5" or "anchor_scales=4,5", typed by the dataclasses' fields, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
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
        settings[name] = _parse(name, value)
    return settings


def with_settings(
    config: DetectorConfig, recipe: Recipe, settings: Mapping[str, Any]
) -> tuple[DetectorConfig, Recipe]:
    """Both with the settings each of them has a field for; ValueError for one that neither has."""
    changed: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, value in settings.items():
        default_of(name)
        changed[name not in OF_CONFIG][name] = value
    return replace(config, **changed[0]), replace(recipe, **changed[1])


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


def default_of(name: str) -> Any:
    """The setting's default; ValueError, with the nearest, for a name that is none."""
    if name not in FIELDS:
        hint, listed = did_you_mean(name, FIELDS), ", ".join(FIELDS)
        raise ValueError(f"no setting is called '{name}'{hint}; there are {listed}")
    return FIELDS[name].default


def is_tuple(name: str) -> bool:
    """Whether the setting has several entries."""
    return isinstance(default_of(name), tuple)


def kind_of(name: str) -> type:
    """What the setting's value, or each of its entries, is: its default tells."""
    return type(default_of(name)[0] if is_tuple(name) else default_of(name))


def did_you_mean(text: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of what is known, for the end of a line that refuses a text; or nothing."""
    near = get_close_matches(text, list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _parse(name: str, text: str) -> Any:
    kind, choices = kind_of(name), CHOICES.get(name, (text,))
    if text not in choices:
        hint, listed = did_you_mean(text, choices), ", ".join(choices)
        raise ValueError(f"{name} needs one of {listed}, got '{text}'{hint}")
    if is_tuple(name):
        return tuple(_scalar(name, part.strip(), kind) for part in text.split(","))
    return _scalar(name, text, kind)


def _scalar(name: str, text: str, kind: type) -> bool | int | float | str:
    """Fractions are welcome, since aspect ratios and drops are best written so."""
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    try:
        if kind is float:
            number = float(Fraction(text)) if "/" in text else float(text)
            if isfinite(number):
                return number
            raise ValueError
        return SWITCH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError, ArithmeticError):
        raise ValueError(f"{name} needs {words[kind]}, got '{text}'") from None
