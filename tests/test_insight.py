"""What is behind a run's numbers: curves whose means they are, classes, and scores of images."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from made_up_runs import described, detections
from test_errors import CAT, SQUARE, data, found, truth

from detector.evaluation.detect import measure, six
from detector.evaluation.match_records import Matches
from reports.breakdown import ClassInsight, ImageInsight, Insight, insight


def scene(num_images: int = 12, right: float = 0.6) -> tuple[dict[str, Any], list[dict]]:
    ground_truth = described(num_images)
    for item in ground_truth["annotations"]:
        item |= {"area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
    return ground_truth, detections(ground_truth["annotations"], right)


def looked_into(ground_truth: dict[str, Any], found_: list[dict]) -> tuple[Matches, Insight]:
    _, matches = measure(ground_truth, found_)
    return matches, insight(matches, ground_truth, found_)


def test_the_mean_of_each_curve_is_one_of_the_six_numbers() -> None:
    ground_truth, found_ = scene()
    numbers, _ = measure(ground_truth, found_)
    _, looked = looked_into(ground_truth, found_)
    for name, value in asdict(six(numbers)).items():
        curve = looked.precision[name]
        assert len(curve) == 101
        assert sum(curve) / 101 == pytest.approx(value, abs=0.01), name
        assert all(low >= high for low, high in zip(curve, curve[1:], strict=False))


def test_without_an_object_of_a_size_there_is_no_curve_of_it() -> None:
    _, looked = looked_into(data([truth(SQUARE)]), [found(SQUARE, 0.9)])
    assert set(looked.precision) == {"ap", "ap50", "ap75", "ap_s"}


def test_each_class_has_the_ap_of_a_data_set_of_its_own() -> None:
    ground_truth, found_ = scene()
    _, looked = looked_into(ground_truth, found_)
    for item, category in zip(looked.classes, (3, 7), strict=True):
        mine = [it for it in ground_truth["annotations"] if it["category_id"] == category]
        numbers, _ = measure(
            {**ground_truth, "annotations": mine},
            [it for it in found_ if it["category_id"] == category],
        )
        assert (item.id, item.num_truths) == (category, len(mine))
        assert item.ap == pytest.approx(numbers["AP"], abs=0.01)
        assert item.ap50 == pytest.approx(numbers["AP50"], abs=0.01)


def test_a_class_without_objects_is_undefined() -> None:
    _, looked = looked_into(data([truth(SQUARE)]), [])
    assert looked.classes[1] == ClassInsight(7, "dog", 0, None, None)
    assert looked.classes[0].ap == 0


def test_an_images_score_is_its_f1_over_the_ious() -> None:
    truths = [truth(SQUARE), truth([50, 50, 10, 10]), truth(SQUARE, image=3)]
    detections_ = [
        found([0, 0, 10, 8], 0.9),  # IoU 0.8: true at 7 of 10
        found([30, 30, 10, 10], 0.7),  # nothing there
        found(SQUARE, 0.8, image=3),
        found(SQUARE, 0.1, image=3),  # below the threshold
    ]
    _, looked = looked_into(data(truths, images=(1, 2, 3)), detections_)
    assert looked.threshold == 0.8  # 2 of 2 are right, and 2 of 3 found
    assert looked.images[0] == ImageInsight(1, pytest.approx(0.7 * 200 / 3, abs=0.01), 1, 1, 0)
    assert looked.images[1] == ImageInsight(2, None, 0, 0, 0)  # nothing to be found
    assert looked.images[2] == ImageInsight(3, 100.0, 1, 0, 0)


def best_threshold(matches: Matches) -> float:
    """By trying every score."""
    states = matches.state[:, 0, 0].tolist()
    pairs = [(s, st == 1) for s, st in zip(matches.score.tolist(), states, strict=True) if st != 2]
    truths = int(matches.truth_counts[:, 0].sum())

    def f1(score: float) -> float:
        counted = [is_true for s, is_true in pairs if s >= score]
        return 2 * sum(counted) / (len(counted) + truths)

    return max({s for s, _ in pairs}, key=lambda s: (f1(s), s))


@pytest.mark.parametrize("right", [0.1, 0.5, 0.9])
def test_the_threshold_is_that_of_the_highest_f1(right: float) -> None:
    matches, looked = looked_into(*scene(right=right))
    assert looked.threshold == best_threshold(matches)


def test_of_equal_scores_all_count_or_none() -> None:
    truths = [truth(SQUARE)]
    same = [found(SQUARE, 0.5), found([50, 50, 10, 10], 0.5), found([70, 50, 10, 10], 0.5)]
    _, looked = looked_into(data(truths), same)
    assert (looked.threshold, looked.images[0].false) == (0.5, 2)


def test_without_a_detection_everything_is_missed() -> None:
    _, looked = looked_into(data([truth(SQUARE)]), [])
    assert looked.images[0] == ImageInsight(1, 0.0, 0, 1, 0)
    assert looked.errors["missed"].count == 1


def test_the_best_and_the_worst_have_the_most_objects_of_equal_ones() -> None:
    _, looked = looked_into(data([truth(SQUARE)]), [])
    images = tuple(ImageInsight(*it) for it in [(1, 100.0, 1, 0, 0), (2, 100.0, 2, 0, 0)])
    images += (ImageInsight(3, 0.0, 0, 1, 0), ImageInsight(4, 0.0, 0, 5, 0))
    images += (ImageInsight(5, None, 0, 0, 3), ImageInsight(6, 50.0, 1, 1, 0))
    looked = replace(looked, images=images)
    assert [image.id for image in looked.best(3)] == [2, 1, 6]
    assert [image.id for image in looked.worst(3)] == [4, 3, 6]
    assert len(looked.best(9)) == 5  # never one without a score


def test_written_and_read_it_is_the_same() -> None:
    _, looked = looked_into(*scene())
    assert Insight.from_json(json.loads(json.dumps(looked.to_json(), allow_nan=False))) == looked
    assert looked.classes[0].id == CAT
    for broken in ({}, {**looked.to_json(), "images": [[1, 2]]}):
        with pytest.raises((KeyError, TypeError)):
            Insight.from_json(broken)
