"""What one positive for everybody did not give: how many should an object have, and how alike?

atss reproduce docs/study/parts-of-atss/balance.py --data shapes-large --seeds 0,1,2,3,4

Every row is the improved RetinaNet (#A=1) and selects by IoU; what is bounded is how many positives
an object has. Shapes: A_l anchors on level l, A in all; M ground truths.
"""

from functools import partial

import torch
from torch import Tensor

from detector.boxes import area, centers, paired_inside, paired_iou
from detector.iou_assigner import IGNORED, NEGATIVE, assign_by_iou
from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import Row, Table

MANY = 10_000  # more anchors than an object has at this scale


def bounded(
    anchors: list[Tensor],
    gt_boxes: Tensor,
    *,
    least: int = 0,
    most: int = MANY,
    ignores: bool = True,
) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. IoU in GT box, each object with so many positives.

    An object with fewer than `least` gets the anchors of highest IoU among those with their center
    inside it, whoever had them, the smallest object last; of more than `most` those of lowest IoU
    become negative. Without ignores nothing is ignored but a positive with its center outside.
    """
    matched, anchor_boxes = assign_by_iou(anchors, gt_boxes, in_gt_box=True), torch.cat(anchors)
    for place in area(gt_boxes).argsort(descending=True).tolist():
        box = gt_boxes[place]
        if (matched == place).sum() < least:
            (inside,) = paired_inside(centers(anchor_boxes), box).nonzero(as_tuple=True)
            matched[_by_iou(inside, anchor_boxes, box)[:least]] = place
    for place, box in enumerate(gt_boxes):
        (own,) = (matched == place).nonzero(as_tuple=True)
        matched[_by_iou(own, anchor_boxes, box)[most:]] = NEGATIVE
    return matched if ignores else torch.where(matched == IGNORED, NEGATIVE, matched)


def _by_iou(places: Tensor, anchor_boxes: Tensor, box: Tensor) -> Tensor:
    """Indices of anchors, those of the highest IoU with a box first."""
    return places[paired_iou(anchor_boxes[places], box).argsort(descending=True, stable=True)]


def _row(label: str, **settings: int) -> Row:
    return Row(label, IMPROVED_RETINANET, assigner=partial(bounded, **settings))


TABLE = Table(
    name="balance",
    title="How many positives an object should have, and how alike",
    rows=[
        Row("IoU 0.5", IMPROVED_RETINANET),
        _row("IoU 0.5, nothing ignored", ignores=False),
        _row("IoU 0.5, at least 3 each", least=3),
        _row("IoU 0.5, at most 9 each", most=9),
        _row("IoU 0.5, 7 to 9 each", least=7, most=9),
        _row("IoU 0.5, 7 to 9 each, nothing ignored", least=7, most=9, ignores=False),
        Row("ATSS", ATSS),
    ],
)
