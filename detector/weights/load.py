"""Detectors from files: this project's, the official ATSS code's and mmdetection's.

    read         the file's content, executing nothing         read.py
    recognize    whose it is, by the names of its tensors      conventions.py
    infer        what it does not say of itself
    fit          every tensor in its place, or a refusal that says which are not

A state is a file's tensors by name, as its code calls them. Shapes: A anchors per location.
"""

import json
import re
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors
from detector.checkpoint import METADATA, Description
from detector.config import BackboneName, DetectorConfig, Recipe, RegressFrom
from detector.data.locate import coco_categories
from detector.detector import Detector, assemble_detector
from detector.weights.conventions import ATSS_SUITE, LAYOUTS, Layout, own_layout
from detector.weights.read import read

CONTAINERS = ("detector", "model", "state_dict")  # where last.ckpt, official, mmdetection keep them
MARK = "head.cls_logits.weight"  # every layout has its own name for it
NAMED_AT_MOST = 3  # tensors of a kind in a refusal

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
    notes: list[str]  # what was recognized and mapped, one line each


def load_detector(path: Path, regress_from: RegressFrom | None = None) -> Loaded:
    """The detector in a file, of which only tensors and plain values are read.

    regress_from: of files that do not tell it, as ours do; by default "box".

    Raises FileNotFoundError, or ValueError, in one line, for what cannot be read, belongs to none
    of LAYOUTS, or does not fit.
    """
    content = read(path)
    try:
        state = tensors(content)
        layout = recognize(state)
        if layout == ATSS_SUITE:
            description = own_description(content, regress_from)
            layout = own_layout(description.recipe.deformable)
        else:
            start = regress_from or "box"
            layout, description = infer(layout, state, content.get("meta"), start)
        parts = description.config, description.recipe, len(description.names), layout
        with torch.device("meta"):  # a small file may describe what no memory holds
            fitted = fit(assemble_detector(*parts), state, layout)
        detector = assemble_detector(*parts).eval()
        detector.load_state_dict(fitted)
    except (RuntimeError, ValueError) as error:  # RuntimeError: torch's, for tensors of odd kinds
        raise ValueError(f"weights '{path}': {str(error).splitlines()[0]}") from error
    notes = _notes(detector, description, layout)
    if layout.name != ATSS_SUITE.name:
        num_mapped = sum(map(layout.is_weight, state))
        where = "points" if regress_from == "point" else "boxes"
        anchors = "" if layout.anchors_key else ", of 8S anchors"
        notes += [
            *layout.conventions(),
            f"{num_mapped} tensors mapped, {len(state) - num_mapped} not needed",
            f"taken as regressed from {where}{anchors}: the file itself does not tell, "
            "--set regress_from=point does",
        ]
    return Loaded(detector, description, layout, notes)


def tensors(content: dict[str, Any]) -> State:
    """The tensors among a file's content that are weights, by name."""
    inner = next((content[name] for name in CONTAINERS if name in content), content)
    return {
        # "module.": from training on several GPUs; "_mask": mmdetection's older name.
        name.removeprefix("module.").replace("conv_offset_mask", "conv_offset"): value.detach()
        for name, value in (inner.items() if isinstance(inner, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def recognize(state: State) -> Layout:
    """The layout whose names the tensors have; ValueError for strangers."""
    for layout in LAYOUTS:
        if layout.their_key(MARK) in state:
            return layout
    if any(name.endswith("layer1.0.conv1.weight") for name in state) and not any(
        "head." in name for name in state
    ):
        raise ValueError(
            "a backbone alone, needs a whole detector; a training takes it: --set weights=FILE"
        )
    known = ", ".join(f"{layout.name} ('{layout.their_key(MARK)}')" for layout in LAYOUTS)
    raise ValueError(f"needs the tensors of one of {known}, got {_first(list(state))}")


def own_description(content: dict[str, Any], regress_from: RegressFrom | None) -> Description:
    """As checkpoint's save or save_weights left it; ValueError if they did not, or not so."""
    header = content.get("metadata")
    text = header.get(METADATA) if isinstance(header, dict) else None
    stored = json.loads(text) if isinstance(text, str) else content.get("description")
    if stored is None:
        raise ValueError("needs the description of its detector, which older versions did not keep")
    found = Description.from_json(stored)
    if regress_from and replace(found.config, regress_from=regress_from) != found.config:
        raise ValueError(f"its detector does not regress from a {regress_from}")
    return found


def fit(detector: Detector, state: State, layout: Layout) -> State:
    """The file's tensors under the detector's names; ValueError if one is missing or left over."""
    fitted: State = {}
    missing: list[str] = []
    misshapen: list[str] = []
    left_over = {name for name in state if layout.is_weight(name)}
    for key, own in detector.state_dict().items():
        sources = layout.sources(key)
        left_over -= set(sources)
        if absent := [source for source in sources if source not in state]:
            if key.endswith("conv.bias") and not layout.tower_bias:
                fitted[key] = torch.zeros(own.shape, device="cpu")
            else:
                missing += absent
            continue
        parts = [state[source] for source in sources]
        fitted[key] = parts[0] if len(parts) == 1 else torch.cat([it.flatten() for it in parts])
        if fitted[key].shape != own.shape:
            shape = list(fitted[key].shape)
            misshapen.append(f"{sources[0]} {shape}, not {list(own.shape)}")
    problems = {"missing": missing, "left over": sorted(left_over), "of another shape": misshapen}
    found = [f"{len(names)} {kind}: {_first(names)}" for kind, names in problems.items() if names]
    if found:
        raise ValueError(f"recognized as {layout.name}, but tensors do not fit: {'; '.join(found)}")
    return fitted


def _first(names: list[str]) -> str:
    rest = ", ..." if len(names) > NAMED_AT_MOST else ""
    return ", ".join(names[:NAMED_AT_MOST]) + rest if names else "none"


def _notes(detector: Detector, description: Description, layout: Layout) -> list[str]:
    """What it is."""
    num_anchors = len(detector.get_buffer("cells_0"))
    anchors = "1 anchor" if num_anchors == 1 else f"{num_anchors} anchors"
    notes = [
        f"{layout.name} weights: {description.recipe.backbone}, {len(description.names)} classes, "
        f"{anchors} per location"
    ]
    if layout.deformable_stages or layout.deformable_towers:
        stages = ", ".join(f"layer{stage}" for stage in layout.deformable_stages) or "none"
        towers = "and the towers' last" if layout.deformable_towers else "not the towers"
        notes.append(f"deformable convolutions: {stages}; {towers}")
    return notes


# What published files do not say of themselves, from their tensors


def infer(
    layout: Layout, state: State, meta: Any, regress_from: RegressFrom
) -> tuple[Layout, Description]:
    """This file's own layout, and its description; meta: what mmdetection keeps beside tensors.

    The toggles are the paper's ATSS: improved RetinaNet with Algorithm 1. Backbone, deformable
    convolutions, anchors and classes show in the tensors' names and shapes; regress_from is the one
    toggle that no tensor tells. ValueError for what is none of the paper's detectors.
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
    num_logits = _shape(layout, state, MARK)[0]
    category_ids, names = _categories(num_logits // (len(scales) * len(ratios)), meta)
    config = DetectorConfig(
        **IMPROVEMENTS,
        assigner="atss",
        regress_from=regress_from,
        anchor_scales=scales,
        aspect_ratios=ratios,
    )
    recipe = Recipe(backbone=backbone, pyramid_channels=width)
    offset = "backbone.body.layer{}.0.conv2.offset.weight"
    layout = replace(
        layout,
        stride_in_1x1=layout.stride_in_1x1 and not backbone.startswith("resnext"),
        deformable_stages=tuple(
            n for n in (1, 2, 3, 4) if layout.their_key(offset.format(n)) in state
        ),
        deformable_towers=layout.their_key("head.cls_tower.3.conv.offset.weight") in state,
    )
    return layout, Description(config, recipe, category_ids, names)


def _shape(layout: Layout, state: State, key: str) -> list[int]:
    """Of the file's tensor that we call key, a convolution's weights."""
    theirs = layout.their_key(key)
    if theirs not in state or state[theirs].ndim != 4:
        found = f"{list(state[theirs].shape)}" if theirs in state else "none"
        raise ValueError(f"{layout.name} files need a convolution '{theirs}', got {found}")
    return list(state[theirs].shape)


def _backbone(layout: Layout, state: State) -> BackboneName:
    layer1, layer3 = "backbone.body.layer1.0", "backbone.body.layer3"
    blocks = (layout.their_key(f"{layer3}.{number}.conv1.weight") in state for number in count())
    num_blocks = sum(takewhile(bool, blocks))
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
    """Scales and aspect ratios, height / width; the ratio-major order is every code's.

    ValueError unless every level's anchors are those of the first's scales and ratios.
    """
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
    return scales, ratios


def _categories(num_classes: int, meta: dict[str, Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and names of the labels, which mmdetection may have left: COCO's, or from 1 on."""
    inner = meta.get("dataset_meta")
    places = [meta, inner if isinstance(inner, dict) else {}]
    kept = [place.get("CLASSES") or place.get("classes") for place in places]
    lists = [tuple(each) for each in kept if isinstance(each, list | tuple)]
    names = next((each for each in lists if all(isinstance(name, str) for name in each)), ())
    category_ids, coco = coco_categories()
    if num_classes == len(coco) and names in ((), coco):
        return category_ids, coco
    numbers = tuple(range(1, num_classes + 1))
    return numbers, names if len(names) == num_classes else tuple(f"class {n}" for n in numbers)
