"""The two norms of the study: frozen batch norm in the backbone, GroupNorm in the head.

In fp32 they are the library's, to the bit. Maps that come in bf16 stay in bf16: computed in fp32
and rounded once. The library makes fp32 maps of them (on a GPU GroupNorm, too): twice the memory to
keep and to move, and a cast before the next convolution.

Shapes: B images, maps of H x W.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


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
