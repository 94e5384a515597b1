"""ATSS as the official code and mmdetection have it, from plain functions and nothing else.

A network is run before it has weights: every tensor that it asks for is made at its first use, so
the forward pass is at once the list of a file's names and shapes. Nothing of the product is used.
"""

import math
from dataclasses import dataclass, field

import torch
from torch.nn import functional
from torchvision.ops import deform_conv2d

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

OFFICIAL = {
    "stem": "backbone.body.stem",
    "layer": "backbone.body.layer{}.{}",
    "lateral": [f"backbone.fpn.fpn_inner{i}" for i in (2, 3, 4)],
    "output": [f"backbone.fpn.fpn_layer{i}" for i in (2, 3, 4)],
    "top": ["backbone.fpn.top_blocks.p6", "backbone.fpn.top_blocks.p7"],
    "cls": [f"rpn.head.cls_tower.{i}" for i in (0, 3, 6, 9)],
    "cls_norm": [f"rpn.head.cls_tower.{i}" for i in (1, 4, 7, 10)],
    "box": [f"rpn.head.bbox_tower.{i}" for i in (0, 3, 6, 9)],
    "box_norm": [f"rpn.head.bbox_tower.{i}" for i in (1, 4, 7, 10)],
    "last": ["rpn.head.cls_logits", "rpn.head.bbox_pred", "rpn.head.centerness"],
    "scale": "rpn.head.scales.{}.scale",
    "deformable": ("{}.conv", "{}.offset"),
}
MMDETECTION = {
    "stem": "backbone",
    "layer": "backbone.layer{}.{}",
    "lateral": [f"neck.lateral_convs.{i}.conv" for i in range(3)],
    "output": [f"neck.fpn_convs.{i}.conv" for i in range(3)],
    "top": ["neck.fpn_convs.3.conv", "neck.fpn_convs.4.conv"],
    "cls": [f"bbox_head.cls_convs.{i}.conv" for i in range(4)],
    "cls_norm": [f"bbox_head.cls_convs.{i}.gn" for i in range(4)],
    "box": [f"bbox_head.reg_convs.{i}.conv" for i in range(4)],
    "box_norm": [f"bbox_head.reg_convs.{i}.gn" for i in range(4)],
    "last": ["bbox_head.atss_cls", "bbox_head.atss_reg", "bbox_head.atss_centerness"],
    "scale": "bbox_head.scales.{}.scale",
    "deformable": ("{}", "{}.conv_offset"),
}


@dataclass
class Foreign:
    """A network of another code; its state fills at the first forward pass."""

    names: dict
    depth: int = 50
    groups: int = 1
    width: int = 64  # of a group in layer1
    channels: int = 256  # of the pyramid
    classes: int = 80
    anchors: int = 1
    deformable: tuple = ()  # layers, by number
    deformable_towers: bool = False
    stride_in_1x1: bool = False
    eps: float = 1e-5
    rectified: bool = True
    tower_bias: bool = True
    scale_shape: tuple = ()
    state: dict = field(default_factory=dict)

    def tensor(self, name, shape, make):
        if name not in self.state:
            self.state[name] = make(shape).float()  # as files have it
        assert self.state[name].shape == torch.Size(shape), name
        return self.state[name].double()

    def conv(self, name, x, out, size, stride=1, groups=1, bias=True, deformable=False):
        """Deformable: by 18 offsets, (dy, dx) of nine samples, and nine weights, before sigmoid."""
        main, offset = (it.format(name) for it in self.names["deformable"])
        main = main if deformable else name
        w = self.tensor(f"{main}.weight", (out, x.shape[1] // groups, size, size), he)
        b = self.tensor(f"{main}.bias", (out,), near_zero) if bias else None
        if not deformable:
            return functional.conv2d(x, w, b, stride, size // 2, groups=groups)
        found = self.conv(offset, x, 27, 3, stride)
        mask = found[:, 18:].sigmoid()
        return deform_conv2d(x, found[:, :18], w, b, stride, padding=1, mask=mask)

    def frozen(self, name, x):
        """Small variances, so that an epsilon in the wrong place is seen."""
        count = (x.shape[1],)
        var = self.tensor(f"{name}.running_var", count, lambda n: 10 ** (-3 * torch.rand(n)))
        mean, spread = self.tensor(f"{name}.running_mean", count, near_zero), var.sqrt()
        gain = self.tensor(f"{name}.weight", count, lambda n: spread * (0.5 + 0.5 * torch.rand(n)))
        bias = self.tensor(f"{name}.bias", count, near_zero)
        return functional.batch_norm(x, mean, var, gain, bias, eps=self.eps)

    def block(self, name, x, out, inner, stride, deformable):
        first, second = (stride, 1) if self.stride_in_1x1 or self.depth == 18 else (1, stride)
        size = 3 if self.depth == 18 else 1
        y = self.conv(f"{name}.conv1", x, inner, size, first, bias=False)
        y = self.frozen(f"{name}.bn1", y).relu()
        how = {"groups": self.groups, "bias": False, "deformable": deformable}
        y = self.conv(f"{name}.conv2", y, inner, 3, second, **how)
        y = self.frozen(f"{name}.bn2", y)
        if self.depth != 18:
            y = self.conv(f"{name}.conv3", y.relu(), out, 1, bias=False)
            y = self.frozen(f"{name}.bn3", y)
        if stride != 1 or x.shape[1] != out:
            x = self.conv(f"{name}.downsample.0", x, out, 1, stride, bias=False)
            x = self.frozen(f"{name}.downsample.1", x)
        return (x + y).relu()

    def body(self, images):
        stem = self.names["stem"]
        x = self.conv(f"{stem}.conv1", images, 64, 7, 2, bias=False)
        x = functional.max_pool2d(self.frozen(f"{stem}.bn1", x).relu(), 3, 2, 1)
        maps = []
        for stage, count in enumerate(BLOCKS[self.depth], start=1):
            inner = self.groups * self.width * 2 ** (stage - 1)
            out = (64 if self.depth == 18 else 256) * 2 ** (stage - 1)
            for index in range(count):
                name = self.names["layer"].format(stage, index)
                stride = 2 if stage > 1 and index == 0 else 1
                x = self.block(name, x, out, inner, stride, stage in self.deformable)
            maps.append(x)
        return maps[1:]

    def pyramid(self, maps):
        above, levels = None, []
        for index in (2, 1, 0):
            x = self.conv(self.names["lateral"][index], maps[index], self.channels, 1)
            if above is not None:
                x = x + functional.interpolate(above, size=x.shape[2:], mode="nearest")
            above = x
            levels.insert(0, self.conv(self.names["output"][index], x, self.channels, 3))
        p6 = self.conv(self.names["top"][0], levels[-1], self.channels, 3, 2)
        below = p6.relu() if self.rectified else p6
        return [*levels, p6, self.conv(self.names["top"][1], below, self.channels, 3, 2)]

    def tower(self, kind, x):
        for index in range(4):
            name, norm = self.names[kind][index], self.names[f"{kind}_norm"][index]
            how = {"bias": self.tower_bias, "deformable": self.deformable_towers and index == 3}
            x = self.conv(name, x, self.channels, 3, **how)
            gain = self.tensor(f"{norm}.weight", (self.channels,), around_one)
            bias = self.tensor(f"{norm}.bias", (self.channels,), near_zero)
            x = functional.group_norm(x, 32, gain, bias, 1e-5).relu()
        return x

    @torch.no_grad()
    def __call__(self, images):
        """[B, 3, H, W] -> logits [B, A, C], codes [B, A, 4], centerness [B, A], all levels."""
        logits, codes, centerness = [], [], []
        for level, x in enumerate(self.pyramid(self.body(images.double()))):
            cls, box = self.tower("cls", x), self.tower("box", x)
            last = self.names["last"]
            scale = self.tensor(self.names["scale"].format(level), self.scale_shape, around_one)
            found = self.conv(last[0], cls, self.anchors * self.classes, 3)
            logits.append(per_anchor(found, self.classes))
            codes.append(per_anchor(self.conv(last[1], box, self.anchors * 4, 3) * scale, 4))
            centerness.append(per_anchor(self.conv(last[2], box, self.anchors, 3), 1))
        return torch.cat(logits, 1), torch.cat(codes, 1), torch.cat(centerness, 1)[..., 0]


def per_anchor(x, values):
    """[B, A values, H, W] -> [B, H W A, values]."""
    return x.unflatten(1, (-1, values)).permute(0, 3, 4, 1, 2).flatten(1, 3)


def he(shape):
    return torch.randn(shape) * math.sqrt(2 / math.prod(shape[1:]))


def near_zero(shape):
    return 0.1 * torch.randn(shape)


def around_one(shape):
    return 1 + 0.2 * torch.randn(shape)


def official(groups=1, **settings):
    """The official code's network; ResNeXts have their stride in the 3x3 convolution."""
    conventions = {"stride_in_1x1": groups == 1, "eps": 0.0, "scale_shape": (1,)}
    return Foreign(OFFICIAL, groups=groups, **conventions, **settings)


def mmdetection(**settings):
    """mmdetection's network."""
    return Foreign(MMDETECTION, rectified=False, tower_bias=False, **settings)


def official_anchors(scales=(8.0,), ratios=(1.0,)):
    """Of every level's first location, [A, 4]: corners are the first and last pixels' indices.

    ratios are height / width; sides are whole pixels at the stride's own size, then scaled.
    """
    levels = {}
    for level in range(5):
        stride = 8 * 2**level
        corners = []
        for ratio in ratios:
            width = round(stride / math.sqrt(ratio))
            height = round(width * ratio)
            for scale in scales:
                x, y = (scale * width - 1) / 2, (scale * height - 1) / 2
                corners.append([stride / 2 - x, stride / 2 - y, stride / 2 + x, stride / 2 + y])
        levels[f"rpn.anchor_generator.cell_anchors.{level}"] = torch.tensor(corners)
    return levels


class Payload:
    """Unpickled by the ordinary reader, it calls the function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call
