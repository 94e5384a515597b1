"""The embedded data sets: generated images of overlapping shapes with exact boxes, in COCO format.

    shapes          1,000 images to learn from and 300 to test on: minutes on a CPU
    shapes-large    2,000 and 1,200, equally difficult: for differences that 300 images cannot tell

Small enough for a CPU, and like COCO in what sample selection depends on: relative sizes, aspect
ratios, overlaps, objects per image, landscape and portrait (measured by data_statistics.py).
drawing.py draws; here the images are written, once, as JPEG files and annotations into a cache.
"""

import json
import logging
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image

from detector.data import drawing

VERSION = 1  # to be raised whenever an image or a box changes: it is part of the fingerprint

# What --data calls it -> split -> its number of images, and the seed that they are drawn from:
# other ones for every split of every edition, so that no image is in two.
EDITIONS = {
    "shapes": {"train": (1000, 1), "val": (300, 2)},
    # With four times as many test images the interval of a difference is half as wide.
    "shapes-large": {"train": (2000, 3), "val": (1200, 4)},
}
SIZES = ((192, 256), (256, 192), (192, 256), (224, 224))  # (height, width), in turn
JPEG_QUALITY = 90

log = logging.getLogger(__name__)


def cache() -> Path:
    """Where generated data is kept: $ATSS_CACHE, or atss in $XDG_CACHE_HOME, or in ~/.cache."""
    if given := os.environ.get("ATSS_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "atss"


def make(edition: str) -> Path:
    """The folder with train/, val/ and annotations/, generated if the cache lacks it (seconds).

    The files are written into a folder beside it, which is renamed when complete. So what bears the
    final name is whole, and of two processes that generate at once the slower throws its own away.

    Raises ValueError if the cache cannot be written.
    """
    splits = EDITIONS[edition]
    numbers = [number for number, _ in splits.values()]
    folder = cache() / "-".join(map(str, [edition, f"v{VERSION}", *numbers]))
    if folder.is_dir():
        return folder
    log.info("drawing %d images of shapes into %s, once", sum(numbers), folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".shapes-") as unfinished:
            whole = Path(unfinished, "whole")
            for split, (number, seed) in splits.items():
                _write(whole, split, number, seed)
            whole.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise ValueError(
                f"{folder} cannot be written ({error}): the generated data set needs about "
                f"{sum(numbers) // 60} MB there; set ATSS_CACHE to another folder"
            ) from None
    return folder


def draw(seed: int, index: int) -> tuple[NDArray[np.uint8], list[drawing.Object]]:
    """Image [H, W, 3] and objects number `index` (from 0) of a split, the same on every machine."""
    return drawing.draw(Generator(PCG64([seed, index])), *SIZES[index % len(SIZES)])


def _write(folder: Path, split: str, number: int, seed: int) -> None:
    """Draw a split's images into folder/split, and write its boxes into folder/annotations."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:  # nothing to import anew
        save = partial(_save, folder / split, seed)
        drawn = list(pool.map(save, range(number), chunksize=20))
    items = [(image["id"], item) for image, objects in drawn for item in objects]
    content = {
        "images": [image for image, _ in drawn],
        "categories": [{"id": i, "name": name} for i, name in enumerate(drawing.CLASSES, start=1)],
        "annotations": [
            annotation(item, n, image) for n, (image, item) in enumerate(items, start=1)
        ],
    }
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _save(folder: Path, seed: int, index: int) -> tuple[dict[str, Any], list[drawing.Object]]:
    """Draw one image and write its file; its record in COCO's JSON, and what is on it.

    Ids differ between the splits, and between editions.
    """
    pixels, objects = draw(seed, index)
    number = seed * 100_000 + index
    name, (height, width) = f"{number}.jpg", pixels.shape[:2]
    Image.fromarray(pixels).save(folder / name, quality=JPEG_QUALITY)
    return {"id": number, "file_name": name, "height": height, "width": width}, objects


def annotation(item: drawing.Object, number: int, image_id: int) -> dict[str, Any]:
    """An annotation of COCO's JSON, in hundredths of a pixel; its area is the box's."""
    x1, y1, x2, y2 = (round(side, 2) for side in item.box)
    w, h = round(x2 - x1, 2), round(y2 - y1, 2)
    facts = {"id": number, "image_id": image_id, "category_id": item.label + 1}
    return facts | {"bbox": [x1, y1, w, h], "area": round(w * h, 2), "iscrowd": 0}
