"""Printed tables: the writers' exact output, the paper's layouts, footnotes, CSV."""

import csv
import io
import re
from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_scores
from rich.console import Console

from detector.metrics import HEADINGS
from experiments import TABLES
from experiments.schedules import PAPER
from reports.facts import facts_grid, footnotes
from reports.frames import csv_text
from reports.gains import gains_grid
from reports.numbers import number, signed
from reports.render import latex, markdown, terminal, to_html
from reports.tables import paper_grid, runs_grid


def printed(grid, width=100):
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(terminal(grid))
    return "\n".join(text.rstrip() for text in console.file.getvalue().splitlines())


# --- numbers


@pytest.mark.parametrize(
    ("value", "text"), [(37.84, "37.8"), (5.0, "\u20075.0"), (0.0, "\u20070.0"), (None, "–")]
)
def test_numbers_have_one_decimal_and_one_width(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.14, "+0.1"), (-21.46, "−21.5"), (0.0, "±0.0"), (-0.04, "±0.0"), (None, "–")],
)
def test_differences_have_a_sign(value, text):
    assert signed(value) == text


# --- the paper's layouts


@pytest.mark.parametrize("name", TABLES)
def test_every_writer_shows_every_row_and_number_of_the_paper(name):
    bundle = make_bundle(name)
    table, grid = bundle.table, paper_grid(bundle)
    texts = [markdown(grid), printed(grid, 200), to_html(grid), latex(grid)]
    texts = [re.sub(r"[\\]", "", text) for text in texts]
    for text in texts:
        for row in table.rows:
            cells = [cell for cell in row.cells if cell and cell != "✓"]
            numbers = [number(getattr(row.paper, metric)) for metric in table.metrics]
            assert all(shown in text for name in [*cells, *numbers] for shown in name.split())


@pytest.mark.parametrize("name", TABLES)
def test_every_line_of_a_grid_is_as_wide_as_its_head(name):
    bundle = make_bundle(name)
    comparison = bundle.comparison
    grids = [paper_grid(bundle), gains_grid(comparison), runs_grid(bundle), facts_grid(bundle)]
    for grid in grids:
        for cells in (cells for block in grid.blocks for cells in block):
            assert sum(cell.span for cell in cells) == grid.width


def texts(cells):
    return [cell.text for cell in cells]


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
    assert texts(ours)[:6] == ["", "", "", "ours ±sd", "20.1 ±0.7", "30.1 ±0.7"]
    assert texts(ours)[7] == texts(difference)[7] == "–"  # no small objects


def test_missing_runs_are_dashes():
    bundle = make_bundle("table4", missing={("k = 5", 0)})
    grid = paper_grid(bundle)
    assert [texts(cells)[3] for cells in grid.blocks[0]] == ["38.8", "–", "–"]
    assert "–: not measured; 8 of 9 runs finished." in grid.notes
    gains = {cells[0].text: texts(cells)[1:] for cells in gains_grid(bundle.comparison).blocks[0]}
    assert gains["k = 5"] == ["38.8", "–", "−0.5", "–", "0"]
    assert gains["k = 9"] == ["39.3", "19.6", "", "", "1"]
    assert gains["k = 7"] == ["39.1", "19.6", "−0.2", "−0.1", "1"]
    assert [texts(cells)[2:] for cells in runs_grid(bundle).blocks[1]] == [["–"] * 3]


# --- what stands below


def test_footnotes_say_how_ours_were_made_and_forbid_comparing_values():
    first, second, *_ = footnotes(make_bundle("table5", seeds=(0, 1)))
    assert first == (
        "Ours: scale demo on made-up (fingerprint ffffffffffff); 40 iterations of 4 images, short "
        "side 96 to 128 px, long side at most 160 px; seeds 0, 1: mean ±sd, the sample standard "
        "deviation over seeds. Δ is ours minus the paper's."
    )
    assert "COCO val2017 with ResNet-50" in second
    assert "only directions can be compared" in second


def test_the_papers_own_setting_needs_no_warning():
    bundle = make_bundle("table5", scale="paper", recipe=PAPER, data="coco2017")
    assert bundle.is_as_in_paper
    assert "directions" not in " ".join(footnotes(bundle))


@pytest.mark.parametrize(
    "change",
    [
        {"data": "my-coco"},
        {"recipe": replace(PAPER, iterations=1)},
        {"settings": {"k": 5}},
    ],
)
def test_one_difference_from_the_papers_setting_brings_the_warning_back(change):
    bundle = replace(make_bundle("table5", scale="paper", recipe=PAPER, data="coco2017"), **change)
    assert not bundle.is_as_in_paper
    assert "directions" in " ".join(footnotes(bundle))


def test_footnotes_name_settings_single_seeds_misprints_and_the_readers_notes():
    bundle = make_bundle("table6")
    bundle = replace(
        bundle, settings={"scalar": False, "lr_drops": (0.5, 0.9)}, notes=["3 crowds."]
    )
    notes = footnotes(bundle)
    assert "seed 0 alone, so the spread between seeds is unknown" in notes[0]
    assert notes[1] == "Changed in every row: scalar=false, lr_drops=0.5,0.9."
    assert "–: undefined, for want of an object of that size." in notes
    assert "confirmed that the first two are 1:4 and 1:2" in notes[-2]
    assert notes[-1] == "3 crowds."


def test_rows_that_were_not_asked_for_are_named():
    bundle = make_bundle("table4")
    kept = {label: names for label, names in bundle.signatures.items() if label != "k = 3"}
    notes = footnotes(replace(bundle, signatures=kept))
    assert "–: no run was asked for in “k = 3”." in notes
    assert not any("not measured" in note or "undefined" in note for note in notes)


def test_facts_tell_the_recipe_and_what_the_runs_have_in_common():
    facts = {cells[0].text: cells[1].text for cells in facts_grid(make_bundle("table2")).blocks[0]}
    assert facts["Learning rate"] == (
        "0.01 (sgd), ÷ 10 at 27, 36; × 0.33 for the first 500 iterations"
    )
    assert facts["Finished"] == "4 of 4 runs finished"
    assert facts["Device"] == "cpu"


# --- for other programs


def test_csv_letter_by_letter():
    bundle = make_bundle("table2", seeds=(0, 1))
    lines = csv_text(bundle.comparison).splitlines()
    assert lines[0] == (
        "table,row,metric,paper,ours,std,n,low,high,image_error,seed_error,images,difference,"
        "paper_gain,gain,gain_std,gain_low,gain_high,gain_image_error,gain_seed_error,seeds,"
        "signatures"
    )
    label = "Intersection over Union, Box"
    names = " ".join(bundle.signatures[label])
    spread = "0.7071067811865476"
    assert lines[1] == (
        f'2,"{label}",AP,37.0,19.0,{spread},2,,,,,,-18.0,0.0,0.0,0.0,,,,,0 1,{names}'
    )
    assert lines[4] == f'2,"{label}",AP_S,,,,0,,,,,,,,,,,,,,,{names}'
    assert len(lines) == 1 + 4 * 6


def test_csv_has_both_ends_of_an_interval_and_both_errors_in_full():
    comparison = with_scores(make_bundle("table2", seeds=(0, 1))).comparison
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison))))
    second = comparison.rows[1]
    estimate, change = second.estimates["ap"], second.differences["ap"]
    row = rows[6]
    assert (row["row"], row["metric"]) == (second.row.label, "AP")
    assert [float(row[name]) for name in ("low", "high", "image_error", "seed_error")] == [
        *(estimate.low, estimate.high, estimate.image_error, estimate.seed_error),
    ]
    assert [float(row[name]) for name in ("gain_low", "gain_high", "gain_image_error")] == [
        *(change.low, change.high, change.image_error),
    ]
    assert row["images"] == "1000"
    assert rows[0]["gain_low"] == ""  # the reference has no difference from itself


def test_csv_keeps_full_precision_and_leaves_the_unknown_empty():
    bundle = make_bundle("table7", seeds=(0, 1), missing={("+Imprs.", 0), ("+Imprs.", 1)})
    rows = list(csv.DictReader(io.StringIO(csv_text(bundle.comparison))))
    assert len(rows) == 6 * 6
    first, missing = rows[0], rows[6]
    assert float(first["ours"]) == 36.3 / 2 + 0.5
    assert (missing["row"], missing["ours"], missing["std"], missing["n"]) == (
        "+Imprs.",
        "",
        "",
        "0",
    )
    assert missing["paper"] == "38.4"
