"""How many images a second does the training loop take, input included, as the command runs it?

    python benchmarks/train_loop.py [--steps 60] [--workers 14] [--compiled yes no] [--device cuda]

The paper's ATSS with its backbone (of random weights) and its batch of 16 images, 800 pixels on the
short side, bf16, from files that workers decode and resize: photographs with --data FOLDER. Each
way of running is timed by itself, its first steps (and compiling) apart.
Writes train_loop.json and prints a line for each.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from side_by_side import machine
from torchvision.models import resnet50

from detector.config import Recipe
from detector.data.coco import batches, open_data
from detector.training import assemble, train
from experiments.baselines import ATSS

FIRST = 10  # steps that find algorithms, fill queues and compile


def measure(recipe: Recipe, given: argparse.Namespace) -> dict[str, object]:
    """Images per second, milliseconds of a step, and seconds until the first steps were over."""
    data = open_data(given.data).train
    detector, optimizer = assemble(ATSS, recipe, len(data.names), seed=0, device=given.device)
    images = batches(data, recipe, seed=0, workers=given.workers, device=given.device)
    stamps, pixels = [time.perf_counter()], list[int]()
    watched = (pixels.append(batch[0][0, 0].numel()) or batch for batch in images)
    for _ in islice(train(detector, optimizer, watched, recipe), FIRST + given.steps):
        stamps.append(time.perf_counter())  # the loss has been read, so the step is there
    times = [after - before for before, after in pairwise(stamps)][FIRST:]
    return {
        "compiled": recipe.compiled,
        "images per second": recipe.batch_size * len(times) / sum(times),
        "ms per step": 1000 * statistics.median(times),
        "pixels per image": statistics.fmean(pixels[FIRST:]),
        "seconds of the first steps": stamps[FIRST] - stamps[0],
        "GiB": torch.cuda.max_memory_allocated() / 2**30 if given.device == "cuda" else None,
    }


def main() -> None:
    """Measure each way, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--short-side", type=int, default=800)
    parser.add_argument("--compiled", nargs="+", default=["no", "yes"], choices=["no", "yes"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "resnet50.pth"
        torch.save(resnet50().state_dict(), weights)
        usual = Recipe(
            weights=str(weights), precision="bf16", learning_rate=1e-6,
            batch_size=given.batch_size, short_side=(given.short_side,) * 2,
        )  # fmt: skip
        found = [measure(replace(usual, compiled=how), given) for how in given.compiled]
    content = {"where": machine(given.device), "steps": given.steps, "ways": found}
    (given.out / "train_loop.json").write_text(json.dumps(content, indent=1) + "\n")
    for it in found:
        print(", ".join(f"{name} {value}" for name, value in it.items()))


if __name__ == "__main__":
    main()
