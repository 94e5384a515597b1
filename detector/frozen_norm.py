"""Batch norm by statistics that do not change, the backbone's in every run of the paper.

Shapes: B images, maps of H x W.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


class FrozenBatchNorm(FrozenBatchNorm2d):
    """torchvision's, to the bit; but maps in bf16 stay in bf16, computed in fp32 and rounded once.

    Its own product with the fp32 statistics makes fp32 maps of them: twice the memory, and a cast
    before each of the next convolutions.
    """

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
        ctx.save_for_backward(variance, weight)
        ctx.eps = eps
        return nn.functional.batch_norm(features, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        variance, weight = ctx.saved_tensors
        zero = torch.zeros_like(weight)
        scaled = nn.functional.batch_norm(gradient, zero, variance, weight, zero, eps=ctx.eps)
        return scaled, None, None, None, None, None
