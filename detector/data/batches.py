"""The training batches of a run: endless, and a function of (data, recipe, seed, step) alone.

Workers decode, resize and flip; what they send are bytes, a quarter of what they become when they
are normalized, which is left to the process (and the device) that trains.

Shapes: B images of a batch; M ground truths of an image.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from detector.config import Recipe
from detector.data import transforms

FLIP_PROBABILITY = 0.5
EVERYTHING = slice(None)
ORDER, AUGMENTATION = 1, 2  # what random numbers are for: the first number of their seed

Target = dict[str, Tensor]  # boxes [M, 4], labels [M]
Size = tuple[int, int]  # height, width
Key = TypeVar("Key")
Value = TypeVar("Value")


class ImageSource(Protocol):
    """What batches are made of: a CocoDataset, or what stands for one."""

    sizes: list[tuple[int, int]]  # width, height of each

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """An image, uint8 [3, H, W] RGB, and its ground truths."""


class Pixels(NamedTuple):
    """A batch on its way: two tensors, because each that a worker sends costs an open file."""

    stored: Tensor  # uint8 [B, H, W, 3], each image in its upper left corner
    sizes: list[Size]  # of each
    counts: list[int]  # ground truths of each
    targets: Tensor  # float32 [all M, 5]: boxes and labels, image after image


def batches(
    dataset: ImageSource,
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
    same for any number of GPUs.) share: the places
    of a batch to load; they are the images of the whole batch at these places, padded as there.
    device: where the images are wanted.
    """
    steps = islice(enumerate(_order(dataset, recipe.batch_size, seed)), start, None)
    prepare = partial(_train_batch, dataset, recipe.short_side, recipe.long_side, seed, share)
    finish = _finish if torch.device(device).type == "cpu" else _finish_on(device)
    loaded = ahead(prepare, steps, workers, pin=torch.device(device).type == "cuda")
    for pixels in loaded:
        yield finish(pixels), _targets(pixels, device)


def _order(dataset: ImageSource, batch_size: int, seed: int) -> Iterator[list[int]]:
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
    dataset: ImageSource,
    short_side: tuple[int, ...],
    long_side: int,
    seed: int,
    share: slice,
    work: tuple[int, list[int]],
) -> Pixels:
    """Load, resize and perhaps flip a step's images; work is (step, indices)."""
    step, indices = work
    drawn = []  # of every image of the batch: index, (height, width), is it flipped
    for place, index in enumerate(indices):
        rng = np.random.default_rng([AUGMENTATION, seed, step, place])
        side = int(rng.integers(short_side[0], short_side[1], endpoint=True))
        stored = dataset.sizes[index][::-1]
        size = transforms.resize_sizes(stored, short_side=side, long_side=long_side)
        drawn.append((index, size, rng.random() < FLIP_PROBABILITY))
    mine = drawn[share]
    images = _zeros(len(mine), transforms.padded_size([size for _, size, _ in drawn]))
    targets = [_load(dataset, *which, place) for which, place in zip(mine, images, strict=True)]
    return Pixels(
        stored=images,
        sizes=[size for _, size, _ in mine],
        counts=[len(target["labels"]) for target in targets],
        targets=torch.cat([torch.column_stack([it["boxes"], it["labels"]]) for it in targets]),
    )


def _zeros(count: int, size: Size) -> Tensor:
    """uint8 [count, H, W, 3]; in a worker in memory that processes share: none is copied later."""
    one = torch.zeros((), dtype=torch.uint8).expand(*size, 3)
    stacked: Tensor = default_collate([one] * count)
    return stacked


def _load(dataset: ImageSource, index: int, size: Size, is_flipped: bool, place: Tensor) -> Target:
    """Write an image into the upper left corner of [H, W, 3]; its ground truth there."""
    image, target = dataset[index]
    image, boxes = transforms.resize(image, target["boxes"], size)
    if is_flipped:
        image, boxes = transforms.flip(image, boxes)
    place[: size[0], : size[1]] = image.permute(1, 2, 0)
    return target | {"boxes": boxes}


def _finish(pixels: Pixels) -> Tensor:
    """[B, 3, H, W], normalized, zeros beyond each image: zero is ImageNet's mean."""
    stored = pixels.stored.permute(0, 3, 1, 2)
    batch = torch.zeros(stored.shape)
    for image, (height, width), place in zip(stored, pixels.sizes, batch, strict=True):
        transforms.IMAGENET.write(image[:, :height, :width], place[:, :height, :width])
    return batch


def _finish_on(device: torch.device | str) -> Callable[[Pixels], Tensor]:
    """The same numbers, made on a device out of the bytes: a quarter crosses the bus."""
    normalize = transforms.IMAGENET.by_table(device)

    def finish(pixels: Pixels) -> Tensor:
        """The bytes of a batch and their sizes -> [B, 3, H, W], normalized, on the device."""
        stored = pixels.stored.to(device, non_blocking=True)  # [B, H, W, 3]
        batch = torch.zeros(stored.shape, device=device)  # channels last, as convolutions want it
        images, places = (it.permute(0, 3, 1, 2) for it in (stored, batch))
        for image, (height, width), place in zip(images, pixels.sizes, places, strict=True):
            place[:, :height, :width] = normalize(image[:, :height, :width])
        return places

    return finish


def _targets(pixels: Pixels, device: torch.device | str) -> list[Target]:
    """Of each image, on the device: one copy for all, which the host does not wait for."""
    there = pixels.targets.to(device, non_blocking=True)
    boxes, labels = (part.split(pixels.counts) for part in (there[:, :4], there[:, 4].long()))
    pairs = zip(boxes, labels, strict=True)
    return [{"boxes": its_boxes, "labels": its_labels} for its_boxes, its_labels in pairs]


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
        _Prepared(prepare),
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
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
