"""`atss positives`: what sample selection does to the objects of a data set, without training."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from experiments.own_tables import own_assigner
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings
from orchestration import options
from orchestration.options import option, parse_rows
from orchestration.plan import GENERATED
from orchestration.progress import Counter
from orchestration.run_folder import DEFAULT_OUT
from orchestration.selections import POSITIVES, SELECTING, build, choose, slug
from orchestration.terminal import Interrupted, console

if TYPE_CHECKING:
    import pandas as pd

    from detector.data.coco import CocoDataset
    from detector.positives import Selection
    from reports.claims import Verdict
    from reports.positives_figures import Picture
    from reports.render import Grid

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}
SPLITS = ("train", "val", "all")

TABLES = (
    "table1 ... table8, all, or FILE.py: their distinct sample selections.  "
    "[default: the paper's five]"
)
Tables = Annotated[
    list[str] | None, typer.Argument(metavar="TABLE...", help=TABLES, show_default=False)
]
SET = f"Change a toggle in every row, if it moves positives: {', '.join(SELECTING)}. Repeatable."
Settings = Annotated[list[str] | None, option(SET, "--set", metavar="KEY=VALUE")]
DATA = "A data set in COCO format: a folder, a TOML file, or coco2017.  [default: shapes]"
Data = Annotated[str | None, option(DATA, metavar="WHERE")]
Split = Annotated[str | None, option("Which images.  [default: val]", metavar="|".join(SPLITS))]
ANNOTATIONS = "A COCO annotation file alone, instead of --data: no image is needed to count."
AnnotationFile = Annotated[Path | None, option(ANNOTATIONS, metavar="FILE.json")]
SHORT = "Pixels images are resized to.  [default: 800; shapes: 128]"
ShortSide = Annotated[int | None, option(SHORT, min=1)]
LongSide = Annotated[int | None, option("Pixels at most.  [default: 1333; shapes: 192]", min=1)]
IMAGE = (
    "Draw the positives on this image instead of counting: its id, its file name, or a path. "
    "Repeatable."
)
Images = Annotated[list[str] | None, option(IMAGE, "--image", metavar="ID|FILE")]
Workers = Annotated[int | None, option("Processes that count.  [default: one per CPU]", min=0)]


def positives(
    tables: Tables = None,
    rows: options.Rows = None,
    settings: Settings = None,
    data: Data = None,
    split: Split = None,
    annotations: AnnotationFile = None,
    short_side: ShortSide = None,
    long_side: LongSide = None,
    image: Images = None,
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
    chosen = choose(tables or [], parse_rows(rows or []), parse_settings(settings or []))
    name, datasets = _open(data, split, annotations)
    folder = Path(out) / POSITIVES
    folder /= slug(name, [*(tables or []), *(rows or []), *(settings or []), short_side, long_side])
    usual = DEMO if data in (None, GENERATED) and annotations is None else PAPER
    sides = {
        "short_side": short_side or usual.short_side[-1],
        "long_side": long_side or usual.long_side,
    }
    pixels = f"{sides['short_side']}/{sides['long_side']} pixels"
    built = [build(it, row.config, own_assigner(row.assigner)) for it, (row, _) in chosen.items()]
    if image:
        write_files(folder, _draw(datasets, built, sides, image, pixels))
        return
    objects, images = _count(name, datasets, built, sides, workers)
    about = f"{name}, {len(objects) // len(built):,} objects, {pixels}"
    rows_of = {it: labels for it, (_, labels) in chosen.items() if labels != [it]}
    write_files(folder, _report(objects, images, about, rows_of))


def _open(
    data: str | None, split: str | None, annotations: Path | None
) -> tuple[str, tuple["CocoDataset", ...]]:
    """The images' name, and the data sets with them; ValueError for what does not go together."""
    from detector.data.coco import CocoDataset, open_data

    if annotations is not None:
        if data is not None or split is not None:
            other = "--data" if data is not None else "--split"
            raise ValueError(f"--annotations is one file of boxes, got {other} as well")
        return annotations.stem, (CocoDataset(None, annotations),)
    split = split or "val"
    if split not in SPLITS:
        raise ValueError(f"--split needs one of {', '.join(SPLITS)}, got '{split}'")
    found = open_data(data or GENERATED)
    both = {"train": (found.train,), "val": (found.val,), "all": (found.train, found.val)}
    return f"{found.name} {split}", both[split]


def _count(
    name: str,
    datasets: Sequence["CocoDataset"],
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
    workers: int | None,
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """A line per selection and object, and a line per selection and image."""
    import pandas as pd

    from detector.positives import columns_of, count_positives, describe_objects

    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    counted = []
    try:
        with Counter("counting positives", sum(map(len, datasets)), console) as counter:
            for dataset in datasets:
                for counts in count_positives(dataset, selections, workers=processes, **sides):
                    counted.append(counts)
                    counter.add(1)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    if not any(counts[0].image["objects"] for counts in counted):
        raise ValueError(f"{name}: needs an object at least, its images show none")
    described = pd.concat([pd.DataFrame(describe_objects(one)) for one in datasets])
    ids = [image for dataset in datasets for image in dataset.image_ids]
    objects, images = [], []
    for selection, mine in zip(selections, zip(*counted, strict=True), strict=True):
        of_objects, of_images = (columns_of(list(part)) for part in zip(*mine, strict=True))
        objects.append(described.assign(selection=selection.name, **of_objects))
        images.append(pd.DataFrame({"image": ids, **of_images, "selection": selection.name}))
    return pd.concat(objects, ignore_index=True), pd.concat(images, ignore_index=True)


def _report(
    objects: "pd.DataFrame",
    images: "pd.DataFrame",
    about: str,
    rows_of: Mapping[str, Sequence[str]],
) -> dict[str, bytes]:
    """Print the tables and the claims; files by name. rows_of: what a selection stands for."""
    from reports import positives as report
    from reports.positives_figures import all_figures
    from reports.render import markdown, terminal
    from reports.style import save

    summary, found = report.summarize(objects, images), report.claims(objects)
    grids = report.summary_grids(summary, about)
    for grid in grids:
        console.print(terminal(grid))
    print_counted(found)
    console.print(f"\n{report.LEGEND}\n", soft_wrap=True)
    command = f"Counted by `{shlex.join(['atss', *sys.argv[1:]])}`.\n"
    rows = [f"- {name}: {'; '.join(labels)}" for name, labels in rows_of.items()]
    page = [*map(markdown, grids), report.markdown_claims(found), command, *rows]
    texts = {
        "summary.md": "\n".join(page) + "\n",
        "summary.csv": summary.to_csv(),
        "positives.csv": objects.to_csv(index=False, float_format="%.6g"),
        "images.csv": images.to_csv(index=False),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        f"{name}.svg": save(figure, "svg", report.CAPTIONS[name])
        for name, figure in all_figures(objects).items()
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    console.print(f"Written to {folder}: {', '.join(files)}", soft_wrap=True)


def print_counted(found: Sequence["Verdict"]) -> None:
    """The claims that counting can judge: what was counted of each, and what that says."""
    for verdict in found:
        claim = verdict.claim
        console.print(Text(f"\n{claim.name}  {claim.says}", style="bold"), soft_wrap=True)
        for text in (f"{claim.where}; the paper: {claim.paper}", *verdict.ours):
            console.print(f"     {text}", soft_wrap=True)
        meaning = f"     {verdict.state}: {verdict.reason}"
        console.print(Text(meaning, style=STYLES[verdict.state]), soft_wrap=True)


def _draw(
    datasets: Sequence["CocoDataset"],
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
    wanted: Sequence[str],
    pixels: str,
) -> dict[str, bytes]:
    """Pictures of images by file name; how many positives their objects have is printed."""
    from reports.positives_figures import selections_figure
    from reports.render import terminal
    from reports.style import save

    pictures = {}
    for dataset, index, path in [find_image(datasets, text) for text in wanted]:
        picture = _look_at(dataset, index, path, selections, sides)
        title = f"Positives per object: image {dataset.image_ids[index]}, {pixels}"
        console.print(terminal(_table(picture, title)))
        pictures[f"{path.stem}.png"] = save(selections_figure(picture), "png")
    return pictures


def find_image(datasets: Sequence["CocoDataset"], text: str) -> tuple["CocoDataset", int, Path]:
    """An image by its id, its file name or a path: its data set, its index there, its file.

    Raises ValueError or FileNotFoundError where no image is called so, or more than one, or where
    its file is not at hand.
    """
    names = [
        (dataset, index, name, str(dataset.image_ids[index]))
        for dataset in datasets
        for index, name in enumerate(dataset.file_names)
    ]
    exact = [one for one in names if text in one[2:]]
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
    dataset: "CocoDataset",
    index: int,
    path: Path,
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
) -> "Picture":
    """An image as it is drawn, with what the selections make of it."""
    from detector.data.images import read_pixels
    from detector.positives import anchors_of, scene_of
    from reports.positives_figures import Picture

    scene = scene_of(dataset, index, **sides)
    labels = dataset.target(index)["labels"].tolist()
    return Picture(
        pixels=read_pixels(path, dataset.sizes[index]).permute(1, 2, 0).numpy(),
        height=scene.height,
        width=scene.width,
        boxes=scene.boxes.numpy(),
        names=[dataset.names[label] for label in labels],
        anchors={one.name: anchors_of(one, scene) for one in selections},
    )


def _table(picture: "Picture", title: str) -> "Grid":
    """A line per object: its size in pixels, its positives under each selection."""
    from reports.render import Grid, line

    lines = []
    for g, (name, (x1, y1, x2, y2)) in enumerate(zip(picture.names, picture.boxes, strict=True)):
        counts = [str((anchors["matched"] == g).sum()) for anchors in picture.anchors.values()]
        lines.append(line(f"{g + 1} {name}", f"{x2 - x1:.0f} x {y2 - y1:.0f}", *counts))
    head = line("object", "pixels", *picture.anchors)
    return Grid(name="objects", title=title, head=head, blocks=(tuple(lines),))
