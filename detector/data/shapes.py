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
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Edition:
    """A generated set: how many images, and from which seeds they are drawn."""

    name: str  # what --data calls it
    counts: Mapping[str, int]  # of images, by split
    seeds: Mapping[str, int]  # other ones for every split of every edition: no image is in two


SHAPES = Edition("shapes", {"train": 1000, "val": 300}, {"train": 1, "val": 2})
# With four times as many test images the interval of a difference is half as wide.
SHAPES_LARGE = Edition("shapes-large", {"train": 2000, "val": 1200}, {"train": 3, "val": 4})
EDITIONS = {edition.name: edition for edition in (SHAPES, SHAPES_LARGE)}

SIZES = ((192, 256), (256, 192), (192, 256), (224, 224))  # (height, width), in turn
JPEG_QUALITY = 90

log = logging.getLogger(__name__)


def cache() -> Path:
    """Where generated data is kept: $ATSS_CACHE, or atss in $XDG_CACHE_HOME, or in ~/.cache."""
    if given := os.environ.get("ATSS_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "atss"


def make(edition: Edition = SHAPES) -> Path:
    """The folder with train/, val/ and annotations/, generated if the cache lacks it (seconds).

    The files are written into a folder beside it, which is renamed when complete. So what bears the
    final name is whole, and of two processes that generate at once the slower throws its own away.

    Raises ValueError if the cache cannot be written.
    """
    numbers = "-".join(map(str, edition.counts.values()))
    folder = cache() / f"{edition.name}-v{VERSION}-{numbers}"
    if folder.is_dir():
        return folder
    total = sum(edition.counts.values())
    log.info("drawing %d images of shapes into %s, once", total, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".shapes-") as unfinished:
            whole = Path(unfinished, "whole")
            for split in edition.counts:
                _write(edition, whole, split)
            whole.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise ValueError(
                f"{folder} cannot be written ({error}): the generated data set needs about "
                f"{total // 60} MB there; set ATSS_CACHE to another folder"
            ) from None
    return folder


def draw(
    split: str, index: int, edition: Edition = SHAPES
) -> tuple[NDArray[np.uint8], list[drawing.Object]]:
    """Image [H, W, 3] and objects number `index` (from 0) of a split, the same on every machine."""
    rng = Generator(PCG64([edition.seeds[split], index]))
    return drawing.draw(rng, *SIZES[index % len(SIZES)])


def _write(edition: Edition, folder: Path, split: str) -> None:
    """Draw a split's images into folder/split, and write its boxes into folder/annotations."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:  # nothing to import anew
        work = partial(_save, edition, folder / split, split)
        drawn = list(pool.map(work, range(edition.counts[split]), chunksize=20))
    objects = [(item, image["id"]) for image, items in drawn for item in items]
    content = {
        "images": [image for image, _ in drawn],
        "categories": [{"id": i, "name": name} for i, name in enumerate(drawing.CLASSES, start=1)],
        "annotations": [annotation(item, n, id) for n, (item, id) in enumerate(objects, start=1)],
    }
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _save(
    edition: Edition, folder: Path, split: str, index: int
) -> tuple[dict[str, Any], list[drawing.Object]]:
    """Draw one image and write its file; its record in COCO's JSON, and what is on it.

    Ids differ between the splits, and between editions.
    """
    pixels, objects = draw(split, index, edition)
    number = edition.seeds[split] * 100_000 + index
    name, (height, width) = f"{number}.jpg", pixels.shape[:2]
    Image.fromarray(pixels).save(folder / name, quality=JPEG_QUALITY)
    return {"id": number, "file_name": name, "height": height, "width": width}, objects


def annotation(item: drawing.Object, number: int, image_id: int) -> dict[str, Any]:
    """An annotation of COCO's JSON, in hundredths of a pixel; its area is the box's."""
    x1, y1, x2, y2 = (round(side, 2) for side in item.box)
    w, h = round(x2 - x1, 2), round(y2 - y1, 2)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": item.label + 1,
        "bbox": [x1, y1, w, h],
        "area": round(w * h, 2),
        "iscrowd": 0,
    }
