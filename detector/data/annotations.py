"""Reading a COCO annotation file, checked at the door, as columns.

What later code relies on is established here, or refused in one line that names the file and the
record: the format, ids that are unique, annotations that point to an image and to a category, boxes
that are finite. Category ids may have gaps, as COCO's have.

Shapes: N annotations, in the file's order. A box is [x, y, width, height] in pixels of the image.
"""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from unicodedata import category

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import ArrayLike, NDArray

NEEDED = (
    "annotations need COCO's JSON format: an object with the lists images (id, file_name, width, "
    "height), annotations (id, image_id, category_id, bbox) and categories (id, name)"
)
BOX = "it is [x, y, width, height] in pixels"
UNCLEAN = "blank or has control characters; people must be able to read it"

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Length = Annotated[int, Meta(gt=0, le=10**6)]  # in pixels
Pixel = Annotated[float, Meta(ge=-1e6, le=1e6)]  # no image is so large
Text = Annotated[str, Meta(min_length=1)]


class Image(Struct, gc=False):
    """An entry of images."""

    id: Id
    file_name: Text
    width: Length
    height: Length


class Annotation(Struct, gc=False):
    """An entry of annotations."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[Pixel, Pixel, Pixel, Pixel]
    area: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    iscrowd: bool | Annotated[int, Meta(ge=0, le=1)] = 0


class Category(Struct):
    """An entry of categories."""

    id: Id
    name: Text


class Content(Struct):
    """What is read of a file; COCO has more in it, such as outlines, which is passed over."""

    images: Annotated[list[Image], Meta(min_length=1)]
    annotations: list[Annotation]
    categories: Annotated[list[Category], Meta(min_length=1)]


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

    Raises FileNotFoundError, or ValueError with the first thing that is wrong.
    """
    content = _read(path)
    images, annotations = content.images, content.annotations
    categories = sorted(content.categories, key=lambda one: one.id)
    image_ids, category_ids = [one.id for one in images], [one.id for one in categories]
    boxes = np.array([one.bbox for one in annotations], dtype=np.float64).reshape(-1, 4)
    areas = np.array([one.area for one in annotations], dtype=np.float64)  # None becomes NaN
    table = Annotations(
        image_ids=image_ids,
        file_names=[one.file_name for one in images],
        sizes=np.array([(one.width, one.height) for one in images], dtype=np.int64),
        category_ids=category_ids,
        names=[one.name for one in categories],
        ids=np.array([one.id for one in annotations], dtype=np.int64),
        images=positions([one.image_id for one in annotations], image_ids),
        labels=positions([one.category_id for one in annotations], category_ids),
        boxes=boxes,
        areas=np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas),
        is_crowd=np.array([one.iscrowd for one in annotations], dtype=bool),
    )
    ids = {"image": image_ids, "category": category_ids, "annotation": table.ids.tolist()}
    is_twice = {kind: positions(its, its) != np.arange(len(its)) for kind, its in ids.items()}
    is_unclean = [not it.strip() or any(category(c) == "Cc" for c in it) for it in table.names]
    of = "that is not the id of one of the"
    faults: list[tuple[str, ArrayLike, str]] = [
        *((kind, its, "is there twice; ids must be unique") for kind, its in is_twice.items()),
        ("annotation", table.images < 0, f"has an image_id {of} {len(images)} images"),
        ("annotation", table.labels < 0, f"has a category_id {of} {len(categories)} categories"),
        ("annotation", (boxes[:, 2:] < 0).any(axis=1), f"has a bbox of negative size; {BOX}"),
        (
            "category",
            is_unclean,
            f"has a name that is {UNCLEAN}",
        ),
    ]
    for kind, is_bad, problem in faults:
        if len(bad := np.flatnonzero(is_bad)):
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise ValueError(f"{path}: {kind} with id {ids[kind][bad[0]]}{more} {problem}")
    return table


def _read(path: Path) -> Content:
    """The file's content, of the types that COCO's format has."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no annotation file {path}: a data set needs a JSON file in COCO format"
        )
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=Content)
    except (RecursionError, ValueError) as error:
        problem = f"not JSON ({error}; NaN and Infinity are none either)"
        if isinstance(error, RecursionError):
            problem = "brackets nested too deeply"
        elif isinstance(error, msgspec.ValidationError):
            problem = str(error)
        raise ValueError(f"{path}: {problem}; {NEEDED}") from None


def positions(numbers: Sequence[int], ids: Sequence[int]) -> NDArray[np.int64]:
    """Where each number stands among ids, of equal ones at last; -1 where it does not."""
    places = {id: place for place, id in enumerate(ids)}
    return np.array([places.get(number, -1) for number in numbers], dtype=np.int64)
