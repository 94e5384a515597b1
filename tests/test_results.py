"""The data frames of a report have the numbers of its bundle."""

from made_up_results import make_bundle, with_insights, with_scores

from detector.metrics import HEADINGS
from reports.results import FRAMES, frames, overview


def full(name="table2"):
    return with_insights(with_scores(make_bundle(name, seeds=(0, 1), missing={(LAST, 1)})))


LAST = "Spatial and Scale Constraint, Point"


def test_a_line_per_run_with_its_six_numbers():
    bundle, runs = full(), frames(full())["runs"]
    assert len(runs) == 7
    for line in runs.to_dict("records"):
        result = bundle.results[line["signature"]]
        assert line["seed"] == result.seed and line["minutes"] == 1.5
        assert line["ap"] == result.metrics.ap and line["ap_l"] == result.metrics.ap_l
        assert line["ap_s"] != line["ap_s"] or line["ap_s"] is None  # undefined


def test_intervals_are_the_tables():
    bundle = full()
    lines = frames(bundle)["numbers"].set_index(["row", "metric"])
    assert len(lines) == 4 * len(HEADINGS)
    for before, attribute in (("", "estimates"), ("gain_", "differences")):
        for row in bundle.comparison.rows:
            for metric, estimate in getattr(row, attribute).items():
                line = lines.loc[row.row.label, HEADINGS[metric]]
                found = [line[before + name] for name in ("low", "high", "image_error")]
                assert found == [estimate.low, estimate.high, estimate.image_error]
    line = lines.loc[LAST, "AP"]
    assert (line["paper"], line["ours"], line["n"]) == (37.8, 18.9, 1)


def test_histories_curves_errors_and_classes_are_one_value_per_line():
    bundle, found = full(), frames(full())
    name, result = next(iter(bundle.results.items()))
    history = found["history"][found["history"]["signature"] == name]
    assert len(history) == sum(len(entry) - 1 for entry in result.history)
    at_40 = history[(history["step"] == 40) & (history["name"] == "AP")]["value"]
    assert at_40.tolist() == [result.history[-1]["AP"]]
    curves = found["curves"][found["curves"]["signature"] == name]
    assert len(curves) == 3 * 101
    insight = bundle.insights[name]
    errors = found["errors"][found["errors"]["signature"] == name].set_index("kind")
    assert {kind: share.points for kind, share in insight.errors.items()} == (
        errors["points"].to_dict()
    )
    classes = found["classes"][found["classes"]["signature"] == name]
    assert classes["num_truths"].tolist() == [5, 0]
    images = found["images"][found["images"]["signature"] == name]
    assert images["missed"].tolist() == [1, 0]


def test_a_frame_without_lines_has_its_columns():
    nothing = {(row.label, 0) for row in make_bundle("table2").table.rows}
    found = frames(make_bundle("table2", missing=nothing))
    for name, columns in FRAMES.items():
        assert set(columns) <= set(found[name].columns)
    assert [len(found[name]) for name in ("runs", "history", "errors")] == [0, 0, 0]


def test_the_overview_lists_every_frame():
    grid = overview(frames(full()))
    assert [cells[0].text for cells in grid.blocks[0]] == ["numbers", *FRAMES]
