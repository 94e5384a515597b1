"""What does each sample selection of Table 9 choose, and what does it cost?

    python benchmarks/selection.py [--out results] [--data shapes-large] [--batches 20]

On made-up images of the paper's size with ten objects each: the time of selection per batch beside
ATSS's. And with the weights that `atss reproduce table9` left in the results folder (seed 0; of
rows without this is left out), on the batches that training ends with: the same, where it goes into
calls rather than numbers, positives per object and objects without any. The forward pass that some
need beforehand is told apart. Writes selection.json and prints a table.
"""

import argparse
from functools import partial
from itertools import islice
from pathlib import Path

import pages
import torch
from side_by_side import in_turns, milliseconds

from detector import checkpoint
from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import build_assigner
from detector.config import DetectorConfig
from detector.data.batches import batches
from detector.data.coco import open_data
from detector.prediction_assigners import Predicted
from detector.training import assemble
from experiments.baselines import ATSS
from experiments.experiment import Run, signature
from experiments.schedules import SCALES
from experiments.table9 import ROWS
from orchestration.run_folder import open_store

HEIGHT, WIDTH, IMAGES, OBJECTS, CLASSES = 800, 1344, 4, 10, 80


def times_atss(config: DetectorConfig) -> float:
    """What a selection takes at the paper's size, in ATSS's time; boxes predicted near anchors."""
    torch.manual_seed(0)
    sides = 16 * 24 ** torch.rand(IMAGES, OBJECTS, 2)  # 16 to 384 pixels
    middles = torch.rand(IMAGES, OBJECTS, 2) * torch.tensor([WIDTH, HEIGHT])
    corners = torch.cat([middles - sides / 2, middles + sides / 2], dim=2)
    boxes = [*corners.clamp(torch.zeros(4), torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))]
    shapes = config.anchor_scales, config.aspect_ratios
    cells = [cell_anchors(stride, *shapes) for stride in STRIDES]
    anchors = grid_anchors(level_sizes(HEIGHT, WIDTH), cells)
    found = torch.cat(anchors) + 8 * torch.randn(IMAGES, sum(map(len, anchors)), 4)
    probabilities = 0.05 * torch.rand(*found.shape[:2], CLASSES)
    predicted = Predicted(probabilities, found, torch.randint(CLASSES, (IMAGES, OBJECTS)))
    works = {
        "selection": partial(build_assigner(config).of_batch, anchors, boxes, predicted),
        "ATSS": partial(build_assigner(ATSS).of_batch, anchors, boxes),
    }
    ms = milliseconds(in_turns(works, 25, "cpu"))
    return ms["selection"] / ms["ATSS"]


def measure(run: Run, weights: Path, given: argparse.Namespace) -> dict[str, float]:
    """What a trained row adds to the table."""
    data = open_data(given.data).train
    detector, _ = assemble(run.config, run.recipe, len(data.names), seed=0)
    reference, _ = assemble(ATSS, run.recipe, len(data.names), seed=0)
    checkpoint.load_weights(weights, detector)
    counts, spent = list[torch.Tensor](), {"selection": [], "ATSS": [], "forward pass": []}
    last = run.recipe.iterations - given.batches
    for images, targets in islice(batches(data, run.recipe, seed=0, start=last), given.batches):
        size, boxes = (images.shape[2], images.shape[3]), [it["boxes"] for it in targets]
        anchors, predicted = detector.anchors(*size), detector.predicted(images, targets)
        works = {
            "selection": partial(detector.assigner.of_batch, anchors, boxes, predicted),
            "ATSS": partial(reference.assigner.of_batch, anchors, boxes),
            "forward pass": partial(detector.predicted, images, targets),
        }
        for work, times in in_turns(works, 3, "cpu").items():
            spent[work] += times
        for matched, its in zip(works["selection"](), boxes, strict=True):
            counts.append(torch.bincount(matched[matched >= 0], minlength=len(its)))
    ms, positives = milliseconds(spent), torch.cat(counts).double()
    return {
        "positives per object": positives.mean().item(),
        "objects without, %": 100 * (positives == 0).double().mean().item(),
        "ms per batch": ms["selection"],
        "times ATSS": ms["selection"] / ms["ATSS"],
        "ms of the forward pass": ms["forward pass"] * detector.assigner.needs_predictions,
    }


def main() -> None:
    """Measure what is trained, print and write."""
    defaults = {"out": "results", "data": "shapes-large", "scale": "demo", "batches": 20}
    given = pages.options(__doc__, **defaults).parse_args()
    torch.set_num_threads(1)
    store, fingerprint = open_store(given.out), open_data(given.data).fingerprint
    rows = list[dict[str, float | str]]()
    for config, name in {row.config: row.label for row in reversed(ROWS)}.items():
        run = Run(config, SCALES[given.scale], fingerprint, 0)
        weights = store.folder(signature(run)).weights
        trained = measure(run, weights, given) if weights.exists() else {}
        rows.insert(
            0, {"selection": name, "times ATSS at full size": times_atss(config), **trained}
        )
    about = {"where": pages.machine(), "scale": given.scale, "data": given.data}
    pages.write_json(pages.HERE, "selection", about | {"rows": rows})
    names = max(rows, key=len)
    cells = [[it.get(name, "–") for name in names] for it in rows]
    shown = [[f"{it:.2f}" if isinstance(it, float) else it for it in its] for its in cells]
    heads = "|".join(f"{name}:" for name in names).replace(":", "", 1)
    print(about["where"], pages.table(heads, shown), sep="\n\n")


if __name__ == "__main__":
    main()
