"""Tables 1 to 8, read beside the paper's pages: the same order, the same labels, the same digits.

The scan of Table 8 cannot be read by machines and mixes up its rows; its numbers here are those of
its text and of the page of its code.
"""

from dataclasses import replace
from typing import Any

from detector.config import Assigner, DetectorConfig, RegressFrom
from detector.metrics import Metrics
from experiments.baselines import (
    ATSS,
    FCOS,
    FCOS_ATSS,
    FCOS_CENTER_SAMPLING,
    IMPROVED_RETINANET,
    RETINANET,
)
from experiments.experiment import Row, Table

ON_MINIVAL = "on the MS COCO minival set."

# Table 1 (Sec. 3.2): five improvements that FCOS brought, given to RetinaNet one by one

SWITCHES = ("group_norm", "giou_loss", "in_gt_box", "centerness", "scalar")
COLUMNS = (  #                              GN GIoU In Cent Sc    AP (%)
    ("FCOS", "FCOS", FCOS, (1, 1, 1, 1, 1), 37.8),
    ("RetinaNet (#A=1)", "RetinaNet (#A=1)", RETINANET, (0, 0, 0, 0, 0), 32.5),
    ("+ GroupNorm", "RetinaNet (#A=1)", RETINANET, (1, 0, 0, 0, 0), 33.4),
    ("+ GIoU Loss", "RetinaNet (#A=1)", RETINANET, (1, 1, 0, 0, 0), 34.9),
    ("+ In GT Box", "RetinaNet (#A=1)", RETINANET, (1, 1, 1, 0, 0), 35.3),
    ("+ Centerness", "RetinaNet (#A=1)", RETINANET, (1, 1, 1, 1, 0), 36.8),
    ("+ Scalar", "RetinaNet (#A=1)", RETINANET, (1, 1, 1, 1, 1), 37.0),
)


def _column(label: str, head: str, parent: DetectorConfig, on: tuple[int, ...], ap: float) -> Row:
    switches: dict[str, Any] = dict(zip(SWITCHES, on, strict=True))
    marks = ("✓" if value else "" for value in on)
    return Row(label, replace(parent, **switches), Metrics(ap), printed=(head, *marks))


TABLE_1 = Table(
    number=1,
    section="3.2",
    title="Implementation inconsistencies between RetinaNet and FCOS",
    caption=(
        "Analysis of implementation inconsistencies between RetinaNet and FCOS on the MS COCO "
        'minival set. "#A=1" means there is one square anchor box per location.'
    ),
    headings=("Inconsistency", "GroupNorm", "GIoU Loss", "In GT Box", "Centerness", "Scalar"),
    layout="columns",
    metrics=("ap",),
    reference=1,  # the improvements are added to RetinaNet, the second column
    rows=tuple(_column(*column) for column in COLUMNS),
    note=(
        "The paper quotes 32.5 from the FCOS paper's supplement, whose other settings differ "
        "(P6 from C5, NMS at 0.5)."
    ),
)

# Table 2 (Sec. 3.3): how samples are selected matters, where regression starts does not

STARTS: dict[str, RegressFrom] = {"Box": "box", "Point": "point"}
SELECTIONS: dict[str, tuple[Assigner, tuple[float, float]]] = {  # Box, Point
    "Intersection over Union": ("iou", (37.0, 36.9)),
    "Spatial and Scale Constraint": ("ssc", (37.8, 37.8)),
}

TABLE_2 = Table(
    number=2,
    section="3.3",
    title="The two differences left between RetinaNet and FCOS",
    caption=f"Analysis of differences (%) between RetinaNet and FCOS {ON_MINIVAL}",
    headings=("Classification", "Regression"),
    layout="grid",
    metrics=("ap",),
    rows=tuple(
        Row(
            f"{name}, {start}",
            replace(IMPROVED_RETINANET, assigner=assigner, regress_from=STARTS[start]),
            Metrics(ap),
            printed=(name, start),
        )
        for name, (assigner, aps) in SELECTIONS.items()
        for start, ap in zip(STARTS, aps, strict=True)
    ),
)

# Table 3 (Sec. 4.2): ATSS lifts RetinaNet and FCOS, and closes the gap between them

METHODS = {  #                                             AP   AP50  AP75  AP_S  AP_M  AP_L
    "RetinaNet (#A=1)": (IMPROVED_RETINANET, Metrics(37.0, 55.1, 39.9, 21.4, 41.2, 48.6)),
    "RetinaNet (#A=1) + ATSS": (ATSS, Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3)),
    "FCOS": (FCOS, Metrics(37.8, 55.6, 40.7, 22.1, 41.8, 48.8)),
    "FCOS + Center sampling": (FCOS_CENTER_SAMPLING, Metrics(38.6, 57.4, 41.4, 22.3, 42.5, 49.8)),
    "FCOS + ATSS": (FCOS_ATSS, Metrics(39.2, 57.3, 42.4, 22.7, 43.1, 51.5)),
}

TABLE_3 = Table(
    number=3,
    section="4.2",
    title="Verification of ATSS, in its full and its lite version",
    caption=(
        "Verification of the proposed method (%) on the MS COCO minival set. ATSS and center "
        "sampling are the full version and the lite version of our proposed method."
    ),
    headings=("Method",),
    rows=tuple(Row(label, *line) for label, line in METHODS.items()),
    note=(
        "RetinaNet (#A=1) is the improved one of Table 1. The row with center sampling has all six "
        "numbers of the FCOS paper's own run, so its training details may differ from the others'."
    ),
)

# Table 4 (Sec. 4.3): AP hardly moves with k, ATSS's only hyperparameter

AP_BY_K = {3: 38.0, 5: 38.8, 7: 39.1, 9: 39.3, 11: 39.1, 13: 39.0, 15: 39.1, 17: 39.2, 19: 38.9}

TABLE_4 = Table(
    number=4,
    section="4.3",
    title="Different values of the hyperparameter k",
    caption=f"Analysis of different values of hyperparameter k {ON_MINIVAL}",
    headings=("k",),
    layout="columns",
    metrics=("ap",),
    reference=3,  # k = 9, used everywhere else
    axis="k, candidates per pyramid level",
    rows=tuple(
        Row(f"k = {k}", replace(ATSS, k=k), Metrics(ap), printed=(f"{k}",))
        for k, ap in AP_BY_K.items()
    ),
)

# Table 5 (Sec. 4.3): AP hardly moves with the anchor's scale

BY_SCALE = {  #    AP   AP50  AP75  AP_S  AP_M  AP_L
    5: Metrics(39.0, 57.9, 41.9, 23.2, 42.8, 50.5),
    6: Metrics(39.2, 57.6, 42.5, 23.5, 42.8, 51.1),
    7: Metrics(39.3, 57.6, 42.4, 22.9, 43.2, 51.3),
    8: Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3),
    9: Metrics(38.9, 56.5, 42.0, 22.9, 42.4, 50.3),
}

TABLE_5 = Table(
    number=5,
    section="4.3",
    title="Different anchor scales with the aspect ratio 1:1",
    caption=f"Analysis (%) of different anchor scales with fixed aspect ratio 1:1 {ON_MINIVAL}",
    headings=("Scale",),
    reference=3,  # 8S, used everywhere else
    axis="anchor scale, side ÷ stride",
    rows=tuple(
        Row(f"{scale}S", replace(ATSS, anchor_scales=(scale,)), metrics, printed=(f"{scale}",))
        for scale, metrics in BY_SCALE.items()
    ),
)

# Table 6 (Sec. 4.3): AP hardly moves with the anchor's aspect ratio

# The paper does not say what a:b is; in its code a ratio is height ÷ width, so a:b is taken as h:w.
# It prints 4:1, 2:1, 1:1, 2:1, 4:1, of which the author confirmed the first two as misprints.
BY_RATIO = {  #              AP   AP50  AP75  AP_S  AP_M  AP_L
    (1, 4): Metrics(39.1, 57.2, 42.3, 23.1, 43.1, 51.4),
    (1, 2): Metrics(39.0, 56.9, 42.5, 23.3, 43.5, 50.6),
    (1, 1): Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3),
    (2, 1): Metrics(39.3, 57.4, 42.3, 22.8, 43.4, 51.0),
    (4, 1): Metrics(39.1, 56.9, 42.6, 22.9, 42.9, 50.7),
}

TABLE_6 = Table(
    number=6,
    section="4.3",
    title="Different anchor aspect ratios with the scale 8S",
    caption=f"Analysis (%) of different anchor aspect ratios with fixed scale 8S {ON_MINIVAL}",
    headings=("Aspect Ratio",),
    reference=2,  # 1:1, used everywhere else
    axis="anchor aspect ratio, height : width",
    rows=tuple(
        Row(f"{height}:{width}", replace(ATSS, aspect_ratios=(height / width,)), metrics)
        for (height, width), metrics in BY_RATIO.items()
    ),
    note=(
        "The paper prints the ratios as 4:1, 2:1, 1:1, 2:1, 4:1; its author confirmed that the "
        "first two are 1:4 and 1:2. Ratios are height : width."
    ),
)

# Table 7 (Sec. 4.5): several anchors per location help with IoU, and are useless with ATSS

# By #sc: anchor side / stride. The paper does not state the three scales; its code has
# 4 x 2^(i/3), RetinaNet's own.
SCALES = {3: tuple(4 * 2 ** (i / 3) for i in range(3)), 1: (8.0,)}
RATIOS = {3: (1 / 2, 1.0, 2.0), 1: (1.0,)}  # by #ar: height / width
LINES = (  #                         #sc #ar        AP   AP50  AP75  AP_S  AP_M  AP_L
    ("RetinaNet (#A=9)", RETINANET, 3, 3, Metrics(36.3, 55.2, 38.8, 19.8, 39.8, 48.8)),
    ("+Imprs.", IMPROVED_RETINANET, 3, 3, Metrics(38.4, 56.2, 41.6, 22.2, 42.4, 50.1)),
    ("+Imprs.+ATSS", ATSS, 3, 3, Metrics(39.2, 57.6, 42.7, 23.8, 42.8, 50.9)),
    ("+Imprs.+ATSS", ATSS, 3, 1, Metrics(39.3, 57.7, 42.6, 23.8, 43.5, 51.2)),
    ("+Imprs.+ATSS", ATSS, 1, 3, Metrics(39.2, 57.1, 42.5, 23.2, 43.1, 50.3)),
    ("+Imprs.+ATSS", ATSS, 1, 1, Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3)),
)

TABLE_7 = Table(
    number=7,
    section="4.5",
    title="Several anchors per location",
    caption=f"Results (%) with different multiple anchors per location {ON_MINIVAL}",
    headings=("Method", "#sc", "#ar"),
    rows=tuple(
        Row(
            f"{method} ({sc} sc, {ar} ar)" if parent == ATSS else method,
            replace(parent, anchor_scales=SCALES[sc], aspect_ratios=RATIOS[ar]),
            metrics,
            printed=(method, f"{sc}", f"{ar}"),
        )
        for method, parent, sc, ar, metrics in LINES
    ),
    note=(
        "36.3 equals what the code base that the paper builds on reports for its own RetinaNet "
        "(P6 from C5, NMS at 0.4)."
    ),
)

# Table 8 (Sec. 4.4): ATSS with larger backbones, deformable convolutions and multi-scale testing.
# Rows of other methods are not here, and what every row shares is the scale "paper-2x". "DCN" makes
# 3x3 convolutions deformable: in a ResNet those of C3 to C5, in a ResNeXt those of C4 and C5, in
# both the last one of each tower. The last two rows test the two before them at many scales.

BACKBONES = {
    "ResNet-101": "resnet101",
    "ResNeXt-32x8d-101": "resnext101_32x8d",
    "ResNeXt-64x4d-101": "resnext101_64x4d",  # whose only weights are by a newer training recipe
}
STAND_IN = {"demo": {"backbone": "small"}}  # a CPU trains nothing larger within minutes
SINGLE, MULTI = "single-scale", "multi-scale"
RESULTS = (  #                       DCN      test            AP   AP50  AP75  AP_S  AP_M  AP_L
    ("ResNet-101", "none", SINGLE, Metrics(43.6, 62.1, 47.4, 26.1, 47.0, 53.6)),
    ("ResNeXt-32x8d-101", "none", SINGLE, Metrics(45.1, 63.9, 49.1, 27.9, 48.2, 54.6)),
    ("ResNeXt-64x4d-101", "none", SINGLE, Metrics(45.6, 64.6, 49.7, 28.5, 48.9, 55.6)),
    ("ResNet-101", "c3-c5", SINGLE, Metrics(46.3, 64.7, 50.4, 27.7, 49.8, 58.4)),
    ("ResNeXt-32x8d-101", "c4-c5", SINGLE, Metrics(47.7, 66.6, 52.1, 29.3, 50.8, 59.7)),
    ("ResNeXt-64x4d-101", "c4-c5", SINGLE, Metrics(47.7, 66.5, 51.9, 29.7, 50.8, 59.4)),
    ("ResNeXt-32x8d-101", "c4-c5", MULTI, Metrics(50.6, 68.6, 56.1, 33.6, 52.9, 62.2)),
    ("ResNeXt-64x4d-101", "c4-c5", MULTI, Metrics(50.7, 68.9, 56.3, 33.2, 52.9, 62.4)),
)


def _result(backbone: str, deformable: str, test: str, paper: Metrics) -> Row:
    name = backbone if deformable == "none" else f"{backbone}-DCN"
    recipe: dict[str, Any] = {"backbone": BACKBONES[backbone]}
    if deformable != "none":
        recipe["deformable"] = deformable
    if test == MULTI:
        recipe["multi_scale_test"] = True
    label = name if test == SINGLE else f"{name}, {MULTI} test"
    return Row(label, ATSS, paper, printed=(name, test), recipe=recipe, at_scale=STAND_IN)


TABLE_8 = Table(
    number=8,
    section="4.4",
    title="ATSS with larger backbones, deformable convolutions and multi-scale testing",
    caption="Detection results (%) on MS COCO test-dev set.",
    headings=("Backbone", "Test"),
    scale="paper-2x",
    tested_on="COCO test-dev",
    rows=tuple(_result(*line) for line in RESULTS),
    note=(
        "The paper's numbers are of test-dev, whose annotations only COCO's server has. On val2017 "
        "its code's page gives AP 43.5, 44.8, 45.5, 46.1, 47.7 and 47.7 for the first six rows. "
        "Multi-scale testing trains nothing: it is another test of the row above of that backbone."
    ),
)

TABLES = {
    table.name: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8)
}
