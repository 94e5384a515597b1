"""Drawn boxes, sheets of them beside each other, and those that a table's report shows."""

from dataclasses import replace

import pytest
from made_up_folder import finish_run, write_data
from PIL import Image, ImageChops, ImageColor

from experiments import TABLES
from orchestration.gallery import BEST, COLORS, WORST, beside, bring_gallery, drawn
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


@pytest.mark.parametrize("unit", [1, 10])
def test_a_box_is_drawn_on_its_sides_in_its_classs_color_on_a_copy(unit):
    """Which is larger than a small image, by a whole factor, and the box with it."""
    original = canvas(70 * unit, 50 * unit)
    picture = drawn(original, [record([10 * unit, 20 * unit, 30 * unit, 15 * unit])], NAMES)
    factor = {1: 9, 10: 10}[unit]
    assert picture.size == (70 * factor, 50 * factor)
    for x, y in ((10, 25), (40, 25), (25, 35), (35, 20)):
        assert picture.getpixel((x * factor, y * factor)) == SECOND, (x, y)
    assert picture.getpixel((25 * factor, 30 * factor)) == GRAY
    assert original.getcolors() == [(70 * unit * 50 * unit, GRAY)]


def test_the_best_is_on_top():
    box = [100, 100, 200, 200]
    records = [record(box, 3, score=0.9), record(box, 7, score=0.4)]
    for order in (records, records[::-1]):
        assert drawn(canvas(), order, NAMES).getpixel((200, 300)) == FIRST


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
        where = f"{label}, seed 0, among its {rank}: {image.id:03}.png"
        assert picture["caption"] == f"{where}, F1 {image.score:.0f} %, {found}"
        assert picture["alt"].startswith(f"{image.id:03}.png: ground truth on the left")
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
