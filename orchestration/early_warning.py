"""Signs that a run is set up wrongly, long before its schedule ends.

Before the first step every anchor has a score of 0.01 (the focal loss's prior), so the losses begin
at values that are known: classification near 1.13, centerness near ln 2 = 0.69, GIoU loss near 1.2.
Later ones are known within bounds: the centerness loss ends at its targets' entropy, about 0.6,
and AP is near that of earlier runs of the same recipe on the same data.

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
MIN_STEPS = 100  # after the warm-up, before a loss is expected to have fallen
MIN_IMAGES = 4_000  # seen in training, before an AP of 0 means anything
FEW = 20  # entries of a history that are many enough for a mean
COMPARABLE_AP = 2.0  # below it, a share of an AP is noise
SAME, OTHER = 1 / 2, 1 / 10  # of the AP of another seed, and of another row, that is enough

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Setting:
    """What is known of a run before its first step."""

    run: Run
    num_classes: int
    objects: float  # ground truths per training image

    @property
    def warm_up(self) -> int:
        return self.run.recipe.warmup_iterations


@dataclass(frozen=True)
class Earlier:
    """A finished run with the same recipe on the same data."""

    is_same: bool  # but for the seed
    history: History


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
    earlier: Sequence[Earlier] = (),
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
        found += _when_tested(setting, history[-1], earlier, num_detections)
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
    """What losses cannot do while something is learnt."""
    recent = losses[-FEW:]
    if len(recent) < FEW:
        return
    step, iterations = losses[-1]["step"], setting.run.recipe.iterations
    first, now = losses[0]["loss/cls"], fmean(entry["loss/cls"] for entry in recent)
    if step >= setting.warm_up + max(MIN_STEPS, iterations / 10) and now >= 0.97 * first:
        yield (
            "loss does not fall",
            f"loss/cls is {now:.3g} after {step} steps and began with {first:.3g}: it needs to be "
            "below that by now; check the learning rate, and that images and boxes belong together",
        )
    if all(entry["loss/box"] == 0 for entry in recent):
        yield (
            "no positives",
            f"loss/box is 0 in the last {FEW} entries: no anchor learns any object; check the "
            "assigner, the anchor scales and the boxes of the data set",
        )
    floor = _centerness_floor(setting)
    centerness = [entry["loss/centerness"] for entry in recent if "loss/centerness" in entry]
    if centerness and fmean(centerness) < floor:
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


def _when_tested(
    setting: Setting, test: Mapping[str, Any], earlier: Sequence[Earlier], detections: int | None
) -> Found:
    """AP against earlier runs at the same step, and against nothing at all."""
    recipe, step, ap = setting.run.recipe, test["step"], test["AP"]
    for share, group in ((SAME, "of other seeds"), (OTHER, "of other rows")):
        known = _aps(earlier, step, is_same=share == SAME)
        if known and ap < share * min(known) and min(known) >= COMPARABLE_AP:
            yield (
                f"AP below runs {group}",
                f"AP is {ap:.1f} after {step} steps, where runs {group} with this recipe on this "
                f"data had {min(known):.1f} or more ({len(known)} of them); compare what differs",
            )
    # From scratch the first half of a schedule may pass before anything is found.
    share = 0.5 if recipe.weights == "none" else 0.2
    if step < share * recipe.iterations or step * recipe.batch_size < MIN_IMAGES:
        return
    if detections == 0:
        yield (
            "no detections",
            f"no detection after {step} steps scores above {recipe.score_threshold:g}; check the "
            "classification loss and the score threshold",
        )
    elif ap < 0.05:
        yield (
            "AP is 0",
            f"AP is {ap:.2f} after {step} of {recipe.iterations} steps; check that the classes and "
            "boxes of training and validation images are the same kind",
        )


def _aps(earlier: Sequence[Earlier], step: int, *, is_same: bool) -> list[float]:
    """What other seeds of the run, or other rows, had at a step."""
    histories = [run.history for run in earlier if run.is_same == is_same]
    found = [entry.get("AP") for history in histories for entry in history if entry["step"] == step]
    return [ap for ap in found if ap is not None]
