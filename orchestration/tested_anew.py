"""Runs that train nothing: they test another run's detector in another way (Table 8's last rows).

Such a run has a folder and a result like any other. Its detector is trained in the other's folder,
and only once, whichever of the two comes first.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from detector import checkpoint
from detector.detector import Detector
from orchestration.oversight import Cancelled, require_wanted
from orchestration.plan import Job
from orchestration.store import RunFolder

Report = Callable[[dict[str, Any]], None]
ON_THE_WAY = ("elsewhere", "training", "testing")


def train_first(job: Job, report: Report, train: Callable[[Job, Report], None]) -> None:
    """See that the detector a job tests is trained: wait for it, or train it; at once if it is.

    Raises Cancelled if somebody ended that, and ValueError, with the reason, where it failed.
    """
    if job.training is None:
        return
    folder = RunFolder(job.training.folder)
    if folder.is_running:
        report({"state": "elsewhere", "reason": f"run {folder.signature} trains its detector"})
        with folder.locked():
            pass
    if not folder.is_done and folder.failure() is None:
        mine = replace(
            job.training, device=job.device, workers=job.workers, processes=job.processes
        )
        train(mine, lambda values: _pass_on(values, report))
    if folder.is_done:
        return
    try:
        require_wanted(folder)
    except Cancelled as end:
        raise Cancelled(f"with its training, run {folder.signature}, {end}") from None
    reason = (folder.failure() or {}).get("reason", "it ended")
    raise ValueError(f"its detector, of run {folder.signature}, could not be trained: {reason}")


def _pass_on(values: dict[str, Any], report: Report) -> None:
    """The progress of the training, but not its AP, and not its end: the test is still to come."""
    if values.get("state") in ON_THE_WAY:
        kept = ("state", "reason", "step", "iterations", "loss", "seconds_left")
        report({name: values[name] for name in kept if name in values})


def starting_point(
    job: Job, folder: RunFolder, detector: Detector, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Fill the detector with what is trained of it; after which step that is, and the facts kept.

    From the run's own checkpoint, or from the weights of the run that is tested anew.
    """
    if job.training is None:
        return checkpoint.load(folder.checkpoint, detector, optimizer)
    checkpoint.load_weights(RunFolder(job.training.folder).weights, detector)
    return job.run.recipe.iterations, {}
