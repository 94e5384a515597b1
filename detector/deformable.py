"""Deformable convolution, second version (Table 8's "DCN" rows).

A 3x3 convolution that samples its nine inputs where a second convolution tells it to, each weighed
by a mask: 27 channels, the nine offsets (dy, dx, dy, dx ...) in pixels of the map, then the masks'
logits.
"""

from math import inf, nan

from torch import Tensor, nn
from torchvision.ops import deform_conv2d

TAPS = 9  # of a 3x3 kernel


class DeformableConv2d(nn.Module):
    """Takes the place of a given 3x3 convolution, keeps its weights, stride and groups."""

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
