"""Table 9, ours and not the paper's: sample selection since ATSS, all else being equal.

What came after ATSS changed more than the selection: losses, heads, schedules. Here every row is
the improved RetinaNet of Tables 2 and 3, and only the assigner differs. The published APs
(ResNet-50, 12 epochs, COCO val2017) are of other settings each: to be read, not subtracted.
"""

from dataclasses import replace
from typing import Any

from detector.config import Assigner
from experiments.baselines import IMPROVED_RETINANET
from experiments.experiment import Row, Table

LINES: tuple[tuple[str, Assigner, str], ...] = (  # published AP
    ("IoU", "iou", ""),
    ("Spatial and scale constraint", "ssc", ""),
    ("Center sampling", "center_sampling", "38.7"),  # FCOS
    ("Fixed top 9 by IoU", "top_k", ""),
    ("ATSS", "atss", "39.4"),
    ("TAL", "tal", "42.5"),  # TOOD
    ("SimOTA", "simota", ""),
    ("PAA", "paa", "40.4"),
    ("POTO", "poto", "39.2"),
)
BY_PREDICTION = ("tal", "simota", "paa", "poto")


def _row(name: str, assigner: Assigner, published: str, **recipe: Any) -> Row:
    looks_at = "predictions" if assigner in BY_PREDICTION else "anchors"
    config = replace(IMPROVED_RETINANET, assigner=assigner)
    return Row(name, config, printed=(name, looks_at, published), recipe=recipe)


ROWS = tuple(_row(*line) for line in LINES)
# One anchor learns each object, so NMS has nothing to do; at an overlap of 1 it removes nothing.
WITHOUT_NMS = _row("POTO, without NMS", "poto", "", nms_threshold=1.0)

TABLE = Table(
    name="table9",
    title="Sample selection since ATSS, all else being equal (ours, not the paper's)",
    headings=("Selection", "Looks at", "Published AP"),
    rows=(*ROWS, WITHOUT_NMS),
    reference=[row.label for row in ROWS].index("ATSS"),
    note=(
        "Published APs are of each method's own losses, head and test; here the selection alone "
        "differs. The last row trains nothing: it is another test of the row before it."
    ),
)
