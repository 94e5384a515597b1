"""The whole command on real parts: Ray, MLflow, the notebook, and a kill in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_trial import files

from detector.data.coco import open_data
from experiments import TABLES
from experiments.experiment import Run, signature
from orchestration.plan import Job, resolve_scale
from orchestration.run_folder import RunFolder, open_store
from orchestration.trial import run_trial

ROOT = Path(__file__).parents[1]
SHORT = ["iterations=6", "batch_size=2", "warmup_iterations=1", "evaluations=2", "short_side=64,64"]

pytestmark = pytest.mark.slow


def command(*line: object) -> subprocess.Popen[str]:
    """An `atss` command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", *map(str, line)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start(out: Path, data: Path, *arguments: str, settings: list[str]) -> subprocess.Popen[str]:
    changes = [part for setting in settings for part in ("--set", setting)]
    return command("reproduce", *arguments, "--data", data, "--out", out, *changes)


def reproduce(out: Path, data: Path, *arguments: str, settings: list[str]) -> tuple[str, float]:
    """The output of a launch that succeeded without a word on the error stream, and its seconds."""
    begun = time.monotonic()
    output, errors = start(out, data, *arguments, settings=settings).communicate(timeout=300)
    assert errors == ""
    return output, time.monotonic() - begun


def wait_for(happened: Callable[[], object], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_one_line_makes_a_table_and_a_second_one_trains_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output, first_seconds = reproduce(out, data, "table2", settings=SHORT)
    assert "4 rows, 1 seed: 4 distinct runs, 0 done, 4 to train" in output
    assert output.count(": done, AP") == 4
    assert "Table 2 of the paper." in output and "ours" in output
    folders = open_store(out).folders()
    assert len(folders) == 4 and all(folder.is_done for folder in folders)
    (reports,) = (out / "reports").iterdir()
    page = (reports / "table2.html").read_text()
    assert "Spatial and Scale Constraint" in page and (reports / "table2.ipynb").is_file()
    check_records(out, [row.label for row in TABLES["table2"].rows])
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    output, seconds = reproduce(out, data, "table2", settings=SHORT)
    assert "4 done, 0 to train" in output and "Table 2 of the paper." in output
    assert seconds < 20 or seconds < first_seconds / 3  # of a machine that is busy otherwise
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert after == written

    output, _ = reproduce(out, data, "table3", "--dry-run", settings=SHORT)
    assert "5 distinct runs, 2 done, 3 to train" in output


def check_records(out: Path, labels: list[str]) -> None:
    """MLflow has a record of every training, and the table's rows in the paper's order."""
    from orchestration.records import TRAININGS
    from orchestration.tracking import open_tracker

    client = open_tracker(open_store(out)).client
    by_name = {it.name: it.experiment_id for it in client.search_experiments()}
    trainings = client.search_runs([by_name.pop(TRAININGS)])
    assert [training.info.status for training in trainings] == ["FINISHED"] * len(labels)
    (table,) = (it for name, it in by_name.items() if name.startswith("Table 2 - demo "))
    *rows, report = client.search_runs([table], order_by=["start_time DESC"])
    expected = [f"{number:02} {label}" for number, label in enumerate(labels, start=1)]
    assert [row.info.run_name for row in (*rows, report)] == [*expected, "report"]
    assert {row.data.tags["training_run"] for row in rows} == {t.info.run_id for t in trainings}


def test_a_killed_launch_goes_on_and_ends_as_if_nothing_had_happened(
    data: Path, tmp_path: Path
) -> None:
    settings = [*SHORT[1:3], "iterations=40", "evaluations=8", "short_side=64,64"]
    out, line = tmp_path / "out", ("table2", "--rows", "1")
    recipe, _ = resolve_scale("demo", settings)
    run = Run(TABLES["table2"].rows[0].config, recipe, open_data(data).fingerprint, 0)
    folder = open_store(out).folder(signature(run))

    driver = start(out, data, *line, settings=settings)
    wait_for(folder.checkpoint.exists, seconds=300)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    wait_for(lambda: not folder.is_running, seconds=60)  # who trained it ends with the launch
    assert not folder.is_done and folder.checkpoint.exists()
    output, _ = reproduce(out, data, *line, settings=settings)
    assert "goes on after step" in output and "of 40" in output

    undisturbed = RunFolder(tmp_path / "undisturbed" / folder.signature)
    run_trial(Job(run, undisturbed.path, str(data), {}), lambda values: None)
    assert files(folder) == files(undisturbed)
