"""Drawn boxes, sheets of them beside each other, and those that a table's report shows."""

from dataclasses import replace

import pytest
from made_up_folder import finish_run, write_data
from PIL import Image, ImageChops, ImageColor

from experiments import TABLES
from orchestration.gallery import BEST, COLORS, LEAST_SIDE, WORST, beside, bring_gallery, drawn
from orchestration.results import bundle
from orchestration.run_folder import Store, open_store
from reports import coco_bootstrap
from reports.site import gallery, gallery_folder, load_gallery

NAMES = {3: "cat", 7: "dog"}
GRAY = (128, 128, 128)
FIRST, SECOND = (ImageColor.getrgb(color) for color in COLORS[:2])  # of the two categories


def canvas(width: int = 700, height: int = 500) -> Image.Image:
    return Image.new("RGB", (width, height), GRAY)


def record(bbox: list[float], category: int = 7, **more: object) -> dict[str, object]:
    return {"bbox": bbox, "category_id": category, **more}


def test_a_box_is_drawn_on_its_sides_in_its_classs_color_on_a_copy():
    original = canvas()
    picture = drawn(original, [record([100, 200, 300, 150])], NAMES)
    for x, y in ((100, 250), (400, 250), (250, 350), (350, 200)):
        assert picture.getpixel((x, y)) == SECOND, (x, y)
    assert picture.getpixel((250, 300)) == GRAY
    assert ImageChops.difference(original, canvas()).getbbox() is None
    assert drawn(original, [], NAMES).size == original.size


def test_the_best_is_on_top():
    boxes = [record([100, 100, 200, 200], 3, score=0.9), record([100, 100, 200, 200], 7, score=0.4)]
    for order in (boxes, boxes[::-1]):
        assert drawn(canvas(), order, NAMES).getpixel((200, 300)) == FIRST


def test_a_small_image_is_enlarged_by_a_whole_factor_and_its_boxes_with_it():
    picture = drawn(canvas(100, 80), [record([10, 20, 50, 40])], NAMES)
    factor = picture.width // 100
    assert picture.size == (100 * factor, 80 * factor) and picture.width >= LEAST_SIDE - 100
    assert picture.getpixel((60 * factor, 50 * factor)) == SECOND


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (4000, 30)])
def test_odd_sizes_are_drawn_beside_each_other_below_their_titles(size):
    boxes = [record([0, 0, 0, 0]), record([0, 0, *size], 3, iscrowd=1)]
    picture = drawn(canvas(*size), boxes, NAMES)
    assert picture.width % size[0] == 0
    sheet = beside({"ground truth": picture, "detections": picture})
    head = sheet.height - picture.height
    assert sheet.width > 2 * picture.width and head > 0
    for left in (0, sheet.width - picture.width):
        part = sheet.crop((left, head, left + picture.width, sheet.height))
        assert ImageChops.difference(part, picture).getbbox() is None
    title = sheet.crop((0, 0, sheet.width, head))
    assert title.getcolors() != [(title.width * head, (255, 255, 255))] or picture.width < 10


def test_the_best_rows_images_are_shown_or_none_rather_than_old_ones(tmp_path, monkeypatch):
    """Three rows of Table 2, of which the third has the highest AP."""
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", 10)
    table, (data, setup) = TABLES["table2"], write_data(tmp_path / "pets", num_images=12)
    store = open_store(tmp_path / "out")
    for row, skill in zip(table.rows, (0.4, 0.3, 0.9), strict=False):
        finish_run(store, setup, row, data, seed=0, skill=skill)
    made, folder = bundle(store, setup, table, [0]), gallery_folder(tmp_path, "table2")
    bring_gallery(made, setup, store.folder, tmp_path)
    pictures, label = load_gallery(folder)["pictures"], table.rows[2].label
    insight = made.insights[made.signatures[label][0]]
    ranked = [(image, "best") for image in insight.best(BEST)]
    ranked += [(image, "worst") for image in insight.worst(WORST)]
    for (image, rank), picture in zip(ranked, pictures, strict=True):
        found = f"{image.found} of {image.num_truths} objects found, {image.false} false"
        name, score = f"{image.id:03}.png", f"F1 {image.score:.0f} %"
        assert picture["caption"] == f"{label}, seed 0, among its {rank}: {name}, {score}, {found}"
        sides = "ground truth on the left, detections on the right"
        assert picture["alt"] == f"{name}: {sides}. {found}."
        with Image.open(folder / picture["file"]) as sheet:
            assert sheet.width > 1.8 * sheet.height  # two square images
        assert (folder / picture["file"]).stat().st_size < 200_000
    parts = gallery(tmp_path, "table2")  # the page holds the pictures themselves
    assert len(parts) == BEST + WORST
    assert all('src="data:image/jpeg;base64,' in part and 'alt="' in part for part in parts)
    for lacking in (
        (replace(made, fingerprint="0" * 64), setup, store),
        (replace(made, insights={}), setup, store),
        (made, replace(setup, where=str(tmp_path / "nowhere")), store),
        (made, setup, Store(tmp_path / "elsewhere")),  # its runs may lack their detections
    ):
        bring_gallery(made, setup, store.folder, tmp_path)
        (folder / "mark").touch()
        bring_gallery(made, replace(setup, where="away"), store.folder, tmp_path)
        assert (folder / "mark").exists()  # what is there of this run is not drawn again
        (folder / pictures[0]["file"]).unlink()
        assert load_gallery(folder) == {} and gallery(tmp_path, "table2") == []
        bring_gallery(*lacking[:2], lacking[2].folder, tmp_path)
        assert not folder.exists() and gallery(tmp_path, "table2") == []
