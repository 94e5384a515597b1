"""A run of several processes through Ray: the same numbers, and no way to hang."""

import io
import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from test_trial import RECIPE, make_job

from orchestration.plan import Job
from orchestration.progress import Progress
from orchestration.resources import Resources
from orchestration.run_folder import RunFolder
from orchestration.trial import run_trial

pytestmark = pytest.mark.slow


def test_a_run_of_two_processes_of_which_one_is_killed_gives_the_numbers_of_one(
    data: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, iterations=20, learning_rate=0.001)
    alone, together = (make_job(data, tmp_path / name, recipe) for name in ("one", "two"))
    run_trial(alone, lambda values: None)
    killed, limit = list[int](), time.monotonic() + 600

    def kill_a_member() -> None:
        """End a process that shares the run's batches with the one that Ray has started."""
        while time.monotonic() < limit and not killed:
            is_begun = len(RunFolder(together.folder).history()) >= 5
            for process in psutil.Process().children(recursive=True) if is_begun else ():
                with suppress(psutil.NoSuchProcess):
                    if "from multiprocessing.spawn" in str(process.cmdline()) and not killed:
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
            time.sleep(0.02)

    threading.Thread(target=kill_a_member, daemon=True).start()
    log = launch(together, tmp_path)
    assert killed and "run: retrying" in log
    one, two = RunFolder(alone.folder), RunFolder(together.folder)
    assert two.is_done, two.failure()
    assert two.facts()["environment"]["processes"] == "2"
    for ours, its in zip(one.history(), two.history(), strict=True):
        losses = {name: value for name, value in ours.items() if "AP" not in name}
        assert {name: its[name] for name in losses} == pytest.approx(losses, rel=1e-3)
        assert its.get("AP") == pytest.approx(ours.get("AP"), abs=2.0)
    found = [json.loads(folder.detections.read_text()) for folder in (one, two)]
    shown = [{item["image_id"] for item in its} for its in found]
    assert shown[0] == shown[1]  # each process tested its share, and all of it arrived


def launch(job: Job, root: Path) -> str:
    """Train the job in two processes through Ray; what the log said."""
    from orchestration.tune import cluster, run_trials

    log = io.StringIO()
    progress = Progress({job.folder.name: "run"}, Console(file=log, width=200))
    with cluster(Resources(gpus_per_run=0, processes=2), job.run.recipe) as allocation, progress:
        run_trials([job], allocation, progress.update, root=root)
    return log.getvalue()
