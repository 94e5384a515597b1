"""What MLflow's records say of a table: what varies as params, AP first, links, limits kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_results import RECIPE, make_bundle, with_scores

from experiments import TABLES
from orchestration.plan import Setup
from orchestration.record_views import table_views, training_views
from orchestration.records import SEEDS_VIEW, VIEW, RowRecord, cut, texts, with_links
from orchestration.table_records import report_files, row_records, table_record
from reports.bundle import Bundle
from reports.statistics import difference, estimate
from reports.study import Study
from reports.verdicts import concerning, judge_all

SETUP = Setup("demo", RECIPE, {}, "made-up", "f" * 16, "/data/made-up")


def recorded(table: str, seeds: tuple[int, ...] = (0,)) -> tuple[Bundle, list[RowRecord]]:
    bundle = with_scores(make_bundle(table, seeds))
    return bundle, row_records(bundle, SETUP)


def test_a_rows_params_are_what_differs_from_row_to_row() -> None:
    _, rows = recorded("table4")
    assert [dict(row.toggles) for row in rows] == [
        {"k": row.config.k} for row in TABLES["table4"].rows
    ]
    _, rows = recorded("table2", (0, 1))
    assert [set(row.toggles) for row in rows] == [{"assigner", "regress_from", "seed"}] * 8
    assert {row.tags["assigner"] for row in recorded("table4")[1]} == {"atss"}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_recorded(table: str) -> None:
    bundle, rows = recorded(table, (0, 1))
    assert len({row.name for row in rows}) == len(rows) == 2 * len(bundle.table.rows)
    assert sorted(rows, key=lambda row: row.order) == rows
    assert len({row.order for row in rows}) == len(rows)
    for row in rows:
        assert list(row.metrics)[0] == "AP"
        assert all(isinstance(value, float) for value in row.metrics.values())


def test_a_rows_metrics_are_the_numbers_and_intervals_of_its_own_run() -> None:
    bundle, rows = recorded("table3", (0, 1))
    reference = {
        bundle.results[name].seed: name
        for name in bundle.signatures[bundle.table.rows[bundle.table.reference].label]
    }
    for record in rows:
        row = next(row for row in bundle.table.rows if row.label == record.tags["row"])
        result, score = bundle.results[record.signature], bundle.scores[record.signature]
        other = bundle.scores[reference[result.seed]]
        alone, ap = estimate([score], "ap"), result.metrics.ap
        assert alone is not None and ap is not None and row.paper.ap is not None
        expected = {
            "AP": ap,
            "paper_AP": row.paper.ap,
            "delta_AP": ap - row.paper.ap,
            "AP_low": alone.low,
            "AP_high": alone.high,
            "gain_AP": ap - (other.metrics.ap or 0),
        }
        if score is not other:
            gain = difference([score], [other], "ap")
            assert gain is not None
            expected |= {"gain_AP_low": gain.low, "gain_AP_high": gain.high}
        else:
            assert "gain_AP_low" not in record.metrics
        for name, value in expected.items():
            assert record.metrics[name] == pytest.approx(value, abs=1e-4), name


def test_without_match_records_there_are_no_intervals() -> None:
    rows = row_records(make_bundle("table2"), SETUP)
    assert not {"AP_low", "gain_AP_low"} & {name for row in rows for name in row.metrics}
    assert all("95 %" not in row.note for row in rows)


def test_a_description_says_what_a_row_is_and_what_the_paper_has() -> None:
    _, rows = recorded("table4")
    note = rows[0].note
    for part in ("Row 1 of Table 4", "k = 3", "the paper has 38.0", "k=3", "seed 0", "`atss run "):
        assert part in note, part


def state(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.loads(text)["state"])
    return found


def charts(view: dict[str, Any]) -> list[str]:
    """Kind and metric of each, in order."""
    return [
        f"{it['type']} {it.get('metricKey') or it.get('yaxis', {}).get('key') or 'AP'}"
        for it in view["compareRunCharts"]
    ]


def test_a_tables_page_opens_with_what_compares_its_rows() -> None:
    views = table_views(recorded("table2")[1])
    assert set(views) == {VIEW}
    view = state(views[VIEW])
    assert charts(view)[:4] == ["BAR AP", "BAR gain_AP", "PARALLEL AP", "SCATTER AP"]
    (parallel,) = [it for it in view["compareRunCharts"] if it["type"] == "PARALLEL"]
    assert parallel["selectedParams"] == ["assigner", "regress_from"]
    assert view["groupBy"] is None and view["searchFilter"] == "tags.kind = 'row'"
    assert view["selectedColumns"][:3] == [
        *("params.`assigner`", "params.`regress_from`", "metrics.`AP`")
    ]
    known = {section["uuid"] for section in view["compareRunSections"]}
    assert {it["metricSectionId"] for it in view["compareRunCharts"]} == known
    assert len({it["uuid"] for it in view["compareRunCharts"]}) == len(view["compareRunCharts"])


def test_rows_of_several_seeds_are_shown_as_means_and_one_by_one() -> None:
    views = table_views(recorded("table1", (0, 1, 2))[1])
    means, seeds = state(views[VIEW]), state(views[SEEDS_VIEW])
    assert means["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "row"}]
    assert seeds["groupBy"] is None
    (parallel,) = [it for it in seeds["compareRunCharts"] if it["type"] == "PARALLEL"]
    assert "seed" not in parallel["selectedParams"] and "scalar" in parallel["selectedParams"]


def test_ap_is_drawn_against_a_toggle_that_is_a_number() -> None:
    view = state(table_views(recorded("table4")[1])[VIEW])
    across = [it["xaxis"]["key"] for it in view["compareRunCharts"] if it["type"] == "SCATTER"]
    assert across == ["k", "paper_AP", "paper_gain_AP"] and "PARALLEL AP" not in charts(view)
    assert "tags.`assigner`" in state(training_views()[VIEW])["selectedColumns"]


def test_a_report_is_its_own_files_and_says_what_the_claims_came_to(tmp_path: Path) -> None:
    for name in ("table1.json", "table1.html", "table1-ap.svg", "table1-mine.json"):
        (tmp_path / name).write_text(name)
    for name in ("table1-mine.html", "table1-mine-ap.svg", "table10.html", "index.html"):
        (tmp_path / name).write_text(name)
    found = [path.name for path in report_files(tmp_path, "table1")]
    assert found == ["table1.html", "table1-ap.svg", "table1.json"]
    bundle, _ = recorded("table1")
    verdicts = concerning(judge_all(Study([bundle])), bundle.table)
    record = table_record(bundle, SETUP, tmp_path, verdicts)
    assert record.report is not None and record.name == "Table 1 - demo - made-up"
    for verdict in verdicts:
        assert f"{verdict.claim.name} **{verdict.state}**" in record.report.note
        assert f"{verdict.claim.name} {verdict.state}" in record.report.note.split("\n")[0]
    rows = record.report.tables["rows.json"]
    assert [line[0] for line in rows["data"]] == [row.label for row in bundle.table.rows]
    assert all(len(line) == len(rows["columns"]) for line in rows["data"])
    (tmp_path / "table1.html").write_text("another")
    again = table_record(bundle, SETUP, tmp_path, verdicts)
    assert again.report is not None and again.report.digest != record.report.digest
    assert again == replace(record, report=again.report)
    assert table_record(bundle, SETUP, tmp_path / "nowhere", verdicts).report is None


def test_text_keeps_to_mlflows_limits_and_is_written_as_it_is_set() -> None:
    assert cut("short") == "short"
    text = "\n".join(["a line of text"] * 1000)
    assert len(cut(text)) <= 8000 and cut(text).endswith("a line of text\n...")
    assert cut("x" * 9000) == "x" * 7996 + "\n..."
    assert texts({"a": True, "b": (8.0, 10.5), "c": 8.0}) == {"a": "true", "b": "8,10.5", "c": "8"}
    assert with_links("First.\n\nThen.", {"a": "#/b"}) == "First.\n\n[a](#/b)\n\nThen."
