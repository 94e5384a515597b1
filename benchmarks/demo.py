"""Where the time of the README's first command goes: `atss reproduce table2`, on two cores.

    python benchmarks/demo.py [--before FOLDER] [--rounds 5] [--iterations 150]

A step: training on the embedded data set in a process like a trial's, cut at the borders of its
parts. The commands that only list. A launch: the command itself with fewer iterations, and what
each kind of its processes does. All in CPU seconds, which others on the machine disturb least; a
step's and the lists' also of FOLDER, an older copy of this code, in turns. Writes demo.json, .md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pages
import psutil

STEPS, WARM_UP = 40, 6
LISTS = ("--help", "tables", "status", "show table2")
RUNS, ITERATIONS, CORES = 4, 1100, 2  # of the command as it is
PARTS = {
    "load": "images, boxes",
    "select_samples": "assignment",
    "backbone": "backbone, forward",
    "head": "head, forward",
    "_losses": "losses",
    "backward": "backward",
    "clip_grad_norm_": "gradients clipped",
    "optimizer": "optimizer",
    "step": "**all**",
    "system": "of it in the kernel",
    "page faults": "page faults",
}

# A step, in a process of its own


def step_parts(steps: int) -> dict[str, float]:
    """CPU milliseconds of each part of a step, medians; "system": what of all the kernel takes."""
    import torch

    from detector import training
    from detector.data.batches import batches
    from detector.data.coco import open_data
    from detector.detector import Detector
    from experiments import TABLES
    from experiments.schedules import DEMO

    torch.set_num_threads(1)
    data = open_data("shapes").train
    config = TABLES["table2"].rows[-1].config
    detector, optimizer = training.assemble(config, DEMO, len(data.names), seed=0)
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*given: Any, **more: Any) -> Any:
            begun = time.thread_time()
            result = inner(*given, **more)
            spent[name].append(time.thread_time() - begun)
            return result

        return outer

    loaded = batches(data, DEMO, seed=0)
    load = timed("load", lambda: next(loaded))
    for name, owner, called in (
        ("select_samples", Detector, "select_samples"),
        ("_losses", Detector, "_losses"),
        ("backbone", detector.backbone, "forward"),
        ("head", detector.head, "forward"),
        ("backward", torch.Tensor, "backward"),
        ("clip_grad_norm_", torch.nn.utils, "clip_grad_norm_"),
        ("optimizer", optimizer, "step"),
    ):
        setattr(owner, called, timed(name, getattr(owner, called)))
    loop = training.train(detector, optimizer, iter(load, None), DEMO)
    advance = timed("step", lambda: next(loop))
    for _ in range(WARM_UP):
        advance()
    before = resource.getrusage(resource.RUSAGE_THREAD)
    for _ in range(steps):
        advance()
    after = resource.getrusage(resource.RUSAGE_THREAD)
    medians = {name: 1000 * statistics.median(values[-steps:]) for name, values in spent.items()}
    return medians | {
        "system": 1000 * (after.ru_stime - before.ru_stime) / steps,
        "page faults": (after.ru_minflt - before.ru_minflt) / steps,
    }


def environment(code: Path, **more: str) -> dict[str, str]:
    """For this copy of the code; bytecode is kept."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(code)} | more


def answer(code: Path, *line: str, **more: str) -> str:
    """The last line that Python prints with this copy of the code, in one thread."""
    variables = environment(code, OMP_NUM_THREADS="1", **more)
    command = [sys.executable, *line]
    return subprocess.check_output(command, cwd=code, env=variables, text=True).splitlines()[-1]


# The commands that list


def measure_list(code: Path, command: str, out: Path) -> float:
    """CPU seconds of a command, from its start to its end."""
    options = ["--out", str(out)] if command == "status" else []
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer(code, "-m", "orchestration.cli", *command.split(), *options)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


# A launch


class Spent:
    """CPU seconds of a process and of all that it starts, by kind."""

    def __init__(self, pid: int) -> None:
        self.first = psutil.Process(pid)
        self.kinds: dict[int, str] = {}
        self.seconds: dict[int, float] = {}

    def look(self) -> None:
        """Note what each has spent until now."""
        with suppress(psutil.NoSuchProcess):
            for process in [self.first, *self.first.children(recursive=True)]:
                with suppress(psutil.Error):  # it has ended meanwhile
                    times, line = process.cpu_times(), " ".join(process.cmdline())
                    if line or process.pid not in self.kinds:  # one that has just ended has none
                        self.kinds[process.pid] = _kind(line, self.kinds.get(process.pid, ""))
                    self.seconds[process.pid] = times.user + times.system

    def by_kind(self) -> dict[str, float]:
        """The seconds of each kind."""
        total: dict[str, float] = defaultdict(float)
        for pid, seconds in self.seconds.items():
            total[self.kinds[pid]] += seconds
        return dict(total)


def _kind(line: str, before: str) -> str:
    if "ipykernel" in line:
        return "the report's notebook"
    if "ray::" in line and "IDLE" not in line or before == "trials":
        return "trials"
    return "the command itself" if "orchestration.cli" in line else "Ray's own"


def measure_launch(code: Path, iterations: int, out: Path) -> dict[str, Any]:
    """Run the command; CPU seconds by kind of process, and when what was there."""
    line = ["-m", "orchestration.cli", "reproduce", "table2", "--out", str(out)]
    line += ["--set", f"iterations={iterations}"]
    begun, marks = time.time(), dict[str, float]()
    at: dict[str, dict[str, float]] = {}
    with (out.parent / "log.txt").open("w") as log:
        command = subprocess.Popen(
            [sys.executable, *line], cwd=code, env=environment(code), stdout=log, stderr=log
        )
        seen = Spent(command.pid)
        while command.poll() is None:
            seen.look()
            for what, pattern, count in (
                ("first run begins", "runs/*/run.json", 1),
                ("first step", "runs/*/history.jsonl", 1),
                ("last run ends", "runs/*/result.json", RUNS),
            ):
                if what not in marks and len(list(out.glob(pattern))) >= count:
                    marks[what], at[what] = time.time() - begun, seen.by_kind()
            time.sleep(0.2)
    marks["end"], at["end"] = time.time() - begun, seen.by_kind()
    if command.returncode:
        raise RuntimeError((out.parent / "log.txt").read_text())
    results = [json.loads(path.read_text())["spent"] for path in out.glob("runs/*/result.json")]
    spent = {name: sum(one[name] for one in results) for name in results[0]}
    return {"seconds": marks, "CPU seconds until": at, "of the runs": spent}


# The page


def markdown(found: dict[str, Any], where: str) -> str:
    """The page."""
    launch, total = found["launch"], found["whole, CPU s"]
    spent = launch["CPU seconds until"]
    kinds = sorted(spent["end"])
    return pages.page(
        "demo.py",
        "Where the demo's time goes",
        f"{where}. All is CPU time.",
        _beside("a training step, ms", found["step, ms"], PARTS, 1),
        _beside("command, s", found["lists, s"], {it: f"`atss {it}`" for it in LISTS}, 2),
        f"`atss reproduce table2` with {found['iterations']} of {ITERATIONS} iterations:",
        pages.table(
            "until|wall, s:|" + "|".join(f"{kind}:" for kind in kinds),
            [
                (what, f"{launch['seconds'][what]:.0f}")
                + tuple(f"{values.get(kind, 0):.1f}" for kind in kinds)
                for what, values in spent.items()
            ],
        ),
        f"With all iterations: {total:.0f} CPU seconds, on {CORES} idle cores at least "
        f"{total / CORES / 60:.1f} minutes (goal: under 5).",
    )


def _beside(
    what: str, copies: dict[str, dict[str, float]], names: dict[str, str], digits: int
) -> str:
    """A column for each copy of the code, and of two their ratio."""
    rows = []
    for key, name in names.items():
        values = [copy[key] for copy in copies.values()]
        cells = [f"{value:.{digits if key != 'page faults' else 0}f}" for value in values]
        share = [f"{values[-1] / values[0]:.2f}" if values[0] else ""] if len(values) > 1 else []
        rows.append([name, *cells, *share])
    heads = [what, *(f"{copy}:" for copy in copies), *["ratio:"] * (len(copies) > 1)]
    return pages.table("|".join(heads), rows)


def measure(codes: dict[str, Path], rounds: int, iterations: int) -> dict[str, Any]:
    """All three; step and lists of each copy of the code, in turns."""
    ask = "import json; from orchestration.tune import SETTINGS; print(json.dumps(SETTINGS))"
    settings = {name: json.loads(answer(code, "-c", ask)) for name, code in codes.items()}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    lists: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory(prefix="atss-demo-") as folder:
        out = Path(folder, "results")
        launch = measure_launch(codes["now"], iterations, out)
        for number in range(rounds):
            for name, code in codes.items():
                step = answer(code, __file__, "--step", **settings[name])  # as in a trial's process
                steps[name].append(json.loads(step))
                lists[name].append({it: measure_list(code, it, out) for it in LISTS})
            print(f"round {number + 1}:", {name: steps[name][-1]["step"] for name in codes})
    step = {name: _medians(values) for name, values in steps.items()}
    left_out = RUNS * (ITERATIONS - iterations) * step["now"]["step"] / 1000
    return {
        "step, ms": step,
        "lists, s": {name: _medians(values) for name, values in lists.items()},
        "launch": launch,
        "iterations": iterations,
        "whole, CPU s": sum(launch["CPU seconds until"]["end"].values()) + left_out,
        "rounds": {"step, ms": steps, "lists, s": lists},
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def main() -> None:
    """Measure, print and write the page; with --step be the process that trains."""
    parser = pages.options(__doc__, before="", rounds=5, iterations=150)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        # Ray calls a trial in a thread that is not the first, where malloc behaves in another way.
        print(json.dumps(ThreadPoolExecutor(1).submit(step_parts, STEPS).result()))
        return
    older = {"before": Path(given.before).absolute()} if given.before else {}
    found = measure(older | {"now": pages.HERE.parent}, given.rounds, given.iterations)
    where = f"{given.rounds} rounds in turns, {pages.machine()}"
    pages.write(given.out, "demo", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
