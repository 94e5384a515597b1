"""Detections become COCO's results, and these become the six numbers."""

import pytest
import torch
from made_up_coco import RECIPE, content, write

from detector.data.coco import CocoDataset
from detector.data.transforms import Normalization
from detector.evaluation.detect import as_results, detect_all, measure, six
from detector.metrics import Metrics
from detector.weights.conventions import Layout


@pytest.fixture
def dataset(tmp_path):
    return CocoDataset(*write(tmp_path, content()))


class Oracle:
    """A detector that knows the data set and recognizes images by their size after resizing."""

    def __init__(self, dataset):
        self.dataset, self.seen = dataset, []

    def detect(self, images):
        assert not torch.is_grad_enabled()
        self.seen += images
        return [self._one(image) for image in images]

    def _one(self, image):
        height, width = image.shape[1:]
        ratios = [abs(w / h - width / height) for w, h in self.dataset.sizes]
        index = ratios.index(min(ratios))
        target, size = self.dataset.target(index), torch.tensor(self.dataset.sizes[index])
        scale = (torch.tensor([width, height]) / size).repeat(2)
        scores = torch.full((len(target["boxes"]),), 0.8)
        return {"boxes": target["boxes"] * scale, "scores": scores, "labels": target["labels"]}


def results(detector, dataset, **more):
    """Of all images, in one list."""
    parts = detect_all(detector, dataset, RECIPE, device="cpu", **more)
    return [item for part in parts for image in part for item in image]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_detector_that_knows_all_reaches_100(dataset, workers):
    oracle = Oracle(dataset)
    parts = list(detect_all(oracle, dataset, RECIPE, device="cpu", workers=workers))
    sizes = [tuple(image.shape[1:]) for image in oracle.seen]
    assert sizes == [(112, 75), (75, 112), (80, 80)]  # short side 80, long side at most 112
    assert [len(part) for part in parts] == [1, 1, 1]  # no two are padded alike
    found = [item for part in parts for image in part for item in image]
    numbers = six(measure(dataset.ground_truth, found)[0])
    assert numbers == Metrics(*[pytest.approx(100)] * 5, None)  # none is large


def test_boxes_are_scaled_back_clipped_and_rounded():
    """Here x is halved and y divided by 2.25; test_weights.py has corners that are included."""
    detections = {
        "boxes": torch.tensor([[20.0, 9, 41, 45], [-8, 0, 130, 89]]),
        "scores": torch.tensor([0.123456789, 0.5]),
        "labels": torch.tensor([1, 0]),
    }
    facts = {"image_id": 10, "category_ids": [3, 7], "size": (60, 40), "tested": (120, 90)}
    assert as_results(detections, **facts) == [
        {"image_id": 10, "category_id": 7, "bbox": [10, 4, 10.5, 16], "score": 0.123457},
        {"image_id": 10, "category_id": 3, "bbox": [0, 0, 60, 39.56], "score": 0.5},
    ]


def test_conventions_reach_the_detector_and_its_results(dataset):
    oracle = Oracle(dataset)
    raw = Normalization(mean=(0, 0, 0), std=(1, 1, 1), scale=1, channels=(2, 1, 0))
    layout = Layout(normalization=raw, inclusive_corners=True)
    found = results(oracle, dataset, layout=layout, category_ids=[30, 70])
    assert {item["category_id"] for item in found} == {30, 70}
    assert oracle.seen[1][:, 0, 0].tolist() == [200, 100, 0]  # the first image's, blue first
    for one, other in zip(found, results(Oracle(dataset), dataset), strict=True):
        assert one["bbox"][:2] == other["bbox"][:2]
        assert one["bbox"][2] > other["bbox"][2]  # the pixel that a resized one is larger by
