"""Images with their ground truth beside what detectors found: the best, the worst, and those on
which two detectors differ most.

Detections are drawn from the score on that is best for their detector (reports/breakdown.py).
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.plan import Setup
from orchestration.run_folder import RunFolder
from reports.numbers import ComparedRow
from reports.pages.prints import Shown, gallery_folder, load_gallery, save_gallery
from reports.results import Bundle

if TYPE_CHECKING:  # they import torch and numpy, which lists need not wait for
    from detector.data.coco import CocoDataset
    from reports.breakdown import Insight
    from reports.paired import Paired
    from reports.plots.pictures import Picture

VERSION = 1  # of the pictures; raised when they are drawn in another way
BEST, WORST = 2, 3  # images of a row
WIDEST = 1200  # pixels of a sheet
MOST_BYTES = 100_000  # of a file
QUALITIES = (88, 80, 70, 60, 45, 30)  # of JPEG, tried in turn

Record = dict[str, Any]


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
    folder = gallery_folder(to, bundle.table.name)
    rows = _rows(bundle)
    names = [
        next(it.signature for it in row.results if it.signature in bundle.insights) for row in rows
    ]
    made_of = [VERSION, names, bundle.fingerprint]
    if names and load_gallery(folder)[1] == made_of:
        return
    shutil.rmtree(folder, ignore_errors=True)
    is_drawable = all(run_of(name).detections.is_file() for name in names)  # else they were removed
    dataset = _dataset(setup.where, bundle.fingerprint) if names and is_drawable else None
    if dataset is None:
        return
    folder.mkdir(parents=True)
    shown: list[Shown] = []
    for row, name in zip(rows, names, strict=True):
        shown += _draw_row(row, bundle.insights[name], run_of(name), dataset, folder, len(shown))
    save_gallery(folder, shown, made_of)


def _rows(bundle: Bundle) -> list[ComparedRow]:
    """The row of the highest AP, and the reference row; those of which enough is known."""
    comparison = bundle.comparison
    known = [
        row
        for row in comparison.rows
        if row.ap.ours.mean is not None
        and any(result.signature in bundle.insights for result in row.results)
    ]
    best = max(known, key=lambda row: row.ap.ours.mean or 0.0, default=None)
    return [row for row in known if row is best or row is comparison.reference]


def _dataset(where: str, fingerprint: str) -> "CocoDataset | None":
    """The images that runs were tested on; None where they are away, or others."""
    from detector.data.coco import open_data

    try:
        data = open_data(where)
    except (OSError, ValueError):
        return None
    return data.val if data.fingerprint == fingerprint else None


def _draw_row(
    row: ComparedRow,
    insight: "Insight",
    folder: RunFolder,
    dataset: "CocoDataset",
    to: Path,
    start: int,
) -> list[Shown]:
    """Its best and worst images; start: how many pictures there are already."""
    seed = next(it.seed for it in row.results if it.signature == folder.signature)
    run = Drawn(
        f"{row.row.label}, score {insight.threshold:.2f} and more", folder, insight.threshold
    )
    best = insight.best(BEST)
    worst = [image for image in insight.worst(WORST) if image not in best]
    images = [("best", image) for image in best] + [("worst", image) for image in worst]
    sheets = _Sheets(dataset, [run], [image.id for _, image in images])
    wrongs = _wrongs(folder, insight, dataset, [image.id for _, image in images])
    shown = []
    for number, (rank, image) in enumerate(images, start=start + 1):
        file = f"{number}.jpg"
        name = sheets.draw(image.id, to / file)
        summary = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        of = f"{row.row.label}, seed {seed}, among its {rank}"
        caption = f"{of}: {name}, F1 {image.score:.0f} %, {summary}"
        sides = "ground truth on the left, detections on the right"
        shown.append(Shown(file, caption, f"{name}: {sides}. {summary}{wrongs[image.id]}."))
    return shown


def _wrongs(
    folder: RunFolder, insight: "Insight", dataset: "CocoDataset", wanted: Sequence[int]
) -> dict[int, str]:
    """Of images by id: "; missed: cat × 2; false: dog", or nothing."""
    from detector.evaluation.errors import ALL, HALF
    from detector.evaluation.match_records import FALSE, TRUE, load_matches

    matches = load_matches(folder.matches)
    names = dict(zip(dataset.category_ids, dataset.names, strict=True))
    labels = [names[number] for number in matches.category_ids.tolist()]
    state = matches.state[:, ALL, HALF]
    is_shown = matches.score >= insight.threshold
    found = {}
    for number in wanted:
        place = int((matches.image_ids == number).argmax())
        is_here = (matches.image == place) & is_shown
        is_truth = (matches.truth_image == place) & matches.truth_counts[:, ALL]
        truths, right, wrong = (
            Counter(labels[category] for category in categories.tolist())
            for categories in (
                matches.truth_category[is_truth],
                matches.category[is_here & (state == TRUE)],
                matches.category[is_here & (state == FALSE)],
            )
        )
        parts = {"missed": truths - right, "false": wrong}
        found[number] = "".join(
            f"; {word}: {', '.join(map(_times, counts, counts.values()))}"
            for word, counts in parts.items()
            if counts
        )
    return found


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{name} × {count}"


class _Sheets:
    """Draws images, ground truth first, then what each of some runs found."""

    def __init__(
        self, dataset: "CocoDataset", runs: Sequence[Drawn], wanted: Iterable[int]
    ) -> None:
        ids = set(wanted)
        truth = dataset.ground_truth
        self.dataset = dataset
        self.names = {item["id"]: item["name"] for item in truth["categories"]}
        self.places = {number: place for place, number in enumerate(dataset.image_ids)}
        self.titles = ["ground truth", *(run.title for run in runs)]
        found = [
            [
                item
                for item in json.loads(run.folder.detections.read_text())
                if item["score"] >= run.threshold
            ]
            for run in runs
        ]
        self.records = [_by_image(records, ids) for records in (truth["annotations"], *found)]

    def draw(self, image: int, file: Path) -> str:
        """Write the sheet of an image by id; returns the image's name."""
        from detector.data.images import read_image
        from reports.plots.pictures import beside, drawn

        place = self.places[image]
        picture = read_image(self.dataset.path(place), self.dataset.sizes[place])
        parts = [drawn(picture, records.get(image, []), self.names) for records in self.records]
        _save(beside(parts, self.titles), file)
        return self.dataset.file_names[place]


def _by_image(records: Iterable[Record], ids: set[int]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in records:
        if record["image_id"] in ids:
            found.setdefault(record["image_id"], []).append(record)
    return found


def _save(sheet: "Picture", file: Path) -> None:
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
    sheets = _Sheets(dataset, runs, images)
    for number, image in enumerate(images, start=1):
        sheets.draw(image, folder / f"{number:02}-{image}.jpg")
    return len(images)
