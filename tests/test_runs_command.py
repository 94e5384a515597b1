"""`atss status`, `cancel`, `logs`: what they say of a results folder, what they do."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_end_to_end import SHORT, start, wait_for
from test_plan import SETUP, facts, finish
from test_trial import write_small_data

from detector.data.coco import open_data
from experiments import TABLES
from experiments.experiment import Run, signature
from orchestration import launch
from orchestration.commands import runs as command
from orchestration.launch import recorded
from orchestration.plan import PlannedRun, find_tables, make_plan, resolve_scale
from orchestration.results import bundle
from orchestration.run_folder import STALE_SECONDS, RunFolder, Store, open_store

ROOT = Path(__file__).parents[1]
BOX, SSC_POINT, SSC_BOX, POINT = make_plan(SETUP, find_tables(["table2"])).runs
MARK = {"by": "me@here", "at": "2020-06-14 12:00:00"}

Atss = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATIENCE", 0.0)


def say(folder: RunFolder, seconds_ago: float = 0.0, host: str = "node7", **values: Any) -> None:
    """What a process on another machine said."""
    word = {"state": "training", "step": 30, "iterations": 300, "seconds_left": 75.0} | values
    word |= {"time": time.time() - seconds_ago, "host": host, "pid": 1}
    (folder.path / "live.json").write_text(json.dumps(word))


def warn(store: Store, run: PlannedRun, text: str) -> None:
    store.folder(run.signature).write("warnings", [{"code": "x", "step": 1, "text": text}])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Table 2: a run done, one failed, one that another machine trains, one stopped."""
    store = open_store(tmp_path / "out")
    for run in (BOX, POINT, SSC_BOX, SSC_POINT):
        folder = store.folder(run.signature)
        if run is BOX:
            finish(folder, 33.3)
        known = {"name": run.name, "rows": list(run.rows), "params": {"iterations": 300}}
        folder.write("run", facts(0) | known)
        folder.append({"step": 120, "loss": 1.0})
    trace = "Traceback ...\nValueError: x"
    failure = {"reason": "the loss is nan at step 7", "traceback": trace}
    store.folder(POINT.signature).write("failure", failure)
    say(store.folder(SSC_BOX.signature))
    return store


def state(store: Store, run: PlannedRun = SSC_BOX) -> str:
    return {it.signature: it.state for it in store.statuses()}[run.signature]


# atss status


@pytest.mark.parametrize("line", ["status", "status --watch", "cancel", "logs"])
def test_a_folder_without_results_is_refused_in_one_line(
    refused: Callable[..., str], tmp_path: Path, line: str
) -> None:
    for out, why in ((tmp_path / "no", "this does not exist"), (tmp_path, "this is none")):
        told = f"--out {out}: needs a results folder, which atss reproduce makes, {why}"
        assert refused(*line.split(), "--out", out) == f"atss: {told}\n"


def test_status_says_where_every_run_stands(atss: Atss, store: Store) -> None:
    warn(store, SSC_BOX, "loss/cls begins at 9")
    code, output, _ = atss("status", "--out", store.root)
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert code == 0 and output.startswith("demo - shapes")
    assert "done      AP 33.3" in lines[BOX.signature] and BOX.rows[0] in lines[BOX.signature]
    assert "failed    the loss is nan at step 7" in lines[POINT.signature]
    assert "training  after 30 of 300 steps, 1:15 left" in lines[SSC_BOX.signature]
    assert "stopped   after 120 of 300 steps" in lines[SSC_POINT.signature]
    assert f"! {SSC_BOX.name}: loss/cls begins at 9" in output
    assert "4 runs in" in output and "1 done" in output


def test_the_lock_or_a_word_from_elsewhere_tells_whether_a_run_is_trained(store: Store) -> None:
    running = store.folder(SSC_BOX.signature)
    assert state(store) == "training"
    say(running, seconds_ago=STALE_SECONDS + 1)  # the other machine fell silent
    assert state(store) == "stopped"
    say(running, host=socket.gethostname())
    assert state(store) == "stopped"
    with running.locked():
        assert running.is_running and running.is_running  # asking takes nothing away
        assert state(store) == "training"
        running.write("cancel", MARK)
        assert state(store) == "cancelling"
    assert state(store) == "cancelled"


def test_watching_prints_a_line_per_change_and_ends_when_nothing_runs(
    atss: Atss, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = store.folder(SSC_BOX.signature)
    changes = iter(
        [
            lambda: say(running, step=60, AP=11.5),
            lambda: say(running, step=90, AP=11.5, warnings=["AP is 11.5"]),
            lambda: finish(running, 30.0),
        ]
    )
    monkeypatch.setattr(command.time, "sleep", lambda seconds: next(changes)())
    code, output, _ = atss("status", "--watch", "--out", store.root)
    assert code == 0
    said = [line[10:] for line in output.splitlines()[:-1]]
    name = SSC_BOX.name
    assert said == [
        f"{name}: training",
        f"{name}: AP 11.5 after step 60 of 300",
        f"{name}: warning: AP is 11.5",
        f"{name}: done, AP 30.0",
    ]
    assert output.splitlines()[-1].startswith("Nothing runs or waits: 4 runs in ")


def test_ctrl_c_ends_the_watching_as_it_should(
    atss: Atss, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    code, _, errors = atss("status", "--watch", "--out", store.root)
    assert (code, errors) == (0, "")


# Files that are not as they need to be


def having(value: str) -> Callable[[dict[str, Any]], str]:
    return lambda content: json.dumps(content | {"seed": "?"}).replace('"?"', value)


SPOILT = {
    "a field lacks": (
        lambda content: json.dumps({key: it for key, it in content.items() if key != "seed"}),
        "Object missing required field `seed`",
    ),
    "a wrong type": (having('"x"'), "Expected `int`, got `str` - at `$.seed`"),
    "no object": (lambda content: "[]", "Expected `object`, got `array`"),
    "truncated": (lambda content: json.dumps(content)[:-9], "no JSON"),
    "too large a number": (having("1e999"), "Number out of range - at `$.seed`"),
    "NaN": (having("NaN"), "NaN and Infinity are none"),
    "brackets": (lambda content: "[" * 100_000, ""),
}


@pytest.mark.parametrize("name", ["run", "result"])
@pytest.mark.parametrize("fault", SPOILT)
def test_a_file_that_is_not_as_needed_is_told_in_a_line_and_the_others_are_shown(
    atss: Atss, store: Store, name: str, fault: str
) -> None:
    spoil, why = SPOILT[fault]
    finish(store.folder(POINT.signature), 20.0)
    folder = store.folder(BOX.signature)
    path = folder.path / f"{name}.json"
    path.write_text(spoil(json.loads(path.read_text())))
    problem = folder.problem(name)
    assert problem.startswith(f"{path} cannot be read: ") and why in problem
    (told,) = store.unreadable()
    assert told.startswith(f"run {BOX.signature}: {problem}; ")
    content = bundle(store, SETUP, TABLES["table2"], [0])
    assert list(content.results) == [POINT.signature] and problem in content.notes
    code, output, errors = atss("status", "--out", store.root)
    assert (code, errors) == (0, "") and "4 runs in" in output and "1 done" in output
    code, output, errors = atss("logs", BOX.signature, "--out", store.root)
    assert (name == "result") == (code == 0) and errors.count("\n") <= 1
    with launched(store, BOX):
        assert store.folder(BOX.signature).problem("run") == ""


# Launches


def launched(store: Store, *runs: PlannedRun) -> Any:
    return recorded(store, SETUP.to_json(), runs, Console(quiet=True))


def test_what_a_launch_has_not_begun_waits_while_it_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "HEARTBEAT_SECONDS", 0.01)
    later = make_plan(SETUP, find_tables(["table4"])).runs[0]
    every = (BOX, POINT, SSC_BOX, SSC_POINT, later)
    with launched(store, BOX, POINT, SSC_POINT, later):
        (going,) = store.going_on()
        first = going.live()["time"]
        assert going.live()["pid"] == os.getpid()
        # The second failed, but before this launch.
        states = [state(store, run) for run in every]
        assert states == ["done", "waiting", "training", "waiting", "waiting"]
        store.folder(POINT.signature).fail(ValueError("again"))
        assert state(store, POINT) == "failed"
        wait_for(lambda: going.live()["time"] > first, seconds=10)
    assert store.going_on() == [] and going.live() == {}
    assert state(store, SSC_POINT) == "stopped" and state(store, later) == "missing"
    assert later.signature in store.planned()
    with launched(store, POINT):  # takes its place
        pass
    assert store.planned().keys() == {POINT.signature}


LAUNCH = """
import sys, time
from rich.console import Console
from orchestration.launch import recorded
from orchestration.run_folder import open_store
store = open_store(sys.argv[1])
with recorded(store, {}, (), Console(quiet=True)):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_second_launch_is_told_of_the_first_which_goes_on_until_it_is_killed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdout.readline() == "begun\n"
    with recorded(store, {}, (), Console(width=200)):
        assert {going.live()["pid"] for going in store.going_on()} == {first.pid, os.getpid()}
    assert capsys.readouterr().out.startswith(f"process {first.pid} on ")
    assert [going.live()["pid"] for going in store.going_on()] == [first.pid]
    first.kill()
    first.wait()
    assert store.going_on() == []
    for seconds_ago in (STALE_SECONDS + 1, 0):  # as if it were another machine's
        say(store.launches()[0], seconds_ago=seconds_ago)
        assert len(store.going_on()) == (seconds_ago == 0)


# atss cancel


def test_cancel_marks_the_runs_that_are_named(atss: Atss, store: Store) -> None:
    code, output, _ = atss(
        "cancel", SSC_BOX.signature[:6], "constraint, point", "--out", store.root
    )
    assert code == 0
    assert f"{SSC_BOX.name} ({SSC_BOX.signature}): will end at its next step" in output
    assert f"{SSC_POINT.name} ({SSC_POINT.signature}): cancelled" in output
    assert "given again, goes on from there" in output
    by = [store.folder(run.signature).cancellation() for run in (SSC_BOX, SSC_POINT, POINT)]
    assert "@" in by[0] and by[1] and not by[2]
    code, output, _ = atss("status", "--out", store.root)
    assert "cancelling" in output and f"cancelled   by {by[1]}" in output
    code, _, errors = atss("cancel", SSC_POINT.signature, "--out", store.root)
    assert code == 2 and "is cancelled; only one that is neither done nor cancelled" in errors


def test_cancel_alone_ends_what_runs_or_waits_and_begins_no_more(atss: Atss, store: Store) -> None:
    with launched(store, POINT) as is_cancelled:
        assert not is_cancelled()
        assert atss("cancel", "--out", store.root)[0] == 0
        assert is_cancelled()
    marked = {path.parent.name for path in store.root.glob("runs/*/cancel.json")}
    assert marked == {POINT.signature, SSC_BOX.signature}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([BOX.signature], "is done"),
        (["box"], "'box' means 2 runs of STORE, and a signature, or its beginning, one; there are"),
        ([], "nothing runs or waits in"),
    ],
)
def test_what_cannot_be_cancelled_is_refused(
    refused: Callable[..., str], store: Store, given: list[str], why: str
) -> None:
    store.folder(SSC_BOX.signature).forget("live")
    why = why.replace("STORE", str(store.root))
    assert why in refused("cancel", *given, "--out", store.root)


def test_many_cancelled_runs_are_told_in_a_line(tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    plan = make_plan(SETUP, find_tables(["table2"]), seeds=(0, 1))
    for run in plan.runs[1:]:
        store.folder(run.signature).write("cancel", MARK)
    failed, cancelled = launch.failures(plan, store)
    assert failed == f"{plan.runs[0].name} failed: ended"
    assert cancelled.startswith("7 runs cancelled as asked: the same line goes on")


# atss logs


def test_logs_begin_with_the_reason_in_one_line(atss: Atss, store: Store) -> None:
    folder = store.folder(POINT.signature)
    folder.log.write_text("".join(f"line {number}\n" for number in range(100)))
    code, output, _ = atss("logs", POINT.signature, "--lines", 3, "--out", store.root)
    assert code == 0
    assert output.splitlines() == [
        f"{POINT.name} ({POINT.signature}): failed, the loss is nan at step 7",
        "",
        "Traceback ...",
        "ValueError: x",
        "",
        *("line 97", "line 98", "line 99"),
    ]


def test_logs_alone_list_what_failed_or_looks_wrong(atss: Atss, store: Store) -> None:
    warn(store, BOX, "so high")
    code, output, _ = atss("logs", "--out", store.root)
    assert code == 0
    assert output.splitlines() == [
        f"{POINT.name} ({POINT.signature}): the loss is nan at step 7",
        f"{BOX.name} ({BOX.signature}): warning: so high",
        f"4 runs in {store.root}; atss logs RUN shows more",
    ]


def test_logs_say_where_a_run_printed_nothing(atss: Atss, store: Store) -> None:
    log, line = store.folder(BOX.signature).log, ("logs", BOX.signature, "--out", store.root)
    warn(store, BOX, "so high")
    output = atss(*line)[1]
    assert "done, AP 33.3\nwarning: so high\n" in output and "no log: " in output
    log.write_text("--- 2020-06-14 12:00:00, process 7 on here\n")
    assert atss(*line)[1].endswith("process 7 on here\nits processes printed nothing\n")
    with log.open("a") as file:
        file.write("so much\n")
    assert "printed nothing" not in atss(*line)[1]


SPEAK = """
import logging, os, subprocess, sys, warnings
from pathlib import Path
from orchestration.run_folder import RunFolder
print("before")
try:
    with RunFolder(Path(sys.argv[1])).logged():
        print("printed")
        os.write(1, b"written by a library\\n")
        subprocess.run(["echo", "by a child"])
        warnings.warn("odd")
        logging.warning("noted")
        raise RuntimeError("the end")
except (RuntimeError, OSError):
    print("after")
"""


def speak(folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", SPEAK, str(folder)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_a_log_keeps_all_that_is_printed_and_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        done = speak(tmp_path / "run")
        assert (done.stdout, done.stderr) == ("before\nafter\n", "")
    text = (tmp_path / "run" / "log.txt").read_text()
    for said in ("printed", "written by a library", "by a child", "odd", "noted", "the end"):
        assert text.count(f"{said}\n") == 2, said
    assert text.count("Traceback") == 2 and text.count(", process ") == 2


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    for folder in (tmp_path, Path("/dev/null/run")):
        done = speak(folder)
        assert done.returncode == 0 and done.stdout.endswith("after\n")


# All of it, through Ray


@pytest.mark.slow
def test_a_cancelled_launch_ends_and_the_same_line_goes_on(tmp_path: Path) -> None:
    data, out = write_small_data(tmp_path / "squares"), tmp_path / "out"
    settings = [*SHORT[1:3], "iterations=200", "evaluations=8", "short_side=64,64"]
    line = ("table2", "--rows", "1,2")
    recipe, _ = resolve_scale("demo", settings)
    configs = [TABLES["table2"].rows[number].config for number in (0, 1)]
    runs = [Run(config, recipe, open_data(data).fingerprint, 0) for config in configs]
    folders = [open_store(out).folder(signature(run)) for run in runs]

    def atss(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "orchestration.cli", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)

    driver = start(out, data, *line, settings=settings)
    wait_for(lambda: any(len(folder.history()) > 20 for folder in folders), seconds=180)
    chosen = next(folder for folder in folders if len(folder.history()) > 20)
    cancelled = atss("cancel", chosen.signature, "--out", out)
    assert (cancelled.returncode, cancelled.stderr) == (0, "") and ": cancelled" in cancelled.stdout
    output, errors = driver.communicate(timeout=300)
    assert driver.returncode == 1 and errors.count("\n") == 1
    assert "atss: 1 run cancelled as asked: the same line goes on" in errors
    assert ": cancelled: by " in output and output.count(": done, AP") == 1
    assert "retrying" not in output
    assert chosen.checkpoint.exists() and not chosen.is_done
    output, errors = start(out, data, *line, settings=settings).communicate(timeout=300)
    assert errors == "" and "2 distinct runs, 1 done, 1 to train" in output
    assert "goes on after step" in output
    watched = atss("status", "--watch", "--out", out)
    assert watched.returncode == 0 and "2 done" in watched.stdout
    assert "process " in chosen.log.read_text()
