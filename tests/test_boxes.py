"""Boxes: overlaps, distances and the margin of being inside; test_assigners.py has the rest."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops

from detector import boxes

quarters = st.integers(-800, 800).map(lambda n: n / 4)
sides = st.integers(1, 800).map(lambda n: n / 4)


@st.composite
def box(draw):
    x, y = draw(quarters), draw(quarters)
    return x, y, x + draw(sides), y + draw(sides)


box_lists = st.lists(box(), min_size=1, max_size=6)


@given(box_lists, box_lists)
def test_iou_is_that_of_plain_arithmetic_and_to_the_bit_torchvisions(some, others):
    found = boxes.paired_iou(torch.tensor(some)[:, None], torch.tensor(others))
    expected = [[reference.iou(one, other) for other in others] for one in some]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)
    assert torch.equal(found, ops.box_iou(torch.tensor(some), torch.tensor(others)))


@given(box_lists, box_lists)
def test_squared_distances_are_exact_so_that_ties_stay_ties(some, others):
    points, targets = boxes.centers(torch.tensor(some)), boxes.centers(torch.tensor(others))
    found = boxes.squared_distances(points, targets)
    pairs = [[(x - u) ** 2 + (y - v) ** 2 for u, v in targets.tolist()] for x, y in points.tolist()]
    assert torch.equal(found, torch.tensor(pairs))  # the sum may need more digits than fp32 has


@pytest.mark.parametrize(
    ("left", "is_inside"), [(-1.0, False), (0.0, False), (0.0078125, False), (0.015625, True)]
)
def test_inside_means_by_more_than_a_hundredth_of_a_pixel(left, is_inside):
    gt = torch.tensor([[4.0 - left, 0.0, 10.0, 10.0]])
    assert boxes.paired_inside(torch.tensor([[4.0, 5.0]]), gt).item() is is_inside


def test_no_boxes_at_all_are_no_special_case():
    points, none = torch.rand(3, 2), torch.zeros(0, 4)
    assert boxes.centers(none).shape == (0, 2)
    assert boxes.paired_inside(points[:, None], none).shape == (3, 0)
    assert boxes.paired_iou(none[:, None], torch.rand(2, 4)).shape == (0, 2)
