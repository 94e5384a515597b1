"""Multi-scale testing: its passes, what each keeps, and how boxes vote, beside plain lists."""

import random

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_coco import content, write

from detector.config import Recipe
from detector.data.coco import CocoDataset
from detector.evaluation.detect import detect_all, detect_one
from detector.evaluation.multi_scale import (
    MultiScaleTest,
    Pass,
    merge,
    passes,
    relative_cost,
    soft_vote,
)
from detector.weights.conventions import Layout

PAPER = Recipe(multi_scale_test=True)
TINY = Recipe(
    short_side=(160, 160), long_side=266, score_threshold=0.01, multi_scale_test=True
)  # a fifth of the paper's


# --- the passes


def test_the_passes_of_the_paper_are_26():
    usual = [(800, 1333, -float("inf"), float("inf"))]
    extra = [
        *((side, 1333, 96**2, 10_000**2) for side in (400, 500)),
        *((side, 1333, 64**2, 10_000**2) for side in (600, 640, 700)),
        *((side, 3000, 0, 10_000**2) for side in (900, 1000)),
        *((side, 3000, 0, 256**2) for side in (1100, 1200)),
        *((side, 3000, 0, 192**2) for side in (1300, 1400)),
        (1800, 3000, 0, 96**2),
    ]
    expected = [Pass(*it[:2], flip, *it[2:]) for flip in (False, True) for it in usual + extra]
    assert list(passes(PAPER)) == expected
    assert len(expected) == 26


def test_the_passes_shrink_with_the_short_side():
    small = list(passes(TINY))
    assert [it.short_side for it in small[:3]] == [160, 80, 100]
    assert [it.long_side for it in small[:13]] == [266] * 6 + [600] * 7
    assert small[12] == Pass(360, 600, False, 0.0, pytest.approx(19.2**2))
    for recipe in (TINY, PAPER):
        assert relative_cost(recipe) == pytest.approx(42.7, abs=0.1)


def test_a_pass_keeps_areas_strictly_between_its_limits():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [0, 0, 5, 5], [0, 0, 6, 6], [3, 3, 3, 9.0]])
    assert Pass(1, 1, False, 16, 36).keeps(boxes).tolist() == [False, True, True, False, False]
    assert Pass(1, 1, False).keeps(boxes).all()


# --- the vote


def plain_vote(items):
    """Boxes with scores of one class -> what they agree on, by lists alone."""
    left, found = sorted(items, key=lambda item: -item[1]), []
    while left:
        best, score = left[0]
        overlaps = [1.0] + [reference.iou(best, box) for box, _ in left[1:]]
        voters = [item for item, iou in zip(left, overlaps, strict=True) if iou >= 0.66]
        ious = [iou for iou in overlaps if iou >= 0.66]
        left = [item for item, iou in zip(left, overlaps, strict=True) if iou < 0.66]
        if len(voters) == 1:
            found.append((best, score))
            continue
        total = sum(weight for _, weight in voters)
        found.append(([sum(b[i] * s for b, s in voters) / total for i in range(4)], score))
        for (box, weight), iou in zip(voters, ious, strict=True):
            if weight * (1 - iou) >= 0.05:
                found.append((box, weight * (1 - iou)))
    return found


def crowded(seed, count):
    """Boxes around three places, so that many overlap."""
    rng = random.Random(seed)
    items = []
    for _ in range(count):
        x, y, side = rng.choice([(10, 10, 40), (30, 20, 60), (100, 90, 20)])
        wobble = [rng.uniform(-6, 6) for _ in range(4)]
        corners = [x, y, x + side, y + side]
        box = [value + shift for value, shift in zip(corners, wobble, strict=True)]
        items.append((box, rng.uniform(0.05, 1)))
    return items


def as_tensors(items):
    boxes = torch.tensor([box for box, _ in items], dtype=torch.float64).reshape(-1, 4)
    return boxes, torch.tensor([score for _, score in items], dtype=torch.float64)


def comparable(boxes, scores):
    rows = zip(boxes, scores, strict=True)
    return sorted([round(score, 9), *(round(value, 6) for value in box)] for box, score in rows)


@given(st.integers(0, 10**6), st.integers(0, 40))
def test_boxes_vote_as_in_plain_python(seed, count):
    items = crowded(seed, count)
    boxes, scores = soft_vote(*as_tensors(items))
    expected = plain_vote(items)
    assert comparable(boxes.tolist(), scores.tolist()) == comparable(
        [box for box, _ in expected], [score for _, score in expected]
    )


def test_a_vote_by_hand():
    items = [([0, 0, 10, 6.6], 0.2), ([0, 0, 10, 10], 0.6), ([50, 50, 60, 60], 0.3)]
    boxes, scores = soft_vote(*as_tensors(items))
    # IoU 0.66 votes: the mean's lower side is (6.6 x 0.2 + 10 x 0.6) / 0.8; the voter keeps
    # 0.2 x (1 - 0.66) = 0.068, the best itself nothing.
    expected = [([0, 0, 10, 9.15], 0.6), ([50, 50, 60, 60], 0.3), ([0, 0, 10, 6.6], 0.068)]
    torch.testing.assert_close(boxes, as_tensors(expected)[0])
    torch.testing.assert_close(scores, as_tensors(expected)[1])


def test_less_than_a_twentieth_is_not_kept_and_less_overlap_does_not_vote():
    far, near = ([0, 0, 10, 6.5], 0.1), ([0, 0, 10, 6.7], 0.1)
    best = ([0, 0, 10, 10], 0.6)
    assert len(soft_vote(*as_tensors([best, far]))[1]) == 2  # both stay as they are
    boxes, scores = soft_vote(*as_tensors([best, near]))  # 0.1 x 0.33 is too little
    assert scores.tolist() == [0.6] and boxes[0, 3] == pytest.approx((6 + 0.67) / 0.7)


def test_boxes_without_area_and_no_boxes_at_all_are_no_problem():
    flat = [([5, 5, 5, 9], 0.5), ([5, 5, 5, 9], 0.4)]
    assert soft_vote(*as_tensors(flat))[1].tolist() == [0.5, 0.4]
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}
    assert [len(value) for value in merge(nothing, 10).values()] == [0, 0, 0]


def test_classes_vote_apart_and_the_best_come_first():
    box = [0.0, 0.0, 10.0, 10.0]
    boxes, scores = as_tensors([(box, 0.3), (box, 0.7), (box, 0.5)])
    found = merge({"boxes": boxes, "scores": scores, "labels": torch.tensor([4, 2, 4])}, 10)
    assert found["labels"].tolist() == [2, 4]
    assert found["scores"].tolist() == [0.7, 0.5]


# --- whole images


class FindsTheBright:
    """Detects the bright part of what it is shown; remembers the sizes that it was shown."""

    def __init__(self, score=0.9):
        self.score, self.sizes = score, []

    def detect(self, images):
        self.sizes += [tuple(image.shape[-2:]) for image in images]
        return [self.one(image) for image in images]

    def one(self, image):
        rows, columns = (image[0] > 0).nonzero(as_tuple=True)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        boxes = torch.tensor([[float(side) for side in box]])
        return {"boxes": boxes, "scores": torch.tensor([self.score]), "labels": torch.tensor([1])}


def an_image():
    """[3, 160, 240], dark, but for 60 x 40 pixels left of its middle."""
    image = torch.zeros(3, 160, 240, dtype=torch.uint8)
    image[:, 50:90, 30:90] = 255
    return image


def test_what_every_pass_finds_in_its_place_becomes_one_box_in_pixels_of_the_image():
    detector = FindsTheBright()
    test = MultiScaleTest(detector, TINY)
    (found,) = test.detect([an_image()])
    assert found["scores"][0] == pytest.approx(0.9)
    expected = torch.tensor([30, 50, 90, 90.0]).double()
    torch.testing.assert_close(found["boxes"][0], expected, rtol=0, atol=1)
    assert found["labels"].tolist() == [1] * len(found["labels"])
    assert detector.sizes[:3] == [(160, 240), (80, 120), (100, 150)]
    assert len(detector.sizes) == 26
    plain, mirrored = (test._look(an_image(), it) for it in passes(TINY) if it.short_side == 160)
    assert plain["boxes"].tolist() == mirrored["boxes"].tolist() == [[30, 50, 90, 90]]


@pytest.mark.parametrize(("smallest", "largest", "count"), [(500, 700, 1), (1000, 3000, 0)])
def test_a_pass_keeps_sizes_as_it_is_shown_them_not_as_they_are_stored(smallest, largest, count):
    """At half the size the 60 x 40 pixels are 30 x 20."""
    test = MultiScaleTest(FindsTheBright(), TINY)
    found = test._look(an_image(), Pass(80, 120, False, smallest, largest))
    assert [len(values) for values in found.values()] == [count] * 3


def test_inclusive_corners_are_scaled_back_as_such():
    test = MultiScaleTest(FindsTheBright(), TINY, Layout(inclusive_corners=True))
    double = next(it for it in passes(TINY) if it.short_side == 80)
    found = test._look(an_image(), Pass(double.short_side, double.long_side, False))
    # Half the size: 15, 25, 45, 45; the last pixels 44 and 44 are 88 and 88, which end at 89.
    assert found["boxes"].tolist() == [[30, 50, 89, 89]]


def test_what_is_merged_is_limited_as_candidates_of_a_level_are():
    class Many(FindsTheBright):
        """Finds a hundred small boxes next to one another in every pass."""

        def one(self, image):
            corners = torch.arange(100.0)[:, None] * torch.tensor([[1.0, 0, 1, 0]])
            scores = torch.linspace(0.9, 0.5, 100)
            boxes = corners + torch.tensor([[0.0, 0, 1, 9]])
            return {"boxes": boxes, "scores": scores, "labels": torch.zeros(100).long()}

    limited = Recipe(short_side=(160, 160), multi_scale_test=True, candidates_per_level=7)
    (found,) = MultiScaleTest(Many(), limited).detect([an_image()])
    assert len(found["scores"]) == 7
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_an_image_is_tested_alone_as_it_is_in_a_data_set(tmp_path):
    class FindsAHalf(FindsTheBright):
        def one(self, image):
            boxes = torch.tensor([[0.0, 0, image.shape[2] / 2, image.shape[1]]])
            return {"boxes": boxes, "scores": torch.tensor([0.9]), "labels": torch.tensor([1])}

    dataset, detector = CocoDataset(*write(tmp_path, content())), FindsAHalf()
    parts = list(detect_all(detector, dataset, TINY, device="cpu"))
    image, number = dataset[0][0], dataset.image_ids[0]
    ids = {"image_id": number, "category_ids": dataset.category_ids}
    alone = detect_one(detector, image, TINY, **ids, device="cpu")
    assert alone == [part for batch in parts for part in batch if part[0]["image_id"] == number][0]
    width, height = dataset.sizes[0]
    halves = [it["bbox"] for it in alone if it["score"] == 0.9]
    assert halves == [[0, 0, width / 2, height], [width / 2, 0, width / 2, height]]  # mirrored
