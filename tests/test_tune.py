"""Trials through a real Ray with a fake piece of work: retries, failures, interruption."""

import io
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import wait_for
from rich.console import Console

from detector.config import DetectorConfig, Recipe
from experiments.experiment import Run
from orchestration.plan import Job
from orchestration.progress import Progress
from orchestration.resources import Allocation, Resources
from orchestration.run_folder import RunFolder

RECIPE = Recipe(backbone="small", norm="group_norm", weights="none", iterations=10)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "head", "ray://head:10001", "head:x"])
def test_an_address_without_a_cluster_is_refused_at_once(address):
    from orchestration.tune import cluster

    begun = time.monotonic()
    with pytest.raises(ValueError, match="--address"), cluster(Resources(address), RECIPE):
        pass
    assert time.monotonic() - begun < 20


def work(job: Job, report: Any) -> None:
    """Ten steps that a seed makes quick, slow, deadly once, deadly always, or failing."""
    folder = RunFolder(job.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    attempt = folder.path / f"attempt.{os.getpid()}"
    attempt.write_text(os.environ.get("MALLOC_TRIM_THRESHOLD_", ""))
    attempts = len(list(folder.path.glob("attempt.*")))
    for step in range(1, 11):
        report({"state": "training", "step": step, "iterations": 10, "loss": 1 / step})
        if step == 3 and (job.run.seed == 2 or (job.run.seed == 1 and attempts == 1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if job.run.seed == 9:
            time.sleep(60)
    if job.run.seed == 3:
        folder.write("failure", {"reason": "the loss is nan", "traceback": ""})
        report({"state": "failed", "reason": "the loss is nan"})
        return
    metrics = {"ap": 20.0 + job.run.seed}
    result = {"signature": folder.signature, "seed": job.run.seed, "metrics": metrics}
    folder.write("result", result)
    report({"state": "done", "AP": metrics["ap"]})


def jobs(root: Path, *seeds: int) -> list[Job]:
    runs = [Run(DetectorConfig(), RECIPE, "f00d", seed) for seed in seeds]
    return [Job(run, root / "runs" / f"{run.seed:012}", "shapes", {}) for run in runs]


def launch(root: Path, allocation: Allocation, *seeds: int) -> str:
    """Run the fake work through Ray; what the log said."""
    import ray

    from orchestration.tune import run_trials

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # trials cannot import a test
    log = io.StringIO()
    todo = jobs(root, *seeds)
    names = {job.folder.name: f"seed {job.run.seed}" for job in todo}
    with Progress(names, Console(file=log, width=200)) as progress:
        run_trials(todo, allocation, progress.update, root=root, work=work)
    return log.getvalue()


@pytest.mark.slow
def test_trials_run_in_a_private_cluster_and_a_killed_one_is_tried_again(
    tmp_path, monkeypatch, capfd
):
    from orchestration.tune import SETTINGS, cluster

    (tmp_path / "detector.py").touch()  # in the user's folder
    monkeypatch.chdir(tmp_path)
    with cluster(Resources(), RECIPE) as allocation:
        log = launch(tmp_path, allocation, 0, 1, 2, 3)
        check_privacy(tmp_path)
    folders = [RunFolder(job.folder) for job in jobs(tmp_path, 0, 1, 2, 3)]
    assert [folder.is_done for folder in folders] == [True, True, False, False]
    failures = [folder.failure() or {} for folder in folders[2:]]
    reasons = ["crashed 3 times, at last: its process was killed", "the loss is nan"]
    assert [failure["reason"] for failure in failures] == reasons
    assert "Worker unexpectedly exits" in failures[0]["traceback"]
    attempts = [list(folder.path.glob("attempt.*")) for folder in folders]
    assert [*map(len, attempts)] == [1, 2, 3, 1]  # another attempt would fail the same way
    assert "seed 0: done, AP 20.0" in log and "seed 1: retrying" in log
    assert "seed 2: failed: crashed 3 times" in log and "seed 3: failed: the loss is nan" in log
    # What was set reached the processes.
    assert attempts[0][0].read_text() == SETTINGS["MALLOC_TRIM_THRESHOLD_"]
    assert not list(tmp_path.glob(".ray*"))
    output = capfd.readouterr()
    for line in (output.out + output.err).strip().splitlines():  # and no more than that
        assert "(raylet)" in line and "worker died" in line


def check_privacy(folder: Path) -> None:
    """Nobody else reaches the cluster, whose processes import what is installed."""
    import ray

    from orchestration.tune import PRIVATE

    place = ray.get(ray.remote(lambda: __import__("detector").__file__).remote())
    assert Path(place).name == "__init__.py" and folder not in Path(place).parents
    assert ray.get(ray.remote(os.getenv).remote("RAY_AUTH_TOKEN")) == PRIVATE["RAY_AUTH_TOKEN"]
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert {"raylet", "gcs_server"} <= {process.name() for process in family}
    there = [it for process in family for it in process.net_connections("tcp")]
    heard = {it.laddr.ip for it in there if it.status == psutil.CONN_LISTEN}
    assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"} and heard


@pytest.mark.slow
def test_an_interrupted_launch_leaves_no_process_behind(start, tmp_path):
    numbers = [signal.SIGINT, signal.SIGTERM]
    drivers = {number: start("test_tune", tmp_path / number.name) for number in numbers}
    for number, driver in drivers.items():
        wait_for(lambda at=number.name: [*tmp_path.glob(f"{at}/runs/*/attempt.*")], 90, driver)
        assert any(name.startswith("ray::") for name in left_of(driver.process.pid))
        time.sleep(1)
        driver.process.send_signal(number)
    for driver in drivers.values():
        assert driver.process.wait(timeout=30) != 0
        wait_for(lambda session=driver.process.pid: not left_of(session), 15)
        assert "KeyboardInterrupt" in driver.said()


def left_of(session: int) -> list[str]:
    """The names of a session's processes that still live."""
    names = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                names.append(" ".join(process.cmdline()))
    return names


if __name__ == "__main__":  # a launch to be interrupted
    from orchestration.tune import cluster

    with cluster(Resources(), RECIPE) as allocation:
        launch(Path(sys.argv[1]), allocation, 9)
