"""The feature pyramid against the plain one and against torchvision's."""

import pytest
import reference
import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.backbone import PyramidBackbone

CHANNELS = [2, 3, 4]  # of C3, C4, C5


class GivenMaps(nn.Module):
    """A body whose C3 to C5 are given."""

    def forward(self, maps):
        return dict(zip("012", maps, strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (1, 1), (3, 5)])  # of C5
def test_the_pyramid_is_the_plain_one_and_torchvisions(rows, columns):
    maps = [
        torch.randn(1, channels, rows * times, columns * times)
        for channels, times in zip(CHANNELS, (4, 2, 1), strict=True)
    ]
    backbone = PyramidBackbone(GivenMaps(), CHANNELS, 2).double()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter)
    maps = [level.double() for level in maps]
    with torch.no_grad():
        found = backbone(maps)
    fpn = backbone.fpn

    def weights(conv):
        return conv.weight.tolist(), conv.bias.tolist()

    expected = reference.pyramid(
        [level[0].tolist() for level in maps],
        [weights(block[0]) for block in fpn.inner_blocks],
        [weights(block[0]) for block in fpn.layer_blocks],
        weights(fpn.extra_blocks.p6),
        weights(fpn.extra_blocks.p7),
    )
    for level, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(level[0], torch.tensor(plain, dtype=torch.float64))
    theirs = FeaturePyramidNetwork(CHANNELS, 2, extra_blocks=LastLevelP6P7(2, 2)).double()
    theirs.load_state_dict(fpn.state_dict())
    with torch.no_grad():
        again = theirs(dict(zip("012", maps, strict=True)))
    for level, other in zip(found, again.values(), strict=True):
        assert torch.equal(level, other)
