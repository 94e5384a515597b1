"""Images with their ground truth beside what detectors found: the best, the worst, and those on
which two detectors differ most.

Detections are drawn from the score on that is best for their detector (reports/breakdown.py). Boxes
come as COCO's records, annotations or results: "bbox" [x, y, width, height] in pixels of the image,
"category_id", and perhaps "score" or "iscrowd".
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from orchestration.json_files import write_json
from orchestration.plan import Setup
from orchestration.run_folder import RunFolder
from reports.results import Bundle
from reports.site import PICTURES, gallery_folder, load_gallery

if TYPE_CHECKING:  # they import torch and numpy, which lists need not wait for
    from detector.data.coco import CocoDataset
    from reports.paired import Paired

VERSION = 2  # of the pictures; raised when they are drawn in another way
BEST, WORST = 2, 3  # images of a row
WIDEST, QUALITY = 1200, 70  # pixels of a sheet; of its JPEG
# Okabe and Ito's, told apart by every kind of eye; without their black and their darkest blue, on
# which the labels' black letters could not be read.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
LEAST_SIDE = 640  # pixels of the longer side: smaller images are enlarged by a whole factor
LINE, TEXT = 1 / 240, 1 / 38  # widths of lines and heights of letters, of the mean side
LEAST_LINE, LEAST_TEXT = 2, 13  # pixels

Picture = Image.Image


@dataclass(frozen=True)
class Drawn:
    """A detector's run, and from which score on its detections are drawn."""

    title: str
    folder: RunFolder
    threshold: float


# A report's pictures, and those of a comparison


def bring_gallery(
    bundle: Bundle, setup: Setup, run_of: Callable[[str], RunFolder], to: Path
) -> None:
    """Draw the best and the worst images of the row of the highest AP, of its first run.

    run_of: signature -> folder; to: the report's folder. Where the data set is not at hand, there
    are none: pictures of other runs would be wrong.
    """
    folder, insights = gallery_folder(to, bundle.table.name), bundle.insights
    known = [it for it in bundle.rows if it.results and it.results[0].signature in insights]
    row = max(known, key=lambda row: row.ap.ours or 0.0, default=None)
    made_of = [VERSION, row and row.results[0].signature, bundle.fingerprint]
    if row and load_gallery(folder).get("made_of") == made_of:
        return
    shutil.rmtree(folder, ignore_errors=True)
    dataset = _dataset(setup.where, bundle.fingerprint) if row else None
    if row is None or dataset is None:
        return
    label, run = row.row.label, row.results[0]
    insight, of = insights[run.signature], run_of(run.signature)
    if not of.detections.is_file():  # they may have been removed
        return
    best = insight.best(BEST)
    images = [*best, *(image for image in insight.worst(WORST) if image not in best)]
    files = [folder / f"{number}.jpg" for number in range(1, len(images) + 1)]
    title = f"{label}, score {insight.threshold:.2f} and more"
    drawn = Drawn(title, of, insight.threshold)
    names = _draw(dataset, [drawn], [image.id for image in images], files)
    pictures = []
    for image, file, name in zip(images, files, names, strict=True):
        found = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        rank = f"{label}, seed {run.seed}, among its {'best' if image in best else 'worst'}"
        caption = f"{rank}: {name}, F1 {image.score:.0f} %, {found}"
        alt = f"{name}: ground truth on the left, detections on the right. {found}."
        pictures.append({"file": file.name, "caption": caption, "alt": alt})
    write_json(folder / PICTURES, {"made_of": made_of, "pictures": pictures})


def draw_differences(
    found: "Paired", runs: Sequence[Drawn], where: str, fingerprint: str, folder: Path
) -> int:
    """Draw the images on which two sides differ most, B's first; returns how many.

    ValueError where the data set is not at hand.
    """
    from reports.paired import extremes

    dataset = _dataset(where, fingerprint)
    if dataset is None:
        raise ValueError(
            f"--pictures needs the images of the data set {where}, which are not there"
        )
    images = [int(image.name) for part in extremes(found) for image in part]
    files = [folder / f"{number:02}-{image}.jpg" for number, image in enumerate(images, start=1)]
    return len(_draw(dataset, runs, images, files))


def _dataset(where: str, fingerprint: str) -> "CocoDataset | None":
    """The images that runs were tested on; None where they are away, or others."""
    from detector.data.coco import open_data

    try:
        data = open_data(where)
    except (OSError, ValueError):
        return None
    return data.val if data.fingerprint == fingerprint else None


def _draw(
    dataset: "CocoDataset", runs: Sequence[Drawn], images: Sequence[int], files: Sequence[Path]
) -> list[str]:
    """Draw a sheet of each image, ground truth first, then what each run found; images' names."""
    shown = {"ground truth": dataset.ground_truth["annotations"]}
    for run in runs:
        detections = json.loads(run.folder.detections.read_text())
        shown[run.title] = [item for item in detections if item["score"] >= run.threshold]
    told = []
    for image, file in zip(images, files, strict=True):
        place = dataset.image_ids.index(image)
        picture = sheet(dataset, place, shown)
        picture.thumbnail((WIDEST, WIDEST))
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=QUALITY, optimize=True)
        told.append(dataset.file_names[place])
    return told


# Drawing


def sheet(dataset: "CocoDataset", place: int, shown: Mapping[str, Sequence[Any]]) -> Picture:
    """One image of a data set, once for each title with those of its records that are of it."""
    from detector.data.images import read_image

    picture, image = read_image(dataset.path(place), dataset.sizes[place]), dataset.image_ids[place]
    names = dict(zip(dataset.category_ids, dataset.names, strict=True))
    of_image = [[it for it in records if it["image_id"] == image] for records in shown.values()]
    return beside([drawn(picture, records, names) for records in of_image], list(shown))


def drawn(
    picture: Picture, records: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> Picture:
    """A copy with the records' boxes, the best on top; names: category id -> name, all of them."""
    import torch
    from matplotlib.font_manager import findfont
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image
    from torchvision.utils import draw_bounding_boxes

    factor = max(1, round(LEAST_SIDE / max(picture.size)))
    copy = picture.convert("RGB").resize((picture.width * factor, picture.height * factor))
    if not records:
        return copy
    by_category = {number: COLORS[place % len(COLORS)] for place, number in enumerate(names)}
    boxes, texts, colors = [], [], []
    for record in sorted(records, key=lambda record: record.get("score", 1.0)):
        x, y, wide, high = (part * factor for part in record["bbox"])
        boxes.append((x, y, x + wide, y + high))
        sure = " (crowd)" if record.get("iscrowd") else ""
        sure = f" {record['score']:.2f}" if "score" in record else sure
        texts.append(names[record["category_id"]] + sure)
        colors.append(by_category[record["category_id"]])
    drawn_on = draw_bounding_boxes(
        pil_to_tensor(copy),
        torch.tensor(boxes),
        texts,
        colors,
        width=max(LEAST_LINE, round(LINE * sum(copy.size) / 2)),
        font=findfont("DejaVu Sans"),  # matplotlib's own
        font_size=_letters(copy),
        fill_labels=True,
    )
    return to_pil_image(drawn_on)


def beside(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """Pictures of equal height beside each other, a title above each, cut at the picture's end."""
    height = _letters(pictures[0])
    font = ImageFont.load_default(height)
    gap, top = round(height / 2), 2 * height
    width = sum(it.width + gap for it in pictures) - gap
    sheet, x = Image.new("RGB", (width, top + pictures[0].height), "white"), 0
    for picture, title in zip(pictures, titles, strict=True):
        head = Image.new("RGB", (picture.width, top), "white")
        ImageDraw.Draw(head).text((gap / 2, top / 2), title, "black", font, anchor="lm")
        sheet.paste(head, (x, 0))
        sheet.paste(picture, (x, top))
        x += picture.width + gap
    return sheet


def _letters(picture: Picture) -> int:
    return max(LEAST_TEXT, round(TEXT * sum(picture.size) / 2))
