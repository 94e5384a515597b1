"""Testing at many scales, mirrored and not, and merging what was found (Table 8's last two rows).

The paper calls it "the multi-scale testing strategy"; what follows is its code's.

    passes       26: the usual test and twelve other short sides, each of them also mirrored
    Pass.keeps   an extra pass keeps the sizes it is made for: small images large objects ...
    soft_vote    overlapping boxes of a class become one, their mean weighed by score

Every pass is a whole test, with its own NMS and its own best 100. Lengths below are those beside
the paper's short side of 800; beside another one all of them shrink or grow with it.

Shapes: D detections, of a pass or of all of them; boxes are [D, 4] xyxy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from detector.boxes import area
from detector.config import Recipe
from detector.data import transforms
from detector.postprocess import Detections, Detects
from detector.weights.conventions import Layout

PAPER_SHORT_SIDE = 800
LARGE_LONG_SIDE = 3000  # at most, of the passes above it; below, the usual limit holds
ANY = 10_000  # longer than any box
# Short side of a pass -> it keeps boxes whose area lies between these two squared
EXTRA_PASSES = {
    **dict.fromkeys((400, 500), (96, ANY)),
    **dict.fromkeys((600, 640, 700), (64, ANY)),
    **dict.fromkeys((900, 1000), (0, ANY)),
    **dict.fromkeys((1100, 1200), (0, 256)),
    **dict.fromkeys((1300, 1400), (0, 192)),
    1800: (0, 96),
}
VOTE_IOU = 0.66  # from here on a box votes with the best one
MIN_SCORE = 0.05  # of a box that voted, to be kept beside the mean


@dataclass(frozen=True)
class Pass:
    """One look at an image; lengths in pixels of the image as it is resized for it."""

    short_side: int
    long_side: int  # at most
    is_flipped: bool
    smallest: float = -inf  # area of a box, and below: what must be passed
    largest: float = inf

    def keeps(self, boxes: Tensor) -> Tensor:
        """[D, 4] -> [D] bool: of a size that this pass is made for."""
        areas = area(boxes)
        return (areas > self.smallest) & (areas < self.largest)


def passes(recipe: Recipe) -> Iterator[Pass]:
    """The usual test, which keeps everything, and the extra ones; each, then mirrored."""
    usual = recipe.short_side[1]
    factor = usual / PAPER_SHORT_SIDE
    for is_flipped in (False, True):
        yield Pass(usual, recipe.long_side, is_flipped)
        for side, (low, high) in EXTRA_PASSES.items():
            is_large = side > PAPER_SHORT_SIDE
            long_side = round(LARGE_LONG_SIDE * factor) if is_large else recipe.long_side
            limits = ((low * factor) ** 2, (high * factor) ** 2)
            yield Pass(max(1, round(side * factor)), long_side, is_flipped, *limits)


def relative_cost(recipe: Recipe) -> float:
    """How many usual tests it takes, by the pixels looked at: 43, where no long side is cut."""
    if not recipe.multi_scale_test:
        return 1.0
    return sum(each.short_side**2 for each in passes(recipe)) / recipe.short_side[1] ** 2


def detect_in_passes(
    detector: Detects, image: Tensor, recipe: Recipe, layout: Layout
) -> Detections:
    """An image as it is stored, uint8 [3, H, W] RGB -> its detections, in its own pixels.

    layout: the conventions that the detector's weights were learnt with.
    """
    found = _joined([look(detector, image, each, layout) for each in passes(recipe)])
    # Its code keeps 1000 of an image, by the limit that it has for candidates of a level.
    return merge(found, recipe.candidates_per_level)


def look(detector: Detects, image: Tensor, each: Pass, layout: Layout) -> Detections:
    """What one pass finds, on the CPU and in pixels of the image.

    Its code merges in pixels of the usual test: IoU and means are the same in either.
    """
    shown = layout.normalization(transforms.resized(image, each.short_side, each.long_side))
    shown = shown.flip(-1) if each.is_flipped else shown
    found = {name: part.detach().cpu() for name, part in detector.detect([shown])[0].items()}
    boxes = found["boxes"].double()
    if each.is_flipped:
        boxes = transforms.flip(shown, boxes)[1]
    tested, size = ((one.shape[2], one.shape[1]) for one in (shown, image))
    is_kept = each.keeps(boxes)
    boxes = transforms.resize_back(boxes, tested, size, layout.inclusive_corners)
    found |= {"boxes": boxes, "scores": found["scores"].double()}
    return {name: part[is_kept] for name, part in found.items()}


def merge(found: Detections, limit: int) -> Detections:
    """Let each class vote; the best of what comes out, at most limit of them."""
    parts = [{name: part[:0] for name, part in found.items()}]  # where there is no class
    for label in found["labels"].unique():
        mine = found["labels"] == label
        boxes, scores = soft_vote(found["boxes"][mine], found["scores"][mine])
        parts.append({"boxes": boxes, "scores": scores, "labels": label.expand(len(scores))})
    voted = _joined(parts)
    best = voted["scores"].argsort(descending=True, stable=True)[:limit]
    return {name: part[best] for name, part in voted.items()}


def _joined(parts: list[Detections]) -> Detections:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def soft_vote(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """[D, 4], [D] of one class, on the CPU -> the same of what they agree on.

    The best box and those that overlap it by VOTE_IOU become one: their mean, weighed by score,
    with the best score. Each of them also stays as it was, its score lowered by its overlap with
    the best, where MIN_SCORE is left. So on with the others; a box that overlaps none stays.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, scores = boxes[order], scores[order]
    iou = box_iou(boxes, boxes)
    is_near, votes_with = (iou >= VOTE_IOU).numpy(), np.full(len(boxes), -1)
    for index in range(len(boxes)):
        if votes_with[index] < 0:
            votes_with[is_near[index] & (votes_with < 0)] = index
            votes_with[index] = index  # without area it overlaps nothing, not even itself
    best = torch.from_numpy(votes_with)
    num_votes = best.bincount(minlength=len(best))
    weights = torch.zeros_like(scores).index_add(0, best, scores)
    sums = torch.zeros_like(boxes).index_add(0, best, boxes * scores[:, None])
    is_alone = num_votes[best] == 1
    agreed = torch.where(is_alone[:, None], boxes, sums / weights[:, None])
    is_best = num_votes > 0
    lowered = scores * (1 - iou.gather(1, best[:, None])[:, 0])
    is_kept = ~is_alone & (lowered >= MIN_SCORE)
    return (
        torch.cat([agreed[is_best], boxes[is_kept]]),
        torch.cat([scores[is_best], lowered[is_kept]]),
    )
