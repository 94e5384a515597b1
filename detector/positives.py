"""Sample selection over a data set, counted without training (Sec. 4.1, "Maintaining fairness").

A conflict is an anchor that more than one object would take, were it alone in its image. That is
found for any assigner by giving it the objects one by one.

Shapes: A anchors, L levels, M ground truths of an image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import IGNORED, NEGATIVE, BatchAssigner, atss_candidates
from detector.boxes import centers
from detector.data.batches import ahead
from detector.data.coco import CocoDataset
from detector.data.transforms import padded_size, resize_sizes

SMALL, LARGE = 32**2, 96**2  # areas in stored pixels between which COCO calls an object medium
LEVELS = tuple(f"P{number}" for number in range(3, 3 + len(STRIDES)))
CANDIDATES = ("candidates", "above_threshold", "threshold")  # columns, NaN where there is no k

Columns = dict[str, NDArray[Any]]  # of equal length


@dataclass(frozen=True)
class Selection:
    """An assigner with its anchors: height / width ratios, and scales in strides."""

    name: str
    assigner: BatchAssigner
    anchor_scales: tuple[float, ...] = (8.0,)
    aspect_ratios: tuple[float, ...] = (1.0,)
    k: int | None = None  # ATSS's candidates per level: then its candidates are counted too

    def anchors(self, height: int, width: int) -> list[Tensor]:
        """[A_l, 4] per level, of an input of this size before padding."""
        scales, ratios = self.anchor_scales, self.aspect_ratios
        cells = [cell_anchors(stride, scales, ratios) for stride in STRIDES]
        return grid_anchors(level_sizes(*padded_size([(height, width)])), cells)


@dataclass(frozen=True, eq=False)
class Scene:
    """An image as sample selection sees it: resized, and only its boxes."""

    height: int
    width: int
    boxes: Tensor  # [M, 4]
    image: int = 0  # its id
    described: Columns = field(default_factory=dict)  # [M] its objects


class Counts(NamedTuple):
    """What one selection makes of one image."""

    objects: Columns  # [M] positives, of all levels and on each; lost; of ATSS its candidates
    image: dict[str, Any]  # objects, and how many anchors are what


def count_positives(
    dataset: CocoDataset,
    selections: Sequence[Selection],
    *,
    short_side: int,
    long_side: int,
    workers: int = 0,
) -> Iterator[list[Counts]]:
    """For each image, in order, the selections' Counts; workers: processes that count."""
    look = partial(_count_image, dataset, selections, short_side=short_side, long_side=long_side)
    yield from ahead(look, range(len(dataset)), workers)


def _count_image(
    dataset: CocoDataset, selections: Sequence[Selection], index: int, **sides: int
) -> list[Counts]:
    scene = scene_of(dataset, index, **sides)
    return [count(selection, scene) for selection in selections]


def scene_of(dataset: CocoDataset, index: int, *, short_side: int, long_side: int) -> Scene:
    """An image, resized, and what its objects are like; size classes are COCO's, by stored areas.

    relative_size is the side of a square of the box's area, in percent of such a side of the image;
    x and y are the box's center as shares of the image's width and height.
    """
    target, (ids, areas) = dataset.target(index), dataset.annotated(index)
    stored = np.array(dataset.sizes[index], dtype=np.float64)  # width, height
    boxes = target["boxes"].double()
    width, height = (boxes[:, 2:] - boxes[:, :2]).numpy().T
    x, y = (centers(boxes).numpy() / stored).T
    described = {
        "image": np.full(len(ids), dataset.image_ids[index]),
        "annotation": ids,
        "category": np.array(dataset.names)[target["labels"].numpy()],
        "size": np.where(areas < SMALL, "small", np.where(areas > LARGE, "large", "medium")),
        "area": areas,
        "relative_size": 100 * np.sqrt(width * height / stored.prod()),
        "aspect_ratio": height / width,
        "x": x,
        "y": y,
    }
    size = resize_sizes(dataset.sizes[index][::-1], short_side=short_side, long_side=long_side)
    scale = torch.tensor(size[::-1] / stored, dtype=torch.float32).repeat(2)
    return Scene(*size, target["boxes"] * scale, dataset.image_ids[index], described)


def count(selection: Selection, scene: Scene) -> Counts:
    """One image under one selection.

    lost: positives an object would have alone, but not among the others. contested: anchors that
    more than one object would take alone. above_threshold: what Algorithm 1 finds before centers
    and other objects are looked at, by the mean + standard deviation of the candidates' IoUs.
    """
    anchors, num_objects = selection.anchors(scene.height, scene.width), len(scene.boxes)
    matched = selection.assigner(anchors, scene.boxes)  # [A]
    alone = [selection.assigner(anchors, box[None]) == 0 for box in scene.boxes]
    is_taken = torch.stack(alone) if alone else torch.zeros(0, len(matched), dtype=torch.bool)
    is_learnt = matched == torch.arange(num_objects)[:, None]  # [M, A]
    per_level = is_learnt.split([len(level) for level in anchors], dim=1)
    objects = scene.described | {"selection": np.full(num_objects, selection.name)}
    objects["positives"] = is_learnt.sum(dim=1).numpy()
    objects |= {name: on.sum(dim=1).numpy() for name, on in zip(LEVELS, per_level, strict=True)}
    objects["lost"] = (is_taken & ~is_learnt).sum(dim=1).numpy()
    objects |= dict.fromkeys(CANDIDATES, np.full(num_objects, np.nan))
    if selection.k is not None and num_objects:
        _, iou, threshold, _ = atss_candidates(anchors, scene.boxes, selection.k)  # [M, K], [M]
        above = (iou >= threshold[:, None]).sum(dim=1)
        found = np.full(num_objects, iou.shape[1]), above.numpy(), threshold.double().numpy()
        objects |= zip(CANDIDATES, found, strict=True)
    image = {
        "image": scene.image,
        "objects": num_objects,
        "positives": int(is_learnt.sum()),
        "ignored": int((matched == IGNORED).sum()),
        "negatives": int((matched == NEGATIVE).sum()),
        "contested": int((is_taken.sum(dim=0) > 1).sum()),
        "selection": selection.name,
    }
    return Counts(objects, image)


def columns_of(parts: Sequence[Mapping[str, Any]]) -> Columns:
    """The objects, or the images, of several Counts as one table."""
    return {name: np.hstack([part[name] for part in parts]) for name in parts[0]}


def anchors_of(selection: Selection, scene: Scene) -> Columns:
    """Columns [A]: box [A, 4], level (0 is P3), matched (-1 is none), is_ignored."""
    anchors = selection.anchors(scene.height, scene.width)
    matched = selection.assigner(anchors, scene.boxes)
    return {
        "box": torch.cat(anchors).numpy(),
        "level": np.repeat(np.arange(len(anchors)), [len(level) for level in anchors]),
        "matched": matched.clamp(min=NEGATIVE).numpy(),
        "is_ignored": (matched == IGNORED).numpy(),
    }
