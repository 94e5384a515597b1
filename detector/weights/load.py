"""Detectors from files: this project's, the official ATSS code's and mmdetection's.

    read         the file's content, executing nothing         read.py
    recognize    whose it is, by the name of a tensor           conventions.py
    renamed      its tensors under this project's names
    infer        what it does not say of itself
    fit          every tensor in its place, or a refusal that says which are not

A state is a file's tensors by name. Shapes: A anchors per location.
"""

import json
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.anchors import STRIDES
from detector.checkpoint import METADATA, Description
from detector.config import BackboneName, DetectorConfig, Recipe, RegressFrom
from detector.data.locate import coco_categories
from detector.detector import Detector, assemble_detector
from detector.weights.conventions import ATSS_SUITE, LAYOUTS, Layout, own_layout
from detector.weights.read import read

CONTAINERS = ("detector", "model", "state_dict")  # where last.ckpt, official, mmdetection keep them
TOLD = 300  # characters of a refusal that names tensors

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

State = dict[str, Tensor]


@dataclass(frozen=True)
class Loaded:
    """A detector from a file, and what using it takes."""

    detector: Detector  # on the CPU, in evaluation mode
    description: Description
    layout: Layout
    notes: list[str]  # what was recognized, one line each


def load_detector(path: Path, regress_from: RegressFrom | None = None) -> Loaded:
    """The detector in a file, of which only tensors and plain values are read.

    regress_from: of files that do not tell it, as ours do; by default "box".

    Raises FileNotFoundError, or ValueError, in one line, for what cannot be read, belongs to none
    of LAYOUTS, or does not fit.
    """
    content = read(path)
    try:
        state = tensors(content)
        layout, start = recognize(state), regress_from or "box"
        state = renamed(state, layout)
        if layout == ATSS_SUITE:
            description = own_description(content, regress_from)
            layout = own_layout(description.recipe.deformable)
        else:
            layout, description = infer(layout, state, content.get("meta"), start)
        detector = fit(state, layout, description)
        for name, value in detector.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(f"tensor {name} needs finite numbers, has NaN or infinity")
    except (RuntimeError, ValueError) as error:  # RuntimeError: torch's, for tensors of odd kinds
        raise ValueError(f"weights '{path}': {str(error).splitlines()[0]}") from error
    return Loaded(detector, description, layout, _notes(detector, description, layout, start))


def tensors(content: dict[str, Any]) -> State:
    """The tensors among a file's content that are weights, by name."""
    inner = next((content[name] for name in CONTAINERS if name in content), content)
    return {
        name.removeprefix("module."): value.detach()  # "module.": from training on several GPUs
        for name, value in (inner.items() if isinstance(inner, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def recognize(state: State) -> Layout:
    """The layout that has one of these names; ValueError for strangers."""
    for layout in LAYOUTS:
        if layout.mark in state:
            return layout
    known = ", ".join(f"{layout.name} ('{layout.mark}')" for layout in LAYOUTS)
    given = ", ".join(list(state)[:3]) or "none"
    raise ValueError(f"needs the tensors of a whole detector, of one of {known}, got {given} ...")


def renamed(state: State, layout: Layout) -> State:
    """The tensors under our names; the anchors that a file may keep stay under theirs."""
    ours = {layout.our_key(theirs): value for theirs, value in state.items()}
    scales = [ours.pop(f"head.scales.{level}.scale", None) for level in range(len(STRIDES))]
    if all(scale is not None for scale in scales):
        ours["head.scales"] = torch.cat([scale.flatten() for scale in scales if scale is not None])
    for module in [key.removesuffix(".offset.weight") for key in ours if ".offset.weight" in key]:
        for part in ("weight", "bias"):  # in mmdetection the offsets' convolution is inside it
            if f"{module}.{part}" in ours:
                ours[f"{module}.conv.{part}"] = ours.pop(f"{module}.{part}")
    if not layout.tower_bias:
        for key in [key for key in ours if "_tower." in key and key.endswith("conv.weight")]:
            zeros = ours[key].new_zeros(ours[key].shape[:1])
            ours.setdefault(key.removesuffix("weight") + "bias", zeros)
    return ours


def own_description(content: dict[str, Any], regress_from: RegressFrom | None) -> Description:
    """As checkpoint's save or save_weights left it; ValueError if they did not, or not so."""
    header = content.get("metadata")
    text = header.get(METADATA) if isinstance(header, dict) else None
    stored = json.loads(text) if isinstance(text, str) else content.get("description")
    if stored is None:
        raise ValueError("needs the description of its detector, which older versions did not keep")
    found = Description.from_json(stored)
    if regress_from and found.config != replace(found.config, regress_from=regress_from):
        raise ValueError(f"its detector does not regress from a {regress_from}")
    return found


def fit(state: State, layout: Layout, description: Description) -> Detector:
    """The detector with these tensors; ValueError if one is missing, left over or misshapen."""
    parts = description.config, description.recipe, len(description.names), layout
    try:
        with torch.device("meta"):  # a small file may describe what no memory holds
            assemble_detector(*parts).load_state_dict(state, assign=True)
        detector = assemble_detector(*parts).eval()
        detector.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"recognized as {layout.name}, but tensors do not fit: {told:.{TOLD}}"
        ) from error
    return detector


def _notes(
    detector: Detector, description: Description, layout: Layout, start: RegressFrom
) -> list[str]:
    """What it is, and what was taken for granted."""
    num_anchors = len(detector.get_buffer("cells_0"))
    notes = [
        f"{layout.name} weights: {description.recipe.backbone}, {len(description.names)} classes, "
        f"{num_anchors} anchor{'s' * (num_anchors > 1)} per location"
    ]
    deformable = [f"layer{stage}" for stage in layout.deformable_stages]
    deformable += ["the towers' last"] * layout.deformable_towers
    if deformable:
        notes.append(f"deformable convolutions: {', '.join(deformable)}")
    if layout.name != ATSS_SUITE.name:
        notes.append(
            f"taken as regressed from a {start}{'' if layout.anchors_key else ', of 8S anchors'}: "
            "the file itself does not tell, --set regress_from=point does"
        )
    return notes


# What published files do not say of themselves, from their tensors


def infer(
    layout: Layout, state: State, meta: Any, regress_from: RegressFrom
) -> tuple[Layout, Description]:
    """This file's own layout, and its description; meta: what mmdetection keeps beside tensors.

    The toggles are the paper's ATSS: improved RetinaNet with Algorithm 1. Backbone, deformable
    convolutions, anchors and classes show in the tensors' names and shapes; regress_from is the one
    toggle that no tensor tells. Kept anchors are taken out of the state. ValueError for what is
    none of the paper's detectors.
    """
    backbone = _backbone(state)
    scales, ratios = _anchors(layout, state)
    num_classes = _shape(state, "head.cls_logits.weight")[0] // (len(scales) * len(ratios))
    category_ids, names = _categories(num_classes, meta if isinstance(meta, dict) else {})
    config = DetectorConfig(
        **IMPROVEMENTS,
        assigner="atss",
        regress_from=regress_from,
        anchor_scales=scales,
        aspect_ratios=ratios,
    )
    width = _shape(state, "backbone.fpn.layer_blocks.0.0.weight")[0]
    recipe = Recipe(backbone=backbone, pyramid_channels=width)
    offset = "backbone.body.layer{}.0.conv2.offset.weight"
    layout = replace(
        layout,
        stride_in_1x1=layout.stride_in_1x1 and not backbone.startswith("resnext"),
        deformable_stages=tuple(n for n in (2, 3, 4) if offset.format(n) in state),
        deformable_towers="head.cls_tower.3.conv.offset.weight" in state,
    )
    return layout, Description(config, recipe, category_ids, names)


def _shape(state: State, key: str) -> list[int]:
    """Of a convolution's weights."""
    shape = list(state[key].shape) if key in state else []
    if len(shape) != 4:
        raise ValueError(f"needs a convolution's weights in what is here '{key}', got {shape}")
    return shape


def _backbone(state: State) -> BackboneName:
    layer1, layer3 = "backbone.body.layer1.0", "backbone.body.layer3"
    blocks = (f"{layer3}.{number}.conv1.weight" in state for number in count())
    num_blocks = sum(takewhile(bool, blocks))
    channels, per_group = _shape(state, f"{layer1}.conv2.weight")[:2]
    name = BACKBONES.get((num_blocks, channels, per_group, f"{layer1}.conv3.weight" in state))
    if name is None:
        raise ValueError(
            f"its backbone needs to be one of {', '.join(BACKBONES.values())}, got {num_blocks} "
            f"blocks in layer3, {channels} channels, {per_group} per group, in layer1"
        )
    return name


def _anchors(layout: Layout, state: State) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and aspect ratios, height / width; the ratio-major order is every code's.

    ValueError unless every level's anchors are those of the first's scales and ratios.
    """
    num_anchors = _shape(state, "head.bbox_pred.weight")[0] // 4
    if not layout.anchors_key:
        if num_anchors != 1:
            raise ValueError(
                f"{num_anchors} anchors per location need their scales and aspect ratios, which "
                f"{layout.name} files do not hold; only of a single one the paper's are taken"
            )
        return (8.0,), (1.0,)
    keys = [f"{layout.anchors_key}{level}" for level in range(len(STRIDES))]
    cells = [state.pop(key, torch.empty(0)) for key in keys]
    is_whole = num_anchors > 0 and all(cell.shape == (num_anchors, 4) for cell in cells)
    corners = torch.stack(cells).double() if is_whole else torch.empty(5, 0, 4)
    sides = corners[..., 2:] - corners[..., :2] + 1  # their x2 and y2 are inside
    in_strides = sides / torch.tensor(STRIDES)[:, None, None]
    if not is_whole or not torch.allclose(in_strides, in_strides[:1], rtol=1e-4):
        given = str([cell.tolist() for cell in cells])
        raise ValueError(
            f"'{keys[0]}' and so on need to be the {num_anchors} anchors [A, 4] of every level, of "
            f"one size in strides, not rounded to whole pixels, got {given:.{TOLD}}"
        )
    all_ratios = (sides[0, :, 1] / sides[0, :, 0]).tolist()
    num_scales = all_ratios.count(all_ratios[0])
    scales = in_strides[0, :num_scales].prod(dim=1).sqrt().tolist()
    return tuple(scales), tuple(all_ratios[::num_scales])


def _categories(num_classes: int, meta: dict[str, Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and names of the labels, which mmdetection may have left: COCO's, or from 1 on."""
    inner = meta.get("dataset_meta")
    kept = meta.get("CLASSES") or (inner.get("classes") if isinstance(inner, dict) else None)
    names = tuple(map(str, kept)) if isinstance(kept, list | tuple) else ()
    category_ids, coco = coco_categories()
    if num_classes == len(coco) and names in ((), coco):
        return category_ids, coco
    numbers = tuple(range(1, num_classes + 1))
    return numbers, names if len(names) == num_classes else tuple(f"class {n}" for n in numbers)
