"""What a plan costs before it is paid: seconds of a run, wall time, device hours, disk.

The pace is that of the last finished run of the same recipe. Without one, as many runs as will
train at once begin on the machines in question, so that what they take from one another (memory
bandwidth, cores, a shared GPU) is in the numbers, and are ended and removed when it is known.
"""

import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from rich.filesize import decimal

from detector.config import Recipe
from experiments.experiment import Run, canonical
from orchestration.launch import load_weights
from orchestration.plan import Job, Plan, PlannedRun
from orchestration.progress import duration
from orchestration.resources import Allocation, Resources, Spent, evaluation_steps
from orchestration.run_folder import RunFolder, Store
from orchestration.terminal import console, show_plan

SECONDS = 15.0  # to time a run, or two reports of it if they take longer
WARM_UP = 2  # steps that do not count: allocators, caches and kernels get ready
START_SECONDS = 5.0  # of a trial before its first step: torch and the data set are loaded
COPIES_WHILE_RUNNING = 3  # of a checkpoint: the newest, the one before, and one being written
COPIES_AFTERWARDS = 2  # of weights and detections: the folder's and MLflow's
BYTES_PER_DETECTION = 120


class Pace(NamedTuple):
    """How long a run takes on some device, and where that is known from."""

    spent: Spent
    source: str
    checkpoint_bytes: int


def show_cost(plan: Plan, store: Store, resources: Resources, num_images: int) -> None:
    """Print a plan and its cost; num_images: of the validation set."""
    from orchestration.tune import cluster

    missing, recipe = plan.missing(store), plan.setup.recipe
    if not missing:
        console.print(show_plan(plan, store))
        return
    with cluster(resources, recipe) as allocation:
        at_once = min(allocation.at_once, len(missing))
        pace = finished_pace(missing[0].run, store, allocation)
        pace = pace or measured_pace(plan, store, allocation, at_once, resources.micro_batch_size)
    seconds = [run_seconds(run, recipe, pace.spent, num_images) for run in missing]
    times = {run.signature: duration(it) for run, it in zip(missing, seconds, strict=True)}
    console.print(show_plan(plan, store, times))
    devices = allocation.processes * (allocation.gpus or allocation.cpus)
    console.print(
        f"Time: {duration(sum(seconds) / len(missing))} a run ({pace.source}), {at_once} at once: "
        f"{duration(wall_time(seconds, at_once))} in all, "
        f"{sum(seconds) * devices / 3600:.1f} {'GPU' if allocation.gpus else 'CPU core'} hours"
    )
    detections = num_images * recipe.max_detections * BYTES_PER_DETECTION
    final = len(missing) * COPIES_AFTERWARDS * (pace.checkpoint_bytes // 2 + detections)
    peak = final + at_once * COPIES_WHILE_RUNNING * pace.checkpoint_bytes
    console.print(f"Disk: {decimal(peak)} at most, {decimal(final)} when all is done")


def run_seconds(run: PlannedRun, recipe: Recipe, spent: Spent, num_images: int) -> float:
    """Of a run of a plan with that recipe; num_images: on which AP is measured."""
    steps, images = recipe.iterations, 1.0 * num_images
    if run.training is None:
        images *= len(evaluation_steps(recipe, num_images))
    else:  # a test in another way, which trains nothing
        from detector.evaluation.multi_scale import relative_cost  # imports torch

        steps, images = 0, images * relative_cost(run.run.recipe)
    return START_SECONDS + spent.seconds_for(steps, images, recipe)


def wall_time(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these runs ends, each starting as soon as one of at_once places is free."""
    places = [0.0] * max(1, at_once)
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def finished_pace(run: Run, store: Store, allocation: Allocation) -> Pace | None:
    """That of the last finished run of its recipe and data on such a device; None if none is."""
    ours = (canonical(run)["recipe"], run.data, str(allocation.processes), bool(allocation.gpus))
    for folder in reversed(store.folders()):
        facts, taken = folder.facts(), (folder.result() or {}).get("spent")
        where = facts.get("environment", {})
        device = where.get("processes", "1"), where.get("gpu", "none") != "none"
        theirs = (facts["canonical"]["recipe"], facts["data"]["fingerprint"], *device)
        if taken and taken["steps"] and theirs == ours:
            weights = folder.weights.stat().st_size if folder.weights.exists() else 0
            return Pace(Spent(**taken), f"as run {folder.signature}, {_device(where)}", 2 * weights)
    return None


def measured_pace(
    plan: Plan, store: Store, allocation: Allocation, at_once: int, micro_batch_size: int | None
) -> Pace:
    """That of the first missing run, of which so many begin; ValueError if it cannot train."""
    from orchestration.tune import run_trials

    run = plan.missing(store)[0].run
    load_weights([run.recipe])
    console.print(f"Measuring the time of a run, {at_once} at once: about a minute")
    with TemporaryDirectory(dir=store.root, ignore_cleanup_errors=True) as places:
        watch = Stopwatch([RunFolder(Path(places, str(number))) for number in range(at_once)])
        how: dict[str, Any] = {"where": plan.setup.where, "micro_batch_size": micro_batch_size}
        jobs = [Job(run, folder.path, facts={}, **how) for folder in watch.folders]
        run_trials(jobs, allocation, watch.tell, root=store.root)
        return watch.pace()


class Stopwatch:
    """Times the first of some runs that train at once, and asks all to end when that is done."""

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        self.folders, self.timed = folders, folders[0]
        self.marks: list[tuple[int, float]] = []  # steps, and when it reached them

    def tell(self, signature: str, values: Mapping[str, Any]) -> None:
        """Note when it reached which step, between two tests of it."""
        state = values.get("state")
        if signature != self.timed.signature:
            return
        if state == "training" and values["step"] >= WARM_UP:
            self.marks.append((values["step"], monotonic()))
        spent = self._spent()
        if spent.steps and (state == "testing" or spent.training > SECONDS):
            for folder in self.folders:
                folder.write("cancel", {"by": "atss plan"})
        elif state == "testing":
            self.marks.clear()

    def _spent(self) -> Spent:
        """Between the first mark and the last."""
        if not self.marks:
            return Spent()
        (first, begun), (last, ended) = self.marks[0], self.marks[-1]
        return Spent(ended - begun, last - first)

    def pace(self) -> Pace:
        """What was timed; ValueError where nothing trained, with the reason."""
        folder, result = self.timed, self.timed.result()
        spent = Spent(**result["spent"]) if result else self._spent()  # over before it was known?
        if not spent.steps:
            reason = (folder.failure() or {}).get("reason", "it crashed")
            raise ValueError(f"the time of a run could not be measured: {reason}")
        saved = [path for path in (folder.checkpoint, folder.weights) if path.exists()]
        size = sum(path.stat().st_size for path in saved)
        return Pace(spent, f"measured, {_device(folder.read('run')['environment'])}", size)


def _device(environment: Mapping[str, str]) -> str:
    return environment["cpu"] if environment["gpu"] == "none" else environment["gpu"]
