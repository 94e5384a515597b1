"""Do decoding, resizing and batching keep up with a GPU? Images per second, stage by stage.

    python benchmarks/input_pipeline.py [--data DATA.toml | FOLDER] [--rounds 7] [--workers 0 1 2]

The paper's training images (short side 800, long side at most 1333). Every stage stands beside
other ways of doing it, in one interleaved run; times are of one thread's computing. "As before" is
the same batch through PIL, in planes, normalized by the formula and sent as floats. Then batches
with W workers, by the clock. What is padded follows from the data set's sizes. Without --data,
photo-like JPEGs of 640 x 480 are made. Writes input_pipeline.json and input_pipeline.md.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pages
import torch
from as_before import PAPER, as_before, by_formula, by_pil, resized
from photos import made_up
from PIL import Image
from side_by_side import as_text, in_turns, machine, ratio
from torch import Tensor
from torchvision.transforms.v2 import functional

from detector.data import transforms
from detector.data.batches import Pixels, _finish, _finish_on, _order, _train_batch, ahead
from detector.data.coco import CocoDataset, open_data
from detector.data.images import read_pixels

BOXES = torch.zeros(7, 4)  # of an image
COCO_IMAGES = 118_287  # of train2017
EPOCHS = PAPER.iterations * PAPER.batch_size / COCO_IMAGES
# What a GPU asks for: the share of its peak that training reaches is a goal, nothing measured.
TFLOP_PER_IMAGE, H200_BF16, SHARE = 1.21, 989.5, 0.4  # of a training image, counted by torch
HERE = Path(__file__).parent


# The stages


def in_place(image: Tensor, place: Tensor) -> Tensor:
    """As _finish does it."""
    return transforms.IMAGENET.write(image, place[:, : image.shape[1], : image.shape[2]])


def by_table(image: Tensor, table: Tensor, place: Tensor) -> None:
    """The lookup that a GPU does."""
    values = table[torch.arange(3) * 256 + image.permute(1, 2, 0)]
    place[:, : image.shape[1], : image.shape[2]] = values.permute(2, 0, 1)


def each(function: Callable[..., object], *columns: Sequence[object]) -> Callable[[], None]:
    """The work of all images."""

    def work() -> None:
        for row in zip(*columns, strict=True):
            function(*row)

    return work


def stage_works(dataset: CocoDataset, chosen: list[int]) -> dict[str, Callable[[], None]]:
    """ "stage: way" -> the work of all chosen images; the first way of a stage is ours."""
    paths, sizes = [dataset.path(i) for i in chosen], [dataset.sizes[i] for i in chosen]
    stored = [read_pixels(*pair) for pair in zip(paths, sizes, strict=True)]
    planes = [image.contiguous() for image in stored]
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in stored]
    floats = [image.float() for image in planes]
    targets = [resized(size) for size in sizes]
    resize = partial(functional.resize, antialias=True)
    ready = [resize(*pair) for pair in zip(stored, targets, strict=True)]
    ready_planes = [image.contiguous() for image in ready]
    normalized = [by_formula(image) for image in ready_planes[:4]]
    place = torch.zeros(3, 1344, 1344)
    table = transforms.IMAGENET.table().flatten()
    wide = [size[::-1] for size in targets]
    return {
        "decode: torchvision's decode_jpeg": each(read_pixels, paths, sizes),
        "decode: PIL, into planes (before)": each(by_pil, paths),
        "resize: uint8, RGB side by side": each(resize, stored, targets),
        "resize: uint8, in planes (before)": each(resize, planes, targets),
        "resize: float": each(resize, floats, targets),
        "resize: PIL (pixels differ by 1)": each(
            partial(Image.Image.resize, resample=Image.Resampling.BILINEAR), pictures, wide
        ),
        "flip: RGB side by side": each(lambda image: image.flip(-1), ready),
        "flip: in planes (before)": each(lambda image: image.flip(-1), ready_planes),
        "normalize: in place, a plane at a time": each(partial(in_place, place=place), ready),
        "normalize: whole images (before)": each(by_formula, ready_planes),
        "normalize: by table": each(partial(by_table, table=table, place=place), ready),
        "pad: floats to a batch (before)": each(
            lambda _: transforms.collate(normalized), range(len(chosen) // 4)
        ),
    }


def measure_stages(dataset: CocoDataset, chosen: list[int], rounds: int) -> dict[str, dict]:
    """Milliseconds per image of every way, and how much longer it takes than ours."""
    times = in_turns(stage_works(dataset, chosen), rounds, "cpu")
    found, ours = {}, ""
    for name, spent in times.items():
        ours = name if name.split(":")[0] != ours.split(":")[0] else ours
        found[name] = {"ms": 1000 * statistics.median(spent) / len(chosen)}
        if name != ours:
            found[name]["ratio"] = ratio(times[ours], spent)
    return found


def measure_cache(dataset: CocoDataset, chosen: list[int], rounds: int) -> dict[str, dict]:
    """Resized images on disk: milliseconds to read one, and gigabytes of COCO's."""
    files: dict[str, list[bytes]] = {"raw": [], "PNG": [], "JPEG, quality 95": []}
    for index in chosen[:16]:
        stored = read_pixels(dataset.path(index), dataset.sizes[index])
        image = functional.resize(stored, list(resized(dataset.sizes[index])), antialias=True)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        for name, options in (("PNG", {"compress_level": 1}), ("JPEG, quality 95", {})):
            buffer = io.BytesIO()
            quality = {"quality": 95} if name.startswith("JPEG") else options
            picture.save(buffer, name.split(",")[0], **quality)
            files[name].append(buffer.getvalue())
        files["raw"].append(picture.tobytes())
    ways: dict[str, Callable[[bytes], object]] = {
        "raw": lambda data: np.frombuffer(data, np.uint8).copy(),
        "PNG": lambda data: np.array(Image.open(io.BytesIO(data))),
        "JPEG, quality 95": lambda data: np.array(Image.open(io.BytesIO(data))),
    }
    times = in_turns({name: each(ways[name], files[name]) for name in files}, rounds, "cpu")
    return {
        name: {
            "ms": 1000 * statistics.median(times[name]) / len(files[name]),
            "GB of COCO": statistics.mean(map(len, files[name])) * COCO_IMAGES / 1e9,
        }
        for name in files
    }


# Batches


def whole_batches(dataset: CocoDataset, batch: int, rounds: int) -> dict[str, object]:
    """One process, one thread: milliseconds per image; what workers do, and what is left."""
    work = (0, next(_order(dataset, batch, 0)))
    prepare = prepare_of(dataset)
    pixels = prepare(work)
    assert torch.equal(_finish(pixels), as_before(dataset, work)), "the numbers differ"
    times = in_turns(
        {
            "worker": lambda: prepare(work),
            "finish": lambda: _finish(pixels),
            "before": lambda: as_before(dataset, work),
        },
        rounds,
        "cpu",
    )
    ours = [sum(pair) for pair in zip(times["worker"], times["finish"], strict=True)]
    result: dict[str, object] = {
        name: 1000 * statistics.median(spent) / batch for name, spent in times.items()
    }
    return result | {
        "finish on a GPU": on_a_gpu(pixels, rounds) if torch.cuda.is_available() else None,
        "ratio": ratio(ours, times["before"]),
        "worker ratio": ratio(times["worker"], times["before"]),
    }


def on_a_gpu(pixels: Pixels, rounds: int) -> float:
    """Milliseconds per image from pinned bytes to normalized floats."""
    finish, pinned = _finish_on("cuda"), pixels._replace(stored=pixels.stored.pin_memory())
    times = in_turns({"finish": lambda: finish(pinned)}, rounds, "cuda")["finish"]
    return 1000 * statistics.median(times) / len(pixels.stored)


def throughput(
    prepare: Callable[..., object], finish: Callable[..., object], steps: list, workers: int
) -> float:
    """Images per second by the clock, the first batch and the workers' start not counted."""
    received = ahead(prepare, iter(steps), workers)
    next(received)
    begun = time.perf_counter()
    for batch in received:
        finish(batch)
    return sum(len(indices) for _, indices in steps[1:]) / (time.perf_counter() - begun)


def with_workers(
    dataset: CocoDataset, batch: int, workers: list[int], rounds: int
) -> dict[str, dict[str, float]]:
    """Images per second of every way, in turns."""
    steps = list(enumerate(islice(_order(dataset, batch, 0), 9)))
    prepare = prepare_of(dataset)
    ways = {
        "bytes": (prepare, lambda pixels: None),
        "finished": (prepare, _finish),
        "before": (partial(as_before, dataset), lambda images: None),
    }
    found = {}
    for count in workers:
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                rates[name].append(throughput(*way, steps, count))
        found[str(count)] = {name: statistics.median(values) for name, values in rates.items()}
    return found


def prepare_of(dataset: CocoDataset) -> Callable[[tuple[int, list[int]]], Pixels]:
    """What a worker does for a step of a run with seed 0."""
    return partial(_train_batch, dataset, PAPER.short_side, PAPER.long_side, 0, slice(None))


def padding(dataset: CocoDataset, batch: int) -> dict[str, float]:
    """Share of a batch's pixels that are padding, with other ways of grouping images."""
    sizes = np.array([resized(size) for size in dataset.sizes])
    everyone = np.random.default_rng(0).permutation(np.tile(np.arange(len(sizes)), 4))
    grouped = [order for order in islice(_order(dataset, batch, 0), len(everyone) // batch)]
    windows = np.split(everyone[: len(everyone) // (8 * batch) * 8 * batch], 8)
    by_aspect = [window[np.argsort(sizes[window, 0] / sizes[window, 1])] for window in windows]
    return {
        "at random": _waste(sizes, _cut(everyone, batch)),
        "landscape and portrait apart: ours (the paper's code: each GPU's two images)": _waste(
            sizes, grouped
        ),
        "sorted by aspect ratio, within an eighth of four epochs": _waste(
            sizes, [part for window in by_aspect for part in _cut(window, batch)]
        ),
    }


def _cut(order: np.ndarray, batch: int) -> list[np.ndarray]:
    return [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]


def _waste(sizes: np.ndarray, groups: Sequence[Sequence[int]]) -> float:
    used = total = 0
    for group in groups:
        height, width = transforms.padded_size(sizes[group].tolist())
        used += int(sizes[group].prod(axis=1).sum())
        total += height * width * len(group)
    return 1 - used / total


# The page


def markdown(found: dict, where: str) -> str:
    """The page, without its last section, which is written by hand."""
    needed, whole = found["needed"], found["batch"]
    worker = 1000 / whole["worker"]
    lines = [
        "# The input pipeline",
        "",
        f"{found['data']} at short side 800, long side at most 1333; {where}.",
        "",
        "| stage | ms an image | times ours |",
        "|-|-:|-|",
        *(
            f"| {name} | {row['ms']:.2f} | {as_text(row['ratio']) if 'ratio' in row else ''} |"
            for name, row in found["stages"].items()
        ),
        "",
        "A batch, to the bit the same both ways:",
        "",
        "| | ms an image | images/s of a core |",
        "|-|-:|-:|",
        f"| a worker's part: decode, resize, flip, pack | {whole['worker']:.1f} | {worker:.0f} |",
        f"| what is left: normalize, pad | {whole['finish']:.1f} | {1000 / whole['finish']:.0f} |",
        f"| the same on a GPU, if training is there | {_gpu(whole['finish on a GPU'])} |",
        f"| all of it as before | {whole['before']:.1f} | {1000 / whole['before']:.0f} |",
        "",
        f"All of it is {as_text(whole['ratio'])} as fast as before, a worker's part "
        f"{as_text(whole['worker ratio'])}.",
        "",
        "| workers | images/s, to be finished by a GPU | finished here | as before |",
        "|-:|-:|-:|-:|",
        *(
            f"| {count} | {row['bytes']:.0f} | {row['finished']:.0f} | {row['before']:.0f} |"
            for count, row in found["workers"].items()
        ),
        "",
        f"A GPU at {SHARE:.0%} of an H200's bf16 peak ({H200_BF16} TFLOP/s, {TFLOP_PER_IMAGE} "
        f"TFLOP an image) asks for {needed:.0f} images/s: computed, not measured (no GPU). That is "
        f"{needed / worker:.1f} cores like this one's; 8 workers have a margin of "
        f"{8 * worker / needed:.1f}.",
        "",
        "| batches of 16 | padding |",
        "|-|-:|",
        *(f"| {name} | {share:.1%} |" for name, share in found["padding"].items()),
        "",
        f"Resized images kept on disk (a run reads each {EPOCHS:.0f} times):",
        "",
        "| | ms to read one | GB of COCO |",
        "|-|-:|-:|",
        *(
            f"| {name} | {row['ms']:.1f} | {row['GB of COCO']:.0f} |"
            for name, row in found["cache"].items()
        ),
        "",
        "`python benchmarks/input_pipeline.py`",
        "",
    ]
    return "\n".join(lines)


def _gpu(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "not measured: no GPU |"
    return f"{milliseconds:.2f} | {1000 / milliseconds:.0f}"


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a .toml or a folder in COCO format")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=24, help="for the stages")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(given.data or made_up(Path(folder)))
        dataset = data.train
        chosen = next(_order(dataset, given.images, 0))
        found = {
            "data": f"JPEGs of {data.name}" if given.data else "Made-up JPEGs of 640 x 480",
            "stages": measure_stages(dataset, chosen, given.rounds),
            "batch": whole_batches(dataset, given.batch, given.rounds),
            "workers": with_workers(dataset, given.batch, given.workers, max(1, given.rounds // 2)),
            "padding": padding(dataset, PAPER.batch_size),
            "cache": measure_cache(dataset, chosen, given.rounds),
            "needed": SHARE * H200_BF16 / TFLOP_PER_IMAGE,
        }
    where = machine("cpu")
    pages.write(given.out, "input_pipeline", {"where": where} | found, markdown(found, where))


if __name__ == "__main__":
    main()
