"""Each step of Table 1, and each of Table 2, changes one part of the detector and nothing else.

Two detectors of neighboring columns are built from one seed and given the same weights; they must
agree in every part, parameter, sample, loss and detection that the step does not name.
"""

from itertools import product

import pytest
import torch
from scenes import small_detector, speaking

from detector.detector import Detector
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET
from experiments.baselines import FCOS_CENTER_SAMPLING as LITE

LADDER = [row.config for row in TABLES["table1"].rows[1:]]  # without the first column, FCOS
GRID = {row.label: row.config for row in TABLES["table2"].rows}
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


def neighbors(config, changed) -> tuple[Detector, Detector]:
    """Both, with the same weights where they have the same parameters, and a head that speaks."""
    one, other = speaking(small_detector(config), std=0.1), small_detector(changed)
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


@torch.no_grad()
def outcomes(detector) -> dict[str, list[dict]]:
    """Samples, predictions, detections and losses."""
    detections = detector.detect(IMAGES)
    assert all(len(it["scores"]) > 10 for it in detections)
    samples = detector.select_samples((128, 160), TARGETS)
    found = {"samples": [vars(samples)], "predictions": [vars(detector(IMAGES))]}
    losses = {name: [{name: loss}] for name, loss in detector.loss(IMAGES, TARGETS).items()}
    return found | {"detections": detections} | losses


def are_equal(found: dict, expected: dict) -> bool:
    """To the bit, where both have something: one without centerness has less."""
    known = [name for name in found if found[name] is not None and expected[name] is not None]
    return all(torch.equal(found[name], expected[name]) for name in known)


def agreement(one: Detector, other: Detector) -> set[str]:
    """In which outcomes that both have they are the same."""
    found, expected = outcomes(one), outcomes(other)
    known = found.keys() & expected.keys()
    return {name for name in known if all(map(are_equal, found[name], expected[name]))}


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
    one, other = parts(small_detector(config)), parts(small_detector(changed))
    assert {name for name in one if one[name] != other[name]} == named
    one, other = small_detector(config).state_dict(), small_detector(changed).state_dict()
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
