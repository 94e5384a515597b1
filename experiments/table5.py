"""Table 5 (Sec. 4.3): AP hardly moves with the anchor's scale."""

from dataclasses import replace

from detector.metrics import Metrics
from experiments.baselines import ATSS
from experiments.experiment import Row, Table

BY_SCALE = {  #    AP   AP50  AP75  AP_S  AP_M  AP_L
    5: Metrics(39.0, 57.9, 41.9, 23.2, 42.8, 50.5),
    6: Metrics(39.2, 57.6, 42.5, 23.5, 42.8, 51.1),
    7: Metrics(39.3, 57.6, 42.4, 22.9, 43.2, 51.3),
    8: Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3),
    9: Metrics(38.9, 56.5, 42.0, 22.9, 42.4, 50.3),
}

TABLE = Table(
    number=5,
    section="4.3",
    title="Different anchor scales with the aspect ratio 1:1",
    caption=(
        "Analysis (%) of different anchor scales with fixed aspect ratio 1:1 on the MS COCO "
        "minival set."
    ),
    headings=("Scale",),
    reference=3,  # 8S, used everywhere else
    axis="anchor scale, side ÷ stride",
    rows=tuple(
        Row(f"{scale}S", replace(ATSS, anchor_scales=(scale,)), metrics, printed=(f"{scale}",))
        for scale, metrics in BY_SCALE.items()
    ),
)
