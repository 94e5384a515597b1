"""What `atss positives` does: which selections it compares, what it counts, prints, draws, writes.

Rows that train differently but select alike, such as Table 1's, are one selection.
"""

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from detector.config import DetectorConfig
from experiments.baselines import (
    ATSS,
    FCOS,
    FCOS_CENTER_SAMPLING,
    IMPROVED_RETINANET,
    RETINANET,
)
from experiments.experiment import OwnAssigner, Row
from experiments.own_tables import load_assigner, own_assigner
from experiments.schedules import PAPER
from experiments.settings import with_settings
from orchestration.plan import find_rows, find_tables, show_setting
from orchestration.progress import Counter, count
from orchestration.terminal import Interrupted, console

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from detector.data.coco import CocoDataset
    from detector.positives import Counts, Scene, Selection
    from reports.claims import Verdict
    from reports.positives_figures import Picture
    from reports.render import Grid

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}
PAPERS = (RETINANET, IMPROVED_RETINANET, FCOS, FCOS_CENTER_SAMPLING, ATSS)
NAMES = {"iou": "IoU", "ssc": "spatial and scale", "center_sampling": "center sampling"}
POSITIVES = "positives"  # the folder of what is counted, in the results folder
SELECTING = ("assigner", "in_gt_box", "k", "anchor_scales", "aspect_ratios")  # what selection reads


def choose(
    tables: Sequence[str], rows: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, tuple[Row, list[str]]]:
    """Name -> a row that selects so, and the labels of all that do; by default the paper's five.

    ValueError for a table or row that is not there, for a setting that selection does not read, and
    for one that contradicts a row.
    """
    idle = [name for name in settings if name not in SELECTING]
    if idle:
        raise ValueError(
            f"{idle[0]}={show_setting(settings[idle[0]])} moves no positive; needs one of "
            + ", ".join(SELECTING)
        )
    if rows and len(tables) != 1:
        raise ValueError(f"--rows chooses from one table, got {len(tables)} tables")
    wanted = [(name_of(config), Row("", config)) for config in PAPERS]
    if tables:
        wanted = [
            (f"{table.label}: {row.label}", row)
            for table in find_tables(tables)
            for row in find_rows(table, rows)
        ]
    found: dict[str, tuple[Row, list[str]]] = {}
    for label, row in wanted:
        try:
            config, _ = with_settings(row.config, PAPER, settings)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        own = own_assigner(row.assigner)
        changed = replace(row, config=config, assigner=own)
        found.setdefault(name_of(config, own), (changed, []))[1].append(label)
    return found


def name_of(config: DetectorConfig, own: OwnAssigner | None = None) -> str:
    """What a config selects by, such as "ATSS, k=5": rows that select alike share it."""
    name = str(own) if own else NAMES.get(config.assigner, config.assigner.upper())
    if (own or config.assigner == "iou") and config.in_gt_box:
        name += " in GT box"
    defaults = {item.name: item.default for item in fields(DetectorConfig)}
    parts = {
        "k": f"k={config.k}",
        "anchor_scales": "/".join(f"{scale:.4g}" for scale in config.anchor_scales) + "S",
        "aspect_ratios": "h/w " + "/".join(f"{ratio:.4g}" for ratio in config.aspect_ratios),
    }
    shown = [text for key, text in parts.items() if getattr(config, key) != defaults[key]]
    return ", ".join([name, *shown])


def build(name: str, config: DetectorConfig, own: OwnAssigner | None = None) -> "Selection":
    """The selection of a config, or of a user's assigner in its place.

    k is ATSS's per level, over all anchors of a location.
    """
    from detector.assigners import build_assigner
    from detector.positives import Selection

    return Selection(
        name,
        build_assigner(config, load_assigner(own) if own else None),
        config.anchor_scales,
        config.aspect_ratios,
        config.k * config.anchors_per_location if config.assigner == "atss" and not own else None,
    )


def slug(name: str, asked: Sequence[str | int | None]) -> str:
    """The name as a folder's, with what was asked for: "coco-tiny-val", "shapes-val-table4"."""
    words = [name, *(Path(str(text)).name.removesuffix(".py") for text in asked if text)]
    return re.sub(r"[^A-Za-z0-9.,=_]+", "-", " ".join(words)).strip("-")[:100]


@dataclass(frozen=True)
class Study:
    """What was asked for: which images, at which size, under which selections."""

    name: str  # of the data and its split
    datasets: tuple["CocoDataset", ...]
    sides: dict[str, int]  # short_side and long_side: to what images are resized, in pixels
    selections: tuple["Selection", ...]
    rows: dict[str, list[str]]  # selection -> the rows of the paper that it stands for
    folder: Path  # for what is written

    @property
    def pixels(self) -> str:
        """The size of the resized images, for people."""
        return "{short_side}/{long_side} pixels".format(**self.sides)


def count_and_report(study: Study, workers: int | None) -> None:
    """Count beside a bar, print the tables and the claims, write the files."""
    import pandas as pd

    from detector.positives import columns_of_images, columns_of_objects, describe_objects

    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    num_images, begun = sum(map(len, study.datasets)), time.perf_counter()
    try:
        counted = list(_count(study, processes))
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    seconds = time.perf_counter() - begun
    if not any(counts[0].image["objects"] for counts in counted):
        raise ValueError(f"{study.name}: needs an object at least, its images show none")
    described = pd.concat([pd.DataFrame(describe_objects(one)) for one in study.datasets])
    ids = [image for dataset in study.datasets for image in dataset.image_ids]
    objects, images = [], []
    for selection, counts in zip(study.selections, zip(*counted, strict=True), strict=True):
        name = {"selection": selection.name}
        objects.append(described.assign(**name, **columns_of_objects(counts)))
        images.append(pd.DataFrame({"image": ids, **columns_of_images(counts)}).assign(**name))
    speed = (
        f"{count(num_images, 'image')}, {len(study.selections)} selections, "
        f"{processes or 1} CPUs: {seconds:.1f} s, {num_images / seconds:.1f} images/s"
    )
    tables = [pd.concat(frames, ignore_index=True) for frames in (objects, images)]
    _report(study, tables[0], tables[1], speed)


def _count(study: Study, processes: int) -> Iterator[list["Counts"]]:
    """The selections' counts image by image, beside a bar."""
    from detector.positives import count_positives

    workers = processes if processes > 1 else 0
    with Counter("counting positives", sum(map(len, study.datasets)), console) as counter:
        for dataset in study.datasets:
            counted = count_positives(dataset, study.selections, workers=workers, **study.sides)
            for counts in counted:
                yield counts
                counter.add(1)


def _report(study: Study, objects: "pd.DataFrame", images: "pd.DataFrame", speed: str) -> None:
    """Print what was counted, and write it."""
    from reports.positives import (
        CAPTIONS,
        LEGEND,
        by_group,
        claims,
        groups_grid,
        markdown_claims,
        summarize,
        summary_grids,
    )
    from reports.positives_figures import all_figures
    from reports.render import markdown, terminal
    from reports.style import save

    num_objects = len(objects) // len(study.selections)
    title = f"Positives per object: {study.name}, {num_objects:,} objects, {study.pixels}"
    summary, groups, found = summarize(objects, images), by_group(objects), claims(objects)
    grids = summary_grids(summary, title)
    for grid in grids:
        console.print(terminal(grid))
    print_counted(found)
    console.print(f"\n{LEGEND}", soft_wrap=True)
    command = f"Counted by `{shlex.join(['atss', *sys.argv[1:]])}`: {speed}."
    named = {name: labels for name, labels in study.rows.items() if labels != [name]}
    rows = [f"- {name}: {'; '.join(labels)}" for name, labels in named.items()]
    page = [*map(markdown, [*grids, groups_grid(groups, "Positives per object, by group")])]
    parts = [*page[:3], markdown_claims(found), page[3], command, "", *rows]
    files = {
        "summary.md": "\n".join(parts) + "\n",
        "summary.csv": summary.to_csv(),
        "groups.csv": groups.to_csv(index=False),
        "positives.csv": objects.to_csv(index=False, float_format="%.6g"),
        "images.csv": images.to_csv(index=False),
    }
    console.print(f"\n{speed}", soft_wrap=True)
    write_files(study.folder, {name: text.encode() for name, text in files.items()})
    pictures = {
        f"{name}.{kind}": save(figure, kind, CAPTIONS[name])
        for name, figure in all_figures(objects).items()
        for kind in ("svg", "png")
    }
    write_files(study.folder, pictures)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    console.print(f"Written to {folder}: {', '.join(files)}", soft_wrap=True, markup=False)


def print_counted(found: Sequence["Verdict"]) -> None:
    """The claims that counting can judge: what was counted of each, and what that says."""
    for verdict in found:
        claim = verdict.claim
        console.print(Text(f"\n{claim.name}  {claim.says}", style="bold"), soft_wrap=True)
        lines = [f"{claim.where}; the paper: {claim.paper}", *verdict.ours]
        console.print(Text("\n".join(f"     {text}" for text in lines)), soft_wrap=True)
        meaning = f"     {verdict.state}: {verdict.reason}"
        console.print(Text(meaning, style=STYLES[verdict.state]), soft_wrap=True)


def draw_images(study: Study, wanted: Sequence[str], object_number: int | None) -> None:
    """Draw images, print how many positives each of their objects has, and write the pictures.

    object_number: counts from 1; that object is drawn closely as well.
    """
    from reports.positives_figures import selections_figure
    from reports.render import terminal
    from reports.style import save

    found = [find_image(study.datasets, text) for text in wanted]
    files: dict[str, bytes] = {}
    for dataset, index, path in found:
        scene, picture = _look_at(study, dataset, index, path)
        name = f"image {dataset.image_ids[index]}"
        console.print(terminal(_table(picture, f"Positives per object: {name}, {study.pixels}")))
        figures = {path.stem: selections_figure(picture)}
        if object_number is not None:
            figures |= _draw_object(study, scene, picture, object_number - 1, name, path.stem)
        files |= {f"{name}.png": save(figure, "png") for name, figure in figures.items()}
    write_files(study.folder, files)


def find_image(datasets: Sequence["CocoDataset"], text: str) -> tuple["CocoDataset", int, Path]:
    """An image by its id, its file name or a path: its data set, its index there, its file.

    Raises ValueError or FileNotFoundError where no image is called so, or more than one, or where
    its file is not at hand.
    """
    names = [
        (dataset, index, name, dataset.image_ids[index])
        for dataset in datasets
        for index, name in enumerate(dataset.file_names)
    ]
    exact = [one for one in names if text in (one[2], str(one[3]))]
    found = exact or [one for one in names if Path(one[2]).name == Path(text).name]
    if len(found) != 1:
        problem = f"{len(found)} images are" if found else "no image is"
        raise ValueError(
            f"{problem} called '{text}'; --image needs the id or the file name of one of "
            f"{len(names)}, such as {names[0][3]} or {names[0][2]}"
        )
    dataset, index, name, _ = found[0]
    path = Path(text) if Path(text).is_file() else dataset.folder / name
    if not path.is_file():
        raise FileNotFoundError(f"no image file {path}: without --data, --image needs its path")
    return dataset, index, path


def _look_at(
    study: Study, dataset: "CocoDataset", index: int, path: Path
) -> tuple["Scene", "Picture"]:
    from detector.data.images import read_pixels
    from detector.positives import anchors_of, scene_of
    from reports.positives_figures import Picture

    scene = scene_of(dataset, index, **study.sides)
    labels = dataset.target(index)["labels"].tolist()
    picture = Picture(
        pixels=read_pixels(path, dataset.sizes[index]).permute(1, 2, 0).numpy(),
        height=scene.height,
        width=scene.width,
        boxes=scene.boxes.numpy(),
        names=[dataset.names[label] for label in labels],
        anchors={one.name: anchors_of(one, scene) for one in study.selections},
    )
    return scene, picture


def _table(picture: "Picture", title: str) -> "Grid":
    """A line per object: its size in pixels, its positives under each selection."""
    from reports.render import Grid, line

    counts = [
        [int((anchors["matched"] == g).sum()) for anchors in picture.anchors.values()]
        for g in range(len(picture.boxes))
    ]
    sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
    lines = [
        line(f"{g + 1} {name}", f"{width:.0f} x {height:.0f}", *map(str, counts[g]))
        for g, (name, (width, height)) in enumerate(zip(picture.names, sides, strict=True))
    ]
    head = line("object", "pixels", *picture.anchors)
    return Grid(name="objects", title=title, head=head, blocks=(tuple(lines),))


def _draw_object(
    study: Study, scene: "Scene", picture: "Picture", g: int, name: str, stem: str
) -> dict[str, "Figure"]:
    """File name -> figure of object g; its candidates too, where there is ATSS."""
    from detector.positives import candidates_of
    from reports.positives_figures import candidates_figure, object_figure

    if g >= len(picture.boxes):
        raise ValueError(f"{name} has {len(picture.boxes)} objects, got --object {g + 1}")
    figures = {f"{stem}-object{g + 1}": object_figure(picture, g)}
    atss = {one.name: candidates_of(one, scene, g) for one in study.selections if one.k is not None}
    if atss:
        title = f"{name}, object {g + 1}, {picture.names[g]}"
        figures[f"{stem}-object{g + 1}-candidates"] = candidates_figure(atss, title)
    return figures
