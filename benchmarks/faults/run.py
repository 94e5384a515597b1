"""Every fault that weeks of training bring, for real, and what it cost.

    python benchmarks/faults/run.py [--only NAME ...] [--twice]

Each fault hits a launch of two rows in a results folder of its own; then the same line is given
again, and what came of it is compared with a launch that nothing happened to: metrics, history,
detections and weights, bit for bit; no finished run trained again, no file half written, every
training and row in MLflow once. Prints a table, writes benchmarks/faults.json and faults.md.
Needs Linux; the fault of a full disk mounts a small tmpfs, and so needs root.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "faults")]

from faults import FAULTS, Outcome  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from scene import (  # noqa: E402
    STEPS,
    Scene,
    broken_files,
    numbers,
    record_faults,
    remains,
)

from tests.test_trial import write_small_data  # noqa: E402

TWO_PROCESSES = ("--gpus-per-run", "0", "--processes", "2", "--concurrent", "1")


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


def try_fault(
    name: str, root: Path, data: Path, expected: dict[str, tuple[object, ...]]
) -> Outcome:
    """One fault in a fresh folder, and all that must hold afterwards."""
    scene, outcome = scene_of(name, root, data), Outcome()
    try:
        FAULTS[name](scene, outcome)
        folders = scene.folders()
        outcome.problems += [] if outcome.codes[-1] == 0 else [f"exit code {outcome.codes[-1]}"]
        for folder in folders:
            if numbers(folder) != expected[folder.signature]:
                outcome.problems.append(f"{folder.signature} has other numbers")
        outcome.problems += [f"half a file: {path}" for path in broken_files(scene.out)]
        outcome.problems += [f"left behind: {path}" for path in remains(scene.out)]
        outcome.problems += record_faults(scene.store, scene.records, folders)
    except (TimeoutError, LookupError, subprocess.CalledProcessError) as error:
        outcome.problems.append((str(error).strip().splitlines() or ["nothing said"])[-1])
    finally:
        scene.end()
    outcome.note = outcome.note.replace(f"{scene.root}/", "")
    return outcome


HEADINGS = ("fault", "at step", "steps lost", "s to go on", "exit codes", "numbers", "")


def shown(name: str, outcome: Outcome) -> list[str]:
    """A line of the table."""
    is_equal = not any("other numbers" in text for text in outcome.problems)
    figures = (outcome.at_step, outcome.lost_steps, outcome.seconds)
    cells = ["" if value is None else f"{value:.0f}" for value in figures]
    codes = ", ".join(map(str, outcome.codes))
    verdict = "; ".join(outcome.problems) or outcome.note
    return [name, *cells, codes, "equal" if is_equal else "DIFFERENT", verdict]


def markdown(outcomes: list[tuple[str, Outcome]], where: str) -> str:
    """The page."""
    held = sum(not outcome.problems for _, outcome in outcomes)
    lines = [
        "# Faults",
        "",
        f"Two rows of {STEPS} steps, one after the other, with a checkpoint every ten; {where}.",
        f"**{held} of {len(outcomes)} held**: the numbers are those of a launch that nothing",
        "happened to, bit for bit (metrics, history, detections, weights); nothing finished was",
        "trained again, no file was half written, every training and row is in MLflow once.",
        "",
        "Seconds are from the fault, or from the line given again (the start of Python, Ray and",
        "MLflow included), until training went on; steps lost are those trained again.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|-|-:|-:|-:|-|-|-|",
        *("| " + " | ".join(shown(name, outcome)) + " |" for name, outcome in outcomes),
        "",
        "`python benchmarks/faults/run.py --twice`",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Try every fault, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="NAME")
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    console = Console(highlight=False, markup=False)
    root = Path(tempfile.mkdtemp(prefix="atss-faults-"))
    data = write_small_data(root / "squares")
    expected: dict[bool, dict[str, tuple[object, ...]]] = {}
    outcomes = []
    for number, name in enumerate(given.only * (2 if given.twice else 1)):
        kind = "two processes" in name
        if kind not in expected:
            expected[kind] = undisturbed(name, root / f"undisturbed-{kind}", data)
        outcome = try_fault(
            name, root / f"{number:02}-{name.replace(' ', '-')}", data, expected[kind]
        )
        outcomes.append((name, outcome))
        console.print(" | ".join(shown(name, outcome)), soft_wrap=True)
    table = Table(*HEADINGS, box=None)
    for name, outcome in outcomes:
        table.add_row(*shown(name, outcome))
    console.print(table)
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    where = f"{cores} cores, {system}"
    content = {"where": where, "faults": [{"fault": name, **asdict(o)} for name, o in outcomes]}
    (given.out / "faults.json").write_text(json.dumps(content, indent=1) + "\n")
    (given.out / "faults.md").write_text(markdown(outcomes, where))
    console.print(f"Launches and their logs: {root}")
    sys.exit(any(outcome.problems for _, outcome in outcomes))


if __name__ == "__main__":
    main()
