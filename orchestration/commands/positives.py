"""`atss positives`: what sample selection does to the objects of a data set, without training."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from detector.config import DetectorConfig
from experiments.baselines import ATSS, FCOS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET, RETINANET
from experiments.experiment import OwnAssigner, Row
from experiments.own_tables import load_assigner, own_assigner
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings, show_setting
from orchestration import options
from orchestration.options import argument, option, parse_rows
from orchestration.plan import GENERATED, find_rows, find_tables, slug
from orchestration.progress import Counter
from orchestration.run_folder import DEFAULT_OUT, POSITIVES
from orchestration.terminal import clean, console, say

if TYPE_CHECKING:
    import pandas as pd

    from detector.data.coco import CocoDataset
    from detector.positives import Selection

PAPERS = (RETINANET, IMPROVED_RETINANET, FCOS, FCOS_CENTER_SAMPLING, ATSS)
NAMES = {"iou": "IoU", "ssc": "spatial and scale", "center_sampling": "center sampling"}
SELECTING = ("assigner", "in_gt_box", "k", "anchor_scales", "aspect_ratios")  # what selection reads
TABLES = "table1 ... table8, all, or FILE.py: their selections.  [default: the paper's five]"
SET = f"Change a toggle in every row, if it moves positives: {', '.join(SELECTING)}. Repeatable."
DATA = "A data set in COCO format: a folder, a TOML file, or coco2017.  [default: shapes]"
ANNOTATIONS = "A COCO annotation file alone, instead of --data: no image is needed to count."
SHORT = "Pixels images are resized to.  [default: 800; shapes: 128]"
LongSide = Annotated[int | None, option("Pixels at most.  [default: 1333; shapes: 192]", min=1)]
IMAGE = "Draw the positives on this image instead: its id, file name, or path. Repeatable."
Workers = Annotated[int | None, option("Processes that count.  [default: one per CPU]", min=0)]


def positives(
    tables: Annotated[list[str] | None, argument("TABLE...", TABLES)] = None,
    rows: options.Rows = None,
    settings: Annotated[list[str] | None, option(SET, "--set", metavar="KEY=VALUE")] = None,
    data: Annotated[str | None, option(DATA, metavar="WHERE")] = None,
    split: options.Split = None,
    annotations: Annotated[Path | None, option(ANNOTATIONS, metavar="FILE.json")] = None,
    short_side: Annotated[int | None, option(SHORT, min=1)] = None,
    long_side: LongSide = None,
    image: Annotated[list[str] | None, option(IMAGE, "--image", metavar="ID|FILE")] = None,
    out: options.Out = DEFAULT_OUT,
    workers: Workers = None,
) -> None:
    """Count the positives that sample selection gives every object; nothing is trained.

    By object size, aspect ratio, location and level, with ignored anchors and overlap conflicts,
    for the selections of the paper or of any rows: it answers the paper's claims of Sec. 4.1. The
    figures and a CSV of every object are in positives/ of the results folder. With --image the
    positives are drawn, one panel per selection, as in the paper's Figure 1.

    Examples:

    - `atss positives`
    - `atss positives --data coco2017 --workers 8`
    - `atss positives table4 --annotations instances_val2017.json`
    - `atss positives table3 --rows 1,2 --set anchor_scales=4`
    - `atss positives --image 200003`
    """
    selections = choose(tables or [], parse_rows(rows or []), parse_settings(settings or []))
    name, dataset = _open(data, split, annotations)
    asked = [*(tables or []), *(rows or []), *(settings or []), short_side, long_side]
    words = [name, *(Path(str(text)).name.removesuffix(".py") for text in asked if text)]
    usual = DEMO if data in (None, GENERATED) and annotations is None else PAPER
    short, long = short_side or usual.short_side[-1], long_side or usual.long_side
    sides = {"short_side": short, "long_side": long}  # to what images are resized, in pixels
    if image:
        files = dict(_drawn(dataset, text, selections, sides) for text in image)
    else:
        objects, images = _count(dataset, selections, sides, workers)
        num_objects = len(objects) // len(selections)
        files = _report(objects, images, f"{name}, {num_objects:,} objects, {short}/{long} pixels")
    folder = Path(out) / POSITIVES / slug(" ".join(words))
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    say(f"Written to {folder}: {', '.join(files)}")


def choose(
    tables: Sequence[str], rows: Sequence[str], settings: Mapping[str, Any]
) -> list["Selection"]:
    """The selections of tables' rows, by default the paper's five; those that are equal once.

    Rows that train differently but select alike, such as Table 1's, are one selection. ValueError
    for a table or row that is not there, for a setting that selection does not read, and for one
    that contradicts a row.
    """
    for name in settings.keys() - set(SELECTING):
        idle = f"{name}={show_setting(settings[name])}"
        raise ValueError(f"{idle} moves no positive; needs one of {', '.join(SELECTING)}")
    if rows and len(tables) != 1:
        raise ValueError(f"--rows chooses from one table, got {len(tables)} tables")
    wanted = [row for table in find_tables(tables) for row in find_rows(table, rows)]
    found: dict[str, Selection] = {}
    for row in wanted or [Row(selection_of(config).name, config) for config in PAPERS]:
        try:
            own = own_assigner(row.assigner, settings)
            one = selection_of(replace(row.config, **settings), own)
        except ValueError as error:
            raise ValueError(f"{row.label}: {error}") from error
        if one.assigner.needs_predictions:
            raise ValueError(
                f"{row.label} selects by what the network predicts, which only training has: "
                "--rows chooses others"
            )
        found.setdefault(one.name, one)
    return list(found.values())


def selection_of(config: DetectorConfig, own: OwnAssigner | None = None) -> "Selection":
    """The selection of a config, or of a user's assigner in its place.

    Its name, such as "ATSS, k=5", is what it selects by: rows that select alike share it. Its k is
    ATSS's per level, over all anchors of a location.
    """
    from detector.assigners import build_assigner
    from detector.positives import Selection

    assigner = build_assigner(config, load_assigner(own) if own else None)
    k = config.k * config.anchors_per_location if config.assigner == "atss" and not own else None
    name = str(own) if own else NAMES.get(config.assigner, config.assigner.upper())
    if (own or config.assigner == "iou") and config.in_gt_box:
        name += " in GT box"
    usual, scales, ratios = DetectorConfig(), config.anchor_scales, config.aspect_ratios
    name += f", k={config.k}" if config.k != usual.k else ""
    if scales != usual.anchor_scales:
        name += f", {'/'.join(f'{scale:.4g}' for scale in scales)}S"
    if ratios != usual.aspect_ratios:
        name += f", h/w {'/'.join(f'{ratio:.4g}' for ratio in ratios)}"
    return Selection(name, assigner, scales, ratios, k)


def _open(
    data: str | None, split: str | None, annotations: Path | None
) -> tuple[str, "CocoDataset"]:
    """The images' name, and they; ValueError for what does not go together."""
    from detector.data.coco import CocoDataset, open_split

    if annotations is None:
        name, found = open_split(data or GENERATED, split or "val")
        return f"{name} {split or 'val'}", found
    if data is not None or split is not None:
        raise ValueError("--annotations is one file of boxes, instead of --data and --split")
    boxes = CocoDataset(None, annotations)
    boxes.require_ground_truth()
    return annotations.stem, boxes


def _count(
    dataset: "CocoDataset",
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
    workers: int | None,
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """A line per selection and object, and a line per selection and image."""
    import pandas as pd

    from detector.positives import columns_of, count_positives

    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    counted = []
    with Counter("counting positives", len(dataset), console) as counter:
        for counts in count_positives(dataset, selections, workers=processes, **sides):
            counted.append(counts)
            counter.add(1)
    by_selection = [one for mine in zip(*counted, strict=True) for one in mine]
    objects, images = map(list, zip(*by_selection, strict=True))
    return pd.DataFrame(columns_of(objects)), pd.DataFrame(columns_of(images))


def _report(objects: "pd.DataFrame", images: "pd.DataFrame", about: str) -> dict[str, bytes]:
    """Print the tables and the claims; files by name."""
    from rich.markdown import Markdown

    from reports import positives as report
    from reports.render import markdown, terminal
    from reports.style import save

    summary = report.summarize(objects, images)
    grids = report.summary_grids(summary, about)
    claims = report.markdown_claims(report.claims(objects))
    for grid in grids:
        console.print(terminal(grid))
    console.print(Markdown(clean(claims)))
    command = f"Counted by `{shlex.join(['atss', *sys.argv[1:]])}`.\n"
    texts = {
        "summary.md": "\n".join([*map(markdown, grids), claims, command]),
        "summary.csv": summary.to_csv(),
        "positives.csv": objects.to_csv(index=False, float_format="%.6g"),
        "images.csv": images.to_csv(index=False),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        f"{name}.svg": save(figure, "svg", report.CAPTIONS[name])
        for name, figure in report.all_figures(objects).items()
    }


def _drawn(
    dataset: "CocoDataset", text: str, selections: Sequence["Selection"], sides: Mapping[str, int]
) -> tuple[str, bytes]:
    """An image, by its id, its file name or its path, with its positives: file name, content.

    ValueError where no image is called so, or more than one, or where its file cannot be read.
    """
    from detector.data.images import read_image
    from detector.positives import anchors_of, scene_of
    from reports.positives import selections_figure
    from reports.style import save

    names = zip(map(str, dataset.image_ids), dataset.file_names, strict=True)
    found = [
        i for i, (id, name) in enumerate(names) if text == id or Path(text).name == Path(name).name
    ]
    if len(found) != 1:
        one = f"such as {dataset.image_ids[0]} or {dataset.file_names[0]}"
        problem = f"{len(found) or 'no'} images are called '{text}'"
        raise ValueError(f"{problem}; --image needs the id or the file name of one, {one}")
    (index,) = found
    path = Path(text) if Path(text).is_file() else dataset.path(index)
    scene = scene_of(dataset, index, **sides)
    picture = selections_figure(
        read_image(path, dataset.sizes[index]).resize((scene.width, scene.height)),
        scene.boxes.numpy(),
        list(scene.described["category"]),
        {one.name: anchors_of(one, scene) for one in selections},
    )
    return f"{path.stem}.png", save(picture, "png")
