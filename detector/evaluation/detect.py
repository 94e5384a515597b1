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
from detector.data.transforms import IMAGENET, Normalization
from detector.evaluation.match_records import Matches
from detector.evaluation.matching import accumulate, match
from detector.evaluation.multi_scale import MultiScaleTest
from detector.metrics import Metrics
from detector.postprocess import Detects

Detection = dict[str, Any]
Prepare = Callable[[Tensor], Tensor]  # a stored image, uint8 [3, H, W] RGB -> what is detected in
Evaluation = Callable[[dict[str, Any], list[Detection]], tuple[dict[str, float | None], Matches]]
BOX_DIGITS, SCORE_DIGITS = 2, 6  # of pixels, of scores


def detect_all(
    detector: Detects,
    dataset: CocoDataset,
    recipe: Recipe,
    *,
    device: torch.device | str,
    workers: int = 0,
    normalization: Normalization = IMAGENET,
    inclusive_corners: bool = False,
    category_ids: Sequence[int] | None = None,
    share: slice = EVERYTHING,
) -> Iterator[list[list[Detection]]]:
    """Yield each batch's detections, image by image, in pixels of the original images, over all.

    Images are tested at recipe.short_side[1] (and others, if recipe.multi_scale_test says so), at
    most recipe.batch_size of them at a time, those of one padded size together. normalization and
    inclusive_corners (see as_results) are conventions that the weights were learnt with;
    category_ids are those of the detector's labels, by default the data set's. share: which of the
    batches to test.
    """
    groups = _groups(dataset, recipe)
    test, prepare = _way_of_testing(detector, recipe, normalization, inclusive_corners)
    for indices, images in ahead(partial(_test_images, dataset, prepare), groups[share], workers):
        with torch.no_grad():
            found = test.detect([image.to(device) for image in images])
        yield [
            as_results(
                detections,
                image_id=dataset.image_ids[index],
                category_ids=category_ids or dataset.category_ids,
                size=dataset.sizes[index],
                tested=(image.shape[2], image.shape[1]),
                inclusive_corners=inclusive_corners,
            )
            for index, image, detections in zip(indices, images, found, strict=True)
        ]


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


def _way_of_testing(
    detector: Detects, recipe: Recipe, normalization: Normalization, inclusive_corners: bool
) -> tuple[Detects, Prepare]:
    """Who detects, and what it is shown of a stored image: resized and normalized, or all of it."""
    if recipe.multi_scale_test:
        return MultiScaleTest(detector, recipe, normalization, inclusive_corners), _as_stored
    return detector, partial(_prepared, recipe.short_side[1], recipe.long_side, normalization)


def _test_images(
    dataset: CocoDataset, prepare: Prepare, indices: list[int]
) -> tuple[list[int], list[Tensor]]:
    """The indices and their images, prepared."""
    return indices, [prepare(dataset[index][0]) for index in indices]


def _prepared(short_side: int, long_side: int, normalize: Normalization, image: Tensor) -> Tensor:
    size = transforms.resize_sizes(image.shape[1:], short_side=short_side, long_side=long_side)
    return normalize(transforms.resize(image, torch.zeros(0, 4), size)[0])


def _as_stored(image: Tensor) -> Tensor:
    return image


def detect_one(
    detector: Detects,
    image: Tensor,
    recipe: Recipe,
    *,
    image_id: int,
    category_ids: Sequence[int],
    device: torch.device | str,
    normalization: Normalization = IMAGENET,
    inclusive_corners: bool = False,
) -> list[Detection]:
    """The detections of an image, uint8 [3, H, W] RGB, which is no part of a data set."""
    test, prepare = _way_of_testing(detector, recipe, normalization, inclusive_corners)
    prepared = prepare(image)
    with torch.no_grad():
        found = test.detect([prepared.to(device)])[0]
    return as_results(
        found,
        image_id=image_id,
        category_ids=category_ids,
        size=(image.shape[2], image.shape[1]),
        tested=(prepared.shape[2], prepared.shape[1]),
        inclusive_corners=inclusive_corners,
    )


def as_results(
    detections: dict[str, Tensor],
    *,
    image_id: int,
    category_ids: Sequence[int],
    size: tuple[int, int],
    tested: tuple[int, int],
    inclusive_corners: bool = False,
) -> list[Detection]:
    """COCO's results for an image of a size (width, height), tested at another: scaled, clipped.

    inclusive_corners: the network learnt boxes whose x2, y2 is their last pixel, not their end, and
    whose corners were resized as such; so they are scaled back (docs/choices.md Q24).
    """
    boxes = detections["boxes"].detach().cpu().double()
    scale = torch.tensor([size[0] / tested[0], size[1] / tested[1]], dtype=torch.float64).repeat(2)
    end = torch.tensor([0, 0, 1, 1], dtype=torch.float64) * inclusive_corners
    limits = torch.tensor(size, dtype=torch.float64).repeat(2)
    corners = ((boxes - end) * scale + end).clamp(min=0).minimum(limits)
    bboxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1)
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label],
            "bbox": [round(side, BOX_DIGITS) for side in bbox],
            "score": round(score, SCORE_DIGITS),
        }
        for bbox, score, label in zip(
            bboxes.tolist(),
            detections["scores"].tolist(),
            detections["labels"].tolist(),
            strict=True,
        )
    ]


def evaluate(ground_truth: dict[str, Any], detections: list[Detection]) -> Metrics:
    """The six of coco_numbers that the paper prints."""
    return six(coco_numbers(ground_truth, detections))


def six(numbers: Mapping[str, float | None]) -> Metrics:
    """The six of the twelve numbers that the paper prints."""
    return Metrics(*list(numbers.values())[: len(fields(Metrics))])


def coco_numbers(
    ground_truth: dict[str, Any], detections: list[Detection]
) -> dict[str, float | None]:
    """COCO_NUMBERS of detections, as measure has them."""
    return measure(ground_truth, detections)[0]


def at_once(
    ground_truth: dict[str, Any], detections: list[Detection]
) -> tuple[dict[str, float | None], Matches]:
    """The evaluation of all images and categories at once."""
    matches = match(ground_truth, detections)
    return accumulate(matches), matches


def measure(
    ground_truth: dict[str, Any], detections: list[Detection], *, by: Evaluation = at_once
) -> tuple[dict[str, float | None], Matches]:
    """COCO_NUMBERS, and what was found of every detection, of one evaluation.

    In percent, None where there is nothing to find. ground_truth: CocoDataset.ground_truth. Neither
    argument is changed. No detections: AP is 0. by: by_pycocotools has the same to the last bit,
    and is the reference.
    Raises ValueError for detections in an image, or of a category, that ground_truth lacks.
    """
    for key, name in (("image_id", "images"), ("category_id", "categories")):
        known = {record["id"] for record in ground_truth[name]}
        if unknown := [item[key] for item in detections if item[key] not in known]:
            raise ValueError(
                f"{len(unknown)} detections have a {key} that the ground truth lacks, the first "
                f"{unknown[0]!r}; needs one of its {len(known)} {name}: is it the same data set?"
            )
    return by(ground_truth, detections)
