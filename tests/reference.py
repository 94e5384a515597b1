"""The paper in the plainest Python: what every number of the detector has to be.

Boxes are (x1, y1, x2, y2) tuples in pixels; no tensors, no helper shared with the product. The
order is an image's way: anchors, sample selection (Sec. 3.3, 4.1), codes, losses, detections.

slack: where rounding could flip a comparison, the same scene with and without a little slack tells
whether it does; there a test accepts either answer.
"""

import math
from functools import partial
from statistics import mean, stdev

STRIDES = (8, 16, 32, 64, 128)
NEGATIVE, IGNORED = -1, -2
INSIDE = 0.01  # px by which a center lies inside a box


# Anchors (Sec. 3.1: one square anchor of side 8S on every location of a level of stride S)


def level_sizes(height, width):
    """(rows, columns) of P3 to P7 for an image padded to a multiple of 32."""
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]


def cell(stride, scales, ratios):
    """The anchors of a location at (0, 0): ratio (height / width) by ratio, scale by scale."""
    boxes = []
    for ratio in ratios:
        for scale in scales:
            width = scale * stride / math.sqrt(ratio)
            height = scale * stride * math.sqrt(ratio)
            boxes.append((-width / 2, -height / 2, width / 2, height / 2))
    return boxes


def anchor_levels(sizes, scales, ratios):
    """Every level's anchors, row by row, column by column, then the anchors of a location."""
    levels = []
    for stride, (rows, columns) in zip(STRIDES, sizes, strict=False):
        level = []
        for row in range(rows):
            for column in range(columns):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for x1, y1, x2, y2 in cell(stride, scales, ratios):
                    level.append((x + x1, y + y1, x + x2, y + y2))
        levels.append(level)
    return levels


# Boxes


def center(box):
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2


def area(box):
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def intersection(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def iou(one, other):
    shared = intersection(one, other)
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def distances(point, box):
    """From the point to the box's left, top, right and bottom side; negative outside."""
    (x, y), (x1, y1, x2, y2) = point, box
    return x - x1, y - y1, x2 - x, y2 - y


def is_inside(point, box):
    return min(distances(point, box)) > INSIDE


# Sample selection: for every anchor the ground truth it learns, or NEGATIVE, or IGNORED


def assign(config, levels, gt_boxes, slack=0.0):
    """As a DetectorConfig chooses."""
    if config.assigner == "iou":
        return assign_by_iou(levels, gt_boxes, config.in_gt_box, slack)
    if config.assigner == "atss":
        return algorithm_1(levels, gt_boxes, config.k * config.anchors_per_location, slack)
    radius = {"ssc": None, "center_sampling": 1.5}[config.assigner]
    return assign_by_scale(levels, gt_boxes, radius)


def assign_by_iou(levels, gt_boxes, in_gt_box, slack=0.0, positive=0.5, negative=0.4):
    """RetinaNet: 0.5 and more is positive, below 0.4 negative; each object's best anchors too."""
    anchors = [anchor for level in levels for anchor in level]
    matched = [NEGATIVE] * len(anchors)
    if not gt_boxes:
        return matched
    overlaps = [[iou(anchor, gt) for gt in gt_boxes] for anchor in anchors]
    best_of_gt = [max(row[g] for row in overlaps) for g in range(len(gt_boxes))]
    for a, row in enumerate(overlaps):
        best = max(row)
        own = next(g for g, value in enumerate(row) if value >= best - abs(slack))  # the first
        is_some_best = any(
            value > 0 and value >= top - abs(slack)
            for value, top in zip(row, best_of_gt, strict=True)
        )
        if best >= positive - slack or is_some_best:
            matched[a] = own
            if in_gt_box and not is_inside(center(anchors[a]), gt_boxes[own]):
                matched[a] = IGNORED
        elif best >= negative - slack:
            matched[a] = IGNORED
    return matched


def assign_by_scale(levels, gt_boxes, radius=None):
    """FCOS: by the inside test, or with a radius by center sampling; then by the level's range."""
    ranges = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, math.inf))
    matched = []
    for level, stride, (smallest, largest) in zip(levels, STRIDES, ranges, strict=False):
        for anchor in level:
            point = center(anchor)
            fitting = []
            for g, gt in enumerate(gt_boxes):
                if radius is None:
                    is_near = is_inside(point, gt)
                else:
                    is_near = is_in_sub_box(point, gt, radius * stride)
                if is_near and smallest <= max(distances(point, gt)) <= largest:
                    fitting.append((area(gt), g))
            matched.append(min(fitting)[1] if fitting else NEGATIVE)
    return matched


def is_in_sub_box(point, gt, reach):
    """Inside the box cut down to a square of +- reach around its center."""
    (x, y), (x1, y1, x2, y2) = center(gt), gt
    sub_box = max(x1, x - reach), max(y1, y - reach), min(x2, x + reach), min(y2, y + reach)
    return is_inside(point, sub_box)


def algorithm_1(levels, gt_boxes, k, slack=0.0):
    """The paper's Algorithm 1; k counts anchors per level."""
    anchors = [anchor for level in levels for anchor in level]
    matches = [[] for _ in anchors]
    for g, gt in enumerate(gt_boxes):  # line 1
        candidates, start = [], 0  # 2
        for level in levels:  # 3
            indices = range(start, start + len(level))
            candidates += closest(anchors, indices, gt, k)  # 4, 5
            start += len(level)  # 6
        ious = [iou(anchors[a], gt) for a in candidates]  # 7
        threshold = mean(ious) + (stdev(ious) if len(ious) > 1 else 0.0)  # 8, 9, 10
        for a, overlap in zip(candidates, ious, strict=True):  # 11
            if overlap >= threshold - slack and is_inside(center(anchors[a]), gt):  # 12
                matches[a].append((overlap, g))  # 13
    return [highest(found, abs(slack)) for found in matches]  # 17, 18


def closest(anchors, indices, gt, k):
    """The k indices closest to the box's center, the lower index first where distances agree."""
    return sorted(indices, key=lambda a: math.dist(center(anchors[a]), center(gt)))[:k]


def highest(found, slack):
    """Sec. 4.1: an anchor of several objects goes to the highest IoU, on ties to the first."""
    if not found:
        return NEGATIVE
    best = max(overlap for overlap, _ in found)
    return min(g for overlap, g in found if overlap >= best - slack)


# Codes: what the head predicts for a box


def encode_from_box(anchor, gt):
    (ax, ay), (gx, gy) = center(anchor), center(gt)
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    return (
        10 * (gx - ax) / width,
        10 * (gy - ay) / height,
        5 * math.log((gt[2] - gt[0]) / width),
        5 * math.log((gt[3] - gt[1]) / height),
    )


def decode_from_box(anchor, codes):
    (ax, ay), most = center(anchor), math.log(1000 / 16)
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x, y = ax + codes[0] / 10 * width, ay + codes[1] / 10 * height
    half_width = width * math.exp(min(codes[2] / 5, most)) / 2
    half_height = height * math.exp(min(codes[3] / 5, most)) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def encode_from_point(anchor, gt, scale=8.0):
    stride = (anchor[2] - anchor[0]) / scale
    return tuple(distance / stride for distance in distances(center(anchor), gt))


def decode_from_point(anchor, codes, scale=8.0):
    """A distance below zero counts as zero."""
    (x, y), stride = center(anchor), (anchor[2] - anchor[0]) / scale
    left, top, right, bottom = (stride * max(code, 0.0) for code in codes)
    return x - left, y - top, x + right, y + bottom


def coder(start, scale=8.0):
    """(encode, decode) from "box" or "point", of anchors of this scale."""
    if start == "box":
        return encode_from_box, decode_from_box
    return partial(encode_from_point, scale=scale), partial(decode_from_point, scale=scale)


# Losses, per sample


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > -30 else x


def focal(logits, label):
    """One anchor's loss over the classes; label None for a negative."""
    total = 0.0
    for c, x in enumerate(logits):
        p = 1 / (1 + math.exp(-x))
        if c == label:
            total -= 0.25 * (1 - p) ** 2 * log_sigmoid(x)
        else:
            total -= 0.75 * p**2 * log_sigmoid(-x)
    return total


def smooth_l1(codes, targets, beta=0.11):
    total = 0.0
    for code, target in zip(codes, targets, strict=True):
        d = abs(code - target)
        total += 0.5 * d * d / beta if d < beta else d - 0.5 * beta
    return total


def giou_loss(box, gt):
    x1, y1, x2, y2 = box
    box = x1, y1, max(x1, x2), max(y1, y2)
    shared = intersection(box, gt)
    union = area(box) + area(gt) - shared + 1e-7
    width = max(box[2], gt[2]) - min(box[0], gt[0])
    height = max(box[3], gt[3]) - min(box[1], gt[1])
    enclosing = width * height + 1e-7
    return 1 - (shared / union - (enclosing - union) / enclosing)


def centerness(point, gt):
    left, top, right, bottom = distances(point, gt)
    across, along = min(left, right) / max(left, right), min(top, bottom) / max(top, bottom)
    return math.sqrt(across * along)


def cross_entropy(x, target):
    return -target * log_sigmoid(x) - (1 - target) * log_sigmoid(-x)


def loss_values(images, coder, with_giou, with_centerness):
    """The batch's losses. coder: (encode, decode), each of (anchor, box or codes).

    images: dicts of anchors, matched, gt_boxes, gt_labels, cls_logits, codes and, where the branch
    exists, centerness (logits), all per anchor.
    """
    cls_sum, box_sum, centerness_sum, num_positives, weight_sum = 0.0, 0.0, 0.0, 0, 0.0
    for image in images:
        for a, g in enumerate(image["matched"]):
            if g == IGNORED:
                continue
            label = None if g == NEGATIVE else image["gt_labels"][g]
            cls_sum += focal(image["cls_logits"][a], label)
            if g == NEGATIVE:
                continue
            anchor, gt, weight = image["anchors"][a], image["gt_boxes"][g], 1.0
            if with_centerness:
                weight = centerness(center(anchor), gt)
                centerness_sum += cross_entropy(image["centerness"][a], weight)
            box_sum += weight * box_loss(image["codes"][a], anchor, gt, coder, with_giou)
            num_positives, weight_sum = num_positives + 1, weight_sum + weight
    at_least_one = max(num_positives, 1)
    weights = weight_sum if with_centerness else num_positives
    per_sample = box_sum / weights if num_positives else 0.0
    losses = {"cls": cls_sum / at_least_one, "box": per_sample * (2.0 if with_giou else 0.25)}
    return losses | ({"centerness": centerness_sum / at_least_one} if with_centerness else {})


def box_loss(codes, anchor, gt, coder, with_giou):
    encode, decode = coder
    if with_giou:
        return giou_loss(decode(anchor, codes), gt)
    return smooth_l1(codes, encode(anchor, gt))


# Detections (Sec. 3.1 "Inference Detail")


def detect(levels, decode, size, threshold=0.05, per_level=1000, overlap=0.6, most=100):
    """(score, label, box) of one image, best first. levels: per level (anchor, cls logits, codes,
    centerness logit or None) of every anchor; size: (height, width) to clip to."""
    found = []
    for level in levels:
        pairs = []
        for anchor, logits, codes, centered in level:
            for label, x in enumerate(logits):
                p = 1 / (1 + math.exp(-x))
                score = p if centered is None else math.sqrt(p / (1 + math.exp(-centered)))
                if p > threshold:
                    pairs.append((score, label, clip(decode(anchor, codes), size)))
        found += sorted(pairs, key=lambda pair: -pair[0])[:per_level]
    kept = []
    for score, label, box in sorted(found, key=lambda pair: -pair[0]):
        rivals = (other for _, its_label, other in kept if its_label == label)
        if all(iou(box, rival) <= overlap for rival in rivals):
            kept.append((score, label, box))
    return kept[:most]


def clip(box, size):
    height, width = size
    return tuple(
        min(max(side, 0.0), most) for side, most in zip(box, (width, height) * 2, strict=True)
    )
