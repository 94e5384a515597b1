"""`atss predict`: what a trained detector finds in a person's images, as JSON and drawn."""

import json
import re
import shutil
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration import options
from orchestration.progress import Counter, count
from orchestration.run_folder import DEFAULT_OUT, open_store, write_atomically, write_json
from orchestration.terminal import console, finish
from orchestration.testing import set_threads
from orchestration.trained import Trained, choose_device, open_trained, parse_test_settings

if TYPE_CHECKING:
    import torch

PREDICTIONS, PICTURES = "predictions", "pictures"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LINES = 20  # for more images than these there is a count instead of a line each

Record = dict[str, Any]


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
    changed, store = parse_test_settings(settings or []), open_store(out)
    if not places:
        raise ValueError(f"'{run}' is taken for a RUN; needs images after it, or --weights FILE")
    files = find_images(places)
    trained = open_trained(run, weights, store, changed)
    device_ = choose_device(device)
    console.print("\n".join(trained.introduction), soft_wrap=True)
    store.require_writable()
    trained.loaded.detector.to(device_)
    set_threads(trained)
    name = f"{trained.slug}-{Path(places[0]).stem}"
    folder = store.root / PREDICTIONS / re.sub(r"[^\w.,=-]+", "-", name)
    finish(_predict_all(trained, files, folder, score, device_))


def find_images(places: Sequence[str]) -> list[Path]:
    """The files, and the images below the folders, sorted; hidden ones left out.

    FileNotFoundError for a place that is not there, ValueError for a folder without images.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_file():
            found.append(place)
            continue
        if not place.is_dir():
            raise FileNotFoundError(f"no image or folder {place}")
        inside = [
            path
            for path in sorted(place.rglob("*"))
            if path.suffix.lower() in ENDINGS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(place).parts)
        ]
        if not inside:
            raise ValueError(f"no images in {place}, needs files that end in {', '.join(ENDINGS)}")
        found += inside
    return list(dict.fromkeys(found))


def _predict_all(
    trained: Trained, files: list[Path], folder: Path, score: float, device: "torch.device"
) -> list[str]:
    """Detect, draw and write; returns what was wrong with the images that were left out."""
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    description = trained.loaded.description
    names = dict(zip(description.category_ids, description.names, strict=True))
    images: list[Record] = []
    detections: list[Record] = []
    problems: list[str] = []
    with Counter("images", len(files), console) as counter:
        for number, drawn in enumerate(_drawn_names(files), start=1):
            file = files[number - 1]
            counter.add(1)
            try:
                size, found = _predict_one(trained, file, number, score, device, folder / drawn)
            except ValueError as error:
                problems.append(f"{error}; left out")
                continue
            width, height = size
            image = {"id": number, "file_name": str(file), "width": width, "height": height}
            images.append({**image, "drawn": drawn})
            detections += found
            if len(files) <= LINES:
                console.print(f"{file}: {_summary(found, names)}", soft_wrap=True)
    categories = [{"id": number, "name": name} for number, name in names.items()]
    write_json(folder / "images.json", {"images": images, "categories": categories})
    text = json.dumps(detections)
    write_atomically(folder / "detections.json", lambda part: part.write_text(text))
    objects = f"{count(len(detections), 'object')} in {count(len(images), 'image')}"
    console.print(f"{objects}: {folder}", soft_wrap=True)
    return problems


def _drawn_names(files: Sequence[Path]) -> list[str]:
    """Where each file's drawn copy goes: its own name, unless another file has that, too."""
    times = Tally(file.name for file in files)
    names = [file.name if file.suffix.lower() in ENDINGS else f"{file.name}.png" for file in files]
    return [
        f"{PICTURES}/{name}" if times[file.name] == 1 else f"{PICTURES}/{number}-{name}"
        for number, (file, name) in enumerate(zip(files, names, strict=True), start=1)
    ]


def _predict_one(
    trained: Trained,
    file: Path,
    number: int,
    score: float,
    device: "torch.device",
    drawn_copy: Path,
) -> tuple[tuple[int, int], list[Record]]:
    """An image's width and height, and its detections; ValueError where it cannot be read."""
    from detector.data.images import as_tensor, read_image
    from detector.evaluation.detect import detect_one
    from reports.pictures import drawn

    picture, loaded = read_image(file), trained.loaded
    description = loaded.description
    found = detect_one(
        loaded.detector,
        as_tensor(picture),
        trained.recipe,
        image_id=number,
        category_ids=description.category_ids,
        device=device,
        layout=loaded.layout,
    )
    kept = [item for item in found if item["score"] >= score]
    names = dict(zip(description.category_ids, description.names, strict=True))
    drawn(picture, kept, names).save(drawn_copy, quality=92)
    return picture.size, kept


def _summary(found: list[Record], names: dict[int, str]) -> str:
    """ "3 objects: 2 person, 1 dog; the best is person 0.93"."""
    if not found:
        return "nothing"
    best = max(found, key=lambda item: item["score"])
    tally = Tally(names[item["category_id"]] for item in found)
    parts = ", ".join(f"{times} {name}" for name, times in tally.most_common())
    sure = f"{names[best['category_id']]} {best['score']:.2f}"
    return f"{count(len(found), 'object')}: {parts}; the best is {sure}"
