"""The embedded data set: generated images of overlapping shapes with exact boxes, in COCO format.

Small enough for a CPU, and like COCO in what sample selection depends on: relative sizes, aspect
ratios, overlaps, objects per image, landscape and portrait (measured by data_statistics.py).
drawing.py draws; here the images are written, once, as JPEG files and annotations into a cache.
"""

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image

from detector.data import drawing

VERSION = 1  # to be raised whenever an image or a box changes: it is part of the fingerprint
NUM_TRAIN, NUM_VAL = 1000, 300
SEEDS = {"train": 1, "val": 2}
SIZES = ((192, 256), (256, 192), (192, 256), (224, 224))  # (height, width), in turn
JPEG_QUALITY = 90

log = logging.getLogger(__name__)


def cache() -> Path:
    """Where generated data is kept: $ATSS_CACHE, or atss in $XDG_CACHE_HOME, or in ~/.cache."""
    if given := os.environ.get("ATSS_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "atss"


def make() -> Path:
    """The folder with train/, val/ and annotations/, generated if the cache lacks it (10 s).

    The files are written into a folder beside it, which is renamed when complete. So what bears the
    final name is whole, and of two processes that generate at once the slower throws its own away.

    Raises ValueError if the cache cannot be written.
    """
    folder = cache() / f"shapes-v{VERSION}-{NUM_TRAIN}-{NUM_VAL}"
    if folder.is_dir():
        return folder
    log.info("drawing %d images of shapes into %s, once", NUM_TRAIN + NUM_VAL, folder)
    try:
        _generate(folder)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written ({error}): the embedded data set needs about 20 MB there; "
            "set ATSS_CACHE to another folder"
        ) from None
    return folder


def _generate(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".shapes-") as unfinished:
        whole = Path(unfinished, "whole")
        _write(whole, "train", NUM_TRAIN)
        _write(whole, "val", NUM_VAL)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise


def draw(split: str, index: int) -> tuple[NDArray[np.uint8], list[drawing.Object]]:
    """Image [H, W, 3] and objects number `index` (from 0) of a split, the same on every machine."""
    rng = Generator(PCG64([SEEDS[split], index]))
    return drawing.draw(rng, *SIZES[index % len(SIZES)])


def _write(folder: Path, split: str, count: int) -> None:
    """Draw a split's images into folder/split, and write its boxes into folder/annotations."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        pixels, objects = draw(split, index)
        image = image_record(split, index)
        Image.fromarray(pixels).save(folder / split / image["file_name"], quality=JPEG_QUALITY)
        images.append(image)
        for item in objects:
            annotations.append(annotation(item, len(annotations) + 1, image["id"]))
    categories = [{"id": i, "name": name} for i, name in enumerate(drawing.CLASSES, start=1)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def image_record(split: str, index: int) -> dict[str, Any]:
    """An image of COCO's JSON. Ids differ between the splits."""
    height, width = SIZES[index % len(SIZES)]
    number = SEEDS[split] * 100_000 + index
    return {"id": number, "file_name": f"{number}.jpg", "height": height, "width": width}


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
