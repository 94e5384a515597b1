"""Figures of results, and the notebook that a report executes."""

import pytest
from made_up_results import make_bundle, with_scores

from experiments import TABLES
from experiments.schedules import PAPER
from reports.figures import comparison_figure, plates
from reports.notebook import NotebookError, run_notebook, to_page
from reports.style import save

# --- figures


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_numbers_are_drawn_beside_ours(name):
    bundle = make_bundle(name, seeds=(0, 1))
    figure = comparison_figure(bundle)
    left, right = figure.axes
    assert left.get_title(loc="left") == "paper, COCO val2017"
    assert right.get_title(loc="left") == "ours, demo on made-up"
    lengths = [high - low for low, high in (left.get_xlim(), right.get_xlim())]
    assert lengths[0] == pytest.approx(lengths[1])  # an AP point is as long on both
    numbers = [text.get_text() for text in left.texts]
    assert numbers == [f"{row.paper.ap:.1f}" for row in bundle.table.rows]
    assert save(figure, "svg") == save(comparison_figure(bundle), "svg")


def test_at_the_papers_scale_both_are_on_one_range_and_what_is_missing_has_no_dot():
    about = {"scale": "paper", "recipe": PAPER, "data": "coco2017"}
    left, right = comparison_figure(make_bundle("table4", missing={("k = 5", 0)}, **about)).axes
    assert left.get_xlim() == right.get_xlim()
    values = right.lines[0].get_xdata()
    assert len(values) == 9 and values[1] != values[1]  # not a number
    assert len(right.texts) == 8 and left.get_yticklabels()[1].get_text() == "k = 5"


def test_bars_are_the_intervals_where_they_are_known_else_the_spread_of_the_seeds():
    bundle = make_bundle("table2", seeds=(0, 1))
    sampled = with_scores(bundle)
    known = [row.ap.estimate for row in sampled.rows]
    spread = [row.ap.ours for row in bundle.rows]
    for content, expected in (
        (sampled, [[it.low, it.high] for it in known]),
        (bundle, [[it - 0.5**0.5, it + 0.5**0.5] for it in spread]),
    ):
        (bars,) = comparison_figure(content).axes[1].collections
        drawn = [bar[:, 0].tolist() for bar in bars.get_segments()]
        assert drawn == [pytest.approx(ends) for ends in expected]


def test_changes_are_drawn_beside_the_papers():
    left, right = plates(with_scores(make_bundle("table3", seeds=(0, 1))))["gains"].draw().axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["paper", "ours"]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == [row.label for row in TABLES["table3"].rows[1:]]
    assert [text.get_text() for text in left.texts] == ["+2.3", "+0.8", "+1.6", "+2.2"]
    assert left.get_xlim() == right.get_xlim() and len(right.texts) == 4


# --- the notebook

PARAMETERS = '# %% tags=["parameters"]\nvalue = 0\n\n# %% [markdown]\n# ## Numbers\n\n'


def test_a_failing_cell_is_named(tmp_path):
    source = tmp_path / "broken.py"
    source.write_text(f"{PARAMETERS}# %%\n{{}}[value]\n")
    with pytest.raises(NotebookError, match="failed in cell 3 under 'Numbers': KeyError: 7$"):
        run_notebook(source, {"value": 7})


def test_the_page_has_no_heading_under_which_nothing_is_shown(tmp_path):
    source = tmp_path / "half.py"
    full = "# %% [markdown]\n# ## Full\n\n# %%\nNone\n\n# %%\nvalue\n"
    source.write_text(f"{PARAMETERS}# %%\nNone\n\n# %%\nx = value\n\n{full}")
    notebook = run_notebook(source, {"value": 7})
    assert notebook.cells[-1].outputs[0]["data"]["text/plain"] == "7"
    page = to_page(notebook, "Half")
    assert "Full</h2>" in page and "Numbers" not in page
