"""What a plan costs before it is paid: seconds of a run, wall time, device hours, disk.

The pace comes from finished runs of the same recipe where there are some, else from a measurement
on the machines in question, kept in the results folder for the next time. That is a piece of work
for Ray like a trial: as many at once as runs will be, so that what they take from one another
(memory bandwidth, cores, a shared GPU) is in the numbers.
"""

import hashlib
import heapq
import json
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal

from detector.config import Recipe
from experiments.experiment import canonical
from orchestration import views
from orchestration.launch import load_weights
from orchestration.pace import Spent
from orchestration.plan import Job, Plan
from orchestration.progress import Progress, duration
from orchestration.resources import Allocation, Resources, allocate, this_machine
from orchestration.run_folder import RunFolder, Store, read_json
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


@dataclass(frozen=True)
class Cost:
    """Of the runs that are missing."""

    seconds: Mapping[str, float]  # of each run, by signature
    wall_seconds: float
    device_hours: float
    peak_bytes: int
    final_bytes: int


def show_cost(
    plan: Plan, store: Store, resources: Resources, num_images: int, *, is_measured: bool
) -> None:
    """Print a plan and its cost; is_measured: a pace that is not known may be measured.

    num_images: of the validation set.
    """
    is_known = any(folder.is_done for folder in store.folders()) or (store.root / PACES).exists()
    if resources.address is None:  # what cannot be had is refused here as by a launch
        allocate([this_machine(plan.setup.recipe)], resources, plan.setup.recipe)
    missing, pace = plan.missing(store), None
    if missing and (is_measured or is_known):
        pace, allocation = _pace_there(plan, store, resources, is_measured=is_measured)
    if pace is None:
        console.print(views.show_plan(plan, store))
        if missing and is_known:
            console.print("Time: unknown yet, atss plan measures it")
        return
    found = cost(plan, store, pace, allocation, num_images)
    times = {name: duration(seconds) for name, seconds in found.seconds.items()}
    console.print(views.show_plan(plan, store, times))
    each = duration(sum(found.seconds.values()) / len(missing))
    console.print(
        f"Time: {each} a run ({pace.source}), {allocation.at_once} at once: "
        f"{duration(found.wall_seconds)} in all, {found.device_hours:.1f} "
        f"{'GPU' if allocation.gpus else 'CPU core'} hours"
    )
    peak, final = decimal(found.peak_bytes), decimal(found.final_bytes)
    console.print(f"Disk: {peak} at most, {final} when all is done")
    recipes = [asdict(run.run.recipe) for run in missing]
    if varied := [name for name in recipes[0] if len({it[name] for it in recipes}) > 1]:
        of = plan.runs[0].rows[0]
        console.print(f"The pace is that of {of}: for another {', '.join(varied)} it is a guess")
    there = next(path for path in (store.root, *store.root.parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < found.peak_bytes:
        console.print(f"Too little: {store.root} has {decimal(free)} left")


def cost(plan: Plan, store: Store, pace: Pace, allocation: Allocation, num_images: int) -> Cost:
    """What training the missing runs takes; num_images: on which AP is measured."""
    missing, recipe, spent = plan.missing(store), plan.setup.recipe, pace.spent
    seconds = {}
    for run in missing:
        seconds[run.signature] = pace.start_seconds + spent.whole_run(recipe, num_images)
        if run.training:  # a test in another way, which trains nothing
            from detector.evaluation.multi_scale import relative_cost  # imports torch

            test = num_images * spent.per_image(recipe.batch_size) * relative_cost(run.run.recipe)
            seconds[run.signature] = pace.start_seconds + test
    devices = allocation.processes * (allocation.gpus or allocation.cpus)
    detections = num_images * recipe.max_detections * BYTES_PER_DETECTION
    final = COPIES_AFTERWARDS * (pace.weights_bytes + detections) + HISTORY_BYTES
    # SGD keeps one momentum for each weight, Adam two.
    checkpoint = pace.weights_bytes * (2 if recipe.optimizer == "sgd" else 3)
    running = COPIES_WHILE_RUNNING * checkpoint * min(allocation.at_once, len(missing))
    return Cost(
        seconds=seconds,
        wall_seconds=wall_time(list(seconds.values()), allocation.at_once),
        device_hours=sum(seconds.values()) * devices / 3600,
        peak_bytes=final * len(missing) + running,
        final_bytes=final * len(missing),
    )


def wall_time(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these runs ends, each starting as soon as one of at_once places is free."""
    places = [0.0] * max(1, at_once)
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def _pace_there(
    plan: Plan, store: Store, resources: Resources, *, is_measured: bool
) -> tuple[Pace | None, Allocation]:
    """The pace on the machines, None if it is not known, and what a run gets of them."""
    from orchestration.tune import cluster, run_trials

    missing = plan.missing(store)
    with cluster(resources, plan.setup.recipe) as allocation:
        allocation = replace(allocation, at_once=min(allocation.at_once, len(missing)))
        where = resources.address or platform.node()
        run = canonical(plan.runs[0].run)["recipe"]
        parts = [run, plan.setup.fingerprint, asdict(allocation), where]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        folder = store.root / PACES / key
        pace = known_pace(plan, store, allocation, folder)
        if pace is None and is_measured:
            load_weights([run.run.recipe for run in missing])
            print_time = (
                f"Measuring the time of a run, {allocation.at_once} at once: about a minute"
            )
            console.print(print_time)
            facts, first = {"begun": time.time()}, missing[0].run
            places = [folder / str(number) for number in range(allocation.at_once)]
            jobs = [Job(first, place, plan.setup.where, facts) for place in places]
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
    finished = [
        {
            "spent": spent,
            "environment": folder.facts()["environment"],
            "weights_bytes": folder.weights.stat().st_size if folder.weights.exists() else 0,
        }
        for folder in store.folders()
        if _is_alike(folder, plan, allocation)
        and (spent := (folder.result() or {}).get("spent"))
        and spent["steps"]
    ]
    found = finished or written
    if not found:
        return None
    all_spent, batch_size = [Spent(**it["spent"]) for it in found], plan.setup.recipe.batch_size
    middle = Spent(
        training=median(one.training / one.steps for one in all_spent),
        steps=1,
        testing=median(one.per_image(batch_size) for one in all_spent),
        images=1,
    )
    where = found[-1]["environment"]
    how = f"by {len(finished)} finished" if finished else "measured"
    return Pace(
        spent=middle,
        source=f"{how}, {where['cpu'] if where['gpu'] == 'none' else where['gpu']}",
        start_seconds=median(it["start_seconds"] for it in written) if written else 0.0,
        weights_bytes=max(it["weights_bytes"] for it in found),
    )


def _is_alike(folder: RunFolder, plan: Plan, allocation: Allocation) -> bool:
    """Whether a run is done, and took what the plan's will take."""
    facts, ours = folder.facts(), json.loads(json.dumps(canonical(plan.runs[0].run)["recipe"]))
    if not folder.is_done or facts["canonical"]["recipe"] != ours:
        return False
    environment = facts.get("environment", {})
    has_gpu = environment.get("gpu", "none") != "none"
    is_ours = facts["data"]["fingerprint"] == plan.setup.fingerprint
    is_shared = environment.get("processes", "1") == str(allocation.processes)
    return is_ours and is_shared and has_gpu == bool(allocation.gpus)


# The measurement: torch is imported in its own process


def calibrate(job: Job, report: Any) -> None:
    """Write pace.json into the job's folder: seconds per step and test image, bytes of a run."""
    import torch

    from detector.data.coco import batches, open_data
    from detector.training import assemble, train
    from experiments.own_tables import load_assigner
    from orchestration.provenance import environment

    start_seconds = time.time() - job.facts["begun"]
    report({"state": "measuring"})
    recipe = replace(job.run.recipe, warmup_iterations=0)
    torch.set_num_threads(recipe.threads)
    data, own = open_data(job.where), job.run.assigner

    def prepared(batch_size: int, **how: Any) -> tuple["Detector", Recipe, Iterator[float]]:
        """A detector and the seconds of each of its steps on so many images."""
        small = replace(recipe, batch_size=batch_size)
        detector, optimizer = assemble(
            job.run.config,
            small,
            len(data.train.names),
            seed=0,
            device=job.device,
            assigner=load_assigner(own) if own else None,
        )
        images = batches(data.train, small, seed=0, workers=job.workers, device=job.device)
        steps = train(detector, optimizer, images, small, **how)
        return detector, small, _timed(islice(steps, 2000))

    # So many images a step that several steps fit into the time; found with one image.
    one = list(islice(prepared(1)[2], 3))[-1]
    affordable = max(1, min(recipe.batch_size, int(SECONDS / (4 * one))))
    detector, small, steps = prepared(affordable, micro_batch_size=job.micro_batch_size)
    times = list(steps)[WARM_UP:]
    spent = Spent(training=sum(times) * recipe.batch_size / affordable, steps=len(times))
    spent.testing, spent.images = _test(detector, data.val, small, job)
    content = {
        "spent": asdict(spent),
        "weights_bytes": sum(value.nbytes for value in detector.state_dict().values()),
        "environment": environment(job.device),
        "start_seconds": start_seconds,
    }
    RunFolder(job.folder).write("pace", content)
    report({"state": "done"})


def _timed(steps: Iterator[dict[str, float]]) -> Iterator[float]:
    """Seconds of each step, until the time is over and three are there."""
    begun = before = time.monotonic()
    for number, _ in enumerate(steps, start=1):
        now = time.monotonic()
        yield now - before
        before = now
        if now - begun > SECONDS and number > WARM_UP:
            return


def _test(detector: "Detector", val: "CocoDataset", recipe: Recipe, job: Job) -> tuple[float, int]:
    """Seconds and images of a test that was cut short, their part of the evaluation included."""
    from detector.evaluation.detect import detect_all, evaluate

    detector.eval()
    begun, images = time.monotonic(), 0
    detections: list[dict[str, Any]] = []
    for part in detect_all(detector, val, recipe, device=job.device, workers=job.workers):
        detections += chain(*part)
        images += len(part)
        if time.monotonic() - begun > SECONDS / 2:
            break
    seconds, begun = time.monotonic() - begun, time.monotonic()
    evaluate(val.ground_truth, detections)  # of all images, however few were tested
    return seconds + (time.monotonic() - begun) * images / len(val), images
