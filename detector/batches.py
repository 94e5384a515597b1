"""The training batches of a run: endless, and a function of (data, recipe, seed, step) alone.

Shapes: B images of a batch; M ground truths of an image.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector import transforms
from detector.config import Recipe

if TYPE_CHECKING:
    from detector.coco import CocoDataset, Target

FLIP_PROBABILITY = 0.5
EVERYTHING = slice(None)
ORDER, AUGMENTATION = 1, 2  # what random numbers are for: the first number of their seed

Key = TypeVar("Key")
Value = TypeVar("Value")


def batches(
    dataset: "CocoDataset",
    recipe: Recipe,
    *,
    seed: int,
    start: int = 0,
    workers: int = 0,
    share: slice = EVERYTHING,
) -> Iterator[tuple[Tensor, list["Target"]]]:
    """Yield step `start` (from 0), and on: images [B, 3, H, W], normalized and padded; B targets.

    A step's batch is the same whatever start and workers are. It is all landscape or all portrait,
    so that little is padded (as in the paper's code). share: the places of a batch to load; they
    are the images of the whole batch at these places, padded as there.
    """
    steps = islice(enumerate(_order(dataset, recipe.batch_size, seed)), start, None)
    prepare = partial(_train_batch, dataset, recipe.short_side, recipe.long_side, seed, share)
    return ahead(prepare, steps, workers)


def _order(dataset: "CocoDataset", batch_size: int, seed: int) -> Iterator[list[int]]:
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
    dataset: "CocoDataset",
    short_side: tuple[int, ...],
    long_side: int,
    seed: int,
    share: slice,
    work: tuple[int, list[int]],
) -> tuple[Tensor, list["Target"]]:
    """Load, resize and perhaps flip a step's images; work is (step, indices)."""
    step, indices = work
    drawn = []  # of every image of the batch: index, (height, width), is it flipped
    for place, index in enumerate(indices):
        rng = np.random.default_rng([AUGMENTATION, seed, step, place])
        side = int(rng.integers(short_side[0], short_side[1], endpoint=True))
        stored = dataset.sizes[index][::-1]
        size = transforms.resize_sizes(stored, short_side=side, long_side=long_side)
        drawn.append((index, size, rng.random() < FLIP_PROBABILITY))
    images, targets = [], []
    for index, size, is_flipped in drawn[share]:
        image, target = dataset[index]
        image, boxes = transforms.resize(image, target["boxes"], size)
        if is_flipped:
            image, boxes = transforms.flip(image, boxes)
        images.append(transforms.IMAGENET(image))
        targets.append({"boxes": boxes, "labels": target["labels"]})
    largest = tuple(max(size[axis] for _, size, _ in drawn) for axis in (0, 1))
    return transforms.collate(images, at_least=largest), targets


def ahead(prepare: Callable[[Key], Value], keys: Iterable[Key], workers: int) -> Iterator[Value]:
    """prepare(key) for each key, in order, computed in advance by that many processes."""
    if not workers:
        yield from map(prepare, keys)
        return
    loader = DataLoader(
        _Prepared(prepare),
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it draws from torch's, whose state belongs to the run
    )
    for result in loader:
        if isinstance(result, Exception):
            raise result
        yield result


class _Prepared(Dataset[Any], Generic[Key, Value]):
    """What a worker does with a key. An error is a result: the loader would add a traceback."""

    def __init__(self, prepare: Callable[[Key], Value]) -> None:
        self.prepare = prepare

    def __getitem__(self, key: Key) -> Value | Exception:
        try:
            return self.prepare(key)
        except (ValueError, OSError) as error:
            return error


def _as_it_is(result: Value) -> Value:
    return result
