"""Printed tables: the paper's layouts, what rows change, ranks and marks, every run."""

import io
import re
from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_facts, with_scores
from rich.console import Console

from detector.metrics import HEADINGS, Metrics
from experiments import TABLES
from reports.footnotes import facts_grid
from reports.intervals import Estimate, difference, visible
from reports.numbers import number, signed_interval
from reports.render import latex, markdown, terminal, to_html
from reports.tables import (
    changes_grid,
    gains_grid,
    paper_grid,
    ranks_of_ours,
    ranks_of_paper,
    runs_grid,
)


def printed(grid):
    console = Console(width=200, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(terminal(grid))
    return console.file.getvalue()


def texts(cells):
    return [cell.text for cell in cells]


# --- the paper's layouts


@pytest.mark.parametrize("name", TABLES)
def test_every_writer_shows_every_row_and_number_of_the_paper(name):
    bundle = make_bundle(name)
    table, grid = bundle.table, paper_grid(bundle)
    for text in (markdown(grid), printed(grid), to_html(grid), latex(grid)):
        text = re.sub(r"[\\]", "", text)
        for row in table.rows:
            cells = [cell for cell in row.cells if cell and cell != "✓"]
            numbers = [number(getattr(row.paper, metric)) for metric in table.metrics]
            assert all(shown in text for name in [*cells, *numbers] for shown in name.split())


@pytest.mark.parametrize("name", TABLES)
def test_every_line_of_a_grid_is_as_wide_as_its_head(name):
    bundle = make_bundle(name)
    grids = [paper_grid(bundle), gains_grid(bundle), runs_grid(bundle), facts_grid(bundle)]
    for grid in grids:
        for cells in (grid.over, *(cells for block in grid.blocks for cells in block)):
            assert not cells or sum(cell.span for cell in cells) == grid.width


def test_table_1_has_toggles_down_and_runs_across():
    grid = paper_grid(make_bundle("table1"))
    assert texts(grid.head) == ["Inconsistency", "", "FCOS", "RetinaNet (#A=1)"]
    assert [cell.span for cell in grid.head] == [1, 1, 1, 6]
    toggles, numbers = grid.blocks
    assert [cells[0].text for cells in toggles] == [
        *("GroupNorm", "GIoU Loss", "In GT Box", "Centerness", "Scalar"),
    ]
    assert texts(toggles[1]) == ["GIoU Loss", "", "✓", "", "", "✓", "✓", "✓", "✓"]
    assert texts(numbers[0]) == [
        *("AP (%)", "paper", "37.8", "32.5", "33.4", "34.9", "35.3", "36.8", "37.0"),
    ]
    assert texts(numbers[1])[:4] == ["", "ours", "18.9", "16.2"]
    assert texts(numbers[2])[:4] == ["", "Δ", "−18.9", "−16.2"]


def test_table_2_is_a_grid_of_two_by_two():
    grid = paper_grid(make_bundle("table2"))
    assert texts(grid.over) == ["", "", "Regression"] and grid.over[2].span == 2
    assert texts(grid.head) == ["Classification", "", "Box", "Point"]
    assert [texts(block[0]) for block in grid.blocks] == [
        ["Intersection over Union", "paper", "37.0", "36.9"],
        ["Spatial and Scale Constraint", "paper", "37.8", "37.8"],
    ]


def test_table_4_has_k_across_and_ap_only():
    grid = paper_grid(make_bundle("table4"))
    assert texts(grid.head) == ["k", "", "3", "5", "7", "9", "11", "13", "15", "17", "19"]
    assert len(grid.blocks) == 1


def test_table_7_has_its_own_columns_and_six_metrics():
    grid = paper_grid(make_bundle("table7", seeds=(0, 1)))
    assert texts(grid.head) == ["Method", "#sc", "#ar", "", *HEADINGS.values()]
    paper, ours, difference = grid.blocks[3]
    assert texts(paper) == [
        *("+Imprs.+ATSS", "3", "1", "paper", "39.3", "57.7", "42.6", "23.8", "43.5", "51.2"),
    ]
    assert texts(ours)[:6] == ["", "", "", "ours ±sd", "20.1 \u200b±0.7", "30.1 \u200b±0.7"]
    assert texts(ours)[7] == texts(difference)[7] == "–"  # no small objects


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


def test_intervals_stand_under_our_numbers():
    bundle = with_scores(make_bundle("table2", (0, 1)))
    lines = [texts(cells) for cells in paper_grid(bundle).blocks[0]]
    assert [cells[1] for cells in lines] == ["paper", "ours", "95 %", "Δ"]
    found = bundle.rows[0].ap.ours.estimate
    assert lines[2][2] == f"{found.low:.1f}–\u200b{found.high:.1f}" and lines[1][2] == "19.0"


def test_a_table_that_the_paper_does_not_have_shows_ours_alone():
    rows = tuple(replace(row, paper=Metrics()) for row in TABLES["table4"].rows[3:5])
    table = replace(TABLES["table4"], number=0, name="mine", reference=0, rows=rows)
    grid = paper_grid(with_scores(make_bundle(table)))
    assert [cells[1].text for cells in grid.blocks[0]] == ["ours", "95 %"]
    assert "{best}: the highest of ours" in " ".join(grid.notes)


def test_every_run_can_be_traced():
    bundle = make_bundle("table2")
    same = {row.label: {"code": "0.1.0, 7a945ea"} for row in bundle.table.rows}
    notes = " ".join(runs_grid(with_facts(bundle, same)).notes)
    assert "fingerprint ffffffffffffffff" in notes and "Code: 0.1.0, 7a945ea." in notes
    others = {**same, bundle.table.rows[0].label: {"code": "0.1.0, f11fdfc", "MLflow run": "1f"}}
    grid = runs_grid(with_facts(bundle, others))
    assert texts(grid.head)[5:] == ["code", "MLflow run"]
    codes = [cells[0][5].text for cells in grid.blocks]
    assert codes == ["0.1.0, f11fdfc"] + ["0.1.0, 7a945ea"] * 3


# --- what rows change


def an_estimate(value, reach, seed_error=None):
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        image_error=0.1,
        seed_error=seed_error,
        num_seeds=1 if seed_error is None else 2,
        num_images=1000,
    )


def gains_with(seeds, **by_label):
    """The changes of Table 4; keywords: label of a row -> its made-up difference in AP."""
    bundle = with_scores(make_bundle("table4", seeds))
    for row in bundle.rows:
        gain = replace(row.ap.gain, estimate=by_label.get(row.row.label))
        row.metrics["ap"] = replace(row.ap, gain=gain)
    return gains_grid(bundle)


def lines_of(grid):
    return {
        cells[0].text: [cell.text + cell.mark for cell in cells[1:]] for cells in grid.blocks[0]
    }


def test_without_intervals_gains_are_means_and_spreads_of_seeds():
    grid = gains_grid(make_bundle("table4", seeds=(0, 1)))
    assert texts(grid.over) == ["", "AP", "change", ""]
    assert texts(grid.head) == ["Run", *("paper", "ours") * 2, "n"]
    assert lines_of(grid)["k = 3"] == ["38.0", "19.5 \u200b±0.7", "−1.3", "−0.6 \u200b±1.0", "2"]
    assert lines_of(grid)["k = 9"] == ["39.3", "20.1 \u200b±0.7", "", "", "2"]
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
    assert f"“k = 5” {visible(unclear):.1f} AP." in notes and "“k = 3”" not in notes


def test_with_one_seed_the_star_is_in_brackets_and_decides_nothing_about_configurations():
    grid = gains_with((0,), **{"k = 3": an_estimate(-1.0, 0.5)})
    assert lines_of(grid)["k = 3"][4] == "−1.0(*)"
    assert "images" not in texts(grid.head)  # one source, which the notes name
    note = next(note for note in grid.notes if note.startswith("(*)"))
    assert "images alone" in note and "nothing about the configurations" in note
    assert "stands for itself" not in " ".join(grid.notes)
    two = gains_with((0,), **dict.fromkeys(("k = 3", "k = 5"), an_estimate(-1.0, 0.5)))
    assert any("Each of the 2 intervals stands for itself" in note for note in two.notes)


def test_changes_in_all_metrics_are_the_comparisons_own():
    bundle = with_scores(make_bundle("table3", seeds=(0, 1)))
    (grid,) = changes_grid(bundle)
    assert len(grid.blocks) == 4  # five rows without the reference
    row, (paper, ours, spread) = bundle.rows[1], grid.blocks[0]
    assert texts(paper) == [
        *("RetinaNet (#A=1) + ATSS", "paper", "+2.3", "+2.4", "+2.9", "+2.9", "+2.1", "+2.7"),
    ]
    marks = [row.metrics[it].gain.estimate.excludes_zero for it in ("ap", "ap50", "ap75")]
    assert [cell.mark == "*" for cell in ours[2:5]] == marks
    assert spread[2].text == signed_interval(row.ap.gain.estimate)
    assert [cells[5].text for cells in (ours, spread)] == ["–", "–"]  # no small objects
    for name in ("table1", "table2", "table4"):  # of AP alone
        assert changes_grid(make_bundle(name)) == ()


# --- the best numbers, and those not told apart from them

PAPER_BEST = {  # read off the paper's tables, by eye
    "table1": {"FCOS"},
    "table2": {"Spatial and Scale Constraint, Box", "Spatial and Scale Constraint, Point"},
    "table3": {"RetinaNet (#A=1) + ATSS"},
    "table4": {"k = 9"},
    "table5": {"7S", "8S"},
    "table6": {"1:1", "2:1"},
    "table7": {"+Imprs.+ATSS (3 sc, 1 ar)", "+Imprs.+ATSS (1 sc, 1 ar)"},
}


@pytest.mark.parametrize("name", PAPER_BEST)
def test_the_best_of_the_papers_numbers_are_the_highest_it_prints(name):
    bundle = make_bundle(name)
    assert ranks_of_paper(bundle, "ap") == dict.fromkeys(PAPER_BEST[name], "best")


def test_the_best_of_table_8_are_found_metric_by_metric():
    bundle = make_bundle("table8")
    last = [row.label for row in TABLES["table8"].rows][-2:]
    best = {name: list(ranks_of_paper(bundle, name)) for name in TABLES["table8"].metrics}
    assert best == {
        **{name: last[1:] for name in ("ap", "ap50", "ap75", "ap_l")},
        **{"ap_s": last[:1], "ap_m": last},
    }


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
def test_of_ours_those_are_tied_whose_difference_from_the_best_includes_zero(noise):
    bundle = with_scores(make_bundle("table3"), noise=noise)
    found = ranks_of_ours(bundle, "ap")
    top = max(bundle.rows, key=lambda row: row.ap.ours.mean)
    for row in bundle.rows:
        label = row.row.label
        if f"{row.ap.ours.mean:.1f}" == f"{top.ap.ours.mean:.1f}":
            assert found[label] == "best"
            continue
        if difference(top.scores, row.scores, "ap").low <= 0:
            assert label in found  # what two rows alone do not tell apart, all at once do not
        assert found.get(label, "tied") == "tied"
    assert ("tied" in found.values()) == (noise > 0.1)


def test_what_is_unknown_is_not_called_different():
    bundle = with_scores(make_bundle("table3"), noise=0.01)
    worst = min(bundle.rows, key=lambda row: row.ap.ours.mean)
    assert worst.row.label not in ranks_of_ours(bundle, "ap")
    scores = {name: it for name, it in bundle.scores.items() if name not in worst.signatures}
    found = ranks_of_ours(replace(bundle, scores=scores), "ap")
    assert found[worst.row.label] == "tied"


def test_without_intervals_there_is_a_best_but_nothing_is_tied():
    bundle = make_bundle("table3")
    assert set(ranks_of_ours(bundle, "ap").values()) == {"best"}
    assert ranks_of_ours(bundle, "ap_s") == {}  # no small objects


def test_one_row_or_equal_rows_are_the_best_of_nothing():
    alone = make_bundle("table4", missing={(row.label, 0) for row in TABLES["table4"].rows[1:]})
    assert ranks_of_ours(alone, "ap") == {}
    bundle = make_bundle("table4")
    metrics = next(iter(bundle.results.values())).metrics
    level = {name: replace(result, metrics=metrics) for name, result in bundle.results.items()}
    assert ranks_of_ours(replace(bundle, results=level), "ap") == {}


def test_ranks_stand_in_the_table():
    grid = paper_grid(with_scores(make_bundle("table2", (0, 1))))
    by_kind = {(cell.kind, cell.rank) for block in grid.blocks for row in block for cell in row}
    assert {("paper", "best"), ("ours", "best"), ("ours", "tied")} <= by_kind
    assert not any(rank for kind, rank in by_kind if kind not in ("paper", "ours"))
