"""What a data set is like where sample selection looks: sizes, aspect ratios, overlaps, positives.

    python -m benchmarks.data_statistics                               the embedded set, beside COCO
    python -m benchmarks.data_statistics FOLDER --short-side 800 --long-side 1333

A study on a data set that differs from COCO here may well come out differently from the paper.
Shapes: A anchors, M ground truths of an image.
"""

import argparse
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from detector.assigners import build_assigner
from detector.boxes import centers, paired_inside
from detector.config import DetectorConfig
from detector.data.coco import CocoDataset, Target, open_data
from detector.positives import LARGE, SMALL, Selection, columns_of, count_positives

QUANTILES = (5, 25, 50, 75, 95)  # percent
CONFIGS = {
    "iou": DetectorConfig(),
    "iou in GT box": DetectorConfig(in_gt_box=True),
    "ssc": DetectorConfig(in_gt_box=True, assigner="ssc"),
    "center sampling": DetectorConfig(in_gt_box=True, assigner="center_sampling"),
    "atss": DetectorConfig(in_gt_box=True, assigner="atss"),
}
SELECTIONS = [Selection(name, build_assigner(config)) for name, config in CONFIGS.items()]


def quantiles(name: str, values: Iterable[float]) -> dict[str, float]:
    """The figures of a quantity, of its values at QUANTILES."""
    pairs = zip(QUANTILES, values, strict=True)
    return {f"{name}: quantile {percent}": float(value) for percent, value in pairs}


def positives(name: str, per_object: float, without: float) -> dict[str, float]:
    """The figures of a selection; without: percent of the objects."""
    return {f"{name}: positives per object": per_object, f"{name}: objects without, %": without}


# measure() of 354 images of COCO 2017 (3,237 objects) at 800 and 1333 pixels.
COCO = {
    "images": 354.0,
    "landscape, %": 76.84,
    "objects per image": 9.144,
    **quantiles("objects per image", (1.0, 3.0, 6.0, 13.0, 25.0)),
    **quantiles("relative size, %", (2.113, 4.901, 10.15, 21.35, 57.15)),
    **quantiles("height / width", (0.3334, 0.7262, 1.167, 1.966, 3.673)),
    "small, %": 33.06,
    "large, %": 29.29,
    "IoU with another over 0, %": 81.9,
    "IoU with another over 0.1, %": 42.2,
    "IoU with another over 0.3, %": 12.17,
    "IoU with another over 0.5, %": 3.892,
    "center in another's box, %": 46.62,
    **positives("iou", 14.21, 2.966),
    **positives("iou in GT box", 11.66, 5.468),
    **positives("ssc", 30.39, 0.7723),
    **positives("center sampling", 9.114, 0.865),
    **positives("atss", 9.095, 0.5561),
}


def measure(dataset: CocoDataset, *, short_side: int, long_side: int) -> dict[str, float]:
    """Figures by name. Those of positives hold for images resized to short_side and long_side."""
    targets = [dataset.target(index) for index in range(len(dataset))]
    figures = of_objects(dataset, targets) | of_overlaps([it["boxes"] for it in targets])
    sides = {"short_side": short_side, "long_side": long_side}
    counted = zip(*count_positives(dataset, SELECTIONS, **sides), strict=True)
    for name, counts in zip(CONFIGS, counted, strict=True):
        found = columns_of([one.objects for one in counts])["positives"]
        figures |= positives(name, float(found.mean()), 100 * float((found == 0).mean()))
    return figures


def of_objects(dataset: CocoDataset, targets: list[Target]) -> dict[str, float]:
    """How many there are in an image, how large, and of what shape."""
    images = np.array(dataset.sizes, dtype=float)
    counts = np.array([len(target["boxes"]) for target in targets])
    x1, y1, x2, y2 = torch.cat([target["boxes"] for target in targets]).double().numpy().T
    areas, ratios = (x2 - x1) * (y2 - y1), (y2 - y1) / (x2 - x1)
    relative = 100 * np.sqrt(areas / np.repeat(images.prod(axis=1), counts))
    return {
        "images": float(len(images)),
        "landscape, %": 100 * float((images[:, 0] >= images[:, 1]).mean()),
        "objects per image": float(counts.mean()),
        **quantiles("objects per image", np.percentile(counts, QUANTILES)),
        **quantiles("relative size, %", np.percentile(relative, QUANTILES)),
        **quantiles("height / width", np.percentile(ratios, QUANTILES)),
        "small, %": 100 * float((areas < SMALL).mean()),
        "large, %": 100 * float((areas > LARGE).mean()),
    }


def of_overlaps(images: list[Tensor]) -> dict[str, float]:
    """How far objects are in one another's way: the highest IoU with another, and whose center."""
    highest, is_covered = [], []
    for boxes in images:
        if len(boxes):
            others = ~torch.eye(len(boxes), dtype=torch.bool)
            highest.append((box_iou(boxes, boxes) * others).amax(dim=1))
            is_covered.append((paired_inside(centers(boxes)[:, None], boxes) & others).any(dim=1))
    shares = {limit: torch.cat(highest) > limit for limit in (0.0, 0.1, 0.3, 0.5)}
    figures = {f"IoU with another over {limit:g}, %": share for limit, share in shares.items()}
    figures["center in another's box, %"] = torch.cat(is_covered)
    return {name: 100 * float(share.float().mean()) for name, share in figures.items()}


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
