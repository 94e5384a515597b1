"""Two configurations side by side: numbers of each class, what counts, what is said of it.

What is printed of a comparison is among the goldens of test_oracles.py.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from statistics import NormalDist, fmean

import numpy as np
import pytest
from made_up_folder import CAT, DOG, detections, ground_truth
from test_matching import copied
from test_oracles import check

from detector.evaluation.detect import measure, six
from reports.breakdown import insight
from reports.coco_bootstrap import class_precisions, recalls, score
from reports.intervals import Estimate
from reports.paired import Difference, Measured, Side, compare, extremes, grids, holm, meaning

UNCLEAR = Estimate(
    value=0.8, low=-0.1, high=1.7, image_error=0.3, seed_error=0.2, num_seeds=3, num_images=300
)


def side(name, skill, seeds, truth=None, **facts) -> Side:
    truth, runs = truth or ground_truth(30), []
    for seed in seeds:
        found = detections(truth, seed, skill)
        numbers, matches = measure(truth, found)
        scores = score(f"{seed:012}", seed, six(numbers), matches)
        looked = insight(matches, truth, found)
        runs.append(Measured(scores=scores, matches=matches, insight=looked))
    return Side(name=name, runs=tuple(runs), facts=facts)


@pytest.fixture(scope="module", autouse=True)
def _fewer_samples() -> Iterator[None]:
    """Nothing here depends on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("coco_bootstrap.RESAMPLES", "paired.RESAMPLES", "paired.CLASS_RESAMPLES"):
            patch.setattr(f"reports.{name}", 100)
        yield


@pytest.fixture(scope="module")
def weak() -> Side:
    return side("weak", 0.3, [0, 1, 2], scale="demo")


@pytest.fixture(scope="module")
def strong() -> Side:
    return side("strong", 0.9, [0, 1, 2, 3], scale="demo")


# Numbers of each class


def test_numbers_of_resampled_images_are_those_of_the_data_set_that_they_make():
    truth = ground_truth(8)
    found = detections(truth, 1, 0.6)
    _, matches = measure(truth, found)
    draw = random.Random(0)
    weights = [[draw.randrange(3) for _ in range(8)] for _ in range(6)] + [[1] * 8, [0] * 8]
    of_classes = class_precisions(matches, np.array(weights, dtype=np.uint8))
    of_recall = recalls(matches, np.array(weights, dtype=np.uint8))
    for row, drawn in enumerate(weights):
        data, results = copied(truth, found, drawn)
        expected = [measure(data, results)[0]["AR100"]]
        for category in (CAT, DOG):
            mine, theirs = (
                [it for it in items if it["category_id"] == category]
                for items in (data["annotations"], results)
            )
            expected.append(measure({**data, "annotations": mine}, theirs)[0]["AP"])
        known = [np.nan if value is None else value for value in expected]
        assert [of_recall[row], *of_classes[row]] == pytest.approx(known, nan_ok=True)


@pytest.mark.parametrize("seed", range(20))
def test_holms_method_is_holms(seed):
    draw = random.Random(seed)
    chances = [draw.choice([0.0001, 0.0099, 0.012, 0.02, 0.04, 0.06, 0.5]) for _ in range(6)]
    expected, left = set(), len(chances)
    for place in sorted(range(6), key=lambda place: chances[place]):
        if chances[place] > 0.05 / left:
            break
        expected.add(place)
        left -= 1
    normal, about = NormalDist(), replace(UNCLEAR, image_error=1.0, seed_error=None)
    found = [replace(about, value=normal.inv_cdf(chance / 2)) for chance in chances]
    assert holm(found) == expected and holm([None]) == set()


# The comparison


def test_what_is_much_better_is_told_apart_in_everything(weak, strong):
    found, turned = compare(weak, strong), compare(strong, weak)
    assert found.seeds == ((0, 1, 2), (0, 1, 2))
    assert found.notes == ("Of the seeds that both have, so without 3.",)
    assert all(it.estimate.low > 0 and it.estimate.num_seeds == 3 for it in found.metrics)
    assert all(it.is_told_apart for it in found.classes)
    # Images are ranked by how much the means of their scores differ.
    sizes = [abs(it.difference) for it in found.images]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 30
    largest, place = found.images[0], int(found.images[0].name) - 1
    columns = [[run.insight.images[place].score for run in it.runs[:3]] for it in (weak, strong)]
    assert [largest.first, largest.second] == pytest.approx([*map(fmean, columns)])
    # Turned around every difference changes its sign.
    for there, back in zip(found.metrics, turned.metrics, strict=True):
        assert there.difference == pytest.approx(-back.difference)
        assert there.estimate.low == pytest.approx(-back.estimate.high)
    better, worse = ([[it.name for it in part] for part in extremes(it)] for it in (found, turned))
    assert better == worse[::-1]


def test_a_configuration_is_not_told_apart_from_its_like(weak):
    found = compare(weak, side("twin", 0.3, [5, 6], scale="demo"))
    assert found.notes == ("They share no seed, so seeds are not paired; images are.",)
    assert not found.metrics[0].estimate.excludes_zero
    assert not any(it.is_told_apart for it in found.classes)
    assert "2 seeds and 30 images)" in meaning(found)


ESTIMATES = [  # what is known of AP; None: nothing
    {"low": 0.1},
    {},
    {"value": -0.02},
    {"num_seeds": 1},
    {"num_seeds": 1, "value": -0.8, "low": -1.7, "high": -0.1},
    None,
]


def test_it_is_said_in_one_sentence_and_what_more_would_take(weak, strong):
    one_seed = compare(*(replace(it, runs=it.runs[:1]) for it in (weak, strong)))
    assert one_seed.metrics[0].estimate.seed_error is None
    assert any("not of configurations" in note for note in grids(one_seed)[0].notes)
    said = []
    for changes in ESTIMATES:
        known = None if changes is None else replace(UNCLEAR, **changes)
        ap = Difference("AP", 30.0, 30.8, 0.8, known)
        said.append(meaning(replace(one_seed, metrics=(ap, *one_seed.metrics[1:]))))
    check("tables/meanings.txt", "\n".join(said) + "\n")


def test_a_class_in_few_images_has_no_interval():
    rare = ground_truth(30)
    for place, item in enumerate(rare["annotations"]):
        item["category_id"] = DOG if place < 9 else CAT
    found = compare(*(side(str(it), it, [0], rare) for it in (0.2, 0.9))).classes
    cat, dog = sorted(found, key=lambda it: it.name)
    assert dog.estimate is None and not dog.is_told_apart and dog.difference is not None
    assert cat.estimate is not None


def test_other_images_and_classes_are_refused_and_other_circumstances_told(weak):
    more = ground_truth(30)
    more["categories"].append({"id": 9, "name": "cow"})
    for truth in (ground_truth(20), more):
        with pytest.raises(ValueError, match="'weak' and 'other' .* on other images or c"):
            compare(weak, side("other", 0.5, [0], truth))
    other = replace(weak, name="other", facts={"scale": "mini"})
    assert compare(weak, other).notes == ("They differ in scale: demo (A), mini (B).",)
