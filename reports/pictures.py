"""Images with boxes on them: a color per class, the name and the score on a label of that color.

Boxes come as COCO's records, annotations or results: "bbox" [x, y, width, height] in pixels of the
image, "category_id", and perhaps "score" or "iscrowd".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = Image.Image
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Color = tuple[int, int, int]
Box = tuple[float, float, float, float]  # corners, in pixels of the drawn copy

# Okabe and Ito's, told apart by every kind of eye; without their black.
COLORS: tuple[Color, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
INK, PAPER = (20, 20, 20), (255, 255, 255)
BRIGHT = 0.45  # of a label: from here on its letters are ink
LEAST_SIDE = 640  # pixels of the longer side: smaller images are enlarged by a whole factor
LINE, TEXT = 1 / 240, 1 / 38  # widths of lines and heights of letters, of the mean side
LEAST_LINE, LEAST_TEXT = 2, 13  # pixels
HALO = 1  # pixels of ink on both sides of a line: it is seen on any ground


def drawn(
    picture: Picture, records: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> Picture:
    """A copy with the records' boxes, the best on top; names: category id -> name, all of them."""
    factor = max(1, round(LEAST_SIDE / max(picture.size)))
    copy = picture.convert("RGB").resize((picture.width * factor, picture.height * factor))
    canvas, side = ImageDraw.Draw(copy), sum(copy.size) / 2
    line = max(LEAST_LINE, round(LINE * side))
    height = max(LEAST_TEXT, round(TEXT * side))
    font = ImageFont.load_default(height)
    by_category = {number: COLORS[place % len(COLORS)] for place, number in enumerate(names)}
    records = sorted(records, key=lambda record: -record.get("score", 1.0))
    colors = [by_category[record["category_id"]] for record in records]
    boxes, texts = [], []
    for record in records:
        x, y, wide, high = (part * factor for part in record["bbox"])
        boxes.append((x, y, x + wide, y + high))
        sure = " (crowd)" if record.get("iscrowd") else ""
        sure = f" {record['score']:.2f}" if "score" in record else sure
        texts.append(names[record["category_id"]] + sure)
    for box, color in list(zip(boxes, colors, strict=True))[::-1]:
        _outline(canvas, box, color, line)
    places = _places(boxes, [font.getlength(text) for text in texts], height, line, copy.size)
    for (x1, y1, x2, y2), text, color in list(zip(places, texts, colors, strict=True))[::-1]:
        canvas.rectangle((x1, y1, x2, y2), fill=color)
        brightness = np.dot((0.299, 0.587, 0.114), color) / 255  # as the eye weighs its parts
        ink = INK if brightness > BRIGHT else PAPER
        canvas.text(((x1 + x2) / 2, (y1 + y2) / 2), text, ink, font, anchor="mm")
    return copy


def beside(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """Pictures of equal height beside each other, a title above each."""
    height = max(LEAST_TEXT, round(TEXT * sum(pictures[0].size) / 2))
    font = ImageFont.load_default(height)
    gap, top = round(height / 2), 2 * height
    starts = [sum(it.width + gap for it in pictures[:n]) for n in range(len(pictures) + 1)]
    sheet = Image.new("RGB", (starts[-1] - gap, top + pictures[0].height), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for x, picture, title in zip(starts, pictures, titles, strict=False):  # one start is the end
        sheet.paste(picture, (x, top))
        text = _shortened(title, font, picture.width - gap / 2)
        canvas.text((x + gap / 2, top / 2), text, INK, font, anchor="lm")
    return sheet


def _shortened(text: str, font: Font, width: float) -> str:
    """As much of a text as is no wider."""
    if font.getlength(text) <= width:
        return text
    fitting = (text[:end] + "…" for end in range(len(text), 0, -1))
    return next((part for part in fitting if font.getlength(part) <= width), "")


def _outline(canvas: ImageDraw.ImageDraw, box: Box, color: Color, width: int) -> None:
    """The box, its line centered on its sides, between two thin ones of ink."""
    x1, y1, x2, y2 = box
    for reach, thickness, ink in ((HALO, width + 2 * HALO, INK), (0, width, color)):
        out = width / 2 + reach
        around = (x1 - out, y1 - out, max(x2, x1 + 1) + out, max(y2, y1 + 1) + out)
        canvas.rectangle(around, outline=ink, width=thickness)


def _places(
    boxes: list[Box], lengths: list[float], height: float, line: int, size: tuple[int, int]
) -> list[Box]:
    """Where each box's label goes, the best's first: at one of its corners, outside or inside.

    There where it hides least of earlier labels and then of lines, its own box's among them.
    """
    half = np.array([-line, -line, line, line]) / 2
    x1, y1, x2, y2 = np.array(boxes).reshape(-1, 4).T
    ends = [(x1, y1, x2, y1), (x1, y2, x2, y2), (x1, y1, x1, y2), (x2, y1, x2, y2)]
    sides = np.concatenate([np.stack(end, axis=1) + half for end in ends])
    pad = max(2, round(height / 5))
    places: list[Box] = []
    for box, length in zip(boxes, lengths, strict=True):
        labels = np.array(places).reshape(-1, 4)
        high = round(height + 1.2 * pad)
        tries = _around(box, length + 2 * pad, high, line / 2 + HALO, size)
        places.append(min(tries, key=lambda place: (_hidden(place, labels), _hidden(place, sides))))
    return places


def _around(box: Box, wide: float, high: float, off: float, size: tuple[int, int]) -> list[Box]:
    """The places for a label of a box, from the usual one on, all inside the picture."""
    x1, y1, x2, y2 = box
    above, below, left, right = y1 - off - high, y2 + off, x1 - off, x2 + off - wide
    first, last, within, before = y1 + off, y2 - off - high, x1 + off, x2 - off - wide
    corners = [(left, above), (within, first), (left, below), (within, last)]
    corners += [(right, above), (before, first), (right, below), (before, last)]
    inside = [(x, y) for x, y in corners if 0 <= y <= size[1] - high] or [(x1, 0.0)]
    fitting = [(max(0.0, min(x, size[0] - wide)), y) for x, y in inside]
    return [(x, y, x + wide, y + high) for x, y in fitting]


def _hidden(place: Box, others: NDArray[np.float64]) -> float:
    """How many pixels of the others [N, 4] lie under a place."""
    low = np.maximum(place[:2], others[:, :2])
    high = np.minimum(place[2:], others[:, 2:])
    return float(np.maximum(high - low, 0).prod(axis=1).sum())
