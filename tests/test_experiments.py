"""The tables as data, the identity of runs, and settings written as text.

What each row is and the paper says of it is frozen in test_oracles.py: names and rendered tables.
"""

import copy
import hashlib
from dataclasses import fields, replace

import pytest
from test_plan import SETUP

from detector.config import OUTSIDE_IDENTITY, DetectorConfig, Recipe
from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS
from experiments.baselines import ATSS, RETINANET
from experiments.experiment import BF16_SEMANTICS, SEMANTICS, Run, canonical, changes, signature
from experiments.schedules import DEMO, PAPER
from experiments.settings import parse_settings, show_setting, with_settings
from orchestration.plan import find_tables, make_plan

ROWS = [row for table in STUDY.values() for row in table.rows]


def a_run(config: DetectorConfig = ATSS, recipe: Recipe = PAPER) -> Run:
    return Run(config, recipe, "fingerprint", 0)


# --- the tables


def test_equal_configs_carry_equal_numbers_in_every_table():
    """Tables that print all six agree in them, and every table in AP."""
    for numbers in (lambda paper: paper.ap, lambda paper: paper.ap50 and paper):
        found = {(row.config, numbers(row.paper)) for row in ROWS if numbers(row.paper)}
        assert len({config for config, _ in found}) == len(found) > 9


def test_ablations_are_asked_for_by_name():
    assert find_tables(list(ABLATIONS)) == tuple(ABLATIONS.values())
    assert find_tables(["all"]) == tuple(STUDY.values())


# --- the identity of a run


def test_changes_are_those_against_the_papers_baseline():
    assert (changes(RETINANET), list(changes(ATSS))[-1]) == ({}, "assigner")
    assert changes(replace(RETINANET, anchor_scales=(4,))) == {"anchor_scales": (4.0,)}


MERGED = {  # of what a table's rows differ in, and what it makes one run
    ("table9", "assigner"): ("tal", "'IoU' and 'Spatial and scale constraint'"),
    ("table4", "k"): (5, "'k = 3' and 'k = 5'"),
    ("table8", "multi_scale_test"): (True, "'ResNeXt-32x8d-101-DCN' and"),
}


@pytest.mark.parametrize(("name", "setting"), MERGED)
def test_a_setting_that_makes_two_rows_one_run_is_refused(name, setting):
    table = (TABLES | ABLATIONS)[name]
    value, rows = MERGED[name, setting]
    with pytest.raises(ValueError, match=f"these settings make rows {rows} .*the same run"):
        make_plan(replace(SETUP, settings={setting: value}), [table])


def changed(settings, name):
    """A copy with another value in one field, whatever the contradictions."""
    result = copy.copy(settings)
    other = "none" if name == "weights" else [getattr(settings, name), "changed"]
    object.__setattr__(result, name, other)
    return result


@pytest.mark.parametrize("settings", [ATSS, PAPER], ids=["detector", "recipe"])
def test_every_setting_is_part_of_the_name_unless_it_moves_nothing(settings):
    kind = "config" if settings is ATSS else "recipe"
    names = {item.name for item in fields(settings) if item.metadata != OUTSIDE_IDENTITY}
    others = {it.name: a_run(**{kind: changed(settings, it.name)}) for it in fields(settings)}
    assert {it for it in others if signature(others[it]) != signature(a_run())} == names


def test_equal_values_have_one_name_however_they_are_written():
    one = a_run(replace(ATSS, anchor_scales=[5], k=5.0), replace(PAPER, batch_size=16.0))
    other = a_run(replace(ATSS, anchor_scales=(5.0,), k=5), replace(PAPER, learning_rate=1e-2))
    assert signature(one) == signature(other)


def test_a_setting_that_came_later_is_part_of_a_run_only_where_it_is_used():
    later = {"deformable": "c3-c5", "multi_scale_test": True}
    run, used = canonical(a_run()), canonical(a_run(recipe=replace(PAPER, **later)))
    assert list(run) == ["semantics", "config", "recipe", "data", "seed"]
    assert not later.keys() & run["recipe"].keys()
    assert used["recipe"] == run["recipe"] | later
    assert run["recipe"]["weights"] == "torchvision IMAGENET1K_V1"


def test_another_meaning_is_another_run_and_what_changes_in_bf16_leaves_fp32_its_names():
    bf16 = a_run(recipe=replace(PAPER, precision="bf16"))
    assert canonical(a_run())["semantics"] == SEMANTICS
    assert canonical(bf16)["semantics"] == SEMANTICS + BF16_SEMANTICS
    assert signature(a_run(), semantics=1) == "a067f030fb65"  # as results of then are stored


def test_weights_are_named_by_their_content(tmp_path):
    path, other = tmp_path / "a.pth", tmp_path / "b.pth"
    for content in (b"weights", b"others!!"):
        for file in (path, other):
            file.write_bytes(content)
            run = canonical(a_run(recipe=replace(PAPER, weights=str(file))))
            assert run["recipe"]["weights"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


# --- settings written as text

PARSED = {
    " k = 5 ": 5,
    "iterations=90_000": 90_000,
    "learning_rate=1e-3": 0.001,
    "learning_rate=1": 1.0,
    "warmup_factor=1/3": 1 / 3,
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
    "scalar=yes": "scalar needs true or false, got 'yes'",
    "learning_rate=inf": "learning_rate needs a number, got 'inf'",
    "learning_rate=1/0": "learning_rate needs a number, got '1/0'",
    "anchor_scales=4,,5": "anchor_scales needs a number, got ''",
    "assigner=ats": r"assigner needs one of iou, .*, got 'ats' \(did you mean 'atss'",
}


@pytest.mark.parametrize("text", PARSED)
def test_a_setting_has_the_type_of_its_field(text):
    name = text.partition("=")[0].strip()
    assert repr(parse_settings([text])) == repr({name: PARSED[text]})
    assert parse_settings([f"{name}={show_setting(PARSED[text])}"]) == {name: PARSED[text]}


def test_a_number_is_shown_as_short_as_it_can_be_set():
    shown = show_setting((2 / 3, 8 / 9, 0.01, 4.0, 8 * 2 ** (1 / 3)))
    assert shown == "2/3,8/9,0.01,4,10.079368399158986"


@pytest.mark.parametrize("texts", REFUSED)
def test_what_no_field_can_hold_is_refused(texts):
    with pytest.raises(ValueError, match=REFUSED[texts]):
        parse_settings(texts.split(" "))


def test_settings_go_where_their_field_is_and_are_refused_where_they_contradict_each_other():
    config, recipe = with_settings(ATSS, DEMO, parse_settings(["k=5", "iterations=7"]))
    assert (config, recipe) == (replace(ATSS, k=5), replace(DEMO, iterations=7))
    with pytest.raises(ValueError, match="k=5 needs assigner='atss'"):
        with_settings(RETINANET, PAPER, {"k": 5})
    names = [item.name for kind in (DetectorConfig, Recipe) for item in fields(kind)]
    assert len(set(names)) == len(names)  # so that none is a setting of both
