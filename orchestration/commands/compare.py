"""`atss compare`: two configurations on the same images, and whether they can be told apart."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.settings import show_setting
from orchestration import options
from orchestration.find import Meant, find_pair
from orchestration.options import argument, option
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, print_grid, print_json, say

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.paired import Paired, Side

MEANT = (
    "A row of a table, with all its seeds: table3:5, or by its label or a part of it, without "
    "spaces: table3:fcos+atss; table3:5@1 is its run of seed 1. Or a run: its signature or the "
    "beginning of one."
)
Form = Annotated[Literal["terminal", "markdown", "json"], option("How it is printed.", "--format")]
PICTURES = "Draw the images on which they differ most: ground truth, A, B."
Pictures = Annotated[Path | None, option(PICTURES, metavar="FOLDER", file_okay=False)]


def compare(
    first: Annotated[str, argument("A", MEANT)],
    second: Annotated[str, argument("B", "Likewise.")],
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
    - `atss compare table2:1@0 table2:3@0 --pictures differences`
    - `atss compare table4:k=3 table4:k=9 --scale mini --format markdown`
    - `atss compare table3:1 table3:fcos --set iterations=20`
    """
    store, texts = open_store(out).require_there(), (first, second)
    one, other, note = find_pair(store, texts, scale=scale, data=data, settings=settings or ())
    from reports.paired import compare as paired
    from reports.paired import extremes

    with console.status("Comparing") as status:
        before, after = (side_of(meant, status.update) for meant in (one, other))
        status.update("Comparing")
        found = paired(before, after, note)
    _show(found, form)
    if pictures is None:
        return
    from orchestration.gallery import draw_sheets, images_of, surest

    dataset = images_of(one.setup.where, one.setup.fingerprint)
    shown = {  # of each side's run of the lowest seed
        f"{letter}: {meant.name}": surest(meant.folders[0], side.runs[0].insight.threshold)
        for letter, meant, side in (("A", one, before), ("B", other, after))
    }
    images = [int(image.name) for part in extremes(found) for image in part]
    draw_sheets(dataset, images, shown, pictures.expanduser())
    say(f"Pictures {pictures.expanduser()} ({len(images)})")


def _show(found: "Paired", form: str) -> None:
    from reports.paired import grids, meaning

    if form == "json":  # everything, also what the tables leave out
        return print_json(asdict(found) | {"meaning": meaning(found)})
    for grid in grids(found):
        print_grid(grid, form)
        if form == "terminal":
            say("")
    console.print(meaning(found), soft_wrap=form == "markdown")


def side_of(meant: Meant, progress: Callable[[str], None]) -> "Side":
    """All that is known of one configuration; ValueError where its runs left too little behind.

    Its facts are how its numbers came about: what differs between two of these may matter.
    """
    from detector.evaluation.match_records import load_matches
    from orchestration.results import inspect
    from reports.paired import Measured, Side

    known, first = inspect(meant.folders, progress), meant.folders[0]
    if known.reasons:
        raise ValueError(f"{meant.name}: {'; '.join(known.reasons)}")
    runs = [
        Measured(
            scores=known.scores[folder.signature],
            matches=load_matches(folder.matches),
            insight=known.insights[folder.signature],
        )
        for folder in meant.folders
    ]
    recipe, result = first.facts()["canonical"]["recipe"], first.result() or {}
    facts = {"scale": meant.setup.scale} | {key: show_setting(it) for key, it in recipe.items()}
    facts["pycocotools"] = result.get("facts", {}).get("pycocotools", "unknown")
    return Side(name=meant.name, runs=tuple(runs), facts=facts)
