"""The launches of a results folder: what was asked for, and which of them still go on.

    <out>/launches/<time>-<pid>.json         of a launch that goes on, or was killed
    <out>/launches/<time>-<pid>.ended.json   of one that came to its end
    <out>/launches/<time>-<pid>.cancel       it is to begin no further run

A launch holds a lock on its file, which goes with its process however that ends; for machines that
do not see each other's locks it touches the file, too.
"""

import fcntl
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestration.plan import PlannedRun
from orchestration.store import STALE_SECONDS, RunFolder, Store, is_held, read_json, write_json

FOLDER = "launches"
ENDED, CANCEL = ".ended.json", ".cancel"
TOUCH_SECONDS = 20.0


@dataclass(frozen=True)
class Launch:
    """One command that trained runs of a results folder."""

    host: str
    pid: int
    begun: float  # seconds since 1970
    runs: dict[str, dict[str, Any]]  # signature -> run.json's name, rows, seed, setup

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def recorded(
    store: Store, setup: Mapping[str, Any], runs: Sequence[PlannedRun], console: Console
) -> Iterator[Callable[[], bool]]:
    """Keep what this process was asked for, and that it is at it, while the block runs.

    Yields a function: whether the launch was asked to begin no further run. setup: run.json's.
    """
    for other in going_on(store):
        console.print(f"{other} trains in {store.root}, too: what both want is trained once")
    launch = Launch(
        host=socket.gethostname(),
        pid=os.getpid(),
        begun=time.time(),
        runs={run.signature: _facts(run, setup) for run in runs},
    )
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(launch.begun))
    path = store.root / FOLDER / f"{stamp}-{launch.pid}.json"
    path.parent.mkdir(exist_ok=True)
    _forget_old(path.parent)
    write_json(path, asdict(launch))
    is_over = threading.Event()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Thread(target=_keep_touching, args=(path, is_over), daemon=True).start()
        try:
            yield path.with_suffix(CANCEL).exists
        finally:
            is_over.set()
            path.with_suffix(CANCEL).unlink(missing_ok=True)
            path.rename(path.with_suffix(ENDED))


def _facts(run: PlannedRun, setup: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json will say of a run, as far as people need it to know the run."""
    return {"name": run.name, "rows": run.rows, "seed": run.run.seed, "setup": setup}


def _keep_touching(path: Path, is_over: threading.Event) -> None:
    while not is_over.wait(TOUCH_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _forget_old(folder: Path) -> None:
    """A new launch takes the place of those that have ended; one just beginning holds no lock."""
    for path in folder.glob("*.json"):
        if not _goes_on(path) and time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
            path.with_suffix(CANCEL).unlink(missing_ok=True)


def going_on(store: Store) -> list[Launch]:
    """The launches that train in a results folder now, on this or another machine; oldest first."""
    return [launch for path, launch in _launches(store) if _goes_on(path, launch.host)]


def cancel(store: Store) -> None:
    """Ask every launch that goes on to begin no further run; those it has begun are not asked."""
    for path, launch in _launches(store):
        if _goes_on(path, launch.host):
            path.with_suffix(CANCEL).touch()


def _launches(store: Store) -> list[tuple[Path, Launch]]:
    paths = sorted((store.root / FOLDER).glob("*.json"))
    found = []
    for path in paths:
        with suppress(TypeError):  # of another version, or gone meanwhile
            found.append((path, Launch(**(read_json(path) or {}))))
    return found


def _goes_on(path: Path, host: str | None = None) -> bool:
    if path.name.endswith(ENDED):
        return False
    with suppress(FileNotFoundError):
        is_elsewhere = host is not None and host != socket.gethostname()
        is_fresh = time.time() - path.stat().st_mtime < STALE_SECONDS
        return is_held(path) or (is_elsewhere and is_fresh)
    return False  # it has just ended


def planned(store: Store) -> dict[str, dict[str, Any]]:
    """Signature -> facts of the runs of all launches that are still known, begun or not."""
    return {name: facts for _, launch in _launches(store) for name, facts in launch.runs.items()}


@contextmanager
def temporary(folder: Path) -> Iterator[None]:
    """A launch's own folder, removed at the end with those beside it whose launches were killed."""
    try:
        with RunFolder(folder).locked():
            yield
    finally:
        for path in folder.parent.glob("*"):
            if not RunFolder(path).is_running:
                shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # others are at work
            folder.parent.rmdir()
