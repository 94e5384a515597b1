"""The whole command on real parts: Ray, MLflow, the notebook; killed, cancelled, given again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, launch_line, wait_for
from test_trial import files

from orchestration.plan import Job, Setup, find_tables, make_plan
from orchestration.records import TRAININGS, local_uri
from orchestration.run_folder import RunFolder, open_store
from orchestration.trial import run_trial

EXAMPLE = ROOT / "docs" / "my_ablation.py"
ROWS = {3: "closest 3", 4: "ATSS"}  # the file's own assigner, and the paper's


@pytest.mark.slow
def test_a_launch_that_is_killed_and_cancelled_ends_as_if_nothing_had_happened(
    start, atss, data, tmp_path
):
    """The same line four times; the last one trains nothing."""
    from mlflow import MlflowClient

    out, settings = tmp_path / "out", ["iterations=120", "evaluations=8"]
    line = launch_line(EXAMPLE, "--rows", "3,4", data=data, out=out, settings=settings)
    store = open_store(out)

    killed = start(*line)
    wait_for(lambda: any(it.checkpoint.exists() for it in store.folders()), 300, killed)
    killed.process.kill()
    folders = store.folders()
    wait_for(lambda: not any(it.is_running for it in folders), 60)  # trainings end with the launch
    assert not any(it.is_done for it in folders)

    def going_on() -> list[RunFolder]:
        return [it for it in store.folders() if it.is_running and it.live().get("resumed_at")]

    ended = start(*line)
    chosen = wait_for(going_on, 300, ended)[0]
    code, output, _ = atss("cancel", chosen.signature, "--out", out)
    assert code == 0 and ": cancelled" in output
    assert ended.process.wait(timeout=300) == 1
    told = "atss: 1 run cancelled as asked: the same line goes on, atss status lists them\n"
    assert ended.errors.read_text() == told
    log = ended.output.read_text()
    assert ": goes on after step" in log and "of 120" in log and "retrying" not in log
    assert ": cancelled: by " in log and log.count(": done, AP") == 1
    assert chosen.checkpoint.exists() and not chosen.is_done
    assert not list(out.glob(".ray*"))

    log = finish(start(*line))
    assert "2 rows, 1 seed: 2 distinct runs, 1 done, 1 to train" in log
    assert ": goes on after step" in log and log.count(": done, AP") == 1
    assert "my_ablation. What makes ATSS" in log and "paper" not in log
    check_report(out)
    check_records(MlflowClient(local_uri(store)), "my_ablation", ROWS)
    undisturbed = train_alone(chosen, EXAMPLE, data, tmp_path / "alone")
    assert files(chosen) == files(undisturbed)
    assert "process " in chosen.log.read_text()

    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    log = finish(start(*line))
    assert "2 done, 0 to train" in log and "my_ablation. What makes ATSS" in log
    assert "Training" not in log
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert after == written


def finish(launch: Any) -> str:
    """What a launch says that succeeds without a word on the error stream."""
    assert launch.process.wait(timeout=300) == 0, launch.said()
    assert launch.errors.read_text() == ""
    return launch.output.read_text()


def train_alone(folder: RunFolder, table: object, data: Path, place: Path) -> RunFolder:
    """The run of a launch, from its first step to its last in this process."""
    setup = Setup.from_json(folder.facts()["setup"])
    plan = make_plan(setup, find_tables([str(table)]))
    (run,) = (it.run for it in plan.runs if it.signature == folder.signature)
    run_trial(Job(run, place / folder.signature, str(data), {}), lambda values: None)
    return RunFolder(place / folder.signature)


def check_report(out: Path) -> None:
    """The page shows the file's assigner, and every run keeps its own."""
    (page,) = out.glob("reports/*/my_ablation.html")
    assert page.with_suffix(".ipynb").is_file()
    text = page.read_text()
    assert "def closest(" in text and "closest 3" in text
    facts = [json.loads(path.read_text()) for path in out.glob("runs/*/run.json")]
    stored = {it["params"]["assigner"]: it.get("assigner") for it in facts}
    assert set(stored) == {"closest(k=3)", "atss"} and stored["atss"] is None
    assert "def closest(" in stored["closest(k=3)"]["source"]


def check_records(client: Any, table: str, rows: Mapping[int, str]) -> list[Any]:
    """MLflow has a record of every training, and the table's rows in order; returns the former."""
    by_name = {it.name: it.experiment_id for it in client.search_experiments()}
    trainings = client.search_runs([by_name.pop(TRAININGS)])
    assert [training.info.status for training in trainings] == ["FINISHED"] * len(rows)
    (where,) = (it for name, it in by_name.items() if name.startswith(f"{table} - demo "))
    *found, report = client.search_runs([where], order_by=["start_time DESC"])
    expected = [f"{number:02} {label}" for number, label in rows.items()]
    assert [row.info.run_name for row in (*found, report)] == [*expected, "report"]
    assert {row.data.tags["training_run"] for row in found} == {t.info.run_id for t in trainings}
    return list(trainings)
