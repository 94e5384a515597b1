"""What a data set is like where sample selection looks: sizes, aspect ratios, overlaps, positives.

    python -m benchmarks.data_statistics                               the embedded set, beside COCO
    python -m benchmarks.data_statistics FOLDER --short-side 800 --long-side 1333

A study on a data set that differs from COCO here may well come out differently from the paper.
Shapes: A anchors, M ground truths of an image.
"""

import argparse
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from detector.assigners import build_assigner
from detector.boxes import centers, paired_inside
from detector.config import DetectorConfig
from detector.data.coco import CocoDataset, Target, open_data
from detector.positives import LARGE, SMALL, Selection, columns_of, count_positives

QUANTILES = (5, 25, 50, 75, 95)  # percent
SELECTIONS = [
    Selection("iou", build_assigner(DetectorConfig())),
    Selection("iou in GT box", build_assigner(DetectorConfig(in_gt_box=True))),
    Selection("ssc", build_assigner(DetectorConfig(in_gt_box=True, assigner="ssc"))),
    Selection(
        "center sampling",
        build_assigner(DetectorConfig(in_gt_box=True, assigner="center_sampling")),
    ),
    Selection("atss", build_assigner(DetectorConfig(in_gt_box=True, assigner="atss"))),
]

# measure() of 354 images of COCO 2017 (3,237 objects) at 800 and 1333 pixels.
COCO = {
    "images": 354.0,
    "landscape, %": 76.84,
    "objects per image": 9.144,
    "objects per image: quantile 5": 1.0,
    "objects per image: quantile 25": 3.0,
    "objects per image: quantile 50": 6.0,
    "objects per image: quantile 75": 13.0,
    "objects per image: quantile 95": 25.0,
    "relative size, %: quantile 5": 2.113,
    "relative size, %: quantile 25": 4.901,
    "relative size, %: quantile 50": 10.15,
    "relative size, %: quantile 75": 21.35,
    "relative size, %: quantile 95": 57.15,
    "height / width: quantile 5": 0.3334,
    "height / width: quantile 25": 0.7262,
    "height / width: quantile 50": 1.167,
    "height / width: quantile 75": 1.966,
    "height / width: quantile 95": 3.673,
    "small, %": 33.06,
    "large, %": 29.29,
    "IoU with another over 0, %": 81.9,
    "IoU with another over 0.1, %": 42.2,
    "IoU with another over 0.3, %": 12.17,
    "IoU with another over 0.5, %": 3.892,
    "center in another's box, %": 46.62,
    "iou: positives per object": 14.21,
    "iou: objects without, %": 2.966,
    "iou in GT box: positives per object": 11.66,
    "iou in GT box: objects without, %": 5.468,
    "ssc: positives per object": 30.39,
    "ssc: objects without, %": 0.7723,
    "center sampling: positives per object": 9.114,
    "center sampling: objects without, %": 0.865,
    "atss: positives per object": 9.095,
    "atss: objects without, %": 0.5561,
}


def measure(dataset: CocoDataset, *, short_side: int, long_side: int) -> dict[str, float]:
    """Figures by name. Those of positives hold for images resized to short_side and long_side."""
    targets = [dataset.target(index) for index in range(len(dataset))]
    return dict(
        [
            *_of_objects(dataset, targets),
            *_of_overlaps(target["boxes"] for target in targets),
            *_of_positives(dataset, short_side, long_side),
        ]
    )


def _of_objects(dataset: CocoDataset, targets: list[Target]) -> Iterator[tuple[str, float]]:
    images = np.array(dataset.sizes, dtype=float)
    counts = np.array([len(target["boxes"]) for target in targets])
    x1, y1, x2, y2 = torch.cat([target["boxes"] for target in targets]).double().numpy().T
    areas = (x2 - x1) * (y2 - y1)
    yield "images", float(len(images))
    yield "landscape, %", 100 * float((images[:, 0] >= images[:, 1]).mean())
    yield "objects per image", float(counts.mean())
    yield from _quantiles("objects per image", counts)
    relative = 100 * np.sqrt(areas / np.repeat(images.prod(axis=1), counts))
    yield from _quantiles("relative size, %", relative)
    yield from _quantiles("height / width", (y2 - y1) / (x2 - x1))
    yield "small, %", 100 * float((areas < SMALL).mean())
    yield "large, %", 100 * float((areas > LARGE).mean())


def _quantiles(name: str, values: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    for percent, value in zip(QUANTILES, np.percentile(values, QUANTILES), strict=True):
        yield f"{name}: quantile {percent}", float(value)


def _of_overlaps(images: Iterable[Tensor]) -> Iterator[tuple[str, float]]:
    """How far objects are in one another's way: the highest IoU with another, and whose center."""
    highest, is_covered = [], []
    for boxes in images:
        others = ~torch.eye(len(boxes), dtype=torch.bool)
        if len(boxes) > 1:
            highest.append((box_iou(boxes, boxes) * others).amax(dim=1))
            is_covered.append((paired_inside(centers(boxes)[:, None], boxes) & others).any(dim=1))
        else:
            highest.append(torch.zeros(len(boxes)))
            is_covered.append(torch.zeros(len(boxes), dtype=torch.bool))
    for limit in (0.0, 0.1, 0.3, 0.5):
        share = (torch.cat(highest) > limit).float().mean()
        yield f"IoU with another over {limit:g}, %", 100 * float(share)
    yield "center in another's box, %", 100 * float(torch.cat(is_covered).float().mean())


def _of_positives(
    dataset: CocoDataset, short_side: int, long_side: int
) -> Iterator[tuple[str, float]]:
    sides = {"short_side": short_side, "long_side": long_side}
    counted = zip(*count_positives(dataset, SELECTIONS, **sides), strict=True)
    for selection, counts in zip(SELECTIONS, counted, strict=True):
        positives = columns_of([one.objects for one in counts])["positives"]
        yield f"{selection.name}: positives per object", float(positives.mean())
        yield f"{selection.name}: objects without, %", 100 * float((positives == 0).mean())


def main() -> None:
    """Print a data set's figures beside COCO's."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", nargs="?", default="shapes", help="shapes, a folder, a TOML file")
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--short-side", type=int, default=128, help="pixels, for the positives")
    parser.add_argument("--long-side", type=int, default=192, help="pixels at most")
    given = parser.parse_args()
    data = open_data(given.data)
    dataset = data.train if given.split == "train" else data.val
    figures = measure(dataset, short_side=given.short_side, long_side=given.long_side)
    print(f"{data.name} {given.split} at {given.short_side} pixels, COCO at 800")
    for name, value in figures.items():
        print(f"{name:<40} {value:10.2f} {COCO.get(name, float('nan')):10.2f}")


if __name__ == "__main__":
    main()
