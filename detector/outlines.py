"""Distances inside the outlines of drawn shapes, from which drawing.py computes what a pixel shows.

The arithmetic is drawing.py's: + - * / sqrt and comparisons, the same on every CPU.

Shapes: a window of pixels is [h, w]; x is [1, w] and y is [h, 1], in pixels; p and q the same from
-1 to 1 over the shape's box. A box is xyxy. Distances are positive inside and negative outside.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane = NDArray[Any]  # float32
Box = tuple[float, float, float, float]
Polygon = list[tuple[float, float]]  # convex

TINY = 1e-6  # keeps a quotient finite at an ellipse's center


def between(rng: Generator, low: float, high: float) -> float:
    """A uniform number; Generator.uniform could round differently where a CPU fuses its product."""
    return low + (high - low) * rng.random()


def in_ellipse(p: Plane, q: Plane, width: float, height: float, lean: float) -> Plane:
    """[h, w]: distance to the ellipse that touches all four sides of its box, to first order.

    lean in -1..1 turns it towards a diagonal: p^2 - 2 lean p q + q^2 = 1 - lean^2.
    """
    rest = 1 - lean * lean
    radius = np.sqrt((p * p - 2 * lean * p * q + q * q) / rest)  # 1 on the outline
    slope_x, slope_y = (p - lean * q) * 4 / (rest * width), (q - lean * p) * 4 / (rest * height)
    slope = np.sqrt(slope_x * slope_x + slope_y * slope_y)  # of radius^2, per pixel
    return (1 - radius) * (2 * radius + TINY) / (slope + TINY)


def in_polygons(x: Plane, y: Plane, polygons: list[Polygon]) -> Plane:
    """[h, w]: distance to the nearest edge of the polygon one is deepest in."""
    return np.maximum.reduce([_in_polygon(x, y, polygon) for polygon in polygons])


def _in_polygon(x: Plane, y: Plane, polygon: Polygon) -> Plane:
    (ax, ay), (bx, by), (cx, cy) = polygon[:3]
    turn = 1 if (bx - ax) * (cy - ay) > (by - ay) * (cx - ax) else -1
    edges = []
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        length = turn * sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0))
        normal_x, normal_y = (y0 - y1) / length, (x1 - x0) / length
        edges.append((x - x0) * normal_x + (y - y0) * normal_y)
    return np.minimum.reduce(edges)


def triangle(rng: Generator) -> list[Polygon]:
    """Upright, its tip anywhere over the middle of its base."""
    return [[(-1.0, 1.0), (1.0, 1.0), (between(rng, -0.6, 0.6), -1.0)]]


def rectangle() -> list[Polygon]:
    """The whole of its box."""
    return [_bar(1.0, 1.0)]


def cross(rng: Generator) -> list[Polygon]:
    """Two bars."""
    arm = between(rng, 0.26, 0.36)
    return [_bar(1.0, arm), _bar(arm, 1.0)]


def _bar(half_width: float, half_height: float) -> Polygon:
    w, h = half_width, half_height
    return [(-w, -h), (w, -h), (w, h), (-w, h)]


def tilt(rng: Generator, polygons: list[Polygon]) -> list[Polygon]:
    """Turn polygons by up to 20 degrees either way."""
    lean = between(rng, -0.36, 0.36)  # the angle's tangent
    length = sqrt(1 + lean * lean)
    cos, sin = 1 / length, lean / length
    return [[(cos * x - sin * y, sin * x + cos * y) for x, y in polygon] for polygon in polygons]


def fit(polygons: list[Polygon], box: Box) -> list[Polygon]:
    """Stretch polygons so that together they touch all four sides of a box."""
    xs, ys = zip(*(point for polygon in polygons for point in polygon), strict=True)
    left, top = min(xs), min(ys)
    x_scale = (box[2] - box[0]) / (max(xs) - left)
    y_scale = (box[3] - box[1]) / (max(ys) - top)
    return [
        [(box[0] + (x - left) * x_scale, box[1] + (y - top) * y_scale) for x, y in polygon]
        for polygon in polygons
    ]
