"""Settings written as text."""

from dataclasses import fields, replace

import pytest

from detector.config import DetectorConfig, Recipe
from experiments.baselines import ATSS, RETINANET
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings, with_settings

PARSED = {
    "k=5": 5,
    " k = 5 ": 5,
    "iterations=90_000": 90_000,
    "learning_rate=1e-3": 0.001,
    "learning_rate=1": 1.0,
    "warmup_factor=1/3": 1 / 3,
    "anchor_scales=4,5": (4.0, 5.0),
    "anchor_scales=4": (4.0,),
    "aspect_ratios=1/2, 1, 2": (0.5, 1.0, 2.0),
    "short_side=640,800": (640, 800),
    "group_norm=true": True,
    "group_norm=ON": True,
    "group_norm=0": False,
    "assigner=atss": "atss",
    "weights=/some/a=b.pth": "/some/a=b.pth",
}
REFUSED = {
    "k": "needs name=value, got 'k'",
    "=5": "needs name=value",
    "k=5 k=7": "k is set twice",
    "iteratons=5": r"no setting is called 'iteratons' \(did you mean 'iterations'\?\)",
    "no=5": "no setting is called 'no'.*; there are group_norm, .*, backbone, ",
    "k=five": "k needs a whole number, got 'five'",
    "k=5.0": "k needs a whole number, got '5.0'",
    "k=": "k needs a whole number, got ''",
    "scalar=yes": "scalar needs true or false, got 'yes'",
    "learning_rate=inf": "learning_rate needs a number, got 'inf'",
    "learning_rate=1/0": "learning_rate needs a number, got '1/0'",
    "anchor_scales=4,,5": "anchor_scales needs a number, got ''",
    "assigner=ats": r"assigner needs one of iou, .*, got 'ats' \(did you mean 'atss'",
}


@pytest.mark.parametrize("text", PARSED)
def test_a_setting_has_the_type_of_its_field(text: str) -> None:
    assert repr(parse_settings([text])) == repr({text.partition("=")[0].strip(): PARSED[text]})


@pytest.mark.parametrize("texts", REFUSED)
def test_what_no_field_can_hold_is_refused(texts: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[texts]):
        parse_settings(texts.split(" "))


def test_settings_go_where_their_field_is_and_are_refused_where_they_contradict_each_other() -> (
    None
):
    config, recipe = with_settings(ATSS, DEMO, parse_settings(["k=5", "iterations=7"]))
    assert (config, recipe) == (replace(ATSS, k=5), replace(DEMO, iterations=7))
    assert with_settings(ATSS, PAPER, {}) == (ATSS, PAPER)
    with pytest.raises(ValueError, match="k=5 needs assigner='atss'"):
        with_settings(RETINANET, PAPER, {"k": 5})
    names = [item.name for kind in (DetectorConfig, Recipe) for item in fields(kind)]
    assert len(set(names)) == len(names)  # so that none is a setting of both
