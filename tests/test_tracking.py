"""The records in MLflow are the image of the results folder: never doubled, remade when lost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestration.store import RunFolder, Store, open_store
from orchestration.tracking import TRAININGS, RowRecord, Tracker, open_tracker

SIGNATURE = "0123456789ab"
FACTS = {
    "name": "Table 2: Intersection over Union, Box - seed 0",
    "canonical": {"config": {"k": 9}, "seed": 0},
    "params": {"group_norm": True, "k": 9, "anchor_scales": [8.0], "backbone": "small"},
    "seed": 0,
    "rows": ["Table 2: Intersection over Union, Box", "Table 1: + Scalar"],
    "setup": {"name": "demo - shapes"},
    "code": {"version": "0.1.0", "commit": "abc", "tree": "clean"},
    "data": {"name": "shapes", "fingerprint": "f00d" * 16, "where": "shapes"},
    "environment": {"torch": "2.15.0", "gpu": "none"},
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose database has just been created: once, because that takes seconds."""
    store = open_store(tmp_path_factory.mktemp("fresh"))
    open_tracker(store)
    return store


@pytest.fixture
def tracker(fresh: Store, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A tracker on the module's database with a clean slate of experiments."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = open_tracker(fresh)
    for experiment in tracker.client.search_experiments():
        for run in tracker.client.search_runs([experiment.experiment_id]):
            tracker.client.delete_run(run.info.run_id)
    return tracker


@pytest.fixture
def folder(fresh: Store) -> RunFolder:
    folder = fresh.folder(SIGNATURE)
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.write("run", FACTS)
    return folder


def advance(folder: RunFolder, first: int, last: int) -> None:
    for step in range(first, last + 1):
        folder.append({"step": step, "loss/cls": 1.0 / step, "learning_rate": 0.01})


def finish(folder: RunFolder) -> None:
    folder.append({"step": 10, "AP": 31.5, "AP50": 50.0, "AP_S": None})
    folder.detections.write_text("[]")
    folder.weights.write_bytes(b"weights")
    metrics = {"ap": 31.5, "ap50": 50.0, "ap75": 30.0, "ap_s": None, "ap_m": 20.0, "ap_l": 40.0}
    folder.write("result", {"signature": SIGNATURE, "seed": 0, "metrics": metrics, "seconds": 61.0})


def trainings(tracker: Tracker) -> list[Any]:
    return list(tracker.client.search_runs([tracker.experiment(TRAININGS)]))


def steps(tracker: Tracker, name: str) -> list[int]:
    (record,) = trainings(tracker)
    return [point.step for point in tracker.client.get_metric_history(record.info.run_id, name)]


def test_a_training_is_recorded_whole(tracker: Tracker, folder: RunFolder) -> None:
    advance(folder, 1, 10)
    finish(folder)
    tracker.mirror(folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FINISHED"
    assert record.info.run_name == FACTS["name"]
    expected = {"group_norm": "true", "k": "9", "anchor_scales": "8.0", "backbone": "small"}
    assert record.data.params == expected
    assert record.data.tags["signature"] == SIGNATURE and record.data.tags["seed"] == "0"
    assert record.data.tags["environment.torch"] == "2.15.0"
    assert record.data.tags["code.commit"] == "abc"
    assert record.data.tags["rows"] == "; ".join(FACTS["rows"])
    assert record.data.metrics["AP"] == 31.5 and "AP_S" not in record.data.metrics
    (data,) = record.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("shapes", "f00d" * 9)
    files = {file.path for file in tracker.client.list_artifacts(record.info.run_id)}
    assert files >= {"config.json", "detections.json", "weights.safetensors"}
    path = tracker.client.download_artifacts(record.info.run_id, "config.json")
    assert json.loads(Path(path).read_text()) == FACTS["canonical"]


def test_a_resumed_training_keeps_one_record_and_one_value_per_step(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 6)
    tracker.mirror(folder, is_running=True)
    folder.forget_after(4)  # the process was killed and went on from the checkpoint at step 4
    advance(folder, 5, 10)
    another = open_tracker(tracker.store)
    another.mirror(folder, is_running=True)
    finish(folder)
    another.mirror(folder)
    another.mirror(folder)
    assert steps(another, "loss/cls") == list(range(1, 11))
    assert steps(another, "AP") == [10]


def test_a_training_that_failed_or_was_stopped_says_so_and_can_go_on(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 3)
    tracker.mirror(folder)
    assert trainings(tracker)[0].info.status == "KILLED"
    folder.write("failure", {"reason": "the loss is nan at step 4", "traceback": ""})
    tracker.mirror(folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FAILED"
    assert record.data.tags["failure"] == "the loss is nan at step 4"
    folder.forget_failure()
    tracker.mirror(folder, is_running=True)
    assert trainings(tracker)[0].info.status == "RUNNING"
    finish(folder)
    tracker.mirror(folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FINISHED" and "failure" not in record.data.tags


def test_what_looks_wrong_and_who_cancelled_it_is_on_the_record(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 3)
    signs = [{"code": text, "step": 1, "text": text} for text in ("loss is 9", "AP is 0")]
    folder.write("warnings", signs)
    folder.write("cancel", {"by": "me@here", "at": "noon"})
    tracker.mirror(folder)
    (record,) = trainings(tracker)
    assert record.data.tags["warning"] == "loss is 9; AP is 0"
    assert record.data.tags["cancelled"] == "me@here at noon" and record.info.status == "KILLED"
    folder.forget_cancellation()
    tracker.mirror(folder, is_running=True)
    assert "cancelled" not in trainings(tracker)[0].data.tags
    finish(folder)
    tracker.mirror(folder)
    assert trainings(tracker)[0].data.tags["warning"] == "loss is 9; AP is 0"


def test_a_lost_record_is_made_again(tracker: Tracker, folder: RunFolder) -> None:
    advance(folder, 1, 10)
    finish(folder)
    tracker.mirror(folder)
    tracker.client.delete_run(trainings(tracker)[0].info.run_id)
    assert trainings(tracker) == []
    tracker.mirror(folder)
    assert steps(tracker, "AP") == [10]


def row(order: int, ap: float, signature: str = SIGNATURE) -> RowRecord:
    return RowRecord(
        name=f"{order + 1:02} row {order} - seed 0",
        order=order,
        signature=signature,
        toggles={"group_norm": bool(order), "assigner": "iou"},
        metrics={"AP": ap, "AP50": ap + 20, "paper_AP": 37.0, "delta_AP": ap - 37.0},
    )


def table_names(tracker: Tracker, name: str) -> list[str]:
    """The rows as MLflow's page lists them: newest first."""
    experiment = tracker.client.get_experiment_by_name(name)
    runs = tracker.client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
    return [run.info.run_name for run in runs]


def test_a_tables_rows_stand_in_the_papers_order_and_are_never_doubled(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 10)
    finish(folder)
    tracker.mirror(folder)
    name = "Table 2 - demo - shapes"
    tracker.table(name, "**Table 2**", [row(0, 30.0), row(2, 32.0)])
    tracker.table(name, "**Table 2**", [row(0, 30.0), row(1, 31.0), row(2, 32.0)])
    expected = ["01 row 0 - seed 0", "02 row 1 - seed 0", "03 row 2 - seed 0"]
    assert table_names(tracker, name) == expected
    tracker.table(name, "**Table 2**", [row(0, 33.0, "another"), row(1, 31.0), row(2, 32.0)])
    assert table_names(tracker, name) == expected
    experiment = tracker.client.get_experiment_by_name(name)
    assert experiment.tags["mlflow.note.content"] == "**Table 2**"
    page = tracker.pages("http://127.0.0.1:5000")[name]
    assert page.startswith(f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs")
    runs = tracker.client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
    assert [run.data.metrics["AP"] for run in runs] == [33.0, 31.0, 32.0]
    assert runs[0].data.params == {"group_norm": "false", "assigner": "iou"}
    assert runs[1].data.tags["training_run"] == trainings(tracker)[0].info.run_id
    assert runs[1].data.tags["kind"] == "row"


def test_the_store_lets_readers_in_while_it_is_written(tracker: Tracker) -> None:
    import sqlite3

    connection = sqlite3.connect(tracker.store.root / "mlflow.db")
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_store_of_records_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/missing/mlflow.db")
    (tmp_path / "missing").write_text("a file where a folder is needed")
    with pytest.raises(ValueError, match="MLflow needs a store of records at sqlite:///"):
        open_tracker(open_store(tmp_path))
