"""Where ATSS's gain comes from: its candidates, its threshold, or that it leaves no object out.

atss reproduce docs/study/parts-of-atss/parts_of_atss.py --data shapes-large --seeds 0,1,2,3,4

Every row is the improved RetinaNet (#A=1) of Table 3; only sample selection differs.
Shapes: A_l anchors on level l, A in all; M ground truths, K candidates of an object.
"""

from functools import partial

import torch
from torch import Tensor

from detector.assigners import atss_candidates
from detector.boxes import area, centers, paired_inside, paired_iou
from detector.iou_assigner import assign_by_iou, highest_iou_match
from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import Row, Table

K = 9  # candidates per level


def by_iou(anchors: list[Tensor], gt_boxes: Tensor, *, positive: float) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. IoU in GT box, but positive from another IoU on.

    Between it and 0.1 less anchors are ignored, as between 0.5 and 0.4.
    """
    limits = {"positive_iou": positive, "negative_iou": positive - 0.1}
    return assign_by_iou(anchors, gt_boxes, in_gt_box=True, **limits)


def filled(anchors: list[Tensor], gt_boxes: Tensor, *, least: int) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. IoU in GT box, and no object left with fewer positives.

    An object with fewer than `least` gets the anchors of highest IoU among those with their center
    inside it, whoever had them; the smallest object chooses last, and so keeps its own.
    """
    matched, anchor_boxes = by_iou(anchors, gt_boxes, positive=0.5), torch.cat(anchors)
    for place in area(gt_boxes).argsort(descending=True).tolist():
        box = gt_boxes[place]
        if (matched == place).sum() < least:
            (inside,) = paired_inside(centers(anchor_boxes), box).nonzero(as_tuple=True)
            order = paired_iou(anchor_boxes[inside], box).argsort(descending=True, stable=True)
            matched[inside[order[:least]]] = place
    return matched


def candidates(
    anchors: list[Tensor], gt_boxes: Tensor, *, deviations: float = 0.0, fixed: float | None = None
) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. ATSS's candidates inside, from some IoU on.

    That is their mean and so many standard deviations (ATSS has 1), or one IoU for all objects.
    """
    places, iou, _, is_inside = atss_candidates(anchors, gt_boxes, K)
    own = iou.mean(dim=1) + deviations * iou.std(dim=1)
    threshold = own if fixed is None else torch.full_like(own, fixed)
    is_positive = (iou >= threshold[:, None]) & is_inside
    return highest_iou_match(places, iou, is_positive, sum(map(len, anchors)))


def at_threshold(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
    """[A_l, 4] per level, [M, 4] -> [A]. Every anchor inside from ATSS's threshold on."""
    anchor_boxes, objects = torch.cat(anchors), gt_boxes[:, None]
    _, _, threshold, _ = atss_candidates(anchors, gt_boxes, K)
    iou = paired_iou(anchor_boxes, objects)  # [M, A]
    is_positive = (iou >= threshold[:, None]) & paired_inside(centers(anchor_boxes), objects)
    everywhere = torch.arange(len(anchor_boxes)).expand(iou.shape)
    return highest_iou_match(everywhere, iou, is_positive, len(anchor_boxes))


def _row(label: str, assigner: partial[Tensor]) -> Row:
    return Row(label, IMPROVED_RETINANET, assigner=assigner)


TABLE = Table(
    name="parts-of-atss",
    title="Where ATSS's gain comes from",
    rows=[
        Row("IoU 0.5", IMPROVED_RETINANET),
        _row("IoU 0.4", partial(by_iou, positive=0.4)),
        _row("IoU 0.3", partial(by_iou, positive=0.3)),
        _row("IoU 0.5, nobody left out", partial(filled, least=1)),
        _row("IoU 0.5, at least 7 each", partial(filled, least=7)),
        _row("Candidates, all", partial(candidates, fixed=0.0)),
        _row("Candidates from IoU 0.2 on", partial(candidates, fixed=0.2)),
        _row("Candidates from the mean on", partial(candidates, deviations=0.0)),
        Row("ATSS: from mean + std on", ATSS),
        _row("Candidates from mean + std / 2 on", partial(candidates, deviations=0.5)),
        _row("All inside from ATSS's threshold on", partial(at_threshold)),
    ],
    reference=0,
)
