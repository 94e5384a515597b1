"""The losses, per sample; Detector.loss normalizes and sums them (Sec. 3.2; docs/choices.md Q7-10).

    focal        classification, all anchors that are not ignored    / number of positives
    giou         box, of decoded boxes, weight 2                     / sum of centerness, or of 1s
    smooth_l1    box, of codes, mean of four, weight 1               / sum of centerness, or of 1s
    centerness   binary cross-entropy of positives                   / number of positives

The normalizers are those of the whole batch, over all devices and micro-batches (the official code
synchronizes them too; other codes of FCOS that did not reported 0.5 to 1 AP less). The paper names
no weights: 2 and 1 are its code's. Without centerness no official GIoU row exists: we divide by the
positives.

Shapes: N anchors, C classes, P positives.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss, softplus

from detector.box_coders import Coder
from detector.boxes import area, centers, side_distances
from detector.iou_assigner import IGNORED

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
BETA = 0.11  # where smooth L1 turns from a parabola into a line
GIOU_WEIGHT, SMOOTH_L1_WEIGHT = 2.0, 1.0
EPSILON = 1e-7  # keeps unions of empty boxes from being zero, in square pixels

# (codes [P, 4], anchors [P, 4], gt_boxes [P, 4], coder) -> [P]
RegressionLoss = Callable[[Tensor, Tensor, Tensor, Coder], Tensor]


def focal(cls_logits: Tensor, classes: Tensor) -> Tensor:
    """[N, C], [N] int64 (negative: no class) -> [N], summed over classes."""
    every_class = torch.arange(cls_logits.shape[1], device=classes.device)
    is_class = classes[:, None] == every_class
    logits = torch.where(is_class, cls_logits, -cls_logits)  # of being right
    alpha = torch.where(is_class, ALPHA, 1 - ALPHA)
    # 1 - sigmoid(x) is sigmoid(-x), and -log sigmoid(x) is softplus(-x): no overflow, no log of 0
    return (alpha * (-logits).sigmoid() ** GAMMA * softplus(-logits)).sum(dim=1)


def focal_of_counted(cls_logits: Tensor, classes: Tensor) -> Tensor:
    """[N, C], [N] int64 -> focal's sum over all but the IGNORED; compiled, it copies nothing."""
    return torch.where(classes == IGNORED, 0.0, focal(cls_logits, classes)).sum()


def smooth_l1(codes: Tensor, anchors: Tensor, gt_boxes: Tensor, coder: Coder) -> Tensor:
    """[P, 4] three times -> [P]. Mean over the four codes: its code divides by 4 x positives."""
    target = coder.encode(anchors, gt_boxes)
    return smooth_l1_loss(codes, target, reduction="none", beta=BETA).mean(dim=1)


def giou(codes: Tensor, anchors: Tensor, gt_boxes: Tensor, coder: Coder) -> Tensor:
    """[P, 4] three times -> [P] in [0, 2]: one minus the generalized IoU of the decoded boxes."""
    return giou_of(coder.decode(anchors, codes), gt_boxes)


def giou_of(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """The same of boxes [P, 4]."""
    # A box turned inside out counts as empty.
    boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)
    overlap = _extent(
        torch.maximum(boxes[:, :2], gt_boxes[:, :2]), torch.minimum(boxes[:, 2:], gt_boxes[:, 2:])
    )
    union = area(boxes) + area(gt_boxes) - overlap + EPSILON
    enclosing = EPSILON + _extent(
        torch.minimum(boxes[:, :2], gt_boxes[:, :2]), torch.maximum(boxes[:, 2:], gt_boxes[:, 2:])
    )
    return 1 - overlap / union + (enclosing - union) / enclosing


def _extent(top_left: Tensor, bottom_right: Tensor) -> Tensor:
    """[P, 2], [P, 2] -> [P]: the area between the corners, 0 where they are crossed."""
    return (bottom_right - top_left).clamp(min=0).prod(dim=1)


def centerness_of(anchors: Tensor, gt_boxes: Tensor) -> Tensor:
    """[P, 4], [P, 4] -> [P] in (0, 1]: 1 in the middle of the ground truth, 0 on its border.

    sqrt(min(l, r) / max(l, r) x min(t, b) / max(t, b)), FCOS's equation 3. Undefined outside the
    box, which is why centerness needs in_gt_box.
    """
    left, top, right, bottom = side_distances(centers(anchors), gt_boxes).unbind(dim=1)
    horizontal = torch.minimum(left, right) / torch.maximum(left, right)
    vertical = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (horizontal * vertical).clamp(min=0).sqrt()


def centerness(logits: Tensor, target: Tensor) -> Tensor:
    """[P], [P] -> [P]. Its floor is the target's entropy, about 0.6, not 0."""
    return binary_cross_entropy_with_logits(logits, target, reduction="none")
