"""`atss status`, `cancel`, `logs`: what they say of a results folder, what they do."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Atss
from rich.console import Console
from test_plan import SETUP, facts, finish

from experiments import TABLES
from orchestration import launch
from orchestration.commands import runs as command
from orchestration.launch import recorded
from orchestration.plan import PlannedRun, find_tables, make_plan
from orchestration.results import bundle
from orchestration.run_folder import RunFolder, Store, open_store

BOX, SSC_POINT, SSC_BOX, POINT = make_plan(SETUP, find_tables(["table2"])).runs
LATER = make_plan(SETUP, find_tables(["table4"])).runs[0]
MARK = {"by": "me@here", "at": "2020-06-14 12:00:00"}
SPOKEN = {"state": "training", "step": 30, "iterations": 300, "seconds_left": 75.0}

Said = Callable[..., str]


@pytest.fixture
def trainer() -> Iterator[ExitStack]:
    """What trains a run, until it is closed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def store(tmp_path: Path, trainer: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Table 2: a run done, one failed, one that is trained, one stopped. Nobody waits for ends."""
    monkeypatch.setattr(command, "PATIENCE", 0.0)
    store = open_store(tmp_path / "out")
    for run in (BOX, POINT, SSC_BOX, SSC_POINT):
        folder = store.folder(run.signature)
        if run is BOX:
            finish(folder, 33.3)
        known = {"name": run.name, "rows": list(run.rows), "params": {"iterations": 300}}
        folder.write("run", facts(0) | known)
        folder.append({"step": 120, "loss": 1.0})
    failure = {"reason": "the loss is nan at step 7", "traceback": "Traceback ...\nValueError: x"}
    store.folder(POINT.signature).write("failure", failure)
    trained = store.folder(SSC_BOX.signature)
    trainer.enter_context(trained.locked())
    trained.heartbeat(SPOKEN)
    return store


@pytest.fixture
def said(atss: Atss, store: Store) -> Said:
    """What a command that succeeds says of the folder."""

    def run(*line: object) -> str:
        code, output, errors = atss(*line, "--out", store.root)
        assert (code, errors) == (0, "")
        return output

    return run


def warn(store: Store, run: PlannedRun, text: str) -> None:
    store.folder(run.signature).write("warnings", [{"code": "x", "step": 1, "text": text}])


def states(store: Store) -> dict[str, str]:
    return {it.signature: it.state for it in store.statuses()}


@pytest.mark.parametrize("line", ["status", "status --watch", "cancel", "logs"])
def test_a_folder_without_results_is_refused_in_one_line(refused, tmp_path, line):
    assert "needs a results folder, which atss" in refused(*line.split(), "--out", tmp_path)


# atss status


def test_status_says_where_every_run_stands(said, store, trainer):
    warn(store, SSC_BOX, "loss/cls begins at 9")
    output = said("status")
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert output.startswith("demo - shapes")
    assert "done      AP 33.3" in lines[BOX.signature] and BOX.rows[0] in lines[BOX.signature]
    assert "failed    the loss is nan at step 7" in lines[POINT.signature]
    assert "training  30/300, 1:15 left" in lines[SSC_BOX.signature]
    assert "stopped   120/300" in lines[SSC_POINT.signature]
    assert f"! {SSC_BOX.name}: loss/cls begins at 9" in output
    assert "4 runs in" in output and "1 done" in output
    running = store.folder(SSC_BOX.signature)
    assert running.is_running and running.is_running  # asking takes nothing away
    running.write("cancel", MARK)
    assert states(store)[SSC_BOX.signature] == "cancelling"
    trainer.close()  # what was said last counts no more
    assert states(store)[SSC_BOX.signature] == "cancelled"
    running.forget("cancel")
    assert states(store)[SSC_BOX.signature] == "stopped"


def test_watching_prints_a_line_per_change_and_ends_when_nothing_runs(said, store, monkeypatch):
    running, name = store.folder(SSC_BOX.signature), SSC_BOX.name
    known = SPOKEN | {"AP": 11.5}
    changes = iter(
        [
            lambda: running.heartbeat(known | {"step": 60}),
            lambda: running.heartbeat(known | {"step": 90, "warnings": ["AP is 11.5"]}),
            lambda: finish(running, 30.0),
        ]
    )
    monkeypatch.setattr(command.time, "sleep", lambda seconds: next(changes)())
    *lines, last = said("status", "--watch").splitlines()
    assert last.startswith("Nothing runs or waits: 4 runs in ")
    assert [line[10:] for line in lines] == [
        f"{name}: training",
        f"{name}: AP 11.5 after step 60 of 300",
        f"{name}: warning: AP is 11.5",
        f"{name}: done, AP 30.0",
    ]


def test_ctrl_c_ends_the_watching(said, monkeypatch):
    monkeypatch.setattr(command.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert said("status", "--watch")


# Files that are not as they need to be


SEED = re.compile('"seed": *0')
SPOILT: dict[str, tuple[Callable[[str], str], str]] = {  # what becomes of the text, and why not
    "lacking": (lambda text: SEED.sub('"sead": 0', text), "missing required field `seed`"),
    "mistyped": (lambda text: SEED.sub('"seed": "x"', text), "got `str` - at `$.seed`"),
    "NaN": (lambda text: SEED.sub('"seed": NaN', text), "no JSON"),
    "brackets": (lambda text: "[" * 100_000, ""),
}


@pytest.mark.parametrize("name", ["run", "result"])
@pytest.mark.parametrize("fault", SPOILT)
def test_a_file_that_is_not_as_needed_is_told_in_a_line_and_the_others_are_shown(
    said, atss, store, name, fault
):
    spoil, why = SPOILT[fault]
    finish(store.folder(POINT.signature), 20.0)
    folder = store.folder(BOX.signature)
    path = folder.path / f"{name}.json"
    path.write_text(spoil(path.read_text()))
    problem = folder.problem(name)
    assert problem.startswith(f"{path} cannot be read: ") and why in problem
    (told,) = store.unreadable()
    assert told.startswith(f"run {BOX.signature}: {problem}; ")
    content = bundle(store, SETUP, TABLES["table2"], [0])
    assert list(content.results) == [POINT.signature] and problem in content.notes
    output = said("status")
    assert "4 runs in" in output and "1 done" in output
    code, output, errors = atss("logs", BOX.signature, "--out", store.root)
    assert (name == "result") == (code == 0) and errors.count("\n") <= 1
    with launched(store, BOX):
        assert store.folder(BOX.signature).problem("run") == ""


# Launches


def launched(store: Store, *runs: PlannedRun) -> Any:
    return recorded(store, SETUP.to_json(), runs, Console(quiet=True))


def test_what_a_launch_has_not_begun_waits_while_it_goes_on(store):
    with launched(store, BOX, POINT, SSC_POINT, LATER):
        (going,) = store.going_on()
        assert going.live()["pid"] == os.getpid()
        assert states(store) == {
            BOX.signature: "done",
            POINT.signature: "waiting",  # it failed, but before this launch
            SSC_BOX.signature: "training",
            SSC_POINT.signature: "waiting",
            LATER.signature: "waiting",
        }
        store.folder(POINT.signature).fail(ValueError("again"))
        assert states(store)[POINT.signature] == "failed"
    assert store.going_on() == []
    after = states(store)
    assert after[SSC_POINT.signature] == "stopped" and after[LATER.signature] == "missing"
    assert LATER.signature in store.planned()
    with launched(store, POINT):  # takes its place
        assert store.planned().keys() == {POINT.signature}


def test_a_second_launch_is_told_of_the_first(store, capsys):
    first = RunFolder(store.root / "launches" / "first")
    with first.locked():
        first.heartbeat({})
        first.write("launch", {})
        with recorded(store, {}, (), Console(width=200)):
            assert len(store.going_on()) == 2
        assert capsys.readouterr().out.startswith(f"process {os.getpid()} on ")
        assert [going.path for going in store.going_on()] == [first.path]
    assert store.going_on() == []


# atss cancel


def test_cancel_marks_the_runs_that_are_named(said, store):
    output = said("cancel", SSC_BOX.signature[:6], "constraint, point")
    assert "given again, goes on from there" in output
    assert f"{SSC_BOX.name} ({SSC_BOX.signature}): will end at its next step" in output
    assert f"{SSC_POINT.name} ({SSC_POINT.signature}): cancelled" in output
    by = [store.folder(run.signature).cancellation() for run in (SSC_BOX, SSC_POINT, POINT)]
    assert "@" in by[0] and by[1] and not by[2]
    output = said("status")
    assert "cancelling" in output and f"cancelled   by {by[1]}, after 120 of 300 steps" in output


def test_cancel_alone_ends_what_runs_or_waits_and_begins_no_more(said, store):
    with launched(store, POINT) as is_cancelled:
        assert not is_cancelled()
        assert said("cancel") and is_cancelled()
    marked = {path.parent.name for path in store.root.glob("runs/*/cancel.json")}
    assert marked == {POINT.signature, SSC_BOX.signature}
    plan = make_plan(SETUP, find_tables(["table2"]))
    told = launch.failures(plan, store)
    assert told[-1].startswith("2 runs cancelled as asked: the same line goes on")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([BOX.signature], "is done; only one that is neither done nor cancelled can be ended"),
        ([SSC_POINT.signature], "is cancelled; only one"),
        (["box"], "'box' means 2 runs of "),
        ([], "nothing runs or waits in"),
    ],
)
def test_what_cannot_be_cancelled_is_refused(refused, store, trainer, given, why):
    trainer.close()
    store.folder(SSC_POINT.signature).write("cancel", MARK)
    assert why in refused("cancel", *given, "--out", store.root)


# atss logs


def test_logs_begin_with_the_reason_and_alone_list_what_failed_or_looks_wrong(said, store):
    name, folder = f"{POINT.name} ({POINT.signature}): ", store.folder(POINT.signature)
    line = ("logs", POINT.signature, "--lines", 3)
    assert f"no log: {folder.log} is not there" in said(*line)
    folder.log.write_text("".join(f"line {number}\n" for number in range(100)))
    warn(store, POINT, "so high")
    assert said(*line).splitlines() == [
        f"{name}failed, the loss is nan at step 7",
        "warning: so high",
        *("", "Traceback ...", "ValueError: x"),
        *("", "line 97", "line 98", "line 99"),
    ]
    assert said("logs").splitlines() == [
        f"{name}the loss is nan at step 7",
        f"{name}warning: so high",
        f"4 runs in {store.root}; atss logs RUN shows more",
    ]


SPEAK = """
import logging, os, subprocess, sys
from contextlib import suppress
from pathlib import Path
from orchestration.run_folder import RunFolder
for folder in sys.argv[1:]:
    with suppress(RuntimeError), RunFolder(Path(folder)).logged():
        print("printed")
        os.write(1, b"written by a library\\n")
        subprocess.run(["echo", "by a child"])
        logging.warning("noted")
        raise RuntimeError("the end")
"""


def test_a_log_keeps_all_that_is_printed_and_each_run_has_its_own(tmp_path):
    folders = [Path("/dev/null/run"), tmp_path / "a", tmp_path / "b"]  # one cannot be written
    line = [sys.executable, "-c", SPEAK, *map(str, folders)]
    for _ in range(2):
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.count("\n") == 3  # of the first
    for text in ((folder / "log.txt").read_text() for folder in folders[1:]):
        for said in ("printed", "written by a library", "by a child", "noted", "the end"):
            assert text.count(f"{said}\n") == 2, said
        assert text.count("Traceback") == text.count(", process ") == 2
