"""The figures by which the embedded data set is held against COCO."""

import pytest
from made_up_coco import annotation, content, write

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
    assert figures["atss: objects without, %"] == 0 and figures.keys() == COCO.keys()
