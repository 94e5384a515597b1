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
    canvas = ImageDraw.Draw(copy)
    side = sum(copy.size) / 2
    width = max(LEAST_LINE, round(LINE * side))
    height = max(LEAST_TEXT, round(TEXT * side))
    font = ImageFont.load_default(height)
    colors = {number: COLORS[place % len(COLORS)] for place, number in enumerate(names)}
    ordered = sorted(records, key=lambda record: -record.get("score", 1.0))
    boxes = [_corners(record["bbox"], factor) for record in ordered]
    marked = [
        (box, colors[record["category_id"]]) for box, record in zip(boxes, ordered, strict=True)
    ]
    for box, color in reversed(marked):
        _outline(canvas, box, color, width)
    texts = [_text(record, names) for record in ordered]
    places = _places(boxes, [font.getlength(text) for text in texts], height, width, copy.size)
    for place, text, (_, color) in reversed(list(zip(places, texts, marked, strict=True))):
        canvas.rectangle(place, fill=color)
        ink = INK if _brightness(color) > BRIGHT else PAPER
        at = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        canvas.text(at, text, ink, font, anchor="mm")
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


def _corners(bbox: Sequence[float], factor: int) -> Box:
    x, y, width, height = (side * factor for side in bbox)
    return x, y, x + width, y + height


def _text(record: Mapping[str, Any], names: Mapping[int, str]) -> str:
    name = names[record["category_id"]]
    if "score" in record:
        return f"{name} {record['score']:.2f}"
    return f"{name} (crowd)" if record.get("iscrowd") else name


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
    sides = np.array([side for box in boxes for side in _sides(box, line / 2)]).reshape(-1, 4)
    places: list[Box] = []
    pad = max(2, round(height / 5))
    high = round(height + 1.2 * pad)
    for box, length in zip(boxes, lengths, strict=True):
        labels = np.array(places).reshape(-1, 4)
        tries = _around(box, length + 2 * pad, high, line / 2 + HALO, size)
        places.append(min(tries, key=lambda place: (_hidden(place, labels), _hidden(place, sides))))
    return places


def _around(box: Box, wide: float, high: float, off: float, size: tuple[int, int]) -> list[Box]:
    """The places for a label of a box, from the usual one on, all inside the picture."""
    x1, y1, x2, y2 = box
    corners = [
        *((x1 - off, y1 - off - high), (x1 + off, y1 + off)),
        *((x1 - off, y2 + off), (x1 + off, y2 - off - high)),
        *((x2 + off - wide, y1 - off - high), (x2 - off - wide, y1 + off)),
        *((x2 + off - wide, y2 + off), (x2 - off - wide, y2 - off - high)),
    ]
    inside = [(x, y) for x, y in corners if 0 <= y <= size[1] - high] or [(x1, 0.0)]
    fitting = [(max(0.0, min(x, size[0] - wide)), y) for x, y in inside]
    return [(x, y, x + wide, y + high) for x, y in fitting]


def _sides(box: Box, half: float) -> list[Box]:
    """The four lines of a box, as boxes."""
    x1, y1, x2, y2 = box
    ends = [(x1, y1, x2, y1), (x1, y2, x2, y2), (x1, y1, x1, y2), (x2, y1, x2, y2)]
    return [(a - half, b - half, c + half, d + half) for a, b, c, d in ends]


def _hidden(place: Box, others: NDArray[np.float64]) -> float:
    """How many pixels of the others [N, 4] lie under a place."""
    low = np.maximum(place[:2], others[:, :2])
    high = np.minimum(place[2:], others[:, 2:])
    return float(np.maximum(high - low, 0).prod(axis=1).sum())


def _brightness(color: Color) -> float:
    """Of a color, from 0 to 1, as the eye weighs its parts."""
    return (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255
