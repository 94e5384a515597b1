"""Figures of results, and the notebook that a report executes."""

import pytest
from made_up_results import make_bundle, with_scores

from experiments import TABLES
from experiments.schedules import PAPER
from reports.figures import comparison_figure, gains_figure, learning_figure
from reports.notebook import NotebookError, run_notebook
from reports.style import save

# --- figures


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_numbers_are_drawn_beside_ours(name):
    bundle = make_bundle(name, seeds=(0, 1))
    figure = comparison_figure(bundle)
    left, right = figure.axes
    assert left.get_title(loc="left") == "paper, COCO val2017"
    assert right.get_title(loc="left") == "ours, scale demo on made-up"
    across = [axes.get_ylim() if bundle.table.axis else axes.get_xlim() for axes in (left, right)]
    lengths = [high - low for low, high in across]
    assert lengths[0] == pytest.approx(lengths[1])  # an AP point is as long on both


def test_at_the_papers_scale_both_are_on_one_axis():
    bundle = make_bundle("table1", scale="paper", recipe=PAPER, data="coco2017")
    assert len(comparison_figure(bundle).axes) == 1


def test_a_sweep_names_its_axis_and_leaves_gaps():
    figure = comparison_figure(make_bundle("table4", missing={("k = 5", 0)}))
    left, right = figure.axes
    assert figure.get_supxlabel() == "k, candidates per pyramid level"
    assert [label.get_text() for label in left.get_xticklabels()][:3] == ["3", "5", "7"]
    values = right.lines[0].get_ydata()
    assert values[1] != values[1]  # not a number: the line has a gap


def test_learning_curves_have_a_panel_per_loss_and_one_for_ap():
    figure = learning_figure(make_bundle("table2"))
    labels = [axes.get_ylabel() for axes in figure.axes if axes.axison]
    assert labels == ["classification loss", "box loss", "AP (%)"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [row.label for row in TABLES["table2"].rows]


def test_bars_are_the_intervals_where_they_are_known():
    bundle = with_scores(make_bundle("table2", seeds=(0, 1)))
    ours = comparison_figure(bundle).axes[1]
    drawn = [bar.get_segments()[0][:, 0].tolist() for bar in ours.collections]
    rows = bundle.rows
    expected = [[it.low, it.high] for it in (row.ap.ours.estimate for row in rows)]
    assert drawn == [pytest.approx(ends) for ends in expected]


def test_without_intervals_bars_are_the_spread_of_the_seeds():
    ours = comparison_figure(make_bundle("table2", seeds=(0, 1))).axes[1]
    low, high = ours.collections[0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((19.0 - 0.5**0.5, 19.0 + 0.5**0.5))


def test_changes_are_drawn_on_one_axis_with_the_papers():
    bundle = with_scores(make_bundle("table3", seeds=(0, 1)))
    (axes,) = gains_figure(bundle).axes
    paper, ours = axes.get_legend_handles_labels()[1]
    assert (paper, ours) == ("paper", "ours")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == [row.label for row in TABLES["table3"].rows[1:]]
    numbers = [text.get_text() for text in axes.texts]
    assert numbers[:4] == ["+2.3", "+0.8", "+1.6", "+2.2"]  # of the paper, Table 3
    assert len(numbers) == 8


def test_figures_can_be_drawn_before_anything_is_measured():
    everything = {(row.label, 0) for row in TABLES["table4"].rows}
    for name in ("table4", "table1"):
        labels = {(row.label, 0) for row in TABLES[name].rows} | everything
        bundle = make_bundle(name, missing=labels)
        assert save(comparison_figure(bundle), "png").startswith(b"\x89PNG")
        assert save(learning_figure(bundle), "png").startswith(b"\x89PNG")
        assert save(gains_figure(bundle), "png").startswith(b"\x89PNG")


def test_the_same_figure_is_the_same_file():
    bundle = make_bundle("table5", seeds=(0, 1))
    first, second = (save(comparison_figure(bundle), "svg") for _ in range(2))
    assert first == second


# --- the notebook


@pytest.mark.slow
def test_a_failing_cell_is_named(tmp_path):
    source = tmp_path / "broken.py"
    source.write_text(
        '# %% tags=["parameters"]\nbundle_path = ""\n\n'
        "# %% [markdown]\n# ## Numbers\n\n"
        "# %%\n{}[bundle_path]\n"
    )
    with pytest.raises(NotebookError) as error:
        run_notebook(source, {"bundle_path": "b.json"})
    assert str(error.value) == (
        "the report notebook failed in cell 3 under 'Numbers': KeyError: 'b.json'"
    )


@pytest.mark.slow
def test_a_heading_under_which_nothing_is_shown_is_left_out(tmp_path):
    source = tmp_path / "half.py"
    source.write_text(
        '# %% tags=["parameters"]\nnumber = 0\n\n'
        "# %% [markdown]\n# ## Empty\n\n# %%\nNone\n\n# %%\nx = number\n\n"
        "# %% [markdown]\n# ## Full\n\n# %%\nNone\n\n# %%\nx\n"
    )
    cells = run_notebook(source, {"number": 7}).cells
    assert [cell.source for cell in cells] == ["number = 7", "## Full", "None", "x"]
    assert cells[-1].outputs[0]["data"]["text/plain"] == "7"
