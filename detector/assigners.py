"""Which anchors learn which object: the sample selections the paper compares.

    assign_by_iou              RetinaNet: IoU >= 0.5 positive, < 0.4 negative     Sec. 3.3, Fig. 1a
    assign_by_space_and_scale  FCOS: inside the box, on the level of its size     Sec. 3.3, Fig. 1b
      ... with a radius        FCOS + center sampling: the lite version of ATSS   Sec. 4.2
    assign_atss                IoU >= mean + std of each level's closest anchors  Sec. 4.1, Alg. 1

Each takes one image's anchors, level by level, and its ground-truth boxes, and returns for every
anchor the index of the ground truth it learns, or NEGATIVE, or IGNORED. An object may be left
without any anchor: nothing is done about it, as in the paper's code.

Shapes: L levels, A_l anchors on level l, A in all; M >= 1 ground-truth boxes (build_assigner
answers M = 0). "..." stands for nothing, or for B images of one size whose lists are filled up with
boxes of zeros: nothing overlaps those and no center is inside, so no anchor learns them.
All arithmetic is at least fp32: ties decide, and bf16 would invent thousands.

Nothing here waits for a GPU, and memory grows with the anchors, not with their pairs (pairs.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import assert_never

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from detector.anchors import STRIDES
from detector.boxes import (
    INSIDE_MARGIN,
    area,
    by_columns,
    centers,
    nearest_and_farthest_side,
    paired_inside,
    paired_iou,
    pairwise_offsets,
    squared_distances,
)
from detector.config import DetectorConfig
from detector.own_assigner import IGNORED, NEGATIVE, Assigner, checked
from detector.pairs import (
    MANY_PAIRS,
    first_highest,
    is_negative,
    is_not_positive,
    k_smallest,
    pieces,
    rows,
)

POSITIVE_IOU = 0.5  # the paper's theta_p; it names no value, RetinaNet's code does
NEGATIVE_IOU = 0.4  # theta_n

# FCOS: the largest distance to a side, in pixels, that P3 ... P7 regress; both ends belong to it.
SCALE_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, torch.inf))

# Center sampling keeps the locations within this many strides of the center (FCOS's code; the paper
# names no value).
CENTER_RADIUS = 1.5

# Those below that take [B, M, 4] as well as [M, 4]; any other gets an image at a time.
TAKE_SEVERAL = {"iou", "ssc", "center_sampling", "atss"}

# Pairs of an anchor and an object up to which images are assigned in one go. Beyond that a CPU,
# which pays for boxes that only fill up, gains nothing; a GPU pays for every call (MANY_PAIRS).
TOGETHER = {"cpu": 2**16}


@dataclass(frozen=True)
class BatchAssigner:
    """An Assigner for whatever comes: no objects, half precision, autocast, several images."""

    assign: Assigner
    takes_several: bool = False

    @torch.no_grad()
    def __call__(self, anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        """[A_l, 4] per level, [..., M, 4] -> [..., A]; without objects all are NEGATIVE."""
        if gt_boxes.shape[-2] == 0:
            shape = (*gt_boxes.shape[:-2], sum(len(level) for level in anchors))
            return torch.full(shape, NEGATIVE, dtype=torch.int64, device=gt_boxes.device)
        with torch.autocast(gt_boxes.device.type, enabled=False):
            levels = [_at_least_fp32(level) for level in anchors]
            return self.assign(levels, _at_least_fp32(gt_boxes))

    def of_batch(self, anchors: list[Tensor], gt_boxes: Sequence[Tensor]) -> Tensor:
        """[A_l, 4] per level, B of [M, 4] -> [B, A]: as image after image, in fewer calls."""
        if not self.takes_several:
            return torch.stack([self(anchors, boxes) for boxes in gt_boxes])
        num_anchors = sum(len(level) for level in anchors)
        parts = [
            self(anchors, pad_sequence(some, batch_first=True))
            for some in _neighbours([_at_least_fp32(boxes) for boxes in gt_boxes], num_anchors)
        ]
        return torch.cat(parts)


def _neighbours(gt_boxes: Sequence[Tensor], num_anchors: int) -> Iterator[list[Tensor]]:
    """The images, in order, in groups that are assigned in one go."""
    limit = TOGETHER.get(gt_boxes[0].device.type, MANY_PAIRS) // num_anchors
    group: list[Tensor] = []
    for boxes in gt_boxes:
        if group and (len(group) + 1) * max(map(len, [*group, boxes])) > limit:
            yield group
            group = []
        group.append(boxes)
    yield group


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def build_assigner(config: DetectorConfig, own: Assigner | None = None) -> BatchAssigner:
    """(anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A] int64, as configured.

    own: a user's, in place of the configured one; it may assume M >= 1 and fp32, too. Under
    in_gt_box its positives outside their ground truth become IGNORED, as with IoU.

    ATSS gets k x anchors per location: anchors of a location share their center, so k per level
    would shrink to k / A locations. The paper says "k anchors", its code multiplies.
    """
    if own is not None:
        own = checked(own)
        return BatchAssigner(_limited(own) if config.in_gt_box else own)
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
    return BatchAssigner(assign, takes_several=config.assigner in TAKE_SEVERAL)


def assign_by_iou(anchors: list[Tensor], gt_boxes: Tensor, *, in_gt_box: bool) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. An anchor learns its best ground truth or none.

    Low-quality matches: every anchor that reaches the highest IoU of some ground truth is positive,
    however low that is, but for *its own* best ground truth, as in RetinaNet's code (the paper:
    "the best anchor box of each object"). A ground truth that overlaps no anchor ties with all of
    them at zero and gets none.

    in_gt_box: positives whose center is not inside their ground truth become IGNORED, not NEGATIVE
    (the paper only says "limit").
    """
    anchor_boxes = by_columns(torch.cat(anchors))
    best_iou = anchor_boxes.new_zeros(len(anchor_boxes))  # [..., A], like the others
    best = torch.zeros_like(best_iou, dtype=torch.int64)
    to_highest = torch.full_like(best_iou, -torch.inf)  # 0 where it is some object's highest
    for first, some in pieces(gt_boxes, len(anchor_boxes)):
        iou = paired_iou(anchor_boxes, some[..., None, :])  # [..., m, A]
        best_of_some, number = first_highest(iou)
        best = torch.where(best_of_some > best_iou, first + number, best)
        best_iou = torch.maximum(best_iou, best_of_some)
        highest = iou.amax(dim=-1, keepdim=True)  # [..., m, 1]
        highest = torch.where(highest > 0, highest, torch.inf)
        to_highest = torch.maximum(to_highest, iou.sub_(highest).amax(dim=-2))
    is_low_quality = to_highest == 0
    is_positive = (best_iou >= POSITIVE_IOU) | is_low_quality

    matched = torch.where(best_iou < NEGATIVE_IOU, NEGATIVE, IGNORED)
    matched = torch.where(is_positive, best, matched)
    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched


def ignore_outside(anchor_boxes: Tensor, gt_boxes: Tensor, matched: Tensor) -> Tensor:
    """[A, 4], [..., M, 4], [..., A] -> [..., A]. Positives with their center outside: IGNORED."""
    learnt = rows(gt_boxes, matched.clamp(min=0))  # [..., A, 4]
    is_inside = paired_inside(centers(anchor_boxes), learnt)
    return torch.where((matched >= 0) & ~is_inside, IGNORED, matched)


def _limited(own: Assigner) -> Assigner:
    def assign(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        return ignore_outside(torch.cat(anchors), gt_boxes, own(anchors, gt_boxes))

    return assign


def assign_by_space_and_scale(
    anchors: list[Tensor], gt_boxes: Tensor, *, radius: float | None = None
) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. FCOS's spatial and scale constraint.

    Spatial: the anchor's center is inside the ground truth; with a radius, also within radius x
    stride of its center. Scale: the farthest side is within the level's range. Of several the
    smallest wins, the first on ties. Nothing is IGNORED.
    """
    points = centers(by_columns(torch.cat(anchors)))
    sizes, like = tuple(len(level) for level in anchors), (points.device, points.dtype)
    lower, upper = (per_anchor(ends, sizes, *like) for ends in zip(*SCALE_RANGES, strict=True))
    smallest_first = area(gt_boxes).argsort(stable=True)  # [..., M]
    num_objects = gt_boxes.shape[-2]
    matched = torch.full_like(lower, num_objects)  # [..., A] place in that order; so many: none
    for first, some in pieces(rows(gt_boxes, smallest_first), len(points)):
        nearest, farthest = nearest_and_farthest_side(points, some)  # [..., m, A] each
        if radius is not None:
            reach = radius * per_anchor(STRIDES, sizes, *like)
            offset = pairwise_offsets(points, centers(some))  # [..., m, A]
            nearest = torch.minimum(nearest, reach - offset)
        in_range = torch.minimum(upper - farthest, farthest.sub_(lower))  # negative outside
        places = torch.arange(first, first + some.shape[-2], device=points.device)[:, None]
        refused = is_negative(in_range).add_(is_not_positive(nearest.sub_(INSIDE_MARGIN)))
        matched = torch.minimum(matched, refused.mul_(num_objects).add_(places).amin(dim=-2))
    learnt = smallest_first.take_along_dim(matched.long().clamp(max=num_objects - 1), dim=-1)
    return torch.where(matched < num_objects, learnt, NEGATIVE)


@lru_cache(maxsize=32)
def per_anchor(
    values: tuple[float, ...], sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """A value per level and how many anchors each has -> [A]; made once for inputs of a size."""
    levels = zip(values, sizes, strict=False)
    return torch.cat([torch.full((n,), v, device=device, dtype=dtype) for v, n in levels])


def assign_atss(anchors: list[Tensor], gt_boxes: Tensor, *, k: int = 9) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. Algorithm 1; line numbers are the paper's.

    k: candidates per level; build_assigner passes config.k * config.anchors_per_location. K are
    those of an object on all levels.
    """
    anchor_boxes = torch.cat(anchors)
    candidates = closest_anchors(anchors, gt_boxes, k)  # [..., M, K], lines 3-6
    boxes, objects = anchor_boxes[candidates], gt_boxes[..., None, :]  # [..., M, K or 1, 4]
    iou = paired_iou(boxes, objects)  # [..., M, K], line 7
    threshold = mean_plus_std(iou)  # [..., M], lines 8-10
    is_inside = paired_inside(centers(boxes), objects)
    is_positive = (iou >= threshold[..., None]) & is_inside  # lines 11-15
    return highest_iou_match(candidates, iou, is_positive, len(anchor_boxes))


def closest_anchors(anchors: list[Tensor], gt_boxes: Tensor, k: int) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., M, K] indices into all anchors, rising.

    Of every level the min(k, A_l) closest, center to center; of anchors equally far the first.
    """
    points = centers(by_columns(torch.cat(anchors)))
    sizes = [len(level) for level in anchors]
    firsts = list(accumulate(sizes, initial=0))
    found = []
    for _, some in pieces(gt_boxes, len(points)):
        levels = squared_distances(centers(some), points).split(sizes, dim=-1)
        closest = [
            first + k_smallest(level, k) for first, level in zip(firsts, levels, strict=False)
        ]
        found.append(torch.cat(closest, dim=-1))
    return torch.cat(found, dim=-2).sort(dim=-1).values


def mean_plus_std(iou: Tensor) -> Tensor:
    """[..., M, K] -> [..., M]: the IoU from which on a candidate of an object is suited to it.

    The paper says "standard deviation"; its code takes the unbiased one. Of one value it is 0.
    """
    spread = iou.std(dim=-1) if iou.shape[-1] > 1 else 0.0
    return iou.mean(dim=-1) + spread


def highest_iou_match(
    candidates: Tensor, iou: Tensor, is_positive: Tensor, num_anchors: int
) -> Tensor:
    """[..., M, K] three times -> [..., A]. An anchor of several objects learns that of highest IoU.

    Sec. 4.1, in prose only; the first on exact ties.
    """
    num_objects, anchor = candidates.shape[-2], candidates.flatten(-2)  # [..., M x K]
    value = torch.where(is_positive, iou, -1.0).flatten(-2)
    shape = (*anchor.shape[:-1], num_anchors)
    highest = value.new_full(shape, -1.0).scatter_reduce(-1, anchor, value, "amax")
    is_highest = is_positive & (iou == highest.gather(-1, anchor).view_as(iou))
    number = torch.arange(num_objects, device=anchor.device)[:, None]
    number = torch.where(is_highest, number, num_objects).flatten(-2)
    matched = anchor.new_full(shape, num_objects).scatter_reduce(-1, anchor, number, "amin")
    return torch.where(matched < num_objects, matched, NEGATIVE)
