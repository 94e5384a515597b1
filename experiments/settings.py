"""Settings as text, "k=5" or "anchor_scales=4,5", typed by the dataclasses' fields, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from fractions import Fraction
from math import isfinite
from typing import Any, Literal, get_args, get_origin

from detector.config import WORDS, DetectorConfig, Recipe, check_choice
from detector.config import did_you_mean as did_you_mean

FIELDS = {item.name: item for kind in (DetectorConfig, Recipe) for item in fields(kind)}
OF_CONFIG = {item.name for item in fields(DetectorConfig)}
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


def _parse(name: str, text: str) -> Any:
    if is_tuple(name):
        return tuple(_scalar(name, part.strip()) for part in text.split(","))
    if get_origin(FIELDS[name].type) is Literal:
        check_choice(name, text, get_args(FIELDS[name].type))
    return _scalar(name, text)


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
    """A setting's value as --set takes it: 0.01, 2/3, or all its digits."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(show_setting, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        texts = f"{value:g}", str(Fraction(value).limit_denominator(99)), repr(value)
        return next(text for text in texts if float(Fraction(text)) == value)
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


def _scalar(name: str, text: str) -> bool | int | float | str:
    """Fractions are welcome, since aspect ratios and drops are best written so."""
    kind = kind_of(name)
    try:
        if kind is float:
            number = float(Fraction(text)) if "/" in text else float(text)
            if isfinite(number):
                return number
            raise ValueError
        return SWITCH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError, ArithmeticError):
        raise ValueError(f"{name} needs {WORDS[kind]}, got '{text}'") from None
