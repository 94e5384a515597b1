"""What does each sample selection of Table 9 choose, and what does it cost?

    python benchmarks/selection.py [--out results] [--data shapes-large] [--batches 20]

With the weights that `atss reproduce table9` left in the results folder (seed 0; rows without are
left out), on the batches that training ends with: positives per object, objects without any, and
milliseconds of selection per batch beside ATSS's on the same batch. The forward pass that some need
beforehand is told apart. Writes selection.json and prints a table.
"""

import argparse
import json
import statistics
from itertools import islice
from pathlib import Path

import torch
from side_by_side import in_turns, machine

from detector import checkpoint
from detector.data.batches import batches
from detector.data.coco import open_data
from detector.training import assemble
from experiments.baselines import ATSS
from experiments.experiment import Run, signature
from experiments.schedules import SCALES
from experiments.table9 import ROWS
from orchestration.run_folder import open_store

HERE = Path(__file__).parent


def measure(name: str, run: Run, weights: Path, given: argparse.Namespace) -> dict[str, object]:
    """One row of the table."""
    data = open_data(given.data).train
    detector, _ = assemble(run.config, run.recipe, len(data.names), seed=0)
    reference, _ = assemble(ATSS, run.recipe, len(data.names), seed=0)
    checkpoint.load_weights(weights, detector)
    objects = positives = without = 0
    spent: dict[str, list[float]] = {"selection": [], "ATSS": [], "forward pass": []}
    last = run.recipe.iterations - given.batches
    for images, targets in islice(batches(data, run.recipe, seed=0, start=last), given.batches):
        size, boxes = (images.shape[2], images.shape[3]), [it["boxes"] for it in targets]
        anchors, predicted = detector.anchors(*size), detector.predicted(images, targets)
        works = {
            "selection": lambda: detector.assigner.of_batch(anchors, boxes, predicted),  # noqa: B023
            "ATSS": lambda: reference.assigner.of_batch(anchors, boxes),  # noqa: B023
            "forward pass": lambda: detector.predicted(images, targets),  # noqa: B023
        }
        for work, times in in_turns(works, 3, "cpu").items():
            spent[work] += times
        for matched, its in zip(works["selection"](), boxes, strict=True):
            counts = torch.bincount(matched[matched >= 0], minlength=len(its))
            objects += len(its)
            positives += int(counts.sum())
            without += int((counts == 0).sum())
    ms = {work: 1000 * statistics.median(times) for work, times in spent.items()}
    return {
        "selection": name,
        "positives per object": positives / objects,
        "objects without, %": 100 * without / objects,
        "ms per batch": ms["selection"],
        "times ATSS": ms["selection"] / ms["ATSS"],
        "ms of the forward pass": ms["forward pass"]
        if detector.assigner.needs_predictions
        else 0.0,
    }


def main() -> None:
    """Measure what is trained, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="results")
    parser.add_argument("--data", default="shapes-large")
    parser.add_argument("--scale", default="demo")
    parser.add_argument("--batches", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    store, fingerprint = open_store(given.out), open_data(given.data).fingerprint
    rows = []
    for row in ROWS:
        run = Run(row.config, SCALES[given.scale], fingerprint, 0)
        folder = store.folder(signature(run))
        if folder.weights.exists():
            rows.append(measure(row.label, run, folder.weights, given))
    if not rows:
        raise SystemExit(f"nothing of Table 9 is trained in {store.root}: atss reproduce table9")
    content = {"where": machine("cpu"), "scale": given.scale, "data": given.data, "rows": rows}
    (HERE / "selection.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{content['where']}\n\n| {' | '.join(rows[0])} |\n|-|{'-:|' * (len(rows[0]) - 1)}")
    for its in rows:
        cells = [f"{it:.2f}" if isinstance(it, float) else str(it) for it in its.values()]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
