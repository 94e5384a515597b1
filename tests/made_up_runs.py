"""Finished runs that nobody trained: a small data set, and detections that are right by chance."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_up_coco import annotation, write
from made_up_folder import finish

from detector.data.coco import DataSet, open_data
from experiments.experiment import Row
from experiments.schedules import DEMO
from orchestration.plan import Setup
from orchestration.run_folder import RunFolder, Store

CAT, DOG = 3, 7
SIDE = 100  # pixels of every image
OBJECTS = 3  # in each


def described(num_images: int, seed: int = 0) -> dict[str, Any]:
    """So many images, each with objects of two classes and of all three of COCO's areas."""
    draw, annotations = random.Random(seed), []
    for number in range(1, num_images + 1):
        for side in (20, 40, 98)[:OBJECTS]:
            x, y = draw.uniform(0, SIDE - side), draw.uniform(0, SIDE - side)
            place = len(annotations) + 1
            bbox = [round(x), round(y), side, side]
            facts = {"area": side * side, "iscrowd": 0}
            annotations.append(annotation(place, number, draw.choice([CAT, DOG]), bbox, **facts))
    return {
        "images": [
            {"id": number, "file_name": f"{number:03}.png", "width": SIDE, "height": SIDE}
            for number in range(1, num_images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
    }


def write_data(folder: Path, num_images: int = 30) -> DataSet:
    """A data set on disk."""
    write(folder, described(num_images, seed=1), "train")
    write(folder, described(num_images), "val")
    return open_data(folder)


def detections(
    truths: Sequence[dict[str, Any]], right: float, seed: int = 0
) -> list[dict[str, Any]]:
    """One per object; right: the share that is of the right class and hardly moved."""
    draw, found = random.Random(seed), []
    for truth in truths:
        x, y, width, height = truth["bbox"]
        label = truth["category_id"]
        is_right = draw.random() < right
        moved = draw.uniform(0, 0.05 if is_right else 0.6) * width
        is_named = is_right or draw.random() < 0.5
        found.append(
            {
                "image_id": truth["image_id"],
                "category_id": label if is_named else CAT + DOG - label,
                "bbox": [round(x + moved, 2), y, width, height],
                "score": round(draw.uniform(0.4, 1) if is_right else draw.uniform(0.1, 0.8), 3),
            }
        )
    return found


def setup_of(data: DataSet, where: Path) -> Setup:
    """Demo scale on the data set."""
    return Setup("demo", DEMO, {}, data.name, data.fingerprint, str(where))


def finish_run(
    store: Store, setup: Setup, row: Row, data: DataSet, *, seed: int, right: float
) -> RunFolder:
    """A row's run as a trial leaves it, with so many of its detections right."""
    run, truth = setup.row_run(row, seed), data.val.ground_truth
    names = f"{row.label} - seed {seed}", row.label
    return finish(store, setup, run, names, truth, detections(truth["annotations"], right, seed))
