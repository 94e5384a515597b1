"""The head: two towers of four convolutions, shared by all levels (Sec. 3.2; docs/choices.md Q13).

The classification tower predicts class logits, the regression tower codes and, when switched on,
centerness (which FCOS first had on the other tower: one of the paper's "universal improvements").

Shapes: B images, L levels of H_l x W_l locations, A anchors in all; C classes.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from detector.config import CHANNELS_PER_GROUP
from detector.layers import DeformableConv2d, GroupNorm

PRIOR = 0.01  # probability of every class at the start, so that the negatives do not drown the rest
TOWER_DEPTH = 4
INITIAL_STD = 0.01  # of every convolution at 256 channels (RetinaNet)
PAPER_CHANNELS = 256


@dataclass(frozen=True)
class Predictions:
    """What the head says of every anchor of a batch, all levels concatenated."""

    cls_logits: Tensor  # [B, A, C]
    codes: Tensor  # [B, A, 4], for a box coder to decode
    centerness: Tensor | None  # [B, A] logits


def tower(channels: int, group_norm: bool, deformable: bool = False) -> nn.Sequential:
    """Four 3x3 convolutions with ReLU, with or without GroupNorm; the last may be deformable."""
    layers = []
    for is_deformable in [False] * (TOWER_DEPTH - 1) + [deformable]:
        # The bias stays under GroupNorm, as in the official code.
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        layer = OrderedDict[str, nn.Module](conv=DeformableConv2d(conv) if is_deformable else conv)
        layer["norm"] = nn.Identity()
        if group_norm:
            layer["norm"] = GroupNorm(channels // CHANNELS_PER_GROUP, channels)
        layer["relu"] = nn.ReLU(inplace=True)
        layers.append(nn.Sequential(layer))
    return nn.Sequential(*layers)


class Head(nn.Module):
    """Predicts, at every location, for each of its anchors: classes, codes and maybe centerness."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        anchors_per_location: int,
        num_levels: int,
        group_norm: bool,
        centerness: bool,
        scalar: bool,
        initial_bias: float,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.cls_tower = tower(channels, group_norm, deformable)
        self.box_tower = tower(channels, group_norm, deformable)
        self.cls_logits = nn.Conv2d(channels, anchors_per_location * num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, anchors_per_location * 4, 3, padding=1)
        self.centerness = (
            nn.Conv2d(channels, anchors_per_location, 3, padding=1) if centerness else None
        )
        self.scales = nn.Parameter(torch.ones(num_levels)) if scalar else None
        self._initialize(channels, initial_bias)

    def _initialize(self, channels: int, initial_bias: float) -> None:
        # A narrower head sums fewer inputs: the wider spread lets as much signal through. With 0.01
        # a head of 32 channels learns far more slowly.
        std = INITIAL_STD * math.sqrt(PAPER_CHANNELS / channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=std)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, DeformableConv2d):
                module.reset_offset()
        assert self.cls_logits.bias is not None and self.bbox_pred.bias is not None
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.constant_(self.bbox_pred.bias, initial_bias)

    def forward(self, features: list[Tensor]) -> Predictions:
        """L maps [B, channels, H_l, W_l] -> Predictions."""
        box_features = [self.box_tower(level) for level in features]
        codes = [self.bbox_pred(level) for level in box_features]
        if self.scales is not None:
            codes = [scale * level for scale, level in zip(self.scales, codes, strict=True)]
        centerness = None
        if self.centerness is not None:
            centerness = per_anchor([self.centerness(level) for level in box_features], 1)[..., 0]
        cls_logits = [self.cls_logits(self.cls_tower(level)) for level in features]
        return Predictions(
            cls_logits=per_anchor(cls_logits, self.num_classes),
            codes=per_anchor(codes, 4),
            centerness=centerness,
        )


def per_anchor(levels: list[Tensor], values: int) -> Tensor:
    """L maps [B, anchors x values, H_l, W_l] -> [B, A, values], in the order of the anchors.

    Always fp32: what follows (scores, decoding, losses) must not depend on autocast.
    """
    return torch.cat(
        [level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values)) for level in levels], dim=1
    ).float()
