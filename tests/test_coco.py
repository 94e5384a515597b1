"""Data sets are found, checked and read; what is dropped is said."""

import json
import random
import struct
import zlib

import numpy as np
import pytest
import torch
from made_up_coco import annotation, content, write, write_both
from PIL import Image, ImageOps

from detector.data.coco import CocoDataset, open_data, open_split
from detector.data.images import opened, read_pixels
from detector.data.locate import coco_categories


@pytest.fixture
def written(tmp_path):
    """The folder of images and the file of annotations of content()."""
    return write(tmp_path, content())


def test_an_item_is_an_image_and_its_ground_truths(written):
    dataset = CocoDataset(*written)
    assert len(dataset) == 3
    assert (dataset.names, dataset.category_ids) == (["cat", "dog"], [3, 7])
    assert dataset.sizes == [(60, 40), (40, 60), (50, 50)]
    assert dataset.image_ids == [10, 20, 30]
    image, target = dataset[1]
    assert (image.dtype, image.shape) == (torch.uint8, (3, 60, 40))
    assert image[:, 7, 7].tolist() == [10, 100, 200]
    assert target["boxes"].tolist() == [[5, 5, 35, 55], [2, 40, 10, 49]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 0]
    assert [dataset.target(2)[name].shape for name in ("boxes", "labels")] == [(0, 4), (0,)]
    dataset.target(0)["boxes"].zero_()  # what one does to a target stays with oneself
    assert dataset.target(0)["boxes"].sum() > 0


def test_boxes_are_clipped_and_impossible_ones_dropped_and_counted(tmp_path):
    """All of that only to be learnt: evaluation has every box, and every crowd, as they were."""
    described = content()
    described["annotations"] += [
        annotation(6, 30, 3, [-5, 10, 20, 100], area=700),  # becomes 0 10 15 50
        annotation(7, 30, 3, [10, 10, 0, 5]),
        annotation(8, 30, 7, [50, 0, 10, 10]),  # begins where the image ends
        annotation(9, 30, 7, [-9, 3, 5, 5]),
        annotation(10, 30, 7, [9, 9, 1e-9, 5]),  # no side in fp32
    ]
    dataset = CocoDataset(*write(tmp_path, described))
    assert dataset.target(2)["boxes"].tolist() == [[0, 10, 15, 50]]
    assert [note.split(": ", 1)[1] for note in dataset.notes] == [
        "1 crowd regions are not learnt; evaluation ignores them",
        "2 boxes without area are not learnt",
        "2 boxes outside their images are not learnt",
        "1 boxes reach over their images' borders by more than 1 px: clipped",
    ]
    truth = dataset.ground_truth
    assert [item["id"] for item in truth["annotations"]] == list(range(1, 11))
    assert truth["annotations"][5] == described["annotations"][5] | {"iscrowd": 0}
    assert truth["annotations"][3]["iscrowd"] == 1
    assert truth["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert json.loads(json.dumps(truth)) == truth


def test_training_leaves_out_images_that_teach_nothing(tmp_path):
    described = content()
    for record in described["annotations"][1:3]:
        record["bbox"] = [4, 4, 1, 30]  # image 10: only slivers of a pixel, and a crowd
    dataset = CocoDataset(*write(tmp_path, described), skip_empty=True)
    assert dataset.image_ids == [20]
    assert dataset[0][1]["boxes"].shape == (2, 4)
    assert dataset.notes[-1].endswith(": 2 images without ground truth left out")
    assert {item["image_id"] for item in dataset.ground_truth["annotations"]} == {20}


# Images


def pils_pixels(path):
    """[3, H, W] RGB; None where PIL refuses the file."""
    try:
        return np.array(Image.open(path).convert("RGB")).transpose(2, 0, 1)
    except OSError:
        return None


KINDS = {  # mode, file, how it is saved
    **{mode: (mode, "a.tif", {}) for mode in ("L", "P", "CMYK", "RGBA", "1", "LA")},
    "transparent palette": ("P", "a.png", {"transparency": bytes([0, 90, 200])}),
    **{it: ("RGB", "a.jpg", {"subsampling": it}) for it in ("4:4:4", "4:2:2", "4:2:0")},
    "coarse": ("RGB", "a.jpg", {"quality": 30}),
    "progressive": ("RGB", "a.jpg", {"quality": 95, "progressive": True}),
    "gray JPEG": ("L", "a.jpg", {"quality": 95}),
    "CMYK JPEG": ("CMYK", "a.jpg", {"quality": 95}),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 48), (37, 51), (1, 1)])
def test_an_images_pixels_are_pils_to_the_bit(tmp_path, kind, size):
    (mode, name, how), (width, height) = KINDS[kind], size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / name, **how)
    found = read_pixels(tmp_path / name, size).numpy()
    assert np.array_equal(found, pils_pixels(tmp_path / name))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_damaged_jpeg_is_read_or_refused_as_by_pil(tmp_path, progressive):
    path, draw, seen = tmp_path / "a.jpg", random.Random(0), set()
    picture = Image.frombytes("RGB", (40, 40), draw.randbytes(40 * 40 * 3))
    picture.save(path, progressive=progressive)
    whole = path.read_bytes()
    start = whole.index(b"\xff\xda") + 20  # of the pixels; the header stays
    damaged = [bytearray(whole[:-cut]) for cut in (1, 2, 500)]
    for _ in range(60):
        damaged.append(bytearray(whole))
        for place in draw.sample(range(start, len(whole)), 3):
            damaged[-1][place] = draw.randrange(256)
    for data in damaged:
        path.write_bytes(data)
        expected = pils_pixels(path)
        seen.add(expected is None)
        if expected is None:
            with pytest.raises(ValueError, match="a.jpg: not readable as an image, which is"):
                read_pixels(path, (40, 40))
        else:
            assert np.array_equal(read_pixels(path, (40, 40)).numpy(), expected)
    assert seen == {False, True}


def deep_gray(path):
    Image.fromarray(np.full((40, 60), 40_000, dtype=np.uint16)).save(path)


def deep_color(path):
    """As its header says; PIL reads these by their high byte alone, and says nothing."""
    Image.new("RGB", (60, 40)).save(path)
    data = path.read_bytes()
    header = data[12:24] + bytes([16]) + data[25:29]  # the bits were 8
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])


def huge(path):
    """A whole image but for the size in its header, which a reader would reserve memory for."""
    Image.new("L", (60, 40)).save(path, format="GIF")
    data = path.read_bytes()
    path.write_bytes(data[:6] + struct.pack("<HH", 65_535, 65_535) + data[10:])


PROGRAM = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n"
UNFIT = {
    "16 bits": (deep_gray, "pixels of mode I;16B?, needs 8 bits"),
    "16 bits of colors": (deep_color, "pixels of mode RGB;16B, needs 8 bits"),
    "a program": (lambda path: path.write_bytes(PROGRAM), "not readable as an image"),
    "another size": (lambda path: Image.new("L", (40, 60)).save(path), "40 x 60 pixels, needs the"),
    "four billion pixels": (huge, "65535 x 65535 pixels, needs at most 268,435,456"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_image_is_refused_by_its_header_before_any_training_and_when_read(written, name):
    dataset = CocoDataset(*written)
    dataset.check_images()
    spoil, message = UNFIT[name]
    spoil(written[0] / "a.png")
    for read in (dataset.check_images, lambda: dataset[0]):
        with pytest.raises(ValueError, match=rf"a\.png: {message}") as raised:
            read()
        assert "\n" not in str(raised.value)


def save_turned(path, turn, size):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.effect_noise(size, 90).convert("RGB").save(path, exif=exif)


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_is_read_as_people_see_it(written, turn):
    """Whatever its EXIF orientation; here the annotated size is that of the turned image."""
    path = written[0] / "a.png"
    save_turned(path, turn, (60, 40) if turn < 5 else (40, 60))
    dataset = CocoDataset(*written)
    shown = ImageOps.exif_transpose(Image.open(path))
    assert np.array_equal(dataset[0][0].permute(1, 2, 0), shown)
    dataset.check_images()
    assert ("1 images are turned" in " ".join(dataset.notes)) == (turn > 1)


def test_stored_pixels_are_meant_where_the_size_is_theirs(written):
    save_turned(written[0] / "a.png", 6, (60, 40))
    dataset = CocoDataset(*written)
    assert dataset[0][0].shape == (3, 40, 60)
    dataset.check_images()
    assert "1 images have an EXIF orientation" in " ".join(dataset.notes)


def test_an_aerial_image_is_opened_without_a_warning(tmp_path, recwarn):
    Image.new("1", (14_000, 13_000)).save(tmp_path / "a.png")
    with opened(tmp_path / "a.png"):
        assert not recwarn.list


def test_images_outside_the_folder_are_refused(tmp_path):
    (images, file), described = write(tmp_path, content()), content()
    Image.new("RGB", (60, 40)).save(tmp_path / "secret.png")
    for name in ("../secret.png", "x/../../secret.png", str(tmp_path / "secret.png")):
        described["images"][0]["file_name"] = name
        file.write_text(json.dumps(described))
        with pytest.raises(ValueError, match="1 of 3 images lie outside"):
            CocoDataset(images, file)


def test_a_name_is_found_whatever_its_code_points(tmp_path):
    described = content()
    described["images"][0]["file_name"] = "caf\u00e9.png"
    images, file = write(tmp_path, described)
    (images / "caf\u00e9.png").rename(images / "caf\u0065\u0301.png")
    assert CocoDataset(images, file)[0][0].shape == (3, 40, 60)


def edited(edit):
    described = content()
    for one in described["annotations"]:
        edit(one)
    return described


CROWDS = edited(lambda one: one.update(iscrowd=1))
PARTS = edited(lambda one: one.update(bbox=[side / 100 for side in one["bbox"]]))
WOLVES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "wolf"}]
NO_USE = [  # of which split, and what is said
    ("train", PARTS, "all boxes lie between 0 and 1"),
    ("train", CROWDS, r"no image has a box to learn; .* \(of 5 boxes: 5 crowd regions"),
    ("val", CROWDS, "nothing can be measured .*5 crowd regions"),
    ("val", content() | {"annotations": []}, "nothing can be measured .*of 0"),
    ("val", content() | {"categories": WOLVES}, "_val.json: needs the categories of .*train.json"),
]


@pytest.mark.parametrize(("split", "described", "told"), NO_USE)
def test_what_can_give_no_number_is_refused_with_its_reason(tmp_path, split, described, told):
    with pytest.raises(ValueError, match=told):
        open_data(write_both(tmp_path, **{split: described}))


def test_what_is_odd_is_noted(tmp_path):
    described = edited(lambda one: one.update(area=100 * one["bbox"][2] * one["bbox"][3]))
    described["categories"].append({"id": 9, "name": "cat"})
    write_both(tmp_path, described, described)
    (tmp_path / "val" / "c.png").write_bytes(b"")
    data = open_data(tmp_path)
    assert data.notes == ("2 of 3 validation images are training images too",)
    assert "instances_val.json: 2 categories share a name" in data.val.notes
    assert "4 areas are more than twice their boxes'" in " ".join(data.val.notes)


def test_missing_images_are_counted_and_the_first_is_named(written):
    images, file = written
    (images / "b.png").unlink()
    (images / "c.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 images are missing, the first is b\.png"):
        CocoDataset(images, file)
    with pytest.raises(FileNotFoundError, match="no image folder .*elsewhere: .* 3 images there"):
        CocoDataset(images / "elsewhere", file)


# Opening


@pytest.mark.parametrize("images", ["images/train2017", "train"])
def test_a_folder_is_opened_by_the_usual_names(tmp_path, images):
    write(tmp_path, content(), "train2017")
    write(tmp_path, content(), "val")
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / images)
    data = open_data(str(tmp_path))
    assert data.name == tmp_path.name
    assert (len(data.train), len(data.val)) == (2, 3)  # training leaves out the empty image


def test_two_candidates_are_not_chosen_between_and_none_is_asked_for_by_name(tmp_path):
    with pytest.raises(ValueError, match="needs one annotations/instances_train.*json, found none"):
        open_data(tmp_path)
    write_both(tmp_path)
    (tmp_path / "val").rename(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"instances_val.json \(val, images/val\), found none"):
        open_data(tmp_path)
    (tmp_path / "images" / "train").mkdir(parents=True)
    told = r"image folder for .*_train.json \(train, images/train\), found train and images/train"
    with pytest.raises(ValueError, match=told):
        open_data(tmp_path)
    write(tmp_path, content(), "train2014")
    with pytest.raises(ValueError, match="found .*instances_train.json and .*_train2014.json"):
        open_data(tmp_path)


TOML = """
name = "pets"
[train]
images = "$PETS/train"
annotations = "$PETS/annotations/instances_train.json"
[val]
images = "pets/val"
annotations = "pets/annotations/instances_val.json"
"""


def test_a_toml_file_names_the_files(tmp_path, monkeypatch):
    (tmp_path / "data.toml").write_text(TOML, encoding="utf-8-sig")  # as some editors do
    folder = write_both(tmp_path / "pets")
    monkeypatch.setenv("PETS", str(folder))
    data = open_data(tmp_path / "data.toml")
    assert data.name == "pets"
    assert data.fingerprint == open_data(folder).fingerprint
    monkeypatch.delenv("PETS")
    told = r"set the environment variable PETS to the folder that .\$PETS/train. lies in"
    with pytest.raises(ValueError, match=told):
        open_data(tmp_path / "data.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "needs TOML"),
        ("[train]\nimages = 'a'\nannotations = 'b'", "needs .val. with .* got None"),
        ("[train]\nimages = 'a'\n[val]", "needs .train. with images = .* got {'images': 'a'}"),
        ("[train]\nimages = 3\nannotations = 'b'", "needs .train. with"),
    ],
)
def test_a_toml_file_that_says_too_little_is_refused(tmp_path, text, message):
    (tmp_path / "data.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path / "data.toml")


def test_coco_2017_is_where_coco_root_says_and_other_names_are_unknown(tmp_path, monkeypatch):
    for split in ("train2017", "val2017"):
        write(tmp_path, content(), split)
    monkeypatch.setenv("COCO_ROOT", str(tmp_path))
    data = open_data("coco2017")
    assert (data.name, len(data.val)) == ("coco2017 (another)", 3)  # known by its size
    assert any("not as many images as COCO 2017" in note for note in data.notes)
    monkeypatch.delenv("COCO_ROOT")
    with pytest.raises(ValueError, match=r"set the environment variable COCO_ROOT to the folder"):
        open_data("coco2017")
    with pytest.raises(FileNotFoundError, match="needs 'shapes', .*'coco2017', a folder or a"):
        open_data("coco2018")


# Fingerprints


def test_a_fingerprint_is_the_contents_not_the_places(tmp_path):
    one, other = write_both(tmp_path / "one"), write_both(tmp_path / "other")
    described = content() | {"info": {"year": 2020}}
    described["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    file = other / "annotations" / "instances_train.json"
    file.write_text(json.dumps(described, indent=2))
    found = open_data(one).fingerprint
    assert found == open_data(other).fingerprint and len(found) == 64


CHANGES = {
    "box": lambda one: one["annotations"][0]["bbox"].__setitem__(0, 5.01),
    "crowd": lambda one: one["annotations"][3].update(iscrowd=0),
    "area": lambda one: one["annotations"][0].update(area=9.0),
    "name": lambda one: one["images"][0].update(file_name="z.png"),
    "image": lambda one: None,
    "val": lambda one: one["annotations"].pop(),
    "order of classes": lambda one: [each.update(id=10 - each["id"]) for each in one["categories"]],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_fingerprint_changes_with_whatever_can_move_a_number(tmp_path, what):
    folder = write_both(tmp_path)
    before, described = open_data(folder).fingerprint, content()
    CHANGES[what](described)
    for split in {"val": ["val"], "order of classes": ["train", "val"]}.get(what, ["train"]):
        write(folder, described, split)
    if what == "image":
        Image.effect_noise((60, 40), 9).convert("RGB").save(folder / "train" / "a.png")
    assert open_data(folder).fingerprint != before


def test_a_split_of_any_name_is_opened_by_itself(tmp_path):
    write(tmp_path / "pets", content(), "test")
    name, dataset = open_split(tmp_path / "pets", "test")
    assert (name, len(dataset)) == ("pets", 3)  # with the image that shows nothing


def test_cocos_categories_are_80_with_gaps_in_their_ids():
    ids, names = coco_categories()
    assert list(ids) == sorted({*range(1, 91)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    assert len(set(names)) == 80 and names[ids.index(13)] == "stop sign"
