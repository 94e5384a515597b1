"""Table 4 (Sec. 4.3): AP hardly moves with k, ATSS's only hyperparameter."""

from dataclasses import replace

from detector.metrics import Metrics
from experiments.baselines import ATSS
from experiments.experiment import Row, Table

AP_BY_K = {3: 38.0, 5: 38.8, 7: 39.1, 9: 39.3, 11: 39.1, 13: 39.0, 15: 39.1, 17: 39.2, 19: 38.9}

TABLE = Table(
    number=4,
    section="4.3",
    title="Different values of the hyperparameter k",
    caption="Analysis of different values of hyperparameter k on the MS COCO minival set.",
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
