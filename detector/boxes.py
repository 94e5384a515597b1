"""Boxes, and the conventions everything else follows (docs/choices.md Q24, Q28).

A box is (x1, y1, x2, y2), float, in pixels of the network's input; its width is x2 - x1, without
the "+1" of older code. Aspect ratio is height / width. A location's center is (i + 0.5) x stride.

Shapes: A anchors or points, M ground-truth boxes.
"""

import torch
from torch import Tensor

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


def paired_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """[..., 2], [..., 4], broadcast -> [...] bool: inside, by more than the margin?"""
    return side_distances(points, boxes).amin(dim=-1) > INSIDE_MARGIN


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """[..., 4], [..., 4], broadcast -> [...]: torchvision's box_iou to the bit, in pairs."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    u1, v1, u2, v2 = others.unbind(-1)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    overlap = width * height
    return overlap / (area(boxes) + area(others) - overlap)


def squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """[..., A, 2], [M, 2] -> [..., A, M]. By differences: torch.cdist, a product, breaks ties."""
    dx = points[..., :1] - others[:, 0]
    dy = points[..., 1:] - others[:, 1]
    return dx * dx + dy * dy
