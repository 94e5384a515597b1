"""JSON files: read by a schema that says what is wrong in one line, written whole or not at all."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from detector.config import Recipe
from detector.metrics import Metrics
from orchestration.resources import Spent


def needs(**fields: Any) -> type[Struct]:
    """An object of a JSON file: name -> type, or type and default where it may be missing."""
    kinds = {name: it if isinstance(it, tuple) else (it,) for name, it in fields.items()}
    return msgspec.defstruct("Object", [(name, *it) for name, it in kinds.items()])


# What a run's files have to hold; more may be there.
RUN = needs(
    name=str,
    seed=int,
    setup=needs(
        **dict.fromkeys(("scale", "data", "fingerprint", "where", "name"), str),
        recipe=Recipe,
        settings=dict[str, Any],
    ),
    data=needs(name=str, fingerprint=str, where=str, notes=list[str]),
    canonical=needs(recipe=dict[str, Any]),
    rows=(list[str], []),
    params=(dict[str, Any], {}),
    environment=(dict[str, str], {}),
)
RESULT = needs(
    signature=str,
    seed=int,
    metrics=Metrics,
    seconds=(float | None, None),
    spent=(Spent | None, None),
    facts=(dict[str, str], {}),
)
CHECKED = {"run": RUN, "result": RESULT}


def read_json(path: Path) -> Any:
    """A JSON file's content, None where it is missing or no JSON."""
    with suppress(ValueError):
        return read_checked(path, Any)
    return None


def read_checked(path: Path, kind: Any) -> Any:
    """A JSON file's content, None where it is missing.

    ValueError in one line where it lacks what its kind needs, or has it of another type.
    """
    try:
        text = path.read_bytes()
        msgspec.json.decode(text, type=kind)
        return msgspec.json.decode(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        what = "" if isinstance(error, msgspec.ValidationError) else "no JSON, "
        raise ValueError(f"{path} cannot be read: {what}{error}") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all; NaN is refused, because JSON has none."""
    text = json.dumps(value, indent=1, allow_nan=False)
    write_atomically(path, lambda part: part.write_text(text))


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let write fill a file beside path, then put it in place: no reader ever sees half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
