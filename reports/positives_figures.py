"""Pictures of sample selection: over a data set, and on an image.

    all_figures         positives by size, shape, location and level; each selection keeps its style
    selections_figure   an image once per selection, its objects' positives on it
    object_figure       one object level by level, what is positive on each level's grid: Figure 1
    candidates_figure   the IoUs of its ATSS candidates, level by level, and the threshold: Figure 3

Shapes: A anchors, M ground truths, C candidates; in pixels of the resized image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reports.positives import CAPTIONS, GROUPS, LEVELS
from reports.style import CYCLE, STYLE, WIDTH

MARKERS = "osD^vP*"
SIZE_EDGES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 101)  # percent of the image's side
RATIO_EDGES = tuple(2**power for power in (-9, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 9))
MIN_OBJECTS = 10  # in a bin, to show its mean
CELLS = 5  # of an image, along each side of the map
ACROSS = 5  # maps in a row
LEVEL_COLORS = ("#0d2c54", "#0072b2", "#56b4e9", "#e69f00", "#d55e00")  # P3 ... P7

COLORS = (*CYCLE[:6], "#f0e442")
DOTS = np.array([2.0, 2.6, 3.4, 4.4, 5.6])  # diameters of the dots of P3 ... P7 in points, at least
MOST = 1.8  # times as large where the locations are far apart
PANEL = 3.4  # inches, the longer side of an image
LABEL = 0.03  # of an image's height, that a label takes
MOST_NAMES = 8  # objects that are labeled with their category; of more, only the number
HALO = [patheffects.withStroke(linewidth=1.6, foreground="white")]

# What is on a level's grid, as scatter draws it; and an anchor box's line.
POSITIVE: dict[str, Any] = {"s": 16, "c": COLORS[1], "edgecolors": "white", "linewidths": 0.5}
OTHERS: dict[str, Any] = {"s": 9, "c": COLORS[3], "edgecolors": "white", "linewidths": 0.4}
NEGATIVE: dict[str, Any] = {"s": 5, "c": "white", "edgecolors": "#777777", "linewidths": 0.4}
IGNORED: dict[str, Any] = {"s": 7, "c": "#444444", "marker": "x", "linewidths": 0.6}
ANCHOR: dict[str, Any] = {"ec": COLORS[1], "ls": (0, (4, 2)), "lw": 0.8}

Anchors = Mapping[str, NDArray[Any]]  # box [A, 4], level [A], matched [A], is_ignored [A]


def _curves(
    objects: pd.DataFrame,
    column: str,
    edges: Sequence[float],
    label: str,
    ticks: Mapping[float, str],
    limits: tuple[float, float],
) -> Figure:
    """Positives per object, and objects without, against a column; x is a bin's median."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        above.set_xscale("log", base=2)
        above.set_xticks(list(ticks), list(ticks.values()))
        above.set_xlim(*limits)
        parts = objects.groupby("selection", sort=False)
        for (name, part), style in zip(parts, _styles(len(parts)), strict=True):
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
        figure.legend(loc="outside upper center", ncols=min(len(parts), 3))
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
    parts = objects.groupby("selection", sort=False)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 1.05 * -(-len(parts) // ACROSS) + 0.75))
        panels = _panels(figure, len(parts), ACROSS)
        for axes, (name, part) in zip(panels, parts, strict=False):
            image = _map(axes, part, name)
        bar = figure.colorbar(
            image, ax=panels, orientation="horizontal", fraction=0.06, aspect=40, extend="both"
        )
        bar.set_label("positives per object here / everywhere")
        bar.outline.set_visible(False)
        ticks = (0.5, 0.7, 1, 1.4, 2)
        bar.set_ticks([np.log2(tick) for tick in ticks], labels=[f"{tick:g}" for tick in ticks])
        return figure


def _panels(figure: Figure, count: int, across: int) -> list[Axes]:
    """So many beside and below each other; those left over at the end stay empty."""
    across = min(count, across)
    panels = figure.subplots(-(-count // across), across, squeeze=False).ravel().tolist()
    for axes in panels[count:]:
        axes.set_axis_off()
    return list(panels)


def _map(axes: Axes, part: pd.DataFrame, name: str) -> Any:
    edges = np.linspace(0, 1, CELLS + 1)
    totals, *_ = np.histogram2d(part["y"], part["x"], (edges, edges), weights=part["positives"])
    counts, *_ = np.histogram2d(part["y"], part["x"], (edges, edges))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log2(totals / counts / part["positives"].mean())
    shown = np.ma.masked_where(counts < MIN_OBJECTS, ratios)
    image = axes.imshow(shown, cmap="PuOr_r", vmin=-1, vmax=1, aspect=0.75)
    axes.set_title(_folded(name))
    _unframe(axes, "#eeeeee")
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
            left = means.cumsum(axis=1).shift(axis=1, fill_value=0)  # where each level's bar begins
            for level, color in zip(LEVELS, LEVEL_COLORS, strict=True):
                bar = {"left": left[level], "color": color, "label": level, "height": 0.7}
                axes.barh(range(len(means)), means[level], **bar)
            axes.set_yticks(range(len(means)), means.index)
            axes.set_ylim(len(means) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            count = len(part) // max(1, part["selection"].nunique())
            axes.set_title(f"{size} ({count:,} objects)", loc="left")
        panels[1].set_xlabel("positives per object")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(LEVELS))
        return figure


def all_figures(objects: pd.DataFrame) -> dict[str, Figure]:
    """File name -> figure."""
    sizes = {2.0: "2", 4: "4", 8: "8", 16: "16", 32: "32", 64: "64"}
    ratios = {1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4"}
    side, shape = "object's side / image's side (%)", "height / width"
    drawn = (
        _curves(objects, "relative_size", SIZE_EDGES, side, sizes, (1, 100)),
        _curves(objects, "aspect_ratio", RATIO_EDGES, shape, ratios, (1 / 9, 9)),
        location_figure(objects),
        level_figure(objects),
    )
    return dict(zip(CAPTIONS, drawn, strict=True))


@dataclass(frozen=True, eq=False)
class Picture:
    """An image with its ground truths, and what each selection makes of its anchors."""

    pixels: NDArray[np.uint8]  # [H, W, 3], of any size
    height: int
    width: int
    boxes: NDArray[np.float32]  # [M, 4]
    names: Sequence[str]  # [M] categories
    anchors: Mapping[str, Anchors]  # by selection

    def show(self, axes: Axes, *, alpha: float) -> None:
        """The image, paled, without a frame."""
        _unframe(axes, "white")
        axes.imshow(self.pixels, extent=(0, self.width, self.height, 0), alpha=alpha)
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))


def selections_figure(picture: Picture) -> Figure:
    """A panel per selection: a dot for each positive's center, as large as its level is coarse."""
    count, longest = len(picture.anchors), max(picture.height, picture.width)
    across = min(count, 3)
    down = -(-count // across)
    panel = PANEL * picture.width / longest, PANEL * picture.height / longest
    gaps = 72 * PANEL / longest * 2.0 ** np.arange(3, 3 + len(LEVELS))  # points between locations
    diameters = np.clip(gaps / 2, DOTS, MOST * DOTS)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(panel[0] * across, (panel[1] + 0.25) * down + 0.3))
        panels = _panels(figure, count, across)
        for axes, (name, anchors) in zip(panels, picture.anchors.items(), strict=False):
            picture.show(axes, alpha=0.45)
            _draw_positives(axes, anchors, diameters)
            for g, box in enumerate(picture.boxes):
                category = f" {picture.names[g]}" if len(picture.boxes) <= MOST_NAMES else ""
                _draw_object(axes, g, box, f" {g + 1}{category}")
            counts = np.bincount(anchors["matched"][anchors["matched"] >= 0], minlength=1)
            without = len(picture.boxes) - int((counts > 0).sum())
            mean = counts.sum() / max(1, len(picture.boxes))
            title = f"{name}: {mean:.1f} per object" + (f", {without} without" if without else "")
            axes.set_title(title, loc="left")
        figure.legend(handles=_level_legend(diameters), loc="outside lower center", ncols=6)
        return figure


def _draw_positives(axes: Axes, anchors: Anchors, diameters: NDArray[np.float64]) -> None:
    """Ignored anchors' centers as gray crosses; of positives the box, thin, and the center."""
    centers = _middles(anchors["box"])
    x, y = centers[anchors["is_ignored"]].T
    axes.scatter(x, y, s=4, marker="x", color="#555555", linewidths=0.4, alpha=0.8)
    is_positive = anchors["matched"] >= 0
    colors = [_color(g) for g in anchors["matched"][is_positive]]
    corners = anchors["box"][is_positive][:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 5, 2)
    axes.add_collection(LineCollection(list(corners), colors=colors, linewidths=0.3, alpha=0.15))
    x, y = centers[is_positive].T
    sizes = diameters[anchors["level"][is_positive]] ** 2
    axes.scatter(x, y, s=sizes, c=colors, edgecolors="white", linewidths=0.4, zorder=3)


def _draw_object(axes: Axes, g: int, box: NDArray[np.float32], text: str) -> None:
    """A ground truth's box, and what it is called."""
    x1, y1, x2, y2 = box
    style: dict[str, Any] = {"fill": False, "zorder": 2}
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, ec="white", lw=2.2, **style))
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, ec=_color(g), lw=1.2, **style))
    label: dict[str, Any] = {"color": _color(g), "fontsize": 6, "path_effects": HALO, "zorder": 4}
    is_at_top = y1 < LABEL * (axes.get_ylim()[0] - axes.get_ylim()[1])
    label |= {"va": "top" if is_at_top else "bottom", "clip_on": True}
    axes.text(max(x1, 0), y1, text, **label)


def _color(g: int) -> str:
    return COLORS[g % len(COLORS)]


def _level_legend(diameters: NDArray[np.float64]) -> list[Line2D]:
    style: dict[str, Any] = {"ls": "", "color": "#444444"}
    dots = [
        Line2D([], [], marker="o", ms=diameter, mec="none", label=level, **style)
        for level, diameter in zip(LEVELS, diameters, strict=True)
    ]
    return [*dots, Line2D([], [], marker="x", ms=3, label="ignored", **style)]


def object_figure(picture: Picture, g: int) -> Figure:
    """One object: selections across, levels down, on each the level's locations around it."""
    num_positives = {
        name: np.bincount(anchors["level"][anchors["matched"] == g], minlength=len(LEVELS))
        for name, anchors in picture.anchors.items()
    }
    shown = np.flatnonzero(sum(num_positives.values())) if num_positives else np.arange(0)
    shown = np.arange(shown.min(), shown.max() + 1) if len(shown) else np.arange(1)
    view = _view(picture, g)
    cell = 1.55, 1.55 * (view[3] - view[1]) / (view[2] - view[0])
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(cell[0] * len(num_positives) + 0.3, cell[1] * len(shown) + 0.75))
        grid = figure.subplots(len(shown), len(num_positives), squeeze=False)
        for column, (name, anchors) in zip(grid.T, picture.anchors.items(), strict=True):
            column[0].set_title(f"{name}: {num_positives[name].sum()}")
            for axes, level in zip(column, shown.tolist(), strict=True):
                picture.show(axes, alpha=0.4)
                axes.set(xlim=(view[0], view[2]), ylim=(view[3], view[1]))
                _draw_locations(axes, anchors, level, g, picture.boxes[g])
        for axes, level in zip(grid[:, 0], shown.tolist(), strict=True):
            axes.set_ylabel(LEVELS[level], rotation=0, labelpad=10, va="center")
        _add_location_legend(figure)
        return figure


def _view(picture: Picture, g: int) -> NDArray[np.float32]:
    """The part of the image around an object that holds all of its positives' centers."""
    found = [picture.boxes[g]]
    for anchors in picture.anchors.values():
        middles = _middles(anchors["box"][anchors["matched"] == g])
        found += [np.concatenate([middle, middle]) for middle in middles]
    corners = np.stack(found)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    margin = 0.12 * (high - low).max() + 8
    end = [picture.width, picture.height]
    return np.concatenate([np.maximum(low - margin, 0), np.minimum(high + margin, end)])


def _draw_locations(
    axes: Axes, anchors: Anchors, level: int, g: int, box: NDArray[np.float32]
) -> None:
    """A level's locations, the object's box, and the anchor in its middle if that fits."""
    is_here = anchors["level"] == level
    boxes, matched = anchors["box"][is_here], anchors["matched"][is_here]
    centers = _middles(boxes)
    is_ignored, is_positive = anchors["is_ignored"][is_here], matched == g
    is_others = (matched >= 0) & ~is_positive
    kinds: list[tuple[NDArray[np.bool_], dict[str, Any]]] = [
        (~is_positive & ~is_others & ~is_ignored, NEGATIVE),
        (is_ignored, IGNORED),
        (is_others, OTHERS),
        (is_positive, POSITIVE),
    ]
    for which, style in kinds:
        axes.scatter(centers[which, 0], centers[which, 1], **style)
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=COLORS[0], lw=1.4))
    middle = np.abs(centers - [(x1 + x2) / 2, (y1 + y2) / 2]).sum(axis=1).argmin()
    x1, y1, x2, y2 = boxes[middle]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    if left <= x1 and x2 <= right and top <= y1 and y2 <= bottom:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **ANCHOR))
    text: dict[str, Any] = {"color": COLORS[1], "weight": "bold", "path_effects": HALO, "va": "top"}
    axes.text(0.03, 0.97, str(int(is_positive.sum())), transform=axes.transAxes, **text)


def _add_location_legend(figure: Figure) -> None:
    """With the very marks of the panels, an anchor box as a line."""
    kinds = {"positive": POSITIVE, "another's": OTHERS, "negative": NEGATIVE, "ignored": IGNORED}
    axes = figure.axes[0]
    handles: list[Any] = [axes.scatter([], [], label=name, **kinds[name]) for name in kinds]
    line = Line2D([], [], color=ANCHOR["ec"], lw=ANCHOR["lw"], ls=ANCHOR["ls"], label="an anchor")
    figure.legend(handles=[*handles, line], loc="outside lower center", ncols=5)


def candidates_figure(candidates: Mapping[str, Anchors], title: str) -> Figure:
    """One object's candidates, a panel per ATSS selection.

    candidates: columns [C]: level, iou, is_inside, threshold (of all the same).
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(candidates) + 0.4, 2.7))
        grid = figure.subplots(1, len(candidates), squeeze=False, sharey=True)
        for axes, (name, found) in zip(grid[0], candidates.items(), strict=True):
            _draw_candidates(axes, found)
            axes.set_title(name, loc="left")
        grid[0, 0].set_ylabel("IoU of the candidates")
        figure.suptitle(title, fontsize=8)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure


def _draw_candidates(axes: Axes, found: Anchors) -> None:
    """Dots by level, spread by rank so that equal IoUs are told apart; mean and threshold."""
    levels, iou = found["level"], found["iou"]
    threshold, mean = float(found["threshold"][0]), float(iou.mean())
    x = levels.astype(float)
    for level in np.unique(levels):
        mine = np.flatnonzero(levels == level)
        step = min(0.075, 0.7 / len(mine))
        x[mine[np.argsort(-iou[mine])]] += step * (np.arange(len(mine)) - (len(mine) - 1) / 2)
    is_high = iou >= threshold
    kinds: dict[str, tuple[NDArray[np.bool_], dict[str, Any]]] = {
        "positive": (is_high & found["is_inside"], {"color": COLORS[1], "marker": "o"}),
        "center outside": (is_high & ~found["is_inside"], {"color": COLORS[1], "marker": "x"}),
        "below": (~is_high, {"facecolors": "white", "edgecolors": "#777777", "marker": "o"}),
    }
    for label, (which, style) in kinds.items():
        axes.scatter(x[which], iou[which], s=14, linewidths=0.8, label=label, zorder=3, **style)
    for label, value, dashes in (("mean", mean, ":"), ("mean + std", threshold, "-")):
        axes.axhline(value, color=COLORS[0], lw=1.0, ls=dashes)
        axes.annotate(
            f"{label} {value:.3f}", (1, value), (0, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", color=COLORS[0], path_effects=HALO,
        )  # fmt: skip
    axes.set_xticks(range(len(LEVELS)), LEVELS)
    axes.set(xlim=(-0.5, len(LEVELS) - 0.5), ylim=(-0.02, None))
    axes.grid(visible=False, axis="x")


def _unframe(axes: Axes, color: str) -> None:
    axes.set(xticks=[], yticks=[], facecolor=color)
    axes.spines[:].set_visible(False)


def _middles(boxes: NDArray[Any]) -> NDArray[Any]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
