"""Which sample selections `atss positives` compares, and where it writes.

Rows that train differently but select alike, such as Table 1's, are one selection.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from detector.positives import Selection

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
