"""Data sets in COCO format: opened, checked, and read image by image.

    open_data      a folder, a TOML file, "coco2017" or "shapes" -> DataSet of train and val
    open_split     one split of these by itself
    CocoDataset    images and ground truths of one split
    batches        its endless training batches (batches.py)

Shapes: M ground truths of an image. An image is uint8 [3, H, W] RGB; boxes are float32 [M, 4] xyxy
in its pixels; labels are int64 [M], positions among the sorted category ids.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.data.annotations import Annotations, read_annotations
from detector.data.batches import batches
from detector.data.images import check_header, opened, read_pixels
from detector.data.locate import coco_categories, locate

__all__ = [
    "CocoDataset",
    "DataSet",
    "Target",
    "batches",
    "coco_categories",
    "open_data",
    "open_split",
]

Target = dict[str, Tensor]  # boxes [M, 4], labels [M]


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
        self._file_sizes = (
            _file_sizes(self.folder, table.file_names, self.annotation_file) if images else []
        )
        self.notes: list[str] = []
        boxes, kept = self._ground_truths(table)
        owner = table.images[kept]
        self._rows = kept  # of the ground truths in the table
        self._boxes = torch.from_numpy(boxes[kept].astype(np.float32))
        self._labels = torch.from_numpy(table.labels[kept])
        self._ends = np.cumsum(np.bincount(owner, minlength=len(table.image_ids)))
        self._places = self._images(owner, skip_empty).tolist()  # of these images in the table
        self.names, self.category_ids = table.names, table.category_ids
        self.image_ids = [table.image_ids[place] for place in self._places]
        self.file_names = [table.file_names[place] for place in self._places]
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

        About 0.1 ms an image; damage further inside is found when the image is decoded.
        """
        for index, size in enumerate(self.sizes):
            with opened(self.path(index)) as file:
                mode, found = file.mode, file.size
            check_header(self.path(index), mode, found, size)

    def target(self, index: int) -> Target:
        """The ground truths alone, without reading the image."""
        mine = self._mine(index)
        return {"boxes": self._boxes[mine].clone(), "labels": self._labels[mine].clone()}

    def annotated(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The ground truths' annotation ids [M], and areas [M] as evaluation bins them."""
        rows = self._rows[self._mine(index)]
        return self._table.ids[rows], self._table.areas[rows]

    def _mine(self, index: int) -> slice:
        """Where an image's ground truths are among all of the file's."""
        place = self._places[index]
        return slice(int(self._ends[place - 1]) if place else 0, int(self._ends[place]))

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """COCO's JSON for its evaluation: boxes as the file has them, crowd regions included."""
        table = self._table
        ids = zip(self.image_ids, self.sizes, strict=True)
        names = zip(self.category_ids, self.names, strict=True)
        annotations = [
            {
                "id": int(table.ids[n]),
                "image_id": table.image_ids[table.images[n]],
                "category_id": table.category_ids[table.labels[n]],
                "bbox": table.boxes[n].tolist(),
                "area": float(table.areas[n]),
                "iscrowd": int(table.is_crowd[n]),
            }
            for n in np.flatnonzero(np.isin(table.images, self._places))
        ]
        return {
            "images": [{"id": id, "width": size[0], "height": size[1]} for id, size in ids],
            "categories": [{"id": id, "name": name} for id, name in names],
            "annotations": annotations,
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

    def _ground_truths(self, table: Annotations) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """All boxes as xyxy, clipped [N, 4]; which of them are ground truths, image by image."""
        start, extent = table.boxes[:, :2], table.boxes[:, 2:]
        limits = table.sizes[table.images]
        corners = np.concatenate([start, start + extent], axis=1)
        boxes = np.clip(corners, 0, np.tile(limits, 2))
        is_flat = ~table.is_crowd & (extent == 0).any(axis=1)
        is_empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        is_outside = ~table.is_crowd & ~is_flat & is_empty
        reaches = (np.abs(corners - boxes) > 1).any(axis=1) & ~is_empty & ~table.is_crowd
        self._note(table.is_crowd, "crowd regions are not learnt; evaluation ignores them")
        self._note(is_flat, "boxes without area are not learnt")
        self._note(is_outside, "boxes outside their images are not learnt")
        self._note(reaches, "boxes reach over their images' borders by more than 1 px: clipped")
        kept = np.flatnonzero(~(table.is_crowd | is_flat | is_outside))
        return boxes, kept[np.argsort(table.images[kept], kind="stable")]

    def _images(self, owner: NDArray[np.int64], skip_empty: bool) -> NDArray[np.int64]:
        """Positions of the images to serve; owner: each ground truth's image."""
        if not skip_empty:
            self._note(np.diff(self._ends, prepend=0) == 0, "images without ground truth")
            return np.arange(len(self._ends))
        is_large = ((self._boxes[:, 2:] - self._boxes[:, :2]) > 1).all(dim=1).numpy()
        is_useful = np.bincount(owner[is_large], minlength=len(self._ends)) > 0
        self._note(~is_useful, "images without ground truth left out")
        if not is_useful.any():
            raise ValueError(
                f"{self.annotation_file}: no image has a box to learn; training needs one at least"
            )
        return np.flatnonzero(is_useful)

    def _note(self, is_meant: NDArray[np.bool_], what: str) -> None:
        if is_meant.any():
            self.notes.append(f"{self.annotation_file.name}: {int(is_meant.sum())} {what}")


def _file_sizes(folder: Path, names: list[str], annotation_file: Path) -> list[int]:
    """Bytes of each image file; FileNotFoundError with the first that is missing, and how many."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no image folder {folder}: {annotation_file} needs its {len(names)} images there"
        )
    sizes = [path.stat().st_size if path.is_file() else -1 for path in map(folder.joinpath, names)]
    if missing := [name for name, size in zip(names, sizes, strict=True) if size < 0]:
        raise FileNotFoundError(
            f"{folder}: {len(missing)} of {len(names)} images are missing, the first is "
            f"{missing[0]}; {annotation_file} needs them all"
        )
    return sizes


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set's two splits, the name people know it by, and what identifies its content."""

    name: str
    train: CocoDataset
    val: CocoDataset
    fingerprint: str  # 64 hex digits, part of a run's identity
    location: Path | None = None


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
    digests = train.digest(source.edition) + val.digest(source.edition)
    fingerprint = hashlib.sha256(digests.encode()).hexdigest()
    return DataSet(source.name, train, val, fingerprint, source.location)


def open_split(where: str | Path, split: str) -> tuple[str, CocoDataset]:
    """The name of a data set, and all images of one split, of whatever name; no other is read."""
    source = locate(where)
    return source.name, CocoDataset(*source.files(split))
