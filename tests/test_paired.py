"""Two configurations side by side: numbers of each class, what counts, what is said of it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from made_up_runs import CAT, DOG, described, detections
from test_matching import copied

from detector.evaluation.detect import measure, six
from reports import coco_bootstrap, paired
from reports.breakdown import insight
from reports.coco_bootstrap import class_precisions, recalls, score
from reports.intervals import Estimate
from reports.paired import Difference, Measured, Side, compare, extremes, grids, meaning


def side(name: str, right: float, seeds: Sequence[int], truth: Any = None, **facts: str) -> Side:
    runs, truth = [], truth or described(30)
    for seed in seeds:
        found = detections(truth["annotations"], right, seed)
        numbers, matches = measure(truth, found)
        scores = score(f"{seed:012}", seed, six(numbers), matches)
        looked = insight(matches, truth, found)
        runs.append(Measured(scores=scores, matches=matches, insight=looked))
    return Side(name=name, runs=tuple(runs), facts=facts)


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


def test_classes_of_resampled_images_are_those_of_the_data_set_that_they_make() -> None:
    truth = described(8)
    found = detections(truth["annotations"], 0.6, 1)
    _, matches = measure(truth, found)
    draw = random.Random(0)
    weights = [[draw.randrange(3) for _ in range(8)] for _ in range(6)] + [[1] * 8, [0] * 8]
    of_classes = class_precisions(matches, np.array(weights, dtype=np.uint8))
    of_recall = recalls(matches, np.array(weights, dtype=np.uint8))
    for row, drawn in enumerate(weights):
        data, results = copied(truth, found, drawn)
        recall = measure(data, results)[0]["AR100"]
        expected = pytest.approx(np.nan if recall is None else recall, nan_ok=True)
        assert of_recall[row] == expected
        for column, category in enumerate((CAT, DOG)):
            mine, theirs = (
                [it for it in items if it["category_id"] == category]
                for items in (data["annotations"], results)
            )
            ap = measure({**data, "annotations": mine}, theirs)[0]["AP"]
            expected = pytest.approx(np.nan if ap is None else ap, nan_ok=True)
            assert of_classes[row, column] == expected


def test_what_is_much_better_is_told_apart_in_everything(weak: Side, strong: Side) -> None:
    found = compare(weak, strong)
    assert found.seeds == ([0, 1, 2], [0, 1, 2]) and found.num_images == 30
    assert found.notes == ["Of the seeds that both have, so without 3."]
    assert [it.name for it in found.metrics] == ["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR"]
    ap, *_, recall = found.metrics
    assert ap.estimate.low > 0 and ap.estimate.num_seeds == 3
    assert recall.estimate.low > 0 and recall.estimate.seed_error is not None
    assert ap.difference == pytest.approx(ap.second - ap.first)
    assert all(it.estimate.low > 0 and it.num_truths > 30 for it in found.classes)
    points = {it.name: it.difference for it in found.errors}
    assert points["false positives"] < 0 and points["false negatives"] < 0
    assert meaning(found).startswith("Told apart: strong has ")
    # Images are ranked by how much the means of their scores differ.
    for ranked in (found.classes, found.images):
        sizes = [abs(it.difference) for it in ranked]
        assert sizes == sorted(sizes, reverse=True)
    largest, place = found.images[0], int(found.images[0].name) - 1
    columns = [[run.insight.images[place].score for run in it.runs[:3]] for it in (weak, strong)]
    assert [largest.first, largest.second] == pytest.approx([*map(fmean, columns)])
    assert len(found.images) == 30
    (best, worst), (back, forth) = extremes(found), extremes(compare(strong, weak))
    assert [it.name for it in best] == [it.name for it in forth] and len(best) == 5
    assert [it.name for it in worst] == [it.name for it in back]
    assert all(it.difference > 0 for it in best) and all(it.difference < 0 for it in worst)


def test_a_configuration_is_not_told_apart_from_its_like(weak: Side) -> None:
    found = compare(weak, side("twin", 0.3, [5, 6], scale="demo"))
    assert found.notes == ["They share no seed, so seeds are not paired; images are."]
    assert not found.metrics[0].estimate.excludes_zero
    assert "2 seeds and 30 images)" in meaning(found)


ESTIMATE = Estimate(
    value=0.8, low=-0.1, high=1.7, image_error=0.3, seed_error=0.2, num_seeds=3, num_images=300
)
WANTED = f"; from {ESTIMATE.visible():.1f} AP on these seeds and images would have shown it."
MORE, LESS = "strong has 0.8 AP more than weak (95 % ", "strong has 0.8 AP less than weak (95 % "
BELOW = {"num_seeds": 1, "value": -0.8, "low": -1.7, "high": -0.1}
SAID = [  # what an estimate changes, and how what is said of it begins and ends
    ({"low": 0.1}, f"Told apart: {MORE}", "interval +0.1 to +1.7, over 3 seeds and 300 images)."),
    ({}, f"Not told apart: {MORE}", WANTED),
    ({"num_seeds": 1}, f"Not told apart: {MORE}", "; only more seeds can tell."),
    (BELOW, f"Told apart as trained weights: {LESS}", " differ only more seeds can tell."),
    (None, "AP is undefined for one of them", "nothing can be said."),
]


@pytest.mark.parametrize(("changes", "begin", "end"), SAID)
def test_it_is_said_in_one_sentence_and_what_more_would_take(
    weak: Side, strong: Side, changes: dict[str, Any] | None, begin: str, end: str
) -> None:
    found = compare(*(replace(it, runs=it.runs[:1]) for it in (weak, strong)))
    assert found.metrics[0].estimate.seed_error is None
    assert any("not of configurations" in note for note in grids(found)[0].notes)
    known = None if changes is None else replace(ESTIMATE, **changes)
    ap = Difference("AP", 30.0, 30.8, 0.8, known)
    said = meaning(replace(found, metrics=[ap, *found.metrics[1:]]))
    assert said.startswith(begin) and said.endswith(end)


def test_a_class_in_few_images_has_no_interval() -> None:
    rare = described(30)
    for place, item in enumerate(rare["annotations"]):
        item["category_id"] = DOG if place < 9 else CAT
    found = compare(*(side(str(it), it, [0], rare) for it in (0.2, 0.9))).classes
    cat, dog = sorted(found, key=lambda it: it.name)
    assert dog.estimate is None and dog.difference is not None and cat.estimate is not None


def test_other_images_and_classes_are_refused_and_other_circumstances_told(weak: Side) -> None:
    fewer = side("fewer", 0.5, [0], described(20))
    more = described(30)
    more["categories"].append({"id": 9, "name": "cow"})
    for other in (fewer, side("more", 0.5, [0], more)):
        with pytest.raises(ValueError, match=rf"'weak' and '{other.name}' .* on other images or c"):
            compare(weak, other)
    other = replace(weak, name="other", facts={"scale": "mini"})
    assert compare(weak, other).notes == ["They differ in scale: demo (A), mini (B)."]
