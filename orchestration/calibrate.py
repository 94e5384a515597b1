"""A quick measurement of what a run will cost, on its device and beside its neighbours to be.

It is a piece of work for Ray like a trial: as many at once as runs will be, so that what they take
from one another (memory bandwidth, cores, a shared GPU) is in the numbers.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain, islice
from typing import Any

import torch

from detector.config import Recipe
from detector.data.coco import CocoDataset, batches, open_data
from detector.detector import Detector
from detector.evaluation.detect import detect_all, evaluate
from detector.training import assemble, train
from experiments.own import load_assigner
from orchestration.pace import Spent
from orchestration.plan import Job
from orchestration.provenance import environment
from orchestration.run_folder import RunFolder
from orchestration.trial import Report

SECONDS = 15.0  # of training, and half of it of testing; at least three steps and one image
WARM_UP = 2  # steps that do not count: allocators, caches and kernels get ready


def calibrate(job: Job, report: Report) -> None:
    """Write pace.json into the job's folder: seconds per step and test image, bytes of a run."""
    begun = time.monotonic()
    report({"state": "measuring"})
    recipe = job.run.recipe
    torch.set_num_threads(recipe.threads)
    data = open_data(job.where)
    small = replace(recipe, batch_size=_affordable_batch(job, data.train), warmup_iterations=0)
    detector, optimizer = _assemble(job, small, data.train)
    images = batches(data.train, small, seed=0, workers=job.workers, device=job.device)
    steps = train(detector, optimizer, images, small, micro_batch_size=job.micro_batch_size)
    times = list(_timed(islice(steps, 2000), SECONDS))[WARM_UP:]
    spent = Spent(training=sum(times) * recipe.batch_size / small.batch_size, steps=len(times))
    spent.testing, spent.images = _test(detector, data.val, small, job)
    weights = sum(value.nbytes for value in detector.state_dict().values())
    state = sum(
        value.nbytes
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor)
    )
    RunFolder(job.folder).write(
        "pace",
        {
            "spent": asdict(spent),
            "bytes": {"weights": weights, "checkpoint": weights + state},
            "environment": environment(job.device),
            "seconds": time.monotonic() - begun,
        },
    )
    report({"state": "done"})


def _affordable_batch(job: Job, train_set: CocoDataset) -> int:
    """How many images a step may hold so that several fit into the time; found with one image."""
    one = replace(job.run.recipe, batch_size=1, warmup_iterations=0)
    detector, optimizer = _assemble(job, one, train_set)
    steps = train(detector, optimizer, batches(train_set, one, seed=0), one)
    seconds = list(_timed(islice(steps, 3), SECONDS))[-1]
    return max(1, min(job.run.recipe.batch_size, int(SECONDS / (4 * seconds))))


def _assemble(
    job: Job, recipe: Recipe, train_set: CocoDataset
) -> tuple[Detector, torch.optim.Optimizer]:
    return assemble(
        job.run.config,
        recipe,
        len(train_set.names),
        seed=0,
        device=job.device,
        assigner=load_assigner(job.run.assigner) if job.run.assigner else None,
    )


def _timed(steps: Iterator[dict[str, float]], limit: float) -> Iterator[float]:
    """Seconds of each step, until the limit is passed and three are there."""
    begun = before = time.monotonic()
    for number, _ in enumerate(steps, start=1):
        now = time.monotonic()
        yield now - before
        before = now
        if now - begun > limit and number > WARM_UP:
            return


def _test(detector: Detector, val: CocoDataset, recipe: Recipe, job: Job) -> tuple[float, int]:
    """Seconds and images of a test that was cut short, their part of the evaluation included."""
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
