"""A user's assigner selects samples of a made-up image before a launch pays for it."""

import torch
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import IGNORED
from experiments.experiment import Run
from experiments.own import load_assigner

HEIGHT, WIDTH = 256, 320
OBJECTS = ((20.0, 30.0, 120.0, 200.0), (200.0, 40.0, 230.0, 60.0), (210.0, 44.0, 300.0, 250.0))


def rehearse(run: Run) -> None:
    """ValueError in one line where a run's own assigner fails or returns what is no assignment."""
    assert run.assigner is not None
    assign = load_assigner(run.assigner)
    scales, ratios = run.config.anchor_scales, run.config.aspect_ratios
    cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
    anchors, gt_boxes = grid_anchors(level_sizes(HEIGHT, WIDTH), cells), torch.tensor(OBJECTS)
    try:
        matched = assign(anchors, gt_boxes)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the assigner {run.assigner} fails: {type(error).__name__}: {reason}"
        ) from error
    if problem := _problem(matched, sum(map(len, anchors)), len(gt_boxes)):
        raise ValueError(
            f"the assigner {run.assigner} needs to return, for every anchor, the index of a ground "
            f"truth, NEGATIVE or IGNORED: int64 [{sum(map(len, anchors))}], got {problem}"
        )


def _problem(matched: object, num_anchors: int, num_objects: int) -> str:
    """What is wrong with an assignment; empty if nothing is."""
    if not isinstance(matched, Tensor):
        return f"a {type(matched).__name__}"
    if matched.dtype != torch.int64 or matched.shape != (num_anchors,):
        return f"{str(matched.dtype).removeprefix('torch.')} {list(matched.shape)}"
    low, high = int(matched.min()), int(matched.max())
    if low < IGNORED or high >= num_objects:
        return f"values from {low} to {high} for {num_objects} objects"
    return ""
