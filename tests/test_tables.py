"""Rows joined with results, how their numbers are written, and the tables made of them.

What the tables of test_oracles.py do not show is frozen as the cases here.
"""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_scores
from test_oracles import check

from experiments.schedules import PAPER
from reports.intervals import LEVEL, Estimate
from reports.numbers import SURE, interval, number, signed, signed_interval
from reports.render import markdown
from reports.results import Stopped
from reports.tables import (
    changes_grid,
    facts,
    footnotes,
    gains_grid,
    paper_grid,
    ranks_of_ours,
    runs_grid,
)

# --- rows


def test_a_row_of_which_a_run_cannot_be_resampled_has_no_interval():
    """It would be another mean's."""
    bundle = with_scores(make_bundle("table3", (0, 1)))
    lost, *_ = bundle.rows[1].signatures
    known = {name: it for name, it in bundle.scores.items() if name != lost}
    rows = replace(bundle, scores=known).rows
    assert not rows[1].ap.estimate and not rows[1].gain.estimate
    assert rows[0].ap.estimate and rows[2].gain.estimate


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


# --- tables


def an_odd_row():
    """One of another version; MLflow's moves no number, so another of that is none."""
    usual = {"torch": "2.15.0", "gpu": "H200", "mlflow": "3.17", "code": "0.1.0, 7a945ea"}
    others = {"k = 5": {"torch": "2.14.1"}, "k = 7": {"mlflow": "3.16"}}
    bundle, results = make_bundle("table4"), {}
    for row in bundle.rows:
        (result,) = row.results
        facts = usual | others.get(row.row.label, {})
        results[result.signature] = replace(result, facts=facts)
    return replace(bundle, results=results)


def fewer_seeds_and_other_images():
    bundle = with_scores(make_bundle("table4", (0, 1), missing={("k = 5", 1)}))
    scores = dict(bundle.scores)
    for name in bundle.signatures["k = 7"]:
        scores[name] = replace(scores[name], images="a" * 64, num_images=7)
    return replace(bundle, scores=scores)


def stopped_early():
    bundle = make_bundle("table4", missing={("k = 3", 0), ("k = 5", 0)})
    first, second = (bundle.signatures[label][0] for label in ("k = 3", "k = 5"))
    return replace(bundle, stopped={first: Stopped(1000, 3.0), second: Stopped(20, None)})


def only_some_asked():
    bundle = make_bundle("table4")
    kept = {label: names for label, names in bundle.signatures.items() if label != "k = 3"}
    return replace(bundle, signatures=kept)


SETTINGS = {"scalar": False, "lr_drops": (0.5, 0.9)}
CASES = {
    "gaps": make_bundle("table4", missing={("k = 5", 0)}),
    "nothing": replace(make_bundle("table2"), results={}),
    "spread": make_bundle("table3", seeds=(0, 1)),  # of seeds, without intervals
    "one-seed": with_scores(make_bundle("table3"), noise=0.1),
    "settings": replace(make_bundle("table6"), settings=SETTINGS, notes=["3 crowds."]),
    "unasked": only_some_asked(),
    "stopped": stopped_early(),
    "odd-row": an_odd_row(),
    "odd-seeds": fewer_seeds_and_other_images(),
    "paper": make_bundle("table8", scale="paper", recipe=PAPER, data="coco2017"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_table_and_what_stands_below_it(case):
    bundle = CASES[case]
    grids = paper_grid(bundle), gains_grid(bundle), *changes_grid(bundle), runs_grid(bundle)
    check(f"tables/{case}.md", "\n".join(map(markdown, grids)))


@pytest.mark.parametrize(
    "change",
    [
        *({}, {"recipe": replace(PAPER, iterations=1)}, {"settings": SETTINGS}),
        *({"data": name} for name in ("coco2017-mini", "coco2017 people", "mycoco2017")),
    ],
)
def test_only_the_papers_own_setting_needs_no_warning(change):
    bundle = replace(make_bundle("table5", scale="paper", recipe=PAPER, data="coco2017"), **change)
    assert bundle.is_as_in_paper == (not change)
    assert ("directions" in " ".join(footnotes(bundle))) == bool(change)


def test_facts_tell_the_recipe_and_what_the_runs_have_in_common():
    recipe, *told = facts(make_bundle("table8"))
    assert "iterations=40" in recipe and "short_side=96,128" in recipe
    assert "deformable=from row to row" in recipe and told == ["device: cpu"]


def test_what_is_unknown_is_not_called_different_and_nothing_is_the_best_of_nothing():
    bundle = with_scores(make_bundle("table3"), noise=0.01)
    worst = min(bundle.rows, key=lambda row: row.ap.ours)
    assert worst.row.label not in ranks_of_ours(bundle, "ap")
    scores = {name: it for name, it in bundle.scores.items() if name not in worst.signatures}
    assert ranks_of_ours(replace(bundle, scores=scores), "ap")[worst.row.label] == "tied"
    metrics = next(iter(bundle.results.values())).metrics
    level = {name: replace(result, metrics=metrics) for name, result in bundle.results.items()}
    alone = dict(list(bundle.results.items())[:1])
    for results in (level, alone):
        assert ranks_of_ours(replace(bundle, results=results, scores={}), "ap") == {}
