"""What regression predicts: codes against plain arithmetic, and that decoding undoes encoding."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from detector.box_coders import BoxCoder, PointCoder

STRIDES = (8, 16, 32, 64, 128)
CODERS = {("box", 8.0): BoxCoder()} | {("point", it): PointCoder(it) for it in (5.0, 8.0, 9.0)}
every_coder = pytest.mark.parametrize("start", CODERS)


def around(x, y, left, top, right, bottom):
    return x - left, y - top, x + right, y + bottom


def tensor(box):
    return torch.tensor([box], dtype=torch.float64)


@every_coder
def test_codes_and_boxes_are_those_of_plain_arithmetic_and_decoding_undoes_encoding(start):
    """Of boxes around the anchor's center, and from the box of any."""
    coder, (encode, decode) = CODERS[start], reference.coder(*start)
    reach = st.floats(0.0625, 1000, width=32)
    shift = st.sampled_from((0.0, -200.0, 1000.0) if start[0] == "box" else (0.0,))
    numbers = st.tuples(*[st.integers(0, 9)] * 2), st.tuples(*[reach] * 4), shift
    codes = st.tuples(*[st.floats(-30, 30)] * 4)

    @given(st.sampled_from(STRIDES), *numbers, codes)
    def compare(stride, place, sides, shift, predicted):
        x, y = ((it + 0.5) * stride for it in place)
        anchor = around(x, y, *[start[1] * stride / 2] * 4)
        gt = around(x + shift, y, *sides)
        found = coder.encode(tensor(anchor), tensor(gt))
        assert found[0].tolist() == pytest.approx(encode(anchor, gt), rel=1e-9, abs=1e-9)
        back = coder.decode(tensor(anchor).float(), found.float())
        torch.testing.assert_close(back, tensor(gt).float(), rtol=1e-5, atol=2e-3)
        box = coder.decode(tensor(anchor), tensor(predicted))[0].tolist()
        assert box == pytest.approx(decode(anchor, predicted), rel=1e-9, abs=1e-9)

    compare()


@every_coder
def test_predictions_start_as_the_anchors_with_a_bias_of_four_from_the_papers_points(start):
    coder, anchor = CODERS[start], tensor(around(0, 0, *[8 * start[1]] * 4))
    codes = torch.full((1, 4), coder.initial_bias)
    torch.testing.assert_close(coder.decode(anchor, codes), anchor)
    assert start != ("point", 8.0) or coder.initial_bias == 4
