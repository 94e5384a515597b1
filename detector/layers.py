"""Layers that the library lacks, or has in fp32 only: two norms, and deformable convolution.

The norms are frozen batch norm in the backbone and GroupNorm in the head. In fp32 they are the
library's, to the bit. Maps that come in bf16 stay in bf16: computed in fp32 and rounded once. The
library makes fp32 maps of them (on a GPU GroupNorm, too): twice the memory to keep and to move,
and a cast before the next convolution.

Shapes: B images, maps of H x W.
"""

from math import inf, nan
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, deform_conv2d

TAPS = 9  # of a deformable 3x3 kernel


class GroupNorm(nn.GroupNorm):
    """torch's; in bf16 the factors and shifts are rounded, too, as a convolution's weights are."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same shape and dtype."""
        if features.dtype == self.weight.dtype:
            return super().forward(features)
        weight, bias = self.weight.to(features.dtype), self.bias.to(features.dtype)
        with torch.autocast(features.device.type, enabled=False):
            return nn.functional.group_norm(features, self.num_groups, weight, bias, self.eps)


class FrozenBatchNorm(FrozenBatchNorm2d):
    """torchvision's; it has statistics and parameters that do not change."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same shape and dtype."""
        if features.dtype == self.weight.dtype:
            return super().forward(features)
        statistics = self.running_mean, self.running_var, self.weight, self.bias
        return _FrozenNormalization.apply(features, *statistics, self.eps)


class _FrozenNormalization(torch.autograd.Function):
    """batch_norm by constants, which keeps nothing of its input for the backward pass.

    That is the same without a shift: the derivative is a factor per channel.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        """[B, channels, H, W], four of [channels] -> [B, channels, H, W]."""
        ctx.save_for_backward(variance, weight)
        ctx.eps = eps
        return nn.functional.batch_norm(features, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """[B, channels, H, W] -> the same, and nothing for the constants."""
        variance, weight = ctx.saved_tensors
        zero = torch.zeros_like(weight)
        scaled = nn.functional.batch_norm(gradient, zero, variance, weight, zero, eps=ctx.eps)
        return scaled, None, None, None, None, None


class DeformableConv2d(nn.Module):
    """Takes the place of a given 3x3 convolution, keeps its weights, stride and groups.

    The second version (Table 8's "DCN" rows): a 3x3 convolution that samples its nine inputs where
    another one tells it to, each weighed by a mask: 27 channels, the nine offsets (dy, dx, dy, dx
    ...) in pixels of the map, then the masks' logits.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert (conv.kernel_size, conv.padding) == ((3, 3), (1, 1))
        self.conv = conv
        self.offset = nn.Conv2d(conv.in_channels, 3 * TAPS, 3, conv.stride[0], padding=1)
        self.reset_offset()

    def reset_offset(self) -> None:
        """Back to the start: the plain convolution at half its strength, sampling its own grid.

        The paper's code starts from random offsets; zeros are what the method's authors do.
        """
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        offsets, masks = self.offset(features).split([2 * TAPS, TAPS], dim=1)
        # torchvision would read from anywhere in memory where a coordinate is no number, as in a
        # run that diverges; the mask says so instead, and the loss is no number, as it should be.
        is_nowhere = offsets.isnan().unflatten(1, (TAPS, 2)).any(dim=2)
        return deform_conv2d(
            features,
            offsets.nan_to_num(0.0, inf, -inf),
            self.conv.weight,
            self.conv.bias,
            stride=self.conv.stride,
            padding=self.conv.padding,
            mask=masks.sigmoid().masked_fill(is_nowhere, nan),
        )
