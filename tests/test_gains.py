"""What rows change: columns, marks, notes, and what they say of seeds and of images."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_scores

from reports.intervals import Estimate, visible
from reports.numbers import Comparison, interval, least_shown, signed_interval
from reports.tables import changes_grid, gains_grid


def an_estimate(value, reach, *, image_error=0.1, seed_error=None, num_seeds=1, num_images=1000):
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        image_error=image_error,
        seed_error=seed_error,
        num_seeds=num_seeds,
        num_images=num_images,
    )


def with_differences(table, seeds, **by_label):
    """A comparison with made-up intervals; keywords: label of a row -> its difference in AP."""
    bundle = with_scores(make_bundle(table, seeds))
    rows = [
        replace(row, differences={"ap": by_label[row.row.label]})
        if row.row.label in by_label
        else replace(row, differences={})
        for row in bundle.comparison.rows
    ]
    return Comparison(bundle.table, tuple(rows))


def lines_of(grid):
    return {
        cells[0].text: [cell.text + cell.mark for cell in cells[1:]] for cells in grid.blocks[0]
    }


def test_without_intervals_gains_are_means_and_spreads_of_seeds():
    grid = gains_grid(make_bundle("table4", seeds=(0, 1)).comparison)
    assert [cell.text for cell in grid.over] == ["", "AP", "change", ""]
    assert [cell.text for cell in grid.head] == ["Run", *("paper", "ours") * 2, "n"]
    assert lines_of(grid)["k = 3"] == ["38.0", "19.5 ±0.7", "−1.3", "−0.6 ±1.0", "2"]
    assert lines_of(grid)["k = 9"] == ["39.3", "20.1 ±0.7", "", "", "2"]
    assert grid.notes == (
        "Changes of ours are of the seeds that both rows have. ±: standard deviation of one "
        "seed's change, the two trainings of which are independent.",
        "n: seeds of a row.",
    )


def test_a_change_whose_interval_excludes_zero_has_a_star_and_both_errors():
    told = an_estimate(-1.0, 0.5, seed_error=0.2345, num_seeds=2)
    unclear = an_estimate(0.3, 0.5, seed_error=0.2, num_seeds=2)
    grid = gains_grid(with_differences("table4", (0, 1), **{"k = 3": told, "k = 5": unclear}))
    heads = ["paper", "ours", "95 %", "paper", "ours", "95 %", "images", "seeds", "n"]
    assert [cell.text for cell in grid.head] == ["Run", *heads]
    third, fifth = lines_of(grid)["k = 3"], lines_of(grid)["k = 5"]
    assert third[3:] == ["−1.3", "−1.0*", "−1.5 to \u200b−0.5", "0.10", "0.23", "2"]
    assert fifth[3:] == ["−0.5", "+0.3", "−0.2 to \u200b+0.8", "0.10", "0.20", "2"]
    assert lines_of(grid)["k = 9"][3:] == ["", "", "", "", "", "2"]  # the reference
    notes = " ".join(grid.notes)
    assert "*: the 95 % interval, of the images and of the seeds together, excludes zero." in notes
    assert "(*)" not in notes
    assert f"“k = 5” {least_shown(unclear)}" in notes and "“k = 3”" not in notes


def test_with_one_seed_the_star_is_in_brackets_and_decides_nothing_about_configurations():
    grid = gains_grid(with_differences("table4", (0,), **{"k = 3": an_estimate(-1.0, 0.5)}))
    assert lines_of(grid)["k = 3"][4] == "−1.0(*)"
    assert "images" not in [cell.text for cell in grid.head]  # one source, which the notes name
    note = next(note for note in grid.notes if note.startswith("(*)"))
    assert "images alone" in note and "nothing about the configurations" in note


def test_several_intervals_say_that_each_stands_for_itself():
    told = an_estimate(-1.0, 0.5)
    two = gains_grid(with_differences("table4", (0,), **{"k = 3": told, "k = 5": told}))
    one = gains_grid(with_differences("table4", (0,), **{"k = 3": told}))
    assert any("Each of the 2 intervals stands for itself" in note for note in two.notes)
    assert not any("stands for itself" in note for note in one.notes)


def test_what_would_have_shown_is_what_the_statistics_say():
    by_both = an_estimate(0.3, 0.5, image_error=0.09, seed_error=0.1, num_seeds=2)
    assert least_shown(by_both) == f"{visible(by_both):.1f} AP"
    assert least_shown(replace(by_both, value=0.0)) == least_shown(by_both)


def test_intervals_stay_on_the_scale_and_show_on_which_side_of_zero_they_end():
    assert interval(an_estimate(0.5, 1.0)) == "0.0–\u200b1.5"
    assert interval(None) == signed_interval(None) == "–"
    assert signed_interval(an_estimate(1.0, 0.98)) == "+0.0 to \u200b+2.0"
    assert signed_interval(an_estimate(1.0, 1.02)) == "−0.0 to \u200b+2.0"


def test_changes_in_all_metrics_are_the_comparisons_own():
    comparison = with_scores(make_bundle("table3", seeds=(0, 1))).comparison
    (grid,) = changes_grid(comparison)
    assert len(grid.blocks) == 4  # five rows without the reference
    row, (paper, ours, spread) = comparison.rows[1], grid.blocks[0]
    assert [cell.text for cell in paper] == [
        *("RetinaNet (#A=1) + ATSS", "paper", "+2.3", "+2.4", "+2.9", "+2.9", "+2.1", "+2.7"),
    ]
    marks = [row.differences[name].excludes_zero for name in ("ap", "ap50", "ap75")]
    assert [cell.mark == "*" for cell in ours[2:5]] == marks
    assert spread[2].text == signed_interval(row.differences["ap"])
    assert [cells[5].text for cells in (ours, spread)] == ["–", "–"]  # no small objects


@pytest.mark.parametrize("table", ["table1", "table2", "table4"])
def test_a_table_of_ap_alone_has_no_other_changes(table):
    assert changes_grid(make_bundle(table).comparison) == ()
