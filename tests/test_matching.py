"""The evaluation of all images at once is pycocotools', to the last bit, and so are numbers of
resampled images, which follow from its records.
"""

from collections import Counter
from copy import deepcopy
from dataclasses import fields
from itertools import product

import numpy as np
import pytest
from by_pycocotools import by_pycocotools
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.evaluation.detect import measure
from detector.evaluation.match_records import FALSE, TRUE, Matches, load_matches, save_matches
from detector.evaluation.matching import match
from detector.metrics import Metrics
from reports.coco_bootstrap import image_weights, metrics_of, of_crowds, score

SIDES = (0, 5, 10, 20, 32, 40, 80, 96, 128)  # 32 and 96: on COCO's borders between sizes
SHIFTS = (0, 0, 0, 0.25, 2, 5, 10)  # of sides like these: IoUs that are thresholds, and ties
SCORES = (0.1, 0.5, 0.5, 0.75, 1)


def scene(seed, num_images, num_categories, most=8, *, has_ties=True):
    """Boxes on a grid, so that many overlap equally, are equal, are empty, or tie in score.

    Of each image and category up to 5 objects, some of them crowds, some twice, and up to `most`
    detections, most of them near an object. Ids are in no order.
    """
    random = np.random.default_rng(seed)
    images = random.permutation(900)[:num_images].tolist()
    categories = random.permutation(90)[:num_categories].tolist()
    annotations, detections = [], []

    def box():
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
            score = float(random.choice(SCORES) if has_ties else random.random())
            detections.append({**where, "bbox": found, "score": score})
    random.shuffle(annotations)
    random.shuffle(detections)
    truth = {
        "images": [{"id": id} for id in images],
        "categories": [{"id": id, "name": str(id)} for id in categories],
        "annotations": annotations,
    }
    return truth, detections


def six(matches, weights=None):
    """The numbers of a sample, or of every image once."""
    once = np.ones(len(matches.image_ids)) if weights is None else weights
    (numbers,) = metrics_of(matches, once[None].astype(np.uint8))
    return Metrics(*(None if np.isnan(value) else float(value) for value in numbers))


def require_equal(truth, detections):
    """Numbers and records are pycocotools', to the bit; so are the numbers of resampling."""
    before = deepcopy((truth, detections))
    numbers, matches = measure(truth, detections)
    assert (truth, detections) == before
    expected, states, counts = by_pycocotools(truth, detections)
    assert numbers == expected
    assert six(matches) == Metrics(*list(numbers.values())[:6])
    source, truth_source = matches.source.tolist(), matches.truth_source.tolist()
    assert dict(zip(truth_source, matches.truth_counts.tolist(), strict=True)) == counts
    assert set(source) == states.keys() and len(source) == len(states)
    expected_states = np.array([states[place] for place in source])
    assert np.array_equal(expected_states.reshape(matches.state.shape), matches.state)
    assert matches.score.tolist() == [detections[place]["score"] for place in source]
    for boxes, image, category in (
        ([detections[place] for place in source], matches.image, matches.category),
        (truth["annotations"], matches.truth_image, matches.truth_category),
    ):
        assert matches.image_ids[image].tolist() == [it["image_id"] for it in boxes]
        assert matches.category_ids[category].tolist() == [it["category_id"] for it in boxes]
    order = np.stack([matches.category, -matches.score, matches.image], axis=1).tolist()
    assert order == sorted(order)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.sampled_from((0, 3, 12)))
def test_numbers_and_records_are_pycocotools(seed, num_images, num_categories, most):
    require_equal(*scene(seed, num_images, num_categories, most))


def test_only_a_hundred_detections_of_an_image_and_class_count():
    truth, detections = scene(4, 4, 2, most=260)
    groups = Counter((item["image_id"], item["category_id"]) for item in detections)
    counted = sum(min(count, 100) for count in groups.values())
    assert len(match(truth, detections).image) == counted < len(detections)
    require_equal(truth, detections)


def test_what_is_missing_is_missing_as_in_pycocotools():
    truth, detections = scene(7, 5, 3)
    crowds = [it | {"iscrowd": 1} for it in truth["annotations"]]
    for lacking in (
        {"annotations": []},
        {"annotations": crowds},
        {"categories": [*truth["categories"], {"id": 99, "name": "unicorn"}]},  # nothing of it
        {"images": [{"id": 901}, *truth["images"], {"id": 903}]},  # nothing on these
    ):
        require_equal(truth | lacking, detections)
        require_equal(truth | lacking, [])


def test_of_equal_overlaps_the_last_is_taken():
    """Two objects mirrored about the first detection, and a second one that only the last fits."""
    where = {"image_id": 1, "category_id": 1}
    objects = [
        {"id": x, "bbox": [x, 0, 20, 20], "area": 400, "iscrowd": 0, **where} for x in (0, 10)
    ]
    truth = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": objects}
    detections = [
        {"bbox": [0, 0, 30, 20], "score": 0.9, **where},  # IoU 2/3 with both
        {"bbox": [10, 0, 20, 20], "score": 0.8, **where},  # 1/3 and 1
    ]
    require_equal(truth, detections)
    state = match(truth, detections).state[:, 0]
    assert state[0].tolist() == [TRUE] * 4 + [FALSE] * 6
    assert state[1].tolist() == [FALSE] * 4 + [TRUE] * 6


# The records, and the numbers of resampled images that follow from them


def copied(truth, detections, weights):
    """The data set in which every image, by ascending id, stands as often as its weight says."""
    ids = sorted(image["id"] for image in truth["images"])
    numbers = {
        id: [1000 * id + copy for copy in range(n)] for id, n in zip(ids, weights, strict=True)
    }
    annotations, found = (
        [{**item, "image_id": new} for item in items for new in numbers[item["image_id"]]]
        for items in (truth["annotations"], detections)
    )
    images = [{"id": new} for copies in numbers.values() for new in copies]
    return truth | {"images": images, "annotations": annotations}, found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10), st.integers(1, 3))
def test_a_weight_of_an_image_is_that_many_copies_of_it(seed, num_images, num_categories):
    truth, detections = scene(seed, num_images, num_categories, has_ties=False)
    matches = match(truth, detections)
    for row in image_weights(num_images, 3):
        numbers, _ = measure(*copied(truth, detections, row.tolist()))
        assert six(matches, row) == Metrics(*list(numbers.values())[:6])


def test_many_samples_are_each_as_if_alone():
    matches, weights = match(*scene(3, 10, 3)), image_weights(10, 300)  # in three blocks
    found = metrics_of(matches, weights)
    for row in (0, 127, 128, 299):
        assert np.array_equal(found[row], metrics_of(matches, weights[[row]])[0], equal_nan=True)
    assert six(matches, np.zeros(10)) == Metrics()  # a sample that holds no object


def test_samples_are_drawn_with_replacement_and_the_same_for_all_runs():
    weights = image_weights(50, 400)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.25)  # 5 standard errors
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert np.array_equal(weights[:100], image_weights(50, 100))


def test_in_crowds_means_on_images_with_more_objects_than_half_of_all() -> None:
    """The same as two evaluations, each of its own images alone."""
    truth, detections = scene(7, 9, 2)
    matches = match(truth, detections)
    counted = Counter(it["image_id"] for it in truth["annotations"] if not it["iscrowd"])
    counts = {it["id"]: counted[it["id"]] for it in truth["images"]}
    ids, middle = matches.image_ids.tolist(), sorted(counts.values())[4]
    is_crowd = np.array([counts[it] > middle for it in ids])
    inside, outside = (
        six(match(*copied(truth, detections, its.astype(int).tolist())))
        for its in (is_crowd, ~is_crowd)
    )
    found = of_crowds(score("a" * 12, 3, Metrics(), matches), matches)
    assert found.metrics.ap == pytest.approx(inside.ap - outside.ap) and found.seed == 3
    weights = image_weights(9, 6)[5]
    crowds, others = (six(matches, weights * it) for it in (is_crowd, ~is_crowd))
    assert found.draws[5, 0] == pytest.approx(crowds.ap - others.ap)


def test_records_are_kept_to_the_bit(tmp_path):
    matches, file = match(*scene(1, 8, 3)), tmp_path / "matches.npz"
    save_matches(matches, file)
    loaded = load_matches(file)
    for item in fields(Matches):
        before, after = getattr(matches, item.name), getattr(loaded, item.name)
        assert before.dtype == after.dtype and np.array_equal(before, after), item.name
    for content in (b"", b"no archive"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"matches\.npz holds no match records"):
            load_matches(file)
