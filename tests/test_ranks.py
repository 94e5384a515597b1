"""The best numbers of a table, those not told apart from them, and rows that differ in facts."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_scores

from detector.metrics import Metrics
from experiments import TABLES
from reports import tables
from reports.footnotes import differing, footnotes
from reports.intervals import difference
from reports.tables import paper_grid, runs_grid

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
    comparison = make_bundle(name).comparison
    assert tables.ranks_of_paper(comparison, "ap") == dict.fromkeys(PAPER_BEST[name], "best")


def test_the_best_of_table_8_are_found_metric_by_metric():
    comparison = make_bundle("table8").comparison
    last = [row.label for row in TABLES["table8"].rows][-2:]
    best = {
        name: list(tables.ranks_of_paper(comparison, name)) for name in TABLES["table8"].metrics
    }
    assert best == {
        **{name: last[1:] for name in ("ap", "ap50", "ap75", "ap_l")},
        **{"ap_s": last[:1], "ap_m": last},
    }


def scattered(table, seeds, noise):
    return with_scores(make_bundle(table, seeds), noise=noise)


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
def test_of_ours_those_are_tied_whose_difference_from_the_best_includes_zero(noise):
    comparison = scattered("table3", (0,), noise).comparison
    found = tables.ranks_of_ours(comparison, "ap")
    means = {row.row.label: row.ap.ours.mean for row in comparison.rows}
    top = max(comparison.rows, key=lambda row: means[row.row.label])
    for row in comparison.rows:
        label = row.row.label
        if f"{means[label]:.1f}" == f"{means[top.row.label]:.1f}":
            assert found[label] == "best"
            continue
        estimate = difference(top.scores, row.scores, "ap")
        if estimate.low <= 0:  # what two rows alone do not tell apart, all at once do not
            assert label in found
        assert found.get(label, "tied") == "tied"
    assert ("tied" in found.values()) == (noise > 0.1)


def test_what_is_unknown_is_not_called_different():
    bundle = scattered("table3", (0,), 0.01)
    worst = min(bundle.results.values(), key=lambda result: result.metrics.ap)
    scores = {name: it for name, it in bundle.scores.items() if name != worst.signature}
    label = next(row for row, names in bundle.signatures.items() if worst.signature in names)
    assert label not in tables.ranks_of_ours(bundle.comparison, "ap")
    found = tables.ranks_of_ours(replace(bundle, scores=scores).comparison, "ap")
    assert found[label] == "tied"


def test_without_intervals_there_is_a_best_but_nothing_is_tied():
    comparison = make_bundle("table3").comparison
    assert set(tables.ranks_of_ours(comparison, "ap").values()) == {"best"}
    assert tables.ranks_of_ours(comparison, "ap_s") == {}  # no small objects


def test_one_row_or_equal_rows_are_the_best_of_nothing():
    rows = TABLES["table4"].rows
    alone = make_bundle("table4", missing={(row.label, 0) for row in rows[1:]})
    assert tables.ranks_of_ours(alone.comparison, "ap") == {}
    bundle = make_bundle("table4")
    level = {
        name: replace(result, metrics=next(iter(bundle.results.values())).metrics)
        for name, result in bundle.results.items()
    }
    assert tables.ranks_of_ours(replace(bundle, results=level).comparison, "ap") == {}


def test_ranks_stand_in_the_table_and_below_it():
    bundle = scattered("table2", (0, 1), 0.5)
    grid = paper_grid(bundle)
    by_kind = {(cell.kind, cell.rank) for block in grid.blocks for row in block for cell in row}
    assert {("paper", "best"), ("ours", "best"), ("ours", "tied")} <= by_kind
    assert not any(rank for kind, rank in by_kind if kind not in ("paper", "ours"))
    assert any("{best}" in note and "{tied}" in note for note in grid.notes)
    bare = footnotes(make_bundle("table2"))
    assert any("{best}" in note and "by more than chance is not known" in note for note in bare)
    assert not any("{tied}" in note for note in bare)


def test_intervals_stand_under_our_numbers_and_say_what_is_in_them():
    several, single = (scattered("table2", seeds, 0.5) for seeds in ((0, 1), (0,)))
    row = several.comparison.rows[0]
    lines = [[cell.text for cell in cells] for cells in paper_grid(several).blocks[0]]
    assert [cells[1] for cells in lines] == ["paper", "ours", "95 %", "Δ"]
    low, high = row.estimates["ap"].low, row.estimates["ap"].high
    assert lines[2][2] == f"{low:.1f}–\u200b{high:.1f}" and lines[1][2] == "19.0"
    assert "of images and seeds together" in " ".join(footnotes(several))
    assert "of the images alone: it holds for these trained weights" in " ".join(footnotes(single))
    assert "images alone" not in " ".join(footnotes(several))


def test_a_table_that_the_paper_does_not_have_shows_intervals_too():
    rows = tuple(replace(row, paper=Metrics()) for row in TABLES["table4"].rows[3:5])
    table = replace(TABLES["table4"], number=0, name="mine", reference=0, rows=rows)
    grid = paper_grid(scattered(table, (0,), 0.5))
    assert [cells[1].text for cells in grid.blocks[0]] == ["ours", "95 %"]
    assert "{best}: the highest of ours" in " ".join(grid.notes)


# --- rows that are not like the others


def with_facts(bundle, facts_by_row):
    results = dict(bundle.results)
    for label, facts in facts_by_row.items():
        for name in bundle.signatures[label]:
            results[name] = replace(results[name], facts=facts)
    return replace(bundle, results=results)


def test_like_rows_have_no_letters():
    assert differing(make_bundle("table4").comparison) == ({}, ())


def test_a_row_of_another_version_or_device_gets_a_letter_and_a_footnote():
    usual = {"torch": "2.15.0", "gpu": "H200", "mlflow": "3.17"}
    rows = {row.label: usual for row in TABLES["table4"].rows}
    rows |= {"k = 5": {**usual, "torch": "2.14.1"}, "k = 7": {**usual, "mlflow": "3.16"}}
    bundle = with_facts(make_bundle("table4"), rows)
    letters, notes = differing(bundle.comparison)
    assert letters == {"k = 5": "a"}  # MLflow moves no number
    assert notes == ("a: torch 2.14.1 (most rows: 2.15.0).",)
    grid = paper_grid(bundle)
    assert [cell.mark for cell in grid.blocks[0][1]] == ["", "", "", "a", *[""] * 7]
    assert notes[0] in grid.notes


def test_a_row_with_fewer_seeds_or_other_images_gets_one_too():
    bundle = scattered("table4", (0, 1), 0.5)
    without = bundle.signatures["k = 5"][1]
    kept = {name: result for name, result in bundle.results.items() if name != without}
    scores = {name: score for name, score in bundle.scores.items() if name != without}
    others = {
        name: replace(scores[name], images="a" * 64, num_images=7)
        for name in bundle.signatures["k = 7"]
    }
    bundle = replace(bundle, results=kept, scores={**scores, **others})
    assert differing(bundle.comparison)[1] == (
        "a: seeds 0 (most rows: 0 and 1).",
        "b: test images 7 (aaaaaaaa) (most rows: 1,000 (ffffffff)).",
    )


def test_many_kinds_of_rows_are_told_in_one_note():
    rows = {row.label: {"gpu": f"gpu {i}"} for i, row in enumerate(TABLES["table4"].rows)}
    letters, (note,) = differing(with_facts(make_bundle("table4"), rows).comparison)
    assert letters == {} and "gpu (9 kinds)" in note


def test_every_run_can_be_traced():
    bundle = make_bundle("table2")
    same = {row.label: {"code": "0.1.0, 7a945ea"} for row in bundle.table.rows}
    notes = " ".join(runs_grid(with_facts(bundle, same)).notes)
    assert "fingerprint ffffffffffffffff" in notes and "Code: 0.1.0, 7a945ea." in notes
    others = {**same, bundle.table.rows[0].label: {"code": "0.1.0, f11fdfc", "MLflow run": "1f"}}
    grid = runs_grid(with_facts(bundle, others))
    assert [cell.text for cell in grid.head][5:] == ["code", "MLflow run"]
    assert [cells[0][5].text for cells in grid.blocks] == ["0.1.0, f11fdfc"] + [
        "0.1.0, 7a945ea"
    ] * 3
