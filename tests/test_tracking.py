"""The records in MLflow are the image of the results folder: never doubled, remade when lost."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.mirroring import following, mirror
from orchestration.recording import link_trainings, record_table
from orchestration.records import NOTE, REPORT, ReportRecord, RowRecord, TableRecord, address
from orchestration.results import load_result
from orchestration.store import RunFolder, Store, open_store
from orchestration.tracking import TRAININGS, Tracker, open_tracker

SIGNATURE = "0123456789ab"
FACTS = {
    "name": "Table 2: Intersection over Union, Box - seed 0",
    "canonical": {"config": {"k": 9}, "seed": 0},
    "params": {"group_norm": True, "k": 9, "anchor_scales": [8.0, 4.0], "assigner": "atss"},
    "seed": 0,
    "rows": ["Table 2: Intersection over Union, Box", "Table 1: + Scalar"],
    "setup": {"name": "demo - shapes", "scale": "demo", "data": "shapes"},
    "command": "atss reproduce table2",
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
    result = {"signature": SIGNATURE, "seed": 0, "metrics": metrics, "seconds": 61.0}
    folder.write("result", result | {"facts": {"gpu": "none"}})


def trainings(tracker: Tracker) -> list[Any]:
    return list(tracker.client.search_runs([tracker.experiment(TRAININGS)]))


def steps(tracker: Tracker, name: str) -> list[int]:
    (record,) = trainings(tracker)
    return [point.step for point in tracker.client.get_metric_history(record.info.run_id, name)]


def test_a_training_is_recorded_whole(tracker: Tracker, folder: RunFolder) -> None:
    advance(folder, 1, 10)
    finish(folder)
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FINISHED"
    assert record.info.run_name == FACTS["name"]
    expected = {"group_norm": "true", "k": "9", "anchor_scales": "8,4", "assigner": "atss"}
    assert record.data.params == expected
    assert record.data.tags["signature"] == SIGNATURE and record.data.tags["seed"] == "0"
    assert record.data.tags["environment.torch"] == "2.15.0"
    assert record.data.tags["code.commit"] == "abc"
    assert record.data.tags["rows"] == "; ".join(FACTS["rows"])
    assert (record.data.tags["assigner"], record.data.tags["scale"]) == ("atss", "demo")
    assert "Table 1: + Scalar" in record.data.tags[NOTE]
    assert record.data.metrics["AP"] == 31.5 and "AP_S" not in record.data.metrics
    (data,) = record.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("shapes", "f00d" * 9)
    assert [tag.value for tag in data.tags] == ["training"]
    files = {file.path for file in tracker.client.list_artifacts(record.info.run_id)}
    assert files >= {"config.json", "detections.json", "weights.safetensors"}
    path = tracker.client.download_artifacts(record.info.run_id, "config.json")
    assert json.loads(Path(path).read_text()) == FACTS["canonical"]


def test_a_resumed_training_keeps_one_record_and_one_value_per_step(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 6)
    mirror(tracker, folder, is_running=True)
    folder.forget_after(4)  # the process was killed and went on from the checkpoint at step 4
    advance(folder, 5, 10)
    another = open_tracker(tracker.store)
    mirror(another, folder, is_running=True)
    finish(folder)
    mirror(another, folder)
    mirror(another, folder)
    assert steps(another, "loss/cls") == list(range(1, 11))
    assert steps(another, "AP") == [10]


def test_a_training_that_failed_or_was_stopped_says_so_and_can_go_on(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 3)
    mirror(tracker, folder)
    assert trainings(tracker)[0].info.status == "KILLED"
    folder.write("failure", {"reason": "the loss is nan at step 4", "traceback": ""})
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FAILED"
    assert record.data.tags["failure"] == "the loss is nan at step 4"
    folder.forget_failure()
    mirror(tracker, folder, is_running=True)
    assert trainings(tracker)[0].info.status == "RUNNING"
    finish(folder)
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    assert record.info.status == "FINISHED" and "failure" not in record.data.tags


def test_what_looks_wrong_and_who_cancelled_it_is_on_the_record(
    tracker: Tracker, folder: RunFolder
) -> None:
    advance(folder, 1, 3)
    signs = [{"code": text, "step": 1, "text": text} for text in ("loss is 9", "AP is 0")]
    folder.write("warnings", signs)
    folder.write("cancel", {"by": "me@here", "at": "noon"})
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    assert record.data.tags["warning"] == "loss is 9; AP is 0"
    assert record.data.tags["cancelled"] == "me@here at noon" and record.info.status == "KILLED"
    folder.forget_cancellation()
    mirror(tracker, folder, is_running=True)
    assert "cancelled" not in trainings(tracker)[0].data.tags
    finish(folder)
    mirror(tracker, folder)
    assert trainings(tracker)[0].data.tags["warning"] == "loss is 9; AP is 0"


def test_a_lost_record_is_made_again(tracker: Tracker, folder: RunFolder) -> None:
    advance(folder, 1, 10)
    finish(folder)
    mirror(tracker, folder)
    tracker.client.delete_run(trainings(tracker)[0].info.run_id)
    assert trainings(tracker) == []
    mirror(tracker, folder)
    assert steps(tracker, "AP") == [10]


def test_a_runs_folder_says_where_its_record_is(tracker: Tracker, folder: RunFolder) -> None:
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    where = {"experiment": tracker.experiment(TRAININGS), "run": record.info.run_id}
    path = folder.path / "record.json"
    assert json.loads(path.read_text()) == where
    finish(folder)
    result = load_result(folder)
    assert result is not None and result.facts["MLflow run"] == record.info.run_id
    written = path.stat().st_mtime_ns
    mirror(tracker, folder)
    assert path.stat().st_mtime_ns == written
    tracker.client.delete_run(record.info.run_id)
    mirror(tracker, folder)
    assert json.loads(path.read_text()) != where


def test_what_a_report_makes_of_an_older_run_is_attached_to_its_record(
    tracker: Tracker, folder: RunFolder
) -> None:
    finish(folder)
    mirror(tracker, folder)
    (record,) = trainings(tracker)
    before = {file.path for file in tracker.client.list_artifacts(record.info.run_id)}
    assert not before & {"matches.npz", "insight.json"}
    folder.matches.write_bytes(b"matches")
    folder.write("insight", {"classes": []})
    mirror(tracker, folder)
    after = {file.path for file in tracker.client.list_artifacts(record.info.run_id)}
    assert after == before | {"matches.npz", "insight.json"}


def test_a_launch_leaves_all_its_runs_recorded(tracker: Tracker, folder: RunFolder) -> None:
    with following(tracker, [folder]):
        advance(folder, 1, 4)
        finish(folder)
    assert steps(tracker, "loss/cls") == [1, 2, 3, 4]
    assert trainings(tracker)[0].info.status == "FINISHED"


NAME = "Table 2 - demo - shapes"


def row(number: int, ap: float, signature: str = SIGNATURE, seed: int = 0) -> RowRecord:
    return RowRecord(
        name=f"{number + 1:02} row {number} - seed {seed}",
        order=1000 * number + seed,
        signature=signature,
        toggles={"scalar": bool(number)},
        metrics={"AP": ap, "AP50": ap + 20, "paper_AP": 37.0},
        tags={"kind": "row", "row": f"row {number}", "seed": str(seed), "assigner": "iou"},
        note=f"**AP {ap}**.\n\nMade by `atss`.",
    )


def fill(tracker: Tracker, *rows: RowRecord, report: ReportRecord | None = None) -> str:
    """Record a table of these rows; the id of its experiment."""
    table = TableRecord(
        name=NAME,
        note="**Table 2**",
        rows=rows,
        report=report,
        tags={"table": "table2", "scale": "demo"},
        data={"name": "shapes", "fingerprint": "f00d" * 16, "where": "shapes"},
        views={"atss": "{}"},
    )
    record_table(tracker, table)
    return str(tracker.client.get_experiment_by_name(NAME).experiment_id)


def records(tracker: Tracker, experiment: str) -> list[Any]:
    """As MLflow's page lists them: newest first."""
    return list(tracker.client.search_runs([experiment], order_by=["start_time DESC"]))


def names(tracker: Tracker, experiment: str) -> list[str]:
    return [record.info.run_name for record in records(tracker, experiment)]


def test_a_tables_rows_stand_in_the_papers_order_and_are_never_doubled(
    tracker: Tracker, folder: RunFolder
) -> None:
    finish(folder)
    mirror(tracker, folder)
    fill(tracker, row(0, 30.0), row(2, 32.0))
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0), row(2, 32.0))
    expected = ["01 row 0 - seed 0", "02 row 1 - seed 0", "03 row 2 - seed 0"]
    assert names(tracker, experiment) == expected
    fill(tracker, row(0, 33.0, "another"), row(1, 31.0), row(2, 32.0))
    assert names(tracker, experiment) == expected
    first, second, third = records(tracker, experiment)
    assert [run.data.metrics["AP"] for run in (first, second, third)] == [33.0, 31.0, 32.0]
    assert first.data.params == {"scalar": "false"} and second.info.status == "FINISHED"
    (data,) = second.inputs.dataset_inputs
    assert [tag.value for tag in data.tags] == ["validation"]
    found = tracker.client.search_runs(
        [experiment], "tags.table = 'table2' and tags.scale = 'demo' and metrics.AP > 31.5"
    )
    assert sorted(run.info.run_name for run in found) == [expected[0], expected[2]]


def test_a_row_leads_to_its_training_and_back(tracker: Tracker, folder: RunFolder) -> None:
    finish(folder)
    mirror(tracker, folder)
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0, "not recorded"))
    link_trainings(tracker, tracker.store, [SIGNATURE])
    (training,) = trainings(tracker)
    first, second = records(tracker, experiment)
    assert first.data.tags["training_run"] == training.info.run_id
    assert address(tracker.experiment(TRAININGS), training.info.run_id) in first.data.tags[NOTE]
    assert "training_run" not in second.data.tags
    assert f"({address(experiment, first.info.run_id)})" in training.data.tags[NOTE]
    assert second.info.run_id not in training.data.tags[NOTE]


def test_a_row_that_has_changed_keeps_its_record_where_mlflow_can_change_it(
    tracker: Tracker,
) -> None:
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0))
    before = [record.info.run_id for record in records(tracker, experiment)]
    more = replace(row(0, 30.0), metrics={"AP": 30.5, "AP50": 50.0, "paper_AP": 37.0, "AP_low": 1})
    fill(tracker, replace(more, toggles={"scalar": False, "seed": 0}), row(1, 31.0, seed=0))
    first, second = records(tracker, experiment)
    assert [first.info.run_id, second.info.run_id] == before
    assert first.data.metrics == {"AP": 30.5, "AP50": 50.0, "paper_AP": 37.0, "AP_low": 1.0}
    assert first.data.params == {"scalar": "false", "seed": "0"}
    less = replace(more, metrics=more.metrics | {"AP": 29.5}, toggles={"scalar": False, "seed": 0})
    fill(tracker, less, row(1, 31.0))
    first, _ = records(tracker, experiment)
    assert first.info.run_id == before[0] and first.data.metrics["AP"] == 29.5
    fill(tracker, row(0, 29.5), row(1, 31.0))  # its interval is no longer known, nor a param
    first, _ = records(tracker, experiment)
    assert first.info.run_id != before[0] and "AP_low" not in first.data.metrics
    fill(tracker, replace(row(0, 29.5), toggles={}), row(1, 31.0))
    gone = records(tracker, experiment)[0].info.run_id
    assert gone != first.info.run_id
    fill(tracker, replace(row(0, 29.5), toggles={}, metrics={"AP": 29.5}), row(1, 31.0))
    first, _ = records(tracker, experiment)
    assert first.info.run_id != gone and first.data.metrics == {"AP": 29.5}
    fill(tracker, replace(row(0, 30.0), toggles={"scalar": True}), row(1, 31.0))
    first, second = records(tracker, experiment)
    assert first.info.run_id != before[0] and first.data.params == {"scalar": "true"}
    assert second.info.run_id == before[1]


def test_seeds_stand_under_their_row_however_late_they_come(tracker: Tracker) -> None:
    fill(tracker, row(0, 30.0), row(1, 31.0))
    seeds = [row(number, 30.0 + seed, seed=seed) for number in (0, 1) for seed in (0, 2, 5)]
    experiment = fill(tracker, *seeds)
    assert names(tracker, experiment) == [record.name for record in seeds]


def test_rows_that_a_table_lost_are_deleted_and_what_others_recorded_is_left(
    tracker: Tracker,
) -> None:
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0), row(2, 32.0))
    tracker.client.create_run(experiment, 1, {}, "a person's own")
    lost = records(tracker, experiment)[1].info.run_id
    fill(tracker, row(0, 30.0), row(2, 32.0))
    expected = ["01 row 0 - seed 0", "03 row 2 - seed 0", "a person's own"]
    assert names(tracker, experiment) == expected
    tracker.client.restore_run(lost)  # from MLflow's page, say
    assert names(tracker, experiment)[1] == "02 row 1 - seed 0"


def make_report(folder: Path, text: str) -> ReportRecord:
    page = folder / "table2.html"
    page.write_text(text)
    return ReportRecord(
        name="table2",
        note="The report of **Table 2**.\n\n- H4 **undecided**",
        files=(page,),
        tables={"rows.json": {"columns": ["row", "AP"], "data": [["a", 30.0]]}},
        digest=text,
    )


def test_the_report_is_one_record_below_the_rows_without_a_number_of_its_own(
    tracker: Tracker, tmp_path: Path
) -> None:
    fill(tracker, row(0, 30.0), report=make_report(tmp_path, "first"))
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0), report=make_report(tmp_path, "second"))
    first, second, report = records(tracker, experiment)
    assert report.info.run_name == REPORT and report.info.status == "FINISHED"
    assert not report.data.metrics and not report.data.params
    assert report.data.tags["kind"] == "report" and report.data.tags["table"] == "table2"
    (data,) = report.inputs.dataset_inputs
    assert data.dataset.digest == "f00d" * 9
    page = tracker.client.download_artifacts(report.info.run_id, "table2.html")
    assert Path(page).read_text() == "second"
    shown = json.loads(report.data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "rows.json", "type": "table"}]
    note = report.data.tags[NOTE]
    assert "H4 **undecided**" in note
    assert f"[page]({address(experiment, report.info.run_id, 'table2.html')})" in note
    for one in (first, second):
        assert address(experiment, one.info.run_id) in note
        assert address(experiment, report.info.run_id) in one.data.tags[NOTE]
    fill(tracker, row(0, 30.0), row(1, 31.0))  # a report that could not be written
    assert names(tracker, experiment)[-1] == REPORT


def test_an_experiments_page_opens_with_its_view_and_leads_on(tracker: Tracker) -> None:
    experiment = fill(tracker, row(0, 30.0), row(1, 31.0))
    tags = tracker.client.get_experiment(experiment).tags
    links, note = tags[NOTE].split("\n\n")
    assert note == "**Table 2**"
    for record in records(tracker, experiment):
        assert record.info.run_id in links  # in the address of the page that compares them
    assert tags["mlflow.sharedViewState.atss"] == "{}"
    page = tracker.pages("http://127.0.0.1:5000")[NAME]
    assert page.startswith(f"http://127.0.0.1:5000/#/experiments/{experiment}/runs")
    assert page.endswith("&viewStateShareKey=atss")


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
