"""Detections of a data set, and what COCO's evaluation says of them (Sec. 4 reports these numbers).

A detection is a dict as COCO's results format has it: image_id, category_id, bbox [x, y, width,
height] in pixels of the original image, score. A list of them is the content of a results file.

Shapes: D detections of an image; boxes in the network's input are [D, 4] xyxy.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from detector.evaluation.multi_scale import detect_in_passes
from detector.metrics import Metrics
from detector.postprocess import Detections, Detects
from detector.weights.conventions import ATSS_SUITE, Layout

Detection = dict[str, Any]
Size = tuple[int, int]  # width, height
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
    ids, groups = category_ids or dataset.category_ids, _groups(dataset, recipe)[share]
    load, pin = partial(_load, dataset, recipe), torch.device(device).type == "cuda"
    for group, images in zip(groups, ahead(load, groups, workers, pin=pin), strict=True):
        about = [(dataset.image_ids[index], dataset.sizes[index]) for index in group]
        yield _find(detector, images, about, recipe, layout, ids, device)


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
    images, about = [_prepared(image, recipe)], [(image_id, (image.shape[2], image.shape[1]))]
    return _find(detector, images, about, recipe, layout, category_ids, device)[0]


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


def _load(dataset: CocoDataset, recipe: Recipe, group: list[int]) -> list[Tensor]:
    return [_prepared(dataset[index][0], recipe) for index in group]


def _prepared(image: Tensor, recipe: Recipe) -> Tensor:
    """As large as it is tested; many scales are made of the image as it is stored."""
    if recipe.multi_scale_test:
        return image
    return transforms.resized(image, recipe.short_side[1], recipe.long_side)


def _find(
    detector: Detects,
    images: list[Tensor],
    about: Sequence[tuple[int, Size]],
    recipe: Recipe,
    layout: Layout,
    category_ids: Sequence[int],
    device: torch.device | str,
) -> list[list[Detection]]:
    """The results of each prepared image; about: its id, and its size before."""
    kind = torch.device(device).type
    is_half = kind == "cuda" and recipe.precision == "bf16"
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=is_half):
        if recipe.multi_scale_test:
            found = [detect_in_passes(detector, it.to(device), recipe, layout) for it in images]
        else:
            sent = [image.to(device, non_blocking=True) for image in images]
            found = detector.detect([layout.normalization(image) for image in sent])
    results = partial(
        as_results, category_ids=category_ids, inclusive_corners=layout.inclusive_corners
    )
    return [
        results(each, image_id=number, size=size, tested=(image.shape[2], image.shape[1]))
        for each, image, (number, size) in zip(found, images, about, strict=True)
    ]


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


def six(numbers: Mapping[str, float | None]) -> Metrics:
    """The six of the twelve numbers that the paper prints."""
    return Metrics(*list(numbers.values())[: len(fields(Metrics))])


def measure(
    ground_truth: dict[str, Any], detections: list[Detection]
) -> tuple[dict[str, float | None], Matches]:
    """COCO_NUMBERS, and what was found of every detection, of one evaluation.

    In percent, None where there is nothing to find. ground_truth: CocoDataset.ground_truth, of the
    data set that was detected in. Neither argument is changed. No detections: AP is 0. pycocotools
    has the same to the last bit.
    """
    matches = match(ground_truth, detections)
    return accumulate(matches), matches
