"""What a plan costs before it is paid: seconds of a run, wall time, device hours, disk.

The pace is that of finished runs of the same recipe where there are some, else of one short
measurement on the machines in question, kept in the results folder for the next time. That is a
piece of work for Ray like a trial: as many at once as runs will be, so that what they take from one
another (memory bandwidth, cores, a shared GPU) is in the numbers.
"""

import hashlib
import heapq
import json
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal

from detector.config import Recipe
from experiments.experiment import canonical
from orchestration import views
from orchestration.json_files import read_json
from orchestration.launch import load_weights
from orchestration.plan import Job, Plan, PlannedRun
from orchestration.progress import Progress, duration
from orchestration.resources import Allocation, Resources, Spent, allocate, this_machine
from orchestration.run_folder import RunFolder, Store
from orchestration.terminal import console

if TYPE_CHECKING:
    from detector.data.coco import CocoDataset
    from detector.detector import Detector

PACES = "paces"
COPIES_WHILE_RUNNING = 3  # of a checkpoint: the newest, the one before, and one being written
COPIES_AFTERWARDS = 2  # of weights and detections: the folder's and MLflow's
BYTES_PER_DETECTION = 120
HISTORY_BYTES = 200_000
SECONDS = 15.0  # to measure training, and half of it testing; at least three steps and one image
WARM_UP = 2  # steps that do not count: allocators, caches and kernels get ready


@dataclass(frozen=True)
class Pace:
    """How long a run takes on some device, and where that is known from."""

    spent: Spent
    source: str
    start_seconds: float = 0.0  # from Ray's start of a trial to its first step
    weights_bytes: int = 0


def show_cost(
    plan: Plan, store: Store, resources: Resources, num_images: int, *, is_measured: bool
) -> None:
    """Print a plan and its cost; is_measured: a pace that is not known may be measured.

    num_images: of the validation set.
    """
    missing, recipe, pace = plan.missing(store), plan.setup.recipe, None
    is_known = any(folder.is_done for folder in store.folders()) or (store.root / PACES).exists()
    if resources.address is None:  # what cannot be had is refused here as by a launch
        allocate([this_machine(recipe)], resources, recipe)
    if missing and (is_measured or is_known):
        pace, allocation = _pace_there(plan, store, resources, is_measured=is_measured)
    if pace is None:
        console.print(views.show_plan(plan, store))
        if missing and is_known:
            console.print("Time: unknown yet, atss plan measures it")
        return
    seconds = {run.signature: run_seconds(run, recipe, pace, num_images) for run in missing}
    times = {name: duration(each) for name, each in seconds.items()}
    console.print(views.show_plan(plan, store, times))
    total, wall = sum(seconds.values()), wall_time(list(seconds.values()), allocation.at_once)
    devices = allocation.processes * (allocation.gpus or allocation.cpus)
    console.print(
        f"Time: {duration(total / len(missing))} a run ({pace.source}), {allocation.at_once} at "
        f"once: {duration(wall)} in all, {total * devices / 3600:.1f} "
        f"{'GPU' if allocation.gpus else 'CPU core'} hours"
    )
    peak, final = disk_bytes(len(missing), recipe, pace, allocation.at_once, num_images)
    console.print(f"Disk: {decimal(peak)} at most, {decimal(final)} when all is done")
    recipes = [asdict(run.run.recipe) for run in missing]
    if varied := [name for name in recipes[0] if len({it[name] for it in recipes}) > 1]:
        of = plan.runs[0].rows[0]
        console.print(f"The pace is that of {of}: for another {', '.join(varied)} it is a guess")
    there = next(path for path in (store.root, *store.root.parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < peak:
        console.print(f"Too little: {store.root} has {decimal(free)} left")


def run_seconds(run: PlannedRun, recipe: Recipe, pace: Pace, num_images: int) -> float:
    """Of a run of a plan with that recipe; num_images: on which AP is measured."""
    if run.training is None:
        return pace.start_seconds + pace.spent.whole_run(recipe, num_images)
    from detector.evaluation.multi_scale import relative_cost  # imports torch

    # a test in another way, which trains nothing
    per_image = pace.spent.per_image(recipe.batch_size) * relative_cost(run.run.recipe)
    return pace.start_seconds + num_images * per_image


def wall_time(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these runs ends, each starting as soon as one of at_once places is free."""
    places = [0.0] * max(1, at_once)
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def disk_bytes(
    num_runs: int, recipe: Recipe, pace: Pace, at_once: int, num_images: int
) -> tuple[int, int]:
    """What so many runs take at most while they train, and when all are done."""
    detections = num_images * recipe.max_detections * BYTES_PER_DETECTION
    final = num_runs * (COPIES_AFTERWARDS * (pace.weights_bytes + detections) + HISTORY_BYTES)
    # SGD keeps one momentum for each weight, Adam two.
    checkpoint = pace.weights_bytes * (2 if recipe.optimizer == "sgd" else 3)
    return final + COPIES_WHILE_RUNNING * checkpoint * min(at_once, num_runs), final


def _pace_there(
    plan: Plan, store: Store, resources: Resources, *, is_measured: bool
) -> tuple[Pace | None, Allocation]:
    """The pace on the machines, None if it is not known, and what a run gets of them."""
    from orchestration.tune import cluster, run_trials

    missing, setup = plan.missing(store), plan.setup
    with cluster(resources, setup.recipe) as allocation:
        allocation = replace(allocation, at_once=min(allocation.at_once, len(missing)))
        where, run = resources.address or platform.node(), canonical(plan.runs[0].run)["recipe"]
        parts = json.dumps([run, setup.fingerprint, asdict(allocation), where], sort_keys=True)
        folder = store.root / PACES / hashlib.sha256(parts.encode()).hexdigest()[:12]
        pace = known_pace(plan, store, allocation, folder)
        if pace is None and is_measured:
            load_weights([run.run.recipe for run in missing])
            at_once = f"{allocation.at_once} at once"
            console.print(f"Measuring the time of a run, {at_once}: about a minute")
            places = [folder / str(number) for number in range(allocation.at_once)]
            facts = {"begun": time.time()}
            jobs = [Job(missing[0].run, place, setup.where, facts) for place in places]
            unseen = Progress({place.name: "" for place in places}, Console(quiet=True))
            run_trials(jobs, allocation, unseen, root=store.root, work=calibrate)
            pace = known_pace(plan, store, allocation, folder)
            if pace is None:
                reason = (RunFolder(places[0]).failure() or {}).get("reason", "it crashed")
                raise ValueError(f"the time of a run could not be measured: {reason}")
    return pace, allocation


def known_pace(plan: Plan, store: Store, allocation: Allocation, measured: Path) -> Pace | None:
    """By finished runs of this plan's recipe and data on such a device, else as it was measured.

    measured: the folder with what calibrate wrote on these machines.
    """
    written = [content for path in measured.glob("*/pace.json") if (content := read_json(path))]
    recipe = canonical(plan.runs[0].run)["recipe"]
    ours = (recipe, plan.setup.fingerprint, str(allocation.processes), bool(allocation.gpus))
    finished = []
    for folder in store.folders():
        result, facts = folder.result() or {}, folder.facts()
        if not (spent := result.get("spent")) or not spent["steps"]:
            continue
        where = facts.get("environment", {})
        device = where.get("processes", "1"), where.get("gpu", "none") != "none"
        if (facts["canonical"]["recipe"], facts["data"]["fingerprint"], *device) == ours:
            weights = folder.weights.stat().st_size if folder.weights.exists() else 0
            finished.append({"spent": spent, "environment": where, "weights_bytes": weights})
    found = finished or written
    if not found:
        return None
    all_spent, batch_size = [Spent(**it["spent"]) for it in found], plan.setup.recipe.batch_size
    training = median(one.training / one.steps for one in all_spent)
    testing = median(one.per_image(batch_size) for one in all_spent)
    where = found[-1]["environment"]
    how = f"by {len(finished)} finished" if finished else "measured"
    return Pace(
        spent=Spent(training=training, steps=1, testing=testing, images=1),
        source=f"{how}, {where['cpu'] if where['gpu'] == 'none' else where['gpu']}",
        start_seconds=median(it["start_seconds"] for it in written) if written else 0.0,
        weights_bytes=max(it["weights_bytes"] for it in found),
    )


def calibrate(job: Job, report: Any) -> None:
    """Write pace.json into the job's folder: seconds per step and test image, bytes of a run.

    A trial's work; torch is imported in its own process.
    """
    import torch

    from detector.data.coco import batches, open_data
    from detector.training import assemble, train
    from experiments.own_tables import load_assigner
    from orchestration.provenance import environment

    start_seconds = time.time() - job.facts["begun"]
    report({"state": "measuring"})
    run, data = job.run, open_data(job.where)
    recipe = replace(run.recipe, warmup_iterations=0, iterations=2000)
    torch.set_num_threads(recipe.threads)
    own = load_assigner(run.assigner) if run.assigner else None
    detector, optimizer = assemble(
        run.config, recipe, len(data.train.names), seed=0, device=job.device, assigner=own
    )

    def step_seconds(batch_size: int, limit: float) -> list[float]:
        """Of each step on so many images, until the time is over and three are there."""
        small = replace(recipe, batch_size=batch_size)
        images = batches(data.train, small, seed=0, workers=job.workers, device=job.device)
        steps = train(detector, optimizer, images, small, micro_batch_size=job.micro_batch_size)
        stamps = [time.monotonic()]
        for _ in steps:
            stamps.append(time.monotonic())
            if len(stamps) > WARM_UP + 1 and stamps[-1] - stamps[0] > limit:
                break
        return [after - before for before, after in pairwise(stamps)][WARM_UP:]

    # So many images a step that several steps fit into the time; found with one image.
    affordable = max(1, min(recipe.batch_size, int(SECONDS / (4 * step_seconds(1, 0.0)[-1]))))
    times = step_seconds(affordable, SECONDS)
    whole_batches = run.recipe.batch_size / affordable
    spent = Spent(training=sum(times) * whole_batches, steps=len(times))
    _test(detector, data.val, replace(recipe, batch_size=affordable), job, spent)
    content = {
        "spent": asdict(spent),
        "weights_bytes": sum(value.nbytes for value in detector.state_dict().values()),
        "environment": environment(job.device),
        "start_seconds": start_seconds,
    }
    RunFolder(job.folder).write("pace", content)
    report({"state": "done"})


def _test(detector: "Detector", val: "CocoDataset", recipe: Recipe, job: Job, spent: Spent) -> None:
    """Note what a test takes that is cut short, its part of the evaluation included."""
    from detector.evaluation.detect import detect_all, evaluate

    detector.eval()
    begun, detections = time.monotonic(), list[dict[str, Any]]()
    for part in detect_all(detector, val, recipe, device=job.device, workers=job.workers):
        detections += chain(*part)
        spent.images += len(part)
        if time.monotonic() - begun > SECONDS / 2:
            break
    tested = time.monotonic()
    evaluate(val.ground_truth, detections)  # of all images, however few were tested
    evaluated = time.monotonic() - tested
    spent.testing = tested - begun + evaluated * spent.images / len(val)
