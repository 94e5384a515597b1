"""What Ray and MLflow cost, against the same training called directly, in one interleaved run.

    python benchmarks/overhead.py [--rounds 3] [--iterations 3000] [--at-once 1]

Two runs of Table 2, on generated images small enough that a step takes about as long as it does at
mini scale on a GPU. Direct: a fresh process per run that calls run_trial, and nothing else of ours.
Launched: `atss reproduce`'s own train_missing, with Ray, MLflow and the live view. They take turns;
what is compared are ratios of neighbours. Writes overhead.json and overhead.md.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pages

SETTINGS = ["short_side=64,64", "batch_size=4", "evaluations=2"]
ROWS = (0, 1)
GOAL_SHARE, GOAL_SECONDS = 0.03, 10.0
Marks = dict[str, float]  # what happens -> seconds since the process was asked for


# In a process of its own: what is measured


def plan_in(out: Path, iterations: int) -> tuple[Any, Any, Any]:
    """The plan of the two runs, their store and their data."""
    from orchestration.launch import open_plan
    from orchestration.plan import asked_setup, find_tables
    from orchestration.run_folder import open_store

    store = open_store(out)
    store.require_writable()
    setup = asked_setup("demo", None, [*SETTINGS, f"iterations={iterations}"])
    rows = [str(row + 1) for row in ROWS]
    plan, data = open_plan(setup, store, find_tables(["table2"]), rows, [0])
    return plan, store, data


def direct(out: Path, iterations: int, number: int) -> None:
    """One run, without Ray and MLflow."""
    from orchestration.plan import Job
    from orchestration.trial import run_trial

    plan, store, _ = plan_in(out, iterations)
    run = plan.runs[number]
    job = Job(run.run, store.folder(run.signature).path, plan.setup.where, {})
    run_trial(job, lambda values: None)


def launched(out: Path, iterations: int, at_once: int, begun: float) -> Marks:
    """Both runs, as `atss reproduce` trains them."""
    from rich.console import Console

    from orchestration import launch, tracking, tune
    from orchestration.progress import Progress
    from orchestration.resources import Resources

    marks: Marks = {}

    def mark(name: str) -> None:
        marks.setdefault(name, time.time() - begun)

    @contextmanager
    def around(name: str, inner: Any) -> Iterator[Any]:
        with inner as value:
            mark(f"{name} is there")
            yield value
            mark(f"{name} ends")
        mark(f"{name} is gone")

    plan, store, data = plan_in(out, iterations)
    mark("the data is there")
    order = {run.signature: number for number, run in enumerate(plan.runs)}

    class Watched(Progress):
        def update(self, signature: str, values: Any) -> None:
            super().update(signature, values)
            mark(f"{values['state']} {order[signature]}")

    open_tracker, following, cluster = tracking.open_tracker, tracking.following, tune.cluster

    def opened(store: Any) -> Any:
        tracker = open_tracker(store)
        mark("MLflow is there")
        return tracker

    tracking.open_tracker = opened
    tracking.following = lambda *given: around("records", following(*given))
    tune.cluster = lambda *given, **more: around("Ray", cluster(*given, **more))
    launch.Progress = Watched  # type: ignore[misc]
    with open(os.devnull, "w") as nowhere:
        resources = Resources(concurrent=at_once, gpus_per_run=0)
        launch.train_missing(plan, store, data, resources, Console(file=nowhere))
    return marks


# Both, in turns


def measured(out: Path, at_once: int, work: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """Call it with each of the last given, in fresh processes; what it and the runs say it took."""
    *same, each = given
    begun = time.monotonic()
    with ProcessPoolExecutor(at_once, get_context("spawn"), max_tasks_per_child=1) as pool:
        started = [pool.submit(work, out, *same, it) for it in each]
        answers = [future.result() for future in started]
    wall = time.monotonic() - begun
    spent = [json.loads(it.read_text())["spent"] for it in out.glob("runs/*/result.json")]
    return {"wall": wall, "spent": spent, "marks": answers[0]}


def seconds_per_step(half: dict[str, Any]) -> float:
    return statistics.fmean(run["training"] / run["steps"] for run in half["spent"])


def work(half: dict[str, Any]) -> float:
    """Seconds of training and testing of both runs."""
    return sum(run["training"] + run["testing"] for run in half["spent"])


def fixed(marks: Marks, at_once: int) -> dict[str, float]:
    """Where a launch's seconds go that are no training."""

    def of(state: str) -> list[float]:
        return [value for name, value in marks.items() if name.startswith(state)]

    ends = {
        "Python, plan, data": marks["the data is there"],
        "Ray starts, MLflow opens (at once)": max(marks["Ray is there"], marks["MLflow is there"]),
        "Tune begins": min(of("starting ")),
        "first trial: its process, torch, data, detector": min(of("training ")),
        "": max(of("done ")),  # all training
        "Tune ends": marks["records ends"],
        "last records": marks["records is gone"],
        "Ray ends": marks["Ray is gone"],
    }
    begins = [0.0, *ends.values()]
    parts = {name: end - begun for (name, end), begun in zip(ends.items(), begins, strict=False)}
    del parts[""]
    if at_once == 1:
        between = marks["training 1"] - marks["done 0"]
        parts["from one trial's end to the next one's training"] = between
    return parts


def compare(pairs: list[tuple[dict[str, Any], dict[str, Any]]], at_once: int) -> dict[str, Any]:
    """The figures of all rounds: ratios of neighbours, medians."""
    median: Callable[[Any], float] = statistics.median
    per_step = [seconds_per_step(b) / seconds_per_step(a) for a, b in pairs]
    shares = [(work(b) - work(a)) / work(a) for a, b in pairs]
    own, extra = (
        [(half["wall"] - work(half) / at_once) / len(ROWS) for half in halves]
        for halves in zip(*pairs, strict=True)
    )
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
    ratio, share = found["ratio per step"], found["share of training and testing"]["median"]
    seconds, parts = found["fixed seconds per trial"], found["fixed seconds of a launch"]
    one, other = seconds["direct"], seconds["launched"]
    spread = f"{ratio['median']:.3f} ({min(ratio['all']):.3f} to {max(ratio['all']):.3f})"
    rows = [
        ("a step", f"{direct_ms:.1f} ms", f"{launched_ms:.1f} ms", f"ratio {spread}"),
        ("training and testing", "", f"{100 * share:+.1f} %")
        + (f"goal: at most {100 * GOAL_SHARE:.0f} %",),
        ("fixed, per trial", f"{one:.1f} s", f"{other:.1f} s")
        + (f"{other - one:+.1f} s; goal: at most {GOAL_SECONDS:.0f} s",),
    ]
    return pages.page(
        "overhead.py",
        "What Ray and MLflow cost",
        f"{where}.",
        pages.table("|direct:|through Ray and MLflow:|", rows),
        f"Where the fixed seconds of a launch of {len(ROWS)} trials go:",
        pages.table("|s:", [(name, f"{value:.1f}") for name, value in parts.items()]),
    )


def main() -> None:
    """Take turns, print and write the page."""
    given = pages.options(__doc__, rounds=3, iterations=3000, at_once=1).parse_args()
    own = {"PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""}
    os.environ.update(own)
    root, pairs = Path(tempfile.mkdtemp(prefix="atss-overhead-")), []
    steps, at_once = given.iterations, given.at_once
    for number in range(given.rounds):
        a = measured(root / f"{number}-direct", at_once, direct, steps, ROWS)
        out = root / f"{number}-launched"
        b = measured(out, 1, launched, steps, at_once, [time.time()])
        pairs.append((a, b))
        print(f"round {number + 1}: {seconds_per_step(b) / seconds_per_step(a):.3f} per step")
    where = (
        f"{len(ROWS)} runs of {steps} steps, {at_once} at once, {given.rounds} rounds in turns, "
        f"{pages.machine()}"
    )
    found = compare(pairs, at_once)
    pages.write(given.out, "overhead", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
