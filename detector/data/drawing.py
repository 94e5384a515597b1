"""How the embedded data set is drawn: a textured background and overlapping shapes on it.

Every CPU must draw the same pixels. So random numbers come from PCG64 as integers and uniform
floats only, directions are normalized vectors, and arithmetic is + - * / sqrt and comparisons,
element by element: these are exactly rounded everywhere; sin, exp and float sums are not.

Convention: pixel (i, j) covers [j, j + 1] x [i, i + 1]; a box is xyxy in pixels. An image is
float32 [H, W, 3] in 0..1 while it is drawn; a window of it is [h, w], with x as [1, w] and y as
[h, 1] in pixels, and p and q the same from -1 to 1 over the shape's box. Distances to an outline
are positive inside and negative outside.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[Any]  # float32 [H, W, 3]
Plane = NDArray[Any]  # float32 [h, w], [1, w] or [h, 1]
Box = tuple[float, float, float, float]
Polygon = list[tuple[float, float]]  # convex
Window = tuple[slice, slice]  # rows and columns of an image
Quantiles = tuple[tuple[float, float], ...]  # a distribution as (quantile, value), linear between

CLASSES = ("disk", "box", "triangle", "ring", "cross")
# Each class's typical color; an object departs from it towards any other by COLOR_JITTER at most.
COLORS = ((0.95, 0.2, 0.1), (0.1, 0.35, 1.0), (0.15, 0.8, 0.2), (1.0, 0.85, 0.1), (0.8, 0.2, 0.9))
COLOR_JITTER = 0.25

# COCO's spread (python -m benchmarks.data_statistics), from tiny to the whole image, but larger and
# fewer objects: a network must learn them in minutes on a CPU.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Root of the box's area, over the root of the image's; height / width.
RELATIVE_SIZES = tuple(zip(QUANTILES, (0.04, 0.09, 0.21, 0.32, 0.46, 0.75, 0.95), strict=True))
ASPECT_RATIOS = tuple(zip(QUANTILES, (0.25, 0.36, 0.74, 1.12, 1.75, 3.1, 4.0), strict=True))
OBJECT_COUNTS = ((0.0, 1.0), (0.25, 2.0), (0.5, 3.2), (0.75, 5.0), (1.0, 9.0))  # rounded down
TRUNCATED = 0.15  # share of objects that may reach over the image's border ...
OVERHANG = 0.4  # ... by this share of a side at most
LEAST_VISIBLE = 0.4  # share of an object that later ones must leave visible
TRIES = 8  # places tried for an object before it is given up

TEXTURE = ((128, 0.2), (64, 0.1), (32, 0.06), (16, 0.04), (6, 0.03))  # cell in pixels, amplitude
TINY = 1e-6  # keeps a quotient finite at an ellipse's center
STROKES = 3  # at most, on a background: lines that are no object


@dataclass(frozen=True)
class Object:
    """A drawn object: its class (index in CLASSES) and the tight box of its part in the image."""

    label: int
    box: Box


def draw(rng: Generator, height: int, width: int) -> tuple[NDArray[np.uint8], list[Object]]:
    """An image [H, W, 3] and its objects, at least one, from the largest to the smallest.

    A box is that of the object's whole outline inside the image: what later objects hide belongs
    to it, as in COCO. One that would hide too much of an earlier one is tried elsewhere.
    """
    image = _background(rng, height, width)
    sizes = [_size(rng, height, width) for _ in range(int(_pick(rng, OBJECT_COUNTS)))]
    objects: list[Object] = []
    visible: list[tuple[Plane, int]] = []  # [H, W] what is left of each, and its pixels at first
    for size in sorted(sizes, key=lambda size: -size[0] * size[1]):
        for _ in range(TRIES):
            label = int(rng.integers(len(CLASSES)))
            box = _place(rng, size, height, width)
            window = _window(box, height, width)
            coverage, colors = _paint(rng, label, box, window)
            mask = np.zeros((height, width), dtype=bool)
            mask[window] = coverage > 0.5
            left = [(seen & ~mask, full) for seen, full in visible]
            if mask.any() and all(seen.sum() >= LEAST_VISIBLE * full for seen, full in left):
                visible = [*left, (mask, int(mask.sum()))]
                image[window] += coverage[..., None] * (colors - image[window])
                objects.append(Object(label, _tight(box, window, coverage)))
                break
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), objects


# Random numbers


def _between(rng: Generator, low: float, high: float) -> float:
    """A uniform number; Generator.uniform could round differently where a CPU fuses its product."""
    return low + (high - low) * rng.random()


def _pick(rng: Generator, quantiles: Quantiles) -> float:
    u = rng.random()
    for (u0, low), (u1, high) in zip(quantiles, quantiles[1:], strict=False):
        if u < u1:
            return low + (high - low) * ((u - u0) / (u1 - u0))
    raise AssertionError("the last quantile is 1")


def _direction(rng: Generator) -> tuple[float, float]:
    """A unit vector, uniform over the circle: a point of the disk, normalized."""
    while True:
        x, y = _between(rng, -1, 1), _between(rng, -1, 1)
        square = x * x + y * y
        if 0.01 < square < 1:
            return x / sqrt(square), y / sqrt(square)


def _any_color(rng: Generator) -> Plane:
    return rng.random(3, dtype=np.float32)


# Background


def _background(rng: Generator, height: int, width: int) -> Image:
    """Smooth noise of several scales over a muted color, and strokes that are no object."""
    base = _between(rng, 0.1, 0.6) + 0.3 * _any_color(rng)
    planes = np.zeros((3, height, width), dtype=np.float32) + base[:, None, None]
    strength = _between(rng, 0.35, 1.0)
    for cell, amplitude in TEXTURE:
        planes += _noise(rng, height, width, cell, strength * amplitude)
    image = np.ascontiguousarray(planes.transpose(1, 2, 0))
    for _ in range(int(rng.integers(STROKES + 1))):
        _stroke(rng, image)
    return image


def _noise(rng: Generator, height: int, width: int, cell: int, amplitude: float) -> Plane:
    """[3, H, W]: random gray and half as much color on a grid of cells, linear in between."""
    shape = (height // cell + 3, width // cell + 3)
    gray, color = rng.random(shape, dtype=np.float32), rng.random((3, *shape), dtype=np.float32)
    grid = amplitude * ((2 * gray - 1) + (color - 0.5))
    for length in (width, height):
        at = np.arange(length) + int(rng.integers(cell))  # from a random start inside a cell
        share = (at % cell).astype(np.float32) / cell
        low, high = grid[..., at // cell], grid[..., at // cell + 1]
        grid = (low + share * (high - low)).swapaxes(1, 2)
    return grid


def _stroke(rng: Generator, image: Image) -> None:
    """Draw a thin line somewhere across the image, a little transparent."""
    height, width = image.shape[:2]
    (x, y), (dx, dy) = (_between(rng, 0, width), _between(rng, 0, height)), _direction(rng)
    length = _between(rng, 0.1, 0.5) * width
    ends = (x, x + dx * length), (y, y + dy * length)
    box = (min(ends[0]) - 3, min(ends[1]) - 3, max(ends[0]) + 3, max(ends[1]) + 3)
    window = _window(box, height, width)
    columns, rows = _pixel_centers(window)
    along = np.clip((columns - x) * dx + (rows - y) * dy, 0, length)
    across_x, across_y = columns - x - along * dx, rows - y - along * dy
    distance = np.sqrt(across_x * across_x + across_y * across_y)
    coverage = np.clip(_between(rng, 0.9, 2.1) - distance, 0, 1) * 0.8
    image[window] += coverage[..., None] * (_any_color(rng) - image[window])


# Objects


def _size(rng: Generator, height: int, width: int) -> tuple[float, float]:
    """(width, height) of an object's box, which fits into the image."""
    side = _pick(rng, RELATIVE_SIZES) * sqrt(height * width)
    w = min(side / sqrt(_pick(rng, ASPECT_RATIOS)), 0.96 * width)
    return w, min(side * side / w, 0.96 * height)


def _place(rng: Generator, size: tuple[float, float], height: int, width: int) -> Box:
    over = OVERHANG if rng.random() < TRUNCATED else 0.0
    w, h = size
    x = _between(rng, -over * w, width - w + over * w)
    y = _between(rng, -over * h, height - h + over * h)
    return x, y, x + w, y + h


def _window(box: Box, height: int, width: int) -> Window:
    """The pixels a box touches, with a margin of one, inside the image."""
    x1, y1, x2, y2 = (int(side) for side in box)
    rows = slice(max(0, y1 - 1), max(0, min(height, y2 + 2)))
    return rows, slice(max(0, x1 - 1), max(0, min(width, x2 + 2)))


def _pixel_centers(window: Window) -> tuple[Plane, Plane]:
    """x [1, w] and y [h, 1]."""
    rows, columns = (np.arange(part.start, part.stop) for part in window)
    return columns.astype(np.float32)[None] + 0.5, rows.astype(np.float32)[:, None] + 0.5


def _tight(box: Box, window: Window, coverage: Plane) -> Box:
    """The outline's box, or that of the pixels drawn where the image's border cuts the outline."""
    rows = np.flatnonzero((coverage > 0).any(axis=1)) + window[0].start
    columns = np.flatnonzero((coverage > 0).any(axis=0)) + window[1].start
    x1, y1, x2, y2 = box
    top, left = max(y1, float(rows[0])), max(x1, float(columns[0]))
    return left, top, min(x2, float(columns[-1] + 1)), min(y2, float(rows[-1] + 1))


def _paint(rng: Generator, label: int, box: Box, window: Window) -> tuple[Plane, Image]:
    """How much of each pixel an object covers [h, w], and its colors there [h, w, 3]."""
    name = CLASSES[label]
    x, y = _pixel_centers(window)
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    p, q = (2 * x - x1 - x2) / w, (2 * y - y1 - y2) / h
    if name in ("disk", "ring"):
        depth = _in_ellipse(p, q, w, h, lean=_between(rng, -0.5, 0.5))
    else:  # a pixel is as deep as in the polygon that it is deepest in
        polygons = _polygons(rng, name, box)
        depth = np.maximum.reduce([_in_polygon(x, y, polygon) for polygon in polygons])
    rim = min(max(1.0, min(w, h) / 20), 3.0)
    if name == "ring":
        thickness = max(1.3, min(w, h) * _between(rng, 0.14, 0.24))
        depth = np.minimum(depth, thickness - depth)
        rim = min(rim, thickness / 4)
    coverage = np.clip(depth + 0.5, 0, 1)
    shade = _shade(rng, name, p, q)
    shade = np.where(depth < rim, 0.45 * shade, shade)  # parts like from like
    return coverage, shade[..., None] * _color(rng, label)


def _color(rng: Generator, label: int) -> Plane:
    jitter, brightness = COLOR_JITTER * rng.random(), _between(rng, 0.75, 1.1)
    typical = np.array(COLORS[label], dtype=np.float32)
    return brightness * (typical + jitter * (_any_color(rng) - typical))


def _shade(rng: Generator, name: str, p: Plane, q: Plane) -> Plane:
    """Brightness over an object: a ball for a disk, stripes on a box, a slope on the others."""
    dx, dy = _direction(rng)
    slope = dx * p + dy * q  # -1.4 .. 1.4 [h, w]
    if name == "disk":
        return 1.15 - 0.3 * (p * p + q * q) + 0.15 * slope
    if name == "box":
        stripe = slope * _between(rng, 1.5, 3.0) + 16
        is_light = (stripe - np.floor(stripe) < 0.5).astype(np.float32)
        return 0.8 + 0.35 * is_light
    return 1 + 0.2 * slope


def _in_ellipse(p: Plane, q: Plane, width: float, height: float, lean: float) -> Plane:
    """[h, w]: distance to the ellipse that touches all four sides of its box, to first order.

    lean in -1..1 turns it towards a diagonal: p^2 - 2 lean p q + q^2 = 1 - lean^2.
    """
    rest = 1 - lean * lean
    radius = np.sqrt((p * p - 2 * lean * p * q + q * q) / rest)  # 1 on the outline
    slope_x, slope_y = (p - lean * q) * 4 / (rest * width), (q - lean * p) * 4 / (rest * height)
    slope = np.sqrt(slope_x * slope_x + slope_y * slope_y)  # of radius^2, per pixel
    return (1 - radius) * (2 * radius + TINY) / (slope + TINY)


def _in_polygon(x: Plane, y: Plane, polygon: Polygon) -> Plane:
    """[h, w]: distance to the nearest edge."""
    (ax, ay), (bx, by), (cx, cy) = polygon[:3]
    turn = 1 if (bx - ax) * (cy - ay) > (by - ay) * (cx - ax) else -1
    edges = []
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        length = turn * sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0))
        normal_x, normal_y = (y0 - y1) / length, (x1 - x0) / length
        edges.append((x - x0) * normal_x + (y - y0) * normal_y)
    return np.minimum.reduce(edges)


def _polygons(rng: Generator, name: str, box: Box) -> list[Polygon]:
    """A class's outline: all of its box, or a triangle, or the two bars of a cross.

    Turned by up to 20 degrees either way, and stretched to touch all four sides of the box.
    """
    if name == "triangle":  # its tip anywhere over the middle of its base
        polygons = [[(-1.0, 1.0), (1.0, 1.0), (_between(rng, -0.6, 0.6), -1.0)]]
    else:
        arm = 1.0 if name == "box" else _between(rng, 0.26, 0.36)
        bars = [(1.0, arm), (arm, 1.0)][: 1 if name == "box" else 2]
        polygons = [[(-w, -h), (w, -h), (w, h), (-w, h)] for w, h in bars]
    lean = _between(rng, -0.36, 0.36)  # the angle's tangent
    length = sqrt(1 + lean * lean)
    cos, sin = 1 / length, lean / length
    turned = [[(cos * x - sin * y, sin * x + cos * y) for x, y in polygon] for polygon in polygons]
    xs, ys = zip(*(point for polygon in turned for point in polygon), strict=True)
    left, top, (x1, y1, x2, y2) = min(xs), min(ys), box
    x_scale, y_scale = (x2 - x1) / (max(xs) - left), (y2 - y1) / (max(ys) - top)
    return [
        [(x1 + (x - left) * x_scale, y1 + (y - top) * y_scale) for x, y in polygon]
        for polygon in turned
    ]
