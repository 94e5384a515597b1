"""Each step of Table 1, and each of Table 2, changes one part of the detector and nothing else.

Two detectors of neighboring columns are built from one seed and given the same weights; they must
agree in every part, parameter, sample, loss and detection that the step does not name.
"""

from dataclasses import replace
from itertools import product

import pytest
import reference
import torch
from torch import nn

from detector import losses
from detector.assigners import IGNORED
from detector.backbone import build_backbone
from detector.detector import Detector, build_detector
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET
from experiments.baselines import FCOS_CENTER_SAMPLING as LITE

LADDER = [row.config for row in TABLES["table1"].rows[1:]]  # without the first column, FCOS
GRID = {row.label: row.config for row in TABLES["table2"].rows}
SWITCHES = ["group_norm", "giou_loss", "in_gt_box", "centerness", "scalar"]
IMAGES = 0.5 * torch.randn(2, 3, 128, 160, generator=torch.Generator().manual_seed(1))
BOXES = torch.tensor([[8.0, 8, 60, 70], [20, 30, 150, 120], [100, 5, 104, 11]])
TARGETS = [
    {"boxes": BOXES, "labels": torch.tensor([0, 1, 2])},
    {"boxes": torch.tensor([[50.0, 20, 90, 110]]), "labels": torch.tensor([1])},
]
BOTH = ("weight", "bias")
TOWERS = product(("cls", "box"), range(4), BOTH)
NORMS = {f"head.{tower}_tower.{layer}.norm.{kind}" for tower, layer, kind in TOWERS}
CENTERNESS = {f"head.centerness.{kind}" for kind in BOTH}


PLAIN_PARTS = ("coder", "regression_loss", "regression_weight", "postprocess", "score")


def build(config) -> Detector:
    torch.manual_seed(0)
    return build_detector(config, 3, backbone=build_backbone("small", "group_norm"))


def neighbors(config, changed) -> tuple[Detector, Detector]:
    """Both, with the same weights where they have the same parameters, and a head that speaks."""
    one, other = build(config), build(changed)
    for layer in (one.head.cls_logits, one.head.bbox_pred, one.head.centerness):
        if layer is not None:
            nn.init.normal_(layer.weight, std=0.1)
    nn.init.constant_(one.head.cls_logits.bias, -1.0)
    other.load_state_dict(one.state_dict(), strict=False)
    return one, other


def parts(detector: Detector) -> dict[str, object]:
    """What build_detector chose, comparable with ==; weights aside."""
    head = detector.head
    return {
        "layers": [(name, repr(layer)) for name, layer in head.named_modules() if name],
        "scales": head.scales is not None,
        "backbone": repr(detector.backbone),
        "anchors": torch.cat(detector.anchors(128, 160)).tolist(),
        "assigner": repr(detector.assigner.assign),
    } | {name: getattr(detector, name) for name in PLAIN_PARTS}


def changed_parts(config, changed) -> set[str]:
    one, other = parts(build(config)), parts(build(changed))
    return {name for name in one if one[name] != other[name]}


@torch.no_grad()
def values(detector) -> dict[str, float]:
    return {name: loss.item() for name, loss in detector.loss(IMAGES, TARGETS).items()}


def samples_of(detector):
    return detector.select_samples((128, 160), TARGETS)


def are_equal(found: dict, expected: dict) -> bool:
    """To the bit, where both have something: one without centerness has less."""
    known = [name for name in found if found[name] is not None and expected[name] is not None]
    return all(torch.equal(found[name], expected[name]) for name in known)


@torch.no_grad()
def agreement(one: Detector, other: Detector) -> set[str]:
    """In which of samples, predictions, detections and losses both are the same."""
    found, expected = one.detect(IMAGES), other.detect(IMAGES)
    assert all(len(it["scores"]) > 10 for it in found)
    same = {
        "samples": are_equal(vars(samples_of(one)), vars(samples_of(other))),
        "predictions": are_equal(vars(one(IMAGES)), vars(other(IMAGES))),
        "detections": all(map(are_equal, found, expected)),
    }
    losses = values(one).items() & values(other).items()
    return {name for name, is_same in same.items() if is_same} | {name for name, _ in losses}


def test_the_columns_switch_on_one_toggle_after_the_other_in_the_papers_order():
    for config, changed, switch in zip(LADDER[:-1], LADDER[1:], SWITCHES, strict=True):
        assert not getattr(config, switch)
        assert changed == replace(config, **{switch: True})
    assert LADDER[-1] == IMPROVED_RETINANET == GRID["Intersection over Union, Box"]


IOU_POINT = GRID["Intersection over Union, Point"]
SSC_BOX = GRID["Spatial and Scale Constraint, Box"]
OF_LOSS = {"regression_loss", "regression_weight"}
OF_CODER = {"samples", "predictions", "cls", "centerness"}
OF_ASSIGNER = {"predictions", "detections"}
ALL = OF_CODER | OF_ASSIGNER | {"box"}
STEPS = {  # before, after, the parts that differ, the parameters added, what stays the same
    "+ GroupNorm": (LADDER[0], LADDER[1], {"layers"}, NORMS, {"samples"}),
    "+ GIoU Loss": (LADDER[1], LADDER[2], OF_LOSS, set(), ALL - {"box", "centerness"}),
    "+ In GT Box": (LADDER[2], LADDER[3], {"assigner"}, set(), OF_ASSIGNER),
    "+ Centerness": (LADDER[3], LADDER[4], {"layers"}, CENTERNESS, {"predictions", "cls"}),
    "+ Scalar": (LADDER[4], LADDER[5], {"scales"}, {"head.scales"}, ALL),
    "Table 2: box to point, IoU": (LADDER[5], IOU_POINT, {"coder"}, set(), OF_CODER),
    "Table 2: IoU to SSC, box": (LADDER[5], SSC_BOX, {"assigner"}, set(), OF_ASSIGNER),
    "Table 2: IoU to SSC, point": (IOU_POINT, FCOS, {"assigner"}, set(), OF_ASSIGNER),
    "Table 2: box to point, SSC": (SSC_BOX, FCOS, {"coder"}, set(), OF_CODER),
    "Table 3: IoU to ATSS": (IMPROVED_RETINANET, ATSS, {"assigner"}, set(), OF_ASSIGNER),
    "Table 3: SSC to center sampling": (FCOS, LITE, {"assigner"}, set(), OF_ASSIGNER),
    "Table 3: SSC to ATSS": (FCOS, FCOS_ATSS, {"assigner"}, set(), OF_ASSIGNER),
    "Table 3: ATSS, box to point": (ATSS, FCOS_ATSS, {"coder"}, set(), OF_CODER),
}


@pytest.mark.parametrize(("config", "changed", "named", "added", "same"), STEPS.values(), ids=STEPS)
def test_a_step_changes_the_part_it_names_and_adds_the_parameters_it_names(
    config, changed, named, added, same
):
    assert agreement(*neighbors(config, changed)) == same
    assert changed_parts(config, changed) == named
    one, other = build(config).state_dict(), build(changed).state_dict()
    assert other.keys() - one.keys() == added and one.keys() <= other.keys()
    assert all(other[name].shape == value.shape for name, value in one.items())
    # Both start from the same weights, but for the bias from which regression starts, and that the
    # centerness branch takes its turn when random numbers are drawn: what is drawn after it
    # differs, from the same distribution.
    different = {name for name, value in one.items() if not torch.equal(value, other[name])}
    if named == {"coder"}:
        assert different == {"head.bbox_pred.bias"}
    elif added == CENTERNESS:
        assert all(name.startswith("head.") and name.endswith("weight") for name in different)
    else:
        assert not different


@pytest.mark.parametrize(
    ("name", "part"), [("table4", "assigner"), ("table5", "anchors"), ("table6", "anchors")]
)
def test_a_setting_of_atss_is_a_matter_of_one_part_alone(name, part):
    for row in TABLES[name].rows:
        named = set() if row.config == ATSS else {part}
        assert changed_parts(ATSS, row.config) == named, row.label


# What a toggle must not touch


def test_group_norm_is_layers_in_the_towers():
    plain, normed = neighbors(LADDER[0], LADDER[1])
    for tower in (normed.head.cls_tower, normed.head.box_tower):
        for layer in tower:
            layer.norm = nn.Identity()
    assert agreement(plain, normed) == ALL - {"centerness"}


def test_in_gt_box_ignores_positives_whose_center_is_outside_and_nothing_else():
    one, other = neighbors(LADDER[2], LADDER[3])
    before, after = samples_of(one), samples_of(other)
    is_other = before.classes != after.classes
    assert is_other.any() and (before.classes[is_other] >= 0).all()
    assert (after.classes[is_other] == IGNORED).all()
    pairs = zip(before.anchors.tolist(), before.gt_boxes.tolist(), strict=True)
    is_outside = [not reference.is_inside(reference.center(anchor), gt) for anchor, gt in pairs]
    assert is_other[before.image, before.anchor].tolist() == is_outside
    # of the anchors that are left, each costs what it did before
    logits = other(IMAGES).cls_logits.detach()
    kept = (after.classes != IGNORED).nonzero(as_tuple=True)
    cost = losses.focal(logits[kept], before.classes[kept]).sum() / len(after.anchor)
    assert values(other)["cls"] == pytest.approx(cost.item(), rel=1e-5)


def test_centerness_adds_its_loss_and_weighs_the_box_loss_and_the_score_and_nothing_else():
    one, other = neighbors(LADDER[3], LADDER[4])
    before, after = samples_of(one), samples_of(other)
    changed = replace(before, centerness=after.centerness)
    assert are_equal(vars(changed), vars(after)) and before.centerness.eq(1).all()
    assert values(other).keys() - values(one).keys() == {"centerness"}
    codes = one(IMAGES).codes[before.image, before.anchor].detach()
    each = losses.giou(codes, before.anchors, before.gt_boxes, one.coder)
    for detector, weights in ((one, before.centerness), (other, after.centerness)):
        box = 2 * (weights * each).sum() / weights.sum()
        assert values(detector)["box"] == pytest.approx(box.item(), rel=1e-5)
    # a branch that always says 1 leaves the detections alone, but for the root of their scores
    nn.init.zeros_(other.head.centerness.weight)
    nn.init.constant_(other.head.centerness.bias, 100.0)
    for plain, rooted in zip(one.detect(IMAGES), other.detect(IMAGES), strict=True):
        assert are_equal(plain, rooted | {"scores": plain["scores"]})
        torch.testing.assert_close(plain["scores"].sqrt(), rooted["scores"])
