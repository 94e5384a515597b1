"""The whole detector: its losses are the plain ones, for every run of every table."""

import math
import random
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import gt_boxes, plain_coder, plain_levels, random_boxes

from detector.backbone import build_backbone
from detector.config import DetectorConfig
from detector.detector import as_batch, build_detector
from detector.head import Predictions
from detector.training import accumulate_gradients
from experiments import TABLES
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, FCOS_CENTER_SAMPLING
from experiments.experiment import changes

RUNS = list(dict.fromkeys(row.config for table in TABLES.values() for row in table.rows))
EXACT = {"anchor_scales": (4, 6), "aspect_ratios": (0.25, 1, 4)}  # whole sides
KINDS = {
    "plain": DetectorConfig(),
    "plain, 6 anchors": DetectorConfig(**EXACT),
    "GIoU": DetectorConfig(giou_loss=True),
    "smooth L1 with centerness": DetectorConfig(in_gt_box=True, centerness=True),
    "IoU from box": replace(ATSS, assigner="iou"),
    "IoU from point": replace(ATSS, assigner="iou", regress_from="point"),
    "SSC from point": FCOS,
    "center sampling": FCOS_CENTER_SAMPLING,
    "ATSS from box": ATSS,
    "ATSS from point, 5S": replace(FCOS_ATSS, anchor_scales=(5,)),
    "ATSS, k = 3, 6 anchors": replace(ATSS, k=3, **EXACT),
}


def build(config, num_classes=3, seed=0):
    """With a small backbone, and a head that says something instead of almost nothing."""
    torch.manual_seed(seed)
    detector = build_detector(config, num_classes, backbone=build_backbone("small", "group_norm"))
    for layer in (detector.head.cls_logits, detector.head.bbox_pred, detector.head.centerness):
        if layer is not None:
            torch.nn.init.normal_(layer.weight, std=0.05)
    torch.nn.init.constant_(detector.head.cls_logits.bias, -1.0)  # so that background counts
    return detector


def target(*boxes, num_classes=3):
    labels = torch.arange(len(boxes)) % num_classes
    return {"boxes": torch.tensor(boxes).float().reshape(-1, 4), "labels": labels}


NOTHING, BEYOND = target(), target((9000, 9000, 9010, 9020))


def scene(size=128, count=4, seed=0):
    reach = {"start": (0, 3 * size), "side": (16, 2 * size)}
    return target(*random_boxes(random.Random(seed), count, **reach))


def check_losses(found, detector, config, targets, predictions):
    """They are the plain ones of the plain selection; returns these and what that matched."""
    levels = [[tuple(box) for box in level.tolist()] for level in detector.anchors(64, 96)]
    images = []
    for i, one in enumerate(targets):
        gt_boxes = [tuple(box) for box in one["boxes"].tolist()]
        image = {"anchors": sum(levels, []), "gt_boxes": gt_boxes}
        image |= {name: it[i].tolist() for name, it in vars(predictions).items() if it is not None}
        image["matched"] = reference.assign(config, levels, gt_boxes)
        images.append(image | {"gt_labels": one["labels"].tolist()})
    coder = plain_coder(config.regress_from, config.anchor_scales[0])
    expected = reference.loss_values(images, coder, config.giou_loss, config.centerness)
    values = {name: value.item() for name, value in found.items()}
    assert values == pytest.approx(expected, rel=1e-4, abs=1e-6)
    return expected, [image["matched"] for image in images]


every_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("with_objects", [True, False])
def test_losses_are_the_plain_ones(config, with_objects):
    detector, images = build(config), torch.randn(3, 3, 64, 96)
    some = [scene(96, 5, seed=1), NOTHING, target((8, 4, 60, 56), (30, 6, 90, 60))]
    targets = some if with_objects else [NOTHING, BEYOND, NOTHING]
    with torch.no_grad():
        found, predictions = detector.loss(images, targets), detector(images)
    expected, matched = check_losses(found, detector, config, targets, predictions)
    assert (expected["box"] > 0) == with_objects
    has_ignored = any(reference.IGNORED in its for its in matched)
    assert has_ignored == (with_objects and config.assigner == "iou")


@every_kind
def test_losses_of_random_predictions_are_the_plain_ones_on_every_scene(config, monkeypatch):
    detector, images = build(config, num_classes=2), torch.zeros(2, 3, 64, 96)
    count = sum(len(level) for level in detector.anchors(64, 96))

    @settings(max_examples=settings.default.max_examples // 4)
    @given(st.integers(0, 2**32 - 1), gt_boxes(64, 96), gt_boxes(64, 96))
    def compare(seed, one, other):
        torch.manual_seed(seed)
        centered = torch.randn(2, count) if config.centerness else None
        said = Predictions(2 * torch.randn(2, count, 2), 2 * torch.randn(2, count, 4), centered)
        monkeypatch.setattr(type(detector), "forward", lambda self, images: said)
        targets = [target(*boxes, num_classes=2) for boxes in (one, other)]
        check_losses(detector.loss(images, targets), detector, config, targets, said)

    compare()


@pytest.mark.parametrize("config", RUNS, ids=lambda config: f"{changes(config)}")
def test_every_run_of_the_paper_learns_from_every_kind_of_batch(config):
    detector = build(config)
    images = torch.randn(2, 3, 128, 128)
    for targets in ([scene(), scene(seed=1)], [scene(), NOTHING], [NOTHING, BEYOND]):
        detector.zero_grad()
        losses = detector.loss(images, targets)
        assert set(losses) == {"cls", "box"} | ({"centerness"} if config.centerness else set())
        sum(losses.values()).backward()
        assert all(value.isfinite() for value in losses.values())
        for name, parameter in detector.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    # The last batch has no positive, and still learns what background is.
    assert losses["box"].item() == 0 < losses["cls"].item()


@pytest.mark.parametrize("regress_from", ["box", "point"])
def test_training_starts_from_the_anchor_boxes_and_knows_no_centerness(regress_from):
    config = replace(ATSS, regress_from=regress_from)
    detector = build_detector(config, 3, backbone=build_backbone("small", "group_norm"))
    with torch.no_grad():
        losses = detector.loss(torch.randn(1, 3, 128, 128), [scene()])
        samples = detector.select_samples((128, 128), [scene()])
    pairs = zip(samples.anchors.tolist(), samples.gt_boxes.tolist(), strict=True)
    costs, weights = torch.tensor([reference.giou_loss(*it) for it in pairs]), samples.centerness
    mean = (weights * costs).sum().item() / weights.sum().item()
    assert losses["box"].item() == pytest.approx(2 * mean, rel=0.05)
    assert losses["centerness"].item() == pytest.approx(math.log(2), rel=0.05)
    with torch.no_grad():
        probability = detector(torch.randn(1, 3, 64, 64)).cls_logits.sigmoid()
    assert probability.mean().item() == pytest.approx(0.01, rel=0.1)  # of any class: background


# Precision, micro-batches, padding


@pytest.mark.parametrize("config", [DetectorConfig(), ATSS, FCOS])
def test_under_autocast_convolutions_are_bf16_and_all_else_is_fp32(config, monkeypatch):
    """With the convolutions' results held fixed, autocast changes not a bit."""
    detector, images, targets = build(config), torch.randn(2, 3, 128, 128), [scene(), NOTHING]
    exact, samples = detector.loss(images, targets), detector.select_samples((128, 128), targets)
    with torch.no_grad():
        fixed = detector(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = detector.loss(images, targets)
        again = detector.select_samples((128, 128), targets)
        monkeypatch.setattr(type(detector), "forward", lambda self, images: fixed)
        of_fixed = detector.loss(images, targets)
    torch.testing.assert_close(vars(again), vars(samples), rtol=0, atol=0)
    torch.testing.assert_close(of_fixed, exact, rtol=0, atol=0)  # fp32, too
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.02)


@pytest.fixture
def without_kinks(monkeypatch):
    """ReLU made smooth: at its kink the last bit of a sum would decide about a whole gradient."""
    softplus = torch.nn.functional.softplus
    monkeypatch.setattr(torch.nn.functional, "relu", lambda x, inplace=False: softplus(x))


BY_PREDICTION = {name: replace(ATSS, assigner=name) for name in ("tal", "simota", "paa", "poto")}


@pytest.mark.parametrize("micro_batch_size", [1, 3])
@pytest.mark.parametrize(
    "config", [*KINDS.values(), *BY_PREDICTION.values()], ids=[*KINDS, *BY_PREDICTION]
)
def test_gradients_of_micro_batches_are_those_of_the_batch(config, micro_batch_size, without_kinks):
    detector, images = build(config), torch.randn(4, 3, 64, 64)
    targets = [scene(64, 4, seed=1), NOTHING, scene(64, 1, seed=2), scene(64, 2, seed=3)]
    whole = accumulate_gradients(detector, images, targets)
    losses = {name: value.item() for name, value in detector.loss(images, targets).items()}
    assert losses == pytest.approx(whole, rel=1e-5) and min(losses.values()) > 0
    expected = {name: p.grad.clone() for name, p in detector.named_parameters()}
    detector.zero_grad()
    parts = accumulate_gradients(detector, images, targets, micro_batch_size)
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-6)
    for name, parameter in detector.named_parameters():
        difference = (parameter.grad - expected[name]).norm()
        assert difference <= 1e-4 * expected[name].norm() + 1e-7, name


@pytest.mark.parametrize("micro_batch_size", [None, 1, 3])
def test_every_image_of_a_batch_is_assigned_once(micro_batch_size):
    detector, images = build(ATSS), torch.randn(4, 3, 64, 64)
    spy = Mock(needs_predictions=False, of_batch=Mock(wraps=detector.assigner.of_batch))
    detector.assigner = Mock(at=lambda share: spy)
    targets = [scene(64, 2, seed=seed) for seed in range(4)]
    accumulate_gradients(detector, images, targets, micro_batch_size)
    assigned = [id(boxes) for call in spy.of_batch.call_args_list for boxes in call.args[1]]
    assert assigned == [id(one["boxes"]) for one in targets]


def test_a_list_of_images_is_padded_with_zeros_right_and_below_where_it_needs_padding():
    images = [torch.ones(3, 40, 70), torch.ones(3, 64, 33)]
    batch, sizes = as_batch(images)
    assert (batch.shape, sizes) == ((2, 3, 64, 96), [(40, 70), (64, 33)])
    for padded, (height, width) in zip(batch, sizes, strict=True):
        assert padded.sum() == padded[:, :height, :width].sum() == 3 * height * width
    assert as_batch(batch)[0] is batch


def test_anchors_in_the_padding_are_negatives():
    detector = build(ATSS)
    samples = detector.select_samples((64, 128), [target((4, 4, 60, 60))])  # of 64 x 64, padded
    assert (samples.classes == -1).sum() + len(samples.anchor) == samples.classes.numel()


# Detections


DETECTING = ("plain", "plain, 6 anchors", "SSC from point", "ATSS from box", "ATSS from point, 5S")


@pytest.mark.parametrize("config", [KINDS[name] for name in DETECTING], ids=DETECTING)
def test_detections_of_a_list_of_images_are_the_plain_ones(config):
    detector = build(config)
    torch.nn.init.normal_(detector.head.cls_logits.weight, std=0.2)
    images = [torch.randn(3, 64, 90), torch.randn(3, 50, 96)]
    found = detector.detect(images)
    with torch.no_grad():
        predictions = detector(as_batch(images)[0])
    _, decode = plain_coder(config.regress_from, config.anchor_scales[0])
    for i, one in enumerate(found):
        levels = plain_levels(detector.anchors(64, 96), predictions, i)
        expected = reference.detect(levels, decode, tuple(images[i].shape[1:]))
        assert len(expected) > 10
        scores, labels, boxes = zip(*expected, strict=True)
        assert one["labels"].tolist() == list(labels)
        assert one["scores"].tolist() == pytest.approx(scores, rel=1e-4)
        torch.testing.assert_close(one["boxes"], torch.tensor(boxes), rtol=1e-4, atol=1e-2)


SIDES = st.sampled_from([33, 50, 64, 96, 100])


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=5))
def test_detections_are_the_images_own_whatever_is_beside_it(sizes):
    """With GroupNorm, which would see what others have it padded to."""
    detector = build(ATSS)
    images = [torch.randn(3, *size) for size in sizes]
    for one, image in zip(detector.detect(images), images, strict=True):
        alone = detector.detect([image])[0]
        assert len(alone["scores"]) > 0 and torch.equal(alone["labels"], one["labels"])
        torch.testing.assert_close(alone["boxes"], one["boxes"], rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(alone["scores"], one["scores"], rtol=1e-4, atol=1e-5)


# The door

OF_NO_CLASS = [{"boxes": torch.ones(1, 4), "labels": torch.tensor([n])} for n in (3, -1)]


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [
        ([NOTHING], "one target per image, got 1 for 2"),
        ([NOTHING, {"boxes": torch.zeros(1, 5), "labels": torch.zeros(1)}], "target 1 needs boxes"),
        ([NOTHING, {"boxes": torch.zeros(2, 4), "labels": torch.zeros(1)}], "target 1 needs boxes"),
        *(([one, NOTHING], "target 0 needs labels from 0 to 2") for one in OF_NO_CLASS),
    ],
)
def test_unusable_targets_are_refused(targets, complaint):
    with pytest.raises(ValueError, match=complaint):
        build(ATSS).loss(torch.randn(2, 3, 64, 64), targets)


@pytest.mark.gpu
@every_kind
def test_the_gpus_samples_are_the_cpus_and_its_losses_close(config):
    detector, images, targets = build(config), torch.randn(2, 3, 128, 128), [scene(), scene(seed=1)]
    expected, samples = detector.loss(images, targets), detector.select_samples((128, 128), targets)
    detector.cuda()
    moved = [{name: value.cuda() for name, value in one.items()} for one in targets]
    again = detector.select_samples((128, 128), moved)
    close = partial(torch.testing.assert_close, check_device=False)
    close(vars(again), vars(samples), rtol=1e-5, atol=1e-6)
    close(detector.loss(images.cuda(), moved), expected, rtol=1e-2, atol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        close(detector.loss(images.cuda(), moved), expected, rtol=0.05, atol=0.02)
