"""The four sample selections against the plain ones, on scenes full of ties and borderline cases.

Coordinates are quarters of a pixel and anchors have whole sides, so fp32 and Python compute the
same overlaps. Where rounding could still flip a comparison, both answers count, and are counted.
"""

import random
from collections import Counter
from dataclasses import replace

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import ALL_KINDS, anchors_of, coco_like, kinds_of, random_boxes, scenes
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from detector import assigners
from detector.assigners import IGNORED, NEGATIVE, assign_atss, build_assigner, k_smallest
from detector.boxes import centers
from detector.config import DetectorConfig

IOU = DetectorConfig()
IOU_IN_BOX = DetectorConfig(in_gt_box=True)
SSC = DetectorConfig(in_gt_box=True, assigner="ssc")
CENTER_SAMPLING = DetectorConfig(in_gt_box=True, assigner="center_sampling")
ATSS = DetectorConfig(in_gt_box=True, assigner="atss")
ALL = [IOU, IOU_IN_BOX, SSC, CENTER_SAMPLING, ATSS]
NINE = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)), (0.5, 1.0, 2.0)  # RetinaNet's anchors
NAMES = ["iou", "iou in box", "ssc", "center sampling", "atss"]
every_selection = pytest.mark.parametrize("config", ALL, ids=NAMES)
limited_to_the_box = pytest.mark.parametrize("config", ALL[1:], ids=NAMES[1:])


def plain(levels):
    return [[tuple(anchor) for anchor in level.tolist()] for level in levels]


def boxes_tensor(boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def in_fp32(corners, sizes):
    """The boxes, as what fp32 makes of them."""
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
    return [tuple(box) for box in boxes_tensor(boxes).tolist()]


def matched_by(config, levels, boxes):
    return build_assigner(config)(levels, boxes_tensor(boxes))


def assert_same(config, levels, boxes, tally, slack=1e-6):
    """Equal, but for anchors whose answer changes with a little slack; the tally counts those."""
    found = matched_by(config, levels, boxes).tolist()
    levels = plain(levels)
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
@pytest.mark.parametrize(
    "max_examples", [settings.default.max_examples, pytest.param(300, marks=pytest.mark.slow)]
)
def test_the_selection_is_the_plain_one_on_every_scene(config, max_examples):
    tally = Counter()

    @settings(max_examples=max_examples)
    @given(scenes(), st.sampled_from((1, 3, 9, 19)))
    def compare(scene, k):
        size, scales, ratios, boxes = scene
        k = k if config.assigner == "atss" else config.k
        changed = replace(config, k=k, anchor_scales=scales, aspect_ratios=ratios)
        assert_same(changed, anchors_of(size, scales, ratios), boxes, tally)
        tally.update(set(kinds_of(scene)))

    compare()
    assert tally["positive"] > 10 * max_examples  # the scenes are about something
    assert (tally["ignored"] > 0) == (config.assigner == "iou")
    # All anchors around a small object tie by IoU; with P7's the union needs more than 24 bits.
    assert tally["rounded"] <= tally["anchors"] / (500 if config.assigner == "iou" else 20_000)
    assert max_examples < 300 or set(tally) >= ALL_KINDS


@given(scenes())
def test_selection_by_iou_is_torchvisions_matcher_but_for_objects_without_any_overlap(scene):
    """Those match every anchor there (all tie at 0), none here; its marks are ours."""
    size, scales, ratios, boxes = scene
    levels, config = anchors_of(size, scales, ratios), DetectorConfig()
    overlaps = box_iou(boxes_tensor(boxes), torch.cat(levels))
    is_reached = overlaps.amax(dim=1) > 0
    if not is_reached.any():
        return
    reached = [box for box, some in zip(boxes, is_reached.tolist(), strict=True) if some]
    expected = Matcher(0.5, 0.4, allow_low_quality_matches=True)(overlaps[is_reached])
    assert torch.equal(matched_by(config, levels, reached), expected)


@every_selection
@pytest.mark.parametrize(
    ("scales", "ratios"),
    [((7.0,), (1.0,)), ((8.0,), (2.0,)), ((8.0,), (0.5, 1.0, 2.0)), NINE],
    ids=["7S", "2:1", "A=3", "A=9"],
)
def test_the_selection_is_the_plain_one_with_the_papers_anchors_and_any_boxes(
    config, scales, ratios
):
    draw, tally = random.Random(7), Counter()
    changed = replace(config, anchor_scales=scales, aspect_ratios=ratios)
    for _ in range(8):
        corners = [(draw.uniform(-10, 120), draw.uniform(-10, 90)) for _ in range(5)]
        sizes = [[draw.expovariate(1 / 40) + 0.1 for _ in "wh"] for _ in corners]
        boxes = in_fp32(corners, sizes)
        assert_same(changed, anchors_of((96, 128), scales, ratios), boxes, tally, slack=1e-5)
    if config.assigner != "iou":  # by IoU all anchors around a small object tie, but for rounding
        assert tally["rounded"] <= tally["anchors"] / 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "scales", "ratios", "num_images"),
    [*((config, (8.0,), (1.0,), 4) for config in ALL), *((it, *NINE, 1) for it in ALL[1::3])],
)
def test_the_selection_is_the_plain_one_on_full_size_images_like_cocos(
    config, scales, ratios, num_images
):
    draw, tally, count = random.Random(17), Counter(), 0
    changed = replace(config, anchor_scales=scales, aspect_ratios=ratios)
    for _ in range(num_images):
        boxes = coco_like(draw)[: None if len(scales) == 1 else 8]
        slack = 1e-6 if len(scales) == 1 else 1e-5
        assert_same(changed, anchors_of((800, 1344), scales, ratios), boxes, tally, slack)
        count += len(boxes)
    assert 5 <= count / num_images < 15  # COCO: 9
    assert tally["positive"] > 3 * count * len(scales)


# Examples, small enough to be followed by hand


@every_selection
def test_without_objects_all_is_negative_and_without_anchors_nothing(config):
    levels = anchors_of((64, 64))
    matched = matched_by(config, levels, [])
    assert matched.dtype == torch.int64
    assert matched.tolist() == [NEGATIVE] * sum(map(len, levels))
    assert matched_by(config, [torch.zeros(0, 4)] * 5, [(0, 0, 9, 9)]).shape == (0,)  # no anchors


@every_selection
def test_an_object_outside_the_grids_reach_teaches_nobody(config):
    matched = matched_by(config, anchors_of((64, 64)), [(2000, 2000, 2040, 2040)])
    assert set(matched.tolist()) == {NEGATIVE}


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


def test_all_anchors_that_tie_for_an_objects_best_overlap_are_positive():
    levels, box = anchors_of((64, 64)), [(30, 30, 34, 34)]  # inside many anchors of P3
    best = box_iou(levels[0], boxes_tensor(box))[:, 0] == 16 / 4096
    assert best.sum() > 9 and torch.equal(matched_by(IOU, levels, box)[:64] == 0, best)
    in_box = matched_by(IOU_IN_BOX, levels, box)
    assert set(in_box[:64][best].tolist()) == {IGNORED}  # no center is inside; not negative


@pytest.mark.parametrize(("size", "levels_used"), [(127.5, {0}), (128, {0, 1}), (128.5, {1})])
def test_both_ends_of_a_scale_range_belong_to_it(size, levels_used):
    anchors = [torch.tensor([[x - 4.0, x - 4, x + 4, x + 4]]) for x in (100.0,) * 5]
    half = size / 2
    matched = matched_by(SSC, anchors, [(100 - half, 100 - half, 100 + half, 100 + half)])
    assert {level for level, one in enumerate(matched.tolist()) if one == 0} == levels_used


def test_center_sampling_reaches_one_and_a_half_strides_and_never_beyond_the_object():
    levels = anchors_of((64, 64))
    # center (32, 32), reach 12 px: x in 20..44, cut to y in 28..36: no row center but 28 and 36 ...
    assert (matched_by(CENTER_SAMPLING, levels, [(0, 28, 64, 36)])[:64] != 0).all()
    matched = matched_by(CENTER_SAMPLING, levels, [(0, 26, 64, 38)])[:64].reshape(8, 8)
    # x and y are 28 and 36: 20 and 44 lie on the border
    assert (matched == 0).nonzero().tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]


def test_an_anchor_of_several_objects_goes_to_the_one_of_highest_overlap():
    anchors, boxes = anchors_of((64, 64)), [(0, 0, 60, 60), (0, 0, 64, 64)]
    contested = sum((matched_by(ATSS, anchors, [box]) == 0).int() for box in boxes) == 2
    assert contested.any()
    best = box_iou(torch.cat(anchors), boxes_tensor(boxes)).argmax(dim=1)
    assert torch.equal(matched_by(ATSS, anchors, boxes)[contested], best[contested])


def test_k_counts_locations_however_many_anchors_they_carry():
    boxes = torch.tensor([[10.0, 14, 53, 47]])
    for scales, ratios in [((8.0,), (0.5, 1.0, 2.0)), ((4.0, 5.04, 6.35), (0.5, 1.0, 2.0))]:
        level = anchors_of((64, 64), scales, ratios)[0]
        num_anchors = len(scales) * len(ratios)
        away = (centers(level) - centers(boxes)).square().sum(dim=1, keepdim=True)
        locations = k_smallest(away.T, 9 * num_anchors)[0] // num_anchors
        assert locations.unique(return_counts=True)[1].tolist() == [num_anchors] * 9


def test_with_three_anchors_per_location_atss_takes_three_times_as_many_candidates():
    boxes, ratios = torch.tensor([[10.0, 14, 53, 47], [40, 8, 120, 90]]), (0.5, 1.0, 2.0)
    anchors = anchors_of((128, 128), (8.0,), ratios)
    found = build_assigner(replace(ATSS, aspect_ratios=ratios))(anchors, boxes)
    assert torch.equal(found, assign_atss(anchors, boxes, k=27))
    assert not torch.equal(found, assign_atss(anchors, boxes, k=9))


@limited_to_the_box
def test_an_object_that_contains_no_center_is_left_without_an_anchor(config):
    """As in the paper's code: nobody looks for the next best. P3's centers are at 4, 12, 20 ..."""
    levels = anchors_of((64, 64))
    between, around = (21, 21, 27, 27), (19, 19, 29, 29)
    assert (matched_by(config, levels, [between]) < 0).all()
    assert (matched_by(config, levels, [around]) == 0).any()
    assert 0 not in matched_by(config, levels, [between, around])


@pytest.mark.parametrize("num", [1, 31, 320])
@pytest.mark.parametrize("k", [1, 9, 20])
def test_the_k_smallest_are_the_first_of_a_stable_sort(num, k):
    """However many are equal."""
    random = torch.Generator().manual_seed(num)
    for different in (1, 3, 20, 10**6):
        distance = torch.randint(different, (7, num), generator=random) / 4
        expected = distance.sort(dim=1, stable=True).indices[:, :k]
        found = k_smallest(distance, k)
        assert torch.equal(found.sort(dim=1).values, expected.sort(dim=1).values)


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
    assert len(calls) == num_calls - (3 if together == 1 else 0)


def everything(levels, boxes):
    """An assigner of one's own."""
    return torch.full((len(torch.cat(levels)),), len(boxes) - 1)


def test_an_assigner_of_ones_own_sees_an_image_at_a_time():
    seen, levels = [], anchors_of((64, 64))
    own = build_assigner(IOU, lambda levels, boxes: seen.append(boxes) or everything(levels, boxes))
    found = own.of_batch(levels, [torch.rand(count, 4) for count in (3, 0, 1)])
    assert [len(boxes) for boxes in seen] == [3, 1]
    assert found.unique(dim=1).tolist() == [[2], [NEGATIVE], [0]]


def test_an_assigner_of_ones_own_is_limited_to_the_box_where_the_config_says_so():
    anchors = [torch.tensor([[0.0, 0.0, 8.0, 8.0], [6.0, 0.0, 14.0, 8.0]])]
    free, limited = build_assigner(IOU, everything), build_assigner(IOU_IN_BOX, everything)
    assert free(anchors, anchors[0][:1]).tolist() == [0, 0]
    assert limited(anchors, anchors[0][:1]).tolist() == [0, IGNORED]
    assert limited(anchors, anchors[0][:0]).tolist() == [NEGATIVE, NEGATIVE]


def failing(num, boxes):
    raise KeyError("boom")


NEEDED = r"assigner mine needs .*: int64 \[86\], got "


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda num, boxes: torch.full((num,), 1), NEEDED + "values from 1 to 1 for 1 objects"),
        (lambda num, boxes: torch.full((num,), -7), NEEDED + "values from -7 to -7 for 1 objects"),
        (lambda num, boxes: torch.zeros(num), NEEDED + r"float32 \[86\]"),
        (lambda num, boxes: torch.zeros(3, dtype=torch.int64), NEEDED + r"int64 \[3\]"),
        (lambda num, boxes: [0] * num, NEEDED + "a list"),
        (failing, r"the assigner mine fails in line \d+: KeyError: 'boom'"),
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
    on_gpu, assigner = [level.cuda() for level in levels], build_assigner(config)
    for _ in range(50):
        boxes = boxes_tensor(random_boxes(draw, 10))
        assert torch.equal(assigner(on_gpu, boxes.cuda()).cpu(), assigner(levels, boxes))
    boxes = boxes.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        assigner(on_gpu, boxes)
        assigner.of_batch(on_gpu, [boxes, boxes[:1], boxes[:0]])
    finally:
        torch.cuda.set_sync_debug_mode("default")
