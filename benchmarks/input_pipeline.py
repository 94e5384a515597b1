"""Does input keep up with a GPU? Milliseconds an image, images per second, and what is padded.

    python benchmarks/input_pipeline.py [--data DATA.toml | FOLDER] [--rounds 7] [--workers 0 1 2]

The paper's training images (short side 800, long side at most 1333). Times of a worker's part and
of what is left, which a GPU can do, are of one thread's computing; then batches with W workers, by
the clock. What is padded follows from the data set's sizes. Without --data, photo-like JPEGs of
640 x 480 are made. Writes input_pipeline.json and input_pipeline.md.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pages
import torch
from photos import made_up
from side_by_side import in_turns, milliseconds
from torchvision.transforms.v2 import functional

from detector.config import Recipe
from detector.data import transforms
from detector.data.batches import Pixels, _finish, _order, _train_batch, ahead
from detector.data.coco import CocoDataset, open_data
from detector.data.images import read_pixels

PAPER = Recipe()
# What a GPU asks for: the share of its peak that training reaches is a goal, nothing measured.
TFLOP_PER_IMAGE, H200_BF16, SHARE = 1.21, 989.5, 0.4  # of a training image, counted by torch
NEEDED = SHARE * H200_BF16 / TFLOP_PER_IMAGE  # images per second

DECODE, RESIZE, WORKER = "decode", "resize", "a worker's part: decode, resize, flip, pack"
FINISH, ON_A_GPU = "what is left: normalize, pad", "the same on a GPU, if training is there"


def resized(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) as stored -> (height, width) as trained."""
    short, long = PAPER.short_side[1], PAPER.long_side
    return transforms.resize_sizes(size[::-1], short_side=short, long_side=long)


def prepare_of(dataset: CocoDataset) -> Callable[[tuple[int, list[int]]], Pixels]:
    """What a worker does for a step of a run with seed 0."""
    return partial(_train_batch, dataset, PAPER, 0, slice(None))


def of_an_image(dataset: CocoDataset, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds, part by part; on a GPU from pinned bytes to normalized floats."""
    indices = next(_order(dataset, batch, 0))
    files = [(dataset.path(i), dataset.sizes[i]) for i in indices]
    stored = [(read_pixels(*file), list(resized(file[1]))) for file in files]
    prepare = prepare_of(dataset)
    pixels = prepare((0, indices))
    works: dict[str, Callable[[], object]] = {
        DECODE: lambda: [read_pixels(*file) for file in files],
        RESIZE: lambda: [functional.resize(*image, antialias=True) for image in stored],
        WORKER: lambda: prepare((0, indices)),
        FINISH: lambda: _finish(pixels, "cpu"),
    }
    times = in_turns(works, rounds, "cpu")
    if torch.cuda.is_available():
        pinned = pixels._replace(stored=pixels.stored.pin_memory())
        times |= in_turns({ON_A_GPU: lambda: _finish(pinned, "cuda")}, rounds, "cuda")
    return {name: ms / batch for name, ms in milliseconds(times).items()}


def throughput(dataset: CocoDataset, steps: list, workers: int, finish: Callable) -> float:
    """Images per second by the clock, the first batch and the workers' start not counted."""
    received = ahead(prepare_of(dataset), iter(steps), workers)
    next(received)
    begun = time.perf_counter()
    for batch in received:
        finish(batch)
    return sum(len(indices) for _, indices in steps[1:]) / (time.perf_counter() - begun)


def with_workers(
    dataset: CocoDataset, batch: int, workers: list[int], rounds: int
) -> dict[str, dict[str, float]]:
    """Images per second, as bytes for a GPU to finish and finished here, in turns."""
    steps = list(enumerate(islice(_order(dataset, batch, 0), 9)))
    ways = {"bytes": lambda pixels: None, "finished": partial(_finish, device="cpu")}
    found = {}
    for count in workers:
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, finish in ways.items():
                rates[name].append(throughput(dataset, steps, count, finish))
        found[str(count)] = {name: statistics.median(values) for name, values in rates.items()}
    return found


def padding(dataset: CocoDataset, batch: int) -> dict[str, float]:
    """Share of a batch's pixels that are padding, over four epochs."""
    sizes = np.array([resized(size) for size in dataset.sizes])
    everyone = np.random.default_rng(0).permutation(np.tile(np.arange(len(sizes)), 4))
    whole = len(everyone) // batch
    ways = {
        "at random": everyone[: whole * batch].reshape(whole, batch),
        "landscape and portrait apart: ours": list(islice(_order(dataset, batch, 0), whole)),
    }
    return {name: _waste(sizes, groups) for name, groups in ways.items()}


def _waste(sizes: np.ndarray, groups: Sequence[Sequence[int]]) -> float:
    used = total = 0
    for group in groups:
        height, width = transforms.padded_size(sizes[group].tolist())
        used += int(sizes[group].prod(axis=1).sum())
        total += height * width * len(group)
    return 1 - used / total


def markdown(found: dict[str, Any], where: str) -> str:
    """The page, without its last section, which is written by hand."""
    worker = 1000 / found["ms"][WORKER]
    speeds = [(name, f"{ms:.1f}", f"{1000 / ms:.0f}") for name, ms in found["ms"].items()]
    if ON_A_GPU not in found["ms"]:
        speeds.append((ON_A_GPU, "not measured: no GPU", ""))
    return pages.page(
        "input_pipeline.py",
        "The input pipeline",
        f"{found['data']} at short side 800, long side at most 1333; {where}.",
        pages.table("|ms an image:|images/s of a core:", speeds),
        pages.table(
            "workers:|images/s, to be finished by a GPU:|finished here:",
            [
                (count, f"{rates['bytes']:.0f}", f"{rates['finished']:.0f}")
                for count, rates in found["workers"].items()
            ],
        ),
        f"A GPU at {SHARE:.0%} of an H200's bf16 peak ({H200_BF16} TFLOP/s, {TFLOP_PER_IMAGE} "
        f"TFLOP an image) asks for {NEEDED:.0f} images/s: computed, not measured. That is "
        f"{NEEDED / worker:.1f} cores like this one's; 8 workers have a margin of "
        f"{8 * worker / NEEDED:.1f}.",
        pages.table(
            f"batches of {PAPER.batch_size}|padding:",
            [(name, f"{share:.1%}") for name, share in found["padding"].items()],
        ),
    )


def main() -> None:
    """Measure, print and write the page."""
    defaults = {"data": "", "rounds": 7, "workers": [0, 1, 2], "batch": 8}
    given = pages.options(__doc__, **defaults).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(given.data or made_up(Path(folder)))
        found = {
            "data": f"JPEGs of {data.name}" if given.data else "Made-up JPEGs of 640 x 480",
            "ms": of_an_image(data.train, given.batch, given.rounds),
            "workers": with_workers(data.train, given.batch, given.workers, given.rounds // 2 or 1),
            "padding": padding(data.train, PAPER.batch_size),
        }
    where = pages.machine()
    pages.write(given.out, "input_pipeline", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
