"""Detectors from files: this project's, the official ATSS code's and mmdetection's.

    read         the file's content, executing nothing         read.py
    recognize    whose it is, by the names of its tensors      conventions.py
    infer        what it does not say of itself                infer.py
    fit          every tensor in its place, or a refusal that says which are not

A state is a file's tensors by name, as its code calls them.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.checkpoint import METADATA, Description
from detector.config import RegressFrom
from detector.detector import Detector, assemble_detector
from detector.weights.conventions import ATSS_SUITE, LAYOUTS, Layout, own_layout
from detector.weights.infer import State, infer
from detector.weights.read import read

CONTAINERS = ("detector", "model", "state_dict")  # where last.ckpt, official, mmdetection keep them
MARK = "head.cls_logits.weight"  # every layout has its own name for it
NAMED_AT_MOST = 3  # tensors of a kind in a refusal


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
        absent = [source for source in sources if source not in state]
        if absent and not layout.tower_bias and key.endswith("conv.bias"):
            fitted[key] = torch.zeros(own.shape, device="cpu")
            continue
        missing += absent
        if not absent:
            parts = [state[source] for source in sources]
            value = parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])
            if value.shape != own.shape:
                misshapen.append(f"{sources[0]} {list(value.shape)}, not {list(own.shape)}")
            fitted[key] = value
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
