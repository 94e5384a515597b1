"""Two configurations side by side: numbers of each class, what counts, what is said of it."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up_runs import described, detections

from detector.evaluation.detect import measure, six
from reports import coco_bootstrap, paired
from reports.coco_bootstrap import score
from reports.insight import insight
from reports.intervals import Estimate
from reports.numbers import least_shown
from reports.paired import Difference, Measured, Side, class_precisions, compare, holm, recalls
from reports.paired_tables import extremes, grids, meaning, to_json
from reports.render import markdown

NUM_IMAGES = 30


def truths(num_images: int = NUM_IMAGES) -> dict[str, Any]:
    ground_truth = described(num_images)
    for item in ground_truth["annotations"]:
        item |= {"area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
    return ground_truth


def run(right: float, seed: int, ground_truth: dict[str, Any] | None = None) -> Measured:
    ground_truth = ground_truth or truths()
    found = detections(ground_truth["annotations"], right, seed)
    numbers, matches = measure(ground_truth, found)
    return Measured(
        scores=score(f"{seed:012}", seed, six(numbers), matches),
        matches=matches,
        insight=insight(matches, ground_truth, found),
    )


def side(name: str, right: float, seeds: Sequence[int], **facts: str) -> Side:
    return Side(name=name, runs=tuple(run(right, seed) for seed in seeds), facts=facts)


@pytest.fixture(scope="module", autouse=True)
def _fewer_samples() -> Iterator[None]:
    """Nothing here depends on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (coco_bootstrap, paired):
            patch.setattr(module, "RESAMPLES", 100)
        patch.setattr(paired, "CLASS_RESAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def weak() -> Side:
    return side("weak", 0.3, [0, 1, 2], scale="demo")


@pytest.fixture(scope="module")
def strong() -> Side:
    return side("strong", 0.9, [0, 1, 2, 3], scale="demo")


# Numbers of each class


def copied(ground_truth: dict[str, Any], found: list[dict], weights: list[int]) -> tuple:
    """The data set in which every image stands as often as its weight says."""
    images, annotations, results = [], [], []
    for place, image in enumerate(ground_truth["images"]):
        for copy in range(weights[place]):
            number = 1000 * copy + image["id"]
            images.append({**image, "id": number})
            mine = [it for it in ground_truth["annotations"] if it["image_id"] == image["id"]]
            annotations += [{**it, "image_id": number} for it in mine]
            results += [{**it, "image_id": number} for it in found if it["image_id"] == image["id"]]
    return {**ground_truth, "images": images, "annotations": annotations}, results


def test_numbers_of_resampled_images_are_those_of_the_data_set_that_they_make() -> None:
    ground_truth = truths(8)
    found = detections(ground_truth["annotations"], 0.6, 1)
    _, matches = measure(ground_truth, found)
    draw = random.Random(0)
    weights = [[draw.randrange(3) for _ in range(8)] for _ in range(6)] + [[1] * 8]
    of_classes = class_precisions(matches, np.array(weights, dtype=np.uint8))
    of_recall = recalls(matches, np.array(weights, dtype=np.uint8))
    for row, drawn in enumerate(weights):
        data, results = copied(ground_truth, found, drawn)
        assert of_recall[row] == pytest.approx(measure(data, results)[0]["AR100"])
        for place, category in enumerate((3, 7)):
            mine = [it for it in data["annotations"] if it["category_id"] == category]
            theirs = [it for it in results if it["category_id"] == category]
            value = measure({**data, "annotations": mine}, theirs)[0]["AP"]
            assert of_classes[row, place] == pytest.approx(
                np.nan if value is None else value, nan_ok=True
            )


def test_where_nothing_is_to_be_found_there_is_no_number() -> None:
    _, matches = measure(truths(2), [])
    none = np.zeros((1, 2), dtype=np.uint8)
    assert (
        np.isnan(recalls(matches, none)).all() and np.isnan(class_precisions(matches, none)).all()
    )


@pytest.mark.parametrize("seed", range(20))
def test_holms_method_is_holms(seed: int) -> None:
    draw = random.Random(seed)
    chances = [draw.choice([0.0001, 0.01, 0.012, 0.02, 0.04, 0.06, 0.5]) for _ in range(6)]
    expected, left = set(), len(chances)
    for place in sorted(range(6), key=lambda place: chances[place]):
        if chances[place] > 0.05 / left:
            break
        expected.add(place)
        left -= 1
    told = holm(6, lambda place, level: chances[place] <= 1 - level, 0.05)
    assert {place for place, is_it in enumerate(told) if is_it} == expected


# The comparison


def test_what_is_much_better_is_told_apart_in_everything(weak: Side, strong: Side) -> None:
    found = compare(weak, strong)
    assert found.seeds == ((0, 1, 2), (0, 1, 2)) and found.num_images == NUM_IMAGES
    assert found.notes == ("Of the seeds that both have, so without 3.",)
    ap = found.ap
    assert ap.estimate is not None and ap.estimate.low > 0 and ap.estimate.num_seeds == 3
    assert ap.value == pytest.approx((ap.second or 0) - (ap.first or 0))
    assert [it.name for it in found.metrics] == ["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR"]
    recall = found.metrics[-1].estimate
    assert recall is not None and recall.low > 0 and recall.seed_error is not None
    assert all(it.is_told_apart and it.num_truths > 30 for it in found.classes)
    assert abs(found.classes[0].difference.value or 0) >= abs(
        found.classes[1].difference.value or 0
    )
    points = {it.name: it.value for it in found.errors}
    assert (points["false positives"] or 0) < 0 and (points["false negatives"] or 0) < 0
    assert meaning(found).startswith("Told apart: strong has ")


def test_turned_around_every_difference_changes_its_sign(weak: Side, strong: Side) -> None:
    one, other = compare(weak, strong), compare(strong, weak)
    for there, back in zip(one.metrics, other.metrics, strict=True):
        assert there.value == pytest.approx(-(back.value or 0))
        if there.estimate and back.estimate:
            assert there.estimate.low == pytest.approx(-back.estimate.high)
    better, worse = extremes(one)
    assert (worse, better) == tuple(
        tuple(replace(it, first=it.second, second=it.first) for it in part)
        for part in extremes(other)
    )


def test_a_configuration_is_not_told_apart_from_its_like(weak: Side) -> None:
    twin = side("twin", 0.3, [5, 6], scale="demo")
    found = compare(weak, twin)
    assert found.notes == ("They share no seed, so seeds are not paired; images are.",)
    assert not found.ap.estimate.excludes_zero
    assert not any(it.is_told_apart for it in found.classes)
    assert meaning(found).startswith("Not told apart: twin has ")
    assert "2 seeds and 30 images)" in meaning(found)


def test_what_is_not_told_apart_says_what_it_would_take(weak: Side, strong: Side) -> None:
    unclear = Estimate(
        value=0.8, low=-0.1, high=1.7, image_error=0.3, seed_error=0.2, num_seeds=3, num_images=300
    )
    found = compare(weak, strong)
    found = replace(found, metrics=(Difference("AP", 30.0, 30.8, unclear), *found.metrics[1:]))
    assert meaning(found) == (
        "Not told apart: strong has 0.8 AP more than weak (95 % interval −0.1 to +1.7, over 3 "
        f"seeds and 300 images); from {least_shown(unclear)} on these seeds and images would have "
        "shown it."
    )


def test_one_seed_speaks_of_trained_weights_alone(weak: Side, strong: Side) -> None:
    one, other = (replace(it, runs=it.runs[:1]) for it in (weak, strong))
    found = compare(one, other)
    assert found.ap.estimate is not None and found.ap.estimate.seed_error is None
    assert meaning(found).startswith("Told apart as trained weights: ")
    assert "only more seeds can tell" in meaning(found)
    (metrics, *_) = grids(found)
    assert any("not of configurations" in note for note in metrics.notes)


def test_a_class_in_few_images_has_no_interval() -> None:
    rare = truths()
    for item in rare["annotations"][9:]:
        item["category_id"] = 3
    rare["annotations"][0]["category_id"] = 7
    sides = [Side(name=str(it), runs=(run(it, 0, rare),), facts={}) for it in (0.2, 0.9)]
    by_name = {it.difference.name: it for it in compare(*sides).classes}
    assert by_name["dog"].difference.estimate is None and not by_name["dog"].is_told_apart
    assert by_name["dog"].difference.value is not None
    assert by_name["cat"].difference.estimate is not None


def test_other_images_are_refused_and_other_circumstances_told(weak: Side) -> None:
    fewer = Side(name="fewer", runs=(run(0.5, 0, truths(20)),), facts={})
    with pytest.raises(
        ValueError, match=r"'weak' and 'fewer' .* other images \(30 and 20 of them\)"
    ):
        compare(weak, fewer)
    other = replace(weak, name="other", facts={"scale": "mini"})
    assert compare(weak, other).notes == ("They differ in scale: demo (A), mini (B).",)


def test_images_are_ranked_by_how_much_their_scores_differ(weak: Side, strong: Side) -> None:
    found = compare(weak, strong)
    changes = [abs(it.value) for it in found.images]
    assert changes == sorted(changes, reverse=True) and len(changes) == NUM_IMAGES
    number = found.images[0].id
    scores = [
        [
            image.score or 0
            for it in party.runs[:3]
            for image in it.insight.images
            if image.id == number
        ]
        for party in (weak, strong)
    ]
    assert found.images[0].first == pytest.approx(sum(scores[0]) / 3)
    assert found.images[0].second == pytest.approx(sum(scores[1]) / 3)


def test_everything_is_printed_and_in_json(weak: Side, strong: Side) -> None:
    found = compare(weak, strong)
    shown = "\n".join(map(markdown, grids(found)))
    for text in ("A: weak. B: strong.", "| AP |", "| cat |", "| localization |", "seeds 0, 1, 2"):
        assert text in shown, text
    content = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert content["metrics"][0]["difference"] == pytest.approx(found.ap.value)
    assert len(content["images"]) == NUM_IMAGES and content["meaning"] == meaning(found)
    assert [it["is_told_apart"] for it in content["classes"]] == [True, True]
