"""`atss positives`: what sample selection does to the objects of a data set, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.own_tables import own_assigner
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings
from orchestration import options
from orchestration.options import parse_rows
from orchestration.plan import GENERATED
from orchestration.positives import (
    POSITIVES,
    SELECTING,
    Study,
    build,
    choose,
    count_and_report,
    draw_images,
    slug,
)
from orchestration.run_folder import DEFAULT_OUT

if TYPE_CHECKING:
    from detector.data.coco import CocoDataset

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
    usual = DEMO if data in (None, GENERATED) and annotations is None else PAPER
    sides = {"short_side": short_side or usual.short_side[-1]}
    sides["long_side"] = long_side or usual.long_side
    built = [build(it, row.config, own_assigner(row.assigner)) for it, (row, _) in chosen.items()]
    study = Study(
        name=name,
        datasets=datasets,
        sides=sides,
        selections=tuple(built),
        rows={name: labels for name, (_, labels) in chosen.items()},
        folder=Path(out) / POSITIVES / slug(name, asked),
    )
    if image:
        draw_images(study, image, object_number)
    else:
        count_and_report(study, workers)


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
