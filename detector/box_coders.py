"""What regression predicts: from an anchor box or from an anchor point (Sec. 3.3, Fig. 2).

    BoxCoder     offsets of center and size, relative to the anchor      RetinaNet, Fig. 2b
    PointCoder   distances to the four sides, in strides                 FCOS, Fig. 2c

Both encode (anchors [P, 4], gt_boxes [P, 4]) -> codes [P, 4] and decode (anchors, codes) -> boxes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detector.boxes import area, centers, side_distances

CENTER_WEIGHT = 10.0
SIZE_WEIGHT = 5.0
MAX_LOG_RATIO = math.log(1000 / 16)  # keeps exp() finite: an object is at most 62.5 anchors wide


@dataclass(frozen=True)
class BoxCoder:
    """Offsets from the anchor box: 10 (dx, dy) / its sides and 5 ln of the size ratios.

    min_log_ratio: decoding bounds ln of the size ratios below, too, if some other code did.
    """

    initial_bias: ClassVar[float] = 0.0  # a prediction of 0 decodes to the anchor
    min_log_ratio: float = -math.inf

    def encode(self, anchors: Tensor, gt_boxes: Tensor) -> Tensor:
        """[P, 4], [P, 4] -> codes [P, 4]: tx, ty, tw, th."""
        anchor_sizes, gt_sizes = _sizes(anchors), _sizes(gt_boxes)
        shift = (centers(gt_boxes) - centers(anchors)) / anchor_sizes
        stretch = (gt_sizes / anchor_sizes).log()
        return torch.cat([CENTER_WEIGHT * shift, SIZE_WEIGHT * stretch], dim=1)

    def decode(self, anchors: Tensor, codes: Tensor) -> Tensor:
        """[P, 4], [P, 4] -> boxes [P, 4]."""
        anchor_sizes = _sizes(anchors)
        middle = centers(anchors) + codes[:, :2] / CENTER_WEIGHT * anchor_sizes
        log_ratios = (codes[:, 2:] / SIZE_WEIGHT).clamp(self.min_log_ratio, MAX_LOG_RATIO)
        half = log_ratios.exp() * anchor_sizes / 2
        return torch.cat([middle - half, middle + half], dim=1)


@dataclass(frozen=True)
class PointCoder:
    """Distances from the anchor's center to the sides, divided by the stride of its level.

    anchor_scale: anchor side / stride, from which the stride is read off the anchor itself, so the
    anchor's size does not enter the regression. margin: pixels by which decoded boxes reach further
    on every side, for weights whose boxes ended in the middle of their last pixels.
    """

    anchor_scale: float = 8.0
    margin: float = 0.0

    @property
    def initial_bias(self) -> float:
        """With it the first predictions are the anchors, as with BoxCoder's 0 (4 for scale 8)."""
        return self.anchor_scale / 2

    def encode(self, anchors: Tensor, gt_boxes: Tensor) -> Tensor:
        """[P, 4], [P, 4] -> codes [P, 4]: left, top, right, bottom, in strides."""
        return side_distances(centers(anchors), gt_boxes) / self._strides(anchors)

    def decode(self, anchors: Tensor, codes: Tensor) -> Tensor:
        """[P, 4], [P, 4] -> boxes [P, 4]; negative distances count as 0 (ReLU, as in its code)."""
        distances = codes.relu() * self._strides(anchors) + self.margin
        middle = centers(anchors)
        return torch.cat([middle - distances[:, :2], middle + distances[:, 2:]], dim=1)

    def _strides(self, anchors: Tensor) -> Tensor:
        return area(anchors)[:, None].sqrt() / self.anchor_scale  # [P, 1]


Coder = BoxCoder | PointCoder


def _sizes(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]  # [N, 2]: width, height
