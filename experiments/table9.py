"""Table 9, ours and not the paper's: sample selection since ATSS, all else being equal.

What came after ATSS changed more than the selection: losses, heads, schedules. Here every row is
the improved RetinaNet of Tables 2 and 3, and only the assigner differs. The published APs
(ResNet-50, 12 epochs, COCO val2017) are of other settings each: to be read, not subtracted.

TAL: TOOD (Feng et al., ICCV 2021). SimOTA: YOLOX (Ge et al., 2021). PAA: Kim and Lee, ECCV 2020.
POTO: DeFCN (Wang et al., CVPR 2021).
"""

from dataclasses import replace
from typing import Any

from detector.config import Assigner
from experiments.baselines import IMPROVED_RETINANET
from experiments.claims import POSITIVE, Claim, Margin, Place, Region
from experiments.experiment import Row, Table

BY_PREDICTION = ("tal", "simota", "paa", "poto")


def _row(name: str, assigner: Assigner, published: str = "", **recipe: Any) -> Row:
    looks_at = "predictions" if assigner in BY_PREDICTION else "anchors"
    config = replace(IMPROVED_RETINANET, assigner=assigner)
    return Row(name, config, printed=(name, looks_at, published), recipe=recipe)


ROWS = (
    _row("IoU", "iou"),
    _row("Spatial and scale constraint", "ssc"),
    _row("Center sampling", "center_sampling", "38.7"),  # FCOS
    _row("Fixed top 9 by IoU", "top_k"),
    _row("ATSS", "atss", "39.4"),
    _row("TAL", "tal", "42.5"),  # TOOD
    _row("SimOTA", "simota"),
    _row("PAA", "paa", "40.4"),
    _row("POTO", "poto", "39.2"),
)
WITHOUT_NMS = (  # at an overlap of 1 it removes nothing, as where one anchor learns each object
    _row("ATSS, without NMS", "atss", nms_threshold=1.0),
    _row("POTO, without NMS", "poto", nms_threshold=1.0),
)

TABLE = Table(
    name="table9",
    title="Sample selection since ATSS, all else being equal (ours, not the paper's)",
    headings=("Selection", "Looks at", "Published AP"),
    rows=(*ROWS, *WITHOUT_NMS),
    reference=[row.label for row in ROWS].index("ATSS"),
    note=(
        "Published APs are of each method's own losses, head and test; here the selection alone "
        "differs. The rows without NMS train nothing: they are another test of the same weights."
    ),
)

ATSS, TAL, SIMOTA, PAA, POTO = (Place(9, row.label) for row in ROWS[4:])
IN_CROWDS = TAL, SIMOTA, PAA
ATSS_ALONE, POTO_ALONE = (Place(9, row.label) for row in WITHOUT_NMS)

# Written down before those of its rows that the paper does not have were trained.
CLAIMS = (
    Claim(
        name="C1",
        says="At most half of a published gain over ATSS is left when only the selection differs",
        where="Table 9",
        parts=(
            Margin(TAL, ATSS, 3.1, Region(high=1.55), "TAL"),
            Margin(PAA, ATSS, 1.0, Region(high=0.5), "PAA"),
        ),
    ),
    Claim(
        name="C2",
        says="Selection one-to-one loses AP under NMS and wins without",
        where="Table 9",
        parts=(
            Margin(ATSS, POTO, 0.2, POSITIVE, "ATSS over POTO, NMS"),
            Margin(POTO_ALONE, ATSS_ALONE, None, POSITIVE, "POTO over ATSS, no NMS"),
        ),
    ),
    Claim(
        name="C3",
        says="Selection by predictions gains more over ATSS on crowded images than on others",
        where="Table 9",
        parts=tuple(
            Margin(place, ATSS, None, POSITIVE, place.label, of_crowds=True) for place in IN_CROWDS
        ),
    ),
)
