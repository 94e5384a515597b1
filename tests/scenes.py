"""Made-up ground truth, scenes of every awkward kind, and small detectors to try them on.

Coordinates are quarters of a pixel, so that fp32 and Python compute the same overlaps and ties stay
ties. A scene is ((height, width), anchor scales, aspect ratios, boxes).
"""

from itertools import islice

import reference
import torch
from hypothesis import strategies as st

from detector.anchors import STRIDES, cell_anchors, grid_anchors
from detector.backbone import build_backbone
from detector.detector import build_detector

WHOLE_SCALES = (4.0, 5.0, 6.0, 8.0)  # with these ratios, anchors have whole sides
WHOLE_RATIOS = (0.25, 1.0, 4.0)


def quarters(low, high):
    return st.integers(4 * low, 4 * high).map(lambda n: n / 4)


@st.composite
def gt_boxes(draw, height, width):
    """Up to 20: anything, tiny, tying, aligned with anchors, out of reach, repeated."""
    found = []
    # Sampled, because which integers are drawn depends on the numbers in whatever is imported.
    for _ in range(draw(st.sampled_from(range(21)))):
        kind = draw(st.integers(0, 9))
        x, y = draw(quarters(-32, width + 32)), draw(quarters(-32, height + 32))
        most = 1 if kind == 5 else 160
        w, h = draw(quarters(0, most)) or 0.25, draw(quarters(0, most)) or 0.25
        if kind == 6:  # as far from several locations
            x, y = x // 8 * 8 - w / 2, y // 8 * 8 - h / 2
        elif kind == 7:  # where no anchor reaches
            x, y = x + width + 1200, y + height + 1200
        elif kind == 8 and found:  # the same once more
            x, y, w, h = draw(st.sampled_from(found))
        elif kind == 9:  # a part of an anchor: overlaps of exactly 1, 1/2, 2/5 or 1/4
            side = 8 * draw(st.sampled_from(WHOLE_SCALES))
            x, y = x // 8 * 8 + 4 - side / 2, y // 8 * 8 + 4 - side / 2
            w, h = side, side * draw(st.sampled_from((1, 0.5, 0.4, 0.25)))
        found.append((x, y, w, h))
    return [(x, y, x + w, y + h) for x, y, w, h in found]


@st.composite
def scenes(draw):
    """Images of up to 128 pixels, 1 to 9 anchors per location, 0 to 20 objects."""
    size = draw(st.integers(1, 4)) * 32, draw(st.integers(1, 4)) * 32
    count = draw(st.sampled_from(range(1, 10)))
    num_ratios = draw(st.sampled_from([n for n in (1, 2, 3) if count % n == 0]))
    ratios, scales = (
        tuple(draw(st.lists(st.sampled_from(choices), min_size=length, max_size=length)))
        for choices, length in ((WHOLE_RATIOS, num_ratios), (WHOLE_SCALES, count // num_ratios))
    )
    return size, scales, ratios, draw(gt_boxes(*size))


def random_boxes(draw, count, start=(-40, 400), side=(1, 400)):
    """In quarters of a pixel."""
    corners = [(draw.randint(*start) / 4, draw.randint(*start) / 4) for _ in range(count)]
    return [(x, y, x + draw.randint(*side) / 4, y + draw.randint(*side) / 4) for x, y in corners]


def uneven_boxes(draw, count, size):
    """Nowhere in the middle between anchors, so that nothing ties; as fp32 has them."""
    corners = [[draw.uniform(-10, 0.75 * side) for side in size[::-1]] for _ in range(count)]
    sides = [[draw.uniform(0.05, 0.6) * size[1] for _ in "wh"] for _ in range(count)]
    boxes = [[x, y, x + w, y + h] for (x, y), (w, h) in zip(corners, sides, strict=True)]
    return plain(boxes_tensor(boxes))


def boxes_tensor(boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def plain(boxes):
    """[N, 4] -> tuples: with fp32's values, which others may round to."""
    return [tuple(box) for box in boxes.tolist()]


def anchors_of(size, scales=(8.0,), ratios=(1.0,)):
    """The product's, of an input of (height, width): [A_l, 4] per level."""
    cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
    return grid_anchors(reference.level_sizes(*size), cells)


def small_detector(config, num_classes=3):
    """With a small backbone, the same for equal configs."""
    torch.manual_seed(0)
    return build_detector(config, num_classes, backbone=build_backbone("small", "group_norm"))


def speaking(detector, std=0.05):
    """Its head says something instead of almost nothing, and background counts."""
    for layer in (detector.head.cls_logits, detector.head.bbox_pred, detector.head.centerness):
        if layer is not None:
            torch.nn.init.normal_(layer.weight, std=std)
    torch.nn.init.constant_(detector.head.cls_logits.bias, -1.0)
    return detector


def plain_levels(anchors, predictions, image=0):
    """Per level: (anchor, cls logits, codes, centerness logit or None) of every anchor."""
    logits, codes = predictions.cls_logits[image].tolist(), predictions.codes[image].tolist()
    centered = [None] * len(codes)
    if predictions.centerness is not None:
        centered = predictions.centerness[image].tolist()
    every = zip(torch.cat(anchors).tolist(), logits, codes, centered, strict=True)
    return [list(islice(every, len(level))) for level in anchors]


def assert_detections(found, levels, decode, size, *limits):
    """They are the plain ones of an image of this size; returns how many there are."""
    expected = reference.detect(levels, decode, size, *limits)
    scores, labels, boxes = zip(*expected, strict=True) if expected else ([], [], [])
    assert found["labels"].tolist() == list(labels)
    torch.testing.assert_close(found["scores"], torch.tensor(scores), rtol=1e-4, atol=0)
    torch.testing.assert_close(found["boxes"], boxes_tensor(boxes), rtol=1e-4, atol=1e-3)
    return len(expected)
