"""Anchors: every one of every level, its order, its size."""

import math

import pytest
import reference
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
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


def grid(height, width, scales=(8.0,), ratios=(1.0,)):
    cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
    return grid_anchors(reference.level_sizes(height, width), cells)


def test_the_levels_are_p3_to_p7():
    assert STRIDES == (8, 16, 32, 64, 128)


@pytest.mark.parametrize(("scales", "ratios"), SETTINGS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 128), (128, 64), (160, 224)])
def test_every_anchor_is_where_plain_arithmetic_puts_it(height, width, scales, ratios):
    found = grid(height, width, scales, ratios)
    sizes = reference.level_sizes(height, width)
    expected = reference.anchor_levels(sizes, scales, ratios)
    assert len(found) == len(expected) == 5
    for level, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(level, torch.tensor(plain), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (800, 1344), (1344, 800)])
def test_levels_are_as_large_as_the_plain_ones(height, width):
    assert level_sizes(height, width) == reference.level_sizes(height, width)


def test_the_papers_anchor_is_a_square_of_eight_strides_in_the_middle_of_its_location():
    p3, p4, p5, p6, p7 = grid(128, 128)
    assert p3[0].tolist() == [-28.0, -28.0, 36.0, 36.0]
    assert p3[1].tolist() == [-20.0, -28.0, 44.0, 36.0]  # the next column: 8 px to the right
    assert p3[16].tolist() == [-28.0, -20.0, 36.0, 44.0]  # the next row: 8 px down
    for level, stride in zip((p3, p4, p5, p6, p7), STRIDES, strict=True):
        assert area(level).sqrt().unique().tolist() == [8.0 * stride]


def test_an_image_of_the_papers_size_has_22400_anchors():
    levels = grid(800, 1344)
    assert [len(level) for level in levels] == [16800, 4200, 1050, 273, 77]
    assert sum(len(level) for level in levels) == 22_400


@pytest.mark.parametrize("stride", STRIDES)
def test_aspect_ratio_is_height_over_width_at_equal_area(stride):
    cells = cell_anchors(stride, (8.0,), (0.25, 0.5, 1.0, 2.0, 4.0))
    width, height = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    ratios = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0])
    torch.testing.assert_close(height / width, ratios, rtol=1e-4, atol=0)
    torch.testing.assert_close(area(cells), torch.full((5,), 64.0 * stride**2), rtol=1e-4, atol=0)
    assert centers(cells).abs().max() == 0


def test_a_locations_anchors_go_ratio_by_ratio_and_within_a_ratio_scale_by_scale():
    cells = cell_anchors(8, (4.0, 6.0), (0.25, 4.0))
    widths = (cells[:, 2] - cells[:, 0]).tolist()
    assert widths == [64.0, 96.0, 16.0, 24.0]  # 4 x 8 / sqrt(1/4), 6 x 8 / sqrt(1/4), ...


def test_retinanets_nine_anchors_are_three_scales_per_octave_from_four_strides():
    config = TABLES["table7"].rows[0].config  # RetinaNet (#A=9)
    sides = area(cell_anchors(8, config.anchor_scales, config.aspect_ratios)).sqrt()
    expected = torch.tensor([32 * 2 ** (i / 3) for i in range(3)] * 3)
    torch.testing.assert_close(sides, expected, rtol=1e-4, atol=0)
    assert config.anchor_scales == OCTAVE
    assert math.isclose(OCTAVE[2], 6.3496, rel_tol=1e-4)


@pytest.mark.parametrize(("scales", "ratios"), SETTINGS)
def test_anchors_are_torchvisions_but_for_where_they_stand_and_how_they_are_rounded(scales, ratios):
    """Theirs stand at i x stride, ours at (i + 0.5) x stride; theirs have their half sides rounded
    to whole pixels, ours to 1 / 4096 px. Order and shape are the same."""
    sizes = reference.level_sizes(96, 160)
    sides = tuple(tuple(scale * stride for scale in scales) for stride in STRIDES[:3])
    generator = AnchorGenerator(sides, (ratios,) * 3)
    for ours, theirs in zip(
        (cell_anchors(stride, scales, ratios) for stride in STRIDES[:3]),
        generator.cell_anchors,
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.5 + 1e-3)
        if (scales, ratios) in SETTINGS[:3]:  # whole half sides: nothing is rounded
            assert torch.equal(ours, theirs)
    generator.cell_anchors = [cell_anchors(stride, scales, ratios) for stride in STRIDES[:3]]
    images = ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)])
    maps = [torch.zeros(1, 1, *size) for size in sizes[:3]]
    found = grid(96, 160, scales, ratios)[:3]
    expected = generator(images, maps)[0].split([len(level) for level in found])
    for level, theirs, stride in zip(found, expected, STRIDES, strict=False):
        torch.testing.assert_close(level, theirs + stride / 2, rtol=0, atol=1e-3)
