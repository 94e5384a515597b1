"""Rows joined with results, and how their numbers are written."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, metrics_of, with_scores

from reports.intervals import LEVEL, Estimate
from reports.numbers import SURE, finite, interval, number, numbers, signed, signed_interval
from reports.results import Result


def test_what_is_missing_is_none_and_never_zero():
    bundle = make_bundle("table4", seeds=(0, 1), missing={("k = 3", 0), ("k = 3", 1), ("k = 9", 1)})
    k3, k5, k9 = (bundle.rows[place].ap for place in (0, 1, 3))
    assert (k3.ours, k3.std, k3.n) == (None, None, 0)
    assert (k3.difference, k3.gain, k3.paper) == (None, None, 38.0)
    assert k3.paper_gain == pytest.approx(38.0 - 39.3)
    assert (k9.by_seed, k9.std) == ({0: 39.3 / 2}, None)
    assert list(k5.gains) == [0]  # the reference has no seed 1
    assert bundle.rows[1].metrics["ap_s"].n == 0  # no small objects
    assert bundle.rows[1].metrics["ap_l"].difference is None  # not printed by the paper
    line = numbers(bundle).set_index(["row", "metric"]).loc["k = 3", "AP"]
    assert line["ours"] is None and line["gain_low"] is None and line["n"] == 0


def test_a_result_serves_every_table_that_asks_for_its_run():
    result = Result(signature="abc", seed=0, metrics=metrics_of(20.0))
    for name, label in [("table4", "k = 9"), ("table5", "8S"), ("table6", "1:1")]:
        own = {"signatures": {label: ["abc"]}, "results": {"abc": result}}
        assert replace(make_bundle(name), **own).reference.ap.ours == 20.0


def test_a_row_of_which_a_run_cannot_be_resampled_has_no_interval():
    """It would be another mean's."""
    bundle = with_scores(make_bundle("table3", (0, 1)))
    row = bundle.rows[1]
    assert row.ap.estimate.value == pytest.approx(row.ap.ours)
    assert row.ap.gain_estimate.value == pytest.approx(row.ap.gain)
    # Equal seeds of two rows are two trainings, each with a deviation of 0.7.
    assert row.ap.gain_std == pytest.approx(2**0.5 * row.ap.std)
    assert bundle.reference.ap.estimate and not bundle.reference.ap.gain_estimate
    left = {name: it for name, it in bundle.scores.items() if name != row.signatures[0]}
    rows = replace(bundle, scores=left).rows
    assert not rows[1].ap.estimate and not rows[1].ap.gain_estimate
    assert rows[0].ap.estimate and rows[2].ap.gain_estimate


# --- as they are written


ABOUT = {"image_error": 0.1, "seed_error": None, "num_seeds": 1, "num_images": 1000}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        *((number, *pair) for pair in ((37.84, "37.8"), (5.0, "\u20075.0"), (0.0, "\u20070.0"))),
        *((signed, *pair) for pair in ((0.14, "+0.1"), (-21.46, "−21.5"), (-0.04, "±0.0"))),
        (interval, (-0.5, 1.5), "0.0–\u200b1.5"),  # it stays on the scale
        (signed_interval, (0.02, 1.98), "+0.0 to \u200b+2.0"),  # and shows its side of zero
        (signed_interval, (-0.02, 2.02), "−0.0 to \u200b+2.0"),
        *((write, None, "–") for write in (number, signed, interval, signed_interval)),
    ],
)
def test_numbers_have_one_decimal_and_one_width_and_changes_a_sign(write, value, text):
    if isinstance(value, tuple):
        value = Estimate(value=1.0, low=value[0], high=value[1], **ABOUT)
    assert write(value) == text and f"{LEVEL:.0%}".replace("%", " %") == SURE


def test_json_has_null_for_what_is_not_finite():
    assert finite({"a": (1, float("nan"), float("-inf")), "b": None}) == {
        "a": [1, None, None],
        "b": None,
    }
