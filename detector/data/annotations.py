"""Reading a COCO annotation file, checked at the door, as columns.

What later code relies on is established here, or refused in one line that names the file and the
record: the format, ids that are unique, annotations that point to an image and to a category, boxes
that are finite. Category ids may have gaps, as COCO's have.

Shapes: N annotations, in the file's order. A box is [x, y, width, height] in pixels of the image.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
ONE = {"images": "image", "annotations": "annotation", "categories": "category"}

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Annotations:
    """A checked annotation file. Categories are sorted by id; a label is a position among them."""

    image_ids: list[int]
    file_names: list[str]
    sizes: NDArray[np.int64]  # [images, 2]: width, height
    category_ids: list[int]
    names: list[str]
    ids: NDArray[np.int64]  # [N]
    images: NDArray[np.int64]  # [N] positions in image_ids
    labels: NDArray[np.int64]  # [N] positions in category_ids
    boxes: NDArray[np.float64]  # [N, 4] xywh as the file has them, perhaps beyond the image
    areas: NDArray[np.float64]  # [N] the file's area (COCO: of the outline), or the box's
    is_crowd: NDArray[np.bool_]  # [N]


def read_annotations(path: Path) -> Annotations:
    """Read and check a COCO JSON file.

    Raises FileNotFoundError, or ValueError with the first thing that is wrong and how often it is.
    """
    content = _read_json(path)
    tables = {name: _Table(path, name, content[name]) for name in FIELDS}
    images, annotations, categories = tables.values()
    if not images.records or not categories.records:
        lacking = "categories" if images.records else "images"
        raise ValueError(f"{path}: '{lacking}' is empty: a data set needs at least one")
    image_ids, category_ids = images.ids(), categories.ids()
    by_id = sorted(zip(category_ids, categories.texts("name"), strict=True))
    category_ids = [category for category, _ in by_id]
    boxes = annotations.boxes()
    return Annotations(
        image_ids=image_ids,
        file_names=images.texts("file_name"),
        sizes=np.stack([images.lengths("width"), images.lengths("height")], axis=1),
        category_ids=category_ids,
        names=[name for _, name in by_id],
        ids=np.array(annotations.ids(), dtype=np.int64),
        images=annotations.positions("image_id", image_ids, "images"),
        labels=annotations.positions("category_id", category_ids, "categories"),
        boxes=boxes,
        areas=annotations.areas(boxes),
        is_crowd=annotations.flags("iscrowd"),
    )


def _read_json(path: Path) -> dict[str, list[Record]]:
    """The file's content, with the three lists of a COCO file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no annotation file {path}: a data set needs a JSON file in COCO format"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path}: not JSON ({error}); annotations need COCO's JSON format"
        ) from None
    needed = "COCO's format needs an object with the lists " + ", ".join(FIELDS)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}; {needed}")
    missing = [name for name in FIELDS if not isinstance(content.get(name), list)]
    if missing:
        found = ", ".join(sorted(content)) or "nothing"
        raise ValueError(
            f"{path}: no list {' and no list '.join(missing)} (found {found}); {needed}"
        )
    return content


class _Table:
    """One of a file's three lists, read by columns; a column that is not as needed is refused."""

    def __init__(self, path: Path, name: str, records: list[Record]) -> None:
        self.path, self.name, self.records = path, name, records
        for key in FIELDS[name]:
            self._need(key)

    def _need(self, key: str) -> None:
        is_bad = [not isinstance(record, dict) or key not in record for record in self.records]
        needed = f"every {ONE[self.name]} needs {', '.join(FIELDS[self.name])}"
        self._refuse(is_bad, lambda record: f"has no {key}", needed)

    def _refuse(self, is_bad: ArrayLike, problem: Callable[[Record], str], needed: str) -> None:
        """ValueError if a record is bad: which is the first, why, how many more, what is needed."""
        bad = np.flatnonzero(is_bad)
        if not len(bad):
            return
        record = self.records[bad[0]]
        given = record.get("id") if isinstance(record, dict) else None
        which = f"number {bad[0] + 1}" if given is None else f"with id {given!r}"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(f"{self.path}: {ONE[self.name]} {which} {problem(record)}{more}; {needed}")

    def ids(self) -> list[int]:
        """The records' ids, which are integers, each once."""
        ids = self._integers("id")
        is_repeat = np.ones(len(ids), dtype=bool)
        is_repeat[np.unique(ids, return_index=True)[1]] = False
        needed = f"ids of {self.name} must be unique"
        self._refuse(is_repeat, lambda record: "is there twice", needed)
        return ids

    def _integers(self, key: str) -> list[int]:
        values = [record[key] for record in self.records]
        is_bad = [type(value) is not int or abs(value) >= 2**63 for value in values]
        self._refuse(
            is_bad, lambda record: f"has {key} {record[key]!r}", f"{key} must be an integer"
        )
        return values

    def lengths(self, key: str) -> NDArray[np.int64]:
        """A column of positive integers, in pixels."""
        values = np.array(self._integers(key), dtype=np.int64)
        needed = f"{key} must be a positive number of pixels"
        self._refuse(values <= 0, lambda record: f"has {key} {record[key]}", needed)
        return values

    def texts(self, key: str) -> list[str]:
        """A column of strings that are not empty."""
        values = [record[key] for record in self.records]
        is_bad = [not isinstance(value, str) or not value for value in values]
        self._refuse(is_bad, lambda record: f"has {key} {record[key]!r}", f"{key} must be a text")
        return values

    def positions(self, key: str, ids: list[int], among: str) -> NDArray[np.int64]:
        """Where each record's key stands among ids."""
        places = {number: place for place, number in enumerate(ids)}
        found = np.array([places.get(number, -1) for number in self._integers(key)], dtype=np.int64)
        needed = f"{key} must be the id of one of the {len(ids)} {among}"
        self._refuse(found < 0, lambda record: f"points to {key} {record[key]}", needed)
        return found

    def boxes(self) -> NDArray[np.float64]:
        """[N, 4]: finite, with no negative width or height."""
        values = [record["bbox"] for record in self.records]
        needed = "bbox must be [x, y, width, height] in pixels, finite, width and height >= 0"
        self._refuse([not _is_box(value) for value in values], _show_box, needed)
        boxes = np.array(values, dtype=np.float64).reshape(-1, 4)
        is_bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1)
        self._refuse(is_bad, _show_box, needed)
        return boxes

    def areas(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: what the file says; where it says nothing, the box's area."""
        values = [record.get("area") for record in self.records]
        is_bad = [value is not None and not _is_number(value) for value in values]
        needed = "area must be a number of square pixels >= 0, or be left out"
        self._refuse(is_bad, lambda record: f"has area {record['area']!r}", needed)
        areas = np.array(values, dtype=np.float64)  # None becomes NaN
        is_impossible = np.isinf(areas) | (areas < 0)
        self._refuse(is_impossible, lambda record: f"has area {record['area']!r}", needed)
        return np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas)

    def flags(self, key: str) -> NDArray[np.bool_]:
        """[N] booleans from 0 and 1; missing is 0."""
        values = [record.get(key, 0) for record in self.records]
        self._refuse(
            [value not in (0, 1) for value in values],
            lambda record: f"has {key} {record[key]!r}",
            f"{key} must be 0 or 1",
        )
        return np.array(values, dtype=bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _show_box(record: Record) -> str:
    return f"has bbox {record['bbox']!r:.80}"
