"""Anchors: every one of every level, its order, its size."""

import pytest
import reference
import torch
from scenes import anchors_of

from detector.anchors import level_sizes
from experiments import TABLES

OCTAVE = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))
SETTINGS = [((8.0,), (1.0,)), ((5.0,), (0.25,)), (OCTAVE, (0.5, 1.0, 2.0))]


@pytest.mark.parametrize(("scales", "ratios"), SETTINGS)
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (128, 64), (160, 224)])
def test_every_anchor_is_where_plain_arithmetic_puts_it(size, scales, ratios):
    """An aspect ratio is height over width, at equal area."""
    sizes = reference.level_sizes(*size)
    assert level_sizes(*size) == sizes
    expected = reference.anchor_levels(sizes, scales, ratios)
    for level, plain in zip(anchors_of(size, scales, ratios), expected, strict=True):
        torch.testing.assert_close(level, torch.tensor(plain), rtol=0, atol=1e-3)


def test_retinanets_nine_anchors_are_three_scales_per_octave_from_four_strides():
    config = TABLES["table7"].rows[0].config  # RetinaNet (#A=9)
    assert (config.anchor_scales, config.aspect_ratios) == (OCTAVE, (0.5, 1.0, 2.0))
