"""The embedded data set: the same pixels and boxes everywhere, made once."""

import ast
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

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


EXACT = {"sqrt", "clip", "floor", "where", "any", "flatnonzero", "arange", "array", "zeros"}
EXACT |= {"ascontiguousarray", "float32", "uint8", "int64", "bool_", "maximum", "minimum"}


def test_drawing_uses_only_what_is_rounded_alike_everywhere():
    text = Path(drawing.__file__).read_text(encoding="utf-8")
    assert {*re.findall(r"\bnp\.(\w+)", text)} <= EXACT
    assert {*re.findall(r"\brng\.(\w+)", text)} <= {"random", "integers"}
    assert re.findall("from math import (.+)", text) == ["sqrt"]
    assert not [it for it in ast.walk(ast.parse(text)) if isinstance(it, ast.Pow | ast.MatMult)]


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


def test_an_interrupted_generation_leaves_nothing_and_the_faster_process_wins(few, monkeypatch):
    def interrupted(whole, *how):
        whole.mkdir(parents=True)
        raise KeyboardInterrupt

    def overtaken(whole, *how):
        whole.mkdir(exist_ok=True)
        (few / "shapes-v1-5-3" / "faster").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(shapes, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes.make("shapes")
    assert list(few.iterdir()) == []
    monkeypatch.setattr(shapes, "_write", overtaken)
    folder = shapes.make("shapes")
    assert [path.name for path in folder.iterdir()] == ["faster"]
    assert list(few.iterdir()) == [folder]
    monkeypatch.setattr(shapes, "_write", None)  # images are drawn once
    assert shapes.make("shapes") == folder


def test_the_cache_is_where_people_keep_caches_or_said_to_be_none(tmp_path, monkeypatch):
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
