"""Ray Tune runs the trials: resources, retries, interruption. The only file that knows Ray.

A fresh Tuner per launch with an explicit list of runs; nothing is restored from Ray's own state,
because every run's folder can resume itself. So a changed list, a lost machine and a killed driver
are all the same case: launch again, and what is missing is trained.
"""

import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a box even when it is told to be silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would rebuild the environment in every worker
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and event files; ours suffice
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends at once: the folder holds the last checkpoint
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own snapshots are never read
}
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)

import ray  # noqa: E402 - reads the settings above when it is imported
from ray import tune  # noqa: E402

from orchestration.plan import Job  # noqa: E402
from orchestration.progress import Progress  # noqa: E402
from orchestration.store import RunFolder  # noqa: E402
from orchestration.views import count  # noqa: E402

ANSWER_SECONDS = 10.0
MAX_CRASHES = 2  # of a trial's process, each followed by another attempt from the last checkpoint
Report = Callable[[dict[str, Any]], None]
Work = Callable[[Job, Report], None]


MAX_WORKERS = 8  # that load images for one run, unless the user asks for more


@dataclass(frozen=True)
class Share:
    """What every run gets, and how many fit at once."""

    cpus: int
    gpus: float
    workers: int
    at_once: int


def share_out(
    nodes: Sequence[Mapping[str, float]],
    *,
    threads: int,
    gpus: float | None = None,
    workers: int | None = None,
) -> Share:
    """Divide nodes, each {"CPU": ..., "GPU": ...}, among runs of so many threads.

    gpus: per run; one each by default, none where there are none. Raises ValueError if not a single
    run fits on any node: it would wait for ever.
    """
    if gpus is not None and gpus > 1:
        raise ValueError(f"--gpus-per-run needs 1, a share of 1, or 0, got {gpus:g}")
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    if workers is None:
        workers = _default_workers(nodes, threads, gpus)
    cpus = threads + workers
    at_once = sum(_fit(node, cpus, gpus) for node in nodes)
    if at_once == 0:
        offers = ", ".join(f"{n.get('CPU', 0):g} CPU and {n.get('GPU', 0):g} GPU" for n in nodes)
        raise ValueError(
            f"every run needs {cpus} CPU ({count(threads, 'thread')}, "
            f"{count(workers, 'worker')}) and {gpus:g} GPU on one machine, but there is: "
            f"{offers or 'no machine'}; ask for less with --gpus-per-run or --workers"
        )
    return Share(cpus, gpus, workers, at_once)


def _fit(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """How many runs a node takes at once."""
    by_gpu = node.get("GPU", 0) / gpus + 1e-6 if gpus else float("inf")
    return int(min(node.get("CPU", 0) / cpus, by_gpu))


def _default_workers(nodes: Sequence[Mapping[str, float]], threads: int, gpus: float) -> int:
    """A GPU waits for images, so the CPUs beside it load them; a CPU run loads its own."""
    if not gpus:
        return 0
    spare = [node["CPU"] * gpus / node["GPU"] - threads for node in nodes if node.get("GPU")]
    return int(min(MAX_WORKERS, max(0.0, min(spare, default=0.0))))


@contextmanager
def cluster(address: str | None, *, threads: int) -> Iterator[list[dict[str, float]]]:
    """Ray on this machine or at an address; yields the resources of its living nodes."""
    quiet: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a cluster of many has its token
        # Threads beyond the cores are slow but right, so a small machine may still run every scale.
        cores = max(len(os.sched_getaffinity(0)), threads)
        quiet |= {"include_dashboard": False, "num_cpus": cores}
    else:
        _require_answer(address)
    try:
        ray.init(address=address or "local", **quiet)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster is running here") from error
    try:
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """ValueError if nothing listens at host:port: Ray itself would wait for ten minutes."""
    host, separator, port = address.rpartition(":")
    if address == "auto":
        return
    if not separator or not port.isdigit() or "/" in host:
        raise ValueError(f"--address needs auto or the HOST:PORT of a Ray head, got '{address}'")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--address {address}: no Ray head answers there ({error})") from error


def _train(job: Job, report: Report) -> None:
    """Torch is imported here, in the trial's process, not with this module."""
    from orchestration.trial import run_trial

    run_trial(job, report)


def run_trials(
    jobs: Sequence[Job],
    share: Share,
    progress: Progress,
    *,
    storage: Path,
    concurrent: int | None = None,
    work: Work = _train,
) -> None:
    """Run every job to its end, at most concurrent at once; failures are left in their folders.

    storage: a folder for Ray's own files, on a path that all nodes share; removed at the end.
    work: what a trial does, a function of an importable module.
    """
    device = "cuda" if share.gpus else "cpu"
    by_name = {job.folder.name: replace(job, device=device, workers=share.workers) for job in jobs}
    bundle = {"CPU": share.cpus} | ({"GPU": share.gpus} if share.gpus else {})
    trainable = tune.with_parameters(trial, jobs=by_name, work=work)
    tuner = tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
        param_space={"signature": tune.grid_search(list(by_name))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=min(concurrent or share.at_once, share.at_once),
            # Loading torch takes a trial ten seconds of two cores; but a GPU's memory is only
            # certain to be free again when the process that used it has ended.
            reuse_actors=not share.gpus,
            trial_name_creator=_signature,
            trial_dirname_creator=_signature,
        ),
        run_config=tune.RunConfig(
            name="launch",
            storage_path=str(storage),
            verbose=0,
            callbacks=[_Watch(progress, by_name)],
            failure_config=tune.FailureConfig(max_failures=MAX_CRASHES),
        ),
    )
    with _termination_as_interrupt():
        try:
            tuner.fit()
        finally:
            shutil.rmtree(storage, ignore_errors=True)


def trial(config: dict[str, Any], jobs: Mapping[str, Job], work: Work) -> None:
    """What Ray runs in a process of its own."""
    work(jobs[config["signature"]], tune.report)


def _signature(ray_trial: Any) -> str:
    return str(ray_trial.config["signature"])


class _Watch(tune.Callback):
    """Hands what Ray reports to the one view of the launch."""

    def __init__(self, progress: Progress, jobs: Mapping[str, Job]) -> None:
        self.progress = progress
        self.jobs = jobs

    def __getstate__(self) -> dict[str, Any]:
        """Ray writes its callbacks to disk; a terminal cannot be, and nobody reads it back."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.update(_signature(trial), {"state": "starting"})

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "state" in result:
            self.progress.update(_signature(trial), result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        values = {"state": "retrying", "reason": _reason(trial)}
        self.progress.update(_signature(trial), values)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The last attempt ended in a crash: leave the reason where the next one finds it."""
        reason = f"crashed {MAX_CRASHES + 1} times, at last: {_reason(trial)}"
        job = self.jobs[_signature(trial)]
        folder = RunFolder(job.folder)
        if not folder.facts():  # not even begun
            folder.write("run", {**job.facts, "environment": {}})
        folder.write("failure", {"reason": reason, "traceback": _error_text(trial)})
        self.progress.update(_signature(trial), {"state": "failed", "reason": reason})


def _reason(ray_trial: Any) -> str:
    """Why a trial's last attempt ended, in one line: the error it names, or that it was killed."""
    text = _error_text(ray_trial)
    errors = re.findall(r"^\s*((?:\w+\.)*\w*(?:Error|Exception|Exit)\b.*)", text, re.MULTILINE)
    return errors[-1].strip() if errors else "its process was killed"


def _error_text(ray_trial: Any) -> str:
    """What Ray noted on this machine about the failures of a trial."""
    path = ray_trial.error_file
    return Path(path).read_text() if path and Path(path).is_file() else ""


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """A polite kill ends a launch like Ctrl-C; Ray's own handler would exit on the spot."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
