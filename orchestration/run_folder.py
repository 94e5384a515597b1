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
        stopped.json         how far it came when ASHA ended it early
        warnings.json        signs that the run is set up wrongly
        record.json          what MLflow calls the record of the run
        live.json            what its process said last; gone when the run is done
        log.txt              what its processes printed
    <out>/launches/<time>-<process>/
        launch.json          the runs that one command was asked to train
        live.json, cancel.json   which process it is; that it is to begin no further run

Every file is written beside its place and then renamed, so a file that is there is whole. Whoever
trains a run, or is a launch, holds the lock of its folder.
"""

import fcntl
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from orchestration.json_files import CHECKED, read_checked, read_json, write_atomically, write_json
from orchestration.progress import Status
from reports.results import Stopped

DEFAULT_OUT = "results"
RUNS, POSITIVES = "runs", "positives"  # the folders of trainings, and of what is counted
LOCK = ".lock"

Facts = Mapping[str, Any]


@dataclass
class RunFolder:
    """One run on disk. Its name is the run's signature."""

    path: Path

    def __post_init__(self) -> None:
        self.signature, within = self.path.name, self.path.joinpath
        self.checkpoint, self.weights = within("last.ckpt"), within("weights.safetensors")
        self.detections, self.matches = within("detections.json"), within("matches.npz")
        self.insight, self.scores = within("insight.json"), within("scores.npz")
        self.history_file, self.log = within("history.jsonl"), within("log.txt")

    def read(self, name: str) -> Any:
        """The content of <name>.json, None where it is missing or no JSON."""
        return read_json(self.path / f"{name}.json")

    def write(self, name: str, value: Any) -> None:
        """Write <name>.json, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / f"{name}.json", value)

    def forget(self, *names: str) -> None:
        """Remove <name>.json: a failure or a cancellation, for one, when the run goes on."""
        for name in names:
            (self.path / f"{name}.json").unlink(missing_ok=True)

    def facts(self) -> dict[str, Any]:
        """run.json; empty before the run was first planned for training. ValueError: unreadable."""
        return read_checked(self.path / "run.json", CHECKED["run"]) or {}

    def result(self) -> dict[str, Any] | None:
        """result.json, or None while the run is not done, or where it cannot be read."""
        result = None if self.problem("result") else self.read("result")
        return result if result and result["signature"] == self.signature else None

    @property
    def is_done(self) -> bool:
        return self.result() is not None

    def problem(self, name: str) -> str:
        """Why run.json or result.json cannot be read, in one line; empty if it can, or is none."""
        try:
            read_checked(self.path / f"{name}.json", CHECKED[name])
        except ValueError as error:
            return str(error)
        return ""

    def failure(self) -> dict[str, Any] | None:
        """failure.json: "reason" in one line, "traceback"; None where nothing failed."""
        return self.read("failure")

    def cancellation(self) -> str:
        """Who asked the run to end, and when; empty where nobody did."""
        return " at ".join((self.read("cancel") or {}).values())

    def stop(self) -> Stopped | None:
        """Note that it was ended early; None if it was not: it is done, failed, or cancelled."""
        if self.is_done or self.failure() or self.cancellation():
            return None
        tests = [(it["step"], it["AP"]) for it in self.history() if it.get("AP") is not None]
        where = Stopped(*(tests or [(0, None)])[-1])
        self.write("stopped", asdict(where))
        return where

    def stopped(self) -> Stopped | None:
        """How far it came when it was ended early, if nobody has trained it to its end since."""
        content = None if self.is_done else self.read("stopped")
        return None if content is None else Stopped(**content)

    def warnings(self) -> list[dict[str, Any]]:
        """warnings.json: what looks wrong, each with "code", "step" and "text"."""
        return self.read("warnings") or []

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

    def append(self, *entries: dict[str, Any]) -> None:
        """Add lines to the history."""
        with self.history_file.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def forget_after(self, step: int) -> None:
        """Drop the history after a step, which will be trained again."""
        kept = [json.dumps(entry) + "\n" for entry in self.history() if entry["step"] <= step]
        write_atomically(self.history_file, lambda path: path.write_text("".join(kept)))

    def fail(self, error: Exception) -> str:
        """Leave the reason why the run ends, if that can be written; returns it, in one line."""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, OSError):
            reason = f"{self.path} cannot be written: {error.strerror}"
        with suppress(OSError):
            self.write("failure", {"reason": reason, "traceback": traceback.format_exc()})
        return reason

    def forget_checkpoints(self) -> None:
        """The run is done: what it would go on from, or be asked, is no longer needed."""
        for pattern in (f"{self.checkpoint.name}*", "*.tmp", ".*.part"):  # what a kill left, too
            for path in self.path.glob(pattern):
                path.unlink()
        self.forget("cancel", "live")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process per run: a second one waits, and then finds the run done or goes on with it.

        The lock is the kernel's, so it goes with the process that held it, however that ended.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def heartbeat(self, values: Mapping[str, Any]) -> None:
        """Leave word in live.json. It may be lost, so neither a sick disk nor a sync matters."""
        spoken = {**values, "host": socket.gethostname(), "pid": os.getpid()}
        part = self.path / ".live.json.part"
        with suppress(OSError):
            part.write_text(json.dumps(spoken))
            part.replace(self.path / "live.json")

    def live(self) -> dict[str, Any]:
        """live.json: where the run stood when its process spoke last; empty if it never did."""
        return self.read("live") or {}

    @property
    def is_running(self) -> bool:
        """Whether some process, on whatever machine, trains it, and so holds its lock."""
        try:
            with (self.path / LOCK).open() as file:  # a share of it: two may ask at once
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        return False

    def status(self, planned: Facts | None = None, *, is_awaited: bool = False) -> Status:
        """Where the run stands, told by its files alone, from whatever machine.

        planned: what a launch says of a run that it may not have begun. is_awaited: that launch
        goes on.
        """
        try:
            begun = self.facts()
        except ValueError as error:
            return Status(self.signature, "failed", {"reason": str(error)}, self.signature)
        facts, by = begun or planned or {}, self.cancellation()
        name, state = str(facts.get("name", self.signature)), "stopped" if begun else "missing"
        values: dict[str, Any] = {"warnings": [warning["text"] for warning in self.warnings()]}
        values["iterations"] = facts.get("params", {}).get("iterations")
        for entry in self.history():
            values |= {key: entry[key] for key in ("step", "AP") if entry.get(key) is not None}
        if result := self.result():
            state, ap = "done", result["metrics"]["ap"]
            values |= {"step": None, "AP": ap, "seconds": result.get("seconds")}
        elif self.is_running:
            values |= self.live()
            state = "cancelling" if by else values.get("state", "starting")
        elif by:
            step, of = values.get("step"), values["iterations"]
            far = f", after {step} of {of} steps" if step else ""
            state, values["reason"] = "cancelled", f"by {by}{far}"
        elif failure := self.failure():
            state, values["reason"] = "failed", failure["reason"]
        elif is_awaited:
            state = "waiting"
        elif early := self.stopped():
            ap = "" if early.ap is None else f", AP {early.ap:.1f}"
            values["reason"] = f"early{ap} after {early.step} steps"
        return Status(name, state, values, self.signature, facts)

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Append all that this process prints from now on to log.txt, and why the block fails.

        It is caught where the system writes it, so that C libraries, children and a dying
        interpreter are heard, too. Where the log cannot be written, it is as it would be without.
        """
        with suppress(OSError):
            sys.stdout.flush()
            self.path.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            print(f"--- {now}, process {os.getpid()} on {socket.gethostname()}", flush=True)
        try:
            yield
        except Exception:
            with suppress(OSError):
                traceback.print_exc()
            raise
        finally:
            with suppress(OSError):
                sys.stdout.flush()


@dataclass(frozen=True)
class Store:
    """All runs of a results folder, and the launches that train them."""

    root: Path

    def folder(self, signature: str) -> RunFolder:
        return RunFolder(self.root / RUNS / signature)

    def begun(self) -> list[RunFolder]:
        """Every run that was ever started here, oldest first."""
        found = sorted((self.root / RUNS).glob("*/run.json"), key=lambda path: path.stat().st_mtime)
        return [RunFolder(path.parent) for path in found]

    def folders(self) -> list[RunFolder]:
        """Those whose run.json can be read."""
        return [folder for folder in self.begun() if not folder.problem("run")]

    def unreadable(self) -> list[str]:
        """A line for each file that cannot be read: what is wrong, and how to go on."""
        problems = {it.signature: it.problem("run") or it.problem("result") for it in self.begun()}
        again = "it counts as not measured: mend it, or remove its folder to train it again"
        return [f"run {name}: {why}; {again}" for name, why in problems.items() if why]

    def launches(self) -> list[RunFolder]:
        """Those that go on, on this or another machine, and the last that ended; oldest first."""
        return [RunFolder(path.parent) for path in sorted(self.root.glob("launches/*/launch.json"))]

    def going_on(self) -> list[RunFolder]:
        """The launches that train here now."""
        return [launch for launch in self.launches() if launch.is_running]

    def planned(self) -> dict[str, dict[str, Any]]:
        """Signature -> facts of the runs of these launches, begun or not."""
        return {k: v for it in self.launches() for k, v in (it.read("launch") or {}).items()}

    def statuses(self) -> list[Status]:
        """Of every run that was begun, oldest first, then of those a launch has yet to begin."""
        planned = self.planned()
        awaited = {name for launch in self.going_on() for name in launch.read("launch") or {}}
        names = dict.fromkeys([*(folder.signature for folder in self.begun()), *planned])
        return [
            self.folder(name).status(planned.get(name), is_awaited=name in awaited)
            for name in names
        ]

    def require_there(self) -> "Store":
        """This one; ValueError in one line where nothing was ever trained."""
        if not (self.root / RUNS).is_dir():
            raise ValueError(
                f"--out {self.root}: needs a results folder, which atss reproduce makes, "
                f"this {'is none' if self.root.exists() else 'does not exist'}"
            )
        return self

    def require_writable(self) -> None:
        """Make the folder and write to it; ValueError in one line where that cannot be."""
        try:
            (self.root / RUNS).mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self.root / RUNS).close()
        except OSError as error:
            raise ValueError(
                f"--out {self.root}: results need a folder that can be written, "
                f"this one cannot ({error.strerror}: {error.filename})"
            ) from error


def open_store(out: str | Path) -> Store:
    """The results folder as an absolute path: trials run in working directories of their own."""
    root = Path(out).expanduser().absolute()
    if root.is_file():
        raise ValueError(f"--out {root}: needs a folder for results, this is a file")
    return Store(root)
