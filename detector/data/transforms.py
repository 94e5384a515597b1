"""From a stored image to the network's input (Sec. 3.1 "Training Detail").

    resize       short side to a length, long side at most a cap (the paper: 800 and 1333)
    flip         left to right: x becomes W - x
    IMAGENET     uint8 to float, minus ImageNet's mean, by its standard deviation: a Normalization
    collate      images of several sizes to one tensor

Shapes: B images; an image is [3, H, W] RGB; boxes are [M, 4] xyxy in its pixels, the first of which
reaches from 0 to 1. So a box is x2 - x1 wide, and neither resizing nor flipping adds a 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SIZE_DIVISOR = 32  # the FPN halves five times up to P5; P6 and P7 round up


@dataclass(frozen=True)
class Normalization:
    """(pixels / scale - mean) / std: what a network's weights were learnt with."""

    mean: tuple[float, float, float]  # of the channels, in this order
    std: tuple[float, float, float]
    scale: float = 255.0
    channels: tuple[int, int, int] = (0, 1, 2)  # of RGB; (2, 1, 0) is BGR

    def __call__(self, image: Tensor, place: Tensor | None = None) -> Tensor:
        """uint8 [3, H, W] RGB to float32 [3, H, W] in place, by default a new one beside image."""
        place = torch.empty(image.shape, device=image.device) if place is None else place
        if place.is_cuda:
            return self.look_up(image, place)
        scaled = zip(place, self.channels, self.mean, self.std, strict=True)
        for plane, channel, mean, std in scaled:  # one by one, which a cache can hold
            plane.copy_(image[channel]).div_(self.scale).sub_(mean).div_(std)
        return place

    def look_up(self, image: Tensor, place: Tensor) -> Tensor:
        """The same by a table: that gives the same bits on every device; to divide does not."""
        rows = _table(self, place.device)
        for plane, channel, row in zip(place, self.channels, rows, strict=True):
            plane.copy_(row[image[channel].long()])
        return place


@lru_cache
def _table(normalize: Normalization, device: torch.device) -> Tensor:
    """[3, 256]: what every value becomes in each channel."""
    return normalize(torch.arange(256, dtype=torch.uint8).expand(3, 1, 256))[:, 0].to(device)


# Over ImageNet's training images: torchvision's weights and ours expect it.
IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def resize_sizes(size: Sequence[int], *, short_side: int, long_side: int) -> tuple[int, int]:
    """(height, width) after resizing from (height, width), as in the paper's code.

    The short side becomes short_side; where the long one would then pass its cap, the short side
    becomes round(long_side * short / long). The cap holds; in that code it does not, by 9 px and
    more where an image is twenty times as long as wide.
    """
    short, long = min(size), max(size)
    if long / short * short_side > long_side:
        short_side = max(1, round(long_side * short / long))
    scaled = min(int(short_side * long / short), long_side)
    return (short_side, scaled) if size[0] <= size[1] else (scaled, short_side)


def resize(image: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Image [3, H, W] to (height, width), bilinear and antialiased, and its boxes with it."""
    from torchvision.transforms.v2 import functional  # two seconds, which plans need not wait for

    height, width = image.shape[-2:]
    factors = torch.tensor([size[1] / width, size[0] / height], dtype=boxes.dtype).repeat(2)
    return functional.resize(image, list(size), antialias=True), boxes * factors


def resize_back(
    boxes: Tensor, tested: tuple[int, int], size: tuple[int, int], inclusive_corners: bool
) -> Tensor:
    """Boxes [M, 4] in an image of a (width, height) -> float64, in the same image of another.

    inclusive_corners: the network learnt boxes whose x2, y2 is their last pixel, not their end, and
    whose corners were resized as such; so they are scaled back (docs/choices.md Q24).
    """
    scale = torch.tensor([size[0] / tested[0], size[1] / tested[1]], dtype=torch.float64).repeat(2)
    end = torch.tensor([0, 0, 1, 1], dtype=torch.float64) * inclusive_corners
    return (boxes - end) * scale + end


def resized(image: Tensor, short_side: int, long_side: int) -> Tensor:
    """A stored image, uint8 [3, H, W], as large as it is tested."""
    size = resize_sizes(image.shape[1:], short_side=short_side, long_side=long_side)
    return resize(image, torch.zeros(0, 4), size)[0]


def flip(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image [3, H, W] and its boxes left to right."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    width = image.shape[-1]
    return image.flip(-1), torch.stack([width - x2, y1, width - x1, y2], dim=1)


def collate(images: list[Tensor]) -> Tensor:
    """B normalized images [3, H_i, W_i] to [B, 3, H, W] of padded_size, zeros right and below.

    Zero is ImageNet's mean.
    """
    batch = images[0].new_zeros(len(images), 3, *padded_size([it.shape[-2:] for it in images]))
    for image, place in zip(images, batch, strict=True):
        place[:, : image.shape[-2], : image.shape[-1]] = image
    return batch


def padded_size(sizes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The (height, width) that holds them all, rounded up to multiples of 32."""
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return -(-height // SIZE_DIVISOR) * SIZE_DIVISOR, -(-width // SIZE_DIVISOR) * SIZE_DIVISOR
