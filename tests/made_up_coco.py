"""Small COCO data sets for tests: images of one color, and annotations that a test can spoil."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from detector.config import Recipe

RECIPE = Recipe(
    backbone="small",
    norm="group_norm",
    weights="none",
    batch_size=4,
    short_side=(48, 80),
    long_side=112,
)


def content() -> dict[str, Any]:
    """Three images, four objects of the categories 3 and 7, a crowd; image 30 shows nothing."""
    return {
        "images": [
            {"id": 10, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 20, "file_name": "b.png", "width": 40, "height": 60},
            {"id": 30, "file_name": "c.png", "width": 50, "height": 50},
        ],
        "annotations": [
            annotation(1, 20, 7, [5, 5, 30, 50]),
            annotation(2, 10, 3, [0, 0, 10, 20]),
            annotation(3, 10, 7, [20, 10, 30, 15]),
            annotation(4, 10, 3, [0, 0, 60, 40], iscrowd=1),
            annotation(5, 20, 3, [2, 40, 8, 9]),
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def annotation(number: int, image: int, category: int, bbox: list[float], **more: Any) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}


def write(folder: Path, described: dict[str, Any], split: str = "train") -> tuple[Path, Path]:
    """Write annotations and one-colored images; return (image folder, annotation file)."""
    images, file = folder / split, folder / "annotations" / f"instances_{split}.json"
    images.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(exist_ok=True)
    for number, record in enumerate(described["images"]):
        size = (record["width"], record["height"])
        Image.new("RGB", size, (10 * number, 100, 200)).save(images / record["file_name"])
    file.write_text(json.dumps(described))
    return images, file


def write_both(folder: Path, train: Any = None, val: Any = None) -> Path:
    """A data set with train and val, both as content() where nothing else is given."""
    write(folder, train or content(), "train")
    write(folder, val or content(), "val")
    return folder
