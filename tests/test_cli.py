"""The command line: what it prints, what it refuses in one line, how little it loads."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from rich.table import Table
from rich.text import Text
from test_plan import SETUP, finish
from test_trial import write_small_data

from experiments import TABLES
from experiments.schedules import SCALES
from orchestration import options, terminal
from orchestration.commands import train
from orchestration.plan import asked_setup, find_tables, make_plan
from orchestration.run_folder import Store, open_store


@pytest.mark.parametrize(
    ("command", "told"),
    [("tables", "41 rows, 33 distinct runs"), ("claims", "H1: atss reproduce table1 --rows 1,2")],
)
def test_lists_answer_at_once(tmp_path, command, told):
    heavy = {"torch", "torchvision", "ray", "mlflow", "pandas", "matplotlib", "nbconvert"}
    code = f"import atexit, sys; atexit.register(lambda: print({heavy} & {{*sys.modules}}))"
    line = [sys.executable, "-c", f"{code}; from orchestration.cli import main; main()", command]
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(line, cwd=tmp_path, env=where, capture_output=True, text=True)
    assert told in answer.stdout and answer.stderr == ""
    assert answer.stdout.endswith("set()\n"), answer.stdout[-200:]


def test_tables_are_shown_with_the_papers_numbers(atss):
    code, output, _ = atss("show", "table3")
    assert code == 0 and "Table 3. " in output and "assigner=atss" in output
    for row in TABLES["table3"].rows:
        assert re.search(rf"{re.escape(row.label)} .*{row.paper.ap}", output)


@pytest.mark.parametrize("command", ["tables", "show", "reproduce", "status", "report", "ui"])
def test_every_command_explains_itself_with_an_example(atss, command):
    code, output, _ = atss(command, "--help")
    assert code == 0 and f"atss {command}" in output and "Example" in output


REFUSED = {
    "show my_ablation.py": "my_ablation.py is no file of tables: No such file in /.* defines TABLE",
    "reproduce tabel2": "no table is called 'tabel2' .did you mean 'table2'.*table1, .* all",
    "reproduce all --rows 1": "--rows chooses from one table, got 7",
    "reproduce table2 --set k=5": "k=5 needs assigner='atss', got 'iou'",
    "reproduce table2 --set weights=none.pth": "weights needs .* readable file",
    "reproduce table2 --scale papper": f"'papper' is not one of {', '.join(map(repr, SCALES))}",
    "reproduce table2 --scale paper": "--scale paper needs --data.*coco2017 for the paper's",
    "reproduce table2 --seeds 0;1": "--seeds needs .* commas between them, such as 0,1,2, got",
    "reproduce table2 --seeds 1-3": "--seeds needs .* such as 0,1,2, got '1-3': neither ranges",
    "reproduce table2 --seeds 1,1": "--seeds needs each seed once",
    "reproduce table2 --data /nowhere": "no data set /nowhere",
    "reproduce table2 --out /dev/null/results": "--out /dev/null/results: results need a folder",
    f"report table2 --out {__file__}": "test_cli.py: needs a folder for results, this is a file",
    "report table2 --out /nowhere": "no results for table2 in /nowhere, which holds no runs",
    "ui --out /nowhere": "no records in /nowhere",
    "claims --out /nowhere": "this does not exist",
    "claims --format pdf": "'pdf' is not one of 'text', 'markdown', 'json'",
    "bogus": "No such command 'bogus'. .*; atss --help tells more",
    "reproduce": "Missing argument 'TABLE...'; atss --help tells more",
    "reproduce table2 --concurrent 0": "Invalid value for '--concurrent'",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_refused_in_one_line(refused, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    errors = refused(*line.split())
    assert re.search(REFUSED[line], errors), errors


def test_a_broken_data_set_is_refused_before_anything_is_made(refused, tmp_path):
    data, out = write_small_data(tmp_path / "squares"), tmp_path / "out"
    (data / "train" / "7.png").unlink()
    line = ("reproduce", "table2", "--data", data, "--out", out, "--dry-run")
    assert "7.png" in refused(*line) and not out.exists()


def test_a_dry_run_prints_the_plan_and_leaves_nothing(atss, data, tmp_path):
    out = tmp_path / "out"
    line = ("reproduce", "table3", "--data", data, "--out", out, "--dry-run")
    code, output, _ = atss(*line)
    assert code == 0 and not out.exists()
    assert "5 rows, 1 seed: 5 distinct runs, 0 done, 5 to train" in output
    assert "Table 2: Spatial and Scale Constraint, Point" in output  # trained for it, too
    output = atss(*line, "--seeds", "0, 1", "--rows", "1, 3", "--rows", "FCOS + ATSS")[1]
    assert "3 rows, 2 seeds: 6 distinct runs, 0 done, 6 to train" in output
    assert options.parse_rows(["Union, Box"]) == ["Union, Box"]  # labels keep their commas


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Table 2 with one run done."""
    store = open_store(tmp_path / "out")
    store.require_writable()
    finish(store.folder(make_plan(SETUP, find_tables(["table2"])).runs[0].signature), 33.3)
    return store


def test_reports_are_made_from_the_results_alone(atss, refused, store, written):
    code, output, errors = atss("report", "all", "--out", store.root)
    assert (code, errors) == (0, "")
    # One run is done, and it is a row of three tables.
    assert written == ["table1", "table2", "table3"]
    assert "33.3" in output and "reports/demo-shapes/table2.html" in output
    assert f"atss ui --out {store.root}" in output
    for more, where in (("--scale", "mini"), "table2"), (("--data", "shape"), "a data set 'shape'"):
        told = refused("report", "table2", *more, "--out", store.root)
        assert re.search(f"{where} in .*, which holds 'demo - shapes'", told)
    for folder in store.folders():
        folder.forget("result")
    assert "1 run, none of them done: atss status" in refused("report", "all", "--out", store.root)


def test_a_launch_says_what_failed_or_how_to_go_on(atss, data, tmp_path, written, monkeypatch):
    def fail(plan: Any, store: Store, *_: object, **__: object) -> None:
        folder = store.folder(plan.runs[0].signature)
        folder.write("failure", {"reason": "the loss is nan at step 7"})

    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    name = "Table 2: Intersection over Union, Box - seed 0"
    line = ("reproduce", "table2", "--rows", "1", "--data", data, "--out", tmp_path / "out")
    for done, code, told in (
        (fail, 1, f"{name} failed: the loss is nan at step 7"),
        (interrupt, 130, "stopped; the same line goes on from the last checkpoints"),
    ):
        monkeypatch.setattr(train, "train_missing", done)
        ended, _, errors = atss(*line)
        assert (ended, errors) == (code, f"atss: {told}\n") and written == []


def test_the_page_is_for_this_machine_only(atss, refused, store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (store.root / "mlflow.db").touch()
    called: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: called.append(arguments))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in refused("ui", "--out", store.root, "--port", port)
        assert called == []
    _, output, _ = atss("ui", "--out", store.root, "--port", port)
    ((_, command, environment),) = called
    assert f"trainings\n  http://127.0.0.1:{port}/#/experiments/" in output
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{store.root}/mlflow.db"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://records.example:5000")
    code, output, _ = atss("ui", "--out", store.root)
    assert code == 0 and "http://records.example:5000" in output and len(called) == 1


def test_data_are_a_name_or_a_place_and_demo_brings_its_own():
    asked = {("demo", None): "shapes", ("paper", "coco2017"): "coco2017"}
    asked["mini", "photos"] = str(Path("photos").absolute())
    assert {it: asked_setup(*it, []).where for it in asked} == asked


def test_names_cannot_move_the_terminal(capsys):
    """Titles, cursors and colors of anybody's results folder are shown as signs."""
    evil = "a\x1b]0;title\x07b\x9b2Jc"
    table = Table("name")
    table.add_row(Text(evil, "bold"))
    for shown in (evil, Text(evil), table):
        terminal.console.print(shown)
    terminal.warn([evil])
    told = "".join(capsys.readouterr())
    assert told.count("title") == 4 and not set("\x1b\x07\x9b") & set(told)


def test_what_was_not_foreseen_is_one_line_too(refused, monkeypatch):
    monkeypatch.setattr("orchestration.commands.train.find_tables", lambda names: 1 / 0)
    unexpected = "ZeroDivisionError: division by zero (unexpected; ATSS_TRACEBACK=1"
    assert unexpected in refused("reproduce", "table2", "--dry-run")


def test_a_launch_refuses_gpus_that_are_not_here(atss, data, tmp_path):
    place = ("--data", data, "--out", tmp_path)
    code, _, errors = atss("reproduce", "table2", "--gpus-per-run", "8", *place)
    assert code == 2 and "but there is: " in errors and errors.count("\n") == 1
    assert "0 runs in" in atss("status", "--out", tmp_path)[1]  # nothing stays of it
