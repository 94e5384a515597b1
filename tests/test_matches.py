"""The records of an evaluation, and that COCO's numbers follow from them under any weights."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.evaluation.detect import Detection, evaluate, measure
from detector.evaluation.match_records import (
    FALSE,
    IGNORED,
    TRUE,
    Matches,
    load_matches,
    save_matches,
)
from detector.metrics import HEADINGS, Metrics
from reports.coco_bootstrap import image_weights, metrics_of, precisions

Truth = dict[str, Any]
SIZES = (6, 20, 31, 33, 60, 95, 97, 180)  # around COCO's borders of small, medium and large


def scene(
    seed: int, num_images: int, num_categories: int, *, has_ties: bool = True
) -> tuple[Truth, list[Detection]]:
    """Images with up to six objects, crowds among them, and detections near and far; some images
    and the last category are empty. Ids are in no order."""
    random = np.random.default_rng(seed)
    images = [{"id": int(number)} for number in random.permutation(500)[:num_images]]
    categories = [{"id": 2 * number + 1, "name": str(number)} for number in range(num_categories)]
    annotations: list[dict[str, Any]] = []
    detections: list[Detection] = []

    def box() -> list[float]:
        return [*random.uniform(0, 200, 2).round(2), *random.choice(SIZES, 2).astype(float)]

    def add(image: int, category: int, bbox: list[float]) -> None:
        score = float(random.choice([0.2, 0.5, 0.9]) if has_ties else random.random())
        detections.append(
            {"image_id": image, "category_id": category, "bbox": bbox, "score": score}
        )

    for image in images:
        for _ in range(random.integers(0, 7)):
            category = int(2 * random.integers(0, max(num_categories - 1, 1)) + 1)
            bbox = box()
            annotations.append(
                {
                    "id": int(1000 - len(annotations)),
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3] * random.choice([0.6, 1]),
                    "iscrowd": int(random.random() < 0.15),
                }
            )
            for _ in range(random.integers(0, 4)):
                shifted = np.array(bbox) * random.choice([1, 0.95, 0.8, 1.3], 4)
                add(image["id"], category, [float(side) for side in shifted])
        for _ in range(random.integers(0, 4)):
            add(image["id"], int(2 * random.integers(0, num_categories) + 1), box())
    return {"images": images, "categories": categories, "annotations": annotations}, detections


def once(matches: Matches) -> np.ndarray:
    return np.ones((1, len(matches.image_ids)), dtype=np.uint8)


def six(numbers: np.ndarray) -> Metrics:
    return Metrics(*[None if np.isnan(value) else float(value) for value in numbers])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_the_records_give_pycocotools_numbers_to_the_last_bit(
    seed: int, num_images: int, num_categories: int, has_ties: bool
) -> None:
    truth, detections = scene(seed, num_images, num_categories, has_ties=has_ties)
    numbers, matches = measure(truth, detections)
    assert six(metrics_of(matches, once(matches))[0]) == Metrics(*list(numbers.values())[:6])


def copied(truth: Truth, detections: Sequence[Detection], counts: dict[int, int]) -> Any:
    """The data set in which every image stands so often, and what is found in it."""
    numbers = {id: [100 * id + copy for copy in range(count)] for id, count in counts.items()}
    parts = [
        [{**item, "image_id": new} for item in items for new in numbers[item["image_id"]]]
        for items in (truth["annotations"], detections)
    ]
    images = [{"id": new} for copies in numbers.values() for new in copies]
    return {**truth, "images": images, "annotations": parts[0]}, parts[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10), st.integers(1, 3))
def test_a_weight_of_an_image_is_that_many_copies_of_it(
    seed: int, num_images: int, num_categories: int
) -> None:
    truth, detections = scene(seed, num_images, num_categories, has_ties=False)
    matches = measure(truth, detections)[1]
    weights = image_weights(num_images, 3)
    for row, found in zip(weights, metrics_of(matches, weights), strict=True):
        counts = dict(zip(matches.image_ids.tolist(), row.tolist(), strict=True))
        assert six(found) == evaluate(*copied(truth, detections, counts))


def test_many_samples_are_each_as_if_alone() -> None:
    truth, detections = scene(3, 10, 3)
    matches = measure(truth, detections)[1]
    weights = image_weights(10, 300)  # in three blocks
    found = metrics_of(matches, weights)
    for row in (0, 127, 128, 299):
        assert np.array_equal(found[row], metrics_of(matches, weights[[row]])[0], equal_nan=True)


def crowded() -> tuple[Truth, list[Detection]]:
    """One image: a small object, a large crowd, and what is found there."""
    truth = {
        "images": [{"id": 7}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [
            annotation(9, [100, 100, 100, 100], iscrowd=1),
            annotation(5, [0, 0, 20, 20]),
        ],
    }
    found = [
        ([0, 0, 20, 14], 0.5),  # IoU 0.7 with the object
        ([110, 110, 40, 40], 0.9),  # inside the crowd
        ([300, 300, 200, 200], 0.7),  # nothing there, and large
    ]
    return truth, [
        {"image_id": 7, "category_id": 3, "bbox": bbox, "score": score} for bbox, score in found
    ]


def annotation(id: int, bbox: list[float], iscrowd: int = 0) -> dict[str, Any]:
    where = {"image_id": 7, "category_id": 3, "bbox": bbox, "area": bbox[2] * bbox[3]}
    return {"id": id, "iscrowd": iscrowd} | where


def test_every_detection_is_true_false_or_ignored_in_each_area_at_each_iou() -> None:
    matches = measure(*crowded())[1]
    assert matches.source.tolist() == [1, 2, 0]  # by their scores
    assert matches.score.tolist() == [0.9, 0.7, 0.5]
    crowd, nothing, loose = matches.state
    assert (crowd == IGNORED).all()  # whatever it overlaps
    assert [set(area) for area in nothing] == [{FALSE}, {IGNORED}, {IGNORED}, {FALSE}]
    reaches = [TRUE] * 5 + [FALSE] * 5  # IoU 0.50 to 0.70
    assert loose[:2].tolist() == [reaches, reaches]
    assert (loose[2] == IGNORED).all()  # no medium object, and it is none
    assert matches.truth_source.tolist() == [0, 1]
    assert matches.truth_counts.tolist() == [[False] * 4, [True, True, False, False]]
    assert matches.category_ids.tolist() == [3, 4]
    assert set(matches.category.tolist()) | set(matches.truth_category.tolist()) == {0}


def test_only_a_hundred_detections_of_an_image_and_class_count() -> None:
    truth, _ = crowded()
    boxes = [[float(number), 0.0, 20.0, 20.0] for number in range(130)]
    detections = [
        {"image_id": 7, "category_id": category, "bbox": bbox, "score": 1 - number / 1000}
        for number, bbox in enumerate(boxes)
        for category in (3, 4)
    ]
    numbers, matches = measure(truth, detections)
    assert len(matches.image) == 200
    assert matches.source.max() == 199  # the first hundred of each
    assert six(metrics_of(matches, once(matches))[0]).ap == numbers["AP"]


@pytest.mark.parametrize("is_truth_left", [True, False])
def test_nothing_found_is_worth_0_and_nothing_to_find_is_undefined(is_truth_left: bool) -> None:
    truth, detections = crowded()
    given = (truth, []) if is_truth_left else ({**truth, "annotations": []}, detections)
    matches = measure(*given)[1]
    found = six(metrics_of(matches, once(matches))[0])
    assert found == (Metrics(0, 0, 0, 0, None, None) if is_truth_left else Metrics())


def test_an_object_that_no_sample_holds_leaves_the_number_undefined() -> None:
    truth, detections = scene(5, 6, 2)
    matches = measure(truth, detections)[1]
    nothing = np.zeros((1, 6), dtype=np.uint8)
    assert np.isnan(metrics_of(matches, nothing)).all()


def test_precision_falls_with_recall_and_is_missing_only_for_classes_without_objects() -> None:
    truth, detections = scene(8, 12, 3)
    matches = measure(truth, detections)[1]
    curves = precisions(matches, once(matches), 0)[0]  # [10, 101, 3]
    assert (np.diff(curves[..., :2], axis=1) <= 0).all()
    assert (curves[..., :2] >= 0).all() and (curves[..., 2] == -1).all()


def test_records_are_kept_to_the_bit(tmp_path: Path) -> None:
    matches = measure(*scene(1, 8, 3))[1]
    save_matches(matches, tmp_path / "matches.npz")
    loaded = load_matches(tmp_path / "matches.npz")
    for item in fields(Matches):
        before, after = getattr(matches, item.name), getattr(loaded, item.name)
        assert before.dtype == after.dtype and np.array_equal(before, after), item.name


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "matches.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"matches\.npz holds no match records"):
        load_matches(tmp_path / "matches.npz")


def test_samples_are_drawn_with_replacement_and_the_same_for_all_runs() -> None:
    weights = image_weights(50, 400)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.25)  # 5 standard errors
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert np.array_equal(weights, image_weights(50, 400))
    assert np.array_equal(weights[:100], image_weights(50, 100))
    assert len(HEADINGS) == metrics_of(measure(*crowded())[1], image_weights(1, 2)).shape[1]
