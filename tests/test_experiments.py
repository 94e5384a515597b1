"""The tables as data, the identity of runs, and settings written as text.

What each row is and the paper says of it is frozen in test_oracles.py: names and rendered tables.
"""

import copy
import hashlib
import json
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from test_plan import SETUP

from detector.config import ADDED_LATER, OUTSIDE_IDENTITY, Assigner, DetectorConfig, Recipe
from experiments import STUDY, TABLES, experiment, table9
from experiments.ablations import ABLATIONS, FACTORIAL
from experiments.baselines import ATSS, RETINANET
from experiments.experiment import Run, canonical, changes, signature
from experiments.schedules import DEMO, PAPER, SCALES, SCRATCH
from experiments.settings import parse_settings, with_settings
from experiments.tables import SWITCHES
from orchestration.plan import find_tables, make_plan

ROWS = [row for table in STUDY.values() for row in table.rows]


def a_run(config: DetectorConfig = ATSS, recipe: Recipe = PAPER) -> Run:
    return Run(config, recipe, "fingerprint", 0)


# --- the tables


def test_the_paper_needs_33_runs_for_41_rows():
    assert len(ROWS) == 41
    assert len({row.config for row in ROWS}) == 33
    assert len({signature(a_run(row.config)) for row in ROWS}) == 33
    others = [Run(ATSS, PAPER, data, seed) for data in ("a", "b") for seed in (0, 1)]
    assert len(set(map(signature, others))) == 4


def test_equal_configs_carry_equal_numbers_in_every_table():
    """Tables that print all six agree in them, and every table in AP."""
    for numbers in (lambda paper: paper.ap, lambda paper: paper.ap50 and paper):
        found = {(row.config, numbers(row.paper)) for row in ROWS if numbers(row.paper)}
        assert len({config for config, _ in found}) == len(found) > 9


def possible(values):
    try:
        return DetectorConfig(**dict(zip(SWITCHES, values, strict=True)))
    except ValueError:
        return None


def test_the_factorial_has_every_combination_that_a_detector_can_be():
    configs = {possible(values) for values in product((False, True), repeat=5)} - {None}
    assert {row.config for row in FACTORIAL.rows} == configs
    assert len(FACTORIAL.rows) == len(configs) == 24 and FACTORIAL.rows[0].config == RETINANET
    (fcos,) = {row.config for row in TABLES["table1"].rows} - configs  # the others are the same
    assert fcos == TABLES["table1"].rows[0].config


def test_ablations_are_asked_for_by_name_and_table_9_has_every_assigner():
    assert find_tables(list(ABLATIONS)) == tuple(ABLATIONS.values())
    assert find_tables(["all"]) == tuple(STUDY.values())
    assert {row.config.assigner for row in table9.TABLE.rows} == set(get_args(Assigner))


# --- the identity of a run


def test_changes_are_those_against_the_papers_baseline():
    assert (changes(RETINANET), list(changes(ATSS))[-1]) == ({}, "assigner")
    assert changes(replace(RETINANET, anchor_scales=(4,))) == {"anchor_scales": (4.0,)}


MERGED = {  # of what a table's rows differ in, and what it makes one run
    ("table9", "assigner"): ("tal", "'IoU' and 'Spatial and scale constraint'"),
    ("table4", "k"): (5, "'k = 3' and 'k = 5'"),
    ("table8", "multi_scale_test"): (True, "'ResNeXt-32x8d-101-DCN' and"),
    ("table8", "iterations"): (5, ""),  # whose rows share their stand-ins at demo scale without it
    ("table5", "k"): (5, ""),
}


@pytest.mark.parametrize(("name", "setting"), MERGED)
def test_a_setting_that_makes_two_rows_one_run_is_refused(name, setting):
    table = (TABLES | ABLATIONS)[name]
    value, rows = MERGED[name, setting]
    refused = pytest.raises(ValueError, match=f"these settings make rows {rows} .*the same run")
    with refused if rows else nullcontext():
        assert make_plan(replace(SETUP, settings={setting: value}), [table]).runs


def changed(settings, name):
    """A copy with another value in one field, whatever the contradictions."""
    value = getattr(settings, name)
    if isinstance(value, str):
        other = "none" if name == "weights" else f"{value} changed"
    else:
        other = (*value, value[-1] * 2) if isinstance(value, tuple) else type(value)(1 - value)
    result = copy.copy(settings)
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


def test_the_runs_of_tables_1_to_7_keep_their_names_at_every_scale():
    """Those of before Table 8, whose settings came later, and of the first semantics.

    A change here renames every stored result: raise SEMANTICS instead if meanings changed.
    """
    stored = json.loads((Path(__file__).parent / "signatures.json").read_text())
    recipes = SCALES | {"scratch, 3,000 iterations": replace(SCRATCH, iterations=3_000)}
    rows = {f"{table.label}: {row.label}": row for table in STUDY.values() for row in table.rows}
    for scale, names in stored.items():
        runs = {name: a_run(row.config, recipes[scale]) for name, row in rows.items()}
        assert {name: signature(run, semantics=1) for name, run in runs.items()} == names
    assert list(stored) == ["demo", "scratch, 3,000 iterations", "paper"]


def test_another_semantics_is_another_run_and_that_of_bf16_leaves_fp32_its_names(monkeypatch):
    def names():
        return [signature(a_run(recipe=replace(PAPER, precision=it))) for it in ("fp32", "bf16")]

    first = names()
    monkeypatch.setattr(experiment, "BF16_SEMANTICS", experiment.BF16_SEMANTICS + 1)
    assert [one == other for one, other in zip(names(), first, strict=True)] == [True, False]
    monkeypatch.setattr(experiment, "SEMANTICS", experiment.SEMANTICS + 1)
    assert not set(names()) & set(first)


def test_the_canonical_form_is_whole_and_plain():
    """A setting that came later is part of it only where it is used."""
    later = {"deformable": "c3-c5", "multi_scale_test": True}
    run, used = canonical(a_run()), canonical(a_run(recipe=replace(PAPER, **later)))
    assert list(run) == ["semantics", "config", "recipe", "data", "seed"]
    assert set(run["config"]) == {item.name for item in fields(DetectorConfig)}
    usual = {item.name for item in fields(Recipe) if item.metadata != ADDED_LATER}
    assert set(run["recipe"]) == usual - {"evaluations", "compiled"}
    assert used["recipe"] == run["recipe"] | later
    assert run["recipe"]["short_side"] == [800, 800]
    assert run["recipe"]["weights"] == "torchvision IMAGENET1K_V1"


def test_weights_are_named_by_their_content(tmp_path):
    path, other = tmp_path / "a.pth", tmp_path / "b.pth"
    for content in (b"weights", b"others!!"):
        for file in (path, other):
            file.write_bytes(content)
            run = canonical(a_run(recipe=replace(PAPER, weights=str(file))))
            assert run["recipe"]["weights"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    for unreadable in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(ValueError, match="weights needs imagenet, none or a readable file"):
            signature(a_run(recipe=replace(PAPER, weights=str(unreadable))))


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
    "k=5.0": "k needs a whole number, got '5.0'",
    "k=": "k needs a whole number, got ''",
    "scalar=yes": "scalar needs true or false, got 'yes'",
    "learning_rate=inf": "learning_rate needs a number, got 'inf'",
    "learning_rate=1/0": "learning_rate needs a number, got '1/0'",
    "anchor_scales=4,,5": "anchor_scales needs a number, got ''",
    "assigner=ats": r"assigner needs one of iou, .*, got 'ats' \(did you mean 'atss'",
}


@pytest.mark.parametrize("text", PARSED)
def test_a_setting_has_the_type_of_its_field(text):
    assert repr(parse_settings([text])) == repr({text.partition("=")[0].strip(): PARSED[text]})


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
