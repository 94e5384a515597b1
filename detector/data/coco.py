"""Data sets in COCO format: opened, checked, and read image by image.

    open_data      a folder, a TOML file, "coco2017" or "shapes" -> DataSet of train and val
    open_split     one split of these by itself
    CocoDataset    images and ground truths of one split

Shapes: M ground truths of an image. An image is uint8 [3, H, W] RGB; boxes are float32 [M, 4] xyxy
in its pixels; labels are int64 [M], positions among the sorted category ids.
"""

import filecmp
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from detector.data.annotations import read_annotations
from detector.data.images import is_turned, opened, orientation, read_pixels
from detector.data.locate import locate

Target = dict[str, Tensor]  # boxes [M, 4], labels [M]
COCO_2017_COUNTS = [(118_287, 860_001), (5_000, 36_781)]  # images, annotations: train, val


class CocoDataset:
    """One split: [i] is (image uint8 [3, H, W], {"boxes": [M, 4], "labels": [M]}).

    Ground truths are clipped to their image; crowd regions, boxes without area and boxes outside
    are none. skip_empty leaves out images that teach nothing (as the paper's code does): without
    ground truth, or with none that is wider and higher than a pixel. notes says what was dropped.

    images is their folder; None where boxes are all that is wanted, and no image is at hand.
    Raises FileNotFoundError or ValueError, in one line, if the files are not as needed.
    """

    def __init__(self, images: Path | None, annotations: Path, *, skip_empty: bool = False) -> None:
        self.folder, self.annotation_file = Path(images or ""), Path(annotations)
        table = self._table = read_annotations(self.annotation_file)
        files, self._file_sizes = table.file_names, list[int]()
        if images:
            files, self._file_sizes = _find_files(self.folder, files, self.annotation_file)
        self.notes: list[str] = []
        names = Counter(table.names)
        self._note([names[name] > 1 for name in table.names], "categories share a name")
        boxes, self._rows = self._ground_truths()  # image by image; rows: in the table
        self._boxes = torch.from_numpy(boxes[self._rows].astype(np.float32))
        self._labels = torch.from_numpy(table.labels[self._rows])
        owner = table.images[self._rows]
        self._places = self._images(owner, skip_empty).tolist()  # of these images in the table
        first, end = (np.searchsorted(owner, self._places, side) for side in ("left", "right"))
        self._of = [slice(*each) for each in zip(first.tolist(), end.tolist(), strict=True)]
        self.names, self.category_ids = table.names, table.category_ids
        self.image_ids = [table.image_ids[place] for place in self._places]
        self.file_names = [files[place] for place in self._places]
        self.sizes = [(int(w), int(h)) for w, h in table.sizes[self._places]]  # width, height

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """ValueError if the file is no image, or not of the size its annotations say."""
        return read_pixels(self.path(index), self.sizes[index]), self.target(index)

    def path(self, index: int) -> Path:
        """The image's file."""
        return self.folder / self.file_names[index]

    def check_images(self) -> None:
        """ValueError for the first file that __getitem__ would refuse by its header alone.

        About 0.1 ms an image; damage further inside is found when the image is decoded. notes then
        says how many images are turned, and how many are not although their files ask for it.
        """
        turns = np.zeros((2, len(self.sizes)), dtype=bool)
        for index, size in enumerate(self.sizes):
            with opened(self.path(index), size) as file:
                turns[:, index] = is_turned(file, size), orientation(file) > 1
        self._note(turns[0], "images are turned as their EXIF orientation says, boxes are taken so")
        self._note(
            turns[1] & ~turns[0],
            "images have an EXIF orientation that their annotated sizes do not have: not turned",
        )

    def target(self, index: int) -> Target:
        """The ground truths alone, without reading the image."""
        mine = self._of[index]
        return {"boxes": self._boxes[mine].clone(), "labels": self._labels[mine].clone()}

    def annotated(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The ground truths' annotation ids [M], and areas [M] as evaluation bins them."""
        rows = self._rows[self._of[index]]
        return self._table.ids[rows], self._table.areas[rows]

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """COCO's JSON for its evaluation: boxes as the file has them, crowd regions included."""
        table = self._table
        rows = np.flatnonzero(np.isin(table.images, self._places))
        columns = {
            "id": table.ids,
            "image_id": np.array(table.image_ids)[table.images],
            "category_id": np.array(table.category_ids)[table.labels],
            "bbox": table.boxes,
            "area": table.areas,
            "iscrowd": table.is_crowd.astype(int),
        }
        values = zip(*(column[rows].tolist() for column in columns.values()), strict=True)
        categories = zip(self.category_ids, self.names, strict=True)
        return {
            "images": [
                {"id": id, "width": width, "height": height}
                for id, (width, height) in zip(self.image_ids, self.sizes, strict=True)
            ],
            "categories": [{"id": id, "name": name} for id, name in categories],
            "annotations": [dict(zip(columns, each, strict=True)) for each in values],
        }

    def digest(self, edition: str = "") -> str:
        """sha256 of all that can move a number: images, categories, annotations.

        edition stands for what the images show; without it, their files' sizes in bytes do.
        """
        table = self._table
        names = [table.image_ids, table.file_names, table.category_ids, table.names]
        result = hashlib.sha256(json.dumps([*names, edition or self._file_sizes]).encode())
        for column in (table.images, table.labels, table.boxes, table.areas, table.is_crowd):
            result.update(np.ascontiguousarray(column, column.dtype.newbyteorder("<")).data)
        result.update(np.ascontiguousarray(table.sizes, "<i8").data)
        return result.hexdigest()

    def _ground_truths(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """All boxes as xyxy, clipped [N, 4]; which of them are ground truths, image by image."""
        table, is_crowd = self._table, self._table.is_crowd
        start, extent = table.boxes[:, :2], table.boxes[:, 2:]
        if len(start) and table.boxes.min() >= 0 and table.boxes.max() <= 1 < table.sizes.min():
            raise ValueError(
                f"{self.annotation_file}: all boxes lie between 0 and 1, as if they were parts of "
                "the image; bbox must be [x, y, width, height] in pixels"
            )
        corners = np.concatenate([start, start + extent], axis=1)
        boxes = np.clip(corners, 0, np.tile(table.sizes[table.images], 2))
        exact = corners.astype(np.float32)  # as they are learnt: a side may be too short for it
        is_flat = ~is_crowd & (exact[:, 2:] == exact[:, :2]).any(axis=1)
        is_empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        is_outside = ~is_crowd & ~is_flat & is_empty
        reaches = (np.abs(corners - boxes) > 1).any(axis=1) & ~is_empty & ~is_crowd
        is_large = ~is_crowd & (table.areas > 2 * extent.prod(axis=1)) & ~is_flat
        self._note(is_crowd, "crowd regions are not learnt; evaluation ignores them")
        self._note(is_flat, "boxes without area are not learnt")
        self._note(is_outside, "boxes outside their images are not learnt")
        self._note(reaches, "boxes reach over their images' borders by more than 1 px: clipped")
        self._note(is_large, "areas are more than twice their boxes'; sizes are told by area")
        kept = np.flatnonzero(~(is_crowd | is_flat | is_outside))
        return boxes, kept[np.argsort(table.images[kept], kind="stable")]

    def _images(self, owner: NDArray[np.int64], skip_empty: bool) -> NDArray[np.int64]:
        """Positions of the images to serve; owner: each ground truth's image."""
        num_images = len(self._table.image_ids)
        if not skip_empty:
            self._note(np.bincount(owner, minlength=num_images) == 0, "images without ground truth")
            return np.arange(num_images)
        is_large = ((self._boxes[:, 2:] - self._boxes[:, :2]) > 1).all(dim=1).numpy()
        is_useful = np.bincount(owner[is_large], minlength=num_images) > 0
        self._note(~is_useful, "images without ground truth left out")
        if not is_useful.any():
            raise ValueError(self._without("no image has a box to learn; training needs one"))
        return np.flatnonzero(is_useful)

    def _note(self, is_meant: ArrayLike, what: str) -> None:
        if count := np.count_nonzero(is_meant):
            self.notes.append(f"{self.annotation_file.name}: {count} {what}")

    def _without(self, problem: str) -> str:
        """Why there is nothing: the problem, and what happened to the boxes that there are."""
        reasons = [note.partition(": ")[2] for note in self.notes]
        why = f" (of {len(self._table.ids)} boxes: {'; '.join(reasons)})" if reasons else ""
        return f"{self.annotation_file}: {problem}{why}"

    def require_ground_truth(self) -> None:
        """ValueError if there is nothing to be found, and so nothing to measure."""
        if not len(self._rows):
            raise ValueError(self._without("no box is to be found; nothing can be measured"))

    def shared_with(self, other: "CocoDataset") -> int:
        """How many images are another data set's too: files of one name and the same bytes."""
        mine, others = (
            {(path.name, path.stat().st_size): path for path in map(one.path, range(len(one)))}
            for one in (self, other)
        )
        return sum(
            others[key] == path or filecmp.cmp(path, others[key], shallow=False)
            for key, path in mine.items()
            if key in others
        )


def _find_files(
    folder: Path, names: list[str], annotation_file: Path
) -> tuple[list[str], list[int]]:
    """Each image's name in the folder, and its bytes.

    A name may be spelt with other code points of the same look than its file. FileNotFoundError
    with the first that is missing, and how many; ValueError where a name leaves the folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no image folder {folder}: {annotation_file} needs its {len(names)} images there"
        )
    # By the name alone: what is linked from inside was put there by the folder's owner.
    root = os.path.abspath(folder)
    inside = (Path(os.path.abspath(folder / name)).is_relative_to(root) for name in names)
    if outside := [name for name, is_inside in zip(names, inside, strict=True) if not is_inside]:
        raise ValueError(
            f"{annotation_file}: {len(outside)} of {len(names)} images lie outside {folder}, the "
            f"first is {outside[0]!r}; a TOML file can name the folder that holds them all"
        )
    sizes = [_num_bytes(folder / name) for name in names]
    if min(sizes) < 0:
        found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
        alike = {normalize("NFC", name): name for name in found}
        names = [alike.get(normalize("NFC", name), name) for name in names]
        sizes = [_num_bytes(folder / name) for name in names]
    if missing := [name for name, size in zip(names, sizes, strict=True) if size < 0]:
        raise FileNotFoundError(
            f"{folder}: {len(missing)} of {len(names)} images are missing, the first is "
            f"{missing[0]}; {annotation_file} needs them all"
        )
    return names, sizes


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set's two splits, the name people know it by, and what identifies its content."""

    name: str
    train: CocoDataset
    val: CocoDataset
    fingerprint: str  # 64 hex digits, part of a run's identity
    notes: tuple[str, ...] = ()  # beside those of its splits


def open_data(where: str | Path) -> DataSet:
    """Open "shapes" (made at first use), "coco2017" ($COCO_ROOT), a folder, or a TOML file.

    Raises FileNotFoundError or ValueError, in one line, if it is not as needed.
    """
    source = locate(where)
    splits = {split: source.files(split) for split in ("train", "val")}
    train, val = CocoDataset(*splits["train"], skip_empty=True), CocoDataset(*splits["val"])
    if (train.category_ids, train.names) != (val.category_ids, val.names):
        raise ValueError(
            f"{val.annotation_file}: needs the categories of {train.annotation_file}, has others: "
            "what is learnt must be what is tested"
        )
    val.require_ground_truth()
    notes, name = [], source.name
    if shared := val.shared_with(train):
        notes.append(f"{shared} of {len(val)} validation images are training images too")
    counts = [(len(its.image_ids), len(its.ids)) for its in (train._table, val._table)]
    if name.lower().replace(" ", "") == "coco2017" and counts != COCO_2017_COUNTS:
        notes.append(f"is called {name}, and has not as many images as COCO 2017: another set")
        name = f"{name} (another)"
    digests = train.digest(source.edition) + val.digest(source.edition)
    fingerprint = hashlib.sha256(digests.encode()).hexdigest()
    return DataSet(name, train, val, fingerprint, tuple(notes))


def open_split(where: str | Path, split: str) -> tuple[str, CocoDataset]:
    """The name of a data set, and all images of one split, of whatever name; no other is read."""
    source = locate(where)
    return source.name, CocoDataset(*source.files(split))
