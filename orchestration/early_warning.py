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
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from experiments.experiment import Run

PRIOR = 0.01  # the score that every anchor starts with
ANCHOR_SHARE = sum(1 / stride**2 for stride in (8, 16, 32, 64, 128))  # locations per pixel, P3..P7
MIN_IMAGES = 4_000  # seen in training, before finding nothing means anything
FEW = 20  # entries of a history that are many enough for a mean

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Setting:
    """What is known of a run before its first step."""

    run: Run
    num_classes: int
    objects: float  # ground truths per training image


@dataclass(frozen=True)
class Sign:
    """Something that looks wrong: its name, after which step, what a person should know."""

    code: str
    step: int
    text: str


def signs(
    setting: Setting,
    history: History,
    *,
    num_detections: int | None = None,
) -> list[Sign]:
    """What looks wrong after the history's last entry; its first should be of step 1 alone.

    num_detections: of the last test, if it is the last entry.
    """
    if not history:
        return []
    losses = [entry for entry in history if "loss/cls" in entry]
    found = [*_at_first(setting, losses), *_on_the_way(setting, losses)]
    if history[-1].get("AP") is not None:
        found += _when_tested(setting, history[-1], num_detections)
    return [Sign(code, history[-1]["step"], text) for code, text in found]


Found = Iterator[tuple[str, str]]


def _at_first(setting: Setting, losses: History) -> Found:
    """The losses of step 1 against what they begin with; means over several steps tell less."""
    if not losses or losses[0]["step"] != 1:
        return
    bounds = {"loss/cls": _first_cls(setting), "loss/box": _first_box(setting)}
    causes = {
        "loss/cls": "the head's prior, and what the loss is divided by (all positives of a batch)",
        "loss/box": "the box coder, the anchors, and what the loss is divided by",
        "loss/centerness": "its targets, and what the loss is divided by (all positives)",
    }
    for name, (least, most) in (bounds | {"loss/centerness": (0.5, 0.95)}).items():
        value = losses[0].get(name)
        if value is not None and not least <= value <= most:
            yield (
                f"first {name}",
                f"{name} begins at {value:.3g}, which needs to be within {least:.2g} and "
                f"{most:.2g} before anything is learnt; check {causes[name]}",
            )


def _first_cls(setting: Setting) -> tuple[float, float]:
    """Focal loss per positive: 0.25 (1 - p)^2 ln(1/p) of itself, and its share of all negatives."""
    positive = 0.25 * (1 - PRIOR) ** 2 * -math.log(PRIOR)  # 1.13
    negative = 0.75 * PRIOR**2 * -math.log(1 - PRIOR)  # of one anchor and class: 7.5e-7
    recipe = setting.run.recipe
    anchors = recipe.short_side[1] * recipe.long_side * ANCHOR_SHARE
    anchors *= setting.run.config.anchors_per_location
    # At worst every second object has one positive, and random logits double the negatives' part.
    negatives = 2 * negative * anchors * setting.num_classes / max(setting.objects / 2, 0.1)
    return 0.65 * positive, 1.3 * positive + negatives


def _first_box(setting: Setting) -> tuple[float, float]:
    """GIoU: twice a mean within 0 and 2. Smooth L1: of codes that are seldom beyond 5."""
    return (0.3, 3.3) if setting.run.config.giou_loss else (0.1, 8.0)


def _on_the_way(setting: Setting, losses: History) -> Found:
    """What the centerness loss cannot do while something is learnt."""
    floor = _centerness_floor(setting)
    recent = losses[-FEW:]
    centerness = [entry["loss/centerness"] for entry in recent if "loss/centerness" in entry]
    if len(centerness) == FEW and fmean(centerness) < floor:
        yield (
            "centerness floor",
            f"loss/centerness is {fmean(centerness):.3g}, which needs to stay above {floor:.2g}: "
            "its targets' entropy is about 0.6; check that they are not rounded, and what the loss "
            "is divided by (all positives)",
        )


def _centerness_floor(setting: Setting) -> float:
    """Three quarters of the entropy of a typical target, which is closer to 1 for large anchors.

    A positive is about 0.75 strides from the center of an object as large as its anchor. A user's
    own assigner may choose any, so nothing is known of its targets.
    """
    if setting.run.assigner is not None:
        return 0.0
    half = max(setting.run.config.anchor_scales) / 2
    target = (half - 0.75) / (half + 0.75) if half > 1.5 else 0.5
    entropy = -target * math.log(target) - (1 - target) * math.log(1 - target)
    return min(0.45, 0.75 * entropy)


def _when_tested(setting: Setting, test: Mapping[str, Any], num_detections: int | None) -> Found:
    """Nothing at all, once something should be found."""
    recipe, step = setting.run.recipe, test["step"]
    # From scratch the first half of a schedule may pass before anything is found.
    share = 0.5 if recipe.weights == "none" else 0.2
    is_late = step >= share * recipe.iterations and step * recipe.batch_size >= MIN_IMAGES
    if is_late and num_detections == 0:
        yield (
            "no detections",
            f"no detection after {step} steps scores above {recipe.score_threshold:g}; check the "
            "classification loss and the score threshold",
        )
