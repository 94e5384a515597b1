"""What a run leaves for its reports."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from test_trial import make_job, write_small_data

from detector.evaluation.match_records import load_matches
from detector.metrics import Metrics
from orchestration.results import inspect
from orchestration.run_folder import RunFolder
from orchestration.trial import run_trial
from reports import coco_bootstrap
from reports.coco_bootstrap import metrics_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run as `atss reproduce` leaves it."""
    data = write_small_data(tmp_path_factory.mktemp("data") / "squares")
    job = make_job(data, tmp_path_factory.mktemp("finished"))
    where = {"where": str(data), "fingerprint": job.run.data, "name": "squares", "notes": []}
    job.facts["data"] = where
    run_trial(job, lambda values: None)
    return RunFolder(job.folder)


@pytest.fixture
def folder(finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of its own for each test, to be resampled a few times."""
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", 20)
    shutil.copytree(finished.path, tmp_path / finished.signature)
    return RunFolder(tmp_path / finished.signature)


def test_a_runs_records_give_its_result_to_the_last_bit(folder: RunFolder) -> None:
    matches = load_matches(folder.matches)
    found = metrics_of(matches, np.ones((1, len(matches.image_ids)), dtype=np.uint8))[0]
    values = [None if np.isnan(value) else float(value) for value in found]
    assert asdict(Metrics(*values)) == (folder.result() or {})["metrics"]
    detections = json.loads(folder.detections.read_text())
    scores = [detections[source]["score"] for source in matches.source]
    assert scores == matches.score.tolist()


def leave_it(folder: RunFolder) -> None:
    pass


def rewrite_matches(folder: RunFolder) -> None:
    matches = load_matches(folder.matches)
    with folder.matches.open("wb") as file:
        np.savez(file, **vars(matches))  # the same, written in another way


def break_draws(folder: RunFolder) -> None:
    folder.scores.write_bytes(b"")


@pytest.mark.parametrize("spoil", [leave_it, rewrite_matches, break_draws])
def test_draws_are_made_once_and_anew_where_broken_or_of_other_matches(
    folder: RunFolder, spoil: Callable[[RunFolder], None]
) -> None:
    told: list[str] = []
    first = inspect([folder], told.append)
    spoil(folder)
    again = inspect([folder], told.append)
    times = 1 if spoil is leave_it else 2
    assert told == ["squares, seed 0: what it would be for other images"] * times
    assert first.reasons == again.reasons == []
    mine, theirs = first.scores[folder.signature], again.scores[folder.signature]
    assert np.array_equal(mine.draws, theirs.draws, equal_nan=True)
    assert (mine.images, mine.num_images, mine.seed) == (theirs.images, 12, 0)
    assert len(again.insights[folder.signature].images) == 12


@pytest.mark.parametrize("content", [None, b"no archive", b'{"precision": {}}'])
@pytest.mark.parametrize("file", ["matches.npz", "insight.json"])
def test_what_a_run_left_not_or_damaged_is_told_in_one_line_and_keeps_the_others(
    folder: RunFolder, tmp_path: Path, file: str, content: bytes | None
) -> None:
    other = RunFolder(tmp_path / "other" / folder.signature)
    shutil.copytree(folder.path, other.path)
    (other.path / file).unlink()
    if content is not None:
        (other.path / file).write_bytes(content)
    found = inspect([other, other, folder], lambda text: None)
    assert list(found.scores) == list(found.insights) == [folder.signature]
    (told,) = found.reasons
    assert told.startswith("no intervals for 2 runs: matches.npz or insight.json is missing")
