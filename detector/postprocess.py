"""From predictions to detections (Sec. 3.1 "Inference Detail"; docs/choices.md Q9, Q12, Q21).

Per level: class probabilities over 0.05, the 1000 best (anchor, class) pairs; then, over all
levels, decode, clip to the image, class-wise NMS at 0.6, the 100 best.

Pairs are ranked by probability x centerness and reported with its square root, as in the official
code; without a centerness branch the score is the probability. The threshold looks at the
probability alone.

Shapes: B images, A_l anchors on level l, C classes, D detections.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from detector.box_coders import Coder
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
        anchors: list[Tensor],
        coder: Coder,
        sizes: Sequence[tuple[int, int]],
        score: Score = geometric_mean,
    ) -> list[Detections]:
        """Detections of every image of a batch; sizes: height and width of each before padding.

        score: of a pair with centerness; without it the probability is the score. All images go
        through a level together, because a GPU waits whenever something is counted.
        """
        counts = [len(level) for level in anchors]
        centerness: Sequence[Tensor | None] = [None] * len(counts)
        if predictions.centerness is not None:
            centerness = predictions.centerness.split(counts, dim=1)
        of_levels = zip(
            predictions.cls_logits.split(counts, dim=1),
            centerness,
            predictions.codes.split(counts, dim=1),
            anchors,
            strict=True,
        )
        found = [self._best_of_level(*level, coder, score) for level in of_levels]
        image, boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = image.argsort(stable=True)
        ends = image.bincount(minlength=len(sizes)).tolist()
        of_images = [values[order].split(ends) for values in (boxes, scores, labels)]
        return [self._suppress(*its) for its in zip(*of_images, sizes, strict=True)]

    def _best_of_level(
        self,
        cls_logits: Tensor,
        centerness: Tensor | None,
        codes: Tensor,
        anchors: Tensor,
        coder: Coder,
        score: Score,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, A_l, C], [B, A_l] logits or None, [B, A_l, 4], [A_l, 4] -> of all images D pairs.

        Their images [D], boxes [D, 4], scores [D], labels [D], image after image, best first.
        """
        probabilities = cls_logits.sigmoid()
        image, anchor, label = (probabilities > self.score_threshold).nonzero(as_tuple=True)
        scores = probabilities[image, anchor, label]
        if centerness is not None:
            scores = score(scores, centerness.sigmoid()[image, anchor])
        best = scores.argsort(descending=True, stable=True)
        best = best[image[best].argsort(stable=True)]
        place = torch.arange(len(best), device=best.device)
        rank = place - torch.searchsorted(image[best], image[best])  # within its image
        best = best[rank < self.candidates_per_level]
        image, anchor, label = image[best], anchor[best], label[best]
        return image, coder.decode(anchors[anchor], codes[image, anchor]), scores[best], label

    def _suppress(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, size: tuple[int, int]
    ) -> Detections:
        """[D, 4], [D], [D] of an image of this height and width -> what is left of them."""
        boxes = clip_boxes_to_image(boxes, size)
        # batched_nms shifts every class by its number: in fp32 the last classes would lose digits.
        keep = batched_nms(boxes.double(), scores.double(), labels, self.nms_threshold)
        keep = keep[: self.max_detections]
        return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}
