"""The records in MLflow are the image of the results folder: never doubled, remade when lost."""

import json
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from made_up_results import RECIPE, make_bundle, metrics_of, with_scores
from test_oracles import check

from experiments import TABLES
from experiments.schedules import DEMO
from orchestration import tracking
from orchestration.plan import Setup
from orchestration.records import NOTE, TRAININGS, VIEW, table_records
from orchestration.results import MARKS, record, reports_folder
from orchestration.run_folder import RunFolder, Store, open_store
from orchestration.tracking import Tracker, following, mirror, open_tracker, record_table
from reports.results import Bundle

SIGNATURE = "0123456789ab"
FACTS = {
    "name": "Table 2: Intersection over Union, Box - seed 0",
    "canonical": {"config": {"k": 9}, "recipe": {}, "seed": 0},
    "params": {"group_norm": True, "k": 9, "anchor_scales": [8.0, 4.0], "assigner": "atss"},
    "seed": 0,
    "rows": ["Table 2: Intersection over Union, Box", "Table 1: + Scalar"],
    "setup": Setup("demo", DEMO, {}, "shapes", "f00d" * 16, "shapes").to_json(),
    "command": "atss reproduce table2",
    "code": {"version": "0.1.0", "commit": "abc", "tree": "clean"},
    "data": {"name": "shapes", "fingerprint": "f00d" * 16, "where": "shapes", "notes": []},
    "environment": {"torch": "2.15.0", "gpu": "none"},
}
SETUP = Setup("demo", RECIPE, {}, "made-up", "f" * 64, "/data/made-up")
NAME = "Table 4 - demo - made-up"
ROWS = ["01 k = 3", "02 k = 5", "03 k = 7"]
THREE = replace(TABLES["table4"], rows=TABLES["table4"].rows[:3], reference=0)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose database has just been created: once, because that takes seconds."""
    store = open_store(tmp_path_factory.mktemp("with spaces and ü"))
    open_tracker(store)
    return store


@pytest.fixture
def tracker(fresh: Store, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A tracker on the module's database with a clean slate of experiments."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = open_tracker(fresh)
    for home in tracker.client.search_experiments():
        for run in tracker.find(home):
            tracker.client.delete_run(run.info.run_id)
    return tracker


@pytest.fixture
def folder(fresh: Store) -> RunFolder:
    return make_folder(fresh, SIGNATURE)


def make_folder(store: Store, signature: str) -> RunFolder:
    folder = store.folder(signature)
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.write("run", FACTS)
    return folder


def advance(folder: RunFolder, first: int, last: int) -> None:
    for step in range(first, last + 1):
        folder.append({"step": step, "loss/cls": 1.0 / step, "learning_rate": 0.01})


def finish(folder: RunFolder) -> None:
    folder.append({"step": 10, "AP": 31.5, "AP50": 50.0, "AP_S": None})
    for path in (folder.detections, folder.weights, folder.matches, folder.insight):
        path.write_text(path.name)
    metrics = {"ap": 31.5, "ap50": 50.0, "ap75": 30.0, "ap_s": None, "ap_m": 20.0, "ap_l": 40.0}
    result = {"signature": folder.signature, "seed": 0, "metrics": metrics, "seconds": 61.0}
    folder.write("result", result | {"facts": {"gpu": "none"}})


def the_training(tracker: Tracker) -> Any:
    (record,) = tracker.find(tracker.experiment(TRAININGS))
    return record


def steps(tracker: Tracker, name: str) -> list[int]:
    run_id = the_training(tracker).info.run_id
    return [point.step for point in tracker.client.get_metric_history(run_id, name)]


def everything(tracker: Tracker) -> str:
    """All that MLflow shows, as text: ids as names, numbers as a table has them, no times."""
    lines, names, client = [], {}, tracker.client
    for home in sorted(client.search_experiments(), key=lambda home: home.name):
        runs = client.search_runs(
            [home.experiment_id], order_by=["start_time DESC", "attributes.run_name"]
        )
        if not runs:
            continue
        names[f"/experiments/{home.experiment_id}/"] = f"/{home.name}/"
        told = {name: text.split("\n\n")[0] for name, text in home.tags.items()}  # no grid
        lines += [f"# {home.name}", *map(" = ".join, sorted(told.items()))]
        for run in runs:
            names[run.info.run_id] = run.info.run_name
            lines += [f"## {run.info.run_name} {run.info.status}"]
            lines += [f"param {name} = {text}" for name, text in run.data.params.items()]
            lines += [f"metric {name} = {it:.1f}" for name, it in run.data.metrics.items()]
            told = {name: text for name, text in run.data.tags.items() if name != "digest"}
            lines += [f"tag {name} = {text}" for name, text in sorted(told.items())]
            for data in run.inputs.dataset_inputs:
                what = data.dataset
                lines += [f"{data.tags[0].value} {what.name} {what.digest} {what.source}"]
            lines += sorted(file.path for file in client.list_artifacts(run.info.run_id))
    text = "\n".join(lines) + "\n"
    for identity, name in names.items():
        text = text.replace(identity, name)
    return re.sub(r"\\\\\"|\\\"", "'", text)


@pytest.mark.parametrize(("table", "seeds"), [("table2", (0, 1)), ("table4", (0,))])
def test_all_that_mlflow_shows_of_a_training_and_a_table(tracker, tmp_path, table, seeds):
    bundle = with_scores(make_bundle(table, seeds))
    signature = bundle.signatures[bundle.table.rows[0].label][0]
    folder = make_folder(tracker.store, signature)
    advance(folder, 1, 10)
    finish(folder)
    mirror(tracker, folder)
    record_table(tracker, bundle, SETUP, make_report(tmp_path, "a report", table))
    check(f"records-{table}.txt", everything(tracker))


def test_a_resumed_training_keeps_one_record_and_one_value_per_step(tracker, folder):
    advance(folder, 1, 6)
    mirror(tracker, folder, is_running=True)
    folder.forget_after(4)  # the process was killed and went on from the checkpoint at step 4
    advance(folder, 5, 1502)  # more than MLflow takes at once
    another = open_tracker(tracker.store)
    mirror(another, folder, is_running=True)
    finish(folder)
    for one in (another, tracker, another):
        mirror(one, folder)
    assert steps(another, "loss/cls") == steps(another, "learning_rate") == list(range(1, 1503))
    assert steps(another, "AP") == [10]


def test_a_record_says_what_became_of_its_training_and_can_go_on(tracker, folder):
    def now(*, is_running: bool = False) -> tuple[str, dict[str, str]]:
        mirror(tracker, folder, is_running=is_running)
        record = the_training(tracker)
        remarks = ("failure", "cancelled", "warning")
        told = {name: record.data.tags[name] for name in remarks if name in record.data.tags}
        return record.info.status, told

    advance(folder, 1, 3)
    assert now() == ("KILLED", {})
    signs = [{"code": text, "step": 1, "text": text} for text in ("loss is 9", "AP is 0")]
    folder.write("warnings", signs)
    folder.write("failure", {"reason": "the loss is nan at step 4", "traceback": ""})
    warning = {"warning": "loss is 9; AP is 0"}
    assert now() == ("FAILED", warning | {"failure": "the loss is nan at step 4"})
    folder.forget("failure")
    assert now(is_running=True) == ("RUNNING", warning)
    folder.write("cancel", {"by": "me@here", "at": "noon"})
    assert now() == ("KILLED", warning | {"cancelled": "me@here at noon"})
    folder.forget("cancel")
    with following(tracker, [folder]):
        finish(folder)
    assert now() == ("FINISHED", warning)


def test_a_runs_folder_says_where_its_record_is_and_a_lost_one_is_made_again(tracker, folder):
    finish(folder)
    for _ in range(2):  # the second time in place of one that was lost
        mirror(tracker, folder)
        info = the_training(tracker).info
        where = {"experiment": info.experiment_id, "run": info.run_id}
        assert json.loads((folder.path / "record.json").read_text()) == where
        assert steps(tracker, "AP") == [10]
        tracker.client.delete_run(info.run_id)


def make_report(folder: Path, text: str, name: str = "table4") -> Path:
    for ending in (".html", ".csv", "-ap.svg", ".json", "-mine.html"):
        (folder / f"{name}{ending}").write_text(text)
    return folder


def fill(tracker: Tracker, bundle: Bundle, folder: Path = Path("nowhere")) -> dict[str, Any]:
    """Record a table; name -> record of its experiment, as MLflow lists them: newest first."""
    record_table(tracker, bundle, SETUP, folder)
    return listed(tracker)


def listed(tracker: Tracker) -> dict[str, Any]:
    home = tracker.client.get_experiment_by_name(NAME)
    found = tracker.client.search_runs([home.experiment_id], order_by=["start_time DESC"])
    assert len({run.info.run_name for run in found}) == len(found)  # none is doubled
    return {run.info.run_name: run for run in found}


def same(before: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """The names of the records that are still the same."""
    return {it for it in now if it in before and now[it].info.run_id == before[it].info.run_id}


def test_rows_stand_in_the_papers_order_changed_ones_are_made_anew_others_left(tracker, tmp_path):
    whole, part = make_bundle(THREE), make_bundle(THREE, missing=[("k = 5", 0)])
    assert list(fill(tracker, part)) == [ROWS[0], ROWS[2], "report"]
    first = fill(tracker, whole, make_report(tmp_path, "first"))
    assert list(first) == [*ROWS, "report"]
    home = tracker.experiment(NAME)
    tracker.client.create_run(home.experiment_id, 1, {}, "a person's own")
    again = fill(tracker, whole, make_report(tmp_path, "second"))
    assert same(first, again) == {*ROWS, "report"} and list(again)[-1] == "a person's own"
    page = tracker.client.download_artifacts(again["report"].info.run_id, "table4.html")
    assert Path(page).read_text() == "second"
    sought = "tags.table = 'table4' and tags.assigner = 'atss' and metrics.AP > 19.2"
    (found,) = tracker.find(home, f"{sought} and params.k = '7'")
    assert found.info.run_name == ROWS[2]
    name = whole.signatures["k = 5"][0]
    better = replace(whole.results[name], metrics=metrics_of(30.0))
    changed = fill(tracker, replace(whole, results={**whole.results, name: better}))
    assert same(again, changed) == {ROWS[0], ROWS[2], "report", "a person's own"}
    assert changed[ROWS[1]].data.metrics["AP"] == 30.0
    assert same(changed, fill(tracker, part)) == same(again, changed)
    both = fill(tracker, make_bundle(THREE, (0, 2)))
    assert {both[name].data.tags["seeds"] for name in ROWS} == {"0 2"}


def test_a_record_cut_short_is_completed(tracker, folder, monkeypatch):
    def dies(*arguments: object) -> None:
        raise OSError("the launch was killed")

    for name in ("create_run", "log_inputs", "log_batch"):
        for write in (lambda: mirror(tracker, folder), lambda: fill(tracker, make_bundle(THREE))):
            with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
                patch.setattr(tracker.client, name, dies)
                write()
    mirror(tracker, folder)
    rows = fill(tracker, make_bundle(THREE))
    for run in (the_training(tracker), *(rows[name] for name in ROWS)):
        assert run.data.params["k"] and len(run.inputs.dataset_inputs) == 1
        assert run.data.tags["kind"] == "training" or run.info.status == "FINISHED"


def test_pages_open_with_saved_views_where_mlflow_is_known_to_show_them(tracker):
    assert mlflow.__version__.startswith(tracking.KNOWN), "look at its page: is our view shown?"
    fill(tracker, make_bundle(THREE))
    tracker.is_known = False
    record_table(tracker, make_bundle(THREE), replace(SETUP, data="four"), Path("nowhere"))
    pages = tracker.pages("http://here")
    page = f"http://here/#/experiments/{tracker.experiment(NAME).experiment_id}/runs"
    charts = "?workflowType=machine_learning&compareRunsMode=CHART&view"
    assert pages[NAME].startswith(page + charts)
    assert pages["Table 4 - demo - four"].endswith("&compareRunsMode=TABLE")
    assert "compareRunsMode=TABLE&viewStateShareKey=atss" in pages[TRAININGS]
    view = json.loads(tracker.experiment(TRAININGS).tags[VIEW])
    columns = json.loads(view["state"])["selectedColumns"]
    assert columns[:2] == ["metrics.`AP`", "params.`assigner`"] and len(columns) == 13


def test_the_store_lets_readers_in_while_it_is_written(tracker):
    connection = sqlite3.connect(tracker.store.root / "mlflow.db")
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()
    assert not list(tracker.store.root.parent.glob("*%*")), "MLflow made a folder of its address"


def test_a_store_of_records_that_cannot_be_had_is_named_and_stops_nothing(
    tracker, tmp_path, monkeypatch
):
    (tmp_path / "missing").write_text("a file where a folder is needed")
    for uri in (f"sqlite:///{tmp_path}/missing/mlflow.db", "nothing://me:secret@here"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        problem = open_tracker(open_store(tmp_path)).problem or ""
        assert problem.endswith(f" ({uri.replace(':secret', '')})") and "\n" not in problem
    with tracker.tolerance():
        raise OSError("no route to host\nand more")
    assert tracker.problem == f"no route to host ({tracker.uri})"
    with tracker.tolerance():
        pass
    assert tracker.problem is None


def test_what_was_recorded_is_not_recorded_again_until_a_report_changes(tracker):
    folder, bundle = reports_folder(tracker.store, SETUP), make_bundle(THREE)
    assert record(tracker.store, SETUP, [bundle]) is None
    tracker.client.delete_run(listed(tracker)[ROWS[0]].info.run_id)
    for rows in (ROWS[1:], ROWS):
        assert record(tracker.store, SETUP, [bundle]) is None
        assert list(listed(tracker)) == [*rows, "report"]
        (folder / MARKS).unlink()  # as if reports were written anew


@pytest.mark.parametrize("table", TABLES)
def test_every_tables_rows_have_the_toggles_that_vary_and_ap_first(table):
    _, *found = table_records(with_scores(make_bundle(table, (0, 1))), SETUP, {})
    assert len(found) == len(TABLES[table].rows)
    for name in {name for one in found for name in one.params}:
        assert len({one.params.get(name) for one in found}) > 1
    assert {next(iter(one.metrics)) for one in found} == {"AP"}


def test_ultra_long_texts_are_cut_rather_than_refused(tracker, folder):
    folder.write("run", FACTS | {"command": "atss reproduce " + "x" * 9000})
    mirror(tracker, folder)
    assert len(the_training(tracker).data.tags[NOTE]) == 8000
    row = fill(tracker, replace(make_bundle(THREE), command="x" * 9000))[ROWS[0]]
    assert len(row.data.tags[NOTE]) == 8000
