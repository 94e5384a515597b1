"""What a plan costs before it is paid: seconds of a run, wall time, device hours, disk.

The pace comes from finished runs of the same recipe where there are some, else from a calibration
on the machines in question (calibrate.py), kept in the results folder for the next time.
"""

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from detector.config import Recipe
from experiments.experiment import canonical
from orchestration.pace import Spent
from orchestration.plan import Job, Plan, PlannedRun
from orchestration.resources import Share
from orchestration.run_folder import RunFolder, Store, read_json

PACES = "paces"
COPIES_WHILE_RUNNING = 3  # of a checkpoint: the newest, the one before, and one being written
COPIES_AFTERWARDS = 2  # of weights and detections: the folder's and MLflow's
BYTES_PER_DETECTION = 120
HISTORY_BYTES = 200_000


@dataclass(frozen=True)
class Pace:
    """How long a run takes on some device, and where that is known from."""

    spent: Spent
    source: str
    start_seconds: float = 0.0  # from Ray's start of a trial to its first step
    weights_bytes: int = 0
    checkpoint_bytes: int = 0


@dataclass(frozen=True)
class Cost:
    """Of the runs that are missing."""

    seconds: Mapping[str, float]  # of each run, by signature
    wall_seconds: float
    device_hours: float
    device: str  # "GPU" or "CPU core"
    peak_bytes: int
    final_bytes: int
    source: str


def cost(plan: Plan, store: Store, pace: Pace, share: Share, at_once: int, num_images: int) -> Cost:
    """What training the missing runs takes; num_images: on which AP is measured."""
    missing = plan.missing(store)
    recipe = plan.setup.recipe
    seconds = {
        run.signature: pace.start_seconds + _seconds(run, recipe, pace.spent, num_images)
        for run in missing
    }
    devices = share.processes * (share.gpus or share.cpus)
    detections = num_images * recipe.max_detections * BYTES_PER_DETECTION
    final = COPIES_AFTERWARDS * (pace.weights_bytes + detections) + HISTORY_BYTES
    running = COPIES_WHILE_RUNNING * pace.checkpoint_bytes * min(at_once, len(missing))
    return Cost(
        seconds=seconds,
        wall_seconds=wall_time(list(seconds.values()), at_once),
        device_hours=sum(seconds.values()) * devices / 3600,
        device="GPU" if share.gpus else "CPU core",
        peak_bytes=final * len(missing) + running,
        final_bytes=final * len(missing),
        source=pace.source,
    )


def _seconds(run: PlannedRun, recipe: Recipe, spent: Spent, num_images: int) -> float:
    """Of a whole run, or of a test that trains nothing."""
    if run.training is None:
        return spent.whole_run(recipe, num_images)
    from detector.evaluation.multi_scale import relative_cost  # imports torch

    return num_images * spent.per_image(recipe.batch_size) * relative_cost(run.run.recipe)


def wall_time(seconds: Sequence[float], at_once: int) -> float:
    """When the last of these runs ends, each starting as soon as one of at_once places is free."""
    places = [0.0] * max(1, at_once)
    for duration in seconds:
        heapq.heapreplace(places, places[0] + duration)
    return max(places)


def known_pace(plan: Plan, store: Store, share: Share, key: str) -> Pace | None:
    """By finished runs of this plan's recipe and data on such a device, else by a calibration."""
    found = [folder for folder in store.folders() if _is_alike(folder, plan, share)]
    spent = [(folder.result() or {}).get("spent") for folder in found]
    finished = [Spent(**values) for values in spent if values and values["steps"]]
    if finished:
        middle = Spent(
            training=median(one.training / one.steps for one in finished),
            steps=1,
            testing=median(one.per_image(plan.setup.recipe.batch_size) for one in finished),
            images=1,
        )
        weights = max(folder.weights.stat().st_size for folder in found if folder.weights.exists())
        source = f"by {len(finished)} finished, {_device(found[-1].facts()['environment'])}"
        calibrated = _read_pace(store, key)
        start = calibrated.start_seconds if calibrated else 0.0
        factor = _checkpoint_factor(plan.setup.recipe)
        return Pace(middle, source, start, weights, weights * factor)
    return _read_pace(store, key)


def _checkpoint_factor(recipe: Recipe) -> int:
    """A checkpoint in weights: SGD keeps one momentum for each, Adam two."""
    return 2 if recipe.optimizer == "sgd" else 3


def _is_alike(folder: RunFolder, plan: Plan, share: Share) -> bool:
    facts, ours = folder.facts(), json.loads(json.dumps(canonical(plan.runs[0].run)["recipe"]))
    if not folder.is_done or facts["canonical"]["recipe"] != ours:
        return False
    environment = facts.get("environment", {})
    has_gpu = environment.get("gpu", "none") != "none"
    is_ours = facts["data"]["fingerprint"] == plan.setup.fingerprint
    is_shared = environment.get("processes", "1") == str(share.processes)
    return is_ours and is_shared and has_gpu == bool(share.gpus)


def pace_key(plan: Plan, share: Share, at_once: int, where: str) -> str:
    """Names a calibration by all that it depends on; where: the machines."""
    run = canonical(plan.runs[0].run)
    parts = [run["recipe"], plan.setup.fingerprint, str(share), at_once, where]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def calibration_jobs(plan: Plan, store: Store, key: str, at_once: int) -> list[Job]:
    """As many measurements at once as runs will be, each of the first run that is missing."""
    run = (plan.missing(store) or plan.runs)[0].run
    folder = store.root / PACES / key
    return [Job(run, folder / str(number), plan.setup.where, {}) for number in range(at_once)]


def keep_pace(jobs: Sequence[Job], wall_seconds: float) -> None:
    """Make one pace of what the calibrations measured; ValueError if none of them did."""
    found = [read_json(job.folder / "pace.json") for job in jobs]
    measured = [content for content in found if content]
    if not measured:
        reasons = [(RunFolder(job.folder).failure() or {}).get("reason", "") for job in jobs]
        raise ValueError(f"the time of a run could not be measured: {reasons[0] or 'it crashed'}")
    spent = [Spent(**content["spent"]) for content in measured]
    middle = Spent(
        training=median(one.training / one.steps for one in spent),
        steps=1,
        testing=median(one.testing / one.images for one in spent),
        images=1,
    )
    busy = median(content["seconds"] for content in measured)
    RunFolder(jobs[0].folder.parent).write(
        "pace",
        {
            **measured[0],
            "spent": vars(middle),
            "start_seconds": max(0.0, wall_seconds - busy),
        },
    )


def _read_pace(store: Store, key: str) -> Pace | None:
    content = read_json(store.root / PACES / key / "pace.json")
    if content is None:
        return None
    return Pace(
        spent=Spent(**content["spent"]),
        source=f"measured, {_device(content['environment'])}",
        start_seconds=content["start_seconds"],
        weights_bytes=content["bytes"]["weights"],
        checkpoint_bytes=content["bytes"]["checkpoint"],
    )


def _device(environment: Mapping[str, Any]) -> str:
    return str(environment["gpu"] if environment["gpu"] != "none" else environment["cpu"])
