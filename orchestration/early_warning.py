"""Signs that a run is set up wrongly, long before its schedule ends.

Before the first step every anchor has a score of 0.01 (the focal loss's prior), so the losses begin
at values that are known: classification near 1.13, centerness near ln 2 = 0.69, GIoU loss near 1.2.
The centerness loss ends at its targets' entropy, about 0.6; and half a schedule finds something.

A warning stops nothing. The bounds are wide: the first step of every row of the tables (demo scale,
two seeds) keeps within them, and so did 75 runs that were looked back on, nearly all of demo scale,
with batches of 2 to 16 images.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Any

from experiments.experiment import Run

PRIOR = 0.01  # the score that every anchor starts with
POSITIVE = 0.25 * (1 - PRIOR) ** 2 * -math.log(PRIOR)  # its focal loss then: 1.13
NEGATIVE = 0.75 * PRIOR**2 * -math.log(1 - PRIOR)  # and that of an anchor and class: 7.5e-7
ANCHOR_SHARE = sum(1 / stride**2 for stride in (8, 16, 32, 64, 128))  # locations per pixel, P3..P7
MIN_IMAGES = 4_000  # seen in training, before finding nothing means anything
FEW = 20  # entries of a history that are many enough for a mean
CAUSES = {
    "loss/cls": "the head's prior, and what the loss is divided by (all positives of a batch)",
    "loss/box": "the box coder, the anchors, and what the loss is divided by",
    "loss/centerness": "its targets, and what the loss is divided by (all positives)",
}


def early_warnings(
    run: Run,
    num_classes: int,
    objects: float,
    history: Sequence[Mapping[str, Any]],
    num_detections: int | None = None,
) -> Iterator[tuple[str, str]]:
    """Code and text of what looks wrong after the history's last entry.

    objects: ground truths per training image. num_detections: of the last entry, if it is a test's.
    """
    recipe, config, step = run.recipe, run.config, history[-1]["step"]
    anchors = recipe.short_side[1] * recipe.long_side * ANCHOR_SHARE * config.anchors_per_location
    # At worst every second object has one positive, and random logits double the negatives' part.
    negatives = 2 * NEGATIVE * anchors * num_classes / max(objects / 2, 0.1)
    # Boxes: twice a mean GIoU loss within 0 and 2, or smooth L1 of codes that are seldom beyond 5.
    ranges = {
        "loss/cls": (0.65 * POSITIVE, 1.3 * POSITIVE + negatives),
        "loss/box": (0.3, 3.3) if config.giou_loss else (0.1, 8.0),
        "loss/centerness": (0.5, 0.95),
    }
    losses = [entry for entry in history if "loss/cls" in entry]
    firsts = [entry for entry in losses[:1] if entry["step"] == 1]  # means tell less
    for first, (name, (least, most)) in product(firsts, ranges.items()):
        if (value := first.get(name)) is not None and not least <= value <= most:
            text = f"{name} begins at {value:.3g}, which needs to be within {least:.2g} and "
            text += f"{most:.2g} before anything is learnt; check {CAUSES[name]}"
            yield f"first {name}", text
    recent = [entry["loss/centerness"] for entry in losses[-FEW:] if "loss/centerness" in entry]
    if len(recent) == FEW and fmean(recent) < (floor := _centerness_floor(run)):
        text = f"loss/centerness is {fmean(recent):.3g}, which needs to stay above {floor:.2g}: its"
        text += " targets' entropy is about 0.6; check that they are not rounded, and what the loss"
        yield "centerness floor", f"{text} is divided by (all positives)"
    # From scratch the first half of a schedule may pass before anything is found.
    share = 0.5 if recipe.weights == "none" else 0.2
    is_late = step >= share * recipe.iterations and step * recipe.batch_size >= MIN_IMAGES
    if is_late and num_detections == 0:
        text = f"no detection after {step} steps scores above {recipe.score_threshold:g}; check the"
        yield "no detections", f"{text} classification loss and the score threshold"


def _centerness_floor(run: Run) -> float:
    """Three quarters of the entropy of a typical target, which is closer to 1 for large anchors.

    A positive is about 0.75 strides from the center of an object as large as its anchor. A user's
    own assigner may choose any, so nothing is known of its targets.
    """
    if run.assigner is not None:
        return 0.0
    half = max(run.config.anchor_scales) / 2
    target = (half - 0.75) / (half + 0.75) if half > 1.5 else 0.5
    entropy = -target * math.log(target) - (1 - target) * math.log(1 - target)
    return min(0.45, 0.75 * entropy)
