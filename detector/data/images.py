"""Reading an image file, refused in one line where it is none. A tensor is uint8 [3, H, W] RGB.

There is one way, for training, testing, predicting and drawing: the pixels that a person sees who
opens the file, turned as its EXIF orientation says. Only where the annotations give the size of the
stored pixels, and not that of the turned ones, are these meant and read.

In memory the three channels lie side by side, pixel by pixel: so decoders write them, and so
resizing is two to four times faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # PIL has others: some run programs
EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}  # PIL's modes
ORIENTATION = 0x0112  # EXIF's tag: 1 is upright, from 5 on width and height change places
DEEP = (";12", ";16", ";32")  # bits of a stored channel, which PIL would read by its high byte

Size = tuple[int, int]  # width, height, as PIL and annotation files have it

MAX_PIXELS = 2**28  # an aerial image has 200 million; a damaged header may claim four billion

Image.MAX_IMAGE_PIXELS = None  # PIL would warn at a third of that


@contextmanager
def opened(path: Path, size: Size | None = None) -> Iterator[Image.Image]:
    """The file as an image of 8 bits per channel, of the (width, height) that annotations give.

    Whatever goes wrong while it is read becomes one line of a ValueError.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            _check(path, file, size)
            yield file
    except (OSError, ValueError, SyntaxError, OverflowError, MemoryError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(f"{path}: not readable as an image, which is needed: {error}") from None


def read_pixels(path: Path, size: Size | None = None) -> Tensor:
    """The image, of the given (width, height) if any; gray, palette and CMYK become RGB."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file  # as in transforms.resize

    with opened(path, size) as file:
        if (file.format, file.mode) == ("JPEG", "RGB") and not is_turned(file, size):
            # To the bit PIL's pixels, whose library it is, in half of the time. Of damaged files
            # PIL forgives more, and says better what it does not.
            with suppress(RuntimeError):
                decoded: Tensor = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
                return decoded
        return as_tensor(_seen(file, size))


def read_image(path: Path, size: Size | None = None) -> Image.Image:
    """The same image in RGB, to be drawn on."""
    with opened(path, size) as file:
        return _seen(file, size)


def _seen(file: Image.Image, size: Size | None) -> Image.Image:
    """An opened image as a person sees it, in RGB."""
    turned = ImageOps.exif_transpose(file) if is_turned(file, size) else file
    # PIL warns where it goes from a palette with what is transparent straight to RGB.
    is_transparent = turned.mode == "P" and "transparency" in turned.info
    return (turned.convert("RGBA") if is_transparent else turned).convert("RGB")


def orientation(file: Image.Image) -> int:
    """How the stored pixels are to be turned, from 1 (not at all) to 8."""
    found = file.getexif().get(ORIENTATION, 1)
    return found if found in range(2, 9) else 1


def is_turned(file: Image.Image, size: Size | None = None) -> bool:
    """Whether the image is the stored pixels turned: not where only those have the size."""
    turn = orientation(file)
    stored_is_meant = turn >= 5 and size == file.size != file.size[::-1]
    return turn > 1 and not stored_is_meant


def _check(path: Path, file: Image.Image, size: Size | None) -> None:
    """ValueError by the header alone, before a pixel is read."""
    width, height = file.size
    if width * height > MAX_PIXELS:
        limit = f"needs at most {MAX_PIXELS:,} to fit into memory: cut it into tiles"
        raise ValueError(f"{path}: {width} x {height} pixels, {limit}")
    args = [tile[3] for tile in getattr(file, "tile", [])]  # the first, or only: how it is stored
    stored = [str(each[0] if isinstance(each, tuple) and each else each) for each in args]
    deep = [each for each in stored if any(bits in each for bits in DEEP)]
    if file.mode not in EIGHT_BITS or deep:
        mode = next(iter(deep), file.mode)
        raise ValueError(f"{path}: pixels of mode {mode}, needs 8 bits per channel")
    shown = file.size[::-1] if orientation(file) >= 5 else file.size
    if size not in (None, shown, file.size):
        turned = f" ({shown[0]} x {shown[1]} as EXIF turns it)" if shown != file.size else ""
        raise ValueError(
            f"{path}: {width} x {height} pixels{turned}, needs the {size[0]} x "
            f"{size[1]} that its annotations say: their boxes would not fit"
        )


def as_tensor(picture: Image.Image) -> Tensor:
    """An image in RGB as uint8 [3, H, W]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
