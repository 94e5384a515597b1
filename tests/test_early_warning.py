"""Signs of a wrong set-up: silent on every run that was right, loud on what was made up wrong."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_trial import RECIPE, make_job, write_small_data

from detector.config import DetectorConfig, Recipe
from experiments import TABLES
from experiments.baselines import ATSS, RETINANET
from experiments.experiment import OwnAssigner, Run
from experiments.schedules import DEMO, PAPER
from orchestration import oversight
from orchestration.early_warning import Setting, Sign, signs
from orchestration.store import RunFolder
from orchestration.trial import run_trial

History = list[dict[str, Any]]


def setting(config: DetectorConfig = ATSS, recipe: Recipe = DEMO, **others: Any) -> Setting:
    run = Run(config, recipe, "f00d", 0, others.pop("assigner", None))
    return Setting(run, **({"num_classes": 5, "objects": 3.0} | others))


def losses(step: int, cls: float, box: float = 1.2, centerness: float = 0.69) -> dict[str, Any]:
    return {"step": step, "loss/cls": cls, "loss/box": box, "loss/centerness": centerness}


def falling(recipe: Recipe = DEMO) -> History:
    """A history like those of real runs: step 1, then a mean per 500th of the schedule."""
    every = max(1, recipe.iterations // 500)
    last = recipe.iterations // every * every
    steps = [1, *range(every, last + 1, every)]
    return [
        losses(
            step,
            0.2 + 0.93 * math.exp(-6 * (step - 1) / recipe.iterations),
            0.5 + 0.7 * math.exp(-4 * (step - 1) / recipe.iterations),
            0.62 + 0.07 * math.exp(-4 * (step - 1) / recipe.iterations),
        )
        for step in dict.fromkeys(steps)
    ]


def codes(found: Sequence[Sign]) -> list[str]:
    return [sign.code for sign in found]


# What a step of the untrained detector gave, for every row of the tables: the smallest and largest
# of four batches of 8 generated images each, with two seeds (classification, box, centerness).
MEASURED = {
    "RetinaNet (#A=1)": (RETINANET, (1.129, 1.130), (1.749, 2.918), (None, None)),
    "+ GIoU Loss": (
        TABLES["table1"].rows[3].config,
        (1.137, 1.155),
        (1.260, 1.547),
        (None, None),
    ),
    "FCOS": (TABLES["table1"].rows[0].config, (1.090, 1.185), (1.261, 1.441), (0.710, 0.758)),
    "k = 3": (TABLES["table4"].rows[0].config, (1.094, 1.165), (1.094, 1.272), (0.648, 0.677)),
    "1:4": (TABLES["table6"].rows[0].config, (1.093, 1.167), (1.624, 2.133), (0.688, 0.695)),
    "RetinaNet (#A=9)": (
        TABLES["table7"].rows[0].config,
        (1.127, 1.128),
        (1.085, 1.227),
        (None, None),
    ),
    "9 anchors, improved": (
        TABLES["table7"].rows[1].config,
        (1.093, 1.142),
        (0.927, 0.945),
        (0.708, 0.735),
    ),
}


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("end", [0, 1])
def test_measured_first_steps_are_no_signs(name: str, end: int) -> None:
    config, cls, box, centerness = MEASURED[name]
    first = losses(1, cls[end], box[end])
    if centerness[end] is None:
        del first["loss/centerness"]
    else:
        first["loss/centerness"] = centerness[end]
    assert signs(setting(config), [first]) == []


def test_the_papers_first_and_last_losses_are_no_signs() -> None:
    """Fidelity 5.6: what ATSS begins with on COCO, and what its log ends with."""
    coco = setting(recipe=PAPER, num_classes=80, objects=7.3)
    history = falling(PAPER)
    history[0] = losses(1, 1.14, 1.15, 0.693)
    history[-20:] = [losses(entry["step"], 0.26, 0.39, 0.61) for entry in history[-20:]]
    assert all(signs(coco, history[:number]) == [] for number in range(1, len(history) + 1))


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (losses(1, 2643.0), "first loss/cls"),  # scores begin at 0.5: no prior
        (losses(1, 0.56), "first loss/cls"),  # divided by the positives of two batches
        (losses(1, 1.13 / 16), "first loss/cls"),  # divided by images, then by their positives
        (losses(1, 1.13, 3.9), "first loss/box"),  # boxes decoded far away
        (losses(1, 1.13, 0.02), "first loss/box"),  # divided by all anchors
        (losses(1, 1.13, 1.2, 0.35), "first loss/centerness"),  # divided by twice the positives
        (losses(1, 1.13, 1.2, 4.0), "first loss/centerness"),  # divided by images
    ],
)
def test_a_wrong_first_loss_is_named_with_what_it_should_be(
    first: dict[str, Any], code: str
) -> None:
    (sign,) = signs(setting(), [first])
    assert sign.code == code and sign.step == 1
    assert "begins at" in sign.text and "check" in sign.text and "\n" not in sign.text


def test_a_mean_over_many_steps_is_no_first_loss() -> None:
    assert signs(setting(), [losses(180, 0.56)]) == []


def test_many_anchors_and_few_objects_begin_higher() -> None:
    """Every negative has its share: with one positive among 22,400 x 80 logits that is 1.3."""
    sparse = setting(recipe=PAPER, num_classes=80, objects=1.0)
    assert signs(sparse, [losses(1, 1.13 + 22_400 * 80 * 7.5e-7)]) == []
    assert codes(signs(setting(), [losses(1, 2.5)])) == ["first loss/cls"]


def test_a_centerness_loss_below_its_targets_entropy_is_seen() -> None:
    history = [entry | {"loss/centerness": 0.40} for entry in falling()]
    history[0]["loss/centerness"] = 0.69
    assert codes(signs(setting(), history)) == ["centerness floor"]
    few = [*falling()[:40], *[losses(400 + n, 0.5, 0.8, 0.40) for n in range(5)]]
    assert signs(setting(), few) == []


def test_large_anchors_may_have_lower_centerness_and_own_assigners_any() -> None:
    history = [entry | {"loss/centerness": 0.40} for entry in falling()]
    history[0]["loss/centerness"] = 0.69
    large = replace(ATSS, anchor_scales=(16.0,))
    assert signs(setting(large), history) == []
    own = OwnAssigner("central", "def central(anchors, gt_boxes): ...")
    assert signs(setting(assigner=own), history) == []


def with_ap(ap: float | None, step: int = 366, recipe: Recipe = DEMO) -> History:
    history = [entry for entry in falling(recipe) if entry["step"] <= step]
    history[-1] = history[-1] | {"step": step, "AP": ap}
    return history


def test_finding_nothing_is_seen_once_it_means_something() -> None:
    pretrained = setting(recipe=PAPER, num_classes=80, objects=7.3)
    assert signs(pretrained, with_ap(0.0, 10_000, PAPER), num_detections=0) == []
    assert signs(pretrained, with_ap(0.0, 20_000, PAPER), num_detections=9) == []
    found = signs(pretrained, with_ap(0.0, 20_000, PAPER), num_detections=0)
    assert codes(found) == ["no detections"] and "0.05" in found[0].text
    assert codes(signs(setting(), with_ap(0.0, 733), num_detections=0)) == ["no detections"]
    assert signs(setting(), with_ap(0.0, 366), num_detections=0) == []  # from scratch, a third
    tiny = replace(DEMO, iterations=6)
    assert signs(setting(recipe=tiny), with_ap(0.0, 6, tiny), num_detections=0) == []


# In a run's folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_data(tmp_path_factory.mktemp("data") / "squares")


def test_a_right_run_has_no_warnings(data: Path, tmp_path: Path) -> None:
    job = make_job(data, tmp_path, replace(RECIPE, iterations=150))
    reports: list[dict[str, Any]] = []
    run_trial(job, reports.append)
    folder = RunFolder(job.folder)
    assert folder.is_done and folder.warnings() == []
    assert not (folder.path / "warnings.json").exists()
    assert all(values.get("warnings", []) == [] for values in reports)


def without_prior(*arguments: Any, **others: Any) -> Any:
    """The detector of a run whose scores begin at 0.5."""
    from detector.training import assemble

    detector, optimizer = assemble(*arguments, **others)
    for name, parameter in detector.named_parameters():
        if name.startswith("head.cls") and name.endswith("bias"):
            parameter.data.zero_()
    return detector, optimizer


def test_a_head_without_its_prior_is_warned_of_before_the_second_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration import trial

    monkeypatch.setattr(trial, "assemble", without_prior)
    monkeypatch.setattr(trial, "REPORT_SECONDS", 0.0)
    job = make_job(data, tmp_path)
    reports: list[dict[str, Any]] = []
    run_trial(job, reports.append)
    (warning,) = RunFolder(job.folder).warnings()
    assert warning["code"] == "first loss/cls" and warning["step"] == 1
    first = next(values for values in reports if values.get("warnings"))
    assert first["step"] == 1 and first["warnings"] == [warning["text"]]
    assert reports[-2]["warnings"] == [warning["text"]]  # and all the way


def test_a_warning_after_the_last_checkpoint_is_forgotten_with_its_steps(
    data: Path, tmp_path: Path
) -> None:
    from detector.data.coco import open_data

    job = make_job(data, tmp_path)
    folder = RunFolder(job.folder)
    folder.write("warnings", [{"code": c, "step": s, "text": c} for c, s in (("a", 1), ("b", 5))])
    watch = oversight.Oversight(job, folder, open_data(data).train, 4)
    assert watch.texts == ["a"]
