"""The head: sizes, starting values, and which number belongs to which anchor."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from detector.anchors import STRIDES, cell_anchors, grid_anchors
from detector.head import Head, per_anchor
from detector.layers import DeformableConv2d, GroupNorm

SETTINGS = dict.fromkeys(("group_norm", "centerness", "scalar"), True)
SETTINGS |= {"anchors_per_location": 1, "num_levels": 5, "initial_bias": 0.0}
SIZES = [(4, 6), (2, 3), (1, 2), (1, 1), (1, 1)]


def build(channels=16, num_classes=3, **changes):
    return Head(channels, num_classes, **{**SETTINGS, **changes})


def features():
    return [torch.randn(2, 16, *size) for size in SIZES]


def test_the_papers_head_starts_as_retinanets_does_and_its_norms_have_32_groups():
    head = build(256, 80, initial_bias=4.0)
    convs = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 4 + 4 + 3
    for conv in convs:
        spread = conv.weight.std().item(), conv.weight.mean().item()
        assert spread == pytest.approx((0.01, 0.0), abs=5e-4)
    assert head.cls_logits.bias.tolist() == pytest.approx([-math.log(99)] * 80)
    assert head.bbox_pred.bias.tolist() == [4.0] * 4 and head.scales.tolist() == [1.0] * 5
    assert all(conv.bias.eq(0).all() for conv in (*convs[:8], head.centerness))
    norms = [module for module in head.modules() if isinstance(module, nn.GroupNorm)]
    assert [(it.num_groups, it.num_channels, it.eps) for it in norms] == [(32, 256, 1e-5)] * 8


@pytest.mark.parametrize(("deformable", "kind"), [(False, nn.Conv2d), (True, DeformableConv2d)])
def test_a_layer_is_convolution_norm_and_relu_and_the_last_may_be_deformable(deformable, kind):
    head = build(deformable=deformable)
    for tower in (head.cls_tower, head.box_tower):
        kinds = [[it, GroupNorm, nn.ReLU] for it in (*[nn.Conv2d] * 3, kind)]
        assert [[*map(type, layer)] for layer in tower] == kinds
        last = tower[3].conv
        assert not deformable or last.offset.weight.eq(0).all()
        for conv in (*(layer.conv for layer in tower[:3]), last.conv if deformable else last):
            assert (conv.kernel_size, conv.padding) == ((3, 3), (1, 1)) and conv.bias is not None
            assert conv.weight.std().item() == pytest.approx(0.04, rel=0.1)


def test_rows_stand_in_the_order_of_the_anchors():
    """Maps that hold every location's center, for each of two anchors, are the anchors' list."""
    maps = []
    for (height, width), stride in zip(SIZES, STRIDES, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        x, y = (x + 0.5) * stride, (y + 0.5) * stride
        maps.append(torch.stack([x, y, x, y])[None])  # [1, 2 anchors x 2 values, H, W]
    rows = per_anchor(maps, 2)[0]
    cells = [cell_anchors(stride, (4.0, 8.0), (1.0,)) for stride in STRIDES]
    anchors = torch.cat(grid_anchors(SIZES, cells))
    assert torch.equal(rows, (anchors[:, :2] + anchors[:, 2:]) / 2)


def test_the_scalar_multiplies_a_levels_whole_box_output():
    head, maps = build(initial_bias=2.0), features()
    before = head(maps)
    head.scales.data = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0])
    after = head(maps)
    factors = head.scales.repeat_interleave(torch.tensor([24, 6, 2, 1, 1]))
    expected = replace(before, codes=before.codes * factors[:, None])
    torch.testing.assert_close(vars(after), vars(expected))


def test_centerness_is_read_from_the_regression_tower():
    head, maps = build(), features()
    before = head(maps)
    for tower in (head.cls_tower, head.box_tower):
        for parameter in tower.parameters():
            nn.init.normal_(parameter)
        after = head(maps)
        assert not torch.equal(after.cls_logits, before.cls_logits)
        assert torch.equal(after.centerness, before.centerness) == (tower is head.cls_tower)


def test_predictions_are_fp32_whatever_the_convolutions_were():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = build()(features())
    assert {values.dtype for values in vars(predictions).values()} == {torch.float32}
