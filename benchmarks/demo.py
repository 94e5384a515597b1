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
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from processes import Processes

HERE = Path(__file__).parent
STEPS, WARM_UP = 40, 6
LISTS = ("--help", "tables", "status", "show table2")
RUNS, ITERATIONS, CORES = 4, 1100, 2  # of the command as it is
NOTES = "## Tried, and left"
PARTS = {
    "load": "images, boxes",
    "select_samples": "assignment",
    "backbone": "backbone, forward",
    "head": "head, forward",
    "_losses": "losses",
    "backward": "backward",
    "clip_grad_norm_": "gradients clipped",
    "optimizer": "optimizer",
}

# A step, in a process of its own


def step_parts(steps: int) -> dict[str, float]:
    """CPU milliseconds of each part of a step, medians; "system": what of all the kernel takes."""
    found: dict[str, float] = {}
    # Ray calls a trial in a thread that is not the first, where malloc behaves in another way.
    thread = threading.Thread(target=lambda: found.update(_train(steps)))
    thread.start()
    thread.join()
    return found


def _train(steps: int) -> dict[str, float]:
    import resource

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
    for owner, name in ((Detector, "select_samples"), (Detector, "_losses")):
        setattr(owner, name, timed(name, getattr(owner, name)))
    for part in ("backbone", "head"):
        module = getattr(detector, part)
        module.forward = timed(part, module.forward)
    torch.Tensor.backward = timed("backward", torch.Tensor.backward)  # type: ignore[method-assign]
    clip = torch.nn.utils.clip_grad_norm_
    torch.nn.utils.clip_grad_norm_ = timed("clip_grad_norm_", clip)
    optimizer.step = timed("optimizer", optimizer.step)  # type: ignore[method-assign]
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


def trial_settings(code: Path) -> dict[str, str]:
    """What this code sets in the environment of a trial's process."""
    ask = "import json; from orchestration.tune import SETTINGS; print(json.dumps(SETTINGS))"
    return json.loads(_python(code, "-c", ask).stdout.splitlines()[-1])


def measure_step(code: Path, settings: dict[str, str]) -> dict[str, float]:
    """The parts of a step of this code, measured by this file in a process of its own."""
    answer = _python(code, str(HERE / "demo.py"), "--step", more=settings)
    return json.loads(answer.stdout.splitlines()[-1])


def _python(
    code: Path, *line: str, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python on this copy of the code; one thread, and bytecode is kept."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"} | (more or {})
    return subprocess.run(
        [sys.executable, *line], cwd=code, env=environment, text=True, stdout=-1, check=True
    )


# The commands that list


def measure_list(code: Path, command: str, out: Path) -> float:
    """CPU seconds of a command, from its start to its end."""
    import resource

    options = ["--out", str(out)] if command == "status" else []
    line = ["-m", "orchestration.cli", *command.split(), *options]
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(code, *line)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


# A launch


def measure_launch(code: Path, iterations: int, out: Path) -> dict[str, Any]:
    """Run the command; CPU seconds by kind of process, and when what was there."""
    word = f"ATSS_DEMO={uuid.uuid4().hex}"
    line = ["-m", "orchestration.cli", "reproduce", "table2", "--out", str(out)]
    line += ["--set", f"iterations={iterations}"]
    name, _, value = word.partition("=")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(code), name: value}
    begun, marks, seen = time.time(), {}, Processes(word)
    at: dict[str, dict[str, float]] = {}
    with (out.parent / "log.txt").open("w") as log:
        command = subprocess.Popen(
            [sys.executable, *line], cwd=code, env=environment, stdout=log, stderr=log
        )
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


def whole(launch: dict[str, Any], iterations: int, step_ms: float) -> float:
    """CPU seconds of the command as it is: a launch's, with the steps that it left out."""
    return sum(launch["CPU seconds until"]["end"].values()) + (
        RUNS * (ITERATIONS - iterations) * step_ms / 1000
    )


# The page


def page(found: dict[str, Any], where: str) -> str:
    """The tables, in Markdown."""
    steps, lists = found["step, ms"], found["lists, s"]
    parts = {**PARTS, "step": "**all**", "system": "of it in the kernel"}
    total = found["whole, CPU s"]
    lines = [
        "# Where the demo's time goes",
        "",
        f"{where}. All is CPU time.",
        "",
        *_head("a training step, ms", list(steps)),
        *(_row(what, [it[part] for it in steps.values()], 1) for part, what in parts.items()),
        _row("page faults", [it["page faults"] for it in steps.values()], 0),
        "",
        *_head("command, s", list(steps)),
        *(_row(f"`atss {what}`", [it[what] for it in lists.values()], 2) for what in LISTS),
        "",
        f"`atss reproduce table2` with {found['iterations']} of {ITERATIONS} iterations:",
        "",
        *_launch(found["launch"]),
        "",
        f"With all iterations: {total:.0f} CPU seconds, on {CORES} idle cores at least "
        f"{total / CORES / 60:.1f} minutes (goal: under 5).",
        "",
        "`python benchmarks/demo.py`",
        "",
    ]
    return "\n".join(lines)


def _head(what: str, names: list[str]) -> list[str]:
    columns = [*names, "ratio"] if len(names) > 1 else names
    return [f"| {what} | {' | '.join(columns)} |", "|-|" + "-:|" * len(columns)]


def _row(what: str, values: list[float], digits: int) -> str:
    cells = [f"{value:.{digits}f}" for value in values]
    if len(values) > 1:
        cells.append(f"{values[-1] / values[0]:.2f}" if values[0] else "")
    return f"| {what} | {' | '.join(cells)} |"


def _launch(launch: dict[str, Any]) -> list[str]:
    """When what was there, and what each kind of process had spent by then, in seconds."""
    spent = launch["CPU seconds until"]
    kinds = sorted(spent["end"])
    lines = [f"| until | wall, s | {' | '.join(kinds)} |", "|-|-:|" + "-:|" * len(kinds)]
    for what, values in spent.items():
        cells = [f"{values.get(kind, 0):.1f}" for kind in kinds]
        lines.append(f"| {what} | {launch['seconds'][what]:.0f} | {' | '.join(cells)} |")
    return lines


def measure(codes: dict[str, Path], rounds: int, iterations: int) -> dict[str, Any]:
    """All three; step and lists of each copy of the code, in turns."""
    settings = {name: trial_settings(code) for name, code in codes.items()}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    lists: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory(prefix="atss-demo-") as folder:
        out = Path(folder, "results")
        launch = measure_launch(codes["now"], iterations, out)
        for number in range(rounds):
            for name, code in codes.items():
                steps[name].append(measure_step(code, settings[name]))
                lists[name].append({it: measure_list(code, it, out) for it in LISTS})
            print(f"round {number + 1}:", {name: steps[name][-1]["step"] for name in codes})
    step = {name: _medians(values) for name, values in steps.items()}
    return {
        "step, ms": step,
        "lists, s": {name: _medians(values) for name, values in lists.items()},
        "launch": launch,
        "iterations": iterations,
        "whole, CPU s": whole(launch, iterations, step["now"]["step"]),
        "rounds": {"step, ms": steps, "lists, s": lists},
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def main() -> None:
    """Measure, print and write the page; with --step be the process that trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a folder with an older copy of this code")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step_parts(STEPS)))
        return
    older = {"before": given.before.absolute()} if given.before else {}
    found = measure(older | {"now": HERE.parent}, given.rounds, given.iterations)
    where = (
        f"{given.rounds} rounds in turns, {len(os.sched_getaffinity(0))} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}; "
        f"load of the machine {os.getloadavg()[0]:.0f}"
    )
    text, file = page(found, where), given.out / "demo.md"
    print(text)
    (given.out / "demo.json").write_text(json.dumps({"where": where} | found, indent=1) + "\n")
    notes = file.read_text().partition(NOTES)[2] if file.exists() else ""  # by hand
    file.write_text(text + (f"\n{NOTES}{notes}" if notes else ""))


if __name__ == "__main__":
    main()
