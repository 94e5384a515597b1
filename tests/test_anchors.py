"""Anchors: every one of every level, its order, its size."""

import pytest
import reference
import torch
from scenes import anchors_of

from detector.anchors import STRIDES, cell_anchors, level_sizes
from detector.boxes import area, centers
from experiments import TABLES

OCTAVE = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))
SETTINGS = [
    ((8.0,), (1.0,)),
    ((5.0,), (1.0,)),
    ((8.0,), (0.25,)),
    ((8.0,), (0.5, 1.0, 2.0)),
    (OCTAVE, (1.0,)),
    (OCTAVE, (0.5, 1.0, 2.0)),
]


@pytest.mark.parametrize(("scales", "ratios"), SETTINGS)
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (128, 64), (160, 224)])
def test_every_anchor_is_where_plain_arithmetic_puts_it(size, scales, ratios):
    sizes = reference.level_sizes(*size)
    assert level_sizes(*size) == sizes
    expected = reference.anchor_levels(sizes, scales, ratios)
    for level, plain in zip(anchors_of(size, scales, ratios), expected, strict=True):
        torch.testing.assert_close(level, torch.tensor(plain), rtol=0, atol=1e-3)


@pytest.mark.parametrize("stride", STRIDES)
def test_aspect_ratio_is_height_over_width_at_equal_area(stride):
    cells = cell_anchors(stride, (8.0,), (0.25, 0.5, 1.0, 2.0, 4.0))
    width, height = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    ratios = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0])
    torch.testing.assert_close(height / width, ratios, rtol=1e-4, atol=0)
    torch.testing.assert_close(area(cells), torch.full((5,), 64.0 * stride**2), rtol=1e-4, atol=0)
    assert centers(cells).abs().max() == 0


def test_retinanets_nine_anchors_are_three_scales_per_octave_from_four_strides():
    config = TABLES["table7"].rows[0].config  # RetinaNet (#A=9)
    sides = area(cell_anchors(8, config.anchor_scales, config.aspect_ratios)).sqrt()
    expected = torch.tensor([32 * 2 ** (i / 3) for i in range(3)] * 3)
    torch.testing.assert_close(sides, expected, rtol=1e-4, atol=0)
    assert config.anchor_scales == OCTAVE
