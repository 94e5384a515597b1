"""The paper's rows joined with results: means, spreads, differences, and what is missing."""

import pytest
from made_up_results import make_bundle, metrics_of

from detector.metrics import HEADINGS, Metrics
from experiments import TABLES
from reports.numbers import Sample, join
from reports.results import Result


def test_a_sample_is_a_mean_a_spread_and_a_count():
    sample = Sample({0: 10.0, 1: 12.0, 2: 14.0})
    assert (sample.mean, sample.std, sample.n) == (12.0, 2.0, 3)  # ((-2)^2 + 0 + 2^2) / 2 = 2^2
    assert (Sample({5: 10.0}).mean, Sample({5: 10.0}).std) == (10.0, None)
    assert (Sample({}).mean, Sample({}).std, Sample({}).n) == (None, None, 0)


def test_differences_are_paired_by_seed():
    difference = Sample({0: 10.0, 1: 12.0, 3: 1.0}).minus(Sample({0: 9.0, 1: 11.5, 2: 50.0}))
    assert difference.by_seed == {0: 1.0, 1: 0.5}


def test_our_number_stands_beside_the_papers():
    comparison = make_bundle("table3", seeds=(0, 1, 2)).comparison
    atss = comparison.rows[1]
    assert atss.row.label == "RetinaNet (#A=1) + ATSS"
    assert atss.ap.paper == 39.3
    assert atss.ap.ours.mean == pytest.approx(39.3 / 2 + 1)
    assert atss.ap.ours.std == pytest.approx(1)
    assert atss.ap.difference == pytest.approx(39.3 / 2 + 1 - 39.3)
    assert atss.metrics["ap_l"].paper == 51.3
    assert atss.metrics["ap_l"].ours.mean == pytest.approx(39.3 / 2 + 1 + 4)


def test_gains_are_against_the_reference_row():
    comparison = make_bundle("table3", seeds=(0, 1)).comparison
    atss = comparison.rows[1].ap
    assert atss.paper_gain == pytest.approx(2.3)
    assert atss.gain.mean == pytest.approx(2.3 / 2)
    # Equal seeds of two rows are two trainings, each with a deviation of sqrt(1/2).
    assert atss.gain.std == pytest.approx(1)
    reference = comparison.reference.ap
    assert (reference.paper_gain, reference.gain.mean) == (0, 0)


def test_what_is_missing_is_none_and_never_zero():
    bundle = make_bundle("table4", seeds=(0, 1), missing={("k = 3", 0), ("k = 3", 1), ("k = 9", 1)})
    comparison = bundle.comparison
    assert comparison.missing == 3
    assert comparison.seeds == (0, 1)
    k3, k5 = comparison.rows[0].ap, comparison.rows[1].ap
    assert (k3.ours.mean, k3.difference, k3.gain.mean, k3.paper) == (None, None, None, 38.0)
    assert k3.paper_gain == pytest.approx(38.0 - 39.3)
    assert list(k5.gain.by_seed) == [0]  # the reference has no seed 1
    assert comparison.rows[1].metrics["ap_s"].ours.n == 0  # no small objects
    assert comparison.rows[1].metrics["ap_l"].difference is None  # not printed by the paper


def test_nothing_measured_is_a_comparison_too():
    comparison = join(TABLES["table1"], {}, {})
    assert [row.ap.ours.mean for row in comparison.rows] == [None] * 7
    assert comparison.seeds == ()
    assert comparison.missing == 0


def test_a_result_serves_every_table_that_asks_for_its_run():
    result = Result(signature="abc", seed=0, metrics=metrics_of(20.0))
    for name, label in [("table4", "k = 9"), ("table5", "8S"), ("table6", "1:1")]:
        comparison = join(TABLES[name], {label: ["abc"]}, {"abc": result})
        assert comparison.reference.ap.ours.mean == 20.0


def test_a_row_that_the_table_does_not_have_is_refused():
    with pytest.raises(ValueError, match="table4 has no row 'k = 4'; its rows are 'k = 3'"):
        join(TABLES["table4"], {"k = 4": ["abc"]}, {})


def test_every_row_has_all_six_metrics():
    for row in make_bundle("table1").comparison.rows:
        assert list(row.metrics) == list(HEADINGS)
    assert Metrics().ap is None
