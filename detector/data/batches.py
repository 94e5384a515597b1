"""The training batches of a run: endless, and a function of (data, recipe, seed, step) alone.

Workers decode, resize and flip; what they send are bytes, a quarter of what they become when they
are normalized, which is left to the process (and the device) that trains.

Shapes: B images of a batch; M ground truths of an image.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from detector.config import Recipe
from detector.data import transforms
from detector.data.coco import CocoDataset, Target

FLIP_PROBABILITY = 0.5
EVERYTHING = slice(None)
ORDER, AUGMENTATION = 1, 2  # what random numbers are for: the first number of their seed

Key = TypeVar("Key")
Value = TypeVar("Value")


class Pixels(NamedTuple):
    """A batch on its way: two tensors, because each that a worker sends costs an open file."""

    stored: Tensor  # uint8 [B, H, W, 3], each image in its upper left corner
    sizes: list[tuple[int, int]]  # height, width of each
    counts: list[int]  # ground truths of each
    targets: Tensor  # float32 [all M, 5]: boxes and labels, image after image


def batches(
    dataset: CocoDataset,
    recipe: Recipe,
    *,
    seed: int,
    start: int = 0,
    workers: int = 0,
    share: slice = EVERYTHING,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, list[Target]]]:
    """Yield step `start` (from 0), and on: images [B, 3, H, W], normalized and padded; B targets.

    A step's batch is the same whatever start, workers and device are, to the bit. It is all
    landscape or all portrait, so that little is padded. (The paper's code does so for the two
    images of each of its 8 GPUs: 5.8 % are padding there, 13.6 % here, where a step is the
    same for any number of GPUs.) share: the places of a batch to load; they are the images of the
    whole batch at these places, padded as there. device: where the images are wanted.
    """
    steps = islice(enumerate(_order(dataset, recipe.batch_size, seed)), start, None)
    prepare = partial(_train_batch, dataset, recipe, seed, share)
    for pixels in ahead(prepare, steps, workers, pin=torch.device(device).type == "cuda"):
        yield _finish(pixels, device)


def _order(dataset: CocoDataset, batch_size: int, seed: int) -> Iterator[list[int]]:
    """The images of one batch after the other; what an epoch leaves over begins the next."""
    waiting: dict[bool, list[int]] = {True: [], False: []}
    for epoch in count():
        shuffled = np.random.default_rng([ORDER, seed, epoch]).permutation(len(dataset))
        for index in shuffled.tolist():
            width, height = dataset.sizes[index]
            group = waiting[width >= height]
            group.append(index)
            if len(group) == batch_size:
                yield group.copy()
                group.clear()


def _train_batch(
    dataset: CocoDataset, recipe: Recipe, seed: int, share: slice, work: tuple[int, list[int]]
) -> Pixels:
    """Load, resize and perhaps flip a step's images; work is (step, indices)."""
    (step, indices), (low, high) = work, recipe.short_side
    drawn = []  # of every image of the batch: index, (height, width), is it flipped
    for place, index in enumerate(indices):
        rng = np.random.default_rng([AUGMENTATION, seed, step, place])
        side = int(rng.integers(low, high, endpoint=True))
        stored = dataset.sizes[index][::-1]
        size = transforms.resize_sizes(stored, short_side=side, long_side=recipe.long_side)
        drawn.append((index, size, rng.random() < FLIP_PROBABILITY))
    mine = drawn[share]
    padded = transforms.padded_size([size for _, size, _ in drawn])
    # In a worker this is memory that processes share, so nothing is copied later.
    images = default_collate([torch.zeros((), dtype=torch.uint8).expand(*padded, 3)] * len(mine))
    targets = []
    for (index, size, is_flipped), corner in zip(mine, images, strict=True):
        image, target = dataset[index]
        image, boxes = transforms.resize(image, target["boxes"], size)
        if is_flipped:
            image, boxes = transforms.flip(image, boxes)
        corner[: size[0], : size[1]] = image.permute(1, 2, 0)
        targets.append(torch.column_stack([boxes, target["labels"]]))
    sizes, counts = [size for _, size, _ in mine], [len(target) for target in targets]
    return Pixels(images, sizes, counts, torch.cat(targets))


def _finish(pixels: Pixels, device: torch.device | str) -> tuple[Tensor, list[Target]]:
    """[B, 3, H, W], normalized, zeros (ImageNet's mean) beyond each image; its ground truths.

    Made on the device out of the bytes: a quarter crosses the bus. On a GPU channels lie last, as
    its convolutions want them, and the host waits for no copy.
    """
    stored = pixels.stored.to(device, non_blocking=True).permute(0, 3, 1, 2)
    layout = torch.channels_last if stored.is_cuda else torch.contiguous_format
    batch = torch.zeros_like(stored, dtype=torch.float32, memory_format=layout)
    for image, (height, width), place in zip(stored, pixels.sizes, batch, strict=True):
        transforms.IMAGENET(image[:, :height, :width], place[:, :height, :width])
    targets, counts = pixels.targets.to(device, non_blocking=True), pixels.counts
    boxes, labels = targets[:, :4].split(counts), targets[:, 4].long().split(counts)
    return batch, [{"boxes": b, "labels": c} for b, c in zip(boxes, labels, strict=True)]


def ahead(
    prepare: Callable[[Key], Value], keys: Iterable[Key], workers: int, *, pin: bool = False
) -> Iterator[Value]:
    """prepare(key) for each key, in order, computed in advance by that many processes.

    pin: what they send goes into memory that a GPU reads by itself.
    """
    if not workers:
        yield from map(prepare, keys)
        return
    loader = DataLoader(
        _Keys(),
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        collate_fn=partial(_tried, prepare),
        pin_memory=pin,
        generator=torch.Generator(),  # else it draws from torch's, whose state belongs to the run
    )
    for result in loader:
        if isinstance(result, Exception):
            raise result
        yield result


class _Keys(Dataset[Any]):
    """What a loader hands to a worker's function: the key itself."""

    def __getitem__(self, key: Key) -> Key:
        return key


def _tried(prepare: Callable[[Key], Value], key: Key) -> Value | Exception:
    """An error is a result: the loader would add a traceback."""
    try:
        return prepare(key)
    except (ValueError, OSError) as error:
        return error
