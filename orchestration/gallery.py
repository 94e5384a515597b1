"""Images with their ground truth beside what detectors found: the best, the worst, and those on
which two detectors differ most.

Detections are drawn from the score on that is best for their detector (reports/breakdown.py). Boxes
come as COCO's records, annotations or results: "bbox" [x, y, width, height] in pixels of the image,
"category_id", and perhaps "score" or "iscrowd".
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestration.json_files import write_json
from orchestration.plan import Setup
from orchestration.run_folder import RunFolder
from reports.results import Bundle
from reports.site import PICTURES, gallery_folder, load_gallery

if TYPE_CHECKING:  # it imports torch, which lists need not wait for
    from detector.data.coco import CocoDataset

VERSION = 2  # of the pictures; raised when they are drawn in another way
BEST, WORST = 2, 3  # images of a row
WIDEST, QUALITY = 1200, 70  # pixels of a report's sheet; of its JPEG
# Okabe and Ito's, told apart by every kind of eye; without their black and their darkest blue, on
# which the labels' black letters could not be read.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
LEAST_SIDE = 640  # pixels of the longer side: smaller images are enlarged by a whole factor
LINE, TEXT = 1 / 240, 1 / 38  # widths of lines and heights of letters, of the mean side
LEAST_LINE, LEAST_TEXT = 2, 13  # pixels

Picture = Image.Image
Records = Sequence[Mapping[str, Any]]


def bring_gallery(
    bundle: Bundle, setup: Setup, run_of: Callable[[str], RunFolder], to: Path
) -> None:
    """Draw the best and the worst images of the row of the highest AP, of its first run.

    run_of: signature -> folder; to: the report's folder. What is there of this run stays; else,
    where the images or the detections are not at hand, there are none.
    """
    folder = gallery_folder(to, bundle.table.name)
    known = [it for it in bundle.rows if it.results and it.results[0].signature in bundle.insights]
    row = max(known, key=lambda row: row.ap.ours or 0.0, default=None)
    made_of = [VERSION, row and row.results[0].signature, bundle.fingerprint]
    if row and load_gallery(folder).get("made_of") == made_of:
        return
    shutil.rmtree(folder, ignore_errors=True)
    if row is None:
        return
    label, run = row.row.label, row.results[0]
    insight, of = bundle.insights[run.signature], run_of(run.signature)
    try:
        dataset = images_of(setup.where, bundle.fingerprint)
        sure = surest(of, insight.threshold)
    except (OSError, ValueError):  # they may be away, others, or removed
        return
    best, pictures = insight.best(BEST), []
    images = list(dict.fromkeys([*best, *insight.worst(WORST)]))
    shown = {f"{label}, score {insight.threshold:.2f} and more": sure}
    files = draw_sheets(dataset, [image.id for image in images], shown, folder)
    for image, (file, name) in zip(images, files, strict=True):
        found = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        rank = f"{label}, seed {run.seed}, among its {'best' if image in best else 'worst'}"
        caption = f"{rank}: {name}, F1 {image.score:.0f} %, {found}"
        alt = f"{name}: ground truth on the left, detections on the right. {found}."
        pictures.append({"file": file, "caption": caption, "alt": alt})
    write_json(folder / PICTURES, {"made_of": made_of, "pictures": pictures})


def images_of(where: str, fingerprint: str) -> "CocoDataset":
    """The images that runs were tested on; OSError or ValueError where they are away, or others."""
    from detector.data.coco import open_data

    data = open_data(where)
    if data.fingerprint != fingerprint:
        raise ValueError(f"{where} is no longer what was trained on: its content changed")
    return data.val


def surest(run: RunFolder, score: float) -> Records:
    """A run's detections from a score on."""
    return [it for it in json.loads(run.detections.read_text()) if it["score"] >= score]


def draw_sheets(
    dataset: "CocoDataset", images: Sequence[int], found: Mapping[str, Records], folder: Path
) -> list[tuple[str, str]]:
    """Draw each image, by its id, with its ground truth, and again with what each title found.

    Returns each sheet's name in the folder, and its image's.
    """
    from detector.data.images import read_image

    files, names = [], dict(zip(dataset.category_ids, dataset.names, strict=True))
    shown = {"ground truth": dataset.ground_truth["annotations"], **found}
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=1):
        place = dataset.image_ids.index(image)
        picture = read_image(dataset.path(place), dataset.sizes[place])
        parts = {
            title: drawn(picture, [it for it in records if it["image_id"] == image], names)
            for title, records in shown.items()
        }
        sheet, name = beside(parts), dataset.file_names[place]
        sheet.thumbnail((WIDEST, WIDEST))
        files.append((f"{number:02}-{Path(name).stem}.jpg", name))
        sheet.save(folder / files[-1][0], quality=QUALITY, optimize=True)
    return files


def beside(pictures: Mapping[str, Picture]) -> Picture:
    """Pictures of equal height beside each other, each below its title."""
    parts = []
    for title, picture in pictures.items():
        letters = _letters(picture)
        gap, top = round(letters / 2), 2 * letters
        part = ImageOps.expand(picture, (0, top, gap, 0), "white")
        place, font = (gap / 2, top / 2), ImageFont.load_default(letters)
        ImageDraw.Draw(part).text(place, title, "black", font, anchor="lm")
        parts.append(np.asarray(part))
    return Image.fromarray(np.hstack(parts)[:, :-gap])


def drawn(picture: Picture, records: Records, names: Mapping[int, str]) -> Picture:
    """A copy with the records' boxes, the best on top; names: category id -> name, all of them."""
    import torch
    from matplotlib.font_manager import findfont
    from torchvision.ops import box_convert
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image
    from torchvision.utils import draw_bounding_boxes

    factor = max(1, round(LEAST_SIDE / max(picture.size)))
    copy = picture.resize((picture.width * factor, picture.height * factor))
    if not records:
        return copy
    colors = {number: COLORS[place % len(COLORS)] for place, number in enumerate(names)}
    ordered = sorted(records, key=lambda it: it.get("score", 1.0))
    boxes = torch.tensor([it["bbox"] for it in ordered], dtype=torch.float64)

    def label(it: Mapping[str, Any]) -> str:
        sure = f" {it['score']:.2f}" if "score" in it else " (crowd)" * it.get("iscrowd", 0)
        return names[it["category_id"]] + sure

    drawn_on = draw_bounding_boxes(
        pil_to_tensor(copy),
        box_convert(boxes * factor, "xywh", "xyxy"),
        list(map(label, ordered)),
        [colors[it["category_id"]] for it in ordered],
        width=max(LEAST_LINE, round(LINE * sum(copy.size) / 2)),
        font=findfont("DejaVu Sans"),  # matplotlib's own
        font_size=_letters(copy),
        fill_labels=True,
    )
    return to_pil_image(drawn_on)


def _letters(picture: Picture) -> int:
    return max(LEAST_TEXT, round(TEXT * sum(picture.size) / 2))
