"""How the `atss` command speaks and ends: its console, its exit codes, its one-line problems."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

DONE, SOME_FAILED, REFUSED, STOPPED = 0, 1, 2, 130  # exit codes

# Names and reasons may hold brackets, which rich would take for its markup.
console = Console(highlight=False, markup=False)


class Stopped(Exception):
    """The user ended a command; the text says what is left, and how to go on."""


def refuse(reason: str) -> NoReturn:
    """End with one line for the user."""
    print(f"atss: {reason}", file=sys.stderr)
    sys.exit(REFUSED)


def finish(problems: list[str]) -> NoReturn:
    """Say what went wrong, one line each, and end."""
    for problem in problems:
        print(f"atss: {problem}", file=sys.stderr)
    raise typer.Exit(SOME_FAILED if problems else DONE)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """A polite kill ends a launch like Ctrl-C; Ray's own handler would exit on the spot."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
