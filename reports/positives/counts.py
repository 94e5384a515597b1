"""How many positives objects have under each sample selection: by size, shape, place and level.

objects   a data frame, one line per selection and object, as positives.csv has it
images    a data frame, one line per selection and image: anchors ignored, contested, ...
"""

from itertools import product
from math import isfinite

import numpy as np
import pandas as pd

from reports.render import Grid, line

LEVELS = ("P3", "P4", "P5", "P6", "P7")

# A name for each group, and which objects belong to it, by what.
GROUPS = {
    "size": ("small", "medium", "large"),
    "shape": ("wide", "even", "tall"),  # height / width up to 1/2, between, from 2 on
    "place": ("middle", "side", "corner"),  # of the image, cut into three by three
}
NAMES = [name for groups in GROUPS.values() for name in groups]
LEGEND = "none: share of objects without a positive. small, medium, large: COCO's areas."
LEGEND_OF_PLACES = (
    "wide, even, tall: height / width up to 1/2, between, from 2. middle, side, corner: where the "
    "center lies, the image cut into 3 x 3."
)
LEGEND_OF_LEVELS = (
    "Share of the positives on each level. ignored, contested: anchors per image; contested ones "
    "would be taken by several objects, were each alone in its image. lost: positives an object "
    "would have alone and does not have among the others."
)


def with_groups(objects: pd.DataFrame) -> pd.DataFrame:
    """The objects with the columns shape and place; size they have."""
    ratio, places = objects["aspect_ratio"], objects[["x", "y"]]
    num_outer = ((places < 1 / 3) | (places > 2 / 3)).sum(axis=1)
    return objects.assign(
        shape=np.where(ratio <= 1 / 2, "wide", np.where(ratio >= 2, "tall", "even")),
        place=np.array(GROUPS["place"])[num_outer],
    )


def by_group(objects: pd.DataFrame) -> pd.DataFrame:
    """selection, by, group -> objects, mean, std, without (percent); the first group is all."""
    by_selection = with_groups(objects).assign(all="all").groupby("selection", sort=False)
    lines = []
    for by, groups in {"all": ("all",), **GROUPS}.items():
        for group, (selection, part) in product(groups, by_selection):
            counts = part.loc[part[by] == group, "positives"]
            names = {"selection": selection, "by": by, "group": group, "objects": len(counts)}
            without = 100 * (counts == 0).mean()
            lines.append(names | {"mean": counts.mean(), "std": counts.std(), "without": without})
    return pd.DataFrame(lines)


def summarize(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One line per selection: all that the two printed tables show, in full precision."""
    groups = by_group(objects)
    summary = groups[groups["by"] == "all"].set_index("selection")
    means = groups.pivot(index="selection", columns="group", values="mean")[NAMES]
    by_selection = objects.groupby("selection", sort=False)
    levels = by_selection[list(LEVELS)].sum()
    shares = 100 * levels.div(levels.sum(axis=1), axis=0)
    per_image = images.groupby("selection", sort=False)[["ignored", "contested"]].mean()
    lost = by_selection["lost"].mean()
    return summary[["objects", "mean", "std", "without"]].join([means, shares, per_image, lost])


def means_grid(summary: pd.DataFrame, title: str) -> Grid:
    """How many positives objects have, and by size."""
    sizes = GROUPS["size"]
    lines = [
        line(name, number(row["mean"], 2), number(row["std"], 2), number(row["without"], 2))
        + line(*(number(row[group], 1) for group in sizes))
        for name, row in summary.iterrows()
    ]
    head = line("", "mean", "std", "none, %", *sizes)
    return Grid(name="means", title=title, head=head, blocks=(tuple(lines),), notes=(LEGEND,))


def places_grid(summary: pd.DataFrame) -> Grid:
    """How many positives objects have, by their shape and by where they are."""
    names = (*GROUPS["shape"], *GROUPS["place"])
    lines = [
        line(name, *(number(row[group], 1) for group in names)) for name, row in summary.iterrows()
    ]
    return Grid(
        name="places",
        title="Positives per object, by shape and place",
        head=line("", *names),
        blocks=(tuple(lines),),
        notes=(LEGEND_OF_PLACES,),
    )


def levels_grid(summary: pd.DataFrame) -> Grid:
    """Where the positives are, and what else becomes of anchors."""
    lines = [
        line(name, *(number(row[level], 1) for level in LEVELS))
        + line(*(number(row[column], 1) for column in ("ignored", "contested")))
        + line(number(row["lost"], 2))
        for name, row in summary.iterrows()
    ]
    head = line("", *LEVELS, "ignored", "contested", "lost")
    notes = (LEGEND_OF_LEVELS,)
    return Grid(
        name="levels",
        title="Positives by level (%), ignored anchors, conflicts",
        head=head,
        blocks=(tuple(lines),),
        notes=notes,
    )


def groups_grid(groups: pd.DataFrame, title: str) -> Grid:
    """Mean, spread and share without for each group, selections across."""
    selections = list(dict.fromkeys(groups["selection"]))
    blocks = []
    for _, part in groups.groupby("by", sort=False):
        cells = part.set_index(["group", "selection"])
        names = list(dict.fromkeys(part["group"]))
        blocks.append(
            tuple(
                line(name, str(cells.loc[(name, selections[0])]["objects"]))
                + line(*(_spread(cells.loc[(name, selection)]) for selection in selections))
                for name in names
            )
        )
    head = line("", "objects", *selections)
    notes = ("Positives per object: mean ± standard deviation (share of objects without, %).",)
    return Grid(name="groups", title=title, head=head, blocks=tuple(blocks), notes=notes)


def _spread(row: pd.Series) -> str:
    if not row["objects"]:
        return "–"
    spread = f" ±{row['std']:.1f}" if isfinite(row["std"]) else ""
    return f"{row['mean']:.1f}{spread} ({row['without']:.1f})"


def number(value: float, digits: int) -> str:
    """With so many digits; a dash for what is not known."""
    return f"{value:.{digits}f}" if isfinite(value) else "–"
