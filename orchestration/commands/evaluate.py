"""`atss evaluate` and `atss predict`: a trained detector's twelve COCO numbers, or what it finds.

What is tested is a run of the results folder or a file of weights. Both write COCO's results format
and draw; the one tests on annotated images, the other looks at a person's own.
"""

import json
import re
import shutil
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.metrics import COCO_NUMBERS
from experiments.experiment import TEST_ONLY
from experiments.settings import parse_settings
from orchestration import options
from orchestration.find import find_run
from orchestration.json_files import write_atomically, write_json
from orchestration.progress import Counter, count
from orchestration.run_folder import DEFAULT_OUT, RunFolder, Store, open_store
from orchestration.terminal import console, finish, say

if TYPE_CHECKING:
    import torch

    from detector.data.coco import CocoDataset
    from detector.weights.load import Loaded

EVALUATIONS, PREDICTIONS, PICTURES = "evaluations", "predictions", "pictures"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
TEST_SETTINGS = ("short_side", "long_side", *TEST_ONLY, "batch_size", "threads")
GPU_WORKERS, CPU_WORKERS = 4, 0  # processes that load images, where a user asks for none
SHOWN = 100  # letters of the classes in a line that refuses some

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
    store, texts = open_store(out), settings or []
    loaded, folder, slug = load_trained(store, run, weights, texts, device)
    title, dataset = open_images(data, split, annotations, images, folder)
    dataset.check_images()
    store.require_writable()
    found = _detect_all(loaded, dataset, title, workers)
    to = store.root / EVALUATIONS / _as_name(f"{slug}-{title}")
    numbers = _measure(loaded, dataset, title, found, to)
    shutil.rmtree(to / PICTURES, ignore_errors=True)  # they were of other detections
    if draw:
        from orchestration.gallery import draw_sheets

        sure = [it for it in found if it["score"] >= score]
        shown = {f"detections, score {score:g} and more": sure}
        draw_sheets(dataset, dataset.image_ids[:draw], shown, to / PICTURES)
    line = "{:<6} {:>5}  {:<10} {:<20} {}".format
    say(line("", "%", "IoU", "objects", "detections per image"))
    for number, over in COCO_NUMBERS.items():
        value = numbers[number]
        say(line(number, "-" if value is None else f"{value:.1f}", *over))
    say(f"{len(found)} detections in {len(dataset)} images of {title}: {to}")


def _measure(
    loaded: "Loaded", dataset: "CocoDataset", title: str, found: list[Record], to: Path
) -> dict[str, float | None]:
    """COCO's twelve numbers, written with all that they depend on."""
    from detector.evaluation.detect import measure
    from orchestration.provenance import environment

    numbers, recipe = measure(dataset.ground_truth, found)[0], loaded.description.recipe
    told = {
        "numbers": numbers,
        "detector": loaded.notes,
        "settings": {key: getattr(recipe, key) for key in TEST_SETTINGS},
        "data": {"name": title, "images": len(dataset), "fingerprint": dataset.digest()},
        "environment": {"device": str(device_of(loaded))} | environment(device_of(loaded).type),
    }
    _write(to, found, metrics=told)
    return numbers


def _detect_all(
    loaded: "Loaded", dataset: "CocoDataset", title: str, workers: int | None
) -> list[Record]:
    """COCO's results of the detector on all images, counted as they come."""
    from detector.evaluation.detect import detect_all

    device = device_of(loaded)
    default = GPU_WORKERS if device.type == "cuda" else CPU_WORKERS
    parts = detect_all(
        loaded.detector,
        dataset,
        loaded.description.recipe,
        device=device,
        workers=default if workers is None else workers,
        layout=loaded.layout,
        category_ids=category_ids(loaded, dataset, title),
    )
    say(*loaded.notes, *dataset.notes)
    found: list[Record] = []
    with Counter("testing", len(dataset), console) as counter:
        for part in parts:
            found += chain(*part)
            counter.add(len(part))
    return found


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
    loaded, _, slug = load_trained(store, run, weights, settings or [], device)
    store.require_writable()
    say(*loaded.notes)
    name = _as_name(f"{slug}-{Path(places[0]).stem}")
    finish(_predict_all(loaded, files, store.root / PREDICTIONS / name, score))


def find_images(places: Sequence[str]) -> list[Path]:
    """The files, and the images below the folders, sorted, none that is hidden.

    ValueError for a place without any.
    """
    found: list[Path] = []
    for place in map(Path, places):
        below = [it for it in sorted(place.rglob("*")) if it.suffix.lower() in ENDINGS]
        shown = [it for it in below if "/." not in f"/{it.relative_to(place).as_posix()}"]
        inside = [it for it in shown if it.is_file()]
        if not inside and not place.is_file():
            needed = f"needs a file, or a folder with {', '.join(ENDINGS)} files"
            raise ValueError(f"no images in {place}: {needed}")
        found += inside or [place]
    return list(dict.fromkeys(found))


def _predict_all(loaded: "Loaded", files: list[Path], folder: Path, score: float) -> list[str]:
    """Detect, draw and write; returns what was wrong with the images that were left out."""
    from detector.data.images import as_tensor, read_image
    from detector.evaluation.detect import detect_one
    from orchestration.gallery import drawn

    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    categories = dict(zip(loaded.description.category_ids, loaded.description.names, strict=True))
    images, detections, problems = list[Record](), list[Record](), list[str]()
    for number, file in enumerate(files, start=1):
        try:
            picture = read_image(file)
        except ValueError as error:
            problems.append(f"{error}; left out")
            continue
        found = detect_one(
            loaded.detector,
            as_tensor(picture),
            loaded.description.recipe,
            image_id=number,
            category_ids=[*categories],
            device=device_of(loaded),
            layout=loaded.layout,
        )
        found = [item for item in found if item["score"] >= score]
        copy = f"{PICTURES}/{number:04}-{file.stem}.jpg"
        drawn(picture, found, categories).save(folder / copy, quality=92)
        size = {"width": picture.width, "height": picture.height}
        images.append({"id": number, "file_name": str(file), **size, "drawn": copy})
        detections += found
        tally = Tally(categories[item["category_id"]] for item in found).most_common()
        told = ", ".join(f"{times} {name}" for name, times in tally) or "nothing"
        say(f"{number} of {len(files)}, {file}: {told}")
    named = [{"id": number, "name": name} for number, name in categories.items()]
    _write(folder, detections, images={"images": images, "categories": named})
    say(f"{count(len(detections), 'object')} in {count(len(images), 'image')}: {folder}")
    return problems


def _as_name(text: str) -> str:
    """As the name of a folder."""
    return re.sub(r"[^\w.,=-]+", "-", text)


def _write(folder: Path, detections: list[Record], **others: Record) -> None:
    """detections.json, in COCO's results format, and the others by name."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(detections)
    write_atomically(folder / "detections.json", lambda part: part.write_text(text))
    for name, content in others.items():
        write_json(folder / f"{name}.json", content)


# The detector


def device_of(loaded: "Loaded") -> "torch.device":
    """Where its weights are."""
    return next(loaded.detector.parameters()).device


def load_trained(
    store: Store, run: str | None, weights: str | None, texts: Sequence[str], device: str | None
) -> tuple["Loaded", RunFolder | None, str]:
    """The detector of a run or file on its device, the run, and what files of it are called.

    texts: what --set changes in how it is tested. ValueError or FileNotFoundError in one line.
    Threads are the run's, because sums depend on their number; of a file those asked for, else
    torch's.
    """
    if (run is None) == (weights is None):
        given = "neither" if run is None else f"both '{run}' and --weights {weights}"
        raise ValueError(f"needs a RUN of the results folder, or --weights FILE, got {given}")
    settings = _test_settings(texts)
    folder = None if run is None else find_run(store, run)
    path = Path(str(weights)).expanduser()
    if folder:
        path = folder.weights if folder.weights.is_file() else folder.checkpoint
        if not path.is_file():
            why = "its weights are not there" if folder.is_done else "it has no checkpoint yet"
            raise ValueError(f"run {folder.signature} cannot be tested: {why}")
    import torch

    from detector.detector import postprocess_of
    from detector.weights.load import load_detector

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(f"--device {device} cannot be used here ({reason}), needs cpu") from None
    loaded = load_detector(path, settings.pop("regress_from", None))
    recipe = replace(loaded.description.recipe, **settings)
    loaded.detector.to(device).postprocess = postprocess_of(recipe)
    if folder or "threads" in settings:
        torch.set_num_threads(recipe.threads)
    notes = [f"{folder.facts()['name']} ({folder.signature})" if folder else str(path)]
    if folder and path != folder.weights:
        step = torch.load(path, map_location="cpu", weights_only=True)["step"]
        notes.append(f"not finished: tested as of step {step}")
    description = replace(loaded.description, recipe=recipe)
    loaded = replace(loaded, description=description, notes=notes + loaded.notes)
    return loaded, folder, "-".join([folder.signature if folder else path.stem, *texts])


def _test_settings(texts: Sequence[str]) -> dict[str, Any]:
    """--set of a trained detector, typed; ValueError for what only training could change."""
    settings = parse_settings(texts)
    for name in settings.keys() - {*TEST_SETTINGS, "regress_from"}:
        raise ValueError(
            f"{name} is a setting of training, and the detector is trained; "
            f"there are {', '.join(TEST_SETTINGS)}, and regress_from for files of other code"
        )
    if len(settings.get("short_side", ())) == 1:  # nothing is drawn at random in a test
        settings["short_side"] *= 2
    return settings


# The images


def open_images(
    data: str | None,
    split: str | None,
    annotations: str | None,
    images: str | None,
    run: RunFolder | None,
) -> tuple[str, "CocoDataset"]:
    """What the options name, by default what a run was trained on, and how people call it.

    FileNotFoundError or ValueError, in one line, if it is not as needed, or no longer.
    """
    from detector.data.coco import CocoDataset, open_split
    from orchestration.gallery import images_of

    if annotations is not None and images is not None and data is None and split is None:
        file = Path(annotations).expanduser()
        return file.stem, CocoDataset(Path(images).expanduser(), file)
    if annotations is not None or images is not None:
        raise ValueError("--annotations and --images name a set together, without --data, --split")
    if data is None:
        if run is None:
            pair = "--annotations FILE and --images FOLDER"
            raise ValueError(f"--weights needs images to be tested on: --data WHERE, or {pair}")
        data, fingerprint = (str(run.facts()["data"][name]) for name in ("where", "fingerprint"))
        images_of(data, fingerprint)
    name, dataset = open_split(data, split or "val")
    return f"{name}-{split or 'val'}", dataset


def category_ids(loaded: "Loaded", dataset: "CocoDataset", title: str) -> Sequence[int]:
    """The data's id for each label of a detector that knows ids and names: by equal names.

    ValueError where the classes differ: a detection counts as one of the data's, or not at all.
    """
    known = loaded.description
    if (list(known.category_ids), list(known.names)) == (dataset.category_ids, dataset.names):
        return known.category_ids
    mine, theirs = ([name.strip().casefold() for name in it.names] for it in (known, dataset))
    if sorted(mine) != sorted(theirs) or len(set(mine)) < len(mine):
        odd = ", ".join(sorted(set(mine) ^ set(theirs))) or "none, but some are there twice"
        raise ValueError(
            f"the detector knows {len(mine)} classes, {title} has {len(theirs)}: a test needs the "
            f"same ones, by name; only on one side: {odd:.{SHOWN}}"
        )
    by_name = dict(zip(theirs, dataset.category_ids, strict=True))
    return [by_name[name] for name in mine]
