"""How the `atss` command speaks and ends: its console, its exit codes, its one-line problems."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.segment import Segment

from orchestration.run_folder import DEFAULT_OUT, Store

DONE, SOME_FAILED, REFUSED, STOPPED = 0, 1, 2, 130  # exit codes

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and ends of lines


def clean(text: str) -> str:
    """Names come from anybody's files: one may hold what moves a cursor or sets a title."""
    return CONTROL.sub("\ufffd", text)


class Clean(Console):
    """A console that shows control sequences of texts instead of following them."""

    def render(self, *given: Any, **more: Any) -> Iterator[Segment]:
        """As rich's: all that is shown passes here."""
        for text, style, control in super().render(*given, **more):
            yield Segment(text if control else clean(text), style, control)


# Names and reasons may hold brackets, which rich would take for its markup.
console = Clean(highlight=False, markup=False)


class Interrupted(Exception):
    """The user ended a command; the text says what is left, and how to go on."""


def refuse(reason: str) -> NoReturn:
    """End with one line for the user."""
    warn([reason])
    sys.exit(REFUSED)


def warn(texts: list[str]) -> None:
    """Say what does not end a command, one line each, beside what it prints."""
    for text in texts:
        print(f"atss: {clean(text)}", file=sys.stderr)


def finish(problems: list[str]) -> NoReturn:
    """Say what went wrong, one line each, and end."""
    warn(problems)
    raise typer.Exit(SOME_FAILED if problems else DONE)


def near(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def out_option(store: Store) -> str:
    """What a line for this results folder ends with; empty for the one that is the default."""
    name = near(store.root)
    return "" if name == DEFAULT_OUT else f" --out {shlex.quote(name)}"


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A polite kill, as a handler of its signal, ends a command like Ctrl-C."""
    raise KeyboardInterrupt
