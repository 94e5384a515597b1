"""Ray Tune runs the trials: resources, retries, interruption. The only file that knows Ray.

A fresh Tuner per launch with an explicit list of runs; nothing is restored from Ray's own state,
because every run's folder can resume itself. So a changed list, a lost machine and a killed driver
are all the same case: launch again, and what is missing is trained.
"""
# ruff: noqa: E402

import os
import platform
import re
import secrets
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a box even when it is told to be silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would rebuild the environment in every worker
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # AP is there only after a test
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and event files; ours suffice
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends at once: the folder holds the last checkpoint
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own snapshots are never read
    "MALLOC_TRIM_THRESHOLD_": str(2**28),  # a trial keeps a step's memory for the next: to fetch
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # it anew is 5 % of a step on a CPU (benchmarks/demo.md)
}
os.environ.update(SETTINGS | os.environ)


import ray  # reads the settings above when it is imported
import ray._private.ray_constants as ray_constants
from ray import tune
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.job_config import JobConfig
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from detector.config import Recipe
from orchestration.plan import Job
from orchestration.resources import RAY_FOLDER, Allocation, Resources, allocate, require_answer
from orchestration.run_folder import RunFolder

MAX_CRASHES = 2  # of a trial's process, each followed by another attempt from the last checkpoint
REDUCTION = 3  # a run goes on if it is among the best third of those that came there before
# Of a cluster that is this launch's alone: Ray then asks nobody for this machine's address, and all
# its processes listen on the loopback interface, by a switch made for systems without clusters.
PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_TMPDIR": os.environ.get("RAY_TMPDIR", "/tmp"),  # for sockets: a path may have 107 letters
}
Report = Callable[[dict[str, Any]], None]
Work = Callable[[Job, Report], None]
Tell = Callable[[str, Mapping[str, Any]], None]  # a run's signature, and what is told of it


@contextmanager
def cluster(resources: Resources, recipe: Recipe) -> Iterator[Allocation]:
    """Ray on this machine or at an address; yields what each run of a recipe gets there."""
    address = resources.address
    options: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
    with ExitStack() as stack:
        if address is not None:
            require_answer(address)
        else:
            import torch

            # Threads beyond the cores are slow but right: a small machine may run every scale.
            cores = max(len(os.sched_getaffinity(0)), recipe.threads)
            here = {"CPU": cores, "GPU": torch.cuda.device_count()}
            allocate([here], resources, recipe)  # refuses before Ray starts what cannot be had
            options |= {"include_dashboard": False, "num_cpus": cores}
            stack.enter_context(_private())
        # Ray would let the user's folder come first in the trials' path, where a detector.py, or a
        # package called experiments, would be taken for ours: what takes all it adds keeps nothing.
        config = JobConfig()
        config._py_driver_sys_path = deque(maxlen=0)
        ray.init(address=address or "local", job_config=config, **options)
        stack.callback(ray.shutdown)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's would exit on the spot
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield allocate(nodes, resources, recipe)


@contextmanager
def _private() -> Iterator[None]:
    """A cluster that nobody else can reach, and that reaches nobody.

    Ray's API server does nothing here but to ask a cloud's metadata service whose machine this is.
    """
    environment = patch.dict(os.environ, PRIVATE)
    one_machine = patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False)
    no_server = patch.object(Node, "start_api_server", lambda self, **_: None)
    try:
        with environment, one_machine, no_server:
            _read_mode_again()
            yield
    finally:
        _read_mode_again()


def _read_mode_again() -> None:
    """Ray has read RAY_AUTH_MODE when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _train(job: Job, report: Report) -> None:
    """Torch is imported here, in the trial's process, not with this module."""
    with RunFolder(job.folder).logged():
        from orchestration.trial import run_trial

        run_trial(job, report)


def run_trials(
    jobs: Iterable[Job],
    allocation: Allocation,
    tell: Tell,
    *,
    root: Path,
    work: Work = _train,
    scheduler: ASHAScheduler | None = None,
) -> None:
    """Run every job to its end; failures are left in their folders.

    jobs: in the order of training; the next one is asked for when it fits.
    tell: takes what a run reports, and what becomes of it.
    root: on a path that all nodes share, for Ray's own files while it runs.
    work: what a trial does, a function of an importable module.
    scheduler: halving(...), to end runs that are far behind.
    """
    own = root / f"{RAY_FOLDER}{platform.node()}-{os.getpid()}"
    each = {"cpu": allocation.cpus, "gpu": allocation.gpus}
    needs = {what: number * allocation.processes for what, number in each.items() if number}
    with_work = tune.with_parameters(trial, work=work, allocation=allocation)
    tuner = tune.Tuner(
        tune.with_resources(with_work, needs),
        tune_config=tune.TuneConfig(
            max_concurrent_trials=allocation.at_once,
            # Loading torch takes a trial ten seconds of two cores; but a GPU's memory is only
            # certain to be free again when the process that used it has ended.
            reuse_actors=not allocation.gpus,
            trial_dirname_creator=str,
            search_alg=_Jobs(jobs),
            num_samples=-1,
            scheduler=scheduler,
        ),
        run_config=tune.RunConfig(
            name=own.name,
            storage_path=str(root),
            verbose=0,
            callbacks=[_Watch(tell)],
            failure_config=tune.FailureConfig(max_failures=MAX_CRASHES),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(own, ignore_errors=True)


def trial(config: dict[str, Any], work: Work, allocation: Allocation) -> None:
    """What Ray runs in a process of its own."""

    def report(values: dict[str, Any]) -> None:
        """What is not known is left out: schedulers compare what is there."""
        tune.report({name: value for name, value in values.items() if value is not None})

    device = "cuda" if allocation.gpus else "cpu"
    workers, processes = allocation.workers, allocation.processes
    work(replace(config["job"], device=device, workers=workers, processes=processes), report)


def halving(steps: Sequence[int]) -> ASHAScheduler | None:
    """ASHA over the tests after these steps; None for [].

    Nobody is ended at the last test, whose result is still to be written.
    """
    if not steps:
        return None
    return ASHAScheduler(
        time_attr="tested_at",
        metric="AP",
        mode="max",
        grace_period=steps[0],
        max_t=steps[-2],
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )


class _Jobs(Searcher):
    """Hands out one job after the other."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        super().__init__()
        self.jobs = iter(jobs)

    def suggest(self, trial_id: str) -> Any:
        """The next run to train."""
        job = next(self.jobs, None)
        return {"job": job} if job else Searcher.FINISHED

    def on_trial_complete(self, *arguments: Any, **info: Any) -> None:
        """Nothing."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray writes its searchers and callbacks to disk; nobody reads them back."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Likewise nothing."""


class _Watch(tune.Callback):
    """Tells what Ray reports."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def __getstate__(self) -> dict[str, Any]:
        """Likewise nothing: a terminal cannot be written to disk."""
        return {}

    def _tell(self, trial: Any, state: str, reason: str | None = None) -> None:
        self.tell(trial.config["job"].folder.name, {"state": state, "reason": reason})

    def on_trial_start(self, *, trial: Any, **info: Any) -> None:
        self._tell(trial, "starting")

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if "state" in result:
            self.tell(trial.config["job"].folder.name, result)

    def on_trial_complete(self, *, trial: Any, **info: Any) -> None:
        """It has said how it ended; if it was ended early, its last word was about a test."""
        folder = RunFolder(trial.config["job"].folder)
        if "tested_at" in trial.last_result and (where := folder.stop()):
            reason = f"AP {where.ap:.1f} after {where.step} steps is not among the best"
            self._tell(trial, "stopped", reason)

    def on_trial_recover(self, *, trial: Any, **info: Any) -> None:
        self._tell(trial, "retrying", _error(trial)[0])

    def on_trial_error(self, *, trial: Any, **info: Any) -> None:
        """The last attempt ended in a crash: leave the reason where the next one finds it."""
        last, text = _error(trial)
        reason, job = f"crashed {MAX_CRASHES + 1} times, at last: {last}", trial.config["job"]
        folder = RunFolder(job.folder)
        with suppress(OSError):  # a full disk; the terminal and Ray's own logs say it, too
            folder.write("failure", {"reason": reason, "traceback": text})
        self._tell(trial, "failed", reason)


def _error(ray_trial: Any) -> tuple[str, str]:
    """Why a trial's last attempt ended: the error named last, or that it was killed; all of it."""
    path = ray_trial.error_file
    text = Path(path).read_text() if path and Path(path).is_file() else ""
    errors = re.findall(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Exit)\b.*)", text, re.MULTILINE)
    return (errors[-1].strip() if errors else "its process was killed"), text
