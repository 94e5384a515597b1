"""Training batches in plain steps, as they were made before that was made faster: the same bits.

What benchmarks/input_pipeline.py holds ours against: PIL's pixels in planes, a whole image for
every operation, and floats from the beginning.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from detector.config import Recipe
from detector.data import transforms
from detector.data.coco import CocoDataset

PAPER = Recipe()


def by_pil(path: Path) -> Tensor:
    """PIL's pixels, put into planes."""
    with Image.open(path) as file:
        return torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1).contiguous()


def by_formula(image: Tensor) -> Tensor:
    """A whole image for every operation."""
    mean = torch.tensor(transforms.IMAGENET.mean)[:, None, None]
    std = torch.tensor(transforms.IMAGENET.std)[:, None, None]
    return (image.float() / 255 - mean) / std


def as_before(dataset: CocoDataset, work: tuple[int, list[int]]) -> Tensor:
    """A batch as it was made before: the same numbers."""
    pixels = []
    for index, (height, width), is_flipped in drawn(dataset, work):
        image = functional.resize(by_pil(dataset.path(index)), [height, width], antialias=True)
        pixels.append(by_formula(image.flip(-1) if is_flipped else image))
    return transforms.collate(pixels)


def drawn(
    dataset: CocoDataset, work: tuple[int, list[int]]
) -> Iterator[tuple[int, tuple[int, int], bool]]:
    """Index, (height, width) and whether it is flipped, as training draws them."""
    step, indices = work
    for place, index in enumerate(indices):
        rng = np.random.default_rng([2, 0, step, place])
        rng.integers(PAPER.short_side[0], PAPER.short_side[1], endpoint=True)
        yield index, resized(dataset.sizes[index]), bool(rng.random() < 0.5)


def resized(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) as stored -> (height, width) as trained."""
    short, long = PAPER.short_side[1], PAPER.long_side
    return transforms.resize_sizes(size[::-1], short_side=short, long_side=long)
