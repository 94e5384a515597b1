"""Pictures of sample selection: over a data set, and on an image.

    all_figures         positives by size, shape and level
    selections_figure   an image once per selection, its objects' positives on it

Shapes: A anchors, M ground truths; in pixels of the resized image.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import cycle
from math import ceil
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

from reports.positives import CAPTIONS, GROUPS, LEVELS
from reports.style import CYCLE, STYLE, WIDTH

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
