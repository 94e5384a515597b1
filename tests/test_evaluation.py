"""Detections become COCO's results, and these become the six numbers."""

import pytest
import torch
from made_up_coco import RECIPE, content, write

from detector.data.coco import CocoDataset
from detector.data.transforms import Normalization
from detector.evaluation.detect import as_results, detect_all, detect_one, measure, six
from detector.metrics import Metrics
from detector.weights.conventions import Layout


@pytest.fixture
def dataset(tmp_path):
    return CocoDataset(*write(tmp_path, content()))


def found(image, category, bbox, score=0.9):
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


class Oracle:
    """A detector that knows the data set and recognizes images by their size after resizing."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.seen: list[tuple[int, int]] = []
        self.colors: list[list[float]] = []

    def detect(self, images):
        assert not torch.is_grad_enabled()
        self.seen += [(image.shape[1], image.shape[2]) for image in images]
        self.colors += [image[:, 0, 0].tolist() for image in images]
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
    assert oracle.seen == [(112, 75), (75, 112), (80, 80)]  # short side 80, long side at most 112
    assert [len(part) for part in parts] == [1, 1, 1]  # no two are padded alike
    found = [item for part in parts for image in part for item in image]
    numbers = six(measure(dataset.ground_truth, found)[0])
    assert numbers == Metrics(*[pytest.approx(100)] * 5, None)  # none is large


SMALL, LEGACY = ((60, 40), (120, 90)), ((100, 90), (200, 180))  # size, tested at
OBJECT = [[20, 20, 39, 39], [0, 0, 199, 179]]


@pytest.mark.parametrize(
    ("boxes", "sizes", "is_legacy", "expected"),
    [
        # Its x is halved and its y divided by 2.25.
        ([[20, 9, 41, 45], [-8, 0, 130, 89]], SMALL, False, [[10, 4, 10.5, 16], [0, 0, 60, 39.56]]),
        # A legacy network sees the object from 10 to 19 of its 10 pixels at 100 x 90 in a frame of
        # 200 x 180: corners 20 and 38, which a box from 20 to 39 says; scaled back 10 and 20.
        (OBJECT, LEGACY, True, [[10, 10, 10, 10], [0, 0, 100, 90]]),
        (OBJECT, LEGACY, False, [[10, 10, 9.5, 9.5], [0, 0, 99.5, 89.5]]),
    ],
)
def test_boxes_are_scaled_back_clipped_and_rounded(boxes, sizes, is_legacy, expected):
    detections = {
        "boxes": torch.tensor(boxes).float(),
        "scores": torch.tensor([0.123456789, 0.5]),
        "labels": torch.tensor([1, 0]),
    }
    facts = {"image_id": 10, "category_ids": [3, 7], "size": sizes[0], "tested": sizes[1]}
    assert as_results(detections, **facts, inclusive_corners=is_legacy) == [
        found(10, 7, expected[0], 0.123457),
        found(10, 3, expected[1], 0.5),
    ]


def test_conventions_reach_the_detector_and_its_results(dataset):
    oracle = Oracle(dataset)
    raw = Normalization(mean=(0, 0, 0), std=(1, 1, 1), scale=1, channels=(2, 1, 0))
    layout = Layout(normalization=raw, inclusive_corners=True)
    found = results(oracle, dataset, layout=layout, category_ids=[30, 70])
    assert {item["category_id"] for item in found} == {30, 70}
    assert oracle.colors[1] == [200, 100, 0]  # the first image's, blue first
    for one, other in zip(found, results(Oracle(dataset), dataset), strict=True):
        assert one["bbox"][:2] == other["bbox"][:2]
        assert one["bbox"][2] > other["bbox"][2]  # the pixel that a resized one is larger by


def test_an_image_alone_is_detected_as_in_its_data_set(dataset):
    together = results(Oracle(dataset), dataset)
    for index, number in enumerate(dataset.image_ids):
        ids = {"image_id": number, "category_ids": dataset.category_ids}
        alone = detect_one(Oracle(dataset), dataset[index][0], RECIPE, **ids, device="cpu")
        assert alone == [item for item in together if item["image_id"] == number]
