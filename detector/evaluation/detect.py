"""Detections of a data set, and what COCO's evaluation says of them (Sec. 4 reports these numbers).

A detection is a dict as COCO's results format has it: image_id, category_id, bbox [x, y, width,
height] in pixels of the original image, score. A list of them is the content of a results file.

Shapes: D detections of an image; boxes in the network's input are [D, 4] xyxy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from detector.config import Recipe
from detector.data import transforms
from detector.data.batches import EVERYTHING, ahead
from detector.data.coco import CocoDataset
from detector.evaluation.match_records import Matches
from detector.evaluation.matching import accumulate, match
from detector.evaluation.multi_scale import MultiScaleTest
from detector.metrics import Metrics
from detector.postprocess import Detections, Detects
from detector.weights.conventions import ATSS_SUITE, Layout

Detection = dict[str, Any]
Prepare = Callable[[Tensor], Tensor]  # a stored image, uint8 [3, H, W] RGB -> as large as tested
Size = tuple[int, int]  # width, height
# Prepared images, the id of each and its size before -> its results
Find = Callable[[list[Tensor], Sequence[tuple[int, Size]]], list[list[Detection]]]
BOX_DIGITS, SCORE_DIGITS = 2, 6  # of pixels, of scores


def detect_all(
    detector: Detects,
    dataset: CocoDataset,
    recipe: Recipe,
    *,
    device: torch.device | str,
    workers: int = 0,
    layout: Layout = ATSS_SUITE,
    category_ids: Sequence[int] | None = None,
    share: slice = EVERYTHING,
) -> Iterator[list[list[Detection]]]:
    """Yield each batch's detections, image by image, in pixels of the original images, over all.

    Images are tested at recipe.short_side[1] (and others, if recipe.multi_scale_test says so), at
    most recipe.batch_size of them at a time, those of one padded size together. layout: what the
    weights were learnt with. category_ids are those of the detector's labels, by default the data
    set's. share: which of the batches to test.
    """
    ids = category_ids or dataset.category_ids
    prepare, found = _test(detector, recipe, layout, ids, device)
    load = partial(_load, dataset, prepare)
    pin = torch.device(device).type == "cuda"
    for indices, images in ahead(load, _groups(dataset, recipe)[share], workers, pin=pin):
        yield found(images, [(dataset.image_ids[it], dataset.sizes[it]) for it in indices])


def detect_one(
    detector: Detects,
    image: Tensor,
    recipe: Recipe,
    *,
    image_id: int,
    category_ids: Sequence[int],
    device: torch.device | str,
    layout: Layout = ATSS_SUITE,
) -> list[Detection]:
    """The detections of an image, uint8 [3, H, W] RGB, which is no part of a data set."""
    prepare, found = _test(detector, recipe, layout, category_ids, device)
    return found([prepare(image)], [(image_id, (image.shape[2], image.shape[1]))])[0]


def _groups(dataset: CocoDataset, recipe: Recipe) -> list[list[int]]:
    """The images of each batch: of one padded size, the largest first."""
    alike: dict[tuple[int, int], list[int]] = {}
    for index, (width, height) in enumerate(dataset.sizes):
        size = transforms.resize_sizes(
            (height, width), short_side=recipe.short_side[1], long_side=recipe.long_side
        )
        alike.setdefault(transforms.padded_size([size]), []).append(index)
    count = recipe.batch_size
    largest_first = [alike[size] for size in sorted(alike, reverse=True)]
    return [part[i : i + count] for part in largest_first for i in range(0, len(part), count)]


def _load(
    dataset: CocoDataset, prepare: Prepare, indices: list[int]
) -> tuple[list[int], list[Tensor]]:
    """The indices and their images, prepared."""
    return indices, [prepare(dataset[index][0]) for index in indices]


def _test(
    detector: Detects,
    recipe: Recipe,
    layout: Layout,
    category_ids: Sequence[int],
    device: torch.device | str,
) -> tuple[Prepare, Find]:
    """How a stored image is prepared, and what is found in several that are."""
    test: Detects = detector
    prepare: Prepare = partial(
        transforms.resized, short_side=recipe.short_side[1], long_side=recipe.long_side
    )
    kind = torch.device(device).type
    normalize: Prepare = partial(layout.normalization.on, device=device)
    if recipe.multi_scale_test:  # which is shown images as they are stored
        test, prepare = MultiScaleTest(detector, recipe, layout), torch.as_tensor
        normalize = partial(Tensor.to, device=device)

    def find(images: list[Tensor], about: Sequence[tuple[int, Size]]) -> list[list[Detection]]:
        """The results of each prepared image; about: its id, and its size before."""
        is_half = kind == "cuda" and recipe.precision == "bf16"
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=is_half):
            found = test.detect([normalize(image) for image in images])
        return [
            as_results(
                detections,
                image_id=image_id,
                category_ids=category_ids,
                size=size,
                tested=(image.shape[2], image.shape[1]),
                inclusive_corners=layout.inclusive_corners,
            )
            for detections, image, (image_id, size) in zip(found, images, about, strict=True)
        ]

    return prepare, find


def as_results(
    detections: Detections,
    *,
    image_id: int,
    category_ids: Sequence[int],
    size: Size,
    tested: Size,
    inclusive_corners: bool = False,
) -> list[Detection]:
    """COCO's results for an image of a size, tested at another: scaled back, clipped."""
    boxes = detections["boxes"].detach().cpu().double()
    limits = torch.tensor(size, dtype=torch.float64).repeat(2)
    corners = transforms.resize_back(boxes, tested, size, inclusive_corners)
    corners = corners.clamp(min=0).minimum(limits)
    bboxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    scores, labels = detections["scores"].tolist(), detections["labels"].tolist()
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label],
            "bbox": [round(side, BOX_DIGITS) for side in bbox],
            "score": round(score, SCORE_DIGITS),
        }
        for bbox, score, label in zip(bboxes, scores, labels, strict=True)
    ]


def evaluate(ground_truth: dict[str, Any], detections: list[Detection]) -> Metrics:
    """The six numbers that the paper prints."""
    return six(measure(ground_truth, detections)[0])


def six(numbers: Mapping[str, float | None]) -> Metrics:
    """The six of the twelve numbers that the paper prints."""
    return Metrics(*list(numbers.values())[: len(fields(Metrics))])


def measure(
    ground_truth: dict[str, Any], detections: list[Detection]
) -> tuple[dict[str, float | None], Matches]:
    """COCO_NUMBERS, and what was found of every detection, of one evaluation.

    In percent, None where there is nothing to find. ground_truth: CocoDataset.ground_truth. Neither
    argument is changed. No detections: AP is 0. pycocotools has the same to the last bit.
    Raises ValueError for detections in an image, or of a category, that ground_truth lacks.
    """
    for key, name in (("image_id", "images"), ("category_id", "categories")):
        known = {record["id"] for record in ground_truth[name]}
        if unknown := [item[key] for item in detections if item[key] not in known]:
            raise ValueError(
                f"{len(unknown)} detections have a {key} that the ground truth lacks, the first "
                f"{unknown[0]!r}; needs one of its {len(known)} {name}: is it the same data set?"
            )
    matches = match(ground_truth, detections)
    return accumulate(matches), matches
