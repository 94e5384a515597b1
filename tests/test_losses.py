"""The losses, per sample, against plain arithmetic and against torchvision's."""

import pytest
import reference
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision import ops

from detector import losses
from detector.box_coders import BoxCoder, PointCoder

logits = st.floats(-20, 20, width=32)
codes = st.tuples(*[st.floats(-12, 12, width=32)] * 4)
CODERS = {"box": BoxCoder(), "point": PointCoder()}
ANCHOR = (12.0, 20.0, 76.0, 84.0)  # of P3: 8 strides, center (44, 52)
GT = (30.0, 30.0, 60.0, 70.0)
reach = st.floats(0.125, 120, width=32)
# Around the anchor's center
objects = st.builds(lambda w, n, e, s: (44 - w, 52 - n, 44 + e, 52 + s), reach, reach, reach, reach)


def row(values):
    return torch.tensor([values], dtype=torch.float32)


@given(st.tuples(logits, logits, logits), st.sampled_from((-1, 0, 1, 2)), objects, codes)
def test_every_loss_is_that_of_plain_arithmetic(some, label, gt, predicted):
    anchors, boxes, target = row(ANCHOR), row(gt), reference.centerness((44.0, 52.0), gt)
    found = {
        "focal": losses.focal(row(some), torch.tensor([label])),  # -1 is no class
        "smooth L1": losses.smooth_l1(row(predicted), anchors, boxes, BoxCoder()),
        "centerness": losses.centerness_of(anchors, boxes),
        "its loss": losses.centerness(row(some)[:, 0], torch.tensor([target])),
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            "focal": reference.focal(some, label),
            "smooth L1": reference.smooth_l1(predicted, reference.encode_from_box(ANCHOR, gt)) / 4,
            "centerness": target,
            "its loss": reference.cross_entropy(some[0], target),
        },
        rel=1e-4,
        abs=1e-5,
    )


@pytest.mark.parametrize("start", CODERS)
def test_giou_loss_is_that_of_plain_arithmetic_and_of_torchvision(start):
    @given(codes, objects)
    def compare(predicted, gt):
        box = reference.coder(start)[1](ANCHOR, predicted)
        found = losses.giou(row(predicted), row(ANCHOR), row(gt), CODERS[start])
        assert found.item() == pytest.approx(reference.giou_loss(box, gt), abs=2e-5)
        assert -1e-6 <= found.item() <= 2 + 1e-6
        assume(min(box[2] - box[0], box[3] - box[1]) > 1e-2)
        theirs = ops.generalized_box_iou_loss(row(box), row(gt))
        torch.testing.assert_close(found, theirs, rtol=1e-3, atol=1e-4)

    compare()


def test_a_box_turned_inside_out_counts_as_empty():
    for box in [(50.0, 60.0, 40.0, 65.0), (50.0, 60.0, 40.0, 35.0), (90.0, 20.0, 95.0, 10.0)]:
        found = losses.giou_of(row(box), row(GT)).item()
        assert found == pytest.approx(reference.giou_loss(box, GT), rel=1e-5)


def test_giou_loss_of_a_box_without_extent_has_a_finite_gradient():
    for start, predicted in (("box", (0, 0, -1e4, -1e4)), ("box", (1e4,) * 4), ("point", (0,) * 4)):
        code = row(predicted).requires_grad_()
        losses.giou(code, row(ANCHOR), row(GT), CODERS[start]).sum().backward()
        assert code.grad.isfinite().all(), predicted


@pytest.mark.parametrize("x", [-1e4, -200.0, -100.0, 100.0, 200.0, 1e4])
@pytest.mark.parametrize("label", [-1, 0])
def test_focal_loss_and_its_gradient_stay_finite_however_sure_the_head_is(x, label):
    logit = torch.tensor([[x]], requires_grad=True)
    loss = losses.focal(logit, torch.tensor([label]))
    loss.sum().backward()
    assert logit.grad.isfinite().all()
    is_wrong = (x > 0) == (label < 0)
    assert loss.item() == pytest.approx(abs(x) * (0.75 if label < 0 else 0.25) * is_wrong, abs=1e-6)
