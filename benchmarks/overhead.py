"""What Ray and MLflow cost, against the same training called directly, in one interleaved run.

    python benchmarks/overhead.py [--rounds 3] [--iterations 3000] [--at-once 1]

Two runs of Table 2, on generated images small enough that a step takes about as long as it does at
mini scale on a GPU. Direct: a fresh process per run that calls run_trial, and nothing else of ours.
Launched: `atss reproduce`'s own train_missing, with Ray, MLflow and the live view. They take turns;
what is compared are ratios of neighbours. Writes overhead.json and overhead.md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

SETTINGS = ["short_side=64,64", "batch_size=4", "evaluations=2"]
ROWS = (0, 1)
GOAL_SHARE, GOAL_SECONDS = 0.03, 10.0


# In a process of its own: what is measured


class Clock:
    """Names of what happens -> seconds since the process was asked for."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.marks: dict[str, float] = {}

    def mark(self, name: str) -> None:
        self.marks.setdefault(name, time.time() - self.begun)

    @contextmanager
    def around(self, name: str, inner: Any) -> Iterator[Any]:
        """Mark when a context manager is entered and left."""
        with inner as value:
            self.mark(f"{name} is there")
            yield value
            self.mark(f"{name} ends")
        self.mark(f"{name} is gone")


def plan_in(out: Path, iterations: int) -> tuple[Any, Any, Any]:
    """The plan of the two runs, their store and their data."""
    from orchestration.launch import open_plan
    from orchestration.plan import GENERATED, Setup, find_tables, resolve_scale
    from orchestration.run_folder import open_store

    recipe, changed = resolve_scale("demo", [*SETTINGS, f"iterations={iterations}"])
    store = open_store(out)
    store.require_writable()
    setup = Setup("demo", recipe, changed, "", "", GENERATED)
    rows = [str(row + 1) for row in ROWS]
    plan, data = open_plan(setup, store, find_tables(["table2"]), rows, [0])
    return plan, store, data


def direct(clock: Clock, out: Path, iterations: int, number: int) -> None:
    """One run, without Ray and MLflow."""
    clock.mark("Python is there")
    from orchestration.plan import Job
    from orchestration.trial import run_trial

    clock.mark("torch is there")
    plan, store, _ = plan_in(out, iterations)
    run = plan.runs[number]
    clock.mark("the data is there")
    job = Job(run.run, store.folder(run.signature).path, plan.setup.where, {})
    run_trial(job, lambda values: clock.mark(f"{values['state']} {number}"))


def launched(clock: Clock, out: Path, iterations: int, at_once: int) -> None:
    """Both runs, as `atss reproduce` trains them."""
    clock.mark("Python is there")
    from rich.console import Console

    from orchestration import launch, tracking, tune
    from orchestration.progress import Progress
    from orchestration.resources import Resources

    plan, store, data = plan_in(out, iterations)
    clock.mark("the data is there")
    order = {run.signature: number for number, run in enumerate(plan.runs)}

    class Watched(Progress):
        def update(self, signature: str, values: Any) -> None:
            super().update(signature, values)
            clock.mark(f"{values['state']} {order[signature]}")

    open_tracker, following, cluster = tracking.open_tracker, tracking.following, tune.cluster

    def opened(store: Any) -> Any:
        tracker = open_tracker(store)
        clock.mark("MLflow is there")
        return tracker

    tracking.open_tracker = opened
    tracking.following = lambda *given: clock.around("records", following(*given))
    tune.cluster = lambda *given, **more: clock.around("Ray", cluster(*given, **more))
    launch.Progress = Watched  # type: ignore[misc]
    with open(os.devnull, "w") as nowhere:
        resources = Resources(concurrent=at_once, gpus_per_run=0)
        launch.train_missing(plan, store, data, resources, Console(file=nowhere))


def measured(out: Path, *options: str) -> subprocess.Popen[str]:
    """Start this file again in a process of its own."""
    command = [sys.executable, str(HERE / "overhead.py"), *options, "--out", str(out)]
    settings = {"PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""}
    begun = ["--begun", repr(time.time())]
    return subprocess.Popen(
        [*command, *begun], env=os.environ | settings, stdout=subprocess.PIPE, text=True
    )


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """What such a process measured, and the seconds until it was gone."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"it ended with {process.returncode}")
    return json.loads(output.splitlines()[-1])


# Both, in turns


def spent(out: Path) -> list[dict[str, float]]:
    """What each run says of its own time: training, steps, testing, images."""
    from orchestration.run_folder import open_store

    return [folder.result()["spent"] for folder in open_store(out).folders()]  # type: ignore[index]


def run_direct(out: Path, iterations: int, at_once: int) -> dict[str, Any]:
    begun, marks = time.monotonic(), []
    for first in range(0, len(ROWS), at_once):
        started = [
            measured(out, "--direct", str(number), "--iterations", str(iterations))
            for number in ROWS[first : first + at_once]
        ]
        marks += [answer(process) for process in started]
    return {"wall": time.monotonic() - begun, "spent": spent(out), "marks": marks}


def run_launched(out: Path, iterations: int, at_once: int) -> dict[str, Any]:
    begun = time.monotonic()
    options = ["--launched", "--iterations", str(iterations), "--at-once", str(at_once)]
    marks = answer(measured(out, *options))
    return {"wall": time.monotonic() - begun, "spent": spent(out), "marks": marks}


def seconds_per_step(half: dict[str, Any]) -> float:
    return statistics.fmean(run["training"] / run["steps"] for run in half["spent"])


def work(half: dict[str, Any]) -> float:
    """Seconds of training and testing of both runs."""
    return sum(run["training"] + run["testing"] for run in half["spent"])


def fixed(marks: dict[str, float], at_once: int) -> dict[str, float]:
    """Where a launch's seconds go that are no training."""
    first = min(value for name, value in marks.items() if name.startswith("training "))
    starting = min(value for name, value in marks.items() if name.startswith("starting "))
    done = max(value for name, value in marks.items() if name.startswith("done "))
    parts = {
        "Python, plan, data": marks["the data is there"],
        "Ray starts, MLflow opens (at once)": max(marks["Ray is there"], marks["MLflow is there"])
        - marks["the data is there"],
        "Tune begins": starting - max(marks["Ray is there"], marks["MLflow is there"]),
        "first trial: its process, torch, data, detector": first - starting,
        "Tune ends": marks["records ends"] - done,
        "last records": marks["records is gone"] - marks["records ends"],
        "Ray ends": marks["Ray is gone"] - marks["records is gone"],
    }
    if at_once == 1:
        parts["from one trial's end to the next one's training"] = (
            marks["training 1"] - marks["done 0"]
        )
    return parts


def compare(pairs: list[tuple[dict[str, Any], dict[str, Any]]], at_once: int) -> dict[str, Any]:
    """The figures of all rounds: ratios of neighbours, medians."""
    median: Callable[[Any], float] = statistics.median
    per_step = [seconds_per_step(b) / seconds_per_step(a) for a, b in pairs]
    shares = [(work(b) - work(a)) / work(a) for a, b in pairs]
    extra = [(b["wall"] - work(b) / at_once) / len(ROWS) for _, b in pairs]
    own = [(a["wall"] - work(a) / at_once) / len(ROWS) for a, _ in pairs]
    parts = [fixed(b["marks"], at_once) for _, b in pairs]
    return {
        "ms per step": [
            1000 * median(map(seconds_per_step, half)) for half in zip(*pairs, strict=True)
        ],
        "ratio per step": {"median": median(per_step), "all": per_step},
        "share of training and testing": {"median": median(shares), "all": shares},
        "fixed seconds per trial": {"direct": median(own), "launched": median(extra), "all": extra},
        "fixed seconds of a launch": {
            name: median(part[name] for part in parts) for name in parts[0]
        },
    }


def markdown(found: dict[str, Any], where: str) -> str:
    """The page."""
    direct_ms, launched_ms = found["ms per step"]
    ratio, share = found["ratio per step"], found["share of training and testing"]
    seconds = found["fixed seconds per trial"]
    spread = " to ".join(f"{value:.3f}" for value in (min(ratio["all"]), max(ratio["all"])))
    lines = [
        "# What Ray and MLflow cost",
        "",
        f"{where}.",
        "",
        "| | direct | through Ray and MLflow | |",
        "|-|-:|-:|-|",
        f"| a step | {direct_ms:.1f} ms | {launched_ms:.1f} ms "
        f"| ratio {ratio['median']:.3f} ({spread}) |",
        f"| training and testing | | {100 * share['median']:+.1f} % | goal: at most "
        f"{100 * GOAL_SHARE:.0f} % |",
        f"| fixed, per trial | {seconds['direct']:.1f} s | {seconds['launched']:.1f} s | "
        f"{seconds['launched'] - seconds['direct']:+.1f} s; goal: at most {GOAL_SECONDS:.0f} s |",
        "",
        f"Where the fixed seconds of a launch of {len(ROWS)} trials go:",
        "",
        "| | s |",
        "|-|-:|",
        *(
            f"| {name} | {value:.1f} |"
            for name, value in found["fixed seconds of a launch"].items()
        ),
        "",
        "`python benchmarks/overhead.py`",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Take turns, print and write the page; or, started by itself, be one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    for hidden in ("--direct", "--begun"):
        parser.add_argument(hidden, type=float, help=argparse.SUPPRESS)
    parser.add_argument("--launched", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.begun:
        clock = Clock(given.begun)
        if given.launched:
            launched(clock, given.out, given.iterations, given.at_once)
        else:
            direct(clock, given.out, given.iterations, int(given.direct))
        print(json.dumps(clock.marks))
        return
    root, pairs = Path(tempfile.mkdtemp(prefix="atss-overhead-")), []
    for number in range(given.rounds):
        a = run_direct(root / f"{number}-direct", given.iterations, given.at_once)
        b = run_launched(root / f"{number}-launched", given.iterations, given.at_once)
        pairs.append((a, b))
        print(f"round {number + 1}: {seconds_per_step(b) / seconds_per_step(a):.3f} per step")
    found = compare(pairs, given.at_once)
    cores = len(os.sched_getaffinity(0))
    where = (
        f"{len(ROWS)} runs of {given.iterations} steps, {given.at_once} at once, "
        f"{given.rounds} rounds in turns, {cores} cores, {platform.machine()}, "
        f"Python {platform.python_version()}"
    )
    page = markdown(found, where)
    (given.out / "overhead.json").write_text(json.dumps({"where": where} | found, indent=1) + "\n")
    (given.out / "overhead.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
