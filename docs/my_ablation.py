"""What makes ATSS: its candidates, or its threshold? A table and an assigner of one's own.

atss reproduce docs/my_ablation.py
"""

from functools import partial

import torch
from torch import Tensor

from detector.assigners import closest_anchors, highest_iou_match
from detector.boxes import box_iou, centers, inside
from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import Row, Table


def closest(anchors: list[Tensor], gt_boxes: Tensor, *, k: int = 9) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. ATSS's candidates, all of them, whatever their IoU."""
    anchor_boxes = torch.cat(anchors)
    is_candidate = closest_anchors(anchors, gt_boxes, k)  # [A, M]
    is_inside = inside(centers(anchor_boxes), gt_boxes)
    return highest_iou_match(box_iou(anchor_boxes, gt_boxes), is_candidate & is_inside)


TABLE = Table(
    title="What makes ATSS: its candidates, or its threshold?",
    rows=[
        Row("IoU", IMPROVED_RETINANET),
        Row("closest 9", IMPROVED_RETINANET, assigner=closest),
        Row("closest 3", IMPROVED_RETINANET, assigner=partial(closest, k=3)),
        Row("ATSS", ATSS),
    ],
)
