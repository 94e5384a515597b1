"""Made-up ground truth: scenes of every awkward kind, and full-size images as COCO's are.

Coordinates are quarters of a pixel, so that fp32 and Python compute the same overlaps and ties stay
ties. A scene is ((height, width), anchor scales, aspect ratios, boxes). And predictions as
reference.detect takes them.
"""

import math
import random

import reference
from hypothesis import strategies as st

from benchmarks.data_statistics import COCO, QUANTILES
from detector.anchors import STRIDES, cell_anchors, grid_anchors

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


def kinds_of(scene):
    """What a scene is an example of."""
    (height, width), scales, ratios, boxes = scene
    yield f"{len(scales) * len(ratios)} anchors per location"
    yield "20 objects" if len(boxes) == 20 else "some objects" if boxes else "no object"
    for x1, y1, x2, y2 in boxes:
        if x1 < 0 < x2 or y1 < 0 < y2 or x1 < width < x2 or y1 < height < y2:
            yield "beyond the border"
        if max(x2 - x1, y2 - y1) < 1:
            yield "less than a pixel"
        if (x1 + x2) / 2 % 8 == 0:
            yield "as far from two columns"
    if len(set(boxes)) < len(boxes):
        yield "identical boxes"


ALL_KINDS = {
    *(f"{count} anchors per location" for count in range(1, 10)),
    *("no object", "some objects", "20 objects", "identical boxes"),
    *("beyond the border", "less than a pixel", "as far from two columns"),
}


def coco_like(draw: random.Random, height=800, width=1344):
    """Boxes of an image of this size: as many, as large and as long as COCO's, inside it."""
    boxes = []
    for _ in range(round(_quantile(draw, "objects per image"))):
        side = _quantile(draw, "relative size, %") / 100 * math.sqrt(height * width)
        ratio = _quantile(draw, "height / width")
        w = min(_in_quarters(side / math.sqrt(ratio)), width)
        h = min(_in_quarters(side * math.sqrt(ratio)), height)
        x = _in_quarters(draw.uniform(0, width - w))
        y = _in_quarters(draw.uniform(0, height - h))
        boxes.append((x, y, x + w, y + h))
    return boxes


def _quantile(draw, name):
    """A random value whose logarithm lies between two neighboring quantiles that COCO has."""
    place = draw.uniform(QUANTILES[0], QUANTILES[-1])
    above = next(index for index, percent in enumerate(QUANTILES) if place <= percent)
    low, high = max(above - 1, 0), above
    values = [math.log(COCO[f"{name}: quantile {QUANTILES[index]}"]) for index in (low, high)]
    share = (place - QUANTILES[low]) / ((QUANTILES[high] - QUANTILES[low]) or 1)
    return math.exp(values[0] + share * (values[1] - values[0]))


def _in_quarters(length):
    return max(round(4 * length), 1) / 4


def anchors_of(size, scales=(8.0,), ratios=(1.0,)):
    """The product's, of an input of (height, width): [A_l, 4] per level."""
    cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
    return grid_anchors(reference.level_sizes(*size), cells)


def plain_levels(anchors, predictions, image=0):
    """Per level: (anchor, cls logits, codes, centerness logit or None) of every anchor."""
    levels, start = [], 0
    for level in anchors:
        rows = slice(start, start + len(level))
        centered = [None] * len(level)
        if predictions.centerness is not None:
            centered = predictions.centerness[image, rows].tolist()
        logits, codes = predictions.cls_logits[image, rows], predictions.codes[image, rows]
        rows = zip(level.tolist(), logits.tolist(), codes.tolist(), centered, strict=True)
        levels.append(list(rows))
        start += len(level)
    return levels


def plain_coder(start, scale=8.0):
    """reference's (encode, decode) from "box" or "point", of anchors of this scale."""
    if start == "box":
        return reference.encode_from_box, reference.decode_from_box

    def stride(anchor):
        return (anchor[2] - anchor[0]) / scale

    def decode(anchor, codes):
        return reference.decode_from_point(anchor, [max(it, 0.0) for it in codes], stride(anchor))

    return lambda anchor, gt: reference.encode_from_point(anchor, gt, stride(anchor)), decode
