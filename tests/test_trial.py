"""One run: what it leaves behind, and that being interrupted changes nothing of it."""

import errno
import json
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_plan import facts
from torchvision.models import resnet18

from detector import checkpoint
from detector.config import DetectorConfig, Recipe
from detector.data.coco import open_data
from experiments.experiment import Run, signature
from experiments.schedules import MINI
from orchestration import trial
from orchestration.plan import Job
from orchestration.resources import evaluation_steps
from orchestration.run_folder import RunFolder
from orchestration.trial import run_trial

RECIPE = Recipe(
    backbone="small",
    pyramid_channels=32,
    norm="group_norm",
    weights="none",
    iterations=7,
    batch_size=4,
    learning_rate=0.01,
    warmup_iterations=2,
    short_side=(64, 64),
    long_side=96,
    score_threshold=0.001,  # seven steps do not make it confident
    evaluations=2,
)
CONFIG = DetectorConfig(group_norm=True, giou_loss=True, in_gt_box=True, assigner="atss")


def write_small_data(root: Path) -> Path:
    """A data set of a dozen images with one bright square each, as a folder in COCO format."""
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (root / split).mkdir()
        images, annotations = [], []
        for number in range(1, 13):
            pixels = rng.integers(0, 60, (64, 80, 3), dtype=np.uint8)
            side, (left, top) = int(rng.integers(16, 40)), rng.integers(0, 24, 2).tolist()
            pixels[top : top + side, left : left + side] = 230
            Image.fromarray(pixels).save(root / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 64})
            box = {"bbox": [left, top, side, side], "area": side * side, "iscrowd": 0}
            annotations.append({"id": number, "image_id": number, "category_id": 1} | box)
        categories = [{"id": 1, "name": "square"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def make_job(data: Path, out: Path, recipe: Recipe = RECIPE) -> Job:
    run = Run(CONFIG, recipe, open_data(data).fingerprint, 0)
    return Job(run, out / "runs" / signature(run), str(data), {**facts(0), "name": "squares"})


def files(folder: RunFolder) -> dict[str, Any]:
    """All that a run's numbers are made of."""
    result = folder.result() or {}
    return {
        "metrics": result.get("metrics"),
        "history": folder.history(),
        "detections": folder.detections.read_bytes(),
        "weights": folder.weights.read_bytes(),
    }


@pytest.fixture
def job(data: Path, tmp_path: Path) -> Job:
    return make_job(data, tmp_path)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing disturbed."""
    return trained(make_job(data, tmp_path_factory.mktemp("whole")))[0]


def trained(job: Job, report: Callable[[dict[str, Any]], None] = lambda values: None) -> Any:
    """The run's folder after an attempt, and what the attempt reported."""
    told: list[dict[str, Any]] = []
    run_trial(job, lambda values: (told.append(values), report(values)))
    return RunFolder(job.folder), told


def test_a_run_leaves_all_that_a_report_needs(whole):
    result = whole.result()
    assert result is not None and whole.is_done
    assert set(result["metrics"]) == {"ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l"}
    assert result["seconds"] > 0 and result["facts"]["torch"]
    history = whole.history()
    assert [entry["step"] for entry in history] == list(range(1, 8))
    assert {"loss", "loss/cls", "loss/box", "learning_rate"} <= set(history[0])
    assert [entry["step"] for entry in history if "AP" in entry] == [4, 7]
    detections = json.loads(whole.detections.read_text())
    assert detections and set(detections[0]) == {"image_id", "category_id", "bbox", "score"}
    told = whole.facts()
    assert told["name"] == "squares" and told["environment"]["python"]
    left = [path.name for path in whole.path.iterdir() if not path.name.startswith(".")]
    assert sorted(left) == [  # nothing to go on from, or to warn of
        *("detections.json", "history.jsonl", "insight.json", "matches.npz"),
        *("result.json", "run.json", "weights.safetensors"),
    ]


def every_step(patch: pytest.MonkeyPatch, *, is_saved: bool = False) -> None:
    """Report every step, and save it."""
    patch.setattr(trial, "REPORT_SECONDS", 0.0)
    if is_saved:
        patch.setattr(trial, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(trial, "CHECKPOINT_SHARE", 0.0)


class Killed(BaseException):
    """Stands for a process that ends on the spot."""


def kill_at(
    step: int, state: str, cancelled: RunFolder | None = None
) -> Callable[[dict[str, Any]], None]:
    """Kill a trial, or do what `atss cancel` does, just before it looks."""

    def report(values: dict[str, Any]) -> None:
        if values.get("step") == step and values["state"] == state:
            if cancelled is None:
                raise Killed
            cancelled.write("cancel", {"by": "me@here", "at": "noon"})

    return report


@pytest.mark.parametrize(
    "case",  # whether it is killed, whether every step is saved, when it ends and where it goes on
    [
        (True, True, 2, "training", 2),  # with a checkpoint of this very step
        (True, False, 3, "training", 0),  # before the first checkpoint: from the start
        (True, False, 4, "testing", 4),  # a checkpoint before the test, no outcome
        (True, False, 6, "training", 4),  # two steps after the last checkpoint
        (True, False, 7, "testing", 7),  # within the last test
        (False, False, 0, "training", 0),
        (False, False, 3, "training", 3),
        (False, False, 4, "training", 4),
        (False, False, 7, "testing", 7),
    ],
)
def test_a_run_that_was_killed_or_cancelled_ends_as_if_it_had_not_been(
    job, whole, monkeypatch, case
):
    is_killed, is_saved, step, state, resumed_at = case
    every_step(monkeypatch, is_saved=is_saved)
    folder = RunFolder(job.folder)
    if is_killed:
        with pytest.raises(Killed):
            run_trial(job, kill_at(step, state))
    else:
        cancelled = {"state": "cancelled", "reason": "by me@here at noon"}
        assert trained(job, kill_at(step, state, folder))[1][-1] == cancelled
        assert trained(job)[1] == [cancelled]  # it stays so, and is not even begun
    assert not folder.is_done and folder.failure() is None
    folder.forget("cancel")
    _, again = trained(job)
    assert files(folder) == files(whole)
    assert again[0]["resumed_at"] == resumed_at


def test_steps_are_averaged_over_where_a_run_is_long(job, whole, monkeypatch):
    every_step(monkeypatch, is_saved=True)
    monkeypatch.setattr(trial, "HISTORY_STEPS", 3)
    with pytest.raises(Killed):
        run_trial(job, kill_at(3, "training"))
    every, means = whole.history(), trained(job)[0].history()
    assert [entry["step"] for entry in means] == [1, 2, 4, 6, 7]
    assert means[0] == every[0]  # how the losses begin tells whether the run is set up rightly
    assert means[2]["loss"] == pytest.approx((every[2]["loss"] + every[3]["loss"]) / 2)
    assert means[4]["AP"] == every[6]["AP"]


def test_a_run_that_another_process_trains_is_waited_for_and_one_that_is_done_not_touched(
    data, whole
):
    before, other = files(whole), ExitStack()
    other.enter_context(whole.locked())
    assert whole.is_running
    threading.Timer(0.5, other.close).start()
    _, reports = trained(replace(make_job(data, whole.path.parents[1]), where="/nowhere"))
    assert not whole.is_running  # the other has ended
    assert [values["state"] for values in reports] == ["waiting", "done"]
    assert reports[0]["reason"] == f"run {whole.signature} is trained by another process"
    assert files(whole) == before


def test_what_no_retry_would_help_ends_a_run_with_its_reason(data, tmp_path):
    job = make_job(data, tmp_path, replace(RECIPE, learning_rate=1e30, warmup_iterations=0))
    for _ in range(2):  # the next launch tries again, and finds the same
        folder, reports = trained(job)
        failure = folder.failure() or {}
        assert "step" in failure["reason"] and "Traceback" in failure["traceback"]
        assert reports[-1] == {"state": "failed", "reason": failure["reason"]}
        assert not folder.is_done
    job = make_job(data, tmp_path / "changed")
    folder, _ = trained(replace(job, run=replace(job.run, data="another")))
    assert "its content changed since the launch" in (folder.failure() or {})["reason"]


def test_mini_begins_from_a_file_in_torchvisions_layout_and_keeps_what_is_frozen(data, tmp_path):
    given = resnet18().state_dict()
    given["bn1.running_mean"] += 0.5  # as after pretraining
    torch.save(given, tmp_path / "resnet18.pth")
    small = {"iterations": 2, "batch_size": 2, "short_side": (64, 64), "pyramid_channels": 32}
    recipe = replace(MINI, weights=str(tmp_path / "resnet18.pth"), **small)
    learnt = load_file(trained(make_job(data, tmp_path, recipe))[0].weights)
    learns = {"layer2.0.conv1.weight", "layer4.1.conv2.weight"}
    frozen = {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.1.bn2.weight"}
    for name in learns | frozen:
        is_kept = torch.equal(learnt[f"backbone.body.{name}"], given[name])
        assert is_kept == (name in frozen), name


def refuse(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, after: int = 0) -> None:
    """Let a write fail from its next call but so many on."""
    write, error, calls = getattr(owner, name), OSError(number, os.strerror(number)), count()

    def refused(*given: Any, **more: Any) -> Any:
        if next(calls) >= after:
            raise error
        return write(*given, **more)

    patch.setattr(owner, name, refused)


@pytest.mark.parametrize(
    "case",  # a write, after how many calls it fails, and the step from which the run goes on
    [
        (RunFolder, "append", 5, 4),  # the history
        (checkpoint, "save", 3, 3),
        (checkpoint, "save_weights", 0, 7),
        (RunFolder, "write", 2, 7),  # the result, and then the reason
    ],
)
def test_a_full_disk_ends_a_run_with_its_reason_and_the_last_checkpoint(
    job, whole, monkeypatch, case
):
    every_step(monkeypatch, is_saved=True)
    owner, name, after, resumed_at = case
    with monkeypatch.context() as patch:
        refuse(patch, owner, name, errno.ENOSPC, after)
        folder, reports = trained(job)
    reason = f"{folder.path} cannot be written: No space left on device"
    assert reports[-1] == {"state": "failed", "reason": reason} and not folder.is_done
    failure = folder.failure()
    assert failure is None if name == "write" else failure and failure["reason"] == reason
    _, again = trained(job)
    assert again[0]["resumed_at"] == resumed_at
    assert again[-1]["state"] == "done" and folder.failure() is None
    assert files(folder) == files(whole)


def test_an_error_that_another_machine_may_not_have_is_left_to_the_scheduler(job, monkeypatch):
    refuse(monkeypatch, checkpoint, "save_weights", errno.ESTALE)
    with pytest.raises(OSError, match="Stale"):
        trained(job)


def test_ap_is_measured_evenly_at_the_end_and_no_longer_than_trained():
    def steps(iterations: int, evaluations: int, num_images: int = 1) -> list[int]:
        recipe = replace(RECIPE, iterations=iterations, evaluations=evaluations)
        return sorted(evaluation_steps(recipe, num_images))

    assert steps(90_000, 9, 5_000) == [*range(10_000, 90_001, 10_000)]
    assert (steps(7, 2), steps(2, 9), steps(5, 1)) == ([4, 7], [1, 2], [5])
    assert steps(30, 4, 800) == [30]  # cut short: testing would take longer than training
