"""Table 1 without its order: every combination that exists, once, and shared with Table 1."""

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest

from detector.config import Assigner, DetectorConfig
from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS, FACTORIAL, LEAVE_ONE_OUT
from experiments.baselines import IMPROVED_RETINANET, RETINANET
from experiments.table9 import TABLE as TABLE_9
from experiments.tables import SWITCHES
from orchestration.plan import find_tables

TABLE_1 = {row.config: row.paper.ap for row in TABLES["table1"].rows}


def possible(values):
    try:
        return DetectorConfig(**dict(zip(SWITCHES, values, strict=True)))
    except ValueError:
        return None


def test_the_factorial_has_every_combination_that_a_detector_can_be():
    configs = {possible(values) for values in product((False, True), repeat=5)} - {None}
    assert {row.config for row in FACTORIAL.rows} == configs
    assert len(FACTORIAL.rows) == len(configs) == 24 and FACTORIAL.rows[0].config == RETINANET
    (fcos,) = {*TABLE_1} - configs  # all other columns of Table 1 are the same runs
    assert fcos == TABLES["table1"].rows[0].config


def test_leaving_one_out_is_the_improved_retinanet_without_it():
    full, *others = LEAVE_ONE_OUT.rows
    assert full.config == IMPROVED_RETINANET and LEAVE_ONE_OUT.reference == 0
    for row, switch in zip(others, SWITCHES, strict=True):
        off = {switch: False} | ({"centerness": False} if switch == "in_gt_box" else {})
        assert row.config == replace(IMPROVED_RETINANET, **off)


@pytest.mark.parametrize("table", [LEAVE_ONE_OUT, FACTORIAL], ids=lambda table: table.name)
def test_a_row_has_the_marks_of_its_config_and_the_papers_number_where_table_1_has_it(table):
    for row in table.rows:
        assert [cell == "✓" for cell in row.cells] == [getattr(row.config, n) for n in SWITCHES]
        assert row.paper.ap == TABLE_1.get(row.config)


def test_they_are_asked_for_by_name_and_are_no_part_of_all():
    assert find_tables(list(ABLATIONS)) == (LEAVE_ONE_OUT, FACTORIAL, TABLE_9)
    assert find_tables(["all"]) == tuple(STUDY.values())


def test_table_9_varies_the_selection_alone_and_shares_its_runs_with_the_papers_tables():
    *trained, atss, poto = TABLE_9.rows
    for row in trained:
        assert row.config == replace(IMPROVED_RETINANET, assigner=row.config.assigner)
    assert {row.config.assigner for row in trained} == set(get_args(Assigner))
    assert (atss.config, poto.config) == (trained[4].config, trained[-1].config)
    assert [dict(row.recipe) for row in (atss, poto)] == [{"nms_threshold": 1.0}] * 2
    assert not TABLE_9.has_paper and TABLE_9.rows[TABLE_9.reference].label == "ATSS"
