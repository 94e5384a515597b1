"""Multi-scale testing: its passes, what each keeps, and how boxes vote, beside plain lists."""

import random
from dataclasses import replace
from unittest.mock import Mock

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Recipe
from detector.evaluation.multi_scale import (
    Pass,
    detect_in_passes,
    look,
    merge,
    passes,
    relative_cost,
    soft_vote,
)
from detector.weights.conventions import Layout

PAPER = Recipe(multi_scale_test=True)
TINY = replace(PAPER, short_side=(160, 160), long_side=266)  # a fifth of the paper's


def test_the_passes_of_the_paper_are_26_and_shrink_with_the_short_side():
    plain, tiny = list(passes(PAPER))[:13], list(passes(TINY))[:13]
    assert list(passes(PAPER)) == plain + [replace(it, is_flipped=True) for it in plain]
    assert plain[:2] == [Pass(800, 1333, False), Pass(400, 1333, False, 96**2, 10_000**2)]
    assert plain[12] == Pass(1800, 3000, False, 0, 96**2)
    assert tiny[12] == Pass(360, 600, False, 0, pytest.approx(19.2**2))
    assert [it.long_side for it in tiny] == [266] * 6 + [600] * 7
    for recipe in (TINY, PAPER):
        assert relative_cost(recipe) == pytest.approx(42.7, abs=0.1)


def test_a_pass_keeps_areas_strictly_between_its_limits():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [0, 0, 5, 5], [0, 0, 6, 6], [3, 3, 3, 9.0]])
    assert Pass(1, 1, False, 16, 36).keeps(boxes).tolist() == [False, True, True, False, False]
    assert Pass(1, 1, False).keeps(boxes).all()


# The vote


def plain_vote(items):
    """Boxes with scores of one class -> what they agree on, by lists alone."""
    left, found = sorted(items, key=lambda item: -item[1]), []
    while left:
        best, score = left[0]
        overlaps = [1.0] + [reference.iou(best, box) for box, _ in left[1:]]
        pairs = list(zip(left, overlaps, strict=True))
        voters = [(box, weight, iou) for (box, weight), iou in pairs if iou >= 0.66]
        left = [item for item, iou in pairs if iou < 0.66]
        if len(voters) == 1:
            found.append((best, score))
            continue
        total = sum(weight for _, weight, _ in voters)
        mean = [sum(box[i] * weight for box, weight, _ in voters) / total for i in range(4)]
        found.append((mean, score))
        lowered = [(box, weight * (1 - iou)) for box, weight, iou in voters]
        found += [item for item in lowered if item[1] >= 0.05]
    return found


def crowded(seed, count):
    """Boxes around three places, so that many overlap."""
    rng = random.Random(seed)
    for _ in range(count):
        x, y, side = rng.choice([(10, 10, 40), (30, 20, 60), (100, 90, 20)])
        yield [corner + rng.uniform(-6, 6) for corner in (x, y, x + side, y + side)], rng.random()


def as_tensors(items):
    boxes = torch.tensor([box for box, _ in items], dtype=torch.float64).reshape(-1, 4)
    return boxes, torch.tensor([score for _, score in items], dtype=torch.float64)


@given(st.integers(0, 10**6), st.integers(0, 40))
def test_boxes_vote_as_in_plain_python(seed, count):
    items = list(crowded(seed, count))
    boxes, scores = soft_vote(*as_tensors(items))
    rows = zip(boxes.tolist(), scores.tolist(), strict=True)
    found, expected = (
        sorted([round(score, 9), *(round(side, 6) for side in box)] for box, score in its)
        for its in (rows, plain_vote(items))
    )
    assert found == expected


def test_classes_vote_apart_and_the_best_come_first():
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}
    assert [len(value) for value in merge(nothing, 10).values()] == [0, 0, 0]
    box = [0.0, 0.0, 10.0, 10.0]
    boxes, scores = as_tensors([(box, 0.3), (box, 0.7), (box, 0.5)])
    found = merge({"boxes": boxes, "scores": scores, "labels": torch.tensor([4, 2, 4])}, 10)
    assert found["labels"].tolist() == [2, 4]
    assert found["scores"].tolist() == [0.7, 0.5]


# Whole images


class FindsTheBright:
    """Detects the bright part of what it is shown; remembers the sizes that it was shown."""

    def __init__(self):
        self.sizes = []

    def detect(self, images):
        (image,) = images
        self.sizes.append(tuple(image.shape[-2:]))
        rows, columns = (image[0] > 0).nonzero(as_tuple=True)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return [found([[float(side) for side in box]])]


def found(boxes, scores=(0.9,)):
    labels = torch.ones(len(scores)).long()
    return {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": labels}


# [3, 160, 240], dark, but for 60 x 40 pixels left of its middle
IMAGE = torch.zeros(3, 160, 240, dtype=torch.uint8)
IMAGE[:, 50:90, 30:90] = 255


def test_what_every_pass_finds_in_its_place_becomes_one_box_in_pixels_of_the_image():
    detector = FindsTheBright()
    found = detect_in_passes(detector, IMAGE, TINY, Layout())
    assert found["scores"][0] == pytest.approx(0.9)
    expected = torch.tensor([30, 50, 90, 90.0]).double()
    torch.testing.assert_close(found["boxes"][0], expected, rtol=0, atol=1)
    assert found["labels"].tolist() == [1] * len(found["labels"])
    assert detector.sizes[:3] == [(160, 240), (80, 120), (100, 150)]
    assert len(detector.sizes) == 26


@pytest.mark.parametrize(
    ("each", "layout", "boxes"),
    [
        (Pass(160, 266, False), Layout(), [[30, 50, 90, 90]]),
        (Pass(160, 266, True), Layout(), [[30, 50, 90, 90]]),
        # At half the size the 60 x 40 pixels are 30 x 20: so large a pass is shown them.
        (Pass(80, 120, False, 500, 700), Layout(), [[30, 50, 90, 90]]),
        (Pass(80, 120, False, 1000, 3000), Layout(), []),
        # 15, 25, 45, 45; the last pixels 44 and 44 are 88 and 88, which end at 89.
        (Pass(80, 266, False), Layout(inclusive_corners=True), [[30, 50, 89, 89]]),
    ],
)
def test_a_pass_finds_what_is_of_its_sizes_where_it_is_stored(each, layout, boxes):
    seen = look(FindsTheBright(), IMAGE, each, layout)
    assert seen["boxes"].tolist() == boxes
    assert [len(values) for values in seen.values()] == [len(boxes)] * 3


def test_what_is_merged_is_limited_as_candidates_of_a_level_are():
    side_by_side = [[x, 0.0, x + 1, 9.0] for x in range(100)]
    many = found(side_by_side, torch.linspace(0.9, 0.5, 100).tolist())
    detector, recipe = Mock(detect=lambda images: [many]), replace(TINY, candidates_per_level=7)
    scores = detect_in_passes(detector, IMAGE, recipe, Layout())["scores"].tolist()
    assert len(scores) == 7
    assert scores == sorted(scores, reverse=True)
