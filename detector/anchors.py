"""Anchors of the feature pyramid (Sec. 3.1, 4.3 "Anchor Size"; docs/choices.md Q3, Q19).

Every location of level l carries the same cell anchors, centered at ((i + 0.5) S, (j + 0.5) S) with
S the level's stride. An anchor of scale s and aspect ratio r (height / width) is s S / sqrt(r) wide
and s S sqrt(r) high: its area is (s S)^2 whatever r.

Order: level by level, row by row, and within a location ratio-major, scale-minor.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Half sides are whole multiples of 1 / 4096 px, so that every corner is exact in fp32: equal
# anchors then have equal IoUs wherever they lie, and low-quality matches do not depend on rounding.
GRID = 4096

STRIDES = (8, 16, 32, 64, 128)  # pixels per location of P3 ... P7


def cell_anchors(stride: int, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """[A, 4]: the anchors of one location, around (0, 0); A = scales x ratios."""
    halves = [
        (_on_grid(side / math.sqrt(ratio)), _on_grid(side * math.sqrt(ratio)))
        for ratio in ratios
        for side in (scale * stride / 2 for scale in scales)
    ]
    return torch.tensor([[-w, -h, w, h] for w, h in halves])


def _on_grid(half_side: float) -> float:
    return round(half_side * GRID) / GRID


def grid_anchors(sizes: Sequence[tuple[int, int]], cells: Sequence[Tensor]) -> list[Tensor]:
    """Anchors of every level, [H_l W_l A, 4], for feature maps of the given (height, width)."""
    return [
        _level_anchors(size, cell, stride)
        for size, cell, stride in zip(sizes, cells, STRIDES, strict=True)
    ]


def _level_anchors(size: tuple[int, int], cell: Tensor, stride: int) -> Tensor:
    height, width = size
    y = (torch.arange(height, device=cell.device, dtype=cell.dtype) + 0.5) * stride
    x = (torch.arange(width, device=cell.device, dtype=cell.dtype) + 0.5) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1)  # [H, W, 4]
    return (shifts[:, :, None] + cell).reshape(-1, 4)


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) of P3 ... P7 for an input padded to multiples of 32 pixels."""
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]
