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
from statistics import fmean
from typing import Any

from experiments.experiment import Run

PRIOR = 0.01  # the score that every anchor starts with
POSITIVE = 0.25 * (1 - PRIOR) ** 2 * -math.log(PRIOR)  # its focal loss then: 1.13
NEGATIVE = 0.75 * PRIOR**2 * -math.log(1 - PRIOR)  # and that of an anchor and class: 7.5e-7
POSITIVES = 0.5  # of an image, at worst: it has an object, and every second one a positive
ANCHOR_SHARE = sum(1 / stride**2 for stride in (8, 16, 32, 64, 128))  # locations per pixel, P3..P7
MIN_IMAGES = 4_000  # seen in training, before finding nothing means anything
FEW = 20  # entries of a history that are many enough for a mean
# Three quarters of the entropy of a typical target, (8 - 0.75) / (8 + 0.75): a positive is about
# 0.75 strides from the center of an object as large as its anchor, of 16 strides at most.
FLOOR = 0.34


def early_warnings(
    run: Run, num_classes: int, history: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Code and text of what looks wrong after the history's last entry."""
    recipe, now = run.recipe, history[-1]
    losses = [entry for entry in history if "loss/cls" in entry]
    first = losses[0] if losses and losses[0]["step"] == 1 else {}  # a mean of several tells less
    for name, (least, most) in _first_losses(run, num_classes).items():
        if (value := first.get(name)) is not None and not least <= value <= most:
            text = f"{name} begins at {value:.3g}, needs {least:.2g} to {most:.2g} before anything "
            text += "is learnt; check how the head begins, and what the loss is divided by"
            yield f"first {name}", text
    recent = [entry["loss/centerness"] for entry in losses[-FEW:] if "loss/centerness" in entry]
    is_known = len(recent) == FEW and run.assigner is None  # a user's own may choose any targets
    if is_known and (mean := fmean(recent)) < FLOOR:
        text = f"loss/centerness is {mean:.3g}, needs {FLOOR}: its targets' entropy is about 0.6; "
        yield "centerness floor", f"{text}check their rounding, and what it is divided by"
    # From scratch the first half of a schedule may pass before anything is found.
    share, step = 0.5 if recipe.weights == "none" else 0.2, now["step"]
    is_late = step >= share * recipe.iterations and step * recipe.batch_size >= MIN_IMAGES
    if is_late and now.get("AP") == 0.0:
        text = f"AP is 0 after {step} steps, with a score threshold of {recipe.score_threshold:g}"
        yield "no detections", f"{text}; check it, and the classification loss"


def _first_losses(run: Run, num_classes: int) -> dict[str, tuple[float, float]]:
    """Between what and what each loss begins."""
    recipe, config = run.recipe, run.config
    anchors = recipe.short_side[1] * recipe.long_side * ANCHOR_SHARE * config.anchors_per_location
    # Random logits double the negatives' part. Boxes: twice a mean GIoU loss within 0 and 2, or
    # smooth L1 of codes that are seldom beyond 5.
    negatives = 2 * NEGATIVE * anchors * num_classes / POSITIVES
    return {
        "loss/cls": (0.65 * POSITIVE, 1.3 * POSITIVE + negatives),
        "loss/box": (0.3, 3.3) if config.giou_loss else (0.1, 8.0),
        "loss/centerness": (0.5, 0.95),
    }
