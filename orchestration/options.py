"""The arguments and options of the `atss` command: names, help, and how their text is read."""

from dataclasses import fields
from typing import Annotated, Literal

import typer

from detector.config import DetectorConfig, Recipe

ScaleName = Literal["demo", "mini", "scratch", "paper", "paper-2x"]
ONE_TABLE = "table1 ... table9, leave-one-out, factorial, or a file of your own: FILE.py"
TableName = Annotated[str, typer.Argument(metavar="TABLE", help=ONE_TABLE)]
TableNames = Annotated[
    list[str], typer.Argument(metavar="TABLE...", help=f"all (table1 ... table7), {ONE_TABLE}")
]
Out = Annotated[str, typer.Option("--out", metavar="FOLDER", help="The results folder.")]

# What is trained
Scale = Annotated[
    ScaleName,
    typer.Option(
        help="How much is trained: demo (a CPU, minutes, generated images), mini (one GPU, "
        "minutes, your images, ImageNet weights), scratch (the same GPU without weights, longer), "
        "paper (90,000 iterations a run), paper-2x (180,000: Table 8's)."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="A data set in COCO format: a folder, a TOML file that names images and annotations, "
        "coco2017, or shapes-large. Demo scale brings its own, shapes.",
    ),
]
Seeds = Annotated[str, typer.Option(metavar="0,1,2", help="One run for each row and seed.")]
Rows = Annotated[
    list[str] | None,
    typer.Option(
        metavar="1,3|LABEL",
        help="Only these rows of one table: numbers from 1, a label, or a part of one. Repeatable.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting in every row: a toggle or a part of the schedule. Repeatable. "
        f"Keys: {', '.join(item.name for item in (*fields(DetectorConfig), *fields(Recipe)))}.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be trained, and stop.")]

# On which machines
Concurrent = Annotated[
    int | None, typer.Option(min=1, help="Runs at once.  [default: as many as fit]")
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Several share each batch of a run; also a share of one, or 0 for none.  "
        "[default: one, if any]",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1, help="That share each batch of a run; the batch stays.  [default: one per GPU]"
    ),
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        min=1, help="Images per forward pass; the gradients stay those of the whole batch."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes per run that load images.  [default: by the CPUs]"),
]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A running Ray cluster.  [default: this machine]"),
]

# What a trained detector is tested on
Trained = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run of the results folder: its signature, the beginning of one, or a row's name "
        "such as 'Table 2: ..., Box' or a part of it. atss status lists them.",
    ),
]
TrainedAndImages = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|IMAGE",
        help="First a run of the results folder (see atss evaluate), unless there is --weights; "
        "then image files, or folders with images.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Instead of a run: weights or a checkpoint of ours, of the official ATSS code or of "
        "mmdetection.",
    ),
]
TestData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="WHERE",
        help="A data set in COCO format: a folder, a TOML file, coco2017 or shapes.  [default: "
        "what the run was trained on]",
    ),
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which part of it.  [default: val]")
]
AnnotationFile = Annotated[
    str | None,
    typer.Option("--annotations", metavar="FILE", help="Instead of --data: COCO's JSON."),
]
ImageFolder = Annotated[
    str | None, typer.Option("--images", metavar="FOLDER", help="Where its images are.")
]
TestSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change how it is tested, such as nms_threshold=0.5 or short_side=600. Repeatable.",
    ),
]
Device = Annotated[str | None, typer.Option(metavar="cpu|cuda", help="[default: a GPU, if any]")]
TestWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, help="Processes that load images.  [default: 4 for a GPU, else none]"
    ),
]
Draw = Annotated[
    int, typer.Option(min=0, help="Draw so many images, ground truth beside detections.")
]
Score = Annotated[float, typer.Option(min=0, max=1, help="Leave out detections below this score.")]
DrawnScore = Annotated[
    float, typer.Option("--score", min=0, max=1, help="Draw detections from this score on.")
]

# What is reported
OnlyScale = Annotated[ScaleName | None, typer.Option("--scale", help="Only results of it.")]
OnlyData = Annotated[str | None, typer.Option("--data", metavar="NAME", help="Only results on it.")]
OnlySettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Only results of runs with these changed settings, no others. Repeatable.",
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")]


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2]; ValueError for anything but whole numbers from 0 on."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--seeds needs whole numbers from 0 on, such as 0,1,2, got '{text}'")
    seeds = [int(part) for part in parts]
    if max(seeds) >= 2**63:
        raise ValueError(f"--seeds needs numbers below 2**63, got '{text}': they have 64 bits")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds needs each seed once, got '{text}': equal runs are one run")
    return seeds


def parse_rows(texts: list[str]) -> list[str]:
    """["1,3", "Box"] -> ["1", "3", "Box"]; labels keep their commas."""
    numbers = {text: [part.strip() for part in text.split(",")] for text in texts}
    return [
        part
        for text, parts in numbers.items()
        for part in (parts if all(part.isdigit() for part in parts) else [text])
    ]
