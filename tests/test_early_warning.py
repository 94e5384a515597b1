"""Signs of a wrong set-up: silent on every run that was right, loud on what was made up wrong."""

from dataclasses import replace
from typing import Any

import pytest
from test_trial import make_job

from detector import head
from detector.config import DetectorConfig, Recipe
from experiments import TABLES
from experiments.baselines import ATSS, RETINANET
from experiments.experiment import OwnAssigner, Run
from experiments.schedules import DEMO, PAPER
from orchestration import trial
from orchestration.early_warning import early_warnings
from orchestration.run_folder import RunFolder
from orchestration.trial import run_trial

History = list[dict[str, Any]]
COCO = {"recipe": PAPER, "num_classes": 80}
BY_HAND = OwnAssigner("central", "def central(anchors, gt_boxes): ...")


def codes(
    history: History,
    config: DetectorConfig = ATSS,
    recipe: Recipe = DEMO,
    assigner: OwnAssigner | None = None,
    num_classes: int = 5,
) -> list[str]:
    """What is warned of; every text is a line that says what to check."""
    found = list(early_warnings(Run(config, recipe, "f00d", 0, assigner), num_classes, history))
    assert all("check" in text and "\n" not in text for _, text in found)
    return [code for code, _ in found]


def losses(step: int, cls: float, box: float = 1.2, centerness: Any = 0.69) -> dict[str, Any]:
    return {"step": step, "loss/cls": cls, "loss/box": box, "loss/centerness": centerness}


# What a step of the untrained detector gave (classification, box, centerness): the smallest and
# largest of four batches of 8 generated images each, with two seeds; the rows at the bounds.
MEASURED = {
    "RetinaNet (#A=1)": (RETINANET, (1.129, 1.749, None), (1.130, 2.918, None)),
    "FCOS": (TABLES["table1"].rows[0].config, (1.090, 1.261, 0.710), (1.185, 1.441, 0.758)),
    "k = 3": (TABLES["table4"].rows[0].config, (1.094, 1.094, 0.648), (1.165, 1.272, 0.677)),
    "1:4": (TABLES["table6"].rows[0].config, (1.093, 1.624, 0.688), (1.167, 2.133, 0.695)),
    "#A=9, +": (TABLES["table7"].rows[1].config, (1.093, 0.927, 0.708), (1.142, 0.945, 0.735)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measured_first_steps_are_no_signs(name):
    config, *ends = MEASURED[name]
    assert [codes([losses(1, *end)], config) for end in ends] == [[], []]


def test_the_papers_first_and_last_losses_are_no_signs():
    """Fidelity 5.6: what ATSS begins with on COCO, and what its log ends with."""
    assert codes([losses(1, 1.14, 1.15, 0.693)], **COCO) == []
    assert codes([losses(step, 0.26, 0.39, 0.61) for step in range(89_000, 90_000)], **COCO) == []
    # Every negative has its share: with one positive among 22,400 x 80 logits that is 1.3.
    assert codes([losses(1, 1.13 + 22_400 * 80 * 7.5e-7)], **COCO) == []


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (losses(1, 2643.0), "first loss/cls"),  # scores begin at 0.5: no prior
        (losses(1, 2.5), "first loss/cls"),  # divided by half the positives
        (losses(1, 0.56), "first loss/cls"),  # divided by the positives of two batches
        (losses(1, 1.13, 3.9), "first loss/box"),  # boxes decoded far away
        (losses(1, 1.13, 0.02), "first loss/box"),  # divided by all anchors
        (losses(1, 1.13, 1.2, 0.35), "first loss/centerness"),  # divided by twice the positives
        (losses(1, 1.13, 1.2, 4.0), "first loss/centerness"),  # divided by images
    ],
)
def test_a_wrong_first_loss_is_named(first, code):
    assert codes([first]) == [code]
    assert codes([first | {"step": 180}]) == []  # a mean over many steps is no first loss


def test_a_centerness_loss_below_its_targets_entropy_is_seen():
    low = [losses(step, 0.5, 0.8, 0.31) for step in range(400, 420)]  # of twice the positives
    assert codes(low) == ["centerness floor"]
    falling = [losses(399, 0.5, 0.8, 1.0), *low[1:]]  # of which the mean is higher
    assert codes(low[1:]) == codes(falling) == []
    assert codes(low, assigner=BY_HAND) == []  # own assigners may choose any targets


@pytest.mark.parametrize(
    ("step", "about", "ap", "is_sign"),
    [
        (10_000, COCO, 0.0, False),
        (20_000, COCO, 0.1, False),
        (20_000, COCO, 0.0, True),
        (366, {}, 0.0, False),  # from scratch, a third
        (733, {}, 0.0, True),
        (6, {"recipe": replace(DEMO, iterations=6)}, 0.0, False),
    ],
)
def test_finding_nothing_is_seen_once_it_means_something(step, about, ap, is_sign):
    assert codes([{"step": step, "AP": ap}], **about) == ["no detections"] * is_sign


def test_a_head_without_its_prior_is_warned_of_before_the_second_step(data, tmp_path, monkeypatch):
    monkeypatch.setattr(head, "PRIOR", 0.5)
    monkeypatch.setattr(trial, "REPORT_SECONDS", 0.0)
    job, reports = make_job(data, tmp_path), list[dict[str, Any]]()
    folder = RunFolder(job.folder)
    folder.write("warnings", [{"code": "x", "step": 5, "text": "forgotten with its step"}])
    run_trial(job, reports.append)
    (warning,) = folder.warnings()
    assert warning["code"] == "first loss/cls" and warning["step"] == 1
    first = next(values for values in reports if values.get("warnings"))
    assert first["step"] == 1 and first["warnings"] == [warning["text"]]
    assert reports[-2]["warnings"] == [warning["text"]]  # and all the way
