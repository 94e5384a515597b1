"""From predictions to detections, against the plain version and case by case."""

from dataclasses import astuple

import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import anchors_of, assert_detections, plain_levels

from detector.box_coders import BoxCoder, PointCoder
from detector.head import Predictions
from detector.postprocess import Postprocess

ANCHORS = anchors_of((96, 128))


def random_predictions(seed, start, centerness, step, spread):
    """step: logits are multiples of it, which tie; 0 for any."""
    torch.manual_seed(seed)
    num_anchors = sum(map(len, ANCHORS))
    cls_logits, codes = torch.randn(1, num_anchors, 2), torch.randn(1, num_anchors, 4)
    centered = 2 * torch.randn(1, num_anchors) if centerness else None
    cls_logits = spread * cls_logits - 2
    if step:
        cls_logits = (cls_logits / step).round() * step
        centered = centered.round() if centerness else None
    return Predictions(cls_logits, 2 * codes, centered)


SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "start": st.sampled_from(["box", "point"]),
        "centerness": st.booleans(),
        "step": st.sampled_from([0.0, 0.5, 2.0]),
        "spread": st.sampled_from([0.5, 1.5, 4.0]),
    }
)
SETTINGS = st.builds(
    Postprocess,
    score_threshold=st.sampled_from([0.05, 0.3, 0.77]),
    candidates_per_level=st.sampled_from([1, 7, 40, 1000]),
    nms_threshold=st.sampled_from([0.1, 0.5123, 0.6123]),
    max_detections=st.sampled_from([1, 20, 100]),
)


def test_detections_of_random_predictions_are_those_of_plain_arithmetic():
    counts = []

    @given(SCENES, SETTINGS)
    def compare(scene, postprocess):
        predictions, start = random_predictions(**scene), scene["start"]
        coder = BoxCoder() if start == "box" else PointCoder()
        (found,) = postprocess(predictions, ANCHORS, coder, [(90, 120)])
        levels, (_, decode) = plain_levels(ANCHORS, predictions), reference.coder(start)
        limits = astuple(postprocess)
        counts.append(assert_detections(found, levels, decode, (90, 120), *limits))

    compare()
    assert 0 in counts and max(counts) == 100


def one_by_one(boxes, logits, centerness=None, **settings):
    """Detections of predictions that are exactly these boxes, all on the first level."""
    anchors = [torch.tensor(boxes), *[torch.zeros(0, 4)] * 4]
    predictions = Predictions(
        cls_logits=torch.tensor([logits]),
        codes=torch.zeros(1, len(boxes), 4),
        centerness=None if centerness is None else torch.tensor([centerness]),
    )
    return Postprocess(**settings)(predictions, anchors, BoxCoder(), [(800, 1333)])[0]


def test_the_defaults_are_the_papers():
    assert Postprocess() == Postprocess(0.05, 1000, 0.6, 100)


def test_the_threshold_is_strict_and_looks_at_the_probability_alone():
    apart = [[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    found = one_by_one(apart, [[0.0], [1e-3], [-1e-3]], score_threshold=0.5)
    assert found["boxes"].tolist() == [apart[1]]
    found = one_by_one(apart, [[1.0], [1.0], [-5.0]], centerness=[-9.0, 9.0, 9.0])
    assert found["boxes"].tolist() == [apart[1], apart[0]]  # the first keeps its tiny score


def test_suppression_is_by_more_than_the_threshold():
    boxes = [[0.0, 0, 10, 20], [0, 0, 10, 10], [0, 0, 10, 19]]
    found = one_by_one(boxes, [[3.0], [2.0], [1.0]], nms_threshold=0.5)
    assert found["boxes"].tolist() == boxes[:2]  # an overlap of exactly a half stays, 0.95 goes


def test_suppression_does_not_depend_on_which_class_it_is():
    corners = torch.rand(150, 2) * torch.tensor([1200.0, 700.0])
    boxes = torch.cat([corners, corners + 4], dim=1)
    shift = torch.zeros(150, 4)
    shift[:, ::2] = 1 + 0.01 * torch.randn(150, 1)  # overlaps of 3 / 5 and a little more or less
    boxes = torch.cat([boxes, boxes + shift]).tolist()
    scores = torch.rand(300) * 3

    kept = []
    for label in (0, 79):
        logits = torch.full((300, 80), -9.0)
        logits[:, label] = scores
        kept.append(one_by_one(boxes, logits.tolist(), max_detections=300)["boxes"])
    assert 150 <= len(kept[0]) < 300 and torch.equal(*kept)
