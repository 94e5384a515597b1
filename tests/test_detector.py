"""The whole detector: its losses are the plain ones, whatever it is made of."""

import random
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest
import reference
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenes import (
    assert_detections,
    boxes_tensor,
    gt_boxes,
    plain,
    plain_levels,
    random_boxes,
    small_detector,
    speaking,
)

from detector.config import DetectorConfig
from detector.detector import as_batch
from detector.head import Predictions
from detector.training import accumulate_gradients
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, FCOS_CENTER_SAMPLING

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


def build(config, num_classes=3):
    return speaking(small_detector(config, num_classes))


def target(*boxes, num_classes=3):
    labels = torch.arange(len(boxes)) % num_classes
    return {"boxes": boxes_tensor(boxes), "labels": labels}


NOTHING, BEYOND = target(), target((9000, 9000, 9010, 9020))


def scene(size=128, count=4, seed=0):
    reach = {"start": (0, 3 * size), "side": (16, 2 * size)}
    return target(*random_boxes(random.Random(seed), count, **reach))


every_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


@every_kind
def test_losses_are_the_plain_ones(config, monkeypatch):
    """Of random predictions, and of the plain selection; anchors in the padding take part."""
    detector = build(config, num_classes=2)
    images = [torch.zeros(3, 64, 96), torch.zeros(3, 40, 50)]
    levels = [plain(level) for level in detector.anchors(64, 96)]
    anchors, seen = sum(levels, []), set()
    coder = reference.coder(config.regress_from, config.anchor_scales[0])

    @settings(max_examples=settings.default.max_examples // 4)
    @given(st.integers(0, 2**32 - 1), gt_boxes(64, 96), gt_boxes(64, 96))
    @example(0, [], [(9000.0, 9000.0, 9010.0, 9020.0)])
    def compare(seed, one, other):
        torch.manual_seed(seed)
        centered = torch.randn(2, len(anchors)) if config.centerness else None
        codes = 2 * torch.randn(2, len(anchors), 4)
        said = Predictions(2 * torch.randn(2, len(anchors), 2), codes, centered)
        monkeypatch.setattr(type(detector), "forward", lambda self, images: said)
        targets = [target(*its, num_classes=2) for its in (one, other)]
        described = []
        for i, its in enumerate((one, other)):
            image = {name: it[i].tolist() for name, it in vars(said).items() if it is not None}
            matched = reference.assign(config, levels, its)
            image |= {"anchors": anchors, "matched": matched, "gt_boxes": its}
            described.append(image | {"gt_labels": targets[i]["labels"].tolist()})
            seen.update(matched)
        expected = reference.loss_values(described, coder, config.giou_loss, config.centerness)
        found = {name: value.item() for name, value in detector.loss(images, targets).items()}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)

    compare()
    assert len(seen) > 10 and (reference.IGNORED in seen) == (config.assigner == "iou")


@every_kind
def test_every_parameter_learns_from_every_kind_of_batch(config):
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


BY_PREDICTION = {name: replace(ATSS, assigner=name) for name in ("tal", "simota", "paa", "poto")}


@pytest.mark.parametrize("micro_batch_size", [1, 3])
@pytest.mark.parametrize(
    "config", [*KINDS.values(), *BY_PREDICTION.values()], ids=[*KINDS, *BY_PREDICTION]
)
def test_gradients_of_micro_batches_are_those_of_the_batch(config, micro_batch_size, monkeypatch):
    # ReLU made smooth: at its kink the last bit of a sum would decide about a whole gradient.
    softplus = torch.nn.functional.softplus
    monkeypatch.setattr(torch.nn.functional, "relu", lambda x, inplace=False: softplus(x))
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


# Detections


@every_kind
def test_detections_of_a_list_of_images_are_the_plain_ones(config):
    detector = build(config)
    torch.nn.init.normal_(detector.head.cls_logits.weight, std=0.2)
    images = [torch.randn(3, 64, 90), torch.randn(3, 50, 96)]
    found = detector.detect(images)
    with torch.no_grad():
        predictions = detector(as_batch(images)[0])
    _, decode = reference.coder(config.regress_from, config.anchor_scales[0])
    for i, (one, image) in enumerate(zip(found, images, strict=True)):
        levels = plain_levels(detector.anchors(64, 96), predictions, i)
        assert assert_detections(one, levels, decode, tuple(image.shape[1:])) > 10


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
