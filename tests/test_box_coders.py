"""What regression predicts: codes against plain arithmetic, and that decoding undoes encoding."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import plain_coder

from detector.box_coders import BoxCoder, PointCoder

STRIDES = (8, 16, 32, 64, 128)


@st.composite
def pairs(draw, inside=False):
    """(stride, anchor of 8 strides, box); inside: the anchor's center lies in the box."""
    stride = draw(st.sampled_from(STRIDES))
    x, y = (draw(st.integers(0, 9)) + 0.5) * stride, (draw(st.integers(0, 9)) + 0.5) * stride
    anchor = (x - 4 * stride, y - 4 * stride, x + 4 * stride, y + 4 * stride)
    reach = st.floats(0.0625, 8 * stride, width=32)
    if inside:
        return stride, anchor, (x - draw(reach), y - draw(reach), x + draw(reach), y + draw(reach))
    x, y = draw(st.floats(-200, 1400, width=32)), draw(st.floats(-200, 900, width=32))
    side = st.floats(0.25, 1000, width=32)
    return stride, anchor, (x, y, x + draw(side), y + draw(side))


def tensor(box):
    return torch.tensor([box], dtype=torch.float64)


@given(pairs(), pairs(inside=True))
def test_codes_from_a_box_and_from_a_point_are_those_of_plain_arithmetic(pair, inside):
    _, anchor, gt = pair
    codes = BoxCoder().encode(tensor(anchor), tensor(gt))[0].tolist()
    assert codes == pytest.approx(reference.encode_from_box(anchor, gt), rel=1e-9, abs=1e-9)
    stride, anchor, gt = inside
    codes = PointCoder().encode(tensor(anchor), tensor(gt))[0].tolist()
    assert codes == pytest.approx(reference.encode_from_point(anchor, gt, stride), rel=1e-9)


@given(pairs(), st.tuples(*[st.floats(-30, 30)] * 4))
def test_boxes_from_codes_are_those_of_plain_arithmetic(pair, codes):
    _, anchor, _ = pair
    for start, coder in (("box", BoxCoder()), ("point", PointCoder())):
        expected = plain_coder(start)[1](anchor, codes)
        found = coder.decode(tensor(anchor), tensor(codes))[0].tolist()
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(pairs(inside=True))
def test_decode_undoes_encode(pair):
    _, anchor, gt = pair
    boxes, anchors = torch.tensor([gt]), torch.tensor([anchor])
    for coder in (BoxCoder(), PointCoder()):
        back = coder.decode(anchors, coder.encode(anchors, boxes))
        torch.testing.assert_close(back, boxes, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [5.0, 8.0, 9.0])
@pytest.mark.parametrize("stride", STRIDES)
def test_the_anchors_size_does_not_enter_regression_from_a_point(scale, stride):
    half = scale * stride / 2
    anchor, gt = torch.tensor([[-half, -half, half, half]]), torch.tensor([[-16.0, -8, 32, 64]])
    codes = PointCoder(scale).encode(anchor, gt)[0]
    torch.testing.assert_close(codes * stride, torch.tensor([16.0, 8, 32, 64]))


def test_a_predicted_distance_below_zero_counts_as_zero():
    anchor = torch.tensor([[0.0, 0, 64, 64]])
    box = PointCoder().decode(anchor, torch.tensor([[-1.0, -2, 1, 2]]))
    assert box.tolist() == [[32.0, 32.0, 40.0, 48.0]]


@pytest.mark.parametrize("coder", [BoxCoder(), PointCoder(8.0), PointCoder(5.0)])
def test_both_starts_begin_from_the_anchor_box(coder):
    scale = getattr(coder, "anchor_scale", 8.0)
    anchors = torch.tensor([[-scale / 2, -scale / 2, scale / 2, scale / 2]]) * 16
    boxes = coder.decode(anchors, torch.full((1, 4), coder.initial_bias))
    torch.testing.assert_close(boxes, anchors)


def test_the_papers_point_starts_with_a_bias_of_four():
    assert (PointCoder().initial_bias, BoxCoder().initial_bias) == (4.0, 0.0)


def test_no_anchors_have_no_codes():
    none = torch.zeros(0, 4)
    for coder in (BoxCoder(), PointCoder()):
        assert coder.encode(none, none).shape == coder.decode(none, none).shape == (0, 4)
