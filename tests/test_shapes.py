"""The embedded data set: the same pixels everywhere, tight boxes, nothing hidden, made once."""

import ast
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.random import PCG64, Generator

from detector.data import drawing, shapes
from detector.data.coco import open_data

# sha256 of pixels and boxes, before any JPEG library. Whoever changes what is drawn changes these,
# and raises shapes.VERSION.
DIGESTS = {
    ("shapes", "train"): "48f43995c84af3b5 df2ac4375cee892c 035b4a90a0d8f1b2 99794d3144627b20",
    ("shapes", "val"): "828aa665cdff83ef 5fa664874f497e03 4cf57c78fa0b44bd eb6a1f659237b66a",
    ("shapes-large", "train"): "2802789d72d479c3",
    ("shapes-large", "val"): "5ff789c716030c20 68f052750abb7846",
}
SEEDS = [seed for splits in shapes.EDITIONS.values() for _, seed in splits.values()]
TRAIN, VAL = SEEDS[:2]


@pytest.mark.parametrize(("name", "split"), DIGESTS)
def test_every_machine_draws_the_same(name, split):
    for index, expected in enumerate(DIGESTS[name, split].split()):
        pixels, objects = shapes.draw(shapes.EDITIONS[name][split][1], index)
        boxes = [shapes.annotation(item, 0, 0) for item in objects]
        found = hashlib.sha256(pixels.tobytes() + json.dumps(boxes).encode()).hexdigest()
        assert found[:16] == expected
    assert len(set(SEEDS)) == 4  # no image is in two sets


def test_drawing_uses_only_what_is_rounded_alike_everywhere():
    exact = {"sqrt", "clip", "floor", "where", "any", "flatnonzero", "arange", "array", "zeros"}
    plumbing = {"ascontiguousarray", "float32", "uint8", "int64", "bool_", "maximum", "minimum"}
    tree = ast.parse(Path(drawing.__file__).read_text(encoding="utf-8"))
    used = {
        (getattr(node.value, "id", ""), node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    assert {name for module, name in used if module == "np"} <= exact | plumbing
    assert {name for module, name in used if module == "rng"} <= {"random", "integers"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Pow | ast.MatMult)]
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    from_math = [name.name for node in imported if node.module == "math" for name in node.names]
    assert from_math == ["sqrt"]


def test_images_and_objects_are_as_many_as_large_and_as_long_as_intended():
    drawn = [shapes.draw(TRAIN, index) for index in range(120)]
    counts = Counter(image.shape for image, _ in drawn)
    assert counts == {(192, 256, 3): 60, (256, 192, 3): 30, (224, 224, 3): 30}
    assert all(image.dtype == np.uint8 and image.std() > 8 for image, _ in drawn)
    counts = [len(objects) for _, objects in drawn]
    assert (min(counts), max(counts)) == (1, 8)
    assert 2.5 < np.mean(counts) < 4
    sizes, ratios, labels = [], [], Counter()
    for image, objects in drawn:
        height, width = image.shape[:2]
        for item in objects:
            x1, y1, x2, y2 = item.box
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            sizes.append(((x2 - x1) * (y2 - y1) / height / width) ** 0.5)
            ratios.append((y2 - y1) / (x2 - x1))
            labels[item.label] += 1
    assert 0.02 < min(sizes) < 0.07 < 0.8 < max(sizes) < 1
    assert 0.25 < np.median(sizes) < 0.38 and 0.9 < np.median(ratios) < 1.4
    assert 0.1 < min(ratios) < 0.35 < 3 < max(ratios) < 8
    assert set(labels) == set(range(len(drawing.CLASSES)))  # equally frequent
    assert all(0.15 < count / labels.total() < 0.25 for count in labels.values())


def test_boxes_are_tight(monkeypatch):
    """One object on black: its box ends where its pixels do, also at the image's border."""
    monkeypatch.setattr(drawing, "OBJECT_COUNTS", ((0.0, 1.0), (1.0, 1.5)))
    monkeypatch.setattr(drawing, "TRUNCATED", 0.5)
    monkeypatch.setattr(drawing, "_background", lambda rng, h, w: np.zeros((h, w, 3), np.float32))
    monkeypatch.setattr(drawing, "_shade", lambda rng, name, p, q: np.ones((p + q).shape))
    monkeypatch.setattr(drawing, "_color", lambda rng, label: np.ones(3, np.float32))
    seen, truncated = set(), 0
    for seed in range(120):
        image, (item,) = drawing.draw(Generator(PCG64(seed)), 96, 128)
        white = image[..., 0]
        coverage = np.where(white == 255, 1.0, white / 114.75)  # a rim is 0.45 white
        ys, xs = np.nonzero(coverage > 0.2)
        found = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert np.abs(np.subtract(found, item.box)).max() < 1.6, (seed, item, found)
        seen.add(item.label)
        truncated += bool(np.equal(item.box, (0, 0, 128, 96)).any())
    assert len(seen) == 5
    assert truncated > 10


def test_no_object_is_hidden_by_later_ones(monkeypatch):
    painted: list[tuple[drawing.Object, np.ndarray]] = []
    paint = drawing._paint

    def record(rng, label, box, window):
        coverage, colors = paint(rng, label, box, window)
        mask = np.zeros((192, 256), dtype=bool)
        mask[window] = coverage > 0.5
        painted.append((drawing.Object(label, drawing._tight(box, window, coverage)), mask))
        return coverage, colors

    monkeypatch.setattr(drawing, "_paint", record)
    shares = []
    for seed in range(30):
        painted.clear()
        _, objects = drawing.draw(Generator(PCG64(seed)), 192, 256)
        masks = [next(mask for item, mask in painted if item == wanted) for wanted in objects]
        for place, mask in enumerate(masks):
            above = np.any([np.zeros_like(mask), *masks[place + 1 :]], axis=0)
            shares.append((mask & ~above).sum() / mask.sum())
    assert drawing.LEAST_VISIBLE <= min(shares) < 0.6  # some do overlap, and strongly
    assert np.mean(np.array(shares) < 1) > 0.2


# The files


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A cache of its own, and few images."""
    monkeypatch.setenv("ATSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(shapes.EDITIONS, "shapes", {"train": (5, TRAIN), "val": (3, VAL)})
    return tmp_path / "cache"


def test_shapes_open_like_any_data_set_whose_fingerprint_is_the_drawings(few, monkeypatch):
    data = open_data("shapes")
    assert (data.name, len(data.train), len(data.val)) == ("shapes", 5, 3)
    assert data.train.names == ["disk", "box", "triangle", "ring", "cross"]
    assert not set(data.train.image_ids) & set(data.val.image_ids)
    assert data.train.notes == []
    pixels, objects = shapes.draw(TRAIN, 1)
    image, target = data.train[1]
    assert np.allclose(target["boxes"].numpy(), [item.box for item in objects], atol=0.011)
    assert target["labels"].tolist() == [item.label for item in objects]
    error = np.abs(image.permute(1, 2, 0).numpy().astype(int) - pixels.astype(int))
    assert error.mean() < 6  # JPEG
    monkeypatch.setenv("ATSS_CACHE", str(few / "again"))
    monkeypatch.setattr(shapes, "JPEG_QUALITY", 50)  # as another library would write them
    assert open_data("shapes").fingerprint == data.fingerprint
    monkeypatch.setattr(shapes, "VERSION", 99)
    assert open_data("shapes").fingerprint != data.fingerprint


def test_an_interrupted_generation_leaves_nothing_and_the_slower_process_takes_the_fasters_images(
    few, monkeypatch
):
    write, faster = shapes._write, []

    def overtaken(folder, split, *how):
        write(folder, split, *how)
        if split == "val" and not faster:
            raise KeyboardInterrupt
        if split == "val":
            (few / "shapes-v1-5-3").mkdir()
            (few / "shapes-v1-5-3" / "faster").touch()

    monkeypatch.setattr(shapes, "_write", overtaken)
    with pytest.raises(KeyboardInterrupt):
        shapes.make("shapes")
    assert list(few.iterdir()) == []
    faster.append(True)
    folder = shapes.make("shapes")
    assert [path.name for path in folder.iterdir()] == ["faster"]
    assert list(few.iterdir()) == [folder]
    monkeypatch.setattr(shapes, "_write", None)  # images are drawn once
    assert shapes.make("shapes") == folder


def test_the_cache_is_where_people_keep_caches_or_what_is_wrong_with_it_is_said(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("ATSS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert shapes.cache() == Path.home() / ".cache" / "atss"
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert shapes.cache() == Path("/fast/atss")
    monkeypatch.setenv("ATSS_CACHE", "~/here")
    assert shapes.cache() == Path.home() / "here"
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATSS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="cannot be written .* set ATSS_CACHE to another folder"):
        shapes.make("shapes")
