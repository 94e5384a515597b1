"""What a run's processes print, kept in log.txt of its folder for `atss logs`.

It is caught where the system writes it, so that C libraries and a dying interpreter are heard, too;
on a terminal it would be lost, or mixed with that of other runs.
"""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HEADER = "--- "  # before the line that every process begins with
MAX_BYTES = 2**20  # of a log; a longer one loses its first half


@contextmanager
def kept(log: Path) -> Iterator[None]:
    """Append all that this process prints to the log while the block runs, and why it failed.

    Where the log cannot be written, it is as it would be without.
    """
    before = _send(log)
    try:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError):
            print(f"{HEADER}{now}, process {os.getpid()} on {socket.gethostname()}", flush=True)
        yield
    except Exception:
        with suppress(OSError):
            traceback.print_exc()
        raise
    finally:
        _flush()
        for number, copy in enumerate(before, start=1):
            os.dup2(copy, number)
            os.close(copy)


def _send(log: Path) -> list[int]:
    """Let the standard streams lead to the file; returns copies of what they led to."""
    _flush()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError:
        return []
    before = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    return before


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()


def shorten(log: Path) -> None:
    """Keep the last half of a log that has become too long; whoever writes goes on behind it."""
    if not log.exists() or log.stat().st_size <= MAX_BYTES:
        return
    with log.open("r+b") as file:
        file.seek(-MAX_BYTES // 2, os.SEEK_END)
        rest = file.read().partition(b"\n")[2]
        file.seek(0)
        file.write(rest)
        file.truncate()


def last_lines(log: Path, number: int) -> list[str]:
    """The end of a log; empty where there is none."""
    if not log.exists():
        return []
    lines = log.read_text(errors="replace").splitlines()
    return lines[max(0, len(lines) - number) :]
