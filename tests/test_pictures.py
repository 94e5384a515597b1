"""Drawn boxes: where they are, in which color, with titles."""

import pytest
from PIL import Image, ImageChops, ImageColor

from orchestration.gallery import COLORS, LEAST_SIDE, beside, drawn

NAMES = {3: "cat", 7: "dog"}
GRAY = (128, 128, 128)
FIRST, SECOND = (ImageColor.getrgb(color) for color in COLORS[:2])  # of the two categories


def canvas(width: int = 700, height: int = 500) -> Image.Image:
    return Image.new("RGB", (width, height), GRAY)


def record(bbox: list[float], category: int = 7, **more: object) -> dict[str, object]:
    return {"bbox": bbox, "category_id": category, **more}


def test_a_box_is_drawn_on_its_sides_in_its_classs_color_on_a_copy() -> None:
    original = canvas()
    picture = drawn(original, [record([100, 200, 300, 150])], NAMES)
    for x, y in ((100, 250), (400, 250), (250, 350), (350, 200)):
        assert picture.getpixel((x, y)) == SECOND, (x, y)
    assert picture.getpixel((250, 300)) == GRAY
    assert ImageChops.difference(original, canvas()).getbbox() is None
    assert drawn(original, [], NAMES).size == original.size


def test_the_best_is_on_top() -> None:
    boxes = [record([100, 100, 200, 200], 3, score=0.9), record([100, 100, 200, 200], 7, score=0.4)]
    for order in (boxes, boxes[::-1]):
        assert drawn(canvas(), order, NAMES).getpixel((200, 300)) == FIRST


def test_a_small_image_is_enlarged_by_a_whole_factor_and_its_boxes_with_it() -> None:
    picture = drawn(canvas(100, 80), [record([10, 20, 50, 40])], NAMES)
    factor = picture.width // 100
    assert picture.size == (100 * factor, 80 * factor) and picture.width >= LEAST_SIDE - 100
    assert picture.getpixel((60 * factor, 50 * factor)) == SECOND


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (4000, 30)])
def test_odd_sizes_and_boxes_without_area_are_drawn(size: tuple[int, int]) -> None:
    boxes = [record([0, 0, 0, 0]), record([0, 0, *size], 3, iscrowd=1)]
    picture = drawn(canvas(*size), boxes, NAMES)
    assert picture.width % size[0] == 0
    sheet = beside([picture, picture], ("ground truth", "detections"))
    assert sheet.width > 2 * picture.width and sheet.height > picture.height


def test_titles_are_above_and_pictures_side_by_side() -> None:
    parts = [Image.new("RGB", (300, 200), (shade, 0, 0)) for shade in (10, 20, 30)]
    sheet = beside(parts, ("one", "two", "three"))
    bottom = [sheet.getpixel((x, sheet.height - 1))[0] for x in range(sheet.width)]
    assert [bottom.count(shade) for shade in (10, 20, 30)] == [300, 300, 300]
    title = sheet.crop((0, 0, sheet.width, sheet.height - 200))
    assert sum(1 for pixel in title.getdata() if pixel != (255, 255, 255)) > 20
