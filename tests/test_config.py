"""The toggles: defaults, coercion, and every combination that no detector can be."""

import pytest

from detector.config import DetectorConfig, Recipe

FULL = {"group_norm": True, "giou_loss": True, "in_gt_box": True, "centerness": True}


def test_the_defaults_of_a_recipe_are_the_papers_training_and_inference_details():
    recipe = Recipe()
    drops = [round(share * recipe.iterations) for share in recipe.lr_drops]
    assert (recipe.backbone, recipe.weights) == ("resnet50", "imagenet")
    assert (recipe.iterations, drops, recipe.batch_size) == (90_000, [60_000, 80_000], 16)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.01, 0.9, 1e-4)
    assert (recipe.short_side, recipe.long_side) == ((800, 800), 1333)
    assert (recipe.score_threshold, recipe.candidates_per_level) == (0.05, 1000)
    assert (recipe.nms_threshold, recipe.max_detections) == (0.6, 100)


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        (DetectorConfig, {"anchor_scales": 8}, {"anchor_scales": (8.0,)}),
        (DetectorConfig, {"aspect_ratios": [1, 2]}, {"aspect_ratios": (1.0, 2.0)}),
        (DetectorConfig, {"group_norm": 1, "giou_loss": 0}, {"group_norm": True}),
        (DetectorConfig, {"k": 9.0}, {"k": 9}),
        (Recipe, {"learning_rate": 1, "lr_drops": [1]}, {"learning_rate": 1.0, "lr_drops": (1.0,)}),
        (Recipe, {"short_side": [800, 800], "iterations": 90000.0}, {}),
    ],
)
def test_equal_settings_are_equal_configs_however_they_are_written(kind, written, meant):
    config, other = kind(**written), kind(**meant)
    assert (config, hash(config), repr(config)) == (other, hash(other), repr(other))


NOT_AS_MEANT = [  # each by a value that coercion would change, or that is not positive
    *({"k": value} for value in (9.5, "9", None, 0, -1)),
    *({"group_norm": value} for value in (2, "true")),
    *({"anchor_scales": value} for value in ("8", [None], (), (8.0, 0.0), (float("nan"),))),
    *({"aspect_ratios": value} for value in (["1"], (-1.0,), (float("inf"),))),
]
CONTRADICTIONS = [
    *(({"assigner": name}, "needs in_gt_box=true") for name in ("ssc", "center_sampling", "atss")),
    ({"centerness": True}, "needs in_gt_box=true"),
    ({"regress_from": "point", "giou_loss": True}, "needs in_gt_box=true"),
    ({"regress_from": "point", "in_gt_box": True}, "needs giou_loss=true"),
    ({**FULL, "regress_from": "point", "anchor_scales": (4, 8)}, "one anchor per location"),
    ({**FULL, "regress_from": "point", "aspect_ratios": (1, 2)}, "one anchor per location"),
    ({"k": 5}, "needs assigner='atss'"),
    ({**FULL, "assigner": "ssc", "k": 5}, "needs assigner='atss'"),
    ({**FULL, "assigner": "center_sampling", "k": 5}, "needs assigner='atss'"),
]
CANNOT_TRAIN = [
    *(({name: 0}, f"{name} needs to be positive") for name in ("iterations", "evaluations")),
    *(({"batch_size": -1}, "batch_size needs"), ({"learning_rate": 0.0}, "learning_rate needs")),
    *(({"short_side": sides}, "short_side needs") for sides in ((800,), (900, 800))),
    ({"nms_threshold": -0.1}, "nms_threshold needs a number from 0 to 1, got -0.1"),
    ({"momentum": 1}, "momentum needs a number from 0 to below 1, got 1"),
    *(
        ({name: -1}, f"{name} needs a number from 0 on")
        for name in ("weight_decay", "warmup_iterations")
    ),
    *(({"lr_drops": its}, "needs rising shares") for its in ((300, 600), (0.9, 0.5), (0.5, 0.5))),
    ({"lr_decay": "cosine", "lr_drops": (0.5,)}, "needs lr_decay=step, got 'cosine'"),
    ({"long_side": 799}, "long_side needs at least the largest short side, 800, got 799: set both"),
    ({"score_threshold": 1.5}, "score_threshold needs a number from 0 to 1, got 1.5"),
    ({"weights": "none"}, "frozen_batch_norm.*needs pretrained weights"),
    ({"backbone": "small", "weights": "w.pth"}, "frozen_batch_norm.*needs pretrained weights"),
    ({"norm": "group_norm"}, "group_norm.*got 'imagenet'"),
]
UNKNOWN = [
    *((DetectorConfig, {"assigner": it}) for it in ("attss", "IOU")),
    *((Recipe, {name: "x"}) for name in ("backbone", "norm", "precision", "optimizer", "lr_decay")),
    (DetectorConfig, {"regress_from": "points"}),
]


@pytest.mark.parametrize(
    ("kind", "settings", "needed"),
    [
        *((DetectorConfig, it, f"^{next(iter(it))} needs .*got ") for it in NOT_AS_MEANT),
        *((DetectorConfig, *it) for it in CONTRADICTIONS),
        *((Recipe, *it) for it in CANNOT_TRAIN),
        *((kind, it, f"^{next(iter(it))} needs one of .*got '") for kind, it in UNKNOWN),
        (Recipe, {"norm": "groupnorm"}, r"got 'groupnorm' \(did you mean 'group_norm'\?\)$"),
    ],
)
def test_contradictions_are_refused_in_one_line(kind, settings, needed):
    with pytest.raises(ValueError, match=needed) as caught:
        kind(**settings)
    assert "\n" not in str(caught.value)


def test_what_no_row_uses_but_no_rule_forbids_is_allowed():
    assert DetectorConfig(in_gt_box=True, centerness=True).giou_loss is False
    assert DetectorConfig(in_gt_box=True, assigner="atss").k == 9
    assert DetectorConfig(scalar=True).group_norm is False
