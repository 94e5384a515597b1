"""Boxes: overlaps and the margin of being inside; test_assigners.py has the rest."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops

from detector import boxes

quarters = st.integers(-800, 800).map(lambda n: n / 4)
sides = st.integers(1, 800).map(lambda n: n / 4)
box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), quarters, quarters, sides, sides)
box_lists = st.lists(box, min_size=1, max_size=6)


@given(box_lists, box_lists)
def test_iou_is_that_of_plain_arithmetic_and_to_the_bit_torchvisions(some, others):
    found = boxes.paired_iou(torch.tensor(some)[:, None], torch.tensor(others))
    expected = [[reference.iou(one, other) for other in others] for one in some]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)
    assert torch.equal(found, ops.box_iou(torch.tensor(some), torch.tensor(others)))


@pytest.mark.parametrize(
    ("left", "is_inside"), [(-1.0, False), (0.0, False), (0.0078125, False), (0.015625, True)]
)
def test_inside_means_by_more_than_a_hundredth_of_a_pixel(left, is_inside):
    gt = torch.tensor([[4.0 - left, 0.0, 10.0, 10.0]])
    assert boxes.paired_inside(torch.tensor([[4.0, 5.0]]), gt).item() is is_inside
