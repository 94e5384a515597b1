"""Selections by what the network predicts, held against their definitions in plain Python."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from reference import IGNORED, NEGATIVE, center, distances, iou, is_inside
from scenes import anchors_of, boxes_tensor, plain, random_boxes, uneven_boxes
from sklearn.mixture import GaussianMixture
from torch.nn.utils.rnn import pad_sequence

from detector.assigners import assign_atss, build_assigner
from detector.prediction_assigners import Predicted
from experiments.baselines import ATSS

CLASSES = 3
SIZE = (96, 128)
BY_PREDICTION = ("tal", "simota", "paa", "poto")


def random_prediction(draw, levels, boxes):
    """Boxes near the anchors or near an object, and probabilities as of a training's middle."""
    anchors, labels = torch.cat(levels), [draw.randrange(CLASSES) for _ in boxes]
    predicted = []
    for anchor in anchors.tolist():
        base = draw.choice([anchor, *boxes]) if boxes else anchor
        predicted.append([side + draw.uniform(-6, 6) for side in base])
    predicted = torch.tensor(predicted)
    predicted = torch.cat([predicted[:, :2], torch.maximum(predicted[:, :2], predicted[:, 2:])], 1)
    probabilities = [[draw.random() ** 2 for _ in range(CLASSES)] for _ in anchors]
    return Predicted(torch.tensor(probabilities), predicted, torch.tensor(labels).long())


def places(levels, box, radius):
    """Of every anchor: is its center in the box, and within radius x stride of the box's center?"""
    (cx, cy), found = center(box), []
    for level, stride in zip(levels, reference.STRIDES, strict=False):
        for x, y in map(center, level):
            is_central = max(abs(x - cx), abs(y - cy)) < radius * stride
            found.append((min(distances((x, y), box)) > 0, is_central))
    return found


def limited(matched, anchors, boxes):
    return [
        IGNORED if g >= 0 and not is_inside(center(anchor), boxes[g]) else g
        for g, anchor in zip(matched, anchors, strict=True)
    ]


def best_first(values):
    return sorted(range(len(values)), key=lambda index: -values[index])


def best_inside(levels, boxes, ious, k, score):
    """Of each object g the k anchors a of highest score(g, a), if their center is in it."""
    anchors = sum(levels, [])
    found = [[] for _ in anchors]
    for g, box in enumerate(boxes):
        scores = [score(g, a) for a in range(len(anchors))]
        for a in best_first(scores)[:k]:
            if scores[a] > 0 and is_inside(center(anchors[a]), box):
                found[a].append((ious[g][a], g))
    return [reference.highest(its, 0) for its in found]


def top_k(levels, boxes, predicted):
    anchors = sum(levels, [])
    ious = [[iou(anchor, box) for anchor in anchors] for box in boxes]
    away = [[math.dist(center(anchor), center(box)) for anchor in anchors] for box in boxes]
    scale = 1000 * max(map(max, away))
    return best_inside(levels, boxes, ious, 9, lambda g, a: 1 + ious[g][a] - away[g][a] / scale)


def task_aligned(levels, boxes, predicted):
    ious = [[iou(p, box) for p in predicted.boxes.tolist()] for box in boxes]
    sure, labels = predicted.probabilities.tolist(), predicted.labels.tolist()
    return best_inside(levels, boxes, ious, 13, lambda g, a: sure[a][labels[g]] * ious[g][a] ** 6)


def simota(levels, boxes, predicted):
    anchors, is_near = sum(levels, []), [places(levels, box, 2.5) for box in boxes]
    near = [a for a in range(len(anchors)) if any(any(line[a]) for line in is_near)]
    costs, wants = {}, {a: [] for a in near}
    for g, (box, label) in enumerate(zip(boxes, predicted.labels.tolist(), strict=True)):
        ious = {}
        for a in near:
            ious[a] = iou(predicted.boxes[a].tolist(), box)
            terms = [
                -max(math.log(p if c == label else 1 - p), -100)
                for c, p in enumerate(predicted.probabilities[a].tolist())
            ]
            costs[a, g] = sum(terms) - 3 * math.log(ious[a] + 1e-7)
            costs[a, g] += 0 if all(is_near[g][a]) else 1e5
        k = max(1, math.floor(sum(sorted(ious.values())[-10:]) + 1e-6))
        for a in sorted(near, key=lambda a: costs[a, g])[:k]:
            wants[a].append(g)
    matched = [NEGATIVE] * len(anchors)
    for a, objects in wants.items():
        if objects:
            all_of_them = range(len(boxes)) if len(objects) > 1 else objects
            matched[a] = min(all_of_them, key=lambda g: costs[a, g])
    return limited(matched, anchors, boxes)


def paa(levels, boxes, predicted):
    anchors = sum(levels, [])
    owner = reference.assign_by_iou(levels, boxes, False, positive=0.1, negative=0.1)
    matched = [NEGATIVE] * len(anchors)
    labels = predicted.labels.tolist()
    for g, box in enumerate(boxes):
        candidates, start = [], 0
        for level in levels:
            its = [a for a in range(start, start + len(level)) if owner[a] == g]
            losses = {a: paa_loss(predicted, a, box, labels[g]) for a in its}
            candidates += sorted(losses.items(), key=lambda item: item[1])[:9]
            start += len(level)
        candidates.sort(key=lambda item: item[1])
        for a, _ in candidates[: densest_of_the_lower([loss for _, loss in candidates])]:
            matched[a] = g
    return limited(matched, anchors, boxes)


def paa_loss(predicted, a, box, label):
    logits = [math.log(p / (1 - p)) for p in predicted.probabilities[a].tolist()]
    return reference.focal(logits, label) + reference.giou_loss(predicted.boxes[a].tolist(), box)


def densest_of_the_lower(losses):
    """How many of the rising losses are positive, by scikit-learn, with which PAA fits."""
    if len(losses) < 2:
        return len(losses)
    values = np.array(losses)[:, None]
    mixture = GaussianMixture(
        2,
        weights_init=[0.5, 0.5],
        means_init=[[min(losses)], [max(losses)]],
        precisions_init=[[[1.0]], [[1.0]]],
    ).fit(values)
    is_lower = mixture.predict(values) == 0
    density = np.where(is_lower, mixture.score_samples(values), -np.inf)
    return int(density.argmax()) + 1 if is_lower.any() else len(losses)


def poto(levels, boxes, predicted):
    """By trying all matchings."""
    quality = []
    for box, label in zip(boxes, predicted.labels.tolist(), strict=True):
        given = predicted.probabilities.tolist(), predicted.boxes.tolist(), places(levels, box, 1.5)
        scores = [
            p[label] ** 0.2 * iou(b, box) ** 0.8 if all(is_near) else -1.0
            for p, b, is_near in zip(*given, strict=True)
        ]
        quality.append(scores)
    # of each object the best few suffice: no more of them can be taken by others
    few = [best_first(line)[: len(boxes)] for line in quality]
    matchings = [m for m in itertools.product(*few) if len(set(m)) == len(m)]
    best = max(matchings, key=lambda m: sum(quality[g][a] for g, a in enumerate(m)))
    anchors = sum(levels, [])
    matched = [NEGATIVE] * len(anchors)
    for g, a in enumerate(best):
        matched[a] = g
    return limited(matched, anchors, boxes)


REFERENCES = {"top_k": top_k, "tal": task_aligned, "simota": simota, "paa": paa, "poto": poto}


def assigner_of(name):
    return build_assigner(replace(ATSS, assigner=name))


@pytest.mark.parametrize("name", REFERENCES)
def test_it_is_its_definition(name):
    positives = 0
    for seed in range(20):
        draw = random.Random(seed)
        levels, boxes = anchors_of(SIZE), uneven_boxes(draw, draw.choice([1, 2, 4]), SIZE)
        if seed % 2:  # a crowd, whose objects want the same anchors
            boxes = uneven_boxes(draw, 1, SIZE) * 5
            boxes = [tuple(side + draw.uniform(-3, 3) for side in box) for box in boxes]
            boxes = plain(boxes_tensor(boxes))
        predicted = random_prediction(draw, levels, boxes)
        found = assigner_of(name)(levels, boxes_tensor(boxes), predicted).tolist()
        assert found == REFERENCES[name]([plain(it) for it in levels], boxes, predicted), seed
        positives += sum(g >= 0 for g in found)
    assert positives > 20


def test_of_anchors_of_equal_cost_simota_takes_the_first():
    levels, boxes = anchors_of(SIZE), [(0.0, 0.0, 96.0, 96.0)]
    count = sum(map(len, levels))
    probabilities, label = torch.full((count, CLASSES), 0.5), torch.tensor([1])
    predicted = Predicted(probabilities, boxes_tensor(boxes * count), label)
    found = assigner_of("simota")(levels, boxes_tensor(boxes), predicted).tolist()
    assert found == simota([plain(it) for it in levels], boxes, predicted)
    assert found.count(0) == 10


@pytest.mark.parametrize("name", REFERENCES)
def test_an_image_is_assigned_as_if_it_were_alone(name):
    draw = random.Random(5)
    levels, images = anchors_of(SIZE), [random_boxes(draw, n) for n in (3, 0, 1, 5)]
    predicted = [random_prediction(draw, levels, boxes) for boxes in images]
    alone = [
        assigner_of(name)(levels, boxes_tensor(boxes), its)
        for boxes, its in zip(images, predicted, strict=True)
    ]
    parts = zip(*predicted, strict=True)
    together = Predicted(*(pad_sequence(values, batch_first=True) for values in parts))
    found = assigner_of(name).of_batch(levels, [boxes_tensor(b) for b in images], together)
    assert torch.equal(found, torch.stack(alone))
    assert (found[1] == NEGATIVE).all()


def test_task_alignment_begins_as_atss_for_a_third_of_a_training():
    tal = assigner_of("tal")
    levels, boxes = anchors_of(SIZE), boxes_tensor([(10.0, 10.0, 60.0, 50.0)])
    early = tal.at(0.333)
    assert not early.needs_predictions and tal.at(1 / 3) is tal
    assert torch.equal(early(levels, boxes), assign_atss(levels, boxes, k=9))
    assert all(assigner_of(name).at(0.0).needs_predictions for name in BY_PREDICTION[1:])


@pytest.mark.parametrize("name", BY_PREDICTION)
def test_without_predictions_it_says_what_it_needs(name):
    with pytest.raises(ValueError, match="needs what the network predicts"):
        assigner_of(name)(anchors_of(SIZE), boxes_tensor([(1.0, 1.0, 30.0, 30.0)]))
