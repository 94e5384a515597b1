"""What the goldens of test_oracles.py do not show: gaps, marks, ranks, footnotes, every run."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_facts, with_scores

from experiments import TABLES
from experiments.schedules import PAPER
from reports.footnotes import differing, facts, footnotes
from reports.intervals import Estimate
from reports.tables import gains_grid, paper_grid, ranks_of_ours, runs_grid


def texts(cells):
    return [cell.text for cell in cells]


def lines_of(grid):
    return {cells[0].text: [cell.text + cell.mark for cell in cells[1:]] for cells in grid.lines}


def test_missing_runs_are_dashes_and_every_run_can_be_traced():
    bundle = make_bundle("table4", missing={("k = 5", 0)})
    grid = paper_grid(bundle)
    assert [texts(cells)[3] for cells in grid.blocks[0]] == ["38.8", "–", "–"]
    assert "–: not measured; 8 of 9 runs finished." in grid.notes
    gains = lines_of(gains_grid(bundle))
    assert gains["k = 5"] == ["38.8", "–", "−0.5", "–", "0"]
    assert gains["k = 9"] == ["39.3", "19.6", "", "", "1"]
    first = bundle.rows[0]
    codes = {row.label: {"code": "0.1.0, 7a945ea"} for row in bundle.table.rows}
    codes |= {first.row.label: {"code": "0.1.0, f11fdfc"}}
    runs = runs_grid(with_facts(bundle, {it: codes[it] for it in codes if it != "k = 5"}))
    assert texts(runs.lines[0]) == ["k = 3", *first.signatures, "0", "19.0", "1.5"]
    assert texts(runs.lines[1])[2:] == ["–"] * 3
    assert "fingerprint ffffffffffffffff" in runs.notes[0]
    assert runs.notes[1] == "Code: 0.1.0, f11fdfc; 0.1.0, 7a945ea."


# --- what rows change


def gains_with(seeds, **by_label):
    """The changes of Table 4; keywords: label of a row -> its made-up difference in AP."""
    bundle = with_scores(make_bundle("table4", seeds))
    for row in bundle.rows:
        row.metrics["ap"] = replace(row.ap, gain_estimate=by_label.get(row.row.label))
    return gains_grid(bundle)


def an_estimate(value, reach, error=None):
    about = {"low": value - reach, "high": value + reach, "image_error": 0.1, "num_images": 1000}
    return Estimate(value=value, seed_error=error, num_seeds=1 if error is None else 2, **about)


def test_without_intervals_gains_are_means_and_spreads_of_seeds():
    grid = gains_grid(make_bundle("table4", seeds=(0, 1)))
    assert texts(grid.head) == ["Run", *("paper", "ours") * 2, "n"]
    found = {it: " ".join(cells).replace("\u200b", "") for it, cells in lines_of(grid).items()}
    assert found["k = 3"] == "38.0 19.5 ±0.7 −1.3 −0.6 ±1.0 2"
    assert found["k = 9"] == "39.3 20.1 ±0.7   2"
    assert "two trainings of which are independent" in grid.notes[0]


def test_a_change_whose_interval_excludes_zero_has_a_star_and_both_errors():
    unclear = an_estimate(0.3, 0.5, 0.2)
    grid = gains_with((0, 1), **{"k = 3": an_estimate(-1.0, 0.5, 0.2345), "k = 5": unclear})
    lines, notes = lines_of(grid), " ".join(grid.notes)
    assert lines["k = 3"][3:] == ["−1.3", "−1.0*", "−1.5 to \u200b−0.5", "0.10", "0.23", "2"]
    assert lines["k = 5"][3:] == ["−0.5", "+0.3", "−0.2 to \u200b+0.8", "0.10", "0.20", "2"]
    assert lines["k = 9"][3:] == ["", "", "", "", "", "2"]  # the reference
    assert "*: the 95 % interval" in notes and "(*)" not in notes
    assert f"“k = 5” {unclear.visible():.1f} AP." in notes and "“k = 3”" not in notes


def test_with_one_seed_the_star_is_in_brackets_and_decides_nothing_about_configurations():
    grid = gains_with((0,), **{"k = 3": an_estimate(-1.0, 0.5)})
    assert lines_of(grid)["k = 3"][4] == "−1.0(*)"
    assert "images" not in texts(grid.head)  # one source, which the notes name
    assert [note[:4] for note in grid.notes[1:]] == ["(*):", "n: s"]
    assert "decides nothing about the configurations" in grid.notes[1]
    two = gains_with((0,), **dict.fromkeys(("k = 3", "k = 5"), an_estimate(-1.0, 0.5)))
    assert "Each of the 2 intervals stands for itself" in two.notes[2]


# --- the best numbers, and those not told apart from them


def test_what_is_unknown_is_not_called_different_and_nothing_is_the_best_of_nothing():
    bundle = with_scores(make_bundle("table3"), noise=0.01)
    worst = min(bundle.rows, key=lambda row: row.ap.ours)
    assert worst.row.label not in ranks_of_ours(bundle, "ap")
    scores = {name: it for name, it in bundle.scores.items() if name not in worst.signatures}
    assert ranks_of_ours(replace(bundle, scores=scores), "ap")[worst.row.label] == "tied"
    bare = replace(bundle, scores={})
    assert set(ranks_of_ours(bare, "ap").values()) == {"best"}  # nothing is tied
    metrics = next(iter(bundle.results.values())).metrics
    level = {name: replace(result, metrics=metrics) for name, result in bundle.results.items()}
    alone = dict(list(bundle.results.items())[:1])
    rows = replace(bare, results=level), replace(bare, results=alone)
    assert [ranks_of_ours(it, "ap") for it in rows] == [{}, {}]
    assert ranks_of_ours(bare, "ap_s") == {}  # no small objects


# --- what stands below


OTHERS = {"data": "my-coco"}, {"recipe": replace(PAPER, iterations=1)}, {"settings": {"k": 5}}


@pytest.mark.parametrize("change", [{}, *OTHERS])
def test_only_the_papers_own_setting_needs_no_warning(change):
    bundle = replace(make_bundle("table5", scale="paper", recipe=PAPER, data="coco2017"), **change)
    assert bundle.is_as_in_paper == (not change)
    assert ("directions" in " ".join(footnotes(bundle))) == bool(change)


def test_they_name_settings_single_seeds_misprints_gaps_and_the_readers_notes():
    settings = {"scalar": False, "lr_drops": (0.5, 0.9)}
    notes = footnotes(replace(make_bundle("table6"), settings=settings, notes=["3 crowds."]))
    assert "seed 0 alone, so the spread between seeds is unknown" in notes[0]
    assert notes[1] == "Changed in every row: scalar=false, lr_drops=0.5,0.9."
    assert "–: undefined, for want of an object of that size." in notes
    assert "confirmed that the first two are 1:4 and 1:2" in notes[-2] and notes[-1] == "3 crowds."
    bundle = make_bundle("table4")
    kept = {label: names for label, names in bundle.signatures.items() if label != "k = 3"}
    notes = footnotes(replace(bundle, signatures=kept))
    assert "–: no run was asked for in “k = 3”." in notes
    assert not any("not measured" in note or "undefined" in note for note in notes)
    recipe, *told = facts(make_bundle("table8"))
    assert "iterations=40" in recipe and "short_side=96,128" in recipe
    assert "deformable=from row to row" in recipe and told == ["device: cpu"]


def test_a_row_unlike_most_gets_a_letter_and_a_footnote():
    assert differing(make_bundle("table4")) == ({}, ())
    usual = {"torch": "2.15.0", "gpu": "H200", "mlflow": "3.17"}
    rows = {row.label: usual for row in TABLES["table4"].rows}
    rows |= {"k = 5": {**usual, "torch": "2.14.1"}, "k = 7": {**usual, "mlflow": "3.16"}}
    bundle = with_facts(make_bundle("table4"), rows)
    letters, (note,) = differing(bundle)
    assert letters == {"k = 5": "a"}  # MLflow moves no number
    assert note == "a: torch 2.14.1 (most rows: 2.15.0)."
    grid = paper_grid(bundle)
    assert [cell.mark for cell in grid.blocks[0][1]] == ["", "", "", "a", *[""] * 7]
    assert note in grid.notes
    bundle = with_scores(make_bundle("table4", (0, 1), missing={("k = 5", 1)}))
    others = {
        it: replace(bundle.scores[it], images="a" * 64, num_images=7)
        for it in bundle.signatures["k = 7"]
    }
    _, notes = differing(replace(bundle, scores={**bundle.scores, **others}))
    assert notes == (
        "a: seeds 0 (most rows: 0 and 1).",
        "b: test images 7 (aaaaaaaa) (most rows: 1,000 (ffffffff)).",
    )
