"""What a plan costs before it is paid: seconds of a run, wall time, device hours, disk.

The pace is that of finished runs of the same recipe where there are some. Else as many runs as will
train at once begin on the machines in question, so that what they take from one another (memory
bandwidth, cores, a shared GPU) is in the numbers, and are ended and removed when it is known.
"""

import heapq
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from rich.filesize import decimal

from detector.config import Recipe
from experiments.experiment import Run, canonical
from orchestration.launch import load_weights
from orchestration.plan import Job, Plan, PlannedRun
from orchestration.progress import duration
from orchestration.resources import Allocation, Resources, Spent, allocate, this_machine
from orchestration.run_folder import RunFolder, Store
from orchestration.terminal import console, show_plan

PACES = "paces"  # how the folder begins where runs are timed
SECONDS = 15.0  # to time a run, or two reports of it if they take longer
WARM_UP = 2  # steps that do not count: allocators, caches and kernels get ready
START_SECONDS = 5.0  # of a trial before its first step: torch and the data set are loaded
COPIES_WHILE_RUNNING = 3  # of a checkpoint: the newest, the one before, and one being written
COPIES_AFTERWARDS = 2  # of weights and detections: the folder's and MLflow's
BYTES_PER_DETECTION = 120


@dataclass(frozen=True)
class Pace:
    """How long a run takes on some device, and where that is known from."""

    spent: Spent
    source: str
    checkpoint_bytes: int = 0


def show_cost(
    plan: Plan, store: Store, resources: Resources, num_images: int, *, is_measured: bool
) -> None:
    """Print a plan and its cost; is_measured: a pace that is not known may be measured.

    num_images: of the validation set.
    """
    missing, recipe = plan.missing(store), plan.setup.recipe
    if not missing:
        console.print(show_plan(plan, store))
        return
    pace, allocation = _pace_there(plan, store, resources, is_measured=is_measured)
    seconds = [run_seconds(run, recipe, pace, num_images) for run in missing if pace]
    times = {run.signature: duration(it) for run, it in zip(missing, seconds, strict=False)}
    console.print(show_plan(plan, store, times))
    if pace is None:
        console.print("Time: unknown yet, atss plan measures it")
        return
    at_once, total = min(allocation.at_once, len(missing)), sum(seconds)
    devices = allocation.processes * (allocation.gpus or allocation.cpus)
    console.print(
        f"Time: {duration(total / len(missing))} a run ({pace.source}), {at_once} at once: "
        f"{duration(wall_time(seconds, at_once))} in all, "
        f"{total * devices / 3600:.1f} {'GPU' if allocation.gpus else 'CPU core'} hours"
    )
    detections = num_images * recipe.max_detections * BYTES_PER_DETECTION
    final = len(missing) * COPIES_AFTERWARDS * (pace.checkpoint_bytes // 2 + detections)
    peak = final + at_once * COPIES_WHILE_RUNNING * pace.checkpoint_bytes
    console.print(f"Disk: {decimal(peak)} at most, {decimal(final)} when all is done")
    recipes = [asdict(run.run.recipe) for run in missing]
    if varied := [name for name in recipes[0] if len({it[name] for it in recipes}) > 1]:
        of = missing[0].rows[0]
        console.print(f"The pace is that of {of}: for another {', '.join(varied)} it is a guess")


def run_seconds(run: PlannedRun, recipe: Recipe, pace: Pace, num_images: int) -> float:
    """Of a run of a plan with that recipe; num_images: on which AP is measured."""
    if run.training is None:
        return START_SECONDS + pace.spent.whole_run(recipe, num_images)
    from detector.evaluation.multi_scale import relative_cost  # imports torch

    # a test in another way, which trains nothing
    per_image = pace.spent.per_image(recipe.batch_size) * relative_cost(run.run.recipe)
    return START_SECONDS + num_images * per_image


def wall_time(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these runs ends, each starting as soon as one of at_once places is free."""
    places = [0.0] * max(1, at_once)
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def _pace_there(
    plan: Plan, store: Store, resources: Resources, *, is_measured: bool
) -> tuple[Pace | None, Allocation]:
    """The pace of the first missing run, None if it is not known, and what a run gets there."""
    from orchestration.tune import cluster, run_trials

    missing, recipe = plan.missing(store), plan.setup.recipe
    run, is_here = missing[0].run, resources.address is None
    with ExitStack() as stack:
        if is_here:  # what cannot be had is refused here as by a launch
            allocation = allocate([this_machine(recipe)], resources, recipe)
        else:
            allocation = stack.enter_context(cluster(resources, recipe))
        pace = finished_pace(run, store, allocation)
        if pace is not None or not is_measured:
            return pace, allocation
        load_weights([run.recipe])
        if is_here:
            stack.enter_context(cluster(resources, recipe))
        at_once = min(allocation.at_once, len(missing))
        console.print(f"Measuring the time of a run, {at_once} at once: about a minute")
        places = store.root / f"{PACES}-{os.getpid()}"
        stack.callback(shutil.rmtree, places, ignore_errors=True)
        watch = Stopwatch([places / str(number) for number in range(at_once)])
        micro, where = resources.micro_batch_size, plan.setup.where
        job = Job(run, places, where, {}, micro_batch_size=micro)
        jobs = [replace(job, folder=folder.path) for folder in watch.folders.values()]
        run_trials(jobs, allocation, watch.tell, root=store.root)
        return watch.pace(), allocation


def finished_pace(run: Run, store: Store, allocation: Allocation) -> Pace | None:
    """By finished runs of its recipe and data on such a device; None if there are none."""
    ours = (canonical(run)["recipe"], run.data, str(allocation.processes), bool(allocation.gpus))
    spent, weights, source = [], 0, ""
    for folder in store.folders():
        facts, taken = folder.facts(), (folder.result() or {}).get("spent")
        where = facts.get("environment", {})
        device = where.get("processes", "1"), where.get("gpu", "none") != "none"
        theirs = (facts["canonical"]["recipe"], facts["data"]["fingerprint"], *device)
        if taken and taken["steps"] and theirs == ours:
            spent.append(Spent(**taken))
            source = _device(where)
            if folder.weights.exists():
                weights = folder.weights.stat().st_size
    if not spent:
        return None
    per_image = median(one.per_image(run.recipe.batch_size) for one in spent)
    typical = Spent(median(one.per_step() for one in spent), 1, per_image, 1)
    return Pace(typical, f"by {len(spent)} finished, {source}", 2 * weights)


def _device(environment: Mapping[str, str]) -> str:
    return environment["cpu"] if environment["gpu"] == "none" else environment["gpu"]


class Stopwatch:
    """Times runs while they train, and asks each to end when its pace is known."""

    def __init__(self, places: Sequence[Path], clock: Callable[[], float] = monotonic) -> None:
        self.folders = {place.name: RunFolder(place) for place in places}
        self.marks: dict[str, list[tuple[int, float]]] = {place.name: [] for place in places}
        self.clock = clock

    def tell(self, signature: str, values: Mapping[str, Any]) -> None:
        """Note when a run reached which step, between two tests of it."""
        marks, state = self.marks[signature], values.get("state")
        if state == "training" and values["step"] >= WARM_UP:
            marks.append((values["step"], self.clock()))
        is_known = len(marks) > 1 and marks[-1][0] > marks[0][0]
        if is_known and (state == "testing" or marks[-1][1] - marks[0][1] > SECONDS):
            self.folders[signature].write("cancel", {"by": "atss plan"})
        elif state == "testing":
            marks.clear()

    def pace(self) -> Pace:
        """Of all runs together; ValueError where none trained, with the reason."""
        parts = [Spent()]
        for name, folder in self.folders.items():
            marks = self.marks[name]
            if result := folder.result():  # it was over before its pace was known
                parts.append(Spent(**result["spent"]))
            elif marks:
                (first, begun), (last, ended) = marks[0], marks[-1]
                parts.append(Spent(ended - begun, last - first))
        spent = Spent(*map(sum, zip(*map(astuple, parts), strict=True)))
        folder = next(iter(self.folders.values()))
        if not spent.steps:
            reason = (folder.failure() or {}).get("reason", "it crashed")
            raise ValueError(f"the time of a run could not be measured: {reason}")
        saved = [path for path in (folder.checkpoint, folder.weights) if path.exists()]
        size = sum(path.stat().st_size for path in saved)
        return Pace(spent, f"measured, {_device(folder.read('run')['environment'])}", size)
