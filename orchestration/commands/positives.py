"""`atss positives`: what sample selection does to the objects of a data set, without training."""

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from experiments.own_tables import own_assigner
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings
from orchestration import options
from orchestration.options import parse_rows
from orchestration.plan import GENERATED
from orchestration.progress import Counter, count
from orchestration.run_folder import DEFAULT_OUT
from orchestration.selections import POSITIVES, SELECTING, build, choose, slug
from orchestration.terminal import Interrupted, console

if TYPE_CHECKING:
    import pandas as pd

    from detector.data.coco import CocoDataset
    from detector.positives import Scene, Selection
    from reports.claims import Verdict
    from reports.positives_figures import Picture
    from reports.render import Grid

STYLES = {"supported": "green", "contradicted": "red", "undecided": "yellow"}
SPLITS = ("train", "val", "all")

Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TABLE...",
        help="table1 ... table8, all, or FILE.py: their distinct sample selections.  "
        "[default: the paper's five]",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help=f"Change a toggle in every row, if it moves positives: {', '.join(SELECTING)}. "
        "Repeatable.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="A data set in COCO format: a folder, a TOML file, or coco2017.  [default: shapes, "
        "which is generated]",
        show_default=False,
    ),
]
Split = Annotated[
    str | None, typer.Option(metavar="train|val|all", help="Which images.  [default: val]")
]
AnnotationFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        help="A COCO annotation file alone, instead of --data: no image is needed to count.",
        show_default=False,
    ),
]
ShortSide = Annotated[
    int | None,
    typer.Option(min=1, help="Pixels images are resized to.  [default: 800; shapes: 128]"),
]
LongSide = Annotated[
    int | None, typer.Option(min=1, help="Pixels at most.  [default: 1333; shapes: 192]")
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="ID|FILE",
        help="Draw the positives on this image instead of counting: its id, its file name, or a "
        "path. Repeatable.",
        show_default=False,
    ),
]
Objects = Annotated[
    int | None,
    typer.Option(
        "--object",
        min=1,
        metavar="N",
        help="With --image: look closely at its object N, level by level.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes that count.  [default: one per CPU]")
]


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
    object_number: Objects = None,
    out: options.Out = DEFAULT_OUT,
    workers: Workers = None,
) -> None:
    """Count the positives that sample selection gives every object; nothing is trained.

    By object size, aspect ratio, location and level, with ignored anchors and overlap conflicts,
    for the selections of the paper or of any rows: it answers the paper's claims of Sec. 4.1. The
    figures and a CSV of every object are in positives/ of the results folder. With --image the
    positives are drawn, one panel per selection, as in the paper's Figures 1 and 3.

    Examples:

    - `atss positives`
    - `atss positives --data coco2017 --workers 8`
    - `atss positives table4 --annotations instances_val2017.json`
    - `atss positives table3 --rows 1,2 --set anchor_scales=4`
    - `atss positives --image 200003 --object 2`
    """
    chosen = choose(tables or [], parse_rows(rows or []), parse_settings(settings or []))
    if object_number is not None and not image:
        raise ValueError("--object needs --image: it looks closely at one object of an image")
    name, datasets = open_data_sets(data, split, annotations)
    asked = [*(tables or []), *(rows or []), *(settings or []), short_side, long_side]
    folder = Path(out) / POSITIVES / slug(name, asked)
    usual = DEMO if data in (None, GENERATED) and annotations is None else PAPER
    short, long = short_side or usual.short_side[-1], long_side or usual.long_side
    sides = {"short_side": short, "long_side": long}  # to what images are resized, in pixels
    built = [build(it, row.config, own_assigner(row.assigner)) for it, (row, _) in chosen.items()]
    if image:
        title = f"Positives per object: {{}}, {short}/{long} pixels"
        write_files(folder, _draw(datasets, built, sides, image, object_number, title))
        return
    objects, images, speed = _count(name, datasets, built, sides, workers)
    about = f"{name}, {len(objects) // len(built):,} objects, {short}/{long} pixels"
    rows_of = {it: labels for it, (_, labels) in chosen.items() if labels != [it]}
    _report(objects, images, f"Positives per object: {about}", speed, rows_of, folder)


def open_data_sets(
    data: str | None, split: str | None, annotations: Path | None
) -> tuple[str, tuple["CocoDataset", ...]]:
    """The images' name, and the data sets with them; ValueError for what does not go together."""
    from detector.data.coco import CocoDataset, open_data

    if annotations is not None:
        if data is not None or split is not None:
            other = "--data" if data is not None else "--split"
            raise ValueError(f"--annotations is one file of boxes, got {other} as well")
        return annotations.stem, (CocoDataset(None, annotations),)
    if split not in (None, *SPLITS):
        raise ValueError(f"--split needs one of {', '.join(SPLITS)}, got '{split}'")
    found = open_data(data or GENERATED)
    split = split or "val"
    both = {"train": (found.train,), "val": (found.val,), "all": (found.train, found.val)}
    return f"{found.name} {split}", both[split]


def _count(
    name: str,
    datasets: Sequence["CocoDataset"],
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
    workers: int | None,
) -> tuple["pd.DataFrame", "pd.DataFrame", str]:
    """A line per selection and object, a line per selection and image, and how fast that was."""
    import pandas as pd

    from detector.positives import columns_of, count_positives, describe_objects

    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    counted, num_images, begun = [], sum(map(len, datasets)), time.perf_counter()
    several = processes if processes > 1 else 0
    try:
        with Counter("counting positives", num_images, console) as counter:
            for dataset in datasets:
                for counts in count_positives(dataset, selections, workers=several, **sides):
                    counted.append(counts)
                    counter.add(1)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    seconds = time.perf_counter() - begun
    if not any(counts[0].image["objects"] for counts in counted):
        raise ValueError(f"{name}: needs an object at least, its images show none")
    described = pd.concat([pd.DataFrame(describe_objects(one)) for one in datasets])
    ids = [image for dataset in datasets for image in dataset.image_ids]
    objects, images = [], []
    for selection, mine in zip(selections, zip(*counted, strict=True), strict=True):
        whose = {"selection": selection.name}
        of_objects, of_images = (columns_of(list(part)) for part in zip(*mine, strict=True))
        objects.append(described.assign(**whose, **of_objects))
        images.append(pd.DataFrame({"image": ids, **of_images}).assign(**whose))
    tables = (pd.concat(frames, ignore_index=True) for frames in (objects, images))
    speed = (
        f"{count(num_images, 'image')}, {len(selections)} selections, {processes or 1} CPUs: "
        f"{seconds:.1f} s, {num_images / seconds:.1f} images/s"
    )
    return *tables, speed


def _report(
    objects: "pd.DataFrame",
    images: "pd.DataFrame",
    title: str,
    speed: str,
    rows_of: Mapping[str, Sequence[str]],
    folder: Path,
) -> None:
    """Print the tables and the claims, write the files; rows_of: what a selection stands for."""
    from reports import positives as report
    from reports.positives_figures import all_figures
    from reports.render import markdown, terminal
    from reports.style import save

    summary, groups = report.summarize(objects, images), report.by_group(objects)
    found, grids = report.claims(objects), report.summary_grids(summary, title)
    for grid in grids:
        console.print(terminal(grid))
    print_counted(found)
    console.print(f"\n{report.LEGEND}\n\n{speed}", soft_wrap=True)
    by_group = markdown(report.groups_grid(groups, "Positives per object, by group"))
    command = f"Counted by `{shlex.join(['atss', *sys.argv[1:]])}`: {speed}."
    rows = [f"- {name}: {'; '.join(labels)}" for name, labels in rows_of.items()]
    page = [*map(markdown, grids), report.markdown_claims(found), by_group, command, "", *rows]
    files = {
        "summary.md": "\n".join(page) + "\n",
        "summary.csv": summary.to_csv(),
        "groups.csv": groups.to_csv(index=False),
        "positives.csv": objects.to_csv(index=False, float_format="%.6g"),
        "images.csv": images.to_csv(index=False),
    }
    write_files(folder, {name: text.encode() for name, text in files.items()})
    pictures = {
        f"{name}.{kind}": save(figure, kind, report.CAPTIONS[name])
        for name, figure in all_figures(objects).items()
        for kind in ("svg", "png")
    }
    write_files(folder, pictures)


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


def _draw(
    datasets: Sequence["CocoDataset"],
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
    wanted: Sequence[str],
    object_number: int | None,
    title: str,
) -> dict[str, bytes]:
    """Pictures of images by file name; how many positives their objects have is printed.

    object_number: counts from 1; that object is drawn closely as well, and its candidates, where
    there is ATSS.
    """
    from detector.positives import candidates_of
    from reports import positives_figures as draw
    from reports.render import terminal
    from reports.style import save

    figures = {}
    for dataset, index, path in [find_image(datasets, text) for text in wanted]:
        scene, picture = _look_at(dataset, index, path, selections, sides)
        name, stem = f"image {dataset.image_ids[index]}", path.stem
        console.print(terminal(_table(picture, title.format(name))))
        figures[stem] = draw.selections_figure(picture)
        if object_number is None:
            continue
        if object_number > len(picture.boxes):
            has = f"{name} has {len(picture.boxes)} objects"
            raise ValueError(f"{has}, got --object {object_number}")
        g, close = object_number - 1, f"{stem}-object{object_number}"
        figures[close] = draw.object_figure(picture, g)
        atss = {it.name: candidates_of(it, scene, g) for it in selections if it.k is not None}
        if atss:
            whose = f"{name}, object {object_number}, {picture.names[g]}"
            figures[f"{close}-candidates"] = draw.candidates_figure(atss, whose)
    return {f"{name}.png": save(figure, "png") for name, figure in figures.items()}


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
    dataset: "CocoDataset",
    index: int,
    path: Path,
    selections: Sequence["Selection"],
    sides: Mapping[str, int],
) -> tuple["Scene", "Picture"]:
    """An image as the selections see it, and as it is drawn."""
    from detector.data.images import read_pixels
    from detector.positives import anchors_of, scene_of
    from reports.positives_figures import Picture

    scene = scene_of(dataset, index, **sides)
    labels = dataset.target(index)["labels"].tolist()
    return scene, Picture(
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
