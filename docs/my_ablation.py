"""What makes ATSS: its candidates, or its threshold? A table and an assigner of one's own.

atss reproduce docs/my_ablation.py
"""

from functools import partial

import torch
from torch import Tensor

from detector.assigners import closest_anchors, highest_iou_match
from detector.boxes import centers, paired_inside, paired_iou
from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import Row, Table


def closest(anchors: list[Tensor], gt_boxes: Tensor, *, k: int = 9) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. ATSS's candidates, all of them, whatever their IoU."""
    anchor_boxes, objects = torch.cat(anchors), gt_boxes[:, None]
    candidates = closest_anchors(anchors, gt_boxes, k)  # [M, K] indices
    boxes = anchor_boxes[candidates]  # [M, K, 4]
    is_inside = paired_inside(centers(boxes), objects)
    iou = paired_iou(boxes, objects)  # [M, K]
    return highest_iou_match(candidates, iou, is_inside, len(anchor_boxes))


TABLE = Table(
    title="What makes ATSS: its candidates, or its threshold?",
    rows=[
        Row("IoU", IMPROVED_RETINANET),
        Row("closest 9", IMPROVED_RETINANET, assigner=closest),
        Row("closest 3", IMPROVED_RETINANET, assigner=partial(closest, k=3)),
        Row("ATSS", ATSS),
    ],
)
