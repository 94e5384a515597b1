"""A user's assigner selects samples of a made-up image before a launch pays for it."""

import torch

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import checked
from experiments.experiment import Run
from experiments.own import load_assigner

HEIGHT, WIDTH = 256, 320
OBJECTS = ((20.0, 30.0, 120.0, 200.0), (200.0, 40.0, 230.0, 60.0), (210.0, 44.0, 300.0, 250.0))


def rehearse(run: Run) -> None:
    """ValueError in one line where a run's own assigner fails or returns what is no assignment."""
    assert run.assigner is not None
    assign = checked(load_assigner(run.assigner), str(run.assigner))
    scales, ratios = run.config.anchor_scales, run.config.aspect_ratios
    cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
    assign(grid_anchors(level_sizes(HEIGHT, WIDTH), cells), torch.tensor(OBJECTS))
