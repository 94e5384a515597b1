"""Drawn boxes: where they are, in which color, with labels that are seen and do not hide others."""

import pytest
from PIL import Image, ImageChops

from reports.pictures import COLORS, INK, LEAST_SIDE, _places, beside, drawn

NAMES = {3: "cat", 7: "dog"}
GRAY = (128, 128, 128)


def canvas(width: int = 700, height: int = 500) -> Image.Image:
    return Image.new("RGB", (width, height), GRAY)


def record(bbox: list[float], category: int = 7, **more: object) -> dict[str, object]:
    return {"bbox": bbox, "category_id": category, **more}


def test_a_box_is_drawn_on_its_sides_in_its_classs_color_between_ink() -> None:
    picture = drawn(canvas(), [record([100, 200, 300, 150])], NAMES)
    color = COLORS[1]  # the second category's
    for x, y in ((100, 250), (400, 250), (250, 350), (350, 200)):
        assert picture.getpixel((x, y)) == color, (x, y)
    column = [picture.getpixel((x, 300)) for x in range(90, 110)]
    first, last = column.index(INK), 19 - column[::-1].index(INK)
    assert set(column[first + 1 : last]) == {color} and set(column[:first]) == {GRAY}
    assert picture.getpixel((250, 275)) == GRAY


def test_the_original_is_left_as_it_is() -> None:
    original = canvas()
    drawn(original, [record([10, 10, 50, 50])], NAMES)
    assert ImageChops.difference(original, canvas()).getbbox() is None


@pytest.mark.parametrize("bbox", [[0, 0, 40, 40], [690, 0, 10, 10], [690, 490, 10, 10]])
def test_a_label_is_inside_the_picture_wherever_its_box_is(bbox: list[float]) -> None:
    ((x1, y1, x2, y2),) = _places(
        [(bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3])], [80.0], 16, 3, (700, 500)
    )
    assert 0 <= x1 < x2 <= 700 and 0 <= y1 < y2 <= 500 and x2 - x1 > 80 and y2 - y1 > 16


def test_labels_of_equal_boxes_do_not_hide_each_other() -> None:
    places = _places([(100, 100, 300, 300)] * 4, [80.0] * 4, 16, 3, (700, 500))
    for n, (_, top, _, bottom) in enumerate(places):
        for _, other_top, _, other_bottom in places[:n]:
            assert bottom <= other_top or other_bottom <= top
    assert places[0][3] <= 100  # the best keeps the usual place, above


def test_a_label_keeps_off_the_lines_of_other_boxes() -> None:
    inner = (200, 212, 400, 380)  # above it runs the other's upper side, inside it is room
    outer = (100, 200, 600, 480)
    places = _places([inner, outer], [80.0, 80.0], 16, 3, (700, 500))
    for x1, y1, x2, y2 in places:
        for left, top, right, bottom in (inner, outer):
            crosses_level = (
                any(y1 < side < y2 for side in (top, bottom)) and x1 < right and x2 > left
            )
            crosses_upright = any(x1 < side < x2 for side in (left, right)) and (
                y1 < bottom and y2 > top
            )
            assert not crosses_level and not crosses_upright


def test_as_many_pictures_as_there_are_stand_beside_each_other() -> None:
    parts = [Image.new("RGB", (100, 80), (shade, 0, 0)) for shade in (10, 20, 30)]
    sheet = beside(parts, ("one", "two", "three"))
    bottom = [sheet.getpixel((x, sheet.height - 1))[0] for x in range(sheet.width)]
    assert [bottom.count(shade) for shade in (10, 20, 30)] == [100, 100, 100]


def test_the_best_is_on_top() -> None:
    boxes = [record([100, 100, 200, 200], 3, score=0.9), record([100, 100, 200, 200], 7, score=0.4)]
    for order in (boxes, boxes[::-1]):
        assert drawn(canvas(), order, NAMES).getpixel((200, 300)) == COLORS[0]


def test_a_small_image_is_enlarged_by_a_whole_factor_and_its_boxes_with_it() -> None:
    picture = drawn(canvas(100, 80), [record([10, 20, 50, 40])], NAMES)
    factor = picture.width // 100
    assert picture.size == (100 * factor, 80 * factor) and picture.width >= LEAST_SIDE - 100
    assert picture.getpixel((60 * factor, 50 * factor)) == COLORS[1]


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (4000, 30)])
def test_odd_sizes_and_boxes_without_area_are_drawn(size: tuple[int, int]) -> None:
    boxes = [record([0, 0, 0, 0]), record([0, 0, *size], 3, iscrowd=1)]
    picture = drawn(canvas(*size), boxes, NAMES)
    assert picture.width % size[0] == 0
    sheet = beside([picture, picture], ("ground truth", "detections"))
    assert sheet.width > 2 * picture.width and sheet.height > picture.height


def test_titles_are_above_and_pictures_side_by_side() -> None:
    left, right = Image.new("RGB", (300, 200), (9, 0, 0)), Image.new("RGB", (300, 200), (0, 9, 0))
    sheet = beside([left, right], ("one", "two"))
    assert sheet.getpixel((0, sheet.height - 1)) == (9, 0, 0)
    assert sheet.getpixel((sheet.width - 1, sheet.height - 1)) == (0, 9, 0)
    title = sheet.crop((0, 0, sheet.width, sheet.height - 200))
    assert sum(1 for pixel in title.getdata() if pixel != (255, 255, 255)) > 20
