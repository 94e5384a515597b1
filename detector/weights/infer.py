"""What published files of ATSS do not say of themselves, from their tensors.

The toggles are the paper's ATSS: improved RetinaNet with Algorithm 1. Backbone, deformable
convolutions, anchors and classes show in the tensors' names and shapes.

Shapes: A anchors per location.
"""

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors
from detector.checkpoint import Description
from detector.config import BackboneName, DetectorConfig, Recipe, RegressFrom
from detector.data.locate import coco_categories
from detector.weights.conventions import Layout

State = dict[str, Tensor]

# The paper's, of RetinaNet (Table 1)
IMPROVEMENTS = dict.fromkeys(("group_norm", "giou_loss", "in_gt_box", "centerness", "scalar"), True)

# Blocks in layer3; channels, and channels per group, of layer1's 3x3; whether bottlenecks
BACKBONES: dict[tuple[int, int, int, bool], BackboneName] = {
    (2, 64, 64, False): "resnet18",
    (6, 64, 64, False): "resnet34",
    (6, 64, 64, True): "resnet50",
    (23, 64, 64, True): "resnet101",
    (23, 256, 8, True): "resnext101_32x8d",
    (23, 256, 4, True): "resnext101_64x4d",
}


def infer(
    layout: Layout, state: State, meta: Any, regress_from: RegressFrom = "box"
) -> tuple[Layout, Description]:
    """This file's own layout, and its description; meta: what mmdetection keeps beside tensors.

    regress_from: the one toggle that no tensor tells.

    Raises ValueError for what is none of the paper's detectors.
    """
    meta = meta if isinstance(meta, dict) else {}
    if re.search(r"style\W{1,5}caffe", str(meta.get("config") or meta.get("cfg"))):
        raise ValueError(
            "its settings say style='caffe' (BGR images, stride in the 1x1 convolutions), needs "
            "'pytorch', which mmdetection's ATSS has"
        )
    backbone = _backbone(layout, state)
    scales, ratios = _anchors(layout, state)
    width = _shape(layout, state, "backbone.fpn.layer_blocks.0.0.weight")[0]
    num_logits = _shape(layout, state, "head.cls_logits.weight")[0]
    category_ids, names = _categories(num_logits // (len(scales) * len(ratios)), _names(meta))
    description = Description(
        config=DetectorConfig(
            **IMPROVEMENTS,
            assigner="atss",
            regress_from=regress_from,
            anchor_scales=scales,
            aspect_ratios=ratios,
        ),
        recipe=Recipe(backbone=backbone, pyramid_channels=width),
        category_ids=category_ids,
        names=names,
    )
    offset = "backbone.body.layer{}.0.conv2.offset.weight"
    stages = [n for n in (1, 2, 3, 4) if layout.their_key(offset.format(n)) in state]
    layout = replace(
        layout,
        stride_in_1x1=layout.stride_in_1x1 and not backbone.startswith("resnext"),
        deformable_stages=tuple(stages),
        deformable_towers=layout.their_key("head.cls_tower.3.conv.offset.weight") in state,
    )
    return layout, description


def _shape(layout: Layout, state: State, key: str) -> list[int]:
    """Of the file's tensor that we call key, a convolution's weights."""
    theirs = layout.their_key(key)
    if theirs not in state or state[theirs].ndim != 4:
        found = f"{list(state[theirs].shape)}" if theirs in state else "none"
        raise ValueError(f"{layout.name} files need a convolution '{theirs}', got {found}")
    return list(state[theirs].shape)


def _backbone(layout: Layout, state: State) -> BackboneName:
    layer1, layer3 = "backbone.body.layer1.0", "backbone.body.layer3"
    num_blocks = 0
    while layout.their_key(f"{layer3}.{num_blocks}.conv1.weight") in state:
        num_blocks += 1
    channels, per_group = _shape(layout, state, f"{layer1}.conv2.weight")[:2]
    has_bottlenecks = layout.their_key(f"{layer1}.conv3.weight") in state
    name = BACKBONES.get((num_blocks, channels, per_group, has_bottlenecks))
    if name is None:
        raise ValueError(
            f"its backbone needs to be one of {', '.join(BACKBONES.values())}, got {num_blocks} "
            f"blocks in layer3, {channels} channels, {per_group} per group, in layer1"
        )
    return name


def _anchors(layout: Layout, state: State) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and aspect ratios, height / width; the ratio-major order is every code's."""
    num_anchors = _shape(layout, state, "head.bbox_pred.weight")[0] // 4
    if not layout.anchors_key:
        if num_anchors != 1:
            raise ValueError(
                f"{num_anchors} anchors per location need their scales and aspect ratios, which "
                f"{layout.name} files do not hold; only of a single one the paper's are taken"
            )
        return (8.0,), (1.0,)
    first = f"{layout.anchors_key}0"
    cells = state.get(first)
    if cells is None or cells.shape != (num_anchors, 4) or not num_anchors:
        found = "none, as in files of FCOS" if cells is None else f"{list(cells.shape)}"
        raise ValueError(f"'{first}' needs to be the {num_anchors} anchors [A, 4], got {found}")
    sides = (cells[:, 2:] - cells[:, :2] + 1).double()  # inclusive corners
    all_ratios = (sides[:, 1] / sides[:, 0]).tolist()
    num_scales = all_ratios.count(all_ratios[0])
    scales = tuple((sides[:num_scales].prod(dim=1).sqrt() / STRIDES[0]).tolist())
    ratios = tuple(all_ratios[::num_scales])
    _check_anchors(layout, state, scales, ratios)
    return scales, ratios


def _check_anchors(
    layout: Layout, state: State, scales: tuple[float, ...], ratios: tuple[float, ...]
) -> None:
    """ValueError unless every level's anchors are those of the first's scales and ratios."""
    last_pixel = torch.tensor([0.0, 0.0, 1.0, 1.0]) * layout.inclusive_corners
    for level, stride in enumerate(STRIDES):
        key = f"{layout.anchors_key}{level}"
        offset = layout.anchor_offset(stride) + stride / 2
        needed = cell_anchors(stride, scales, ratios) + offset - last_pixel
        given = state.get(key, needed.new_zeros(0)).float()
        if given.shape != needed.shape or not torch.allclose(given, needed, atol=0.01):
            raise ValueError(
                f"'{key}' needs to be {needed.tolist()}, as the first level's scales and ratios "
                f"say, not rounded to whole pixels, got {given.tolist()}"
            )


def _names(meta: dict[str, Any]) -> tuple[str, ...]:
    """The classes as mmdetection's training left them, if it did."""
    inner = meta.get("dataset_meta")
    for place in (meta, inner if isinstance(inner, dict) else {}):
        names = place.get("CLASSES") or place.get("classes")
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def _categories(count: int, names: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and names of the labels: COCO's where there are 80, else 1, 2, 3 ..."""
    category_ids, coco = coco_categories()
    if count == len(coco) and names in ((), coco):
        return category_ids, coco
    numbers = tuple(range(1, count + 1))
    return numbers, names if len(names) == count else tuple(f"class {n}" for n in numbers)
