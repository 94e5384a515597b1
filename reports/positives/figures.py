"""Pictures of sample selection over a data set: positives by size, shape, location and level.

Frames are those of positives.py. Every selection keeps its colour and marker in all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.plots.theme import CYCLE, STYLE, WIDTH
from reports.positives.counts import GROUPS, LEVELS

MARKERS = "osD^vP*"
SIZE_EDGES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 101)  # percent of the image's side
RATIO_EDGES = tuple(
    2**power for power in (-9, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 9)
)  # height / width
MIN_OBJECTS = 10  # in a bin, to show its mean
CELLS = 5  # of an image, along each side of the map
ACROSS = 5  # maps in a row
LEVEL_COLORS = ("#0d2c54", "#0072b2", "#56b4e9", "#e69f00", "#d55e00")  # P3 ... P7


def size_figure(objects: pd.DataFrame) -> Figure:
    """Positives per object, and objects without, against the object's size in its image."""
    ticks = {2.0: "2", 4: "4", 8: "8", 16: "16", 32: "32", 64: "64"}
    label = "object's side / image's side (%)"
    return _curves(objects, "relative_size", SIZE_EDGES, label, ticks, (1, 100))


def ratio_figure(objects: pd.DataFrame) -> Figure:
    """Positives per object, and objects without, against the aspect ratio."""
    ticks = {1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4"}
    return _curves(objects, "aspect_ratio", RATIO_EDGES, "height / width", ticks, (1 / 9, 9))


def _curves(
    objects: pd.DataFrame,
    column: str,
    edges: Sequence[float],
    label: str,
    ticks: Mapping[float, str],
    limits: tuple[float, float],
) -> Figure:
    """Means of the objects in each bin, above the shares without; x is the bin's median."""
    selections = list(objects["selection"].unique())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        above.set_xscale("log", base=2)
        above.set_xticks(list(ticks), list(ticks.values()))
        above.set_xlim(*limits)
        for name, style in zip(selections, _styles(len(selections)), strict=True):
            part = objects[objects["selection"] == name]
            bins = part.groupby(np.digitize(part[column], edges))
            found = bins.agg(
                x=(column, "median"),
                mean=("positives", "mean"),
                without=("positives", lambda counts: 100 * (counts == 0).mean()),
            )[bins.size() >= MIN_OBJECTS]
            above.plot(found["x"], found["mean"], label=name, **style)
            below.plot(found["x"], found["without"], **style)
        above.set(ylabel="positives per object")
        below.set(ylabel="without any (%)", xlabel=label)
        for axes in (above, below):
            axes.set_ylim(bottom=0)
            axes.minorticks_off()
        figure.legend(loc="outside upper center", ncols=min(len(selections), 3))
        return figure


def _styles(count: int) -> list[dict[str, Any]]:
    """Lines told apart by colour and marker; of many by shades."""
    shades = matplotlib.colormaps["cividis"]
    return [
        {
            "color": CYCLE[i] if count <= len(CYCLE) else shades(0.9 * i / (count - 1)),
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 3.5,
        }
        for i in range(count)
    ]


def location_figure(objects: pd.DataFrame) -> Figure:
    """A map of the image per selection: positives of the objects there, over those of all."""
    selections = list(objects["selection"].unique())
    down, across = -(-len(selections) // ACROSS), min(len(selections), ACROSS)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 1.05 * down + 0.75))
        panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
        for axes in panels[len(selections) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, selections, strict=False):
            image = _map(axes, objects[objects["selection"] == name], name)
        bar = figure.colorbar(
            image, ax=panels, orientation="horizontal", fraction=0.06, aspect=40, extend="both"
        )
        bar.set_label("positives per object here / everywhere")
        bar.outline.set_visible(False)
        ticks = (0.5, 0.7, 1, 1.4, 2)
        bar.set_ticks([np.log2(tick) for tick in ticks], labels=[f"{tick:g}" for tick in ticks])
        return figure


def _map(axes: Axes, part: pd.DataFrame, name: str) -> Any:
    edges = np.linspace(0, 1, CELLS + 1)
    totals, *_ = np.histogram2d(part["y"], part["x"], (edges, edges), weights=part["positives"])
    counts, *_ = np.histogram2d(part["y"], part["x"], (edges, edges))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log2(totals / counts / part["positives"].mean())
    shown = np.ma.masked_where(counts < MIN_OBJECTS, ratios)
    image = axes.imshow(shown, cmap="PuOr_r", vmin=-1, vmax=1, aspect=0.75)
    axes.set_title(_folded(name))
    axes.set(xticks=[], yticks=[])
    axes.set_facecolor("#eeeeee")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _folded(name: str) -> str:
    return (
        name.replace(", ", ",\n")
        .replace(" in GT", "\nin GT")
        .replace("spatial and ", "spatial\nand ")
    )


def level_figure(objects: pd.DataFrame) -> Figure:
    """Positives per object on every level, for small, medium and large objects."""
    selections = list(objects["selection"].unique())
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "x", "axes.axisbelow": True}):
        figure = Figure(figsize=(WIDTH, 0.24 * len(selections) + 1.1))
        panels = figure.subplots(1, len(GROUPS["size"]), sharey=True, sharex=True)
        for axes, size in zip(panels, GROUPS["size"], strict=True):
            part = objects[objects["size"] == size]
            means = part.groupby("selection")[list(LEVELS)].mean().reindex(selections).fillna(0)
            _bars(axes, means)
            count = len(part) // max(1, part["selection"].nunique())
            axes.set_title(f"{size} ({count:,} objects)", loc="left")
        panels[1].set_xlabel("positives per object")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(LEVELS))
        return figure


def _bars(axes: Axes, means: pd.DataFrame) -> None:
    left = np.zeros(len(means))
    for level, color in zip(LEVELS, LEVEL_COLORS, strict=True):
        axes.barh(range(len(means)), means[level], left=left, color=color, height=0.7, label=level)
        left += means[level].to_numpy()
    axes.set_yticks(range(len(means)), means.index)
    axes.set_ylim(len(means) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


FIGURES = {
    "size": size_figure,
    "aspect-ratio": ratio_figure,
    "location": location_figure,
    "levels": level_figure,
}


CAPTIONS = {  # file name -> what the figure of all_figures shows
    "positives-by-size": "Positives per object, by its size.",
    "positives-by-aspect-ratio": "Positives per object, by its aspect ratio.",
    "positives-by-location": "Positives per object, by where in the image it is.",
    "positives-by-levels": "Positives per object on each level of the pyramid.",
}


def all_figures(objects: pd.DataFrame) -> dict[str, Figure]:
    """File name -> figure."""
    return {f"positives-by-{name}": draw(objects) for name, draw in FIGURES.items()}
