"""How many positives objects have under each sample selection, and what that says of the claims.

    objects   a data frame, one line per selection and object, as positives.csv has it
    images    a data frame, one line per selection and image: anchors ignored, contested, ...

The claims all stand in Sec. 4.1, "Maintaining fairness between different objects". The paper does
not say on which images it counted, nor whether before or after conflicts, so only directions are
judged: by the third of the objects that is largest in its images against the third that is
smallest, which, unlike COCO's areas, does not depend on how large the files are.

Shapes: A anchors, M ground truths of an image; in pixels of the resized image.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import cycle
from math import ceil, inf, isnan, nan
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL.Image import Image

from experiments.claims import BY_NAME
from reports.claims import MISSING, Finding, State, Verdict
from reports.render import Grid, line
from reports.style import CYCLE, STYLE, WIDTH

CAPTIONS = {  # file name -> what the figure of all_figures shows
    "positives-by-size": "Positives per object, by its size.",
    "positives-by-aspect-ratio": "Positives per object, by its aspect ratio.",
    "positives-by-levels": "Positives per object on each level of the pyramid.",
}
LEVELS = ("P3", "P4", "P5", "P6", "P7")

# A name for each group, and which objects belong to it, by what.
GROUPS = {
    "size": ("small", "medium", "large"),
    "shape": ("wide", "even", "tall"),  # height / width up to 1/2, between, from 2 on
    "place": ("middle", "side", "corner"),  # of the image, cut into three by three
    "third": ("smallest third", "middle third", "largest third"),  # by the size in the image
}
GRIDS = {  # the columns of each printed table, and what stands below
    "Positives per object": (
        ("mean", "std", "none, %", *GROUPS["size"]),
        "none: share of objects without a positive. small, medium, large: COCO's areas.",
    ),
    "Positives per object, by shape and place": (
        (*GROUPS["shape"], *GROUPS["place"]),
        "wide, even, tall: height / width up to 1/2, between, from 2. middle, side, corner: where "
        "the center lies, the image cut into 3 x 3.",
    ),
    "Positives by level (%), ignored anchors, conflicts": (
        (*LEVELS, "ignored", "contested", "lost"),
        "Share of the positives on each level. ignored, contested: anchors per image; contested "
        "ones would be taken by several objects, were each alone in its image. lost: positives an "
        "object would have alone and does not have among the others.",
    ),
}

# Quantities of a selection; a ratio is that of two groups' means.
SHARE = "share of the candidates"  # that are positive
BEFORE = "share before the in-box test and conflicts"
FAIRNESS = "largest third / smallest third"
FAIRNESS_BEFORE = "the same before the in-box test and conflicts"
SHAPES, PLACES = ("wide / even", "tall / even"), ("corner / middle",)
SIZES = ("medium / small", "large / small")

NORMAL = 0.159  # of a normal distribution lies above mean + one standard deviation
NEAR = 1.1  # ratios this close are called equal
RULES = {  # what is shown of ATSS: of every variant, the first has to lie within bounds
    "H17": ((SHARE, BEFORE, "positives", "candidates"), (0.15, 0.25)),
    "H18": ((FAIRNESS, FAIRNESS_BEFORE, *SHAPES, *PLACES), (1 / NEAR, NEAR)),
    "H19": ((BEFORE, "threshold"), (NEAR * NORMAL, 1.0)),
}
OLDER = ("IoU", "spatial and scale")  # how the selections of RetinaNet's and FCOS's rules begin
LEGEND = "H17 and the like: numbers in our list of the paper's claims (atss claims)."

# Of figures
MARKERS = "osD^vP*"
SIZE_EDGES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 101)  # percent of the image's side
RATIO_EDGES = tuple(2**power for power in (-9, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 9))
MIN_OBJECTS = 10  # in a bin, to show its mean
LEVEL_COLORS = ("#0d2c54", "#0072b2", "#56b4e9", "#e69f00", "#d55e00")  # P3 ... P7

COLORS = np.array([*CYCLE[:6], "#f0e442"])  # of objects
DOTS = np.array([3.0, 3.9, 5.1, 6.6, 8.4])  # diameters of the dots of P3 ... P7, in points
PANEL = 3.4  # inches, the longer side of an image
MOST_NAMES = 8  # objects that are labeled with their category; of more, only the number
HALO = [patheffects.withStroke(linewidth=1.6, foreground="white")]
Anchors = Mapping[str, NDArray[Any]]  # box [A, 4], level [A], matched [A], is_ignored [A]
BARE = [*STYLE, dict.fromkeys(("axes.grid", "axes.spines.left", "axes.spines.bottom"), False)]


def group_means(objects: pd.DataFrame, column: str = "positives") -> pd.DataFrame:
    """A line per selection: the mean of a column in every group; not a number in an empty one."""
    ratio, places, sizes = objects["aspect_ratio"], objects[["x", "y"]], objects["relative_size"]
    num_outer = ((places < 1 / 3) | (places > 2 / 3)).sum(axis=1)
    low, high = sizes.quantile([1 / 3, 2 / 3])
    grouped = objects.assign(
        shape=np.where(ratio <= 1 / 2, "wide", np.where(ratio >= 2, "tall", "even")),
        place=np.array(GROUPS["place"])[num_outer],
        third=np.array(GROUPS["third"])[np.select([sizes >= high, sizes <= low], [2, 0], 1)],
    )
    means = [
        grouped.groupby(["selection", by])[column].mean().unstack().reindex(columns=names)
        for by, names in GROUPS.items()
    ]
    return pd.concat(means, axis=1).loc[objects["selection"].unique()]


def summarize(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One line per selection: all that the printed tables show, in full precision."""
    without = 100.0 * (objects["positives"] == 0)
    by_selection = objects.assign(**{"none, %": without}).groupby("selection", sort=False)
    levels = by_selection[list(LEVELS)].sum()
    columns = [
        by_selection["positives"].agg(objects="size", mean="mean", std="std"),
        by_selection[["none, %", "lost"]].mean(),
        group_means(objects),
        100 * levels.div(levels.sum(axis=1), axis=0),
        images.groupby("selection")[["ignored", "contested"]].mean(),
    ]
    return pd.concat(columns, axis=1)


def summary_grids(summary: pd.DataFrame, about: str) -> list[Grid]:
    """Positives per object, by size; by shape and place; by level, beside other anchors."""
    grids: list[Grid] = []
    for title, (columns, note) in GRIDS.items():
        cells = summary[list(columns)].map("{:.2f}".format).replace("nan", MISSING)
        lines = tuple(line(*texts) for texts in cells.itertuples(name=None))
        head, title = line("", *columns), title if grids else f"{title}: {about}"
        grids.append(Grid(name="positives", title=title, head=head, blocks=(lines,), notes=(note,)))
    return grids


def claims(objects: pd.DataFrame) -> list[Verdict]:
    """What counting says about H17, H18, H19 and H23; without ATSS about H23 alone."""
    found = _quantities(objects)
    atss = found[found[SHARE].notna()]
    judged = [_judge(claim, atss, *rule) for claim, rule in RULES.items() if len(atss)]
    return [*judged, _unfairness(found, atss)]


def _quantities(objects: pd.DataFrame) -> pd.DataFrame:
    """A line per selection: what the claims are judged by; not a number where it is unknown."""
    counted = ["positives", "candidates", "above_threshold", "threshold"]
    found = objects.groupby("selection", sort=False)[counted].mean()
    found[SHARE] = found["positives"] / found["candidates"]
    found[BEFORE] = found["above_threshold"] / found["candidates"]
    means, before = group_means(objects), group_means(objects, "above_threshold")
    for ratio in (FAIRNESS, *SHAPES, *PLACES, *SIZES):
        group, other = ratio.split(" / ")
        found[ratio] = means[group] / means[other]
    found[FAIRNESS_BEFORE] = before["largest third"] / before["smallest third"]
    return found.replace(inf, nan)


def _judge(
    claim: str, atss: pd.DataFrame, shown: Sequence[str], bounds: tuple[float, float]
) -> Verdict:
    values = atss[shown[0]]
    ends = dict.fromkeys(_number(value) for value in (values.min(), values.max()))
    reason = f"{shown[0]} {' to '.join(ends)}, agrees from {bounds[0]:.3g} to {bounds[1]:.3g}"
    state: State = "undecided"
    if values.notna().all():  # of enough objects
        state = "supported" if values.between(*bounds).all() else "contradicted"
    return _verdict(claim, state, reason, atss[list(shown)])


def _unfairness(found: pd.DataFrame, atss: pd.DataFrame) -> Verdict:
    """Both older rules have to be unfair, in every variant counted; one that is fair in all of
    them contradicts. The paper does not say with which variants it counted."""
    fair = NEAR * (atss[FAIRNESS].max() if len(atss) else 1.0)
    favors = found[FAIRNESS].drop(atss.index) > fair
    yes, no = (", ".join(favors.index[favors == kind]) or "none" for kind in (True, False))
    than = " more than ATSS does" if len(atss) else ""
    reason = f"Favoring larger objects{than}: {yes}. Not so: {no}."
    rules = [set(favors[favors.index.str.startswith(rule)]) for rule in OLDER]
    state: State = "supported" if rules == [{True}, {True}] else "undecided"
    if {False} in rules:
        state = "contradicted"
    needs = ("atss positives",) if state == "undecided" and set() in rules else ()
    return _verdict("H23", state, reason, found[[FAIRNESS, *SIZES]], needs)


def _verdict(
    claim: str, state: State, reason: str, shown: pd.DataFrame, needs: tuple[str, ...] = ()
) -> Verdict:
    """The verdict on a claim, with a line per selection of the quantities shown."""
    findings = []
    for selection, values in shown.iterrows():
        told = ", ".join(f"{name} {_number(value)}" for name, value in values.items())
        findings.append(Finding(ours=f"{selection}: {told}", state=None))
    about = BY_NAME[claim]
    return Verdict(claim=about, state=state, reason=reason, findings=tuple(findings), needs=needs)


def _number(value: float) -> str:
    """Three decimals; a dash for what is not known."""
    return MISSING if isnan(value) else f"{value:.3f}"


def markdown_claims(found: Sequence[Verdict]) -> str:
    """The claims as a Markdown list."""
    lines = ["**The paper's claims that need no training**", "", LEGEND, ""]
    for verdict in found:
        claim = verdict.claim
        lines.append(f"- **{claim.name}: {claim.says}** ({claim.where}; the paper: {claim.paper})")
        lines += [f"  - {finding.ours}" for finding in verdict.findings]
        lines.append(f"  - *{verdict.state}: {verdict.reason}*")
    return "\n".join(lines) + "\n"


# Figures


def all_figures(objects: pd.DataFrame) -> dict[str, Figure]:
    """File name -> figure."""
    sizes = "relative_size", SIZE_EDGES, "object's side / image's side (%)", (2, 4, 8, 16, 32, 64)
    ratios = "aspect_ratio", RATIO_EDGES, "height / width", (1 / 4, 1 / 2, 1, 2, 4)
    drawn = _curves(objects, *sizes), _curves(objects, *ratios), _bars(objects)
    return dict(zip(CAPTIONS, drawn, strict=True))


@matplotlib.style.context(STYLE)
def _curves(
    objects: pd.DataFrame, column: str, edges: Sequence[float], label: str, ticks: Sequence[float]
) -> Figure:
    """Positives per object, and objects without, against a column; x is a bin's median."""
    figure = Figure(figsize=(WIDTH, 3.9))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    objects = objects.assign(without=100.0 * (objects["positives"] == 0))
    parts = objects.groupby("selection", sort=False)
    shades = matplotlib.colormaps["cividis"](np.linspace(0, 0.9, len(parts)))
    colors = CYCLE if len(parts) <= len(CYCLE) else shades
    for (name, part), color, marker in zip(parts, colors, cycle(MARKERS), strict=False):
        bins = part.groupby(np.digitize(part[column], edges))
        found = bins[[column, "positives", "without"]].mean()[bins.size() >= MIN_OBJECTS]
        x, style = bins[column].median()[found.index], {"color": color, "marker": marker}
        above.plot(x, found["positives"], label=name, markersize=3.5, **style)
        below.plot(x, found["without"], markersize=3.5, **style)
    above.set_xscale("log", base=2)
    above.set_xticks(ticks, [str(Fraction(tick)) for tick in ticks])
    above.set(ylabel="positives per object", xlim=(ticks[0] / 2, ticks[-1] * 2))
    below.set(ylabel="without any (%)", xlabel=label)
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.minorticks_off()
    figure.legend(loc="outside upper center", ncols=min(len(parts), 3))
    return figure


@matplotlib.style.context([*STYLE, {"axes.grid.axis": "x"}])
def _bars(objects: pd.DataFrame) -> Figure:
    """Positives per object on every level, for small, medium and large objects."""
    selections = list(objects["selection"].unique())
    figure = Figure(figsize=(WIDTH, 0.24 * len(selections) + 1.1))
    panels = figure.subplots(1, len(GROUPS["size"]), sharey=True, sharex=True)
    for axes, size in zip(panels, GROUPS["size"], strict=True):
        part = objects[objects["size"] == size]
        means = part.groupby("selection")[list(LEVELS)].mean().reindex(selections).fillna(0)
        left = np.zeros(len(selections))
        for level, color in zip(LEVELS, LEVEL_COLORS, strict=True):
            axes.barh(selections, means[level], 0.7, left, color=color, label=level)
            left += means[level]
        axes.tick_params(axis="y", length=0)
        axes.set_title(f"{size} ({len(part) // len(selections):,} objects)", loc="left")
    panels[0].invert_yaxis()
    panels[1].set_xlabel("positives per object")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


@matplotlib.style.context(BARE)
def selections_figure(
    image: Image, boxes: NDArray[np.float32], names: Sequence[str], anchors: Mapping[str, Anchors]
) -> Figure:
    """A panel per selection: a dot for each positive's center, as large as its level is coarse.

    The image as large as the network sees it, boxes [M, 4], categories [M], anchors by selection.
    """
    width, height = image.size
    scale, across, down = PANEL / max(height, width), min(len(anchors), 3), ceil(len(anchors) / 3)
    figure = Figure(figsize=(width * scale * across, (height * scale + 0.25) * down + 0.3))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(anchors) :]:
        axes.remove()
    for axes, (name, mine) in zip(panels, anchors.items(), strict=False):
        axes.imshow(image, extent=(0, width, height, 0), alpha=0.45)
        axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
        _draw_anchors(axes, mine)
        _draw_objects(axes, boxes, names)
        owners = mine["matched"][mine["matched"] >= 0]
        without = len(boxes) - len(np.unique(owners))
        title = f"{name}: {len(owners) / max(1, len(boxes)):.1f} per object"
        axes.set_title(title + (f", {without} without" if without else ""), loc="left")
    look: dict[str, Any] = {"ls": "", "color": "#444444"}
    marks = [Line2D([], [], label="ignored", marker="x", ms=3, **look)]
    for level, dot in zip(LEVELS, DOTS, strict=True):
        marks.append(Line2D([], [], label=level, marker="o", ms=dot, mec="none", **look))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))
    return figure


def _draw_anchors(axes: Axes, anchors: Anchors) -> None:
    """Ignored anchors' centers as gray crosses; of positives the box, thin, and the center."""
    boxes, is_positive = anchors["box"], anchors["matched"] >= 0
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    cross: dict[str, Any] = {"s": 4, "marker": "x", "color": "#555555", "alpha": 0.8}
    axes.scatter(*centers[anchors["is_ignored"]].T, linewidths=0.4, **cross)
    colors = COLORS[anchors["matched"][is_positive] % len(COLORS)]
    _outline(axes, boxes[is_positive], edgecolors=colors, linewidths=0.3, alpha=0.15)
    dot = {"s": DOTS[anchors["level"][is_positive]] ** 2, "c": colors, "edgecolors": "white"}
    axes.scatter(*centers[is_positive].T, linewidths=0.4, zorder=3, **dot)


def _draw_objects(axes: Axes, boxes: NDArray[np.float32], names: Sequence[str]) -> None:
    """Ground truths' boxes, and above each its number, with its category if these are few."""
    colors = COLORS[np.arange(len(boxes)) % len(COLORS)]
    _outline(axes, boxes, edgecolors="white", linewidths=2.2, zorder=2)
    _outline(axes, boxes, edgecolors=colors, linewidths=1.2, zorder=2)
    for g, (x1, y1, *_) in enumerate(boxes):
        text = f" {g + 1} {names[g]}" if len(boxes) <= MOST_NAMES else f" {g + 1}"
        look: dict[str, Any] = {"color": colors[g], "fontsize": 6, "path_effects": HALO}
        look |= {"va": "bottom", "clip_on": True, "zorder": 4}
        axes.text(x1, max(y1, 0.03 * axes.get_ylim()[0]), text, **look)


def _outline(axes: Axes, boxes: NDArray[np.float32], **look: Any) -> None:
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(corners), facecolors="none", **look))
