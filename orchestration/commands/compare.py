"""`atss compare`: two configurations on the same images, and whether they can be told apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experiments.settings import show_setting
from orchestration import options
from orchestration.find import Asked, Meant, find_pair
from orchestration.inspection import Progress, inspect
from orchestration.options import option
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console
from reports.footnotes import image_size, schedule

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.paired import Paired, Side

MEANT = (
    "A row of a table, with all its seeds: table3:5, or by its label or a part of it, without "
    "spaces: table3:fcos+atss; table3:5@1 is its run of seed 1. Or a run: its signature or the "
    "beginning of one."
)
First = Annotated[str, typer.Argument(metavar="A", help=MEANT, show_default=False)]
Second = Annotated[str, typer.Argument(metavar="B", help="Likewise.", show_default=False)]
Form = Annotated[Literal["terminal", "markdown", "json"], option("How it is printed.", "--format")]
PICTURES = "Draw the images on which they differ most: ground truth, A, B."
Pictures = Annotated[Path | None, option(PICTURES, metavar="FOLDER", show_default=False)]


def compare(
    first: First,
    second: Second,
    scale: options.OnlyScale = None,
    data: options.OnlyData = None,
    settings: options.OnlySettings = None,
    form: Form = "terminal",
    pictures: Pictures = None,
    out: options.Out = DEFAULT_OUT,
) -> None:
    """Compare two configurations on the same images, B against A: can they be told apart?

    All numbers with the interval of their difference, paired by image and by seed; per class, per
    kind of error, and the images on which they differ most. A row measured in several setups is
    taken from the one without changed settings; --scale, --data and --set choose another.

    Examples:

    - `atss compare table3:1 table3:2`
    - `atss compare d0aff5 10c6df --pictures differences`
    - `atss compare table4:k=3 table4:k=9 --scale mini --format markdown`
    - `atss compare table3:1 table3:fcos --set iterations=20`
    """
    folder = pictures.expanduser() if pictures else None
    for place in (folder, *folder.absolute().parents) if folder else ():
        if place.exists() and not place.is_dir():
            raise ValueError(f"--pictures {pictures}: needs a folder, {place} is a file")
    store, asked = open_store(out).require_there(), Asked(scale, data, settings or ())
    sides = find_pair(store, [first, second], asked)
    with console.status("Comparing") as status:
        from reports.paired import compare as paired

        measured = [_side(meant, status.update) for meant in sides]
        status.update("Comparing")
        found = paired(*measured)
    found = replace(found, notes=(*filter(None, [sides[0].note]), *found.notes))
    _show(found, form)
    if folder is not None:
        from orchestration.gallery import Drawn, draw_differences

        runs = [  # by each side's run of the lowest seed
            Drawn(f"{letter}: {meant.name}", meant.folders[0], side.runs[0].insight.threshold)
            for letter, meant, side in zip("AB", sides, measured, strict=True)
        ]
        setup = sides[0].setup
        count = draw_differences(found, runs, setup.where, setup.fingerprint, folder)
        console.print(f"Pictures {folder} ({count})", soft_wrap=True)


def _show(found: "Paired", form: str) -> None:
    from reports.paired import grids, meaning, to_json
    from reports.render import markdown, terminal

    if form == "json":
        print(json.dumps(to_json(found), indent=1, allow_nan=False))
    elif form == "markdown":
        print("\n".join([*map(markdown, grids(found)), meaning(found)]))
    else:
        for grid in grids(found):
            console.print(terminal(grid))
            console.print()
        console.print(meaning(found))


def _side(meant: Meant, progress: Progress) -> "Side":
    """All that is known of one configuration; ValueError where its runs left too little behind."""
    from detector.evaluation.match_records import load_matches
    from reports.paired import Measured, Side

    known = inspect(meant.folders, progress)
    if known.reasons:
        raise ValueError(f"{meant.name}: {'; '.join(known.reasons)}")
    runs = tuple(
        Measured(
            scores=known.scores[folder.signature],
            matches=load_matches(folder.matches),
            insight=known.insights[folder.signature],
        )
        for folder in meant.folders
    )
    return Side(name=meant.name, runs=runs, facts=facts_of(meant))


def facts_of(meant: Meant) -> dict[str, str]:
    """How its numbers came about, in words; what differs between two of these may matter."""
    folder, setup = meant.folders[0], meant.setup
    own: dict[str, Any] = {  # a row may change parts of its setup's recipe
        name: tuple(value) if isinstance(value, list) else value
        for name, value in folder.facts()["canonical"]["recipe"].items()
        if hasattr(setup.recipe, name)
    }
    recipe = replace(setup.recipe, **own)
    made = (folder.result() or {}).get("facts", {})
    settings = [f"{name}={show_setting(value)}" for name, value in setup.settings.items()]
    return {
        "scale": setup.scale,
        "settings": ", ".join(settings) or "none",
        "backbone": f"{recipe.backbone}, weights {recipe.weights}",
        "schedule": schedule(recipe),
        "image size": image_size(recipe),
        "test": f"scores above {recipe.score_threshold:g}, NMS at IoU {recipe.nms_threshold:g}, at "
        f"most {recipe.max_detections} detections per image",
        "evaluator": f"pycocotools {made.get('pycocotools', 'of an unknown version')}",
    }
