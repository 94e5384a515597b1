"""A setup's folder of reports: what is written anew, and when its pages form a site."""

from pathlib import Path

import pytest
from made_up_results import make_bundle
from test_plan import SETUP

from orchestration.commands.positives import write_files
from orchestration.results import reports_folder, write_reports
from orchestration.run_folder import Store, open_store
from reports import notebook


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "out")


def deliver(store: Store, *tables: str, ap: float = 0.0, is_forced: bool = False) -> list[str]:
    bundles = [make_bundle(table, seeds=(int(ap),)) for table in tables]
    return write_reports(bundles, store, SETUP, lambda text: None, is_forced=is_forced)


def test_several_tables_are_a_site_whose_pages_lead_to_each_other_and_later_ones_join(
    store: Store, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, one = reports_folder(store, SETUP), ["table2.html"]
    two = ["claims.html", "index.html", "table1.html", "table2.html"]
    for tables, everything in (
        (("table2",), one),  # alone it is no site
        (("table2", "table1"), two),
        (("table3",), [*two, "table3.html"]),
    ):
        del written[:]
        assert deliver(store, *tables) == []
        assert written == [tables[-1]]
        assert sorted(path.name for path in folder.glob("*.html")) == everything
        for name in everything:
            text = (folder / name).read_text()
            links = [text.count(f'<li><a href="{other}"') for other in everything]
            assert links == ([0] if everything == one else [1] * len(everything)), name
    assert "Table 3. Verification" in (folder / "index.html").read_text()
    for content in ("[3]", '{"format": 4}'):  # a damaged report is told and left out
        (folder / "table1.json").write_text(content)
        assert deliver(store, "table3") == []
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"atss: {folder}/table1.json is no report bundle")
        assert 'href="table1.html"' not in (folder / "index.html").read_text()


def test_what_has_not_changed_is_not_written_again_unless_asked_or_a_file_is_gone(
    store: Store, written: list[str]
) -> None:
    for ap, is_forced, expected in (
        (0.0, False, ["table2", "table1"]),
        (0.0, False, []),
        (1.0, False, ["table2", "table1"]),
        (1.0, True, ["table2", "table1"]),
    ):
        del written[:]
        deliver(store, "table2", "table1", ap=ap, is_forced=is_forced)
        assert written == expected
    (reports_folder(store, SETUP) / "table2.html").unlink()
    deliver(store, "table2", "table1", ap=1.0)
    assert written == [*expected, "table2"]


def test_counted_positives_are_brought_to_the_report(store: Store, written: list[str]) -> None:
    own, five = (store.root / "positives" / name for name in ("shapes-val-table2", "shapes-val"))
    write_files(own, {"positives-by-size.svg": b"of table 2"})
    write_files(five, {"positives-by-size.svg": b"of five", "other.svg": b""})
    deliver(store, "table2")
    deliver(store, "table3")
    folder = reports_folder(store, SETUP)
    assert (folder / "table2-positives-by-size.svg").read_bytes() == b"of table 2"
    assert (folder / "table3-positives-by-size.svg").read_bytes() == b"of five"
    assert len(list(folder.glob("*.svg"))) == 2


def test_a_full_disk_is_told_ends_nothing_and_the_report_is_written_next_time(
    store: Store, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> list[Path]:
        raise OSError(28, "No space left on device")

    deliver(store, "table2")
    with monkeypatch.context() as patch:
        patch.setattr(notebook, "write_report", fails)
        (problem,) = deliver(store, "table2", is_forced=True)
    assert problem.startswith("the report of table2 failed") and "No space left" in problem
    assert deliver(store, "table2") == [] and written == ["table2"] * 2
