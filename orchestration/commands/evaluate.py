"""`atss evaluate`: COCO's twelve numbers of a trained detector, its detections, and pictures."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

from rich.table import Table as Grid

from detector.metrics import COCO_NUMBERS
from orchestration import options
from orchestration.commands.predict import predict
from orchestration.run_folder import DEFAULT_OUT, Store, open_store, write_atomically, write_json
from orchestration.terminal import console
from orchestration.testing import (
    Images,
    detections_of,
    open_images,
    require_given,
    set_threads,
)
from orchestration.trained import (
    Trained,
    choose_device,
    open_trained,
    parse_test_settings,
)

__all__ = ["evaluate", "predict"]

EVALUATIONS, PICTURES = "evaluations", "pictures"


def evaluate(
    run: options.Trained = None,
    weights: options.Weights = None,
    data: options.TestData = None,
    split: options.Split = None,
    annotations: options.AnnotationFile = None,
    images: options.ImageFolder = None,
    settings: options.TestSettings = None,
    device: options.Device = None,
    workers: options.TestWorkers = None,
    draw: options.Draw = 0,
    score: options.DrawnScore = 0.3,
    out: options.Out = DEFAULT_OUT,
) -> None:
    """Test a trained detector: COCO's twelve numbers, its detections, and images with boxes.

    What is tested is a run of the results folder, finished or not, or a file of weights. In the
    results folder, evaluations/ gets detections.json (COCO's results format), metrics.json and,
    with --draw, pictures.

    Examples:

    - `atss evaluate "Table 2: Spatial and Scale Constraint, Box" --draw 20`
    - `atss evaluate d0aff5 --split train --set nms_threshold=0.5`
    - `atss evaluate --weights ATSS_R_50_FPN_1x.pth --data coco2017`
    - `atss evaluate --weights detector.safetensors --annotations boxes.json --images photos`
    """
    changed, store = parse_test_settings(settings or []), open_store(out)
    require_given(data, annotations, images)
    trained = open_trained(run, weights, store, changed)
    place = choose_device(device)
    chosen = open_images(data, split, annotations, images, trained.run)
    chosen.dataset.check_images()
    console.print("\n".join([*trained.introduction, *chosen.dataset.notes]), soft_wrap=True)
    store.require_writable()
    set_threads(trained)
    started = time.monotonic()
    found = detections_of(trained, chosen, place, workers)
    from detector.evaluation.detect import measure

    numbers = measure(chosen.dataset.ground_truth, found)[0]
    folder = _folder(store, trained, chosen)
    seconds = time.monotonic() - started
    _write(folder, trained, chosen, numbers, found, {"device": str(place), "seconds": seconds})
    _draw(folder / PICTURES, chosen, found, draw, score)
    console.print(_grid(numbers))
    console.print(
        f"{len(found)} detections in {len(chosen.dataset)} images of {chosen.title}: {folder}",
        soft_wrap=True,
    )


def _folder(store: Store, trained: Trained, images: Images) -> Path:
    name = re.sub(r"[^\w.,=-]+", "-", f"{trained.slug}-{images.name}-{images.split}").strip("-")
    folder = store.root / EVALUATIONS / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(
    folder: Path,
    trained: Trained,
    images: Images,
    numbers: dict[str, float | None],
    found: list[dict[str, Any]],
    more: dict[str, Any],
) -> None:
    """detections.json, and metrics.json, which says all that the numbers depend on."""
    from orchestration.provenance import environment

    text = json.dumps(found)
    write_atomically(folder / "detections.json", lambda part: part.write_text(text))
    device = more["device"].partition(":")[0]
    record = {
        "numbers": numbers,
        "detector": trained.about(),
        "settings": trained.test_settings,
        "data": images.about(),
        **more,
        "environment": environment(device),
    }
    write_json(folder / "metrics.json", record)


def _draw(
    folder: Path, images: Images, found: list[dict[str, Any]], count: int, score: float
) -> None:
    """The first images, ground truth beside the detections of a score; those of before go."""
    shutil.rmtree(folder, ignore_errors=True)
    if not count:
        return
    from PIL import Image

    from reports.pictures import beside, drawn

    folder.mkdir()
    dataset, truth = images.dataset, images.dataset.ground_truth
    names = {item["id"]: item["name"] for item in truth["categories"]}
    for index in range(min(count, len(dataset))):
        number = dataset.image_ids[index]
        is_here = [item for item in truth["annotations"] if item["image_id"] == number]
        is_found = [item for item in found if item["image_id"] == number and item["score"] >= score]
        with Image.open(dataset.path(index)) as file:
            picture = file.convert("RGB")
        titles = ("ground truth", f"detections, score {score:g} and more")
        sheet = beside([drawn(picture, is_here, names), drawn(picture, is_found, names)], titles)
        name = dataset.file_names[index].replace("/", "-")
        sheet.save(folder / (name if name.endswith(".jpg") else f"{name}.jpg"), quality=92)


def _grid(numbers: dict[str, float | None]) -> Grid:
    """The twelve, and what each is over."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "%", "IoU", "Objects", "Detections per image"):
        grid.add_column(heading, justify="right" if heading in ("%",) else "left")
    for name, (iou, area, detections) in COCO_NUMBERS.items():
        value = numbers[name]
        shown = "-" if value is None else f"{value:.1f}"
        grid.add_row(name, shown, iou, area, str(detections))
    return grid
