"""The four sample selections against the plain ones, on scenes full of ties and borderline cases.

Coordinates are quarters of a pixel and anchors have whole sides, so fp32 and Python compute the
same overlaps. Where rounding could still flip a comparison, both answers count, and are counted.
"""

import random
import sys
from collections import Counter
from dataclasses import replace

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import anchors_of, boxes_tensor, plain, random_boxes, scenes, uneven_boxes

from detector import assigners
from detector.assigners import IGNORED, NEGATIVE, build_assigner
from detector.config import DetectorConfig

IOU = DetectorConfig()
IOU_IN_BOX = DetectorConfig(in_gt_box=True)
SSC = DetectorConfig(in_gt_box=True, assigner="ssc")
CENTER_SAMPLING = DetectorConfig(in_gt_box=True, assigner="center_sampling")
ATSS = DetectorConfig(in_gt_box=True, assigner="atss")
NINE = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)), (0.5, 1.0, 2.0)  # RetinaNet's anchors
every_selection = pytest.mark.parametrize(
    "config",
    [IOU, IOU_IN_BOX, SSC, CENTER_SAMPLING, ATSS],
    ids=["iou", "iou in box", "ssc", "center sampling", "atss"],
)


def matched_by(config, levels, boxes):
    return build_assigner(config)(levels, boxes_tensor(boxes))


def assert_same(config, levels, boxes, tally, slack=1e-6):
    """Equal, but for anchors whose answer changes with a little slack; the tally counts those."""
    found = matched_by(config, levels, boxes).tolist()
    levels = [plain(level) for level in levels]
    expected = reference.assign(config, levels, boxes)
    if found != expected:
        others = [reference.assign(config, levels, boxes, by) for by in (slack, -slack)]
        allowed = enumerate(zip(found, expected, *others, strict=True))
        wrong = [(a, one, some) for a, (one, *some) in allowed if one not in some]
        assert not wrong, wrong[:5]
    tally["anchors"] += len(found)
    tally["positive"] += sum(one >= 0 for one in found)
    tally["ignored"] += sum(one == IGNORED for one in found)
    tally["rounded"] += sum(one != other for one, other in zip(found, expected, strict=True))


@every_selection
def test_the_selection_is_the_plain_one_on_every_scene(config):
    tally = Counter()

    @given(scenes(), st.sampled_from((1, 3, 9, 19)))
    def compare(scene, k):
        size, scales, ratios, boxes = scene
        k = k if config.assigner == "atss" else config.k
        changed = replace(config, k=k, anchor_scales=scales, aspect_ratios=ratios)
        assert_same(changed, anchors_of(size, scales, ratios), boxes, tally)

    compare()
    assert tally["positive"] > 100  # the scenes are about something
    assert tally["ignored"] > 0 or config.assigner != "iou"
    # All anchors around a small object tie by IoU; with P7's the union needs more than 24 bits.
    assert tally["rounded"] <= tally["anchors"] / (500 if config.assigner == "iou" else 20_000)


@every_selection
@pytest.mark.parametrize(
    ("size", "count"), [((96, 128), 8), pytest.param((800, 1344), 1, marks=pytest.mark.slow)]
)
def test_the_selection_is_the_plain_one_with_retinanets_anchors_and_any_boxes(config, size, count):
    draw, tally = random.Random(7), Counter()
    changed = replace(config, anchor_scales=NINE[0], aspect_ratios=NINE[1])
    for _ in range(count):
        boxes = uneven_boxes(draw, 5, size)
        assert_same(changed, anchors_of(size, *NINE), boxes, tally, slack=1e-5)
    if config.assigner != "iou":  # by IoU all anchors around a small object tie, but for rounding
        assert tally["rounded"] <= tally["anchors"] / 1000


# Examples, small enough to be followed by hand


def column(*heights):
    return [[0, 0, 10, height] for height in heights]


BY_HAND = {  # selection, anchors of each level, objects, what the anchors learn
    "an overlap of 1 and of exactly 1/2 is positive, 2/5 is ignored, 3/8 negative": (
        *(IOU, [column(20, 10, 8, 7.5)], column(20)),
        [0, 0, IGNORED, NEGATIVE],
    ),
    "a low-quality match learns its own best object, not the one that asked": (
        *(IOU, [column(10)], column(100, 30)),  # overlaps of 1/10 and 1/3: the second is best
        [1],
    ),
    "all anchors that tie for an object's best overlap are positive": (
        *(IOU, [[[0, 0, 10, 10], [2, 0, 12, 10], [20, 20, 30, 30]]], [(3, 3, 4, 4)]),
        [0, 0, NEGATIVE],
    ),
    "... but ignored, not negative, where their center is outside": (
        *(IOU_IN_BOX, [[[0, 0, 10, 10], [2, 0, 12, 10], [20, 20, 30, 30]]], [(3, 3, 4, 4)]),
        [IGNORED, IGNORED, NEGATIVE],
    ),
    "64 pixels to the farthest side are of both levels, P3 and P4": (
        *(SSC, [[[96, 96, 104, 104]]] * 5, [(36, 36, 164, 164)]),
        [0, 0, NEGATIVE, NEGATIVE, NEGATIVE],
    ),
    "the last level takes objects of any size": (
        *(SSC, [[[96, 96, 104, 104]]] * 5, [(-50_000, -50_000, 50_000, 50_000)]),
        [NEGATIVE] * 4 + [0],
    ),
    "of several objects at a location the smallest wins, of two of area 400 the first": (
        *(SSC, [[[16, 16, 24, 24]]]),
        [(0, 0, 40, 40), (10, 10, 30, 30), (12, 5, 28, 30), (10, 10, 30, 30)],
        [1],
    ),
    "with one candidate its own overlap is the threshold": (ATSS, [column(10)], column(7), [0]),
    # of IoU 1 and 1/2: mean + std is 3/4 + sqrt(2)/4; with the biased std it would be 1
    "two unequal candidates are both below their threshold": (
        *(ATSS, [column(10, 20)], column(10)),
        [NEGATIVE] * 2,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_can_be_followed_by_hand(name):
    config, levels, boxes, expected = BY_HAND[name]
    assert matched_by(config, [boxes_tensor(level) for level in levels], boxes).tolist() == expected


@every_selection
def test_half_precision_and_autocast_change_nothing(config):
    """All corners are exact in bf16; areas are not. Nor does it matter who asks for gradients."""
    levels = anchors_of((128, 128))
    nearly_as_large = torch.tensor([[0.0, 0, 99, 99], [0, 0, 98, 100]])
    others = torch.tensor([[3.0, 5, 20, 31], [50, 20, 128, 120], [37, 41, 90, 78]])
    for some in (nearly_as_large, others):
        expected = build_assigner(config)(levels, some)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = build_assigner(config)(levels, some)
        half = build_assigner(config)([level.bfloat16() for level in levels], some.bfloat16())
        assert torch.equal(found, expected) and torch.equal(half, expected)
        assert not build_assigner(config)(levels, some.requires_grad_()).requires_grad


@every_selection
@pytest.mark.parametrize(("together", "num_calls"), [(1, 9), (100, 3), (2**16, 1)])
def test_a_batch_is_assigned_as_image_after_image(config, together, num_calls, monkeypatch):
    """Ties, boxes without area, images without objects; one at a time, some and all at once."""
    draw, levels = random.Random(together), anchors_of((128, 160), *NINE)
    monkeypatch.setattr(assigners, "PAIRS_AT_ONCE", together * sum(map(len, levels)))
    batch = []
    for count in (0, 1, 12, 0, 3, 3, 1, 30, 0):
        boxes = random_boxes(draw, count, start=(-40, 550), side=(0, 400))
        batch.append(boxes_tensor(boxes + boxes[:2] + [(0, 0, 0, 0)] * (count > 3)))
    assigner, calls = build_assigner(config), []
    counted = replace(assigner, assign=lambda *it: calls.append(it[1]) or assigner.assign(*it))
    found = counted.of_batch(levels, batch)
    assert torch.equal(found, torch.stack([assigner(levels, boxes) for boxes in batch]))
    assert (found[[2, 7]] >= 0).any(dim=1).all() and (found[[0, 3, 8]] == NEGATIVE).all()
    of_one = 6  # images with objects
    assert len(calls) == (min(num_calls, of_one) if assigner.takes_several else of_one)


def test_an_assigner_of_ones_own_sees_an_image_at_a_time_limited_to_the_box_if_the_config_says_so():
    seen, anchors = [], [torch.tensor([[0.0, 0.0, 8.0, 8.0], [6.0, 0.0, 14.0, 8.0]])]
    batch = [anchors[0][:1], anchors[0][:0], anchors[0]]

    def own(levels, boxes):
        seen.append(len(boxes))
        boxes.zero_()  # of copies
        return torch.full((2,), len(boxes) - 1)

    free, limited = (build_assigner(it, own).of_batch(anchors, batch) for it in (IOU, IOU_IN_BOX))
    assert seen == [1, 2] * 2
    assert free.tolist() == [[0, 0], [NEGATIVE, NEGATIVE], [1, 1]]
    assert limited.tolist() == [[0, IGNORED], [NEGATIVE, NEGATIVE], [IGNORED, 1]]


NEEDED = r"assigner mine needs .*: int64 \[86\], got "


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda num, boxes: torch.full((num,), 1), NEEDED + "values from 1 to 1 for 1 objects"),
        (lambda num, boxes: torch.full((num,), -7), NEEDED + "values from -7 to -7 for 1 objects"),
        (lambda num, boxes: torch.zeros(num), NEEDED + r"float32 \[86\]"),
        (lambda num, boxes: torch.zeros(3, dtype=torch.int64), NEEDED + r"int64 \[3\]"),
        (lambda num, boxes: [0] * num, NEEDED + "a list"),
        (lambda num, boxes: {}["boom"], r"the assigner mine fails in line \d+: KeyError: 'boom'"),
        (lambda num, boxes: sys.exit(0), r"the assigner mine fails in line \d+: SystemExit: 0"),
    ],
)
def test_what_an_assigner_of_ones_own_returns_is_checked_on_every_image(answer, problem):
    """One index too far would be an object of the next image."""

    def mine(levels, boxes):
        num = sum(map(len, levels))
        return torch.zeros(num, dtype=torch.int64) if len(boxes) == 2 else answer(num, boxes)

    batch = [torch.rand(2, 4), torch.rand(1, 4)]
    with pytest.raises(ValueError, match=problem):
        build_assigner(IOU, mine).of_batch(anchors_of((64, 64)), batch)


@pytest.mark.gpu
@every_selection
def test_the_gpu_selects_what_the_cpu_selects_and_nothing_waits_for_it(config):
    draw, levels = random.Random(5), anchors_of((128, 128))
    batch = [boxes_tensor(random_boxes(draw, count)) for count in (*[10] * 50, 1, 0)]
    on_gpu, moved = ([it.cuda() for it in its] for its in (levels, batch))
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = build_assigner(config).of_batch(on_gpu, moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), build_assigner(config).of_batch(levels, batch))
