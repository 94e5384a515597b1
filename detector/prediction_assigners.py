"""Sample selections since ATSS: what the network predicts decides what it shall learn.

    assign_task_aligned   TOOD's: the 13 of highest p x IoU^6
    assign_simota         YOLOX's: as many of lowest cost as the IoUs of the best ten add up to
    assign_paa            PAA's: the better of two Gaussians of the losses
    assign_poto           DeFCN's: one anchor for each object, the best matching of all

Each is the selection alone of what its paper proposed: head, losses and schedule stay ATSS's.
The sources are of the paper and its code, mmdetection where it has one.

Shapes as in detector.assigners: A anchors, M ground truths, "..." nothing or B images; C classes.
Lists of ground truths are filled up with boxes of zeros, which no anchor may learn.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from detector import losses
from detector.anchors import STRIDES
from detector.boxes import area, centers, paired_inside, paired_iou
from detector.iou_assigner import NEGATIVE, assign_by_iou, highest_iou_match

WARM_UP = 1 / 3  # of a training, in which TOOD selects as ATSS does (its "initial_epoch", 4 of 12)
TASK_ALIGNED_BETA = 6  # the exponent of IoU; that of the probability is 1 (TOOD, Sec. 3.2.1)
TASK_ALIGNED_CANDIDATES = 13  # of an object, on all levels (its "topk")

SIMOTA_RADIUS = 2.5  # strides around an object's center (YOLOX's "center_radius")
SIMOTA_IOU_WEIGHT = 3.0  # of -ln IoU beside the classification's cross-entropy ("iou_weight")
SIMOTA_OUTSIDE = 1e5  # the cost of an anchor that is not in box and radius both
SIMOTA_CANDIDATES = 10  # whose IoUs tell how many anchors an object gets ("candidate_topk")

PAA_IOU = 0.1  # from which on an anchor is a candidate of its best object (its "IOU_THRESHOLD")
PAA_CANDIDATES = 9  # of an object on each level (its "TOPK")
EM_STEPS, EM_TOLERANCE, EM_VARIANCE = 100, 1e-3, 1e-6  # scikit-learn's, with which PAA fits
EM_LEAST = 10 * np.finfo(np.float64).eps  # its weight of a Gaussian that nothing belongs to

POTO_ALPHA = 0.8  # the exponent of IoU; that of the probability is 1 - alpha (DeFCN, Eq. 2)
POTO_RADIUS = 1.5  # strides around an object's center (its "center_sampling_radius")


class Predicted(NamedTuple):
    """What the network says of the anchors: detached, at least fp32."""

    probabilities: Tensor  # [..., A, C] of each class
    boxes: Tensor  # [..., A, 4], decoded
    labels: Tensor  # [..., M] classes of the ground truths

    def of_objects(self) -> Tensor:
        """[..., M, A]: the probability of each object's class."""
        of_labels = self.labels[..., None, :].expand(*self.probabilities.shape[:-1], -1)
        return self.probabilities.gather(-1, of_labels).mT.contiguous()  # read as they lie

    def at(self, places: Tensor) -> "Predicted":
        """[..., N] indices of anchors -> of these alone."""
        probabilities, boxes = (
            values.gather(-2, places[..., None].expand(*places.shape, values.shape[-1]))
            for values in (self.probabilities, self.boxes)
        )
        return Predicted(probabilities, boxes, self.labels)

    def iou(self, gt_boxes: Tensor) -> Tensor:
        """[..., M, 4] -> [..., M, A]; 0 for boxes of zeros."""
        iou = paired_iou(self.boxes[..., None, :, :], gt_boxes[..., None, :])
        return torch.where(_is_object(gt_boxes), iou, 0.0)


def _is_object(gt_boxes: Tensor) -> Tensor:
    """[..., M, 4] -> [..., M, 1]: none of those that lists are filled up with."""
    return area(gt_boxes)[..., None] > 0


def _are_inside(anchors: list[Tensor], gt_boxes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Which centers lie in the boxes, and which within radius x stride of the boxes' centers.

    [A_l, 4] per level, [..., M, 4] -> [..., M, A] twice.
    """
    x, y = centers(torch.cat(anchors)).unbind(dim=-1)  # [A]
    x1, y1, x2, y2 = gt_boxes[..., None].unbind(dim=-2)  # [..., M, 1]
    is_in_box = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    with_strides = zip(anchors, STRIDES, strict=False)
    reach = torch.cat([level.new_full((len(level),), radius * s) for level, s in with_strides])
    away = (x - (x1 + x2) / 2).abs(), (y - (y1 + y2) / 2).abs()
    return is_in_box, (away[0] < reach) & (away[1] < reach)


def assign_task_aligned(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. Task-aligned learning (TOOD, Sec. 3.2.1).

    Candidates are aligned at all and have their center inside; of several objects the predicted
    box of highest IoU decides. An object may get none.
    """
    anchor_boxes, iou = torch.cat(anchors), predicted.iou(gt_boxes)  # [..., M, A]
    alignment = predicted.of_objects() * iou**TASK_ALIGNED_BETA
    num_candidates = min(TASK_ALIGNED_CANDIDATES, len(anchor_boxes))
    aligned, candidates = alignment.topk(num_candidates, dim=-1)  # [..., M, K]
    is_inside = paired_inside(centers(anchor_boxes)[candidates], gt_boxes[..., None, :])
    is_positive = (aligned > 0) & is_inside
    ious = iou.gather(-1, candidates)
    return highest_iou_match(candidates, ious, is_positive, len(anchor_boxes))


def assign_simota(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. SimOTA (YOLOX, Sec. 2.1).

    An anchor that several objects want learns that of lowest cost, as in its code: of all objects,
    not only of those that want it.
    """
    is_in_box, is_in_radius = _are_inside(anchors, gt_boxes, SIMOTA_RADIUS)  # [..., M, A]
    is_object = _is_object(gt_boxes)
    near = _places(((is_in_box | is_in_radius) & is_object).any(dim=-2))  # [..., N]
    is_candidate = is_object & (near[..., None, :] >= 0)  # [..., M, N]
    near = near.clamp(min=0)
    is_both = (is_in_box & is_in_radius).gather(-1, near[..., None, :].expand(is_candidate.shape))
    predicted = predicted.at(near)
    iou = torch.where(is_candidate, predicted.iou(gt_boxes), 0.0)
    cost = _cross_entropy(predicted) - SIMOTA_IOU_WEIGHT * (iou + 1e-7).log()
    cost = torch.where(is_candidate, cost + SIMOTA_OUTSIDE * ~is_both, torch.inf)

    most = min(SIMOTA_CANDIDATES, iou.shape[-1])
    wanted = iou.topk(most, dim=-1).values.sum(dim=-1).int().clamp(min=1)  # [..., M]
    places = torch.arange(iou.shape[-1], device=iou.device)
    keys = (_in_order(cost) << 32) | places  # or topk chooses between equal costs by chance
    cheapest = keys.topk(most, dim=-1, largest=False).values & 0xFFFF_FFFF
    takes = (places[:most] < wanted[..., None]) & cost.gather(-1, cheapest).isfinite()
    is_taken = torch.zeros_like(iou, dtype=torch.bool).scatter(-1, cheapest, takes)
    times = is_taken.sum(dim=-2)  # [..., N]
    asks = is_taken | (times > 1)[..., None, :]
    learnt = torch.where(asks, cost, torch.inf).argmin(dim=-2)
    learnt = torch.where(times > 0, learnt, NEGATIVE)
    nothing = torch.full_like(is_in_box[..., 0, :], NEGATIVE, dtype=torch.int64)
    return nothing.scatter_reduce(-1, near, learnt, "amax")  # [..., A]


def _places(is_true: Tensor) -> Tensor:
    """[..., A] bool -> [..., N]: where they are true, in order; shorter lists end with -1."""
    rank = is_true.cumsum(dim=-1) - 1
    most = int(rank.max()) + 1
    rank = torch.where(is_true, rank, most)  # all others in a last place, which goes
    place = torch.arange(is_true.shape[-1], device=is_true.device).expand_as(rank)
    return place.new_full((*rank.shape[:-1], most + 1), -1).scatter(-1, rank, place)[..., :most]


def _cross_entropy(predicted: Predicted) -> Tensor:
    """[..., M, A]: summed over classes, of each object's one-hot label.

    Logarithms are at least -100, as in torch's.
    """
    absent = -(1 - predicted.probabilities).log_().clamp_(min=-100).sum(dim=-1)
    return absent[..., None, :] - predicted.of_objects().logit_().clamp_(-100, 100)


def assign_paa(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. Probabilistic anchor assignment (PAA, Sec. 3.1).

    Candidates: of each level the 9 anchors of lowest loss, classification and box, among those
    whose best object it is. Positive are those up to the densest of the lower of two Gaussians.
    """
    owner = assign_by_iou(
        anchors, gt_boxes, in_gt_box=False, positive_iou=PAA_IOU, negative_iou=PAA_IOU
    )
    num_anchors, num_objects = owner.shape[-1], gt_boxes.shape[-2]
    image, anchor = (owner.view(-1, num_anchors) >= 0).nonzero(as_tuple=True)  # [P] both
    place = image * num_anchors + anchor  # in the batch
    own = owner.flatten()[place]
    level_ends = torch.tensor([len(level) for level in anchors], device=own.device).cumsum(dim=0)
    level = torch.bucketize(anchor, level_ends, right=True)
    of_object = image * num_objects + own
    boxes, labels = gt_boxes.reshape(-1, 4)[of_object], predicted.labels.flatten()[of_object]
    logits = predicted.probabilities.flatten(0, -2)[place].logit(eps=1e-7)
    loss = losses.focal(logits, labels)  # [P]
    loss = loss + losses.giou_of(predicted.boxes.reshape(-1, 4)[place], boxes)
    rank = _ranks(loss, of_object * len(anchors) + level)
    (best,) = (rank < PAA_CANDIDATES).nonzero(as_tuple=True)
    where = of_object[best], level[best] * PAA_CANDIDATES + rank[best]

    shape = owner[..., 0].numel() * num_objects, len(anchors) * PAA_CANDIDATES
    lowest = loss.new_full(shape, torch.inf).index_put_(where, loss[best])  # [B x M, K]
    candidates = best.new_zeros(shape).index_put_(where, best)
    lowest, order = lowest.sort(dim=-1)
    is_chosen = torch.from_numpy(up_to_the_densest(lowest.double().cpu().numpy()))
    chosen = candidates.gather(-1, order)[is_chosen.to(owner.device)]
    matched = torch.full_like(owner, NEGATIVE).flatten()
    matched[place[chosen]] = own[chosen]
    return matched.view_as(owner)


def _ranks(values: Tensor, groups: Tensor) -> Tensor:
    """[P], [P] whole numbers -> [P]: how many of its group come before a value, from the lowest."""
    order = ((groups << 32) + _in_order(values)).argsort(stable=True)
    grouped = groups[order]
    places = torch.arange(len(order), device=order.device)
    ranks = places - torch.searchsorted(grouped, grouped)
    return torch.empty_like(order).index_put_((order,), ranks)


def _in_order(values: Tensor) -> Tensor:
    """Whole numbers of 32 bits that are in the values' order, of those of fp32 (IEEE 754)."""
    bits = values.float().view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFF_FFFF)).long()


def up_to_the_densest(values: NDArray[Any]) -> NDArray[np.bool_]:
    """[N, K] rising, infinity for none -> [N, K]: what PAA makes positive of each of N objects.

    A single one is positive, and so are all where none is of the lower of two Gaussians.
    """
    is_there = np.isfinite(values)
    is_there = is_there[:, : is_there.sum(axis=1).max(initial=1)]
    x = np.where(is_there, values[:, : is_there.shape[1]], 0.0)
    weights, means, variances = _two_gaussians(x, is_there)[:, :, None]
    # Not by _curves: of two values equally far from a mean the first has to win.
    logs = np.log(weights) - np.log(2 * np.pi * variances) / 2
    logs = logs - (x[..., None] - means) ** 2 / (2 * variances)  # [N, K, 2]
    is_lower = is_there & (logs[..., 0] >= logs[..., 1])
    density = np.logaddexp(logs[..., 0], logs[..., 1])
    densest = np.where(is_lower, density, -np.inf).argmax(axis=1)
    is_all = ~is_lower.any(axis=1, keepdims=True)
    reaches = is_all | (np.arange(values.shape[1]) <= densest[:, None])
    return reaches & np.isfinite(values)


def _two_gaussians(x: NDArray[Any], is_there: NDArray[np.bool_]) -> NDArray[Any]:
    """[N, K] rising, 0 for none -> weights, means and variances of the lower and the higher.

    [3, N, 2]; fitted by expectation maximization, as scikit-learn does, each object to its own end.
    """
    powers, count = np.stack([is_there, x, x * x], axis=-1), is_there.sum(axis=1)
    means = np.stack([x[:, 0], x.max(axis=1)], axis=1)
    fits = np.stack([np.full_like(means, 0.5), means, np.ones_like(means)])
    (open_,), before = np.nonzero(count > 1), -np.inf
    fit, its_powers, counts = [*fits[:, open_]], powers[open_], count[open_]
    for _ in range(EM_STEPS):
        if not len(open_):
            break
        logs = its_powers @ _curves(*fit)  # [n, K, 2], of none 0
        density = np.logaddexp(logs[..., 0], logs[..., 1])
        sums = np.exp(logs - density[..., None]).mT @ its_powers  # [n, 2, 3]
        total = sums[..., 0] + EM_LEAST
        mean = sums[..., 1] / total
        variance = sums[..., 2] / total - mean * mean + EM_VARIANCE
        fit = [total / counts[:, None], mean, variance]
        bound = np.einsum("nk,nk->n", density, its_powers[..., 0]) / counts
        is_open, before = np.abs(bound - before) >= EM_TOLERANCE, bound
        if not is_open.all():
            fits[:, open_], fit = fit, [values[is_open] for values in fit]
            open_, counts, before = open_[is_open], counts[is_open], before[is_open]
            its_powers = its_powers[is_open]
    fits[:, open_] = fit
    return fits


def _curves(weights: NDArray[Any], means: NDArray[Any], variances: NDArray[Any]) -> NDArray[Any]:
    """[n, 2] three times -> [n, 3, 2]: log densities, as factors of 1, x and x^2."""
    linear = means / variances
    constant = (np.log(weights * weights / (2 * np.pi * variances)) - linear * means) / 2
    return np.array((constant, linear, -0.5 / variances)).transpose(1, 0, 2)


def assign_poto(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. One-to-one (DeFCN, Sec. 3.2.1), on the CPU.

    An object whose every anchor is out of reach gets one of them still, as in its code.
    """
    is_in_box, is_in_radius = _are_inside(anchors, gt_boxes, POTO_RADIUS)
    iou = predicted.iou(gt_boxes)
    quality = predicted.of_objects() ** (1 - POTO_ALPHA) * iou**POTO_ALPHA
    quality = torch.where(is_in_box & is_in_radius, quality, -1.0)  # [..., M, A]
    images = quality.reshape(-1, *quality.shape[-2:]).cpu().numpy()
    is_object = _is_object(gt_boxes).reshape(len(images), -1).cpu().numpy()
    matched = torch.full((len(images), quality.shape[-1]), NEGATIVE)
    for image, qualities in enumerate(images):
        (real,) = is_object[image].nonzero()
        objects, chosen = linear_sum_assignment(qualities[real], maximize=True)
        matched[image, torch.from_numpy(chosen)] = torch.from_numpy(real[objects])
    return matched.reshape(*quality.shape[:-2], -1).to(gt_boxes.device)
