"""A small table in a results folder of its own: how it is launched, watched and judged.

Two rows, one after the other, 60 steps each and a checkpoint every ten: so that a fault in the
second row finds the first one finished.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orchestration.run_folder import RunFolder, open_store

ROOT = Path(__file__).parents[2]
STEPS = 60
SETTINGS = [f"iterations={STEPS}", "batch_size=2", "warmup_iterations=1", "evaluations=6"]
SETTINGS += ["short_side=64,64"]
PATIENCE = 600.0  # seconds, for anything: the machine may be busy otherwise
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": ""}


@dataclass
class Process:
    """A command of ours that was started, and what it said."""

    popen: subprocess.Popen[bytes]
    output: Path
    begun: float = field(default_factory=time.monotonic)

    def said(self) -> str:
        return self.output.read_text()

    def wait(self) -> int:
        """Its exit code."""
        return self.popen.wait(PATIENCE)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.popen.send_signal(number)


@dataclass
class Scene:
    """A results folder, the line that fills it, and where its records go."""

    root: Path
    data: Path
    arguments: tuple[str, ...] = ("--concurrent", "1")
    records: str = ""  # the address of a server; none for a database in the results folder
    started: list[Process] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.root / "out"

    def folders(self) -> list[RunFolder]:
        """Of the runs, in the order of their training."""
        found = open_store(self.out).folders()
        return sorted(found, key=lambda folder: (folder.path / "run.json").stat().st_ctime)

    def launch(self) -> Process:
        """Start the line."""
        changes = [part for setting in SETTINGS for part in ("--set", setting)]
        line = ["reproduce", "table2", "--rows", "1,2", "--data", str(self.data)]
        line += ["--out", str(self.out), *changes, *self.arguments]
        return self.start("orchestration.cli", *line, MLFLOW_TRACKING_URI=self.records)

    def serve(self, port: int | None = None) -> Process:
        """A real MLflow server beside the scene, which then uses it; again at the same port."""
        place = self.root / "server"
        place.mkdir(exist_ok=True)
        if port is None:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = int(listener.getsockname()[1])
        self.records = f"http://127.0.0.1:{port}"
        store = ["--backend-store-uri", f"sqlite:///{place}/mlflow.db"]
        store += ["--artifacts-destination", f"{place}/artifacts"]
        serve = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        server = self.start(
            "mlflow", "server", *store, *serve, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
        )
        wait_for(lambda: _answers(self.records), server)
        return server

    def start(self, *command: str, **variables: str) -> Process:
        output = self.root / f"{len(self.started)}.log"
        popen = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={**os.environ, **ENVIRONMENT, **variables},
            stdout=output.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(Process(popen, output))
        return self.started[-1]

    def end(self) -> None:
        """Leave no process behind."""
        for process in self.started:
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, signal.SIGKILL)
                process.popen.wait()

    def under_way(self, launch: Process, *, number: int = 1, step: int = 25) -> RunFolder:
        """Wait until a run has made so many steps, and a checkpoint on the way."""
        wait_for(lambda: len(self.begun()) > number, launch)
        folder = self.begun()[number]
        wait_for(lambda: last_step(folder) >= step and folder.checkpoint.exists(), launch)
        return folder

    def begun(self) -> list[RunFolder]:
        """The runs that have a history, in the order of their training."""
        return [folder for folder in self.folders() if folder.history_file.exists()]


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def last_step(folder: RunFolder) -> int:
    return max((entry["step"] for entry in folder.history()), default=0)


def wait_for(happened: Callable[[], object], process: Process | None = None) -> float:
    """Seconds until something happened; TimeoutError with what the process said if it never did."""
    begun = time.monotonic()
    while not happened():
        is_over = process is not None and process.popen.poll() is not None
        if is_over or time.monotonic() - begun > PATIENCE:
            raise TimeoutError(process.said() if process else "it never happened")
        time.sleep(0.02)
    return time.monotonic() - begun


def trainer(folder: RunFolder) -> int:
    """The process that holds a run's lock."""
    inode = (folder.path / ".lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    raise LookupError(f"nobody trains {folder.signature}")


def member(launch: Process) -> int:
    """The second process of a launch's run."""
    for process in psutil.Process(launch.popen.pid).children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_join"):
                return process.pid
    raise LookupError("no run has a second process")


def goes_on_after(log: str) -> list[int]:
    """The steps after which runs went on."""
    return [int(step) for step in re.findall(r": goes on after step (\d+) of", log)]


def trainings(log: str) -> int:
    """How often a run was begun or gone on with."""
    return len(re.findall(r": (?:training$|goes on after step)", log, re.MULTILINE))


# What must hold afterwards


def numbers(folder: RunFolder) -> tuple[object, ...]:
    """All that a run gave, to the bit."""
    result = folder.result() or {}
    files = (folder.detections, folder.weights)
    bits = [path.read_bytes() if path.exists() else None for path in files]
    return (result.get("metrics"), folder.history(), *bits)


def broken_files(out: Path) -> list[str]:
    """Files that are not whole: JSON that cannot be read, checkpoints whose sums are wrong."""
    broken = []
    for path in (*out.rglob("*.json"), *out.rglob("last.ckpt*")):
        name = path.relative_to(out)
        if name.parts[0].startswith(".ray") or path.suffix == ".tmp":  # Ray's own: nobody reads it
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
                continue
            with zipfile.ZipFile(path) as archive:
                broken += [str(name)] if archive.testzip() else []
        except (ValueError, zipfile.BadZipFile):
            broken.append(str(name))
    return broken


def remains(out: Path) -> list[str]:
    """What a kill left half-written, and nobody took away."""
    found = [*out.glob("runs/*/*.tmp"), *out.glob("runs/*/.*.part"), *out.glob(".ray*")]
    return [str(path.relative_to(out)) for path in found]


def record_faults(scene: Scene, folders: Iterable[RunFolder]) -> list[str]:
    """Where MLflow does not hold every training, row and number once, and the report."""
    from orchestration.tracking import Tracker

    address = scene.records or f"sqlite:///{scene.out / 'mlflow.db'}"
    client = Tracker(address, open_store(scene.out)).client
    by_name = {found.name: found.experiment_id for found in client.search_experiments()}
    trained = client.search_runs([by_name.pop("trainings")])
    faults = []
    for folder in folders:
        found = [run for run in trained if run.data.tags["signature"] == folder.signature]
        if [run.info.status for run in found] != ["FINISHED"]:
            faults.append(f"{folder.signature}: {[run.info.status for run in found]}")
            continue
        losses = client.get_metric_history(found[0].info.run_id, "loss/cls")
        steps = Counter(point.step for point in losses)
        if steps != Counter(entry["step"] for entry in folder.history()):
            faults.append(f"{folder.signature}: {sum(steps.values())} points of {len(steps)} steps")
    by_name.pop("Default", None)
    names = [run.info.run_name for id in by_name.values() for run in client.search_runs([id])]
    if len(names) != 3 or len(set(names)) != 3 or "report" not in names:  # two rows and it
        faults.append(f"rows: {names}")
    return faults
