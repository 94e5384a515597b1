"""What is wrong with detections, and what AP50 would gain without it: by hand, by plain loops."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.evaluation.detect import measure
from detector.evaluation.errors import KINDS, NO_ERROR, NOBODY, Errors, errors_of
from detector.evaluation.match_records import TRUE, Matches
from reports.breakdown import ERRORS, SPECIAL, shares

CAT, DOG = 3, 7
SQUARE = [0, 0, 10, 10]  # with it, a box that is shifted by 5 has the IoU 1/3, by 9 1/19
NEAR, FAR, APART = [5, 0, 10, 10], [9, 0, 10, 10], [50, 50, 10, 10]


def truth(bbox: Sequence[float], category: int = CAT, image: int = 1, **more: Any) -> dict:
    area = bbox[2] * bbox[3]
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "area": area, **more}


def found(bbox: Sequence[float], score: float, category: int = CAT, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


def data(truths: Sequence[dict], images: Sequence[int] = (1, 2)) -> dict[str, Any]:
    return {
        "images": [{"id": number, "width": 100, "height": 100} for number in images],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": [{"id": n, "iscrowd": 0, **item} for n, item in enumerate(truths, start=1)],
    }


def judged(truths: Sequence[dict], detections: list[dict]) -> tuple[Matches, Errors, float]:
    ground_truth = data(truths)
    numbers, matches = measure(ground_truth, detections)
    return matches, errors_of(matches, ground_truth, detections), numbers["AP50"] or 0.0


def kinds(matches: Matches, errors: Errors) -> list[str]:
    """Of each detection in the order of the list that was evaluated."""
    places = errors.kind[np.argsort(matches.source)]
    return ["" if place == NO_ERROR else KINDS[place] for place in places]


# One error each, and what AP50 gains without it. A class with one truth, which is found behind so
# many false detections that precision is p, has AP50 = p.


def gains(truths: Sequence[dict], detections: list[dict]) -> dict[str, float]:
    matches, errors, _ = judged(truths, detections)
    told = shares(matches, errors)
    assert list(told) == [*ERRORS, *SPECIAL]
    return {name: share.points for name, share in told.items() if share.points}


@pytest.mark.parametrize(
    ("kind", "bbox", "category"),
    [("background", APART, CAT), ("background", FAR, CAT), ("both", NEAR, DOG)],
)
def test_what_is_at_no_truth_of_its_class_costs_the_precision_of_what_comes_after(
    kind: str, bbox: list[float], category: int
) -> None:
    # The false one has the class of the truth that is found: 1 of 2 is right.
    truths = [truth(SQUARE, DOG if kind == "both" else CAT, image=2)]
    truths += [truth(SQUARE, CAT if kind == "both" else DOG)] if kind == "both" else []
    label = truths[0]["category_id"]
    detections = [found(bbox, 0.9, label), found(SQUARE, 0.5, label, image=2)]
    detections += [found(SQUARE, 0.9, CAT)] if kind == "both" else []
    matches, errors, ap50 = judged(truths, detections)
    assert kinds(matches, errors)[:2] == [kind, ""]
    assert ap50 == pytest.approx(75 if kind == "both" else 50)
    gain = 100 - ap50
    assert gains(truths, detections) == pytest.approx({kind: gain, "false positives": gain})


def test_a_box_that_is_a_little_off_costs_its_truth_and_precision() -> None:
    truths, detections = [truth(SQUARE)], [found(NEAR, 0.9)]
    matches, errors, ap50 = judged(truths, detections)
    assert (kinds(matches, errors), ap50) == (["localization"], 0)
    assert not errors.missed.any()  # the truth is not missed: something is at it
    # Without false ones nothing is found; if nothing but what is found is to be found, all is.
    assert gains(truths, detections) == {"localization": 100, "false negatives": 100}


def test_a_wrong_class_costs_two_classes_and_mending_it_helps_both() -> None:
    truths = [truth(SQUARE, DOG), truth(SQUARE, CAT, image=2)]
    detections = [found(SQUARE, 0.9, CAT), found(SQUARE, 0.5, CAT, image=2)]
    matches, errors, ap50 = judged(truths, detections)
    assert (kinds(matches, errors), ap50) == (["classification", ""], 25)  # dogs 0, cats 1/2
    gained = gains(truths, detections)
    assert gained["classification"] == 75
    assert gained["false positives"] == 25  # cats
    assert gained["false negatives"] == 25  # the mean over cats alone, 50
    assert "missed" not in gained


def test_a_second_box_on_a_truth_costs_precision_alone() -> None:
    truths = [truth(SQUARE), truth(SQUARE, image=2)]
    detections = [found(SQUARE, 0.9), found([0, 0, 10, 9], 0.8), found(SQUARE, 0.5, image=2)]
    matches, errors, ap50 = judged(truths, detections)
    assert kinds(matches, errors) == ["", "duplicate", ""]
    assert errors.target[np.argsort(matches.source)].tolist() == [0, 0, 1]
    expected = 100 * (51 + 50 * 2 / 3) / 101  # recall 0 to 0.5 at precision 1, the rest at 2 of 3
    assert ap50 == pytest.approx(expected)
    assert gains(truths, detections) == pytest.approx(
        {"duplicate": 100 - expected, "false positives": 100 - expected}
    )


def test_a_truth_that_nothing_is_at_is_missed() -> None:
    truths, detections = [truth(SQUARE), truth(SQUARE, image=2)], [found(SQUARE, 0.9)]
    matches, errors, ap50 = judged(truths, detections)
    assert errors.missed.tolist() == [False, True]
    assert ap50 == pytest.approx(100 * 51 / 101)
    lost = 100 - ap50
    assert gains(truths, detections) == pytest.approx({"missed": lost, "false negatives": lost})


def test_who_finds_nothing_at_all_misses_everything() -> None:
    matches, errors, ap50 = judged([truth(SQUARE)], [])
    assert ap50 == 0 and errors.missed.all()
    told = shares(matches, errors)
    assert asdict(told["missed"]) == {"count": 1, "points": 100.0}
    assert asdict(told["background"]) == {"count": 0, "points": 0.0}


@pytest.mark.parametrize(("error", "right"), [(0.9, 0.5), (0.5, 0.9)])
def test_of_a_mended_detection_and_the_one_that_was_right_the_lower_score_goes(
    error: float, right: float
) -> None:
    """A dog that is called a cat as well: with one of them, everything is right."""
    truths = [truth(SQUARE, DOG), truth(SQUARE, CAT, image=2)]
    detections = [
        *(found(SQUARE, right, DOG), found(APART, 0.7, DOG)),
        *(found(SQUARE, error, CAT), found(SQUARE, 0.6, CAT, image=2)),
    ]
    matches, errors, ap50 = judged(truths, detections)
    assert kinds(matches, errors) == ["", "background", "classification", ""]
    dogs, cats = (100 if right > 0.7 else 50), (100 if error < 0.6 else 50)
    assert ap50 == pytest.approx((dogs + cats) / 2)
    mended = ap50 + gains(truths, detections).get("classification", 0.0)
    assert mended == pytest.approx(100)  # the better of the two dogs comes before the background


def test_of_several_boxes_for_one_truth_only_the_best_becomes_right() -> None:
    truths, off = [truth(SQUARE)], [found(NEAR, 0.9), found([0, 5, 10, 10], 0.8)]
    matches, errors, _ = judged(truths, off)
    assert kinds(matches, errors) == ["localization"] * 2
    assert shares(matches, errors)["localization"].points == 100
    truths.append(truth(SQUARE, image=2))  # what is found in the end has 2 of 2 before it, not 2/3
    matches, errors, ap50 = judged(truths, [*off, found(SQUARE, 0.5, image=2)])
    assert ap50 + shares(matches, errors)["localization"].points == pytest.approx(100)


def test_crowds_are_no_truths_and_what_lies_in_them_no_error() -> None:
    truths = [truth([0, 0, 90, 90], iscrowd=1), truth(SQUARE, DOG, image=2)]
    detections = [found(APART, 0.9), found(APART, 0.8, DOG), found(SQUARE, 0.7, DOG, image=2)]
    matches, errors, _ = judged(truths, detections)
    assert kinds(matches, errors) == ["", "background", ""]
    assert errors.missed.tolist() == [False, False]
    told = shares(matches, errors)
    assert told["false negatives"].count == 0 and told["false positives"].count == 1


def test_what_fits_two_kinds_is_the_first_of_the_authors_order() -> None:
    truths = [truth(SQUARE, CAT), truth(NEAR, DOG)]
    off_and_wrong = found([4, 0, 10, 10], 0.9)  # 6/14 with the cat, 9/11 with the dog
    matches, errors, _ = judged(truths, [off_and_wrong])
    assert kinds(matches, errors) == ["localization"]
    assert errors.target.tolist() == [0] and errors.missed.tolist() == [False, True]
    same = [truth(SQUARE, CAT), truth(SQUARE, DOG)]
    matches, errors, _ = judged(same, [found(SQUARE, 0.9), found(SQUARE, 0.8)])
    assert kinds(matches, errors) == ["", "classification"]  # as much a duplicate


# The plain version


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (one[2] * one[3] + other[2] * other[3] - width * height)


def plain_errors(
    ground_truth: dict[str, Any], detections: list[dict], states: list[int]
) -> tuple[list[str], list[int], list[bool]]:
    """Kind and target of each detection, in COCO's order of them; which truths are missed."""
    truths = ground_truth["annotations"]
    counted = [n for n, item in enumerate(truths) if not item["iscrowd"]]
    holder: dict[int, int] = {}
    names, targets = [""] * len(detections), [NOBODY] * len(detections)
    for d in sorted(range(len(detections)), key=lambda d: -detections[d]["score"]):
        if states[d] == TRUE:
            mine = [n for n in counted if same(truths[n], detections[d]) and n not in holder]
            targets[d] = max(mine, key=lambda n: (iou(truths[n]["bbox"], detections[d]["bbox"]), n))
            holder[targets[d]] = d
    for d, item in enumerate(detections):
        if states[d] != 0:
            continue
        here = [n for n in counted if truths[n]["image_id"] == item["image_id"]]
        own = {n: iou(truths[n]["bbox"], item["bbox"]) for n in here if same(truths[n], item)}
        other = {n: iou(truths[n]["bbox"], item["bbox"]) for n in here if n not in own}
        best_own, best_other = max(own.values(), default=0.0), max(other.values(), default=0.0)
        if 0.1 <= best_own < 0.5:
            names[d], targets[d] = "localization", first(own, best_own)
        elif best_other >= 0.5:
            names[d], targets[d] = "classification", first(other, best_other)
        elif best_own >= 0.5:
            names[d], targets[d] = "duplicate", first(own, best_own)
        else:
            names[d] = "background" if max(best_own, best_other) < 0.1 else "both"
    return names, targets, [n in counted and n not in targets for n in range(len(truths))]


def same(one: dict, other: dict) -> bool:
    return (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])


def first(overlaps: dict[int, float], value: float) -> int:
    return min(n for n, overlap in overlaps.items() if overlap == value)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict]]:
    """Two images, two classes, boxes on a coarse grid, so that overlaps, ties and crowds abound."""
    side, score = st.sampled_from([4, 8, 10]), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
    where = st.tuples(st.integers(0, 6), st.integers(0, 3), side, side).map(list)
    image, category = st.sampled_from([1, 2]), st.sampled_from([CAT, DOG])
    truths = [
        truth(draw(where), draw(category), draw(image), iscrowd=int(draw(st.integers(0, 5)) == 0))
        for _ in range(draw(st.integers(0, 6)))
    ]
    detections = [
        found(draw(where), draw(score), draw(category), draw(image))
        for _ in range(draw(st.integers(0, 10)))
    ]
    return data(truths), detections


@given(scenes())
def test_errors_are_those_of_the_plain_version(scene: tuple[dict[str, Any], list[dict]]) -> None:
    ground_truth, detections = scene
    _, matches = measure(ground_truth, detections)
    errors = errors_of(matches, ground_truth, detections)
    ordered = [detections[place] for place in matches.source]
    states = matches.state[:, 0, 0].tolist()
    names, targets, missed = plain_errors(ground_truth, ordered, states)
    assert ["" if kind == NO_ERROR else KINDS[kind] for kind in errors.kind] == names
    assert errors.target.tolist() == targets
    assert errors.missed.tolist() == missed


@given(scenes())
def test_gains_are_what_mending_the_lists_by_hand_gives(
    scene: tuple[dict[str, Any], list[dict]],
) -> None:
    ground_truth, detections = scene
    numbers, matches = measure(ground_truth, detections)
    if numbers["AP50"] is None:
        return
    errors = errors_of(matches, ground_truth, detections)
    told = shares(matches, errors)
    for name in (*ERRORS, *SPECIAL):
        mended = ap50_without(ground_truth, detections, matches, errors, name)
        assert told[name].points == pytest.approx(mended - numbers["AP50"], abs=1e-9), name
        assert told[name].points >= -1e-9, name


def ap50_without(
    ground_truth: dict[str, Any],
    detections: list[dict],
    matches: Matches,
    errors: Errors,
    name: str,
) -> float:
    """Each detection's line in the list is crossed out, corrected, or left."""
    truths = ground_truth["annotations"]
    lines = []  # score, category, truth or None, whether it was mended; in COCO's order
    for d, place in enumerate(matches.source):
        score, category = detections[place]["score"], detections[place]["category_id"]
        state, target = int(matches.state[d, 0, 0]), int(errors.target[d])
        kind = KINDS[errors.kind[d]] if errors.kind[d] != NO_ERROR else ""
        if state == TRUE:
            lines.append((score, category, target, False))
        elif state == 0 and kind == name in ("classification", "localization"):
            lines.append((score, truths[target]["category_id"], target, True))
        elif state == 0 and name not in (kind, "false positives"):
            lines.append((score, category, None, False))
    best: dict[int, tuple] = {}
    for line in lines:
        held = best.get(line[2], line)
        best[line[2]] = min(held, line, key=lambda it: (-it[0], it[3]))
    lines = [line for line in lines if line[2] is None or best[line[2]] is line]
    wanted = [n for n, item in enumerate(truths) if not item["iscrowd"]]
    if name == "missed":
        wanted = [n for n in wanted if not errors.missed[n]]
    if name == "false negatives":
        wanted = [line[2] for line in lines if line[2] is not None]
    return by_the_book(lines, [truths[n]["category_id"] for n in wanted])


def by_the_book(lines: list[tuple], wanted: list[int]) -> float:
    """AP50 in percent: the mean over the classes of the mean over 101 recalls."""
    averages = []
    for category in set(wanted):
        mine = sorted((line for line in lines if line[1] == category), key=lambda line: -line[0])
        right = [line[2] is not None for line in mine]
        sums = [sum(right[: n + 1]) for n in range(len(right))]
        points = [(total / wanted.count(category), total / (n + 1)) for n, total in enumerate(sums)]
        highest = [
            max((precision for recall, precision in points if recall >= level / 100), default=0.0)
            for level in range(101)
        ]
        averages.append(100 * sum(highest) / 101)
    return sum(averages) / len(averages) if averages else 100.0


@pytest.mark.slow
def test_as_many_detections_as_cocos_take_seconds() -> None:
    """5,000 images with 7 objects and 100 detections each, 80 classes, as made records."""
    matches, ground_truth, detections = like_coco(5000)
    begun = process_time()
    shares(matches, errors_of(matches, ground_truth, detections))
    assert process_time() - begun < 20


def like_coco(num_images: int) -> tuple[Matches, dict[str, Any], list[dict]]:
    """Random boxes; whatever overlaps a truth of its class enough is called true, once a truth."""
    draw = random.Random(0)
    truths, detections = [], []
    for image in range(num_images):
        for _ in range(7):
            bbox = [draw.uniform(0, 500), draw.uniform(0, 400), draw.uniform(5, 140), 60.0]
            truths.append(truth(bbox, draw.randrange(80), image))
        here = truths[-7:]
        for _ in range(100):
            near = draw.choice(here)
            bbox = [side + draw.uniform(-9, 9) for side in near["bbox"][:2]] + near["bbox"][2:]
            label = near["category_id"] if draw.random() < 0.5 else draw.randrange(80)
            detections.append(found(bbox, round(draw.random(), 6), label, image))
    taken: set[int] = set()
    order = sorted(
        range(len(detections)),
        key=lambda n: (detections[n]["category_id"], -detections[n]["score"]),
    )
    state = np.zeros((len(order), 4, 10), dtype=np.uint8)
    for row, n in enumerate(order):
        item = detections[n]
        first_here = 7 * item["image_id"]
        for t in range(first_here, first_here + 7):
            is_own = truths[t]["category_id"] == item["category_id"] and t not in taken
            if is_own and iou(truths[t]["bbox"], item["bbox"]) >= 0.5:
                taken.add(t)
                state[row] = TRUE
                break
    ids = [detections[n] for n in order]
    matches = Matches(
        image_ids=np.arange(num_images),
        category_ids=np.arange(80),
        image=np.array([item["image_id"] for item in ids], dtype=np.int32),
        category=np.array([item["category_id"] for item in ids], dtype=np.int16),
        score=np.array([item["score"] for item in ids]),
        state=state,
        source=np.array(order, dtype=np.int32),
        truth_image=np.array([item["image_id"] for item in truths], dtype=np.int32),
        truth_category=np.array([item["category_id"] for item in truths], dtype=np.int16),
        truth_counts=np.ones((len(truths), 4), dtype=bool),
        truth_source=np.arange(len(truths), dtype=np.int32),
    )
    return matches, {"annotations": truths}, detections
