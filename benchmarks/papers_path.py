"""Sample selection step by step, in the order and the data layout of the paper's published code.

What benchmarks/assignment.py holds ours against: an image at a time, every pair of an anchor and an
object with its coordinates last, levels and objects in loops where that code has them. It gives
what ours gives, but where topk's order among equally far anchors decides. Written for this
comparison; docs/choices.md says what the paper's code does.

Shapes: A anchors, M ground truths, K candidates of an object.
"""

import torch
from torch import Tensor

from detector.assigners import IGNORED, NEGATIVE, SCALE_RANGES

MARGIN = 0.01


def pair_ious(anchors: Tensor, objects: Tensor) -> Tensor:
    """[A, 4], [M, 4] -> [A, M]."""
    top_left = torch.max(anchors[:, None, :2], objects[:, :2])
    bottom_right = torch.min(anchors[:, None, 2:], objects[:, 2:])
    sides = (bottom_right - top_left).clamp(min=0)
    overlap = sides[:, :, 0] * sides[:, :, 1]
    one, other = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (anchors, objects))
    return overlap / (one[:, None] + other - overlap)


def atss(levels: list[Tensor], objects: Tensor, k: int) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]."""
    anchors = torch.cat(levels)
    num_anchors, num_objects = len(anchors), len(objects)
    ious = pair_ious(anchors, objects)
    anchor_x, anchor_y = anchors[:, 0::2].mean(dim=1), anchors[:, 1::2].mean(dim=1)
    middles = torch.stack([objects[:, 0::2].mean(dim=1), objects[:, 1::2].mean(dim=1)], dim=1)
    points = torch.stack([anchor_x, anchor_y], dim=1)
    distances = (points[:, None, :] - middles[None, :, :]).pow(2).sum(dim=-1).sqrt()

    chosen, first = [], 0
    for level in levels:
        of_level = distances[first : first + len(level)]
        nearest = of_level.topk(min(k, len(level)), dim=0, largest=False).indices
        chosen.append(nearest + first)
        first += len(level)
    candidates = torch.cat(chosen, dim=0)  # [K, M]
    candidate_ious = ious[candidates, torch.arange(num_objects, device=objects.device)]
    threshold = candidate_ious.mean(dim=0) + candidate_ious.std(dim=0)
    is_positive = candidate_ious >= threshold[None]

    for number in range(num_objects):  # from here on an index counts through all objects' anchors
        candidates[:, number] += number * num_anchors
    every_x = anchor_x.view(1, -1).expand(num_objects, num_anchors).reshape(-1)
    every_y = anchor_y.view(1, -1).expand(num_objects, num_anchors).reshape(-1)
    flat = candidates.view(-1)
    x, y = every_x[flat].view(-1, num_objects), every_y[flat].view(-1, num_objects)
    sides = [x - objects[:, 0], y - objects[:, 1], objects[:, 2] - x, objects[:, 3] - y]
    is_positive &= torch.stack(sides, dim=1).min(dim=1).values > MARGIN

    best = torch.full_like(ious, -1.0).t().contiguous().view(-1)
    selected = flat[is_positive.view(-1)]
    best[selected] = ious.t().contiguous().view(-1)[selected]
    highest, matched = best.view(num_objects, -1).t().max(dim=1)
    matched[highest < 0] = NEGATIVE
    return matched


def iou(levels: list[Tensor], objects: Tensor, in_gt_box: bool) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. With low-quality matches."""
    anchors = torch.cat(levels)
    ious = pair_ious(objects, anchors)  # [M, A]
    highest, matched = ious.max(dim=0)
    everyones_best = matched.clone()
    matched[highest < 0.4] = NEGATIVE
    matched[(highest >= 0.4) & (highest < 0.5)] = IGNORED
    of_object = ious.max(dim=1).values
    pairs = torch.nonzero((ious == of_object[:, None]) & (of_object[:, None] > 0))
    matched[pairs[:, 1]] = everyones_best[pairs[:, 1]]
    if in_gt_box:
        positive = torch.nonzero(matched >= 0).squeeze(1)
        theirs, box = objects[matched[positive]], anchors[positive]
        x, y = box[:, 0::2].mean(dim=1), box[:, 1::2].mean(dim=1)
        sides = [x - theirs[:, 0], y - theirs[:, 1], theirs[:, 2] - x, theirs[:, 3] - y]
        is_outside = torch.stack(sides, dim=1).min(dim=1).values <= MARGIN
        matched[positive[is_outside]] = IGNORED
    return matched


def space_and_scale(levels: list[Tensor], objects: Tensor) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. FCOS's."""
    ranges = []
    for level, bounds in zip(levels, SCALE_RANGES, strict=True):
        ranges.append(level.new_tensor(bounds).expand(len(level), -1))
    ranges = torch.cat(ranges)
    anchors = torch.cat(levels)
    x, y = anchors[:, 0::2].mean(dim=1), anchors[:, 1::2].mean(dim=1)
    left, top = x[:, None] - objects[:, 0][None], y[:, None] - objects[:, 1][None]
    right, bottom = objects[:, 2][None] - x[:, None], objects[:, 3][None] - y[:, None]
    sides = torch.stack([left, top, right, bottom], dim=2)  # [A, M, 4]
    is_inside = sides.min(dim=2).values > MARGIN
    farthest = sides.max(dim=2).values
    is_cared_for = (farthest >= ranges[:, [0]]) & (farthest <= ranges[:, [1]])
    areas = (objects[:, 2] - objects[:, 0]) * (objects[:, 3] - objects[:, 1])
    areas = areas[None].repeat(len(anchors), 1)
    areas[~is_inside] = torch.inf
    areas[~is_cared_for] = torch.inf
    smallest, matched = areas.min(dim=1)
    matched[smallest == torch.inf] = NEGATIVE
    return matched
