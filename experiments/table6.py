"""Table 6 (Sec. 4.3): AP hardly moves with the anchor's aspect ratio.

The paper does not say what a:b is; in its code a ratio is height ÷ width, so a:b is taken as h:w.
It prints 4:1, 2:1, 1:1, 2:1, 4:1, of which the author confirmed the first two as misprints.
"""

from dataclasses import replace

from detector.metrics import Metrics
from experiments.baselines import ATSS
from experiments.experiment import Row, Table

BY_RATIO = {  #              AP   AP50  AP75  AP_S  AP_M  AP_L
    (1, 4): Metrics(39.1, 57.2, 42.3, 23.1, 43.1, 51.4),
    (1, 2): Metrics(39.0, 56.9, 42.5, 23.3, 43.5, 50.6),
    (1, 1): Metrics(39.3, 57.5, 42.8, 24.3, 43.3, 51.3),
    (2, 1): Metrics(39.3, 57.4, 42.3, 22.8, 43.4, 51.0),
    (4, 1): Metrics(39.1, 56.9, 42.6, 22.9, 42.9, 50.7),
}

TABLE = Table(
    number=6,
    section="4.3",
    title="Different anchor aspect ratios with the scale 8S",
    caption=(
        "Analysis (%) of different anchor aspect ratios with fixed scale 8S on the MS COCO "
        "minival set."
    ),
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
