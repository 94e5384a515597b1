"""Reading an image file, refused in one line where it is none. A tensor is uint8 [3, H, W] RGB.

In memory its three channels lie side by side, pixel by pixel: so decoders write them, and so
resizing is two to four times faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}  # PIL's modes


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file as an image; whatever goes wrong while it is read becomes one line."""
    try:
        with Image.open(path) as file:
            yield file
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not readable as an image, which is needed: {error}") from None


def read_pixels(path: Path, size: tuple[int, int]) -> Tensor:
    """The pixels as stored, of the given (width, height); gray, palette and CMYK become RGB."""
    with opened(path) as file:
        mode, found = file.mode, file.size
        decoded = _decoded(path) if (file.format, mode) == ("JPEG", "RGB") else None
        pixels = as_tensor(file) if decoded is None else decoded
    check_header(path, mode, found, size)
    return pixels


def _decoded(path: Path) -> Tensor | None:
    """A JPEG's pixels, to the bit those of PIL, whose library it is, in half of the time.

    None where the file is damaged: PIL forgives more, and says better what it does not.
    """
    from torchvision.io import ImageReadMode, decode_jpeg, read_file  # as in transforms.resize

    try:
        return decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    except RuntimeError:
        return None


def read_upright(path: Path) -> Image.Image:
    """A person's image in RGB, turned as its camera says.

    An annotated image is not turned: annotations are of the pixels as stored.
    """
    with opened(path) as file:
        mode, picture = file.mode, _rgb(ImageOps.exif_transpose(file))
    check_header(path, mode)
    return picture


def as_tensor(picture: Image.Image) -> Tensor:
    """An image of any mode as uint8 [3, H, W] RGB."""
    return torch.from_numpy(np.array(_rgb(picture))).permute(2, 0, 1)


def _rgb(picture: Image.Image) -> Image.Image:
    """Without what is transparent: PIL warns where it goes from a palette straight to RGB."""
    is_transparent = picture.mode == "P" and "transparency" in picture.info
    return (picture.convert("RGBA") if is_transparent else picture).convert("RGB")


def check_header(
    path: Path, mode: str, found: tuple[int, int] = (0, 0), size: tuple[int, int] = (0, 0)
) -> None:
    """ValueError unless a file has 8 bits per channel, and the (width, height) it should have."""
    if mode not in EIGHT_BITS:
        raise ValueError(f"{path}: pixels of mode {mode}, needs 8 bits per channel")
    if found != size:
        raise ValueError(
            f"{path}: {found[0]} x {found[1]} pixels, needs the {size[0]} x {size[1]} that its "
            "annotations say: their boxes would not fit"
        )
