"""Backbones with a feature pyramid, P3 to P7 (Sec. 3.1; docs/choices.md Q11, Q23).

ResNets from torchvision (stride in the 3x3 convolution, where the paper's weights had it in the
1x1: about +0.1 to +0.3 AP on all rows alike), and a small one for the CPU.

P6 comes from P5, not C5, and P7 from ReLU(P6): the paper's code, for every row.

A Layout with other conventions than these is for weights that were learnt under them.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.config import CHANNELS_PER_GROUP, BackboneName, Norm
from detector.layers import DeformableConv2d, FrozenBatchNorm, GroupNorm
from detector.weights.conventions import ATSS_SUITE, Layout
from detector.weights.read import read

NormLayer = Callable[[int], nn.Module]


class PyramidBackbone(nn.Module):
    """A body that yields C3, C4 and C5, and the pyramid over them; P3 ... P7 come out as a list."""

    def __init__(
        self,
        body: nn.Module,
        in_channels: list[int],
        out_channels: int,
        *,
        rectified_p6: bool = True,
    ) -> None:
        super().__init__()
        self.body = body
        top = LastLevelP6P7 if rectified_p6 else UnrectifiedTop
        self.fpn = FeaturePyramidNetwork(
            in_channels, out_channels, extra_blocks=top(out_channels, out_channels)
        )
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W], multiples of 32 -> five maps [B, channels, H / S, W / S], rounded up."""
        return list(self.fpn(self.body(images)).values())


class UnrectifiedTop(LastLevelP6P7):
    """P7 from P6 as it is, not from ReLU(P6)."""

    def forward(
        self, p: list[Tensor], c: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """P3 ... P5, C3 ... C5 and their names -> the P levels and names, with P6 and P7."""
        p6 = self.p6(p[-1])
        return [*p, p6, self.p7(p6)], [*names, "p6", "p7"]


class ResNetBody(IntermediateLayerGetter):
    """torchvision's ResNet up to layer4; layer2, layer3 and layer4 give C3, C4 and C5.

    stride_in_1x1: bottlenecks halve the map in their first convolution.
    """

    def __init__(self, name: str, norm_layer: NormLayer, *, stride_in_1x1: bool = False) -> None:
        resnet = get_model(name, weights=None, norm_layer=norm_layer)
        super().__init__(resnet, {"layer2": "0", "layer3": "1", "layer4": "2"})
        self.channels = [resnet.fc.in_features // share for share in (4, 2, 1)]
        if stride_in_1x1:
            for block in self._blocks(2, 3, 4):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride

    def deform(self, *stages: int) -> None:
        """Make the 3x3 convolutions of these layers, by number, deformable."""
        for block in self._blocks(*stages):
            block.conv2 = DeformableConv2d(block.conv2)

    def _blocks(self, *stages: int) -> list[Any]:
        """Those of the layers of these numbers."""
        return [block for stage in stages for block in self[f"layer{stage}"]]


class SmallBody(nn.Module):
    """A stem and three stages of residual blocks with few channels, trained in minutes on a CPU.

    The stem goes to a quarter of the resolution in one step: full-size maps would cost the most.
    """

    channels = [32, 64, 96]

    def __init__(self, norm_layer: NormLayer) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 7, stride=4, padding=3, bias=False),
            norm_layer(32),
            nn.ReLU(inplace=True),
        )
        stages = zip([32, 32, 64], self.channels, strict=True)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, after, 2, norm_layer),
                ResidualBlock(after, after, 1, norm_layer),
            )
            for before, after in stages
        )

    def deform(self, *stages: int) -> None:
        """Make each block's second convolution deformable; a ResNet's layer2 is the first stage."""
        for stage in stages:
            for block in self.get_submodule(f"stages.{stage - 2}").children():
                residual: Any = block.residual
                residual[3] = DeformableConv2d(residual[3])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """[B, 3, H, W] -> C3, C4, C5."""
        features, maps = self.stem(images), {}
        for level, stage in enumerate(self.stages):
            features = maps[str(level)] = stage(features)
        return maps


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            norm_layer(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            norm_layer(after),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and before == after
            else nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), norm_layer(after)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H / stride, W / stride]."""
        return nn.functional.relu(self.shortcut(features) + self.residual(features))


def build_backbone(
    name: BackboneName = "resnet50",
    norm: Norm = "frozen_batch_norm",
    weights: str = "none",
    channels: int | None = None,
    layout: Layout = ATSS_SUITE,
) -> PyramidBackbone:
    """The body, its norm and its weights: "imagenet" (torchvision's V1), "none" or a file's path.

    channels: of P3 ... P7; 256 by default, 32 for the small backbone. layout: conventions of
    weights that are filled in afterwards, and what is deformable: weights loaded here are of plain
    convolutions.
    Under frozen batch norm the stem and layer1 do not train either, as in the official code. Raises
    ValueError where the weights cannot be had or do not fit.
    """
    frozen = partial(FrozenBatchNorm, eps=layout.batch_norm_eps)
    norm_layer = frozen if norm == "frozen_batch_norm" else group_norm
    if name == "small":
        body: SmallBody | ResNetBody = SmallBody(norm_layer)
    else:
        body = ResNetBody(name, norm_layer, stride_in_1x1=layout.stride_in_1x1)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if weights != "none":
        load_body(body, name, weights)
    body.deform(*layout.deformable_stages)
    if norm == "frozen_batch_norm" and isinstance(body, ResNetBody):
        body.conv1.requires_grad_(False)
        body.layer1.requires_grad_(False)
    channels = channels or (32 if name == "small" else 256)
    return PyramidBackbone(body, body.channels, channels, rectified_p6=layout.rectified_p6)


def group_norm(channels: int) -> nn.Module:
    """A norm that trains and does not depend on the batch: what training from scratch needs."""
    return GroupNorm(channels // CHANNELS_PER_GROUP, channels)


def load_body(body: nn.Module, name: str, weights: str) -> None:
    """Fill the body from torchvision's ImageNet V1 weights or from a file of the same keys."""
    if weights == "imagenet":
        state = imagenet_state(name)
    elif Path(weights).is_file():
        state = read(Path(weights))
    else:
        raise ValueError(f"weights need 'imagenet', 'none' or a file, got '{weights}', no file")
    state = {key: state[key] for key in state if key != "metadata" and not key.startswith("fc.")}
    expected = set(body.state_dict())
    given = {key for key in state if not key.endswith("num_batches_tracked")}
    if given != expected:
        missing, left_over = sorted(expected - given), sorted(given - expected)
        raise ValueError(
            f"weights '{weights}' do not fit {name}: {len(missing)} keys missing {missing[:3]}, "
            f"{len(left_over)} left over {left_over[:3]}"
        )
    try:
        body.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"weights '{weights}' do not fit {name}: {reason}") from error


def imagenet_state(name: str) -> dict[str, Tensor]:
    """torchvision's V1 weights (V2 come from another training recipe, not comparable).

    Of resnext101_64x4d there are none by the old recipe: its V1 is by the newer one.
    """
    weights = get_model_weights(name)["IMAGENET1K_V1"]
    file = Path(weights.url).name
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise ValueError(
            f"the ImageNet weights of {name} need the file {file}, which could not be fetched "
            f"({error}): fetch it elsewhere and put it into {cache}, or --set weights=PATH"
        ) from error
