"""The paper's tables as data, the identity of runs, and the scales."""

import copy
import hashlib
import json
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import pytest
from test_plan import SETUP

from detector.config import ADDED_LATER, OUTSIDE_IDENTITY, DetectorConfig, Recipe
from detector.metrics import HEADINGS
from experiments import STUDY, TABLES, experiment
from experiments.ablations import ABLATIONS
from experiments.baselines import ATSS, RETINANET
from experiments.experiment import Run, canonical, changes, signature
from experiments.schedules import DEMO, MINI, PAPER, PAPER_2X, SCALES, SCRATCH
from orchestration.plan import make_plan

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


PAPERS = {  # the baseline's index; AP in the order of the page; the sums of columns, if all six
    "table1": (1, [37.8, 32.5, 33.4, 34.9, 35.3, 36.8, 37.0], None),
    "table2": (0, [37.0, 36.9, 37.8, 37.8], None),
    "table3": (0, [37.0, 39.3, 37.8, 38.6, 39.2], [191.9, 282.9, 207.2, 112.8, 211.9, 250.0]),
    "table4": (3, [38.0, 38.8, 39.1, 39.3, 39.1, 39.0, 39.1, 39.2, 38.9], None),
    "table5": (3, [39.0, 39.2, 39.3, 39.3, 38.9], [195.7, 287.1, 211.6, 116.8, 214.5, 254.5]),
    "table6": (2, [39.1, 39.0, 39.3, 39.3, 39.1], [195.8, 285.9, 212.5, 116.4, 216.2, 255.0]),
    "table7": (
        *(0, [36.3, 38.4, 39.2, 39.3, 39.2, 39.3]),
        [231.7, 341.3, 251.0, 137.1, 254.9, 302.6],
    ),
    "table8": (
        *(0, [43.6, 45.1, 45.6, 46.3, 47.7, 47.7, 50.6, 50.7]),
        [377.3, 525.9, 413.0, 236.0, 401.3, 465.9],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_prints_the_papers_numbers_and_compares_with_its_baseline(name):
    table, (baseline, aps, sums) = TABLES[name], PAPERS[name]
    assert name == f"table{table.number}" and "minimal" not in table.caption
    assert [row.paper.ap for row in table.rows] == aps and table.reference == baseline
    columns = [[getattr(row.paper, metric) for row in table.rows] for metric in HEADINGS]
    printed = {name: it for name, it in zip(HEADINGS, columns, strict=True) if any(it)}
    assert tuple(printed) == table.metrics  # and no cell is left out: a sum takes no None
    found = [round(sum(column), 1) for column in printed.values()]
    assert found == sums if sums else len(found) == 1


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


# --- the scales


def test_the_papers_scales_are_the_papers_and_two_small_ones_need_no_download():
    assert DEMO.weights == SCRATCH.weights == "none"
    as_in_paper = ("weights", "norm", "optimizer", "learning_rate", "lr_decay", "lr_drops")
    assert all(getattr(MINI, name) == getattr(PAPER, name) for name in as_in_paper)
    assert (PAPER.batch_size, PAPER.learning_rate, PAPER_2X.short_side) == (16, 0.01, (640, 800))
    for recipe, steps in ((PAPER, [60_000, 80_000, 90_000]), (PAPER_2X, [120e3, 160e3, 180e3])):
        assert [round(it * recipe.iterations) for it in (*recipe.lr_drops, 1)] == steps
