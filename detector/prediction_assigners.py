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

import math
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from detector import losses
from detector.anchors import STRIDES
from detector.boxes import area, centers, paired_inside, paired_iou, side_distances
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

POTO_ALPHA = 0.8  # the exponent of IoU; that of the probability is 1 - alpha (DeFCN, Eq. 2)
POTO_RADIUS = 1.5  # strides around an object's center (its "center_sampling_radius")


class Predicted(NamedTuple):
    """What the network says of the anchors: detached, at least fp32."""

    probabilities: Tensor  # [..., A, C] of each class
    boxes: Tensor  # [..., A, 4], decoded
    labels: Tensor  # [..., M] classes of the ground truths

    def of_objects(self) -> Tensor:
        """[..., M, A]: the probability of each object's class."""
        return self.probabilities.mT.take_along_dim(self.labels[..., None], dim=-2)

    def iou(self, gt_boxes: Tensor) -> Tensor:
        """[..., M, 4] -> [..., M, A]; 0 for boxes of zeros."""
        iou = paired_iou(self.boxes[..., None, :, :], gt_boxes[..., None, :])
        return torch.where(_is_object(gt_boxes), iou, 0.0)


def _is_object(gt_boxes: Tensor) -> Tensor:
    """[..., M, 4] -> [..., M, 1]: none of those that lists are filled up with."""
    return area(gt_boxes)[..., None] > 0


def _depth(anchors: list[Tensor], gt_boxes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Pixels by which centers lie inside the boxes, and within radius x stride of their centers.

    [A_l, 4] per level, [..., M, 4] -> [..., M, A] twice; negative outside.
    """
    points = centers(torch.cat(anchors))
    in_box = side_distances(points, gt_boxes[..., None, :]).amin(dim=-1)
    offset = (points - centers(gt_boxes)[..., None, :]).abs().amax(dim=-1)
    with_strides = zip(anchors, STRIDES, strict=False)
    reach = torch.cat([level.new_full((len(level),), radius * s) for level, s in with_strides])
    return in_box, reach - offset


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
    in_box, in_radius = _depth(anchors, gt_boxes, SIMOTA_RADIUS)  # [..., M, A]
    is_object = _is_object(gt_boxes)
    is_near = (((in_box > 0) | (in_radius > 0)) & is_object).any(dim=-2, keepdim=True)
    is_candidate, is_both = is_near & is_object, (in_box > 0) & (in_radius > 0)
    iou = torch.where(is_candidate, predicted.iou(gt_boxes), 0.0)
    cost = _cross_entropy(predicted, is_near[..., 0, :]) - SIMOTA_IOU_WEIGHT * (iou + 1e-7).log()
    cost = torch.where(is_candidate, cost + SIMOTA_OUTSIDE * ~is_both, torch.inf)

    most = min(SIMOTA_CANDIDATES, iou.shape[-1])
    wanted = iou.topk(most, dim=-1).values.sum(dim=-1).int().clamp(min=1)  # [..., M]
    lowest, cheapest = cost.topk(most, dim=-1, largest=False)
    rank = torch.arange(most, device=cost.device)
    takes = (rank < wanted[..., None]) & lowest.isfinite()
    is_taken = torch.zeros_like(iou, dtype=torch.bool).scatter(-1, cheapest, takes)
    times = is_taken.sum(dim=-2, keepdim=True)
    matched = torch.where(is_taken | (times > 1), cost, torch.inf).argmin(dim=-2)
    return torch.where(times[..., 0, :] > 0, matched, NEGATIVE)


def _cross_entropy(predicted: Predicted, is_asked: Tensor) -> Tensor:
    """[..., A] bool -> [..., M, A]: summed over classes, of each object's one-hot label.

    Logarithms are at least -100, as in torch's. Anchors that are not asked for get a part only.
    """
    others = predicted.probabilities.new_zeros(is_asked.shape)
    others[is_asked] = -_log(1 - predicted.probabilities[is_asked]).sum(dim=-1)
    its = predicted.of_objects()
    return others[..., None, :] + _log(1 - its) - _log(its)


def _log(values: Tensor) -> Tensor:
    return values.log().clamp(min=-100)


def assign_paa(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. Probabilistic anchor assignment (PAA, Sec. 3.1).

    Candidates: of each level the 9 anchors of lowest loss, classification and box, among those
    whose best object it is. Positive are those up to the densest of the lower of two Gaussians.
    """
    owner = assign_by_iou(
        anchors, gt_boxes, in_gt_box=False, positive_iou=PAA_IOU, negative_iou=PAA_IOU
    )
    loss = _losses(gt_boxes, predicted, owner)  # [..., A]
    objects = torch.arange(gt_boxes.shape[-2], device=owner.device)
    of_each = torch.where(owner[..., None, :] == objects[:, None], loss[..., None, :], torch.inf)
    found, first = [], 0
    for level in of_each.split([len(level) for level in anchors], dim=-1):
        lowest, index = level.topk(min(PAA_CANDIDATES, level.shape[-1]), dim=-1, largest=False)
        found.append((lowest, first + index))
        first += level.shape[-1]
    candidate_losses, order = torch.cat([lowest for lowest, _ in found], dim=-1).sort(dim=-1)
    candidates = torch.cat([index for _, index in found], dim=-1).gather(-1, order)
    is_positive = up_to_the_densest(candidate_losses)
    is_taken = torch.zeros_like(of_each, dtype=torch.bool).scatter(-1, candidates, is_positive)
    return torch.where(is_taken.any(dim=-2), owner, NEGATIVE)


def _losses(gt_boxes: Tensor, predicted: Predicted, owner: Tensor) -> Tensor:
    """[..., A] -> [..., A]: what each anchor would lose on the object it is of; else infinity."""
    is_of = owner >= 0
    index = owner.clamp(min=0)
    labels = predicted.labels.take_along_dim(index, dim=-1)[is_of]
    boxes = gt_boxes.take_along_dim(index[..., None], dim=-2)[is_of]
    logits = predicted.probabilities[is_of].logit(eps=1e-7)
    box = generalized_box_iou_loss(predicted.boxes[is_of], boxes)
    result = predicted.boxes.new_full(owner.shape, torch.inf)
    result[is_of] = losses.focal(logits, labels) + box
    return result


def up_to_the_densest(values: Tensor) -> Tensor:
    """[..., K] rising, infinity for none -> [..., K] bool: what PAA makes positive of an object.

    Two Gaussians are fitted by expectation maximization, as scikit-learn does. A single one is
    positive, and so are all where none is of the lower Gaussian.
    """
    is_there = values.isfinite()
    x = torch.where(is_there, values, 0.0).double()
    count = is_there.sum(dim=-1, keepdim=True)  # [..., 1]
    highest = torch.where(is_there, x, -torch.inf).amax(dim=-1)
    means = torch.stack([x[..., 0], highest], dim=-1)  # [..., 2]
    weights, variances = torch.full_like(means, 0.5), torch.ones_like(means)
    is_fitted, before = count <= 1, x.new_full(count.shape, -torch.inf)
    for _ in range(EM_STEPS):
        logs, density = _log_densities(x, weights, means, variances)
        share = (logs - density[..., None]).exp() * is_there[..., None]  # [..., K, 2]
        bound = torch.where(is_there, density, 0.0).sum(dim=-1, keepdim=True) / count
        total = share.sum(dim=-2) + 10 * torch.finfo(x.dtype).eps
        new_means = (share * x[..., None]).sum(dim=-2) / total
        squares = (x[..., None] - new_means[..., None, :]) ** 2
        new_variances = (share * squares).sum(dim=-2) / total + EM_VARIANCE
        weights = torch.where(is_fitted, weights, total / count)
        means = torch.where(is_fitted, means, new_means)
        variances = torch.where(is_fitted, variances, new_variances)
        is_fitted = is_fitted | ((bound - before).abs() < EM_TOLERANCE)
        if is_fitted.all():
            break
        before = bound
    logs, density = _log_densities(x, weights, means, variances)
    is_lower = is_there & (logs[..., 0] >= logs[..., 1])
    densest = torch.where(is_lower, density, -torch.inf).argmax(dim=-1, keepdim=True)
    is_all = (count == 1) | ~is_lower.any(dim=-1, keepdim=True)
    return is_there & (is_all | (torch.arange(x.shape[-1], device=x.device) <= densest))


def _log_densities(
    x: Tensor, weights: Tensor, means: Tensor, variances: Tensor
) -> tuple[Tensor, Tensor]:
    """[..., K], [..., 2] three times -> of each Gaussian [..., K, 2], and of both [..., K]."""
    squares = (x[..., None] - means[..., None, :]) ** 2 / variances[..., None, :]
    logs = (weights.log() - (2 * math.pi * variances).log() / 2)[..., None, :] - squares / 2
    return logs, logs.logsumexp(dim=-1)


def assign_poto(anchors: list[Tensor], gt_boxes: Tensor, predicted: Predicted) -> Tensor:
    """[A_l, 4] per level, [..., M, 4] -> [..., A]. One-to-one (DeFCN, Sec. 3.2.1), on the CPU.

    An object whose every anchor is out of reach gets one of them still, as in its code.
    """
    in_box, in_radius = _depth(anchors, gt_boxes, POTO_RADIUS)
    iou = predicted.iou(gt_boxes)
    quality = predicted.of_objects() ** (1 - POTO_ALPHA) * iou**POTO_ALPHA
    quality = torch.where((in_box > 0) & (in_radius > 0), quality, -1.0)  # [..., M, A]
    images = quality.reshape(-1, *quality.shape[-2:]).cpu().numpy()
    is_object = _is_object(gt_boxes).reshape(len(images), -1).cpu().numpy()
    matched = torch.full((len(images), quality.shape[-1]), NEGATIVE)
    for image, qualities in enumerate(images):
        (real,) = is_object[image].nonzero()
        objects, chosen = linear_sum_assignment(qualities[real], maximize=True)
        matched[image, torch.from_numpy(chosen)] = torch.from_numpy(real[objects])
    return matched.reshape(*quality.shape[:-2], -1).to(gt_boxes.device)
