"""The evaluation of all images and categories at once is pycocotools', to the last bit."""

from collections.abc import Callable
from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest
from by_pycocotools import by_pycocotools
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_coco import REAL, needs_real_images

from detector.data.coco import CocoDataset
from detector.evaluation.detect import Detection, measure
from detector.evaluation.match_records import FALSE, IGNORED, TRUE, Matches
from detector.evaluation.matching import accumulate, match, ranks
from detector.metrics import COCO_NUMBERS

Truth = dict[str, Any]
Scene = tuple[Truth, list[Detection]]
SIDES = (0, 5, 10, 20, 32, 40, 80, 96, 128)  # 32 and 96: on COCO's borders between sizes
SHIFTS = (0, 0, 0, 0.25, 2, 5, 10)  # of sides like these: IoUs that are thresholds, and ties
SCORES = (0.1, 0.5, 0.5, 0.75, 1)


def scene(seed: int, num_images: int, num_categories: int, most: int) -> Scene:
    """Boxes on a grid, so that many overlap equally, are equal, are empty, or tie in score.

    Of each image and category up to 5 objects, some of them crowds, some twice, and up to `most`
    detections, most of them near an object. Ids are in no order.
    """
    random = np.random.default_rng(seed)
    images = random.permutation(900)[:num_images].tolist()
    categories = random.permutation(90)[:num_categories].tolist()
    annotations: list[dict[str, Any]] = []
    detections: list[Detection] = []

    def box() -> list[float]:
        return [*random.choice((0, 10, 20, 40), 2).tolist(), *random.choice(SIDES, 2).tolist()]

    for image, category in product(images, categories):
        where = {"image_id": image, "category_id": category}
        boxes = [box() for _ in range(random.integers(0, 6))]
        boxes += boxes[: random.integers(0, 2)]
        for x, y, w, h in boxes:
            area = w * h * random.choice((1, 1, 0.5))
            is_crowd = int(random.random() < 0.2)
            item = {"id": 9000 - len(annotations), "area": area, "iscrowd": is_crowd}
            annotations.append({**item, "bbox": [x, y, w, h], **where})
        for _ in range(random.integers(0, most + 1)):
            x, y, w, h = boxes[random.integers(len(boxes))] if boxes else box()
            shift = random.choice(SHIFTS, 4)
            bbox = [x + shift[0], y + shift[1], max(0, w - shift[2]), max(0, h - shift[3])]
            found = [float(side) for side in (bbox if random.random() < 0.9 else box())]
            detections.append({**where, "bbox": found, "score": float(random.choice(SCORES))})
    random.shuffle(annotations)
    random.shuffle(detections)
    truth = {
        "images": [{"id": id} for id in images],
        "categories": [{"id": id, "name": str(id)} for id in categories],
        "annotations": annotations,
    }
    return truth, detections


def require_equal(truth: Truth, detections: list[Detection]) -> dict[str, float | None]:
    """Numbers and records of both, bit by bit; returns the numbers."""
    numbers, matches = measure(truth, detections)
    expected, records = measure(truth, detections, by=by_pycocotools)
    assert numbers == expected
    for item in fields(Matches):
        ours, theirs = getattr(matches, item.name), getattr(records, item.name)
        assert ours.dtype == theirs.dtype, item.name
        assert np.array_equal(ours, theirs), item.name
    return numbers


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.sampled_from((0, 3, 12)))
def test_numbers_and_records_are_pycocotools(
    seed: int, num_images: int, num_categories: int, most: int
) -> None:
    require_equal(*scene(seed, num_images, num_categories, most))


def test_a_hundred_and_more_detections_of_an_image_and_class() -> None:
    truth, detections = scene(4, 4, 2, most=260)
    assert len(match(truth, detections).image) < len(detections)
    require_equal(truth, detections)


EMPTY: dict[str, Callable[[Scene], Scene]] = {
    "no detections": lambda both: (both[0], []),
    "no objects": lambda both: ({**both[0], "annotations": []}, both[1]),
    "neither": lambda both: ({**both[0], "annotations": []}, []),
    "only crowds": lambda both: (
        both[0] | {"annotations": [item | {"iscrowd": 1} for item in both[0]["annotations"]]},
        both[1],
    ),
    "nothing in one class": lambda both: (
        both[0] | {"categories": [*both[0]["categories"], {"id": 99, "name": "unicorn"}]},
        both[1],
    ),
    "one class without objects": lambda both: (
        both[0]
        | {
            "annotations": [
                item
                for item in both[0]["annotations"]
                if item["category_id"] != both[0]["categories"][0]["id"]
            ]
        },
        both[1],
    ),
    "empty images": lambda both: (
        both[0] | {"images": [{"id": 901}, *both[0]["images"], {"id": 903}]},
        both[1],
    ),
    "objects of other images and classes": lambda both: (
        both[0]
        | {
            "annotations": [
                item | {"image_id": 950} if number % 3 == 0 else item | {"category_id": 95}
                for number, item in enumerate(both[0]["annotations"])
            ]
            + both[0]["annotations"]
        },
        both[1],
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_what_is_missing_is_missing_as_in_pycocotools(case: str) -> None:
    require_equal(*EMPTY[case](scene(7, 5, 3, most=8)))


def perturbed(truth: Truth, seed: int) -> list[Detection]:
    """Each object found about twice, better and worse, sometimes as another class; and noise."""
    random = np.random.default_rng(seed)
    categories = [item["id"] for item in truth["categories"]]
    found: list[Detection] = []
    for item in truth["annotations"]:
        for _ in range(random.integers(1, 4)):
            x, y, w, h = item["bbox"]
            moved = np.array([x, y, w, h]) + random.normal(0, 0.1, 4) * [w, h, w, h]
            is_wrong = random.random() < 0.2
            category = int(random.choice(categories)) if is_wrong else item["category_id"]
            found.append(
                {
                    "image_id": item["image_id"],
                    "category_id": category,
                    "bbox": [*moved[:2].round(2).tolist(), *abs(moved[2:]).round(2).tolist()],
                    "score": round(float(random.random()), 2),
                }
            )
    return found


@needs_real_images
@pytest.mark.parametrize("name", ["coco-tiny", "coco-mini"])
def test_of_cocos_images_too(name: str) -> None:
    annotations = REAL / name / "annotations" / "instances_val.json"
    truth = CocoDataset(REAL / name / "val", annotations).ground_truth
    numbers = require_equal(truth, perturbed(truth, seed=1))
    assert None not in numbers.values()
    assert len(set(numbers.values())) == len(COCO_NUMBERS)


def one_image(objects: list[dict[str, Any]], boxes: list[list[float]]) -> Scene:
    """Objects with bbox, and detections from the best score down."""
    where = {"image_id": 1, "category_id": 1}
    annotations = [
        {"id": number, "area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0, **where, **item}
        for number, item in enumerate(objects)
    ]
    detections = [
        {**where, "bbox": bbox, "score": 1 - number / 10} for number, bbox in enumerate(boxes)
    ]
    images, categories = [{"id": 1}], [{"id": 1, "name": "cat"}]
    return {"images": images, "categories": categories, "annotations": annotations}, detections


def test_what_counts_is_preferred_to_what_overlaps_more() -> None:
    """A small object and a medium one; the detection overlaps the medium one wholly."""
    objects = [{"bbox": [0, 0, 40, 25]}, {"bbox": [0, 0, 40, 40]}]
    truth, detections = one_image(objects, [[0, 0, 40, 40], [0, 0, 40, 40]])
    require_equal(truth, detections)
    every, small, medium, large = match(truth, detections).state.transpose(1, 0, 2).tolist()
    assert every == [[TRUE] * 10, [TRUE] * 3 + [FALSE] * 7]  # 40 x 25 / 40 x 40 = 0.625
    assert small == [[TRUE] * 3 + [IGNORED] * 7, [IGNORED] * 10]
    assert medium == [[TRUE] * 10, [IGNORED] * 3 + [FALSE] * 7]
    assert large == [[IGNORED] * 10, [IGNORED] * 10]


def test_of_equal_overlaps_the_last_is_taken() -> None:
    """Two objects mirrored about the first detection, and a second one that only the last fits."""
    objects = [{"bbox": [0, 0, 20, 20]}, {"bbox": [10, 0, 20, 20]}]
    truth, detections = one_image(objects, [[0, 0, 30, 20], [10, 0, 20, 20]])
    require_equal(truth, detections)
    state = match(truth, detections).state[:, 0]  # IoU 2/3 with both; 1, and 1/3
    assert state[0].tolist() == [TRUE] * 4 + [FALSE] * 6
    assert state[1].tolist() == [FALSE] * 4 + [TRUE] * 6


def test_a_crowd_is_never_taken() -> None:
    objects = [{"bbox": [0, 0, 100, 100], "iscrowd": 1}]
    truth, detections = one_image(objects, [[0, 0, 50, 50], [0, 0, 50, 50], [0, 0, 50, 400]])
    require_equal(truth, detections)
    state = match(truth, detections).state[:, 0]
    assert (state[:2] == IGNORED).all()
    assert (state[2] == FALSE).all()  # a quarter of it is in the crowd


def test_boxes_of_other_than_four_numbers_are_refused() -> None:
    truth, detections = one_image([{"bbox": [0, 0, 20, 20]}], [[0, 0, 20, 20, 1]] * 4)
    with pytest.raises(ValueError, match="reshape"):
        match(truth, detections)


def test_neither_argument_is_changed() -> None:
    truth, detections = scene(2, 3, 2, most=5)
    again, those = scene(2, 3, 2, most=5)
    accumulate(match(truth, detections))
    assert (truth, detections) == (again, those)


def test_a_rank_is_how_many_of_the_group_stand_before() -> None:
    assert ranks(np.array([5, 0, 5, 5, 0, 2])).tolist() == [0, 0, 1, 2, 1, 0]
    assert ranks(np.array([], dtype=np.int64)).tolist() == []
