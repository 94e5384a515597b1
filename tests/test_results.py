"""A table's runs: what each leaves for reports, their file, and a setup's folder of reports."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from made_up_folder import fill
from made_up_results import make_bundle, with_scores
from test_plan import SETUP

from detector.evaluation.match_records import load_matches
from experiments import TABLES
from orchestration.results import inspect, reports_folder, write_reports
from orchestration.run_folder import RunFolder, Store, open_store
from reports import coco_bootstrap, notebook
from reports.results import load_bundle, save_bundle

# What a run leaves


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished run, to be resampled a few times."""
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", 20)
    (run,) = fill(tmp_path / "out", [TABLES["table2"]], seeds=(0,), rows=("1",)).folders()
    return run


def rewrite_matches(folder: RunFolder) -> None:
    """With the same content, written in another way."""
    arrays = vars(load_matches(folder.matches))
    with folder.matches.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize("spoil", [None, rewrite_matches, lambda it: it.scores.write_bytes(b"")])
def test_draws_are_made_once_and_anew_where_broken_or_of_other_matches(folder, spoil):
    told: list[str] = []
    first = inspect([folder], told.append)
    if spoil:
        spoil(folder)
    again = inspect([folder], told.append)
    assert len(told) == (2 if spoil else 1) and "what it would be for other images" in told[0]
    assert first.reasons == again.reasons == []
    mine, theirs = first.scores[folder.signature], again.scores[folder.signature]
    assert np.array_equal(mine.draws, theirs.draws, equal_nan=True)
    assert (mine.images, mine.num_images, mine.seed) == (theirs.images, 12, 0)
    assert len(again.insights[folder.signature].images) == 12


@pytest.mark.parametrize("content", [None, b"no archive", b'{"precision": {}}'])
@pytest.mark.parametrize("file", ["matches.npz", "insight.json"])
def test_what_is_missing_or_damaged_is_told_and_keeps_the_others(folder, tmp_path, file, content):
    other = RunFolder(tmp_path / "other" / folder.signature)
    shutil.copytree(folder.path, other.path)
    (other.path / file).unlink()
    if content is not None:
        (other.path / file).write_bytes(content)
    found = inspect([other, other, folder], lambda text: None)
    assert list(found.scores) == list(found.insights) == [folder.signature]
    (told,) = found.reasons
    assert told.startswith("no intervals for 2 runs: matches.npz or insight.json is missing")


# The file of a table's runs


@pytest.fixture
def path(tmp_path):
    """A bundle's file, with draws."""
    save_bundle(with_scores(make_bundle("table3", (0, 1))), tmp_path / "table3.json")
    return tmp_path / "table3.json"


def test_a_bundle_survives_its_file(path):
    bundle = make_bundle("table3", seeds=(0, 1), missing={("FCOS", 1)})
    bundle = replace(bundle, settings={"k": 5, "short_side": [96, 128]}, notes=["a note"])
    save_bundle(bundle, path)
    assert load_bundle(path) == bundle
    row = json.loads(path.read_text())["table"]["rows"][1]
    assert (row["label"], row["changes"]["assigner"]) == ("RetinaNet (#A=1) + ATSS", "atss")
    assert row["paper"]["ap"] == 39.3 and len(row["signatures"]) == 2


def test_its_draws_lie_beside_it_to_the_bit_and_without_them_it_has_no_intervals(path):
    before = with_scores(make_bundle("table3", (0, 1)))
    loaded, text = load_bundle(path), path.read_bytes()
    assert [row.metrics for row in loaded.rows] == [row.metrics for row in before.rows]
    save_bundle(loaded, path)
    assert path.read_bytes() == text
    path.with_suffix(".npz").unlink()
    without = load_bundle(path)
    assert without.results == loaded.results and without.scores == {}
    assert not any(row.ap.estimate for row in without.rows)


def with_draws_of_another(path):
    bundle = with_scores(make_bundle("table3", (0, 1)), noise=0.7)
    save_bundle(bundle, path.with_name("other.json"))
    path.with_name("other.npz").replace(path.with_suffix(".npz"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        *((lambda path, text=text: path.write_text(text), "") for text in ("", "[]", "{}")),
        (lambda path: path.write_text(path.read_text().replace("iterations", "depth")), "depth"),
        (with_draws_of_another, "other draws"),
        (lambda path: path.with_suffix(".npz").write_bytes(b"no archive"), ""),
    ],
)
def test_a_file_that_is_no_bundle_of_this_version_is_refused(path, spoil, reason):
    spoil(path)
    with pytest.raises(ValueError, match=rf"table3\.json is no report bundle of .*{reason}"):
        load_bundle(path)


# A setup's folder of reports: what is written anew, and when its pages form a site


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "out")


def deliver(store: Store, *tables: str, seed: int = 0, is_forced: bool = False) -> list[str]:
    bundles = [make_bundle(table, (seed,)) for table in tables]
    return write_reports(bundles, store, SETUP, lambda text: None, is_forced=is_forced)


def test_several_tables_are_a_site_whose_pages_lead_to_each_other(store, written, capsys):
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


def test_what_has_not_changed_is_not_written_again_unless_asked_or_a_file_is_gone(store, written):
    both = ["table2", "table1"]
    cases = (0, False, both), (0, False, []), (1, False, both), (1, True, both)
    for seed, is_forced, expected in cases:
        del written[:]
        deliver(store, *both, seed=seed, is_forced=is_forced)
        assert written == expected
    (reports_folder(store, SETUP) / "table2.html").unlink()
    deliver(store, *both, seed=1)
    assert written == [*both, "table2"]


def test_a_full_disk_is_told_and_the_report_is_written_next_time(store, written, monkeypatch):
    full = Mock(side_effect=OSError(28, "No space left on device"))
    deliver(store, "table2")
    with monkeypatch.context() as patch:
        patch.setattr(notebook, "write_report", full)
        (problem,) = deliver(store, "table2", is_forced=True)
    assert problem.startswith("the report of table2 failed") and "No space left" in problem
    assert deliver(store, "table2") == [] and written == ["table2"] * 2
