"""From predictions to detections (Sec. 3.1 "Inference Detail"; docs/choices.md Q9, Q12, Q21).

Per level: class probabilities over 0.05, the 1000 best (anchor, class) pairs; then, over all
levels, decode, clip to the image, class-wise NMS at 0.6, the 100 best.

Pairs are ranked by probability x centerness and reported with its square root, as in the official
code; without a centerness branch the score is the probability. The threshold looks at the
probability alone.

Shapes: A_l anchors on level l, C classes, D detections.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from detector.box_coders import Coder
from detector.boxes import clip
from detector.head import Predictions

Detections = dict[str, Tensor]  # boxes [D, 4], scores [D], labels [D], best first
Score = Callable[[Tensor, Tensor], Tensor]  # of probabilities and centerness, [N] each


class Detects(Protocol):
    """What is tested: a Detector, or a stand-in."""

    def detect(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Prepared images [3, H, W] -> boxes [D, 4] in their pixels, scores [D], labels [D]."""


def geometric_mean(probabilities: Tensor, centerness: Tensor) -> Tensor:
    """[N], [N] -> [N]: the paper's code's score."""
    return (probabilities * centerness).sqrt()


@dataclass(frozen=True)
class Postprocess:
    """The test settings; the defaults are the paper's."""

    score_threshold: float = 0.05
    candidates_per_level: int = 1000
    nms_threshold: float = 0.6
    max_detections: int = 100

    def __call__(
        self,
        predictions: Predictions,
        image: int,
        anchors: list[Tensor],
        coder: Coder,
        size: tuple[int, int],
        score: Score = geometric_mean,
    ) -> Detections:
        """Detections of one image of the batch; size: its height and width before padding.

        score: of a pair with centerness; without it the probability is the score.
        """
        sizes = [len(level) for level in anchors]
        probabilities = predictions.cls_logits[image].sigmoid().split(sizes)
        codes = predictions.codes[image].split(sizes)
        centerness = (
            [None] * len(sizes)
            if predictions.centerness is None
            else predictions.centerness[image].sigmoid().split(sizes)
        )
        levels = [
            self._best_of_level(*level, coder, score)
            for level in zip(probabilities, centerness, codes, anchors, strict=True)
        ]
        boxes, scores, labels = (torch.cat(parts) for parts in zip(*levels, strict=True))
        boxes = clip(boxes, *size)
        # batched_nms shifts every class by its number: in fp32 the last classes would lose digits.
        keep = batched_nms(boxes.double(), scores.double(), labels, self.nms_threshold)
        keep = keep[: self.max_detections]
        return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}

    def _best_of_level(
        self,
        probabilities: Tensor,
        centerness: Tensor | None,
        codes: Tensor,
        anchors: Tensor,
        coder: Coder,
        score: Score,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[A_l, C], [A_l] or None, [A_l, 4] twice -> boxes [D, 4], scores [D], labels [D]."""
        anchor, label = (probabilities > self.score_threshold).nonzero(as_tuple=True)
        scores = probabilities[anchor, label]
        if centerness is not None:
            scores = score(scores, centerness[anchor])
        scores, best = scores.sort(descending=True, stable=True)
        best = best[: self.candidates_per_level]
        anchor, label = anchor[best], label[best]
        boxes = coder.decode(anchors[anchor], codes[anchor])
        return boxes, scores[: self.candidates_per_level], label
