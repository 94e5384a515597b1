"""Printed tables: the paper's layouts, what rows change, ranks and marks, every run."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_facts, with_scores

from reports.intervals import Estimate, difference
from reports.tables import gains_grid, paper_grid, ranks_of_ours, runs_grid


def texts(cells):
    return [cell.text for cell in cells]


def lines_of(grid):
    return {cells[0].text: [cell.text + cell.mark for cell in cells[1:]] for cells in grid.lines}


# --- the paper's layouts


def test_missing_runs_are_dashes():
    bundle = make_bundle("table4", missing={("k = 5", 0)})
    grid = paper_grid(bundle)
    assert [texts(cells)[3] for cells in grid.blocks[0]] == ["38.8", "–", "–"]
    assert "–: not measured; 8 of 9 runs finished." in grid.notes
    gains = lines_of(gains_grid(bundle))
    assert gains["k = 5"] == ["38.8", "–", "−0.5", "–", "0"]
    assert gains["k = 9"] == ["39.3", "19.6", "", "", "1"]
    assert gains["k = 7"] == ["39.1", "19.6", "−0.2", "−0.1", "1"]
    assert [texts(cells)[2:] for cells in runs_grid(bundle).blocks[1]] == [["–"] * 3]


def test_every_run_can_be_traced():
    bundle = make_bundle("table2")
    same = {row.label: {"code": "0.1.0, 7a945ea"} for row in bundle.table.rows}
    notes = " ".join(runs_grid(with_facts(bundle, same)).notes)
    assert "fingerprint ffffffffffffffff" in notes and "Code: 0.1.0, 7a945ea." in notes
    others = {**same, bundle.table.rows[0].label: {"code": "0.1.0, f11fdfc"}}
    grid = runs_grid(with_facts(bundle, others))
    assert grid.notes[-1] == "Code: 0.1.0, f11fdfc; 0.1.0, 7a945ea."
    assert texts(grid.lines[0])[1:] == [*bundle.rows[0].signatures, "0", "18.5", "1.5"]


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
    assert texts(grid.over) == ["", "AP", "change", ""]
    assert texts(grid.head) == ["Run", *("paper", "ours") * 2, "n"]
    found = {it: " ".join(cells).replace("\u200b", "") for it, cells in lines_of(grid).items()}
    assert found["k = 3"] == "38.0 19.5 ±0.7 −1.3 −0.6 ±1.0 2"
    assert found["k = 9"] == "39.3 20.1 ±0.7   2"
    assert grid.notes == (
        "Changes of ours are of the seeds that both rows have. ±: standard deviation of one "
        "seed's change, the two trainings of which are independent.",
        "n: seeds of a row.",
    )


def test_a_change_whose_interval_excludes_zero_has_a_star_and_both_errors():
    unclear = an_estimate(0.3, 0.5, 0.2)
    grid = gains_with((0, 1), **{"k = 3": an_estimate(-1.0, 0.5, 0.2345), "k = 5": unclear})
    heads = ["paper", "ours", "95 %", "paper", "ours", "95 %", "images", "seeds", "n"]
    assert texts(grid.head) == ["Run", *heads]
    lines, notes = lines_of(grid), " ".join(grid.notes)
    assert lines["k = 3"][3:] == ["−1.3", "−1.0*", "−1.5 to \u200b−0.5", "0.10", "0.23", "2"]
    assert lines["k = 5"][3:] == ["−0.5", "+0.3", "−0.2 to \u200b+0.8", "0.10", "0.20", "2"]
    assert lines["k = 9"][3:] == ["", "", "", "", "", "2"]  # the reference
    assert "*: the 95 % interval, of the images and of the seeds together, excludes zero." in notes
    assert "(*)" not in notes
    assert f"“k = 5” {unclear.visible():.1f} AP." in notes and "“k = 3”" not in notes


def test_with_one_seed_the_star_is_in_brackets_and_decides_nothing_about_configurations():
    grid = gains_with((0,), **{"k = 3": an_estimate(-1.0, 0.5)})
    assert lines_of(grid)["k = 3"][4] == "−1.0(*)"
    assert "images" not in texts(grid.head)  # one source, which the notes name
    note = next(note for note in grid.notes if note.startswith("(*)"))
    assert "images alone" in note and "nothing about the configurations" in note
    assert "stands for itself" not in " ".join(grid.notes)
    two = gains_with((0,), **dict.fromkeys(("k = 3", "k = 5"), an_estimate(-1.0, 0.5)))
    assert any("Each of the 2 intervals stands for itself" in note for note in two.notes)


# --- the best numbers, and those not told apart from them


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
def test_of_ours_those_are_tied_whose_difference_from_the_best_includes_zero(noise):
    bundle = with_scores(make_bundle("table3"), noise=noise)
    found = ranks_of_ours(bundle, "ap")
    top = max(bundle.rows, key=lambda row: row.ap.ours)
    for row in bundle.rows:
        label = row.row.label
        if f"{row.ap.ours:.1f}" == f"{top.ap.ours:.1f}":
            assert found[label] == "best"
            continue
        if difference(top.scores, row.scores).low <= 0:
            assert label in found  # what two rows alone do not tell apart, all at once do not
        assert found.get(label, "tied") == "tied"
    assert ("tied" in found.values()) == (noise > 0.1)


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
