"""A full disk or one that is away: training goes on, no history is lost, the end says so."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trial import ROOT, Killed, files, kill_at, make_job, write_small_data

from detector import checkpoint
from orchestration import trial
from orchestration.store import RunFolder
from orchestration.trial import run_trial

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_data(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing disturbed."""
    job = make_job(data, tmp_path_factory.mktemp("whole"))
    run_trial(job, lambda values: None)
    return RunFolder(job.folder)


class Disk:
    """Is full from one step of a run to another, for some of what is written."""

    def __init__(
        self, steps: range, owners: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.steps, self.step, self.refused = steps, 0, set[str]()
        for name, owner in owners.items():
            monkeypatch.setattr(owner, name, self.guarded(name, getattr(owner, name)))
        monkeypatch.setattr(trial, "REPORT_SECONDS", 0.0)
        monkeypatch.setattr(trial, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(trial, "CHECKPOINT_SHARE", 0.0)

    def guarded(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def guard(*arguments: Any, **more: Any) -> Any:
            if self.step + 1 in self.steps:  # the step that is not reported yet
                self.refused.add(name)
                raise FULL
            return write(*arguments, **more)

        return guard

    def watch(self, values: dict[str, Any]) -> None:
        self.step = values.get("step", self.step)


def test_a_full_disk_costs_a_run_that_trains_nothing(
    data: Path, tmp_path: Path, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {"save": checkpoint, "append": RunFolder}
    disk, job = Disk(range(2, 5), owners, monkeypatch), make_job(data, tmp_path)
    problems: dict[int, str | None] = {}

    def report(values: dict[str, Any]) -> None:
        disk.watch(values)
        problems[disk.step] = values.get("problem")

    run_trial(job, report)
    assert disk.refused == {"save", "append"}
    assert problems[3] == f"no history written to {job.folder}: No space left on device"
    assert problems[1] is None and problems[6] is None
    assert files(RunFolder(job.folder)) == files(whole)


def test_what_a_full_disk_keeps_out_of_the_history_is_in_the_checkpoint(
    data: Path, tmp_path: Path, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(data, tmp_path)
    with monkeypatch.context() as patch:
        disk, kill = Disk(range(2, 8), {"append": RunFolder}, patch), kill_at(5, "training")

        def report(values: dict[str, Any]) -> None:
            disk.watch(values)
            kill(values)

        with pytest.raises(Killed):
            run_trial(job, report)
    folder = RunFolder(job.folder)
    assert [entry["step"] for entry in folder.history()] == [1]
    run_trial(job, lambda values: None)
    assert files(folder) == files(whole)


@pytest.mark.parametrize("is_full_for_the_reason", [False, True])
def test_a_run_without_room_for_its_result_ends_with_the_reason_and_goes_on_later(
    data: Path,
    tmp_path: Path,
    whole: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    is_full_for_the_reason: bool,
) -> None:
    job, reports = make_job(data, tmp_path), []
    folder = RunFolder(job.folder)

    def full(*arguments: Any) -> None:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_weights", full)
        if is_full_for_the_reason:
            write = {"run": RunFolder.write, "failure": full}
            patch.setattr(RunFolder, "write", lambda *given: write[given[1]](*given))
        run_trial(job, reports.append)
    assert reports[-1]["state"] == "failed"
    assert "No space left on device" in reports[-1]["reason"]
    left = folder.failure()
    assert left is None if is_full_for_the_reason else left["reason"] == reports[-1]["reason"]
    assert not folder.is_done
    run_trial(job, reports.append)
    assert reports[-1]["state"] == "done" and folder.failure() is None
    assert files(folder) == files(whole)


def test_an_error_that_another_machine_may_not_have_is_left_to_the_scheduler(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*arguments: Any) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(checkpoint, "save_weights", stale)
    with pytest.raises(OSError, match="Stale"):
        run_trial(make_job(data, tmp_path), lambda values: None)


APPEND = """
import resource, sys
from pathlib import Path
from orchestration.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.append({"step": 1, "loss": 0.5})
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    folder.append({"step": 2, "loss": 0.25}, {"step": 3, "loss": 0.125})
except OSError as error:
    print(error.strerror)
"""


def test_lines_of_the_history_are_added_whole_or_not_at_all(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPEND, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert (tmp_path / "history.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
