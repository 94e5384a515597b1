"""A results folder that nobody trained: made-up detections, really evaluated, and their results."""

import random
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from made_up_coco import write

from detector.config import Recipe
from detector.data.coco import DataSet, open_data
from detector.evaluation.detect import measure, six
from experiments import STUDY
from experiments.experiment import canonical, signature
from experiments.schedules import DEMO
from orchestration.plan import Setup, make_plan
from orchestration.run_folder import RunFolder, Store
from orchestration.trial import leave

CAT, DOG = 3, 7
ENVIRONMENT = {"python": "3.11.7", "torch": "2.15.0", "pycocotools": "2.0.11", "gpu": "none"}
RECIPE = Recipe(
    backbone="small", norm="group_norm", weights="none", iterations=40, short_side=(96, 128)
)
SETUP = Setup("demo", RECIPE, {}, "animals", "f" * 64, "/data/animals")


def ground_truth(num_images: int = 12) -> dict[str, Any]:
    """Images with three objects each, small, medium and large, of two classes."""
    draw = random.Random(1)
    annotations = [
        {
            "id": 3 * image + place,
            "image_id": image,
            "category_id": draw.choice([CAT, DOG]),
            "bbox": [draw.randint(0, 100), draw.randint(0, 100), side, side],
            "area": side * side,
            "iscrowd": 0,
        }
        for image in range(1, num_images + 1)
        for place, side in enumerate((20, 60, 150))
    ]
    return {
        "images": [
            {"id": number, "file_name": f"{number:03}.png", "width": 300, "height": 300}
            for number in range(1, num_images + 1)
        ],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": annotations,
    }


def detections(truth: dict[str, Any], seed: int, skill: float) -> list[dict[str, Any]]:
    """Most objects, more or less well, and something that is none on every image."""
    draw = random.Random(seed)
    found = []
    for item in truth["annotations"]:
        where = {name: item[name] for name in ("image_id", "category_id")}
        off = [draw.gauss(0, (1 - skill) * side / 4) for side in item["bbox"][2:] * 2]
        box = [max(1.0, side + error) for side, error in zip(item["bbox"], off, strict=True)]
        if draw.random() < 0.6 + skill / 3:
            found.append({**where, "bbox": box, "score": round(draw.uniform(0.3, 1), 6)})
        found.append({**where, "bbox": [1, 1, 40, 30], "score": round(draw.random(), 6)})
    return found


def fill(
    root, tables, *, seeds=(0, 1), skill=0.5, settings=None, recipe=RECIPE, rows=(), num_images=12
) -> Store:
    """Every run of the tables' rows, done; each a little better than the one before."""
    store, truth = Store(root), ground_truth(num_images)
    setup = replace(SETUP, recipe=recipe, settings=settings or {})
    for number, planned in enumerate(make_plan(setup, tables, rows=rows, seeds=seeds).runs):
        found = detections(truth, number, skill + number / 100)
        _finish(store, setup, planned.run, (planned.name, *planned.rows), truth, found)
    return store


def write_data(folder: Path, num_images: int = 30) -> tuple[DataSet, Setup]:
    """The ground truth as a data set on disk, and demo scale on it."""
    for split in ("train", "val"):
        write(folder, ground_truth(num_images), split)
    data = open_data(folder)
    return data, Setup("demo", DEMO, {}, data.name, data.fingerprint, str(folder))


def finish_run(store, setup, row, data, *, seed: int, skill: float) -> RunFolder:
    """A row's run on that data set as a trial leaves it."""
    run, truth = setup.row_run(row, seed), data.val.ground_truth
    rows = [(table.label, it) for table in STUDY.values() for it in table.rows]
    equal = [f"{table}: {it.label}" for table, it in rows if it.config == row.config]
    names = f"{row.label} - seed {seed}", *equal
    return _finish(store, setup, run, names, truth, detections(truth, seed, skill))


def _finish(store, setup, run, names, truth, found) -> RunFolder:
    """A run with these detections; names: its own, and its rows'."""
    folder, (numbers, matches) = store.folder(signature(run)), measure(truth, found)
    facts = {
        "signature": folder.signature,
        "name": names[0],
        "rows": list(names[1:]),
        "seed": run.seed,
        "setup": setup.to_json(),
        "data": {
            "name": setup.data,
            "fingerprint": setup.fingerprint,
            "where": setup.where,
            "images": {"train": 30, "val": len(truth["images"])},
            "classes": [category["name"] for category in truth["categories"]],
            "notes": [f"{setup.data}, train: train.json: 2 boxes without area are not learnt"],
        },
        "code": {"version": "0.1.0", "commit": "a" * 40, "tree": "clean"},
        "command": f"atss reproduce --data {setup.where} --out /home/someone/results",
        "canonical": canonical(run),
        "environment": {**ENVIRONMENT, "processes": "1"},
    }
    folder.write("run", facts | ({"assigner": asdict(run.assigner)} if run.assigner else {}))
    folder.append({"step": 20, "loss": 2.0}, {"step": 40, "loss": 1.0})
    leave(folder, SimpleNamespace(ground_truth=truth), found, matches)
    result = {
        "signature": folder.signature,
        "seed": run.seed,
        "metrics": asdict(six(numbers)),
        "seconds": 90.0,
        "spent": {"training": 60.0, "steps": 40, "testing": 30.0, "images": 12},
        "facts": ENVIRONMENT,
    }
    folder.write("result", result)
    return folder
