"""Ray Tune runs the trials: resources, retries, interruption. The only file that knows Ray.

A fresh Tuner per launch with an explicit list of runs; nothing is restored from Ray's own state,
because every run's folder can resume itself. So a changed list, a lost machine and a killed driver
are all the same case: launch again, and what is missing is trained.
"""

import os
import platform
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


import ray  # noqa: E402 - reads the settings above when it is imported
import ray._private.ray_constants as ray_constants  # noqa: E402
from ray import tune  # noqa: E402
from ray._private.node import Node  # noqa: E402
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # noqa: E402
from ray.job_config import JobConfig  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # noqa: E402

from orchestration import early  # noqa: E402
from orchestration.plan import Job  # noqa: E402
from orchestration.progress import Progress  # noqa: E402
from orchestration.resources import Share  # noqa: E402
from orchestration.run_folder import RunFolder  # noqa: E402
from orchestration.terminal import termination_as_interrupt  # noqa: E402

MAX_CRASHES = 2  # of a trial's process, each followed by another attempt from the last checkpoint
GRACE_SECONDS = 20.0  # for the processes of a run to end when one of them has
# Of a cluster that is this launch's alone: Ray then asks nobody for this machine's address, and all
# its processes listen on the loopback interface, by a switch made for systems without clusters.
PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
LONGEST_FOLDER = 40  # letters of a folder for sockets, whose paths may have 107
Report = Callable[[dict[str, Any]], None]
Work = Callable[[Job, Report], None]


@contextmanager
def cluster(address: str | None, *, threads: int) -> Iterator[list[dict[str, float]]]:
    """Ray on this machine or at an address; yields the resources of its living nodes."""
    options: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
    if address is not None:
        require_answer(address)
    else:
        # Threads beyond the cores are slow but right, so a small machine may still run every scale.
        cores = max(len(os.sched_getaffinity(0)), threads)
        options |= {"include_dashboard": False, "num_cpus": cores}
    with ExitStack() as stack:
        if address is None:
            stack.enter_context(_private())
            if len(tempfile.gettempdir()) > LONGEST_FOLDER:
                short = tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)
                options["_temp_dir"] = stack.enter_context(short)
        try:
            ray.init(address=address or "local", job_config=_own_path(), **options)
        except ConnectionError as error:
            raise ValueError(f"--address {address}: no Ray cluster is running here") from error
        try:
            yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
        finally:
            ray.shutdown()


@contextmanager
def _private() -> Iterator[None]:
    """A cluster that nobody else can reach, and that reaches nobody.

    Ray's API server does nothing here but to ask a cloud's metadata service whose machine this is.
    """
    before = {name: os.environ.get(name) for name in PRIVATE}
    start, has_clusters = Node.start_api_server, ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(PRIVATE)
    ray_constants.ENABLE_RAY_CLUSTER = False
    Node.start_api_server = lambda self, **_: None
    _read_mode_again()
    try:
        yield
    finally:
        Node.start_api_server = start
        ray_constants.ENABLE_RAY_CLUSTER = has_clusters
        for name, value in before.items():
            os.environ.pop(name)
            os.environ |= {name: value} if value is not None else {}
        _read_mode_again()


def _read_mode_again() -> None:
    """Ray has read RAY_AUTH_MODE when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _own_path() -> JobConfig:
    """A job whose processes import what is installed: Ray would let the user's folder come first.

    There a detector.py, or a package called experiments, would be taken for ours.
    """

    class Kept(list[str]):
        def extend(self, more: Iterable[str]) -> None:
            """Nothing more."""

    config = JobConfig()
    config._py_driver_sys_path = Kept()
    return config


def _train(job: Job, report: Report) -> None:
    """Torch is imported here, in the trial's process, not with this module."""
    with RunFolder(job.folder).logged():
        from orchestration.trial import run_trial

        run_trial(job, report, _members)


def _join(job: Job, rank: int, address: str) -> None:
    """What another process of a trial does."""
    with RunFolder(job.folder).logged():
        from orchestration.trial import join_trial

        join_trial(job, rank, address)


@contextmanager
def _members(job: Job) -> Iterator[str]:
    """Start the other processes of a trial in the bundles reserved with it; yields host:port.

    They belong to this process: Ray ends them when it ends, whatever ended it.
    """
    if job.processes == 1:
        yield ""
        return
    place = ray.util.get_current_placement_group()
    needs = place.bundle_specs[0]
    address = f"{ray.util.get_node_ip_address()}:{free_port()}"
    started = [
        ray.remote(_join)
        .options(
            num_cpus=needs["CPU"],
            num_gpus=needs.get("GPU", 0),
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(place, rank),
        )
        .remote(job, rank, address)
        for rank in range(1, job.processes)
    ]
    is_over = threading.Event()
    threading.Thread(target=_watch_members, args=(started, is_over), daemon=True).start()
    try:
        yield address
    finally:
        is_over.set()
        _, late = ray.wait(started, num_returns=len(started), timeout=GRACE_SECONDS)
        for member in late:
            ray.cancel(member, force=True)


def _watch_members(started: list[Any], is_over: threading.Event) -> None:
    """End this process when another has died: on GPUs its next sum would wait for half an hour."""
    waiting = started
    while waiting and not is_over.is_set():
        ended, waiting = ray.wait(waiting, timeout=1.0)
        try:
            ray.get(ended)
        except ray.exceptions.RayError:
            if not is_over.wait(GRACE_SECONDS):  # the sum may fail by itself, and say why
                os.kill(os.getpid(), signal.SIGKILL)


def _bundles(share: Share) -> tune.PlacementGroupFactory:
    """What is reserved for a run: a bundle for each of its processes, all at once."""
    bundle = {"CPU": share.cpus} | ({"GPU": share.gpus} if share.gpus else {})
    strategy = "STRICT_PACK" if share.is_on_one_node else "PACK"
    return tune.PlacementGroupFactory([bundle] * share.processes, strategy=strategy)


def run_trials(
    jobs: Iterable[Job],
    share: Share,
    progress: Progress,
    *,
    storage: Path,
    concurrent: int | None = None,
    work: Work = _train,
    stopping: early.Early | None = None,
) -> None:
    """Run every job to its end, at most concurrent at once; failures are left in their folders.

    jobs: asked for the next one whenever one fits, so a search may look first.
    storage: for Ray's own files, on a path that all nodes share; each launch removes its own.
    work: what a trial does, a function of an importable module.
    stopping: when runs that are far behind are ended.
    """
    own = storage / f"{platform.node()}-{os.getpid()}"
    trainable = tune.with_parameters(trial, work=work)
    tuner = tune.Tuner(
        tune.with_resources(trainable, _bundles(share)),
        tune_config=tune.TuneConfig(
            max_concurrent_trials=min(concurrent or share.at_once, share.at_once),
            # Loading torch takes a trial ten seconds of two cores; but a GPU's memory is only
            # certain to be free again when the process that used it has ended.
            reuse_actors=not share.gpus,
            trial_name_creator=_signature,
            trial_dirname_creator=_signature,
            search_alg=_Search(jobs, share),
            num_samples=-1,
            scheduler=_halving(stopping) if stopping else None,
        ),
        run_config=tune.RunConfig(
            name=own.name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[_Watch(progress, is_halving=stopping is not None)],
            failure_config=tune.FailureConfig(max_failures=MAX_CRASHES),
        ),
    )
    try:
        with termination_as_interrupt():
            tuner.fit()
    finally:
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):  # a process of the same number on another machine uses it, too
            storage.rmdir()


def trial(config: dict[str, Job], work: Work) -> None:
    """What Ray runs in a process of its own."""
    work(config["job"], tune.report)


class _Search(Searcher):
    """Ray's way of asking for the next run; which one it is, is decided elsewhere."""

    def __init__(self, jobs: Iterable[Job], share: Share) -> None:
        super().__init__(metric="AP", mode="max")
        self.jobs, self.share = iter(jobs), share

    def suggest(self, trial_id: str) -> Any:
        """The next job, as Ray's config; asked whenever a run fits."""
        job, share = next(self.jobs, None), self.share
        if job is None:
            return Searcher.FINISHED
        device = "cuda" if share.gpus else "cpu"
        job = replace(job, device=device, workers=share.workers, processes=share.processes)
        return {"job": job}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The iterator reads results where they are: in the folders."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray writes its searchers to disk, too; nothing is restored from there."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Likewise."""


class _Halving(ASHAScheduler):
    """ASHA, but who gets to the last step is not ended there: its result is still to be written."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get("AP") is None or result.get("tested_at", 0) >= self._max_t:
            return str(self.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))


def _halving(stopping: early.Early) -> ASHAScheduler:
    """The scheduler, with what earlier launches have shown it."""
    steps = {"grace_period": stopping.first, "max_t": stopping.iterations}
    scheduler = _Halving("tested_at", "AP", "max", reduction_factor=early.FACTOR, **steps)
    for signature, tests in stopping.past.items():
        past = SimpleNamespace(trial_id=signature)
        scheduler.on_trial_add(None, past)
        for step, ap in tests:
            scheduler.on_trial_result(None, past, {"tested_at": step, "AP": ap})
    return scheduler


def _signature(ray_trial: Any) -> str:
    return str(ray_trial.config["job"].folder.name)


class _Watch(tune.Callback):
    """Hands what Ray reports to the one view of the launch."""

    def __init__(self, progress: Progress, *, is_halving: bool) -> None:
        self.progress, self.is_halving = progress, is_halving

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

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Done, failed for a reason, or ended early."""
        folder = RunFolder(trial.config["job"].folder)
        if self.is_halving and (where := early.stop(folder)):
            reason = f"AP {where.ap:.1f} after {where.step} steps is not among the best"
            self.progress.update(_signature(trial), {"state": early.NAME, "reason": reason})

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        values = {"state": "retrying", "reason": _reason(trial)}
        self.progress.update(_signature(trial), values)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The last attempt ended in a crash: leave the reason where the next one finds it."""
        reason = f"crashed {MAX_CRASHES + 1} times, at last: {_reason(trial)}"
        job = trial.config["job"]
        folder = RunFolder(job.folder)
        with suppress(OSError):  # a full disk; the terminal and Ray's own logs say it, too
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


# Addresses of machines: whether somebody answers at one, and a free one


ANSWER_SECONDS = 10.0


def require_answer(address: str) -> None:
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


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
