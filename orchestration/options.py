"""The arguments and options of the `atss` command: names, help, and how their text is read."""

import re
from dataclasses import fields
from typing import Annotated, Any, Literal

import typer

from detector.config import DetectorConfig, Recipe

ScaleName = Literal["demo", "mini", "scratch", "paper", "paper-2x"]
ONE_TABLE = "table1 ... table9, leave-one-out, factorial, or a file of your own: FILE.py"
KEYS = ", ".join(item.name for item in (*fields(DetectorConfig), *fields(Recipe)))


def option(text: str, *names: str, **how: Any) -> Any:
    """An option with its help; names: where they are not the parameter's."""
    return typer.Option(*names, help=text, **how)


def _set(text: str) -> Any:
    return option(text, "--set", metavar="KEY=VALUE")


def argument(metavar: str, text: str) -> Any:
    """An argument as help shows it, with its help."""
    return typer.Argument(metavar=metavar, help=text)


TableName = Annotated[str, argument("TABLE", ONE_TABLE)]
TableNames = Annotated[list[str], argument("TABLE...", f"all (table1 ... table7), {ONE_TABLE}")]
Out = Annotated[str, option("The results folder.", "--out", metavar="FOLDER")]

# What is trained
SCALE = (
    "How much is trained: demo (a CPU, minutes, generated images), mini (one GPU, minutes, your "
    "images, ImageNet weights), scratch (the same GPU without weights, longer), paper (90,000 "
    "iterations a run), paper-2x (180,000: Table 8's)."
)
Scale = Annotated[ScaleName, option(SCALE)]
DATA = (
    "A data set in COCO format: a folder, a TOML file that names images and annotations, coco2017, "
    "or shapes-large. Demo scale brings its own, shapes."
)
Data = Annotated[str | None, option(DATA, metavar="WHERE")]
Seeds = Annotated[str, option("One run for each row and seed.", metavar="0,1,2")]
ROWS = "Only these rows of one table: numbers from 1, a label, or a part of one. Repeatable."
Rows = Annotated[list[str] | None, option(ROWS, metavar="1,3|LABEL")]
SET = "Change a setting in every row: a toggle or a part of the schedule. Repeatable."
Settings = Annotated[list[str] | None, _set(f"{SET} Keys: {KEYS}.")]
DryRun = Annotated[bool, option("Print what would be trained, and stop.", "--dry-run")]

# On which machines
Concurrent = Annotated[int | None, option("Runs at once.  [default: as many as fit]", min=1)]
GPUS = "They share each batch of a run; or a share of one, or 0 for none.  [default: one, if any]"
GpusPerRun = Annotated[float | None, option(GPUS, min=0)]
PROCESSES = "That share each batch of a run; the batch stays.  [default: one per GPU]"
Processes = Annotated[int | None, option(PROCESSES, min=1)]
MICRO_BATCH = "Images per forward pass; the gradients stay those of the whole batch."
MicroBatch = Annotated[int | None, option(MICRO_BATCH, min=1)]
WORKERS = "Processes per run that load images.  [default: by the CPUs]"
Workers = Annotated[int | None, option(WORKERS, min=0)]
ADDRESS = "A running Ray cluster.  [default: this machine]"
Address = Annotated[str | None, option(ADDRESS, metavar="HOST:PORT")]

# What a trained detector is tested on
TRAINED = "A run, by its signature or a row's name, or a part of these; atss status lists them."
Trained = Annotated[str | None, argument("RUN", TRAINED)]
IMAGES = "First a RUN (see atss evaluate), unless there is --weights; then image files or folders."
TrainedAndImages = Annotated[list[str], argument("RUN|IMAGE", IMAGES)]
WEIGHTS = "Instead of a run: weights or a checkpoint of ours, of the official ATSS or mmdetection."
Weights = Annotated[str | None, option(WEIGHTS, metavar="FILE")]
TEST_DATA = "A data set in COCO format, as of atss reproduce.  [default: what the run trained on]"
TestData = Annotated[str | None, option(TEST_DATA, "--data", metavar="WHERE")]
Split = Annotated[str | None, option("Which part of it.  [default: val]", metavar="NAME")]
ANNOTATIONS = "Instead of --data: COCO's JSON."
AnnotationFile = Annotated[str | None, option(ANNOTATIONS, "--annotations", metavar="FILE")]
ImageFolder = Annotated[str | None, option("Where its images are.", "--images", metavar="FOLDER")]
TEST_SET = "Change how it is tested, such as nms_threshold=0.5 or short_side=600. Repeatable."
TestSettings = Annotated[list[str] | None, _set(TEST_SET)]
Device = Annotated[str | None, option("[default: a GPU, if any]", metavar="cpu|cuda")]
TEST_WORKERS = "Processes that load images.  [default: 4 for a GPU, else none]"
TestWorkers = Annotated[int | None, option(TEST_WORKERS, "--workers", min=0)]
Draw = Annotated[int, option("Draw so many images, ground truth beside detections.", min=0)]
Score = Annotated[float, option("Leave out detections below this score.", min=0, max=1)]
DRAWN = "Draw detections from this score on."
DrawnScore = Annotated[float, option(DRAWN, "--score", min=0, max=1)]

# What is reported
OnlyScale = Annotated[ScaleName | None, option("Only results of it.", "--scale")]
OnlyData = Annotated[str | None, option("Only results on it.", "--data", metavar="NAME")]
ONLY_SET = "Only results of runs with these changed settings, no others. Repeatable."
OnlySettings = Annotated[list[str] | None, _set(ONLY_SET)]
Port = Annotated[int, option("On 127.0.0.1.", min=1, max=65535)]


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2]; ValueError for anything but different whole numbers of 64 bits."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
        raise ValueError(
            f"--seeds needs whole numbers from 0 on with commas between them, such as 0,1,2, got "
            f"'{text}': neither ranges nor more than 18 digits"
        )
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds needs each seed once, got '{text}': equal runs are one run")
    return seeds


def parse_rows(texts: list[str]) -> list[str]:
    """["1,3", "Box"] -> ["1", "3", "Box"]; labels keep their commas."""
    rows: list[str] = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        rows += parts if all(part.isdigit() for part in parts) else [text]
    return rows
