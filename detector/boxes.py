"""Boxes, and the conventions everything else follows (docs/choices.md Q24, Q28).

A box is (x1, y1, x2, y2), float, in pixels of the network's input; its width is x2 - x1, without
the "+1" of older code. Aspect ratio is height / width. A location's center is (i + 0.5) x stride.

Shapes: A anchors, M ground-truth boxes.
"""

import torch
from torch import Tensor
from torchvision.ops import box_iou

# "Inside" means farther than this from every side, in pixels. The paper says "in"; the official
# ATSS code asks for > 0.01, FCOS's for > 0. We use 0.01 everywhere.
INSIDE_MARGIN = 0.01


def centers(boxes: Tensor) -> Tensor:
    """[N, 4] -> [N, 2]: x, y."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def area(boxes: Tensor) -> Tensor:
    """[..., 4] -> [...], in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """[..., 2], [..., 4], broadcast -> [..., 4]: left, top, right, bottom; negative outside."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def pairwise_side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """[A, 2], [M, 4] -> [4, A, M]: left, top, right, bottom from every point to every box.

    The four come first, so that reducing over them runs along whole planes.
    """
    x, y = points[:, :1], points[:, 1:]  # [A, 1]
    x1, y1, x2, y2 = boxes.unbind(dim=1)  # [M]
    return torch.stack([x - x1, y - y1, x2 - x, y2 - y])


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """[A, 2], [M, 4] -> [A, M] bool: is the point inside the box, by more than the margin?"""
    return pairwise_side_distances(points, boxes).amin(dim=0) > INSIDE_MARGIN


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """[A, 2], [M, 2] -> [A, M]. By differences: torch.cdist's matrix product breaks exact ties."""
    dx = points[:, :1] - others[:, 0]
    dy = points[:, 1:] - others[:, 1]
    return dx * dx + dy * dy


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
    "centers",
    "clip",
    "inside",
    "pairwise_side_distances",
    "side_distances",
    "squared_distances",
]
