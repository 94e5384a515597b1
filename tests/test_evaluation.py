"""Detections become COCO's results, and these become the six numbers."""

import copy
import math
from pathlib import Path

import pytest
import torch
from made_up_coco import REAL, RECIPE, annotation, content, needs_real_images, write
from torch import Tensor

from detector.coco import CocoDataset
from detector.evaluation import Detection, as_results, detect_all, evaluate
from detector.metrics import Metrics


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    return CocoDataset(*write(tmp_path, content()))


def found(image: int, category: int, bbox: list[float], score: float = 0.9) -> Detection:
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def perfect(dataset: CocoDataset) -> list[Detection]:
    return [
        found(item["image_id"], item["category_id"], item["bbox"])
        for item in dataset.ground_truth["annotations"]
        if not item["iscrowd"]
    ]


HUNDRED = pytest.approx(100)  # COCO's precision is a quotient plus epsilon


def test_the_truth_is_worth_100(dataset: CocoDataset) -> None:
    metrics = evaluate(dataset.ground_truth, perfect(dataset))
    assert metrics == Metrics(HUNDRED, HUNDRED, HUNDRED, HUNDRED, HUNDRED, None)  # none is large


def test_no_detections_are_worth_0_not_an_error(dataset: CocoDataset) -> None:
    assert evaluate(dataset.ground_truth, []) == Metrics(0, 0, 0, 0, 0, None)


def test_without_objects_nothing_is_defined(tmp_path: Path) -> None:
    dataset = CocoDataset(*write(tmp_path, content() | {"annotations": []}))
    detections = [found(10, 3, [1, 2, 3, 4])]
    assert evaluate(dataset.ground_truth, detections) == Metrics()
    assert evaluate(dataset.ground_truth, []) == Metrics()


def test_a_loose_box_counts_at_the_thresholds_it_reaches(tmp_path: Path) -> None:
    """IoU 20 x 30 / 20 x 40 = 0.75: found at 0.50 to 0.75, six of ten thresholds."""
    described = content() | {"annotations": [annotation(1, 10, 3, [0, 0, 20, 40])]}
    truth = CocoDataset(*write(tmp_path, described)).ground_truth
    metrics = evaluate(truth, [found(10, 3, [0, 0, 20, 30])])
    assert (metrics.ap, metrics.ap50, metrics.ap75) == (pytest.approx(60), HUNDRED, HUNDRED)
    metrics = evaluate(truth, [found(10, 3, [0, 0, 20, 29])])
    assert (metrics.ap, metrics.ap75) == (pytest.approx(50), 0)


def test_a_false_alarm_before_the_object_halves_precision(tmp_path: Path) -> None:
    described = content() | {"annotations": [annotation(1, 10, 3, [0, 0, 20, 40])]}
    truth = CocoDataset(*write(tmp_path, described)).ground_truth
    first = found(10, 3, [30, 0, 20, 40], score=0.9)
    metrics = evaluate(truth, [first, found(10, 3, [0, 0, 20, 40], score=0.8)])
    assert metrics.ap == pytest.approx(50)
    metrics = evaluate(truth, [first | {"score": 0.7}, found(10, 3, [0, 0, 20, 40], score=0.8)])
    assert metrics.ap == HUNDRED


def test_detections_in_a_crowd_are_ignored(dataset: CocoDataset) -> None:
    in_crowd = [found(10, 3, [40, 0, 15, 30], score=0.99)]
    assert evaluate(dataset.ground_truth, in_crowd + perfect(dataset)).ap == HUNDRED
    elsewhere = [found(20, 3, [10, 0, 15, 30], score=0.99)]
    assert evaluate(dataset.ground_truth, elsewhere + perfect(dataset)).ap < 99


def test_an_annotation_with_id_0_is_found_like_any_other(tmp_path: Path) -> None:
    described = content()
    described["annotations"][0]["id"] = 0
    dataset = CocoDataset(*write(tmp_path, described))
    assert evaluate(dataset.ground_truth, perfect(dataset)).ap == HUNDRED


def test_evaluating_changes_neither_argument_and_prints_nothing(
    dataset: CocoDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, detections = dataset.ground_truth, perfect(dataset)
    before = copy.deepcopy((truth, detections))
    evaluate(truth, detections)
    assert (truth, detections) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrong", [found(99, 3, [0, 0, 1, 1]), found(10, 5, [0, 0, 1, 1])])
def test_results_of_another_data_set_are_refused(dataset: CocoDataset, wrong: Detection) -> None:
    with pytest.raises(ValueError, match="1 detections have a .* that the ground truth lacks"):
        evaluate(dataset.ground_truth, [wrong, *perfect(dataset)])


def test_boxes_are_scaled_back_clipped_and_rounded(dataset: CocoDataset) -> None:
    """Image 10 is 60 x 40; tested at 120 x 90, its x is halved and its y divided by 2.25."""
    detections = {
        "boxes": torch.tensor([[20.0, 9.0, 41.0, 45.0], [-8.0, 0.0, 130.0, 89.0]]),
        "scores": torch.tensor([0.123456789, 0.5]),
        "labels": torch.tensor([1, 0]),
    }
    assert as_results(dataset, 0, detections, (90, 120)) == [
        {"image_id": 10, "category_id": 7, "bbox": [10, 4, 10.5, 16], "score": 0.123457},
        {"image_id": 10, "category_id": 3, "bbox": [0, 0, 60, 39.56], "score": 0.5},
    ]


class Oracle:
    """A detector that knows the data set and recognizes images by their size after resizing."""

    def __init__(self, dataset: CocoDataset) -> None:
        self.dataset = dataset
        self.seen: list[tuple[int, int]] = []

    def detect(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert not torch.is_grad_enabled()
        self.seen += [(image.shape[1], image.shape[2]) for image in images]
        return [self._one(image) for image in images]

    def _one(self, image: Tensor) -> dict[str, Tensor]:
        height, width = image.shape[1:]
        sizes = enumerate(self.dataset.sizes)
        index = min(sizes, key=lambda item: abs(item[1][0] / item[1][1] - width / height))[0]
        target = self.dataset.target(index)
        stored_width, stored_height = self.dataset.sizes[index]
        scale = torch.tensor([width / stored_width, height / stored_height]).repeat(2)
        count = len(target["boxes"])
        return {
            "boxes": target["boxes"] * scale,
            "scores": torch.full((count,), 0.8),
            "labels": target["labels"],
        }


@pytest.mark.parametrize("workers", [0, 1])
def test_a_detector_that_knows_all_reaches_100(dataset: CocoDataset, workers: int) -> None:
    oracle = Oracle(dataset)
    parts = list(detect_all(oracle, dataset, RECIPE, device="cpu", workers=workers))
    assert oracle.seen == [(75, 112), (80, 80), (112, 75)]  # short side 80, long side at most 112
    assert [len(part) for part in parts] == [4]
    assert evaluate(dataset.ground_truth, sum(parts, [])).ap == HUNDRED


def test_the_metrics_are_plain_numbers(dataset: CocoDataset) -> None:
    metrics = evaluate(dataset.ground_truth, perfect(dataset))
    assert type(metrics.ap) is float
    assert math.isfinite(metrics.ap)


@needs_real_images
@pytest.mark.parametrize("name", ["coco-tiny", "coco-mini"])
def test_cocos_truth_is_worth_100(name: str) -> None:
    folder = REAL / name
    dataset = CocoDataset(folder / "val", folder / "annotations" / "instances_val.json")
    metrics = evaluate(dataset.ground_truth, perfect(dataset))
    assert metrics == Metrics(*[HUNDRED] * 6)
