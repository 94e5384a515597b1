"""RetinaNet's sample selection, and what others take from it (Sec. 3.3, Fig. 1a; docs/choices.md).

Shapes: A anchors in all, M >= 1 ground-truth boxes, K candidates of an object; "..." as in
detector.assigners.
"""

import torch
from torch import Tensor

from detector.boxes import centers, paired_inside, paired_iou

NEGATIVE = -1
IGNORED = -2

POSITIVE_IOU = 0.5  # the paper's theta_p; it names no value, RetinaNet's code does
NEGATIVE_IOU = 0.4  # theta_n


def assign_by_iou(
    anchors: list[Tensor],
    gt_boxes: Tensor,
    *,
    in_gt_box: bool,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. An anchor learns its best ground truth or none.

    Low-quality matches: every anchor that reaches the highest IoU of some ground truth is positive,
    however low that is, but for *its own* best ground truth, as in RetinaNet's code (the paper:
    "the best anchor box of each object"). A ground truth that overlaps no anchor ties with all of
    them at zero and gets none.

    in_gt_box: positives whose center is not inside their ground truth become IGNORED, not NEGATIVE
    (the paper only says "limit").
    """
    anchor_boxes = torch.cat(anchors)
    iou = paired_iou(anchor_boxes, gt_boxes[..., None, :])  # [..., M, A]
    best_iou, best = iou.max(dim=-2)  # [..., A]
    highest = iou.amax(dim=-1, keepdim=True)  # [..., M, 1]
    is_low_quality = (iou == highest.where(highest > 0, torch.inf)).any(dim=-2)
    is_positive = (best_iou >= positive_iou) | is_low_quality

    matched = torch.where(best_iou < negative_iou, NEGATIVE, IGNORED)
    matched = torch.where(is_positive, best, matched)
    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched


def ignore_outside(anchor_boxes: Tensor, gt_boxes: Tensor, matched: Tensor) -> Tensor:
    """[A, 4], [..., M, 4], [..., A] -> [..., A]. Positives with their center outside: IGNORED."""
    place = matched.clamp(min=0)[..., None].expand(*matched.shape, 4)
    learnt = gt_boxes.gather(-2, place)  # [..., A, 4]; take_along_dim wraps indices, slowly
    is_inside = paired_inside(centers(anchor_boxes), learnt)
    return torch.where((matched >= 0) & ~is_inside, IGNORED, matched)


def highest_iou_match(
    candidates: Tensor, iou: Tensor, is_positive: Tensor, num_anchors: int
) -> Tensor:
    """[..., M, K] three times -> [..., A]. An anchor of several objects learns that of highest IoU.

    Sec. 4.1, in prose only; the first on exact ties.
    """
    nowhere = iou.new_full((*iou.shape[:-1], num_anchors), -1.0)  # [..., M, A]
    of_positives = nowhere.scatter(-1, candidates, torch.where(is_positive, iou, -1.0))
    highest, matched = of_positives.max(dim=-2)
    return torch.where(highest >= 0, matched, NEGATIVE)
