"""Which anchors learn which object: the sample selections the paper compares, and later ones.

    assign_by_iou              RetinaNet: IoU >= 0.5 positive, < 0.4 negative     Sec. 3.3, Fig. 1a
    assign_by_space_and_scale  FCOS: inside the box, on the level of its size     Sec. 3.3, Fig. 1b
      ... with a radius        FCOS + center sampling: the lite version of ATSS   Sec. 4.2
    assign_atss                IoU >= mean + std of each level's closest anchors  Sec. 4.1, Alg. 1
    assign_top_k               the k of highest IoU, in the paper's code only

Each takes the anchors, level by level, and the ground-truth boxes, and returns for every anchor the
index of the ground truth it learns, or NEGATIVE, or IGNORED. An object may be left without any
anchor: nothing is done about it, as in the paper's code. Those of detector.prediction_assigners
take what the network predicts, too; BatchAssigner.needs_predictions says which they are.

Shapes: L levels, A_l anchors on level l, A in all; M >= 1 ground-truth boxes (BatchAssigner answers
M = 0). "..." stands for nothing, or for B images of one size whose lists are filled up with boxes
of zeros: nothing overlaps those and no center is inside, so no anchor learns them.
All arithmetic is at least fp32: ties decide, and bf16 would invent thousands. Of equals the first
wins, which is what torch's max and min promise. Nothing of the paper's waits for a GPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from detector.anchors import STRIDES
from detector.boxes import (
    INSIDE_MARGIN,
    area,
    centers,
    paired_inside,
    paired_iou,
    squared_distances,
)
from detector.config import DetectorConfig, K
from detector.iou_assigner import (
    IGNORED,
    NEGATIVE,
    assign_by_iou,
    highest_iou_match,
    ignore_outside,
)
from detector.prediction_assigners import (
    WARM_UP,
    Predicted,
    assign_paa,
    assign_poto,
    assign_simota,
    assign_task_aligned,
)

# FCOS: the largest distance to a side, in pixels, that P3 ... P7 regress; both ends belong to it.
SCALE_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, torch.inf))

# Center sampling keeps the locations within this many strides of the center (FCOS's code; the paper
# names no value).
CENTER_RADIUS = 1.5

# Pairs of an anchor and an object that are looked at in one go, which bounds memory: 64 MiB for a
# number of each. A batch with more of them is assigned in parts, of one image at least.
PAIRS_AT_ONCE = 2**24

# (anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A] int64
Assigner = Callable[[list[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class BatchAssigner:
    """An Assigner for whatever comes: no objects, half precision, autocast, several images."""

    assign: Callable[..., Tensor]  # an Assigner, or one that takes Predicted as well
    takes_several: bool = True  # [B, M, 4] as well as [M, 4]
    needs_predictions: bool = False
    warm_up: Assigner | None = None  # takes its place in the first third of a training

    def at(self, trained_share: float) -> "BatchAssigner":
        """The one that selects when so much of a training is over."""
        if self.warm_up is None or trained_share >= WARM_UP:
            return self
        return BatchAssigner(self.warm_up)

    def __call__(
        self, anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted | None = None
    ) -> Tensor:
        """Of one image: [A_l, 4] per level, [M, 4] -> [A]."""
        if predicted is not None:
            predicted = Predicted(*(values[None] for values in predicted))
        return self.of_batch(anchors, [gt_boxes], predicted)[0]

    @torch.no_grad()
    def of_batch(
        self,
        anchors: list[Tensor],
        gt_boxes: Sequence[Tensor],
        predicted: Predicted | None = None,
    ) -> Tensor:
        """[A_l, 4] per level, B of [M, 4] -> [B, A]; without objects all NEGATIVE.

        predicted: of all images, labels filled up to the longest list [B, M]. ValueError where it
        is needed and missing.
        """
        if self.needs_predictions and predicted is None:
            raise ValueError(
                "this sample selection needs what the network predicts, which only training has: "
                "choose rows that look at anchors alone"
            )
        levels = [_at_least_fp32(level) for level in anchors]
        images = [_at_least_fp32(boxes) for boxes in gt_boxes]
        num_pairs = sum(map(len, levels)) * max(map(len, images))  # of an image, filled up
        step = max(1, PAIRS_AT_ONCE // max(1, num_pairs)) if self.takes_several else 1
        parts = [slice(first, first + step) for first in range(0, len(images), step)]
        with torch.autocast(levels[0].device.type, enabled=False):
            return torch.cat([self._of_part(levels, images, part, predicted) for part in parts])

    def _of_part(
        self, levels: list[Tensor], images: list[Tensor], part: slice, predicted: Predicted | None
    ) -> Tensor:
        gt_boxes = pad_sequence(images[part], batch_first=True)  # [B, M, 4]
        shape = len(gt_boxes), sum(map(len, levels))
        if gt_boxes.shape[1] == 0 or shape[1] == 0:
            return torch.full(shape, NEGATIVE, device=gt_boxes.device)
        if self.needs_predictions:
            assert predicted is not None
            probabilities, boxes, labels = (_at_least_fp32(values[part]) for values in predicted)
            its = Predicted(probabilities, boxes, labels[:, : gt_boxes.shape[1]])
            return self.assign(levels, gt_boxes, its)
        return self.assign(levels, gt_boxes if self.takes_several else gt_boxes[0]).view(shape)


def _at_least_fp32(values: Tensor) -> Tensor:
    if not values.is_floating_point():
        return values
    return values.to(torch.promote_types(values.dtype, torch.float32))


def build_assigner(config: DetectorConfig, own: Assigner | None = None) -> BatchAssigner:
    """(anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A] int64, as configured.

    own: a user's, in place of the configured one; it may assume M >= 1 and fp32, too. Under
    in_gt_box its positives outside their ground truth become IGNORED, as with IoU.

    ATSS gets k x anchors per location: anchors of a location share their center, so k per level
    would shrink to k / A locations. The paper says "k anchors", its code multiplies.
    Predictions may choose anchors outside an object's box, for which centerness is undefined:
    those become IGNORED likewise.
    """
    if own is not None:
        own = checked(own)
        own = partial(_limited, own) if config.in_gt_box else own
        return BatchAssigner(own, takes_several=False)
    atss = partial(assign_atss, k=config.k * config.anchors_per_location)
    match config.assigner:
        case "iou":
            return BatchAssigner(partial(assign_by_iou, in_gt_box=config.in_gt_box))
        case "ssc":
            return BatchAssigner(assign_by_space_and_scale)
        case "center_sampling":
            return BatchAssigner(partial(assign_by_space_and_scale, radius=CENTER_RADIUS))
        case "atss":
            return BatchAssigner(atss)
        case "top_k":
            return BatchAssigner(assign_top_k)
        case "tal":
            return BatchAssigner(assign_task_aligned, needs_predictions=True, warm_up=atss)
        case "simota":
            return BatchAssigner(partial(_limited, assign_simota), needs_predictions=True)
        case "paa":
            return BatchAssigner(partial(_limited, assign_paa), needs_predictions=True)
        case "poto":
            return BatchAssigner(partial(_limited, assign_poto), needs_predictions=True)
        case _:
            assert_never(config.assigner)


def assign_by_space_and_scale(
    anchors: list[Tensor], gt_boxes: Tensor, *, radius: float | None = None
) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. FCOS's spatial and scale constraint.

    Spatial: the anchor's center is inside the ground truth; with a radius, also within radius x
    stride of its center. Scale: the farthest side is within the level's range. Of several the
    smallest wins, the first on ties. Nothing is IGNORED.
    """
    sizes = [len(level) for level in anchors]
    x, y = centers(torch.cat(anchors)).unbind(dim=-1)  # [A]
    x1, y1, x2, y2 = gt_boxes[..., None].unbind(dim=-2)  # [..., M, 1]
    sides = torch.stack([x - x1, y - y1, x2 - x, y2 - y])  # [4, ..., M, A]
    nearest, farthest = sides.amin(dim=0), sides.amax(dim=0)
    if radius is not None:
        middle_x, middle_y = centers(gt_boxes)[..., None].unbind(dim=-2)
        offset = torch.maximum((x - middle_x).abs(), (y - middle_y).abs())  # [..., M, A]
        with_strides = zip(offset.split(sizes, dim=-1), STRIDES, strict=False)
        within = [radius * stride - level for level, stride in with_strides]
        nearest = torch.minimum(nearest, torch.cat(within, dim=-1))
    with_ranges = zip(farthest.split(sizes, dim=-1), SCALE_RANGES, strict=False)
    is_of_size = [(lower <= level) & (level <= upper) for level, (lower, upper) in with_ranges]
    is_positive = (nearest > INSIDE_MARGIN) & torch.cat(is_of_size, dim=-1)
    areas = torch.where(is_positive, area(gt_boxes)[..., None], torch.inf)
    smallest, matched = areas.min(dim=-2)  # [..., A]
    return torch.where(smallest < torch.inf, matched, NEGATIVE)


def assign_atss(anchors: list[Tensor], gt_boxes: Tensor, *, k: int = 9) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. Algorithm 1; line numbers are the paper's.

    k: candidates per level; build_assigner passes config.k * config.anchors_per_location.
    """
    candidates, iou, threshold, is_inside = atss_candidates(anchors, gt_boxes, k)
    is_positive = (iou >= threshold[..., None]) & is_inside  # lines 11-15
    return highest_iou_match(candidates, iou, is_positive, sum(map(len, anchors)))


def atss_candidates(
    anchors: list[Tensor], gt_boxes: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """[A_l, 4] per level, [..., M, 4] -> indices, IoUs, thresholds, whether the center is inside.

    [..., M, K] each, but thresholds [..., M]; K candidates of an object on all levels.
    """
    candidates = closest_anchors(anchors, gt_boxes, k)  # lines 3-6
    boxes, objects = torch.cat(anchors)[candidates], gt_boxes[..., None, :]
    iou = paired_iou(boxes, objects)  # line 7
    return candidates, iou, mean_plus_std(iou), paired_inside(centers(boxes), objects)


def closest_anchors(anchors: list[Tensor], gt_boxes: Tensor, k: int) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., M, K] indices into all anchors, rising.

    Of every level the min(k, A_l) closest, center to center; of anchors equally far the first.
    """
    distance = squared_distances(centers(gt_boxes), centers(torch.cat(anchors)))  # [..., M, A]
    found, first = [], 0
    for level in distance.split([len(level) for level in anchors], dim=-1):
        found.append(first + k_smallest(level, k))
        first += level.shape[-1]
    return torch.cat(found, dim=-1).sort(dim=-1).values


def k_smallest(distance: Tensor, k: int) -> Tensor:
    """[..., N] -> [..., min(k, N)] indices, in no order; of equals, the lowest.

    By keys of a distance and its index, no two of which are equal. The order of fp32 numbers that
    are not negative is that of their bits.
    """
    index = torch.arange(distance.shape[-1], device=distance.device)
    keys = (distance.float().view(torch.int32).long() << 32) | index
    return keys.topk(min(k, len(index)), dim=-1, largest=False, sorted=False).indices


def mean_plus_std(iou: Tensor) -> Tensor:
    """[..., M, K] -> [..., M]: the IoU from which on a candidate of an object is suited to it.

    The paper says "standard deviation"; its code takes the unbiased one. Of one value it is 0.
    """
    spread = iou.std(dim=-1) if iou.shape[-1] > 1 else 0.0
    return iou.mean(dim=-1) + spread


def assign_top_k(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. The 9 of highest IoU, if their center is inside.

    In the paper's code ("TOPK"), in none of its tables. Of equal IoUs the closer wins: distances
    count as a thousandth of the longest of the image.
    """
    anchor_boxes, objects = torch.cat(anchors), gt_boxes[..., None, :]
    iou = paired_iou(anchor_boxes, objects)  # [..., M, A]
    distance = squared_distances(centers(gt_boxes), centers(anchor_boxes)).sqrt()
    is_object = area(gt_boxes)[..., None] > 0
    longest = torch.where(is_object, distance, 0.0).amax(dim=(-2, -1), keepdim=True)
    score = iou - distance / longest / 1000
    best = k_smallest(score.amax(dim=-1, keepdim=True) - score, K)
    is_inside = paired_inside(centers(anchor_boxes)[best], objects)
    return highest_iou_match(best, iou.gather(-1, best), is_inside, len(anchor_boxes))


def checked(own: Assigner, name: str = "") -> Assigner:
    """A user's assigner; ValueError, with its name, where it fails or returns no assignment.

    Checked on every image: an index beyond its objects would be one of the next image's, and learnt
    unnoticed. On a GPU that waits for its answer, once an image. It may write to what it is
    given, which are copies.
    """
    name = name or getattr(getattr(own, "func", own), "__name__", "of your own")

    def assign(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        """[A_l, 4] per level, [M, 4] -> [A]."""
        try:
            matched = own([level.clone() for level in anchors], gt_boxes.clone())
        except torch.OutOfMemoryError:
            raise  # says where, and is no fault of the function alone
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            its = error.__traceback__ and error.__traceback__.tb_next  # none: it cannot be called
            where = f" in line {its.tb_lineno}" if its else ""
            raise ValueError(f"the assigner {name} fails{where}: {reason}") from error
        num_anchors = sum(map(len, anchors))
        if problem := _problem(matched, num_anchors, len(gt_boxes)):
            raise ValueError(
                f"the assigner {name} needs to return, for every anchor, the index of a ground "
                f"truth, NEGATIVE or IGNORED: int64 [{num_anchors}], got {problem}"
            )
        return matched

    return assign


def _problem(matched: object, num_anchors: int, num_objects: int) -> str:
    """What is wrong with an assignment; empty if nothing is."""
    if not isinstance(matched, Tensor):
        return f"a {type(matched).__name__}"
    if matched.dtype != torch.int64 or matched.shape != (num_anchors,):
        return f"{str(matched.dtype).removeprefix('torch.')} {list(matched.shape)}"
    low, high = torch.stack(matched.aminmax()).tolist()  # waited for once
    if low < IGNORED or high >= num_objects:
        return f"values from {low} to {high} for {num_objects} objects"
    return ""


def _limited(
    assign: Callable[..., Tensor], anchors: list[Tensor], gt_boxes: Tensor, *predicted: Predicted
) -> Tensor:
    return ignore_outside(torch.cat(anchors), gt_boxes, assign(anchors, gt_boxes, *predicted))
