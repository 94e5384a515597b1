"""Images with their ground truth beside what detectors found: the best, the worst, and those on
which two detectors differ most.

Detections are drawn from the score on that is best for their detector (reports/breakdown.py). Boxes
come as COCO's records, annotations or results: "bbox" [x, y, width, height] in pixels of the image,
"category_id", and perhaps "score" or "iscrowd".
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from orchestration.plan import Setup
from orchestration.run_folder import RunFolder
from reports.results import Bundle, ComparedRow, Result
from reports.site import PICTURES, gallery_folder, load_gallery

if TYPE_CHECKING:  # they import torch and numpy, which lists need not wait for
    from detector.data.coco import CocoDataset
    from reports.breakdown import ImageInsight, Insight
    from reports.paired import Paired

VERSION = 1  # of the pictures; raised when they are drawn in another way
BEST, WORST = 2, 3  # images of a row
WIDEST = 1200  # pixels of a sheet
MOST_BYTES = 100_000  # of a file
QUALITIES = (88, 80, 70, 60, 45, 30)  # of JPEG, tried in turn
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


def bring_gallery(
    bundle: Bundle, setup: Setup, run_of: Callable[[str], RunFolder], to: Path
) -> None:
    """Draw the best and the worst images of the best row and of the reference row.

    run_of: signature -> folder; to: the report's folder. Where the data set is not at hand, there
    are none: pictures of other runs would be wrong.
    """
    folder, runs = gallery_folder(to, bundle.table.name), _shown(bundle)
    made_of = [VERSION, [run.signature for _, run in runs], bundle.fingerprint]
    if runs and load_gallery(folder).get("made_of") == made_of:
        return
    shutil.rmtree(folder, ignore_errors=True)
    # Detections may have been removed.
    is_drawable = runs and all(run_of(run.signature).detections.is_file() for _, run in runs)
    dataset = _dataset(setup.where, bundle.fingerprint) if is_drawable else None
    if dataset is None:
        return
    folder.mkdir(parents=True)
    pictures: list[dict[str, str]] = []
    for row, run in runs:
        insight = bundle.insights[run.signature]
        title = f"{row.row.label}, score {insight.threshold:.2f} and more"
        drawn = Drawn(title, run_of(run.signature), insight.threshold)
        for told, sheet in _best_and_worst(drawn, insight, dataset):
            file = f"{len(pictures) + 1}.jpg"
            _save(sheet, folder / file)
            of = f"{row.row.label}, seed {run.seed}, among its"
            pictures.append(
                {"file": file, "caption": f"{of} {told['caption']}", "alt": told["alt"]}
            )
    content = {"made_of": made_of, "pictures": pictures}
    (folder / PICTURES).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _shown(bundle: Bundle) -> list[tuple[ComparedRow, Result]]:
    """The row of the highest AP, and the reference row; a run of each of which enough is known."""
    known = {
        row.row.label: (row, run)
        for row in bundle.rows
        for run in reversed(row.results)
        if row.ap.ours.mean is not None and run.signature in bundle.insights
    }
    best = max(known.values(), key=lambda it: it[0].ap.ours.mean or 0.0, default=(None, None))[0]
    return [it for it in known.values() if it[0] in (best, bundle.reference)]


def _dataset(where: str, fingerprint: str) -> "CocoDataset | None":
    """The images that runs were tested on; None where they are away, or others."""
    from detector.data.coco import open_data

    try:
        data = open_data(where)
    except (OSError, ValueError):
        return None
    return data.val if data.fingerprint == fingerprint else None


def _best_and_worst(
    run: Drawn, insight: "Insight", dataset: "CocoDataset"
) -> Iterator[tuple[dict[str, str], Picture]]:
    """A run's best and worst images, with what is to be said of them."""
    best = insight.best(BEST)
    worst = [image for image in insight.worst(WORST) if image not in best]
    wrongs = _wrongs(run, dataset)
    sheets = _sheets(dataset, [run], [image.id for image in (*best, *worst)])
    for image, (name, sheet) in zip((*best, *worst), sheets, strict=True):
        summary = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        rank = "best" if image in best else "worst"
        sides = "ground truth on the left, detections on the right"
        yield (
            {
                "caption": f"{rank}: {name}, F1 {image.score:.0f} %, {summary}",
                "alt": f"{name}: {sides}. {summary}{wrongs(image)}.",
            },
            sheet,
        )


def _wrongs(run: Drawn, dataset: "CocoDataset") -> "Callable[[ImageInsight], str]":
    """What is wrong on an image: "; missed: cat × 2; false: dog", or nothing."""
    from detector.evaluation.errors import ALL, HALF
    from detector.evaluation.match_records import FALSE, TRUE, load_matches

    matches = load_matches(run.folder.matches)
    names = dict(zip(dataset.category_ids, dataset.names, strict=True))
    labels = [names[number] for number in matches.category_ids.tolist()]
    state = matches.state[:, ALL, HALF]

    def told(image: "ImageInsight") -> str:
        """An image's caption: what is there, what was found, missed and made up."""
        place = int((matches.image_ids == image.id).argmax())
        is_here = (matches.image == place) & (matches.score >= run.threshold)
        is_truth = (matches.truth_image == place) & matches.truth_counts[:, ALL]
        truths, right, wrong = (
            Counter(labels[category] for category in categories.tolist())
            for categories in (
                matches.truth_category[is_truth],
                matches.category[is_here & (state == TRUE)],
                matches.category[is_here & (state == FALSE)],
            )
        )
        parts = []
        for word, counts in (("missed", truths - right), ("false", wrong)):
            listed = [name if n == 1 else f"{name} × {n}" for name, n in counts.items()]
            parts += [f"; {word}: {', '.join(listed)}"] if listed else []
        return "".join(parts)

    return told


def _sheets(
    dataset: "CocoDataset", runs: Sequence[Drawn], images: Sequence[int]
) -> Iterator[tuple[str, Picture]]:
    """By image id: its name and its sheet, ground truth first, then what each of the runs found."""
    from detector.data.images import read_image

    names = {item["id"]: item["name"] for item in dataset.ground_truth["categories"]}
    places = {number: place for place, number in enumerate(dataset.image_ids)}
    found = [dataset.ground_truth["annotations"]]
    for run in runs:
        detections = json.loads(run.folder.detections.read_text())
        found.append([item for item in detections if item["score"] >= run.threshold])
    wanted = [[it for it in records if it["image_id"] in images] for records in found]
    for image in images:
        place = places[image]
        picture = read_image(dataset.path(place), dataset.sizes[place])
        here = ([it for it in records if it["image_id"] == image] for records in wanted)
        parts = [drawn(picture, records, names) for records in here]
        titles = ["ground truth", *(run.title for run in runs)]
        yield dataset.file_names[place], beside(parts, titles)


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


def _save(sheet: Picture, file: Path) -> None:
    """As a JPEG that is no larger than MOST_BYTES, if any quality allows that."""
    sheet.thumbnail((WIDEST, WIDEST))
    for quality in QUALITIES:
        sheet.save(file, quality=quality, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            return


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
    images = [image for part in extremes(found) for image in part]
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, sheet) in enumerate(_sheets(dataset, runs, images), start=1):
        _save(sheet, folder / f"{number:02}-{images[number - 1]}.jpg")
    return len(images)
