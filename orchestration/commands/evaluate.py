"""`atss evaluate` and `atss predict`: a trained detector's twelve COCO numbers, or what it finds.

What is tested is a run of the results folder or a file of weights. Both write COCO's results format
and draw; the one tests on annotated images, the other looks at a person's own.
"""

import hashlib
import json
import re
import shutil
import time
from collections import Counter as Tally
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.metrics import COCO_NUMBERS
from orchestration import options
from orchestration.json_files import write_atomically, write_json
from orchestration.progress import Counter, count
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, finish
from orchestration.trained import TEST_SETTINGS, Trained, category_ids, load_trained, open_images

if TYPE_CHECKING:
    from detector.data.coco import CocoDataset

EVALUATIONS, PREDICTIONS, PICTURES = "evaluations", "predictions", "pictures"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LINES = 20  # for more images than these there is a count instead of a line each
GPU_WORKERS, CPU_WORKERS = 4, 0  # processes that load images, where a user asks for none

Record = dict[str, Any]


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
    store = open_store(out)
    trained = load_trained(run, weights, store, settings or [], device)
    name, part, dataset = open_images(data, split, annotations, images, trained.run)
    dataset.check_images()
    store.require_writable()
    title, started = f"{name}, {part}" if part else name, time.monotonic()
    found = _detect_all(trained, dataset, title, workers)
    from detector.evaluation.detect import measure

    numbers = measure(dataset.ground_truth, found)[0]
    folder = store.root / EVALUATIONS / _as_name(f"{trained.slug}-{name}-{part}").strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    _write_detections(folder, found)
    told = _about(trained, name, part, dataset) | {"seconds": time.monotonic() - started}
    write_json(folder / "metrics.json", {"numbers": numbers} | told)
    _draw(folder / PICTURES, dataset, found, draw, score)
    line = "{:<6} {:>5}  {:<10} {:<20} {}".format
    console.print(line("", "%", "IoU", "objects", "detections per image"))
    for number, over in COCO_NUMBERS.items():
        value = numbers[number]
        console.print(line(number, "-" if value is None else f"{value:.1f}", *over))
    where = f"{len(dataset)} images of {title}: {folder}"
    console.print(f"{len(found)} detections in {where}", soft_wrap=True)


def _about(trained: Trained, name: str, split: str, dataset: "CocoDataset") -> Record:
    """All that the numbers depend on."""
    from orchestration.provenance import environment

    recipe = trained.loaded.description.recipe
    with trained.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "detector": {
            "name": trained.name,
            "run": trained.run.signature if trained.run else None,
            "step": trained.step,
            "file": str(trained.path),
            "sha256": digest,
            "notes": trained.loaded.notes,
        },
        "settings": {key: getattr(recipe, key) for key in TEST_SETTINGS},
        "data": {
            "name": name,
            "split": split or None,
            "annotations": str(dataset.annotation_file),
            "images": len(dataset),
            "fingerprint": dataset.digest(),
        },
        "device": str(trained.device),
        "environment": environment(trained.device.type),
    }


def _detect_all(
    trained: Trained, dataset: "CocoDataset", title: str, workers: int | None
) -> list[Record]:
    """COCO's results of the detector on all images, counted as they come."""
    from detector.evaluation.detect import detect_all

    loaded, description = trained.loaded, trained.loaded.description
    ids = category_ids(description.category_ids, description.names, dataset, title)
    trained.introduce(dataset.notes)
    default = GPU_WORKERS if trained.device.type == "cuda" else CPU_WORKERS
    found: list[Record] = []
    parts = detect_all(
        loaded.detector,
        dataset,
        description.recipe,
        device=trained.device,
        workers=default if workers is None else workers,
        layout=loaded.layout,
        category_ids=ids,
    )
    with Counter("testing", len(dataset), console) as counter:
        for part in parts:
            found += chain(*part)
            counter.add(len(part))
    return found


def _as_name(text: str) -> str:
    """As the name of a folder."""
    return re.sub(r"[^\w.,=-]+", "-", text)


def _write_detections(folder: Path, found: list[Record]) -> None:
    text = json.dumps(found)
    write_atomically(folder / "detections.json", lambda part: part.write_text(text))


def _draw(
    folder: Path, dataset: "CocoDataset", found: list[Record], number: int, score: float
) -> None:
    """The first images, ground truth beside the detections of a score; those of before go."""
    from orchestration.gallery import sheet

    shutil.rmtree(folder, ignore_errors=True)
    sure = [item for item in found if item["score"] >= score]
    shown = {
        "ground truth": dataset.ground_truth["annotations"],
        f"detections, score {score:g} and more": sure,
    }
    for index, path in enumerate(dataset.file_names[:number]):
        folder.mkdir(exist_ok=True)
        name = path.replace("/", "-").removesuffix(".jpg")
        sheet(dataset, index, shown).save(folder / f"{name}.jpg", quality=92)


def predict(
    what: options.TrainedAndImages,
    weights: options.Weights = None,
    score: options.Score = 0.3,
    settings: options.TestSettings = None,
    device: options.Device = None,
    out: options.Out = DEFAULT_OUT,
) -> None:
    """Find objects in images: jpg, png, webp and bmp files, or folders with all that is below them.

    In the results folder, predictions/ gets a drawn copy of every image, detections.json (COCO's
    results format) and images.json, which names the image and category of each id. An image that
    cannot be read is left out and named at the end.

    Examples:

    - `atss predict "Table 2: Spatial and Scale Constraint, Box" photos`
    - `atss predict --weights ATSS_R_50_FPN_1x.pth street.jpg garden.png --score 0.5`

    Exit codes: 0 all images are done, 1 some could not be read, 2 refused.
    """
    run, places = (None, what) if weights else (what[0], what[1:])
    if not places:
        raise ValueError(f"'{run}' is taken for a RUN; needs images after it, or --weights FILE")
    store, files = open_store(out), find_images(places)
    trained = load_trained(run, weights, store, settings or [], device)
    store.require_writable()
    trained.introduce()
    name = _as_name(f"{trained.slug}-{Path(places[0]).stem}")
    finish(_predict_all(trained, files, store.root / PREDICTIONS / name, score))


def find_images(places: Sequence[str]) -> list[Path]:
    """The files, and the images below the folders, sorted; hidden ones left out.

    FileNotFoundError for a place that is not there, ValueError for a folder without images.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise FileNotFoundError(f"no image or folder {place}")
        inside = [
            path
            for path in sorted(place.rglob("*"))
            if path.suffix.lower() in ENDINGS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(place).parts)
        ]
        if place.is_dir() and not inside:
            raise ValueError(f"no images in {place}, needs files that end in {', '.join(ENDINGS)}")
        found += inside if place.is_dir() else [place]
    return list(dict.fromkeys(found))


def _predict_all(trained: Trained, files: list[Path], folder: Path, score: float) -> list[str]:
    """Detect, draw and write; returns what was wrong with the images that were left out."""
    from detector.data.images import as_tensor, read_image
    from detector.evaluation.detect import detect_one
    from orchestration.gallery import drawn

    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    loaded, description = trained.loaded, trained.loaded.description
    categories = dict(zip(description.category_ids, description.names, strict=True))
    times = Tally(file.name for file in files)
    images, detections, problems = list[Record](), list[Record](), list[str]()
    with Counter("images", len(files), console) as counter:
        for number, file in enumerate(files, start=1):
            counter.add(1)
            try:
                picture = read_image(file)
            except ValueError as error:
                problems.append(f"{error}; left out")
                continue
            found = detect_one(
                loaded.detector,
                as_tensor(picture),
                description.recipe,
                image_id=number,
                category_ids=[*categories],
                device=trained.device,
                layout=loaded.layout,
            )
            found = [item for item in found if item["score"] >= score]
            # The drawn copy has the file's own name, unless another file has that, too.
            copy = file.name if file.suffix.lower() in ENDINGS else f"{file.name}.png"
            copy = f"{PICTURES}/{copy}" if times[file.name] == 1 else f"{PICTURES}/{number}-{copy}"
            drawn(picture, found, categories).save(folder / copy, quality=92)
            size = {"width": picture.width, "height": picture.height}
            images.append({"id": number, "file_name": str(file), **size, "drawn": copy})
            detections += found
            if len(files) <= LINES:
                tally = Tally(categories[item["category_id"]] for item in found).most_common()
                told = ", ".join(f"{times} {name}" for name, times in tally) or "nothing"
                console.print(f"{file}: {told}", soft_wrap=True)
    named = [{"id": number, "name": name} for number, name in categories.items()]
    write_json(folder / "images.json", {"images": images, "categories": named})
    _write_detections(folder, detections)
    objects = f"{count(len(detections), 'object')} in {count(len(images), 'image')}"
    console.print(f"{objects}: {folder}", soft_wrap=True)
    return problems
