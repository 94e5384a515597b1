"""The results folder: one sub-folder per run, named by its signature. All else is made from it.

    <out>/runs/<signature>/
        run.json             the run in canonical form, and facts for people
        last.ckpt            what is needed to go on
        history.jsonl        one line per recorded step
        detections.json      of the last evaluation, COCO's results format
        matches.npz          which of them are right, and what they should have found
        insight.json         kinds of errors, classes, images: what is behind the result
        scores.npz           the result for resampled images; made for the first report
        weights.safetensors  of the trained detector
        result.json          written last: a valid one says that the run is done
        failure.json         why the run could not go on; gone once it does
        cancel.json          who asked the run to end, and when; until a launch wants it again
        warnings.json        signs that the run is set up wrongly
        record.json          what MLflow calls the record of the run
        live.json            what its process said last; gone when that ends
        log.txt              what its processes printed

Every file is written beside its place and then renamed, so a file that is there is whole.
"""

import fcntl
import json
import os
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

DEFAULT_OUT = "results"
RUNS = "runs"
LOCK = ".lock"
STALE_SECONDS = 120.0  # a process on another machine that has said nothing for so long has ended


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. Its name is the run's signature."""

    path: Path

    @property
    def signature(self) -> str:
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        return self.path / "last.ckpt"

    @property
    def detections(self) -> Path:
        return self.path / "detections.json"

    @property
    def matches(self) -> Path:
        return self.path / "matches.npz"

    @property
    def insight(self) -> Path:
        return self.path / "insight.json"

    @property
    def scores(self) -> Path:
        return self.path / "scores.npz"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def history_file(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def facts(self) -> dict[str, Any]:
        """run.json; empty before the run was first planned for training."""
        return read_json(self.path / "run.json") or {}

    def result(self) -> dict[str, Any] | None:
        """result.json, or None while the run is not done."""
        result = read_json(self.path / "result.json")
        is_ours = isinstance(result, dict) and result.get("signature") == self.signature
        return result if is_ours and "metrics" in (result or {}) else None

    def failure(self) -> dict[str, Any] | None:
        """failure.json: "reason" in one line, "traceback"; None where nothing failed."""
        return read_json(self.path / "failure.json")

    @property
    def failed_at(self) -> float:
        """When failure.json was written, in seconds since 1970; 0 if there is none."""
        path = self.path / "failure.json"
        return path.stat().st_mtime if path.exists() else 0.0

    def cancellation(self) -> dict[str, Any] | None:
        """cancel.json: "by" and "at"; None where nobody asked the run to end."""
        return read_json(self.path / "cancel.json")

    def warnings(self) -> list[dict[str, Any]]:
        """warnings.json: what looks wrong, each with "code", "step" and "text"."""
        return read_json(self.path / "warnings.json") or []

    def remarks(self) -> dict[str, str]:
        """What people should know of a run at once, each in one line; empty where there is none."""
        cancelled = self.cancellation() or {}
        return {
            "failure": (self.failure() or {}).get("reason", ""),
            "cancelled": " at ".join(cancelled.values()),
            "warning": "; ".join(warning["text"] for warning in self.warnings()),
        }

    def live(self) -> dict[str, Any]:
        """live.json: where the run stood when its process spoke last; empty if none trains it."""
        return read_json(self.path / "live.json") or {}

    @property
    def is_done(self) -> bool:
        return self.result() is not None

    def history(self) -> list[dict[str, Any]]:
        """The recorded steps in order, the lines of a step as one; half a last line counts not."""
        if not self.history_file.exists():
            return []
        entries: dict[int, dict[str, Any]] = {}
        for line in self.history_file.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                entry = json.loads(line)
                entries.setdefault(entry["step"], {}).update(entry)
        return [entries[step] for step in sorted(entries)]

    def write(self, name: str, value: Any) -> None:
        """Write <name>.json, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / f"{name}.json", value)

    def append(self, *entries: dict[str, Any]) -> None:
        """Add lines to the history, all or, with an OSError, none."""
        size = self.history_file.stat().st_size if self.history_file.exists() else 0
        try:
            with self.history_file.open("a") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)
        except OSError:
            os.truncate(self.history_file, size)
            raise

    def forget_after(self, step: int) -> list[dict[str, Any]]:
        """Drop the history after a step, which will be trained again; returns what is kept."""
        kept = [entry for entry in self.history() if entry["step"] <= step]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_atomically(self.history_file, lambda path: path.write_text(lines))
        return kept

    def fail(self, error: Exception) -> str:
        """Leave the reason why the run ends, if that can be written; returns it, in one line."""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, OSError):
            reason = f"{self.path} cannot be written: {error.strerror}"
        with suppress(OSError):
            self.write("failure", {"reason": reason, "traceback": traceback.format_exc()})
        return reason

    def say(self, values: Mapping[str, Any]) -> None:
        """Leave word in live.json; unlike all else it may be lost, so no disk is waited for."""
        spoken = {**values, "time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        part = self.path / f".live.json.{os.getpid()}.part"
        part.write_text(json.dumps(spoken))
        part.replace(self.path / "live.json")

    def fall_silent(self) -> None:
        """The run's process leaves it."""
        (self.path / "live.json").unlink(missing_ok=True)

    def forget_failure(self) -> None:
        """The run is tried again."""
        (self.path / "failure.json").unlink(missing_ok=True)

    def forget_cancellation(self) -> None:
        """The run may be trained again."""
        (self.path / "cancel.json").unlink(missing_ok=True)

    def forget_checkpoints(self) -> None:
        """The run is done: what it would go on from, or wait for, is no longer needed."""
        for pattern in (f"{self.checkpoint.name}*", "*.tmp", ".*.part"):  # what a kill left, too
            for path in self.path.glob(pattern):
                path.unlink()
        self.forget_cancellation()

    @property
    def is_running(self) -> bool:
        """Whether some process trains it: by its lock or, from another machine, by its word."""
        live = self.live()
        is_elsewhere = bool(live) and live["host"] != socket.gethostname()
        return is_held(self.path / LOCK) or (
            is_elsewhere and time.time() - live["time"] < STALE_SECONDS
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process per run: a second one waits, and then finds the run done or goes on with it.

        The lock is the kernel's, so it goes with the process that held it, however that ended.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class Store:
    """All runs of a results folder."""

    root: Path

    def folder(self, signature: str) -> RunFolder:
        return RunFolder(self.root / RUNS / signature)

    def folders(self) -> list[RunFolder]:
        """Every run that was ever started here, oldest first."""
        found = (self.root / RUNS).glob("*/run.json")
        return [
            RunFolder(path.parent) for path in sorted(found, key=lambda path: path.stat().st_mtime)
        ]

    def require_there(self) -> None:
        """ValueError in one line where nothing was ever trained."""
        if not (self.root / RUNS).is_dir():
            raise ValueError(
                f"--out {self.root}: needs a results folder, which atss reproduce makes, "
                f"this {'is none' if self.root.exists() else 'does not exist'}"
            )

    def require_writable(self) -> None:
        """Make the folder and write to it; ValueError in one line where that cannot be."""
        probe = self.root / RUNS / ".writable"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ValueError(
                f"--out {self.root}: results need a folder that can be written, "
                f"this one cannot ({error.strerror}: {error.filename})"
            ) from error


def open_store(out: str | Path) -> Store:
    """The results folder as an absolute path: trials run in working directories of their own."""
    return Store(Path(out).expanduser().absolute())


def records_uri(store: Store) -> str:
    """Where MLflow's records are: MLFLOW_TRACKING_URI, or a database in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(store)


def local_uri(store: Store) -> str:
    """The address of the database in the results folder."""
    return f"sqlite:///{quote(str(database(store)))}"


def database(store: Store) -> Path:
    """The database of records that a results folder has by itself."""
    return store.root / "mlflow.db"


def without_password(uri: str) -> str:
    """An address that may be shown: "http://alice@host"."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", uri)


def is_held(lock: Path) -> bool:
    """Whether a process holds the lock; asking takes a share of it, so two may ask at once."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_json(path: Path) -> Any:
    """A JSON file's content, None where it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no JSON, no text
        return None


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
