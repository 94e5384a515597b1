"""Boxes, and the conventions everything else follows (docs/choices.md Q24, Q28).

A box is (x1, y1, x2, y2), float, in pixels of the network's input; its width is x2 - x1, without
the "+1" of older code. Aspect ratio is height / width. A location's center is (i + 0.5) x stride.

Shapes: A anchors or points, M ground-truth boxes.
"""

import torch
from torch import Tensor
from torchvision.ops import box_iou

# "Inside" means farther than this from every side, in pixels. The paper says "in"; the official
# ATSS code asks for > 0.01, FCOS's for > 0. We use 0.01 everywhere.
INSIDE_MARGIN = 0.01


def centers(boxes: Tensor) -> Tensor:
    """[..., 4] -> [..., 2]: x, y."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def area(boxes: Tensor) -> Tensor:
    """[..., 4] -> [...], in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """[..., 2], [..., 4], broadcast -> [..., 4]: left, top, right, bottom; negative outside."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def nearest_and_farthest_side(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """[A, 2], [..., M, 4] -> [..., M, A] twice: to two sides of every box; negative outside.

    By planes: a side at a time over all pairs is several times faster than four numbers a pair.
    """
    x, y = by_columns(points).unbind(dim=1)  # [A]
    x1, y1, x2, y2 = boxes[..., None, :].unbind(dim=-1)  # [..., M, 1]
    nearest = x - x1
    farthest, distance = nearest.clone(), torch.empty_like(nearest)
    for start, end in ((y1, y), (x, x2), (y, y2)):
        torch.sub(end, start, out=distance)
        torch.minimum(nearest, distance, out=nearest)
        torch.maximum(farthest, distance, out=farthest)
    return nearest, farthest


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """[A, 2], [M, 4] -> [A, M] bool: is the point inside the box, by more than the margin?"""
    return paired_inside(points[:, None], boxes)


def paired_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """[..., 2], [..., 4], broadcast -> [...] bool: as inside, of points and boxes in pairs."""
    return side_distances(points, boxes).amin(dim=-1) > INSIDE_MARGIN


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """[..., 4], [..., 4], broadcast -> [...]: as box_iou to the bit, of boxes in pairs."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    u1, v1, u2, v2 = others.unbind(-1)
    width = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    height = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    overlap = width.mul_(height)
    union = (area(boxes) + area(others)).sub_(overlap)
    return overlap.div_(union)


def by_columns(boxes: Tensor) -> Tensor:
    """[N, ...] -> the same, but each column is contiguous in memory."""
    return boxes.T.contiguous().T


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """[..., A, 2], [M, 2] -> [..., A, M]. By differences: torch.cdist, a product, breaks ties."""
    dx = points[..., :1] - others[:, 0]
    dy = points[..., 1:] - others[:, 1]
    return dx.mul_(dx).add_(dy.mul_(dy))


def pairwise_offsets(points: Tensor, middles: Tensor) -> Tensor:
    """[A, 2], [..., M, 2] -> [..., M, A]: how far apart, in the direction in which it is more."""
    dx = (points[:, 0] - middles[..., :1]).abs_()
    dy = (points[:, 1] - middles[..., 1:]).abs_()
    return torch.maximum(dx, dy)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """[..., 4] -> [..., 4]: inside [0, width] x [0, height]."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    x1, x2 = x1.clamp(0, width), x2.clamp(0, width)
    y1, y2 = y1.clamp(0, height), y2.clamp(0, height)
    return torch.stack([x1, y1, x2, y2], dim=-1)


__all__ = [
    "INSIDE_MARGIN",
    "area",
    "box_iou",
    "by_columns",
    "centers",
    "clip",
    "inside",
    "nearest_and_farthest_side",
    "paired_inside",
    "paired_iou",
    "pairwise_offsets",
    "side_distances",
    "squared_distances",
]
