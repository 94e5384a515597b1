"""Which anchors learn which object: the sample selections the paper compares.

    assign_by_iou              RetinaNet: IoU >= 0.5 positive, < 0.4 negative     Sec. 3.3, Fig. 1a
    assign_by_space_and_scale  FCOS: inside the box, on the level of its size     Sec. 3.3, Fig. 1b
      ... with a radius        FCOS + center sampling: the lite version of ATSS   Sec. 4.2
    assign_atss                IoU >= mean + std of each level's closest anchors  Sec. 4.1, Alg. 1

Each takes one image's anchors, level by level, and its ground-truth boxes, and returns for every
anchor the index of the ground truth it learns, or NEGATIVE, or IGNORED. An object may be left
without any anchor: nothing is done about it, as in the paper's code.

Shapes: L levels, A_l anchors on level l, A in all; M >= 1 ground-truth boxes (build_assigner
answers M = 0). All arithmetic is at least fp32: ties decide, and bf16 would invent thousands.
"""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import torch
from torch import Tensor

from detector.anchors import STRIDES
from detector.boxes import (
    INSIDE_MARGIN,
    area,
    box_iou,
    centers,
    inside,
    pairwise_side_distances,
    squared_distances,
)
from detector.config import DetectorConfig

NEGATIVE = -1
IGNORED = -2

POSITIVE_IOU = 0.5  # the paper's theta_p; it names no value, RetinaNet's code does
NEGATIVE_IOU = 0.4  # theta_n

# FCOS: the largest distance to a side, in pixels, that P3 ... P7 regress; both ends belong to it.
SCALE_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, torch.inf))

# Center sampling keeps the locations within this many strides of the center (FCOS's code; the paper
# names no value).
CENTER_RADIUS = 1.5

Assigner = Callable[[list[Tensor], Tensor], Tensor]


def build_assigner(config: DetectorConfig, own: Assigner | None = None) -> Assigner:
    """(anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A] int64, as configured.

    own: a user's, in place of the configured one; it may assume M >= 1 and fp32, too. Under
    in_gt_box its positives outside their ground truth become IGNORED, as with IoU.

    ATSS gets k x anchors per location: anchors of a location share their center, so k per level
    would shrink to k / A locations. The paper says "k anchors", its code multiplies.
    """
    if own is not None:
        return partial(_assign, assign=_limited(own) if config.in_gt_box else own)
    match config.assigner:
        case "iou":
            assign: Assigner = partial(assign_by_iou, in_gt_box=config.in_gt_box)
        case "ssc":
            assign = assign_by_space_and_scale
        case "center_sampling":
            assign = partial(assign_by_space_and_scale, radius=CENTER_RADIUS)
        case "atss":
            assign = partial(assign_atss, k=config.k * config.anchors_per_location)
        case _:
            assert_never(config.assigner)
    return partial(_assign, assign=assign)


@torch.no_grad()
def _assign(anchors: list[Tensor], gt_boxes: Tensor, *, assign: Assigner) -> Tensor:
    """An image without objects is all NEGATIVE; half precision and autocast end at this door."""
    num_anchors = sum(len(level) for level in anchors)
    if len(gt_boxes) == 0:
        return torch.full((num_anchors,), NEGATIVE, dtype=torch.int64, device=gt_boxes.device)
    with torch.autocast(gt_boxes.device.type, enabled=False):
        return assign([_at_least_fp32(level) for level in anchors], _at_least_fp32(gt_boxes))


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def assign_by_iou(anchors: list[Tensor], gt_boxes: Tensor, *, in_gt_box: bool) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. An anchor learns its best ground truth, or is ignored.

    Low-quality matches: every anchor that reaches the highest IoU of some ground truth is positive,
    however low that is, but for *its own* best ground truth, as in RetinaNet's code (the paper:
    "the best anchor box of each object"). A ground truth that overlaps no anchor ties with all of
    them at zero and gets none.

    in_gt_box: positives whose center is not inside their ground truth become IGNORED, not NEGATIVE
    (the paper only says "limit").
    """
    anchor_boxes = torch.cat(anchors)
    iou = box_iou(anchor_boxes, gt_boxes)  # [A, M]
    best_iou, best = iou.max(dim=1)  # [A]; the first ground truth on ties
    highest = iou.amax(dim=0)  # [M]
    is_low_quality = ((iou == highest) & (highest > 0)).any(dim=1)
    is_positive = (best_iou >= POSITIVE_IOU) | is_low_quality

    matched = torch.full_like(best, IGNORED)
    matched[best_iou < NEGATIVE_IOU] = NEGATIVE
    matched = torch.where(is_positive, best, matched)
    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched


def ignore_outside(anchor_boxes: Tensor, gt_boxes: Tensor, matched: Tensor) -> Tensor:
    """[A, 4], [M, 4], [A] -> [A]. Positives with their center outside their object are IGNORED."""
    is_inside = inside(centers(anchor_boxes), gt_boxes)  # [A, M]
    is_inside = is_inside.gather(1, matched.clamp(min=0)[:, None])[:, 0]
    return torch.where((matched >= 0) & ~is_inside, IGNORED, matched)


def _limited(own: Assigner) -> Assigner:
    def assign(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        return ignore_outside(torch.cat(anchors), gt_boxes, own(anchors, gt_boxes))

    return assign


def assign_by_space_and_scale(
    anchors: list[Tensor], gt_boxes: Tensor, *, radius: float | None = None
) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. FCOS's spatial and scale constraint; only centers count.

    Spatial: the center is inside the ground truth; with a radius, also within radius x stride of
    its center. Scale: the farthest side is within the level's range. Of several the smallest wins,
    the first on ties. Nothing is IGNORED.
    """
    points = centers(torch.cat(anchors))
    per_level = list(zip(anchors, STRIDES, SCALE_RANGES, strict=False))
    lower, upper, strides = (
        torch.cat([points.new_full((len(level), 1), value) for level, value in values])
        for values in (
            [(level, scale[0]) for level, _, scale in per_level],
            [(level, scale[1]) for level, _, scale in per_level],
            [(level, float(stride)) for level, stride, _ in per_level],
        )
    )  # each [A, 1]
    distances = pairwise_side_distances(points, gt_boxes)  # [4, A, M]
    farthest = distances.amax(dim=0)
    is_allowed = (farthest >= lower) & (farthest <= upper)
    is_allowed &= distances.amin(dim=0) > INSIDE_MARGIN
    if radius is not None:
        offset = (points[:, None] - centers(gt_boxes)[None]).abs().amax(dim=-1)  # [A, M]
        is_allowed &= radius * strides - offset > INSIDE_MARGIN
    candidate_area = torch.where(is_allowed, area(gt_boxes), torch.inf)  # [A, M]
    smallest, matched = candidate_area.min(dim=1)
    return torch.where(smallest < torch.inf, matched, NEGATIVE)


def assign_atss(anchors: list[Tensor], gt_boxes: Tensor, *, k: int = 9) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. Algorithm 1; line numbers are the paper's.

    k: candidates per level; build_assigner passes config.k * config.anchors_per_location.
    """
    anchor_boxes = torch.cat(anchors)
    iou = box_iou(anchor_boxes, gt_boxes)  # [A, M]
    is_candidate = closest_anchors(anchors, gt_boxes, k)  # [A, M], lines 3-6
    threshold = mean_plus_std(iou, is_candidate)  # [M], lines 7-10
    is_inside = inside(centers(anchor_boxes), gt_boxes)
    is_positive = is_candidate & (iou >= threshold) & is_inside  # lines 11-15
    return highest_iou_match(iou, is_positive)


def closest_anchors(anchors: list[Tensor], gt_boxes: Tensor, k: int) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A, M] bool: of every level the k closest, center to center."""
    distance = squared_distances(centers(torch.cat(anchors)), centers(gt_boxes))  # [A, M]
    levels = distance.split([len(level) for level in anchors])
    return torch.cat([k_smallest(level, k) for level in levels])


def mean_plus_std(iou: Tensor, is_candidate: Tensor) -> Tensor:
    """[A, M] twice -> [M]: the IoU from which on a candidate of an object is suited to it.

    The paper says "standard deviation"; its code takes the unbiased one. Of one value it is 0.
    """
    candidate_iou = iou.T[is_candidate.T].view(iou.shape[1], -1)  # all have as many; line 7
    spread = candidate_iou.std(dim=1) if candidate_iou.shape[1] > 1 else 0.0
    return candidate_iou.mean(dim=1) + spread


def k_smallest(distance: Tensor, k: int) -> Tensor:
    """[A_l, M] -> [A_l, M] bool: min(k, A_l) true per column; of equals, the lowest indices."""
    k = min(k, len(distance))
    farthest = distance.topk(k, dim=0, largest=False).values[-1]  # [M]
    is_closer = distance < farthest
    is_tied = distance == farthest
    room = k - is_closer.sum(dim=0)
    return is_closer | (is_tied & (is_tied.cumsum(dim=0) <= room))


def highest_iou_match(iou: Tensor, is_positive: Tensor) -> Tensor:
    """[A, M] twice -> [A]. An anchor positive for several objects learns the one of highest IoU.

    Sec. 4.1, in prose only; the first on exact ties.
    """
    best_iou, matched = torch.where(is_positive, iou, -1.0).max(dim=1)
    return torch.where(best_iou >= 0, matched, NEGATIVE)
