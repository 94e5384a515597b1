"""What stands below a table: how ours were made, what is missing, rows that are not like most."""

from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_facts, with_scores

from experiments import TABLES
from experiments.schedules import PAPER
from reports.footnotes import differing, facts, footnotes
from reports.tables import paper_grid

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


def test_facts_tell_the_recipe_and_what_the_runs_have_in_common():
    recipe, *told = facts(make_bundle("table8"))
    assert "iterations=40" in recipe and "short_side=96,128" in recipe
    assert "deformable=from row to row" in recipe and told == ["device: cpu"]


# --- rows that are not like the others


def test_a_row_of_another_version_or_device_gets_a_letter_and_a_footnote():
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


def test_a_row_with_fewer_seeds_or_other_images_gets_one_too():
    bundle = with_scores(make_bundle("table4", (0, 1), missing={("k = 5", 1)}))
    scores = dict(bundle.scores)
    for name in bundle.signatures["k = 7"]:
        scores[name] = replace(scores[name], images="a" * 64, num_images=7)
    _, notes = differing(replace(bundle, scores=scores))
    assert notes == (
        "a: seeds 0 (most rows: 0 and 1).",
        "b: test images 7 (aaaaaaaa) (most rows: 1,000 (ffffffff)).",
    )
