"""The results folder: one sub-folder per run, named by its signature. All else is made from it.

    <out>/runs/<signature>/
        run.json             the run in canonical form, and facts for people
        last.ckpt            what is needed to go on
        history.jsonl        one line per recorded step
        detections.json      of the last evaluation, COCO's results format
        weights.safetensors  of the trained detector
        result.json          written last: a valid one says that the run is done
        failure.json         why the run could not go on; gone once it does

Every file is written beside its place and then renamed, so a file that is there is whole.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNS = "runs"
LOCK = ".lock"


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
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def history_file(self) -> Path:
        return self.path / "history.jsonl"

    def facts(self) -> dict[str, Any]:
        """run.json; empty before the run was first planned for training."""
        return read_json(self.path / "run.json") or {}

    def result(self) -> dict[str, Any] | None:
        """result.json, or None while the run is not done."""
        result = read_json(self.path / "result.json")
        is_ours = result is not None and result.get("signature") == self.signature
        return result if is_ours and "metrics" in (result or {}) else None

    def failure(self) -> dict[str, Any] | None:
        """failure.json: "reason" in one line, "traceback"; None where nothing failed."""
        return read_json(self.path / "failure.json")

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

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line to the history."""
        with self.history_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def forget_after(self, step: int) -> list[dict[str, Any]]:
        """Drop the history after a step, which will be trained again; returns what is kept."""
        kept = [entry for entry in self.history() if entry["step"] <= step]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_atomically(self.history_file, lambda path: path.write_text(lines))
        return kept

    def forget_failure(self) -> None:
        """The run is tried again."""
        (self.path / "failure.json").unlink(missing_ok=True)

    def forget_checkpoints(self) -> None:
        """The run is done: what it would go on from is no longer needed."""
        for path in self.path.glob(f"{self.checkpoint.name}*"):
            path.unlink()

    @property
    def is_running(self) -> bool:
        """Whether some process holds the run's lock."""
        try:
            with (self.path / LOCK).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

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
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store.root / 'mlflow.db'}"


def read_json(path: Path) -> Any:
    """A JSON file's content, None where it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
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
