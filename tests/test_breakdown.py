"""What is behind a run's numbers: curves, classes, images, what is wrong with each detection, and
what AP50 would gain without it; by hand, and by plain loops.
"""

from dataclasses import asdict, replace

import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from made_up_folder import CAT, DOG
from test_matching import scene

from detector.evaluation.detect import measure, six
from detector.evaluation.errors import KINDS, NO_ERROR, NOBODY, errors_of
from detector.evaluation.match_records import TRUE
from reports.breakdown import ERRORS, SPECIAL, ClassInsight, ImageInsight, insight

SQUARE = [0, 0, 10, 10]  # with it, a box that is shifted by 5 has the IoU 1/3
NEAR, APART = [5, 0, 10, 10], [50, 50, 10, 10]


def truth(bbox, category=CAT, image=1, **more):
    area = bbox[2] * bbox[3]
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "area": area, **more}


def found(bbox, score, category=CAT, image=1):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


def data(truths, images=(1, 2)):
    return {
        "images": [{"id": number, "width": 100, "height": 100} for number in images],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": [{"id": n, "iscrowd": 0, **item} for n, item in enumerate(truths, start=1)],
    }


def looked_into(truth, detections_):
    _, matches = measure(truth, detections_)
    return insight(matches, truth, detections_)


def test_an_images_score_is_its_f1_over_the_ious():
    truths = [truth(SQUARE), truth([50, 50, 10, 10]), truth(SQUARE, image=3)]
    detections_ = [
        found([0, 0, 10, 8], 0.9),  # IoU 0.8: true at 7 of 10
        found([30, 30, 10, 10], 0.7),  # nothing there
        found(SQUARE, 0.8, image=3),
        found(SQUARE, 0.1, image=3),  # below the threshold
    ]
    looked = looked_into(data(truths, images=(1, 2, 3)), detections_)
    assert looked.classes == (ClassInsight(CAT, "cat", 3), ClassInsight(DOG, "dog", 0))
    assert looked.threshold == 0.8  # 2 of 2 are right, and 2 of 3 found
    assert looked.images[0] == ImageInsight(1, pytest.approx(0.7 * 200 / 3, abs=0.01), 1, 1, 0)
    assert looked.images[1] == ImageInsight(2, None, 0, 0, 0)  # nothing to be found
    assert looked.images[2] == ImageInsight(3, 100.0, 1, 0, 0)


def best_threshold(matches):
    """By trying every score."""
    states = matches.state[:, 0, 0].tolist()
    pairs = [(s, st == 1) for s, st in zip(matches.score.tolist(), states, strict=True) if st != 2]
    truths = int(matches.truth_counts[:, 0].sum())

    def f1(score):
        counted = [is_true for s, is_true in pairs if s >= score]
        return 2 * sum(counted) / (len(counted) + truths)

    return max({s for s, _ in pairs}, key=lambda s: (f1(s), s), default=0.0)


def test_the_best_and_the_worst_have_the_most_objects_of_equal_ones():
    images = [(1, 100.0, 1, 0, 0), (2, 100.0, 2, 0, 0), (3, 0.0, 0, 1, 0), (4, 0.0, 0, 5, 0)]
    images += [(5, None, 0, 0, 3), (6, 50.0, 1, 1, 0)]
    looked = replace(looked_into(data([]), []), images=tuple(ImageInsight(*it) for it in images))
    assert [image.id for image in looked.best(3)] == [2, 1, 6]
    assert [image.id for image in looked.worst(3)] == [4, 3, 6]
    assert len(looked.best(9)) == 5  # never one without a score


# The plain version of what is wrong with each detection, and of what AP50 gains without it


def iou(one, other):
    """Of two objects, whose boxes have a width and a height."""
    boxes = ((x, y, x + width, y + height) for x, y, width, height in (one["bbox"], other["bbox"]))
    return reference.iou(*boxes)


def plain_errors(ground_truth, detections, states):
    """Kind and target of each detection, in COCO's order of them; which truths are missed."""
    truths = ground_truth["annotations"]
    counted = [n for n, item in enumerate(truths) if not item["iscrowd"]]
    names, targets = [""] * len(detections), [NOBODY] * len(detections)
    for d in sorted(range(len(detections)), key=lambda d: -detections[d]["score"]):
        if states[d] == TRUE:
            mine = [n for n in counted if same(truths[n], detections[d]) and n not in targets]
            targets[d] = max(mine, key=lambda n: (iou(truths[n], detections[d]), n))
    for d, item in enumerate(detections):
        if states[d] != 0:
            continue
        here = [n for n in counted if truths[n]["image_id"] == item["image_id"]]
        own = {n: iou(truths[n], item) for n in here if same(truths[n], item)}
        other = {n: iou(truths[n], item) for n in here if n not in own}
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


def same(one, other):
    return (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])


def first(overlaps, value):
    return min(n for n, overlap in overlaps.items() if overlap == value)


# Scenes by hand. Of equal ones the true one stays; of a mended one and the one that was right, the
# lower score goes; what fits two kinds is the first of the authors' order.
TIED = [found(APART, 0.5, DOG), found(SQUARE, 0.5, DOG, 2), found(SQUARE, 0.5, CAT, 2)]
LEFT, DOWN = found(NEAR, 0.9), found([0, 5, 10, 10], 0.8)  # two for one truth
NAMED = [found(SQUARE, 0.5, DOG), found(APART, 0.7, DOG), found(SQUARE, 0.9, CAT)]


@given(st.integers(0, 10**6).map(lambda seed: scene(seed, num_images=2, num_categories=2)))
@example((data([truth(SQUARE, DOG, 2)]), TIED))
@example((data([truth(SQUARE), truth(APART)]), [found(SQUARE, 0.9), *[found(APART, 0.5)] * 4]))
@example((data([truth(SQUARE), truth(SQUARE, image=2)]), [LEFT, DOWN, found(SQUARE, 0.5, image=2)]))
@example(
    (data([truth(SQUARE, DOG), truth(SQUARE, image=2)]), [*NAMED, found(SQUARE, 0.6, image=2)])
)
@example((data([truth([0, 0, 90, 90], iscrowd=1), truth(SQUARE, DOG, 2)]), NAMED))
@example((data([truth(SQUARE), truth(NEAR, DOG)]), [found([4, 0, 10, 10], 0.9)]))
def test_curves_errors_and_gains_are_those_of_the_plain_version(evaluated):
    ground_truth, detections_ = evaluated
    numbers, matches = measure(ground_truth, detections_)
    looked = insight(matches, ground_truth, detections_)
    known = {name: it for name, it in asdict(six(numbers)).items() if it is not None}
    means = {name: sum(curve) / 101 for name, curve in looked.precision.items()}
    assert means == pytest.approx(known, abs=0.01)
    assert all([*curve] == sorted(curve, reverse=True) for curve in looked.precision.values())
    assert looked.threshold == best_threshold(matches)
    errors = errors_of(matches, ground_truth, detections_)
    ordered = [detections_[place] for place in matches.source]
    names, targets, missed = plain_errors(ground_truth, ordered, matches.state[:, 0, 0].tolist())
    assert ["" if kind == NO_ERROR else KINDS[kind] for kind in errors.kind] == names
    assert errors.target.tolist() == targets
    assert errors.missed.tolist() == missed
    assert list(looked.errors) == [*ERRORS, *SPECIAL]
    wrong = {name: names.count(name) for name in KINDS} | {"missed": sum(missed)}
    wrong |= {"false positives": len(names) - names.count("")}
    assert wrong == {name: looked.errors[name].count for name in wrong}
    if numbers["AP50"] is not None:
        for name, share in looked.errors.items():
            mended = ap50_without(ground_truth, detections_, matches, errors, name)
            assert share.points == pytest.approx(mended - numbers["AP50"], abs=1e-9), name
            assert share.points >= -1e-9, name


def ap50_without(ground_truth, detections, matches, errors, name):
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
    best = {}
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


def by_the_book(lines, wanted):
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
