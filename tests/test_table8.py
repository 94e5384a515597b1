"""Table 8: its rows' detectors as they are built, and rows that only test what others train."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_results import make_bundle
from test_trial import CONFIG, RECIPE, make_job

from detector import backbone
from detector.backbone import build_backbone
from detector.data.batches import batches
from detector.data.coco import open_data
from detector.detector import build_detector
from detector.evaluation import multi_scale
from detector.layers import DeformableConv2d
from detector.training import assemble, train
from detector.weights.conventions import own_layout
from experiments import TABLES
from experiments.schedules import DEMO, PAPER, PAPER_2X
from experiments.sweep import Sweep, parse_axis
from orchestration import launch
from orchestration.launch import failures, load_weights
from orchestration.plan import Setup, make_plan
from orchestration.run_folder import RunFolder, Store, open_store
from orchestration.terminal import summary
from orchestration.trial import run_trial
from reports.results import load_bundle, save_bundle
from reports.tables import footnotes

TABLE = TABLES["table8"]
AT_PAPERS = Setup("paper-2x", PAPER_2X, {}, "coco2017", "f00d", "coco2017")
AT_DEMO = Setup("demo", DEMO, {}, "shapes", "f00d", "shapes")
SMALL_DCN = replace(RECIPE, deformable="c4-c5", iterations=3, batch_size=2, evaluations=1)


# --- the rows


def test_the_last_two_rows_train_nothing_and_come_after_all_trainings():
    plan = make_plan(AT_PAPERS, [TABLE])
    *trained, one, other = plan.runs
    assert [run.training for run in plan.runs] == [None] * 6 + trained[4:]
    assert trained[4].run.recipe == replace(one.run.recipe, multi_scale_test=False)
    told = summary(plan, Store(Path("/nowhere")))
    assert told == "8 rows, 1 seed: 8 distinct runs, 0 done, 6 to train, 2 to test anew"
    both = make_plan(AT_PAPERS, [TABLE], seeds=[0, 1]).runs
    assert [run.training is None for run in both] == [True] * 12 + [False] * 4
    # A test that is asked for alone is planned with its training.
    training, test = make_plan(AT_PAPERS, [TABLE], rows=["7"], seeds=[3]).runs
    assert test.training == training and training.run == test.run.training
    assert training.name == "Table 8: ResNeXt-32x8d-101-DCN - seed 3"


def test_at_demo_scale_the_small_backbone_stands_for_all_three():
    plan = make_plan(AT_DEMO, [TABLE])
    three = [f"Table 8: {it}" for it in ("ResNet-101", "ResNeXt-32x8d-101", "ResNeXt-64x4d-101")]
    assert plan.runs[0].rows[:3] == (*three,)
    _, note, *_ = summary(plan, Store(Path("nowhere"))).splitlines()
    assert note == f"At scale demo one run: {'; '.join(three)}"
    mine = replace(AT_DEMO, settings={"backbone": "resnet18"})
    assert {it.run.recipe.backbone for it in make_plan(mine, [TABLE]).runs} == {"resnet18"}
    # Nor is a sweep over backbones of a row overruled by its stand-in.
    axes = (parse_axis("backbone=small,resnet18"), parse_axis("k=5,9"))
    for varied, expected in ((axes, ["small"] * 2 + ["resnet18"] * 2), (axes[1:], ["small"] * 2)):
        rows = Sweep(TABLE.rows[3], DEMO, varied, "sweep", ()).grid()
        recipes = [AT_DEMO.row_run(row, 0).recipe for row in rows]
        assert [recipe.backbone for recipe in recipes] == expected
        assert {recipe.deformable for recipe in recipes} == {"c3-c5"}


def test_a_report_says_whose_numbers_the_papers_are_and_what_stands_in(tmp_path):
    bundle = make_bundle("table8", scale="demo")
    notes = " ".join(footnotes(bundle))
    for text in (
        "COCO test-dev with ResNet-101, ResNeXt-101 32x8d, ResNeXt-101 64x4d",
        "180,000 iterations of 16 images, short side 640 to 800 px",
        "every row has backbone=small",
        "Changed from row to row: deformable, multi_scale_test.",
    ):
        assert text in notes
    assert "every row has" not in " ".join(footnotes(replace(bundle, scale="mini")))
    save_bundle(bundle, tmp_path / "table8.json")
    assert load_bundle(tmp_path / "table8.json").table == TABLE
    # Values are held against the paper's only at the table's own schedule.
    for table, own, other in (("table8", PAPER_2X, PAPER), ("table2", PAPER, PAPER_2X)):
        scale = TABLES[table].scale
        bundle = make_bundle(table, scale=scale, recipe=own, data="COCO 2017")
        assert bundle.is_as_in_paper and not replace(bundle, recipe=other).is_as_in_paper


# --- their detectors


def places(detector):
    modules = detector.named_modules()
    return [name for name, module in modules if isinstance(module, DeformableConv2d)]


PARAMETERS = {  # torchvision's, less those of the classifier: 2048 x 1000 + 1000
    "resnet101": 44_549_160 - 2_049_000,
    "resnext101_32x8d": 88_791_336 - 2_049_000,
    "resnext101_64x4d": 83_455_272 - 2_049_000,
}
TOWERS = ["head.cls_tower.3.conv", "head.box_tower.3.conv"]
BLOCKS = {"none": {}, "c3-c5": {2: 4, 3: 23, 4: 3}, "c4-c5": {3: 23, 4: 3}}  # of each stage


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: row.label)
def test_a_row_has_its_backbones_parameters_and_is_deformable_where_the_paper_says(row):
    run = AT_PAPERS.row_run(row, 0)
    layout = own_layout(run.recipe.deformable)
    with torch.device("meta"):
        plain = build_backbone(run.recipe.backbone, "group_norm").body  # as many as batch norm's
        body = build_backbone(run.recipe.backbone, "group_norm", layout=layout)
        detector = build_detector(run.config, 80, backbone=body, layout=layout)
    assert sum(it.numel() for it in plain.parameters()) == PARAMETERS[run.recipe.backbone]
    expected = [
        f"backbone.body.layer{stage}.{block}.conv2"
        for stage, count in BLOCKS[run.recipe.deformable].items()
        for block in range(count)
    ]
    assert places(detector) == expected + (TOWERS if expected else [])


def test_offsets_of_the_small_backbone_and_the_towers_are_trained(data):
    detector, optimizer = assemble(CONFIG, SMALL_DCN, 1, seed=0)
    blocks = [f"backbone.body.stages.{place}.residual.3" for place in ("1.0", "1.1", "2.0", "2.1")]
    assert places(detector) == blocks + TOWERS
    images = batches(open_data(data).train, SMALL_DCN, seed=0)
    list(train(detector, optimizer, images, replace(SMALL_DCN, iterations=2)))
    for name in places(detector):
        assert detector.get_submodule(name).offset.weight.abs().max() > 0, name


FAR = [(slice(18), offset) for offset in (1e4, 1e30, torch.inf, -torch.inf)]
NO_NUMBERS = [(channels, torch.nan) for channels in (slice(7, 8), slice(20, 21), slice(None))]


@pytest.mark.parametrize(("channels", "offset"), FAR + NO_NUMBERS)
def test_out_of_the_map_nothing_is_sampled_and_no_number_makes_the_output_none(channels, offset):
    """Neither reads memory that is not the map's."""
    convolution = DeformableConv2d(torch.nn.Conv2d(4, 3, 3, padding=1))
    convolution.offset.bias.data[channels] = offset
    found = convolution(torch.randn(1, 4, 6, 5, requires_grad=True))
    found.sum().backward()
    expected = torch.full((3,), torch.nan) if offset != offset else convolution.conv.bias
    expected = expected[:, None, None].expand_as(found)
    torch.testing.assert_close(found, expected, equal_nan=True)


# --- a row that only tests


def make_test(data, out, recipe=SMALL_DCN):
    """The multi-scale test of a small detector, and that detector's training."""
    test = make_job(data, out, replace(recipe, multi_scale_test=True))
    training = make_job(data, out, test.run.training.recipe)
    return replace(test, training=training, facts={**test.facts, "name": "the test"})


def test_a_test_trains_what_is_not_trained_and_then_only_tests(data, tmp_path, atss, monkeypatch):
    monkeypatch.setattr(multi_scale, "EXTRA_PASSES", {400: (96, 10_000)})  # four looks, not 26
    job, told = make_test(data, tmp_path), []
    run_trial(job, told.append)
    training, test = RunFolder(job.training.folder), RunFolder(job.folder)
    assert training.is_done and test.is_done
    assert [it.facts()["name"] for it in (training, test)] == ["squares", "the test"]
    assert training.weights.read_bytes()[-1000:] == test.weights.read_bytes()[-1000:]
    assert [entry["step"] for entry in test.history()] == [SMALL_DCN.iterations]
    # Of a test that takes less than a second between two reports nothing is told.
    states = dict.fromkeys(values["state"] for values in told)
    assert [state for state in states if state != "testing"] == ["training", "done"]
    result = test.result()
    assert told[-1]["AP"] == result["metrics"]["ap"]
    # Its numbers are those of the trained detector under the multi-scale test.
    settings = ("--set", "multi_scale_test=true", "--set", "score_threshold=0.001")
    where = ("--data", job.where, "--out", tmp_path)
    code, _, errors = atss("evaluate", training.signature, *settings, *where)
    assert code == 0, errors
    (metrics,) = tmp_path.glob("evaluations/*multi_scale_test=true*/metrics.json")
    found = json.loads(metrics.read_text())
    assert found["numbers"]["AP"] == result["metrics"]["ap"]
    assert found["settings"]["multi_scale_test"] is True
    assert metrics.with_name("detections.json").read_bytes() == test.detections.read_bytes()
    # What is trained is not trained again.
    before = (training.path / "result.json").stat().st_mtime_ns
    test.forget("result")
    run_trial(job, told.append)
    assert test.is_done and (training.path / "result.json").stat().st_mtime_ns == before


def test_a_training_that_fails_or_is_cancelled_leaves_its_test_untested(data, tmp_path):
    told = []
    job = make_test(data, tmp_path / "failed", replace(SMALL_DCN, learning_rate=1e30))
    run_trial(job, told.append)
    assert RunFolder(job.training.folder).failure() and not RunFolder(job.folder).is_done
    reason = RunFolder(job.folder).failure()["reason"]
    assert "could not be trained: the loss is" in reason and told[-1]["reason"] == reason
    job = make_test(data, tmp_path / "cancelled")
    RunFolder(job.training.folder).write("cancel", {"by": "me", "at": "noon"})
    run_trial(job, told.append)
    assert told[-1]["state"] == "cancelled" and "by me at noon" in told[-1]["reason"]
    assert not RunFolder(job.folder).is_done


def test_the_weights_of_every_backbone_are_fetched_before_anything_is_trained(monkeypatch):
    asked = []
    monkeypatch.setattr(backbone, "build_backbone", lambda *what: asked.append(what))
    load_weights([run.run.recipe for run in make_plan(AT_PAPERS, [TABLE]).runs])
    names = ["resnet101", "resnext101_32x8d", "resnext101_64x4d"]
    assert asked == [(name, "frozen_batch_norm", "imagenet") for name in names]


def test_a_launch_hands_a_test_its_training(tmp_path):
    store = open_store(tmp_path)
    plan = make_plan(AT_DEMO, [TABLE], rows=["7"])
    job = launch.make_job(plan.runs[1], AT_DEMO, store, {"shared": 1}, micro_batch_size=4)
    assert job.training.folder == store.folder(plan.runs[0].signature).path
    assert job.training.facts["name"] == plan.runs[0].name
    assert job.training.micro_batch_size == 4
    assert failures(plan, store) == [f"{run.name} failed: ended" for run in plan.runs]
