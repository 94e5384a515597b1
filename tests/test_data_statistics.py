"""The figures by which the embedded data set is held against COCO."""

import json

import pytest
from made_up_coco import REAL, annotation, content, needs_real_images, write

from benchmarks.data_statistics import COCO, measure
from detector.data.coco import CocoDataset


def test_figures_of_a_small_data_set_are_those_one_counts(tmp_path):
    described = content()
    described["annotations"] = [
        annotation(1, 10, 3, [0, 0, 24, 25]),  # area 600 of 2400: half as long
        annotation(2, 10, 3, [0, 0, 12, 25]),  # IoU 0.5 with it
        annotation(3, 20, 7, [5, 5, 10, 40]),
    ]
    figures = measure(CocoDataset(*write(tmp_path, described)), short_side=160, long_side=256)
    assert figures["images"] == 3
    assert figures["landscape, %"] == pytest.approx(200 / 3)
    assert figures["objects per image"] == 1
    assert figures["relative size, %: quantile 95"] == pytest.approx(49, abs=1)
    assert figures["height / width: quantile 50"] == pytest.approx(25 / 12)
    assert figures["small, %"] == 100
    assert figures["IoU with another over 0.3, %"] == pytest.approx(200 / 3)
    assert figures["IoU with another over 0.5, %"] == 0
    assert figures["center in another's box, %"] == pytest.approx(100 / 3)
    assert figures["atss: objects without, %"] == 0


@needs_real_images
def test_cocos_figures_are_those_of_a_part_of_it_roughly(tmp_path):
    folder = REAL / "coco-tiny"
    described = json.loads((folder / "annotations" / "instances_val.json").read_text())
    described["images"] = described["images"][:30]
    kept = {image["id"] for image in described["images"]}
    described["annotations"] = [a for a in described["annotations"] if a["image_id"] in kept]
    (tmp_path / "part.json").write_text(json.dumps(described))
    part = CocoDataset(folder / "val", tmp_path / "part.json")
    figures = measure(part, short_side=800, long_side=1333)
    assert figures.keys() == COCO.keys()
    assert figures["atss: positives per object"] == pytest.approx(9.1, rel=0.1)
    assert figures["ssc: positives per object"] == pytest.approx(30, rel=0.2)
