"""Rows joined with results, and how their numbers are written."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, metrics_of, with_scores

from detector.metrics import HEADINGS
from reports.footnotes import footnotes
from reports.intervals import LEVEL, Estimate
from reports.numbers import SURE, interval, number, signed, signed_interval
from reports.results import Result


def test_our_number_stands_beside_the_papers_and_against_the_reference_row():
    bundle = make_bundle("table3", seeds=(0, 1, 2))
    assert all(list(row.metrics) == list(HEADINGS) for row in bundle.rows)
    row, large = bundle.rows[1], bundle.rows[1].metrics["ap_l"]
    assert (row.row.label, row.ap.paper, large.paper) == ("RetinaNet (#A=1) + ATSS", 39.3, 51.3)
    assert (row.ap.ours, row.ap.std) == pytest.approx((39.3 / 2 + 1, 1))
    assert (row.ap.difference, large.ours) == pytest.approx((1 - 39.3 / 2, 39.3 / 2 + 5))
    assert (row.ap.paper_gain, row.ap.gain) == pytest.approx((2.3, 2.3 / 2))
    # Equal seeds of two rows are two trainings, each with a deviation of 1.
    assert row.ap.gain_std == pytest.approx(2**0.5)
    reference = bundle.reference.ap
    assert (reference.paper_gain, reference.gain, reference.gain_std) == (0, 0, 0)


def test_what_is_missing_is_none_and_never_zero():
    bundle = make_bundle("table4", seeds=(0, 1), missing={("k = 3", 0), ("k = 3", 1), ("k = 9", 1)})
    assert "–: not measured; 15 of 18 runs finished." in footnotes(bundle)
    k3, k5, k9 = (bundle.rows[place].ap for place in (0, 1, 3))
    assert (k3.ours, k3.std, k3.n) == (None, None, 0)
    assert (k3.difference, k3.gain, k3.paper) == (None, None, 38.0)
    assert k3.paper_gain == pytest.approx(38.0 - 39.3)
    assert (k9.by_seed, k9.std) == ({0: 39.3 / 2}, None)
    assert list(k5.gains) == [0]  # the reference has no seed 1
    assert bundle.rows[1].metrics["ap_s"].n == 0  # no small objects
    assert bundle.rows[1].metrics["ap_l"].difference is None  # not printed by the paper
    nothing = replace(make_bundle("table1"), signatures={}, results={})
    assert [row.ap.ours for row in nothing.rows] == [None] * 7
    assert not any("not measured" in note for note in footnotes(nothing))


def test_a_result_serves_every_table_that_asks_for_its_run():
    result = Result(signature="abc", seed=0, metrics=metrics_of(20.0))
    for name, label in [("table4", "k = 9"), ("table5", "8S"), ("table6", "1:1")]:
        own = {"signatures": {label: ["abc"]}, "results": {"abc": result}}
        assert replace(make_bundle(name), **own).reference.ap.ours == 20.0


def test_a_row_has_an_interval_and_its_difference_from_the_reference_has_one():
    bundle = with_scores(make_bundle("table3", (0, 1)))
    reference, row = bundle.reference, bundle.rows[1]
    estimates = {name: found.estimate for name, found in row.metrics.items()}
    assert [name for name, found in estimates.items() if found is None] == ["ap_s"]  # of no object
    assert row.ap.estimate.value == pytest.approx(row.ap.ours)
    assert row.ap.gain_estimate.value == pytest.approx(row.ap.gain)
    assert row.ap.estimate.image_error > 1 > row.ap.gain_estimate.image_error
    assert reference.ap.estimate and not reference.ap.gain_estimate
    # A row of which a run cannot be resampled has none: it would be another mean's.
    left = {name: it for name, it in bundle.scores.items() if name != row.signatures[0]}
    rows = replace(bundle, scores=left).rows
    assert not rows[1].ap.estimate and not rows[1].ap.gain_estimate
    assert rows[0].ap.estimate and rows[2].ap.gain_estimate


# --- as they are written


def ends(low, high):
    about = {"image_error": 0.1, "seed_error": None, "num_seeds": 1, "num_images": 1000}
    return Estimate(value=1.0, low=low, high=high, **about)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        *((number, *pair) for pair in ((37.84, "37.8"), (5.0, "\u20075.0"), (None, "–"))),
        (number, 0.0, "\u20070.0"),
        *((signed, *pair) for pair in ((0.14, "+0.1"), (-21.46, "−21.5"), (0.0, "±0.0"))),
        *((signed, *pair) for pair in ((-0.04, "±0.0"), (None, "–"))),
        (interval, ends(-0.5, 1.5), "0.0–\u200b1.5"),  # it stays on the scale
        (signed_interval, ends(0.02, 1.98), "+0.0 to \u200b+2.0"),  # and shows its side of zero
        (signed_interval, ends(-0.02, 2.02), "−0.0 to \u200b+2.0"),
        *((write, None, "–") for write in (interval, signed_interval)),
    ],
)
def test_numbers_have_one_decimal_and_one_width_and_changes_a_sign(write, value, text):
    assert write(value) == text and f"{LEVEL:.0%}".replace("%", " %") == SURE
