"""Table 8 (Sec. 4.4): ATSS with larger backbones, deformable convolutions and multi-scale testing.

The rows of other methods are not here, and what every row shares is the scale "paper-2x": twice the
iterations, short sides drawn from 640 to 800. "DCN" makes 3x3 convolutions deformable: in a ResNet
those of C3 to C5, in a ResNeXt those of C4 and C5, and in both the last one of each tower. The last
two rows train nothing: they test the two before them at many scales.

The scan of the table cannot be read by machines and mixes up its rows; these numbers are those of
its text and of the page of its code. ResNeXt-64x4d begins from torchvision's only weights of it,
which are by a newer training recipe than the others'.
"""

from typing import Any

from detector.metrics import Metrics
from experiments.baselines import ATSS
from experiments.experiment import Row, Table

BACKBONES = {
    "ResNet-101": "resnet101",
    "ResNeXt-32x8d-101": "resnext101_32x8d",
    "ResNeXt-64x4d-101": "resnext101_64x4d",
}
STAND_IN = {"demo": {"backbone": "small"}}  # a CPU trains nothing larger within minutes

SINGLE, MULTI = "single-scale", "multi-scale"
LINES = (  #                         DCN      test    AP   AP50  AP75  AP_S  AP_M  AP_L
    ("ResNet-101", "none", SINGLE, Metrics(43.6, 62.1, 47.4, 26.1, 47.0, 53.6)),
    ("ResNeXt-32x8d-101", "none", SINGLE, Metrics(45.1, 63.9, 49.1, 27.9, 48.2, 54.6)),
    ("ResNeXt-64x4d-101", "none", SINGLE, Metrics(45.6, 64.6, 49.7, 28.5, 48.9, 55.6)),
    ("ResNet-101", "c3-c5", SINGLE, Metrics(46.3, 64.7, 50.4, 27.7, 49.8, 58.4)),
    ("ResNeXt-32x8d-101", "c4-c5", SINGLE, Metrics(47.7, 66.6, 52.1, 29.3, 50.8, 59.7)),
    ("ResNeXt-64x4d-101", "c4-c5", SINGLE, Metrics(47.7, 66.5, 51.9, 29.7, 50.8, 59.4)),
    ("ResNeXt-32x8d-101", "c4-c5", MULTI, Metrics(50.6, 68.6, 56.1, 33.6, 52.9, 62.2)),
    ("ResNeXt-64x4d-101", "c4-c5", MULTI, Metrics(50.7, 68.9, 56.3, 33.2, 52.9, 62.4)),
)


def _row(backbone: str, deformable: str, test: str, paper: Metrics) -> Row:
    name = backbone if deformable == "none" else f"{backbone}-DCN"
    recipe: dict[str, Any] = {"backbone": BACKBONES[backbone]}
    if deformable != "none":
        recipe["deformable"] = deformable
    if test == MULTI:
        recipe["multi_scale_test"] = True
    label = name if test == SINGLE else f"{name}, {MULTI} test"
    return Row(label, ATSS, paper, printed=(name, test), recipe=recipe, at_scale=STAND_IN)


TABLE = Table(
    number=8,
    section="4.4",
    title="ATSS with larger backbones, deformable convolutions and multi-scale testing",
    caption="Detection results (%) on MS COCO test-dev set.",
    headings=("Backbone", "Test"),
    scale="paper-2x",
    tested_on="COCO test-dev",
    rows=tuple(_row(*line) for line in LINES),
    note=(
        "The paper's numbers are of test-dev, whose annotations only COCO's server has. On val2017 "
        "its code's page gives AP 43.5, 44.8, 45.5, 46.1, 47.7 and 47.7 for the first six rows. "
        "Multi-scale testing trains nothing: it is another test of the row above of that backbone."
    ),
)
