"""The faults: each disturbs a launch, gives the same line again where that is needed, and notes."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scene import (
    STEPS,
    Process,
    Scene,
    broken_files,
    goes_on_after,
    is_alive,
    last_step,
    member,
    start_server,
    trainer,
    trainings,
    wait_for,
)

AWAY_SECONDS = 60.0
DISK = "96m"  # holds the results, and not much more


@dataclass
class Outcome:
    """What a fault did, and what was left of it."""

    at_step: int | None = None  # where the run it hit stood
    lost_steps: int | None = None  # trained again
    seconds: float | None = (
        None  # until training went on: from the fault, or from the line given again
    )
    codes: list[int] = field(default_factory=list)  # exit codes of the launches
    note: str = ""
    problems: list[str] = field(default_factory=list)


Fault = Callable[[Scene, Outcome], None]


def driver(number: signal.Signals) -> Fault:
    """The launching process gets a signal in the middle of the second run."""

    def fault(scene: Scene, outcome: Outcome) -> None:
        launch = scene.launch()
        folder = scene.under_way(launch)
        pid = trainer(folder)
        launch.kill(number)
        code = launch.wait()
        outcome.codes.append(code)
        wait_for(lambda: not is_alive(pid))
        outcome.at_step = last_step(folder)
        expected = -number if number == signal.SIGKILL else 130
        if code != expected:
            outcome.problems.append(f"exit code {code}, expected {expected}")
        if number != signal.SIGKILL and "the same line goes on" not in launch.said():
            outcome.problems.append("did not say how to go on")
        outcome.problems += [f"half a file: {name}" for name in broken_files(scene.out)]
        again(scene, outcome)

    return fault


def again(scene: Scene, outcome: Outcome) -> None:
    """The same line: what is finished stays, the other run goes on, the launch succeeds."""
    done = {
        folder: _stamp(folder.path / "result.json") for folder in scene.folders() if folder.is_done
    }
    launch = scene.launch()
    if len(done) < 2:
        outcome.seconds = wait_for(lambda: trainings(launch.said()), launch)
        (step,) = goes_on_after(launch.said()) or [0]
        outcome.lost_steps = (outcome.at_step or 0) - step
    outcome.codes.append(launch.wait())
    for folder, stamp in done.items():
        if _stamp(folder.path / "result.json") != stamp:
            outcome.problems.append("a finished run was trained again")
    if trainings(launch.said()) != 2 - len(done):
        outcome.problems.append(f"{trainings(launch.said())} trainings for {2 - len(done)} missing")


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_mtime_ns, path.stat().st_ino


def retried(scene: Scene, outcome: Outcome, victim: Callable[[Process], int]) -> None:
    """A process of a run is killed: the launch itself tries it again."""
    launch = scene.launch()
    folder = scene.under_way(launch)
    pid = trainer(folder)
    os.kill(victim(launch), signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: not is_alive(pid), launch)
    outcome.at_step = last_step(folder)
    wait_for(lambda: goes_on_after(launch.said()), launch)
    outcome.seconds = time.monotonic() - killed
    outcome.lost_steps = outcome.at_step - goes_on_after(launch.said())[0]
    outcome.codes.append(launch.wait())
    if launch.said().count(": retrying") != 1:
        outcome.problems.append("not tried again once")


def worker(scene: Scene, outcome: Outcome) -> None:
    """The process of the second run is killed."""
    retried(scene, outcome, lambda launch: trainer(scene.begun()[1]))


def one_of_two(scene: Scene, outcome: Outcome) -> None:
    """The second of a run's two processes is killed."""
    retried(scene, outcome, member)


def records_away(scene: Scene, outcome: Outcome) -> None:
    """The MLflow server goes in the first run and is away for a minute while training ends."""
    server = start_server(scene)
    launch = scene.launch()
    folder = scene.under_way(launch, number=0)
    outcome.at_step = last_step(folder)
    gone = time.monotonic()
    os.killpg(server.popen.pid, signal.SIGKILL)
    server.popen.wait()
    code = launch.wait()
    outcome.codes.append(code)
    if code != 1 or "the next launch makes the records up" not in launch.said():
        outcome.problems.append(f"exit code {code}, or not told of")
    if trainings(launch.said()) != 2 or ": retrying" in launch.said():
        outcome.problems.append("training was disturbed")
    time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - gone)))
    outcome.note = f"away for {time.monotonic() - gone:.0f} s"
    start_server(scene, urlsplit(scene.records).port)
    outcome.lost_steps = 0
    launch = scene.launch()
    outcome.codes.append(launch.wait())
    outcome.seconds = time.monotonic() - launch.begun
    if trainings(launch.said()):
        outcome.problems.append("trained again")


@contextmanager
def small_disk(scene: Scene) -> Iterator[Callable[[], Callable[[], None]]]:
    """A disk of its own for the results; fills it up, and returns what empties it again."""
    scene.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(scene.out)]
    subprocess.run(mount, check=True)
    filler = scene.out / "filler"

    def fill() -> Callable[[], None]:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return filler.unlink
        raise AssertionError("a disk without end")

    try:
        yield fill
    finally:
        shutil.copytree(scene.out, scene.root / "kept")
        subprocess.run(["umount", "--lazy", str(scene.out)], check=True)
        scene.out.rmdir()
        (scene.root / "kept").rename(scene.out)


def disk_full(scene: Scene, outcome: Outcome) -> None:
    """No room for the second run's next checkpoint; the same line, once there is."""
    with small_disk(scene) as fill:
        launch = scene.launch()
        folder = scene.under_way(launch)
        outcome.at_step, empty = last_step(folder), fill()
        outcome.codes.append(launch.wait())
        if folder.is_done or outcome.codes != [1]:
            outcome.problems.append("the disk was not full, or the launch did not say so")
        (reason,) = [line for line in launch.said().splitlines() if ": failed: " in line]
        outcome.note = reason.partition(": failed: ")[2]
        empty()
        again(scene, outcome)


def spoiled(*names: str, spoil: Callable[[Path], None]) -> Fault:
    """The launch is killed, and checkpoints are damaged before the line is given again."""

    def fault(scene: Scene, outcome: Outcome) -> None:
        launch = scene.launch()
        folder = scene.under_way(launch)
        pid = trainer(folder)
        launch.kill()
        outcome.codes.append(launch.wait())
        wait_for(lambda: not is_alive(pid))
        outcome.at_step = last_step(folder)
        for name in names:
            spoil(folder.path / name)
        if len(broken_files(scene.out)) != len(names):
            outcome.problems.append("nothing was damaged")
        again(scene, outcome)

    return fault


def cut(path: Path) -> None:
    """Half a file."""
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """A bit of a disk that forgets: one in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def two_drivers(scene: Scene, outcome: Outcome) -> None:
    """The line is given in a second terminal while it is at work in the first."""
    first = scene.launch()
    scene.under_way(first, number=0, step=5)
    second = scene.launch()
    outcome.codes += [first.wait(), second.wait()]
    outcome.lost_steps = trainings(first.said() + second.said()) * STEPS - 2 * STEPS
    outcome.note = f"{trainings(first.said())} and {trainings(second.said())} runs trained"
    if outcome.codes != [0, 0] or outcome.lost_steps:
        outcome.problems.append("not once each")


FAULTS: dict[str, Fault] = {
    "driver SIGKILL": driver(signal.SIGKILL),
    "driver SIGTERM": driver(signal.SIGTERM),
    "driver Ctrl-C": driver(signal.SIGINT),
    "worker SIGKILL": worker,
    "one of two processes SIGKILL": one_of_two,
    "MLflow away": records_away,
    "disk full": disk_full,
    "newest checkpoint cut": spoiled("last.ckpt", spoil=cut),
    "newest checkpoint flipped": spoiled("last.ckpt", spoil=flip),
    "both checkpoints flipped": spoiled("last.ckpt", "last.ckpt.previous", spoil=flip),
    "two drivers": two_drivers,
}
