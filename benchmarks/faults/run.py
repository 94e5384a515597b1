"""Every fault that weeks of training bring, for real, and what it cost.

    python benchmarks/faults/run.py [--only NAME ...] [--twice]

Each fault hits a launch of two rows in a results folder of its own; then the same line is given
again, and what came of it is compared with a launch that nothing happened to: metrics, history,
detections and weights, bit for bit; no finished run trained again, no file half written, every
training and row in MLflow once. Prints and writes benchmarks/faults.json and faults.md.
Needs Linux; the fault of a full disk mounts a small tmpfs, and so needs root.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import pages  # noqa: E402
import photos  # noqa: E402
from scene import (  # noqa: E402
    STEPS,
    Process,
    Scene,
    broken_files,
    goes_on_after,
    is_alive,
    last_step,
    member,
    numbers,
    record_faults,
    remains,
    trainer,
    trainings,
    wait_for,
)

AWAY_SECONDS = 60.0
CHECKPOINTS = ("last.ckpt", "last.ckpt.previous")
DISK = "96m"  # holds the results, and not much more
TWO_PROCESSES = ("--gpus-per-run", "0", "--processes", "2", "--concurrent", "1")


@dataclass
class Outcome:
    """What a fault did, and what was left of it."""

    at_step: int | None = None  # where the run it hit stood
    lost_steps: int | None = None  # trained again
    seconds: float | None = None  # until training went on, from the fault or the line given again
    codes: list[int] = field(default_factory=list)  # exit codes of the launches
    note: str = ""
    problems: list[str] = field(default_factory=list)

    def check(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        self.problems += [] if holds else [problem]


Fault = Callable[[Scene, Outcome], None]


def ended(
    number: signal.Signals, *names: str, spoil: Callable[[Path], None] = Path.unlink
) -> Fault:
    """The launching process gets a signal in the middle of the second run; checkpoints of these
    names are damaged before the line is given again.
    """

    def fault(scene: Scene, outcome: Outcome) -> None:
        launch = scene.launch()
        folder = scene.under_way(launch)
        pid = trainer(folder)
        launch.kill(number)
        outcome.codes.append(launch.wait())
        wait_for(lambda: not is_alive(pid))
        outcome.at_step = last_step(folder)
        expected = -number if number == signal.SIGKILL else 130
        outcome.check(outcome.codes == [expected], f"exit code not {expected}")
        is_told = number == signal.SIGKILL or "the same line goes on" in launch.said()
        outcome.check(is_told, "did not say how to go on")
        outcome.problems += [f"half a file: {name}" for name in broken_files(scene.out)]
        for name in names:
            spoil(folder.path / name)
        outcome.check(len(broken_files(scene.out)) == len(names), "nothing was damaged")
        again(scene, outcome)

    return fault


def again(scene: Scene, outcome: Outcome) -> None:
    """The same line: what is finished stays, the other run goes on, the launch succeeds."""
    results = [it.path / "result.json" for it in scene.folders() if it.is_done]
    done = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in results}
    launch = scene.launch()
    if len(done) < 2:
        outcome.seconds = wait_for(lambda: trainings(launch.said()), launch)
        (step,) = goes_on_after(launch.said()) or [0]
        outcome.lost_steps = (outcome.at_step or 0) - step
    outcome.codes.append(launch.wait())
    after = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in done}
    outcome.check(after == done, "a finished run was trained again")
    count = trainings(launch.said())
    outcome.check(count == 2 - len(done), f"{count} trainings for {2 - len(done)} missing")


def retried(victim: Callable[[Scene, Process], int]) -> Fault:
    """A process of the second run is killed: the launch itself tries it again."""

    def fault(scene: Scene, outcome: Outcome) -> None:
        launch = scene.launch()
        folder = scene.under_way(launch)
        pid = trainer(folder)
        os.kill(victim(scene, launch), signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: not is_alive(pid), launch)
        outcome.at_step = last_step(folder)
        wait_for(lambda: goes_on_after(launch.said()), launch)
        outcome.seconds = time.monotonic() - killed
        outcome.lost_steps = outcome.at_step - goes_on_after(launch.said())[0]
        outcome.codes.append(launch.wait())
        outcome.check(launch.said().count(": retrying") == 1, "not tried again once")

    return fault


def records_away(scene: Scene, outcome: Outcome) -> None:
    """The MLflow server goes in the first run and is away for a minute while training ends."""
    server = scene.serve()
    launch = scene.launch()
    folder = scene.under_way(launch, number=0)
    outcome.at_step, outcome.lost_steps = last_step(folder), 0
    gone = time.monotonic()
    os.killpg(server.popen.pid, signal.SIGKILL)
    server.popen.wait()
    outcome.codes.append(launch.wait())
    is_told = "the next launch makes the records up" in launch.said()
    outcome.check(outcome.codes == [1] and is_told, f"exit code {outcome.codes}, or not told of")
    is_trained = trainings(launch.said()) == 2 and ": retrying" not in launch.said()
    outcome.check(is_trained, "training was disturbed")
    time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - gone)))
    outcome.note = f"away for {time.monotonic() - gone:.0f} s"
    scene.serve(urlsplit(scene.records).port)
    launch = scene.launch()
    outcome.codes.append(launch.wait())
    outcome.seconds = time.monotonic() - launch.begun
    outcome.check(not trainings(launch.said()), "trained again")


@contextmanager
def small_disk(scene: Scene) -> Iterator[Path]:
    """A disk of its own for the results; yields a file that takes what room there is."""
    scene.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(scene.out)]
    subprocess.run(mount, check=True)
    try:
        yield scene.out / "filler"
    finally:
        shutil.copytree(scene.out, scene.root / "kept")
        subprocess.run(["umount", "--lazy", str(scene.out)], check=True)
        scene.out.rmdir()
        (scene.root / "kept").rename(scene.out)


def disk_full(scene: Scene, outcome: Outcome) -> None:
    """No room for the second run's next checkpoint; the same line, once there is."""
    with small_disk(scene) as filler:
        launch = scene.launch()
        folder = scene.under_way(launch)
        outcome.at_step = last_step(folder)
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k", "status=none"])
        outcome.codes.append(launch.wait())
        is_full = outcome.codes == [1] and not folder.is_done
        outcome.check(is_full, "the disk was not full, or the launch did not say so")
        (reason,) = [line for line in launch.said().splitlines() if ": failed: " in line]
        outcome.note = reason.partition(": failed: ")[2]
        filler.unlink()
        again(scene, outcome)


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
    counts = [trainings(launch.said()) for launch in (first, second)]
    outcome.lost_steps = (sum(counts) - 2) * STEPS
    outcome.note = f"{counts[0]} and {counts[1]} runs trained"
    outcome.check(outcome.codes == [0, 0] and not outcome.lost_steps, "not once each")


FAULTS: dict[str, Fault] = {
    "driver SIGKILL": ended(signal.SIGKILL),
    "driver SIGTERM": ended(signal.SIGTERM),
    "driver Ctrl-C": ended(signal.SIGINT),
    "worker SIGKILL": retried(lambda scene, launch: trainer(scene.begun()[1])),
    "one of two processes SIGKILL": retried(lambda scene, launch: member(launch)),
    "MLflow away": records_away,
    "disk full": disk_full,
    "newest checkpoint cut": ended(signal.SIGKILL, CHECKPOINTS[0], spoil=cut),
    "newest checkpoint flipped": ended(signal.SIGKILL, CHECKPOINTS[0], spoil=flip),
    "both checkpoints flipped": ended(signal.SIGKILL, *CHECKPOINTS, spoil=flip),
    "two drivers": two_drivers,
}


def scene_of(name: str, root: Path, data: Path) -> Scene:
    root.mkdir(parents=True)
    return Scene(root, data, TWO_PROCESSES) if "two processes" in name else Scene(root, data)


def undisturbed(name: str, root: Path, data: Path) -> dict[str, tuple[object, ...]]:
    """The numbers of a launch of the same kind that nothing happens to."""
    scene = scene_of(name, root, data)
    launch = scene.launch()
    if launch.wait():
        raise RuntimeError(launch.said())
    return {folder.signature: numbers(folder) for folder in scene.folders()}


def try_fault(name: str, root: Path, data: Path, expected: dict[str, Any]) -> Outcome:
    """One fault in a fresh folder, and all that must hold afterwards."""
    scene, outcome = scene_of(name, root, data), Outcome()
    try:
        FAULTS[name](scene, outcome)
        outcome.check(outcome.codes[-1] == 0, f"exit code {outcome.codes[-1]}")
        folders = {it.signature: it for it in scene.folders()}
        for signature, given in expected.items():
            is_equal = signature in folders and numbers(folders[signature]) == given
            outcome.check(is_equal, f"{signature}: other numbers")
        outcome.problems += [f"half a file: {path}" for path in broken_files(scene.out)]
        outcome.problems += [f"left behind: {path}" for path in remains(scene.out)]
        outcome.problems += record_faults(scene, folders.values())
    except (TimeoutError, LookupError, subprocess.CalledProcessError) as error:
        outcome.problems.append((str(error).strip().splitlines() or ["nothing said"])[-1])
    finally:
        scene.end()
    outcome.note = outcome.note.replace(f"{scene.root}/", "")
    return outcome


def cells(name: str, outcome: Outcome) -> list[str]:
    """A line of the table."""
    is_equal = not any("other numbers" in text for text in outcome.problems)
    figures = (outcome.at_step, outcome.lost_steps, outcome.seconds)
    shown = ["" if value is None else f"{value:.0f}" for value in figures]
    codes = ", ".join(map(str, outcome.codes))
    verdict = "; ".join(outcome.problems) or outcome.note
    return [name, *shown, codes, "equal" if is_equal else "DIFFERENT", verdict]


def markdown(outcomes: list[tuple[str, Outcome]], where: str) -> str:
    """The page."""
    held = sum(not outcome.problems for _, outcome in outcomes)
    return pages.page(
        "faults/run.py --twice",
        "Faults",
        f"Two rows of {STEPS} steps, one after the other, with a checkpoint every ten; {where}.\n"
        f"**{held} of {len(outcomes)} held**: the numbers are those of a launch that nothing\n"
        "happened to, bit for bit (metrics, history, detections, weights); nothing finished was\n"
        "trained again, no file was half written, every training and row is in MLflow once.",
        "Seconds are from the fault, or from the line given again (the start of Python, Ray and\n"
        "MLflow included), until training went on; steps lost are those trained again.",
        pages.table(
            "fault|at step:|steps lost:|s to go on:|exit codes|numbers|",
            [cells(*pair) for pair in outcomes],
        ),
    )


def main() -> None:
    """Try every fault, print and write what came of it."""
    given = pages.options(__doc__, only=list(FAULTS), twice=False).parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    root = Path(tempfile.mkdtemp(prefix="atss-faults-"))
    data = photos.made_up(root / "photos", 12)
    expected: dict[bool, dict[str, Any]] = {}
    outcomes = []
    for number, name in enumerate(given.only * (2 if given.twice else 1)):
        kind = "two processes" in name
        if kind not in expected:
            expected[kind] = undisturbed(name, root / f"undisturbed-{kind}", data)
        folder = root / f"{number:02}-{name.replace(' ', '-')}"
        outcomes.append((name, try_fault(name, folder, data, expected[kind])))
        print(" | ".join(cells(*outcomes[-1])), flush=True)
    where = pages.machine()
    content = {"where": where, "faults": [{"fault": name, **asdict(o)} for name, o in outcomes]}
    pages.write(given.out, "faults", content, markdown(outcomes, where))
    print(f"Launches and their logs: {root}")
    sys.exit(any(outcome.problems for _, outcome in outcomes))


if __name__ == "__main__":
    main()
