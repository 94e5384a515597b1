"""Trainings in MLflow: a record per run, the image of its folder, in the experiment "trainings".

What a record has is looked up, so that one which is lost is made again, and one that exists is
brought up to date, never doubled. record.json in a run's folder says where its record is.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration.records import NOTE, TRAINING, cut, tags_of, texts, training_note
from orchestration.store import RunFolder, read_json
from orchestration.tracking import TRAININGS, Tracker

ROUND_SECONDS = 10.0  # between two looks at the folders of running trials


def mirror(tracker: Tracker, folder: RunFolder, *, is_running: bool = False) -> None:
    """Bring the record of a training up to date with its folder; nothing happens twice."""
    facts = folder.facts()
    if facts:
        with tracker.alone():
            record = _record(tracker, folder.signature, facts)
            _point_to(record, folder)
            if record.info.status != "FINISHED":
                _advance(tracker, record, folder, is_running)
            elif not is_running:
                _log_late(tracker, record.info.run_id, folder)


def _record(tracker: Tracker, signature: str, facts: dict[str, Any]) -> Any:
    """The training's record, found by its signature or begun with all that is known before."""
    experiment = tracker.experiment(TRAININGS)
    record = tracker.find(experiment, f"tags.signature = '{signature}'")
    if record is None:
        tags = {"signature": signature, "kind": TRAINING, NOTE: cut(training_note(facts, {}))}
        record = tracker.begin(experiment, facts["name"], tags | tags_of(facts))
    if not record.data.params:  # new, or its creation was cut short
        tracker.log_data(record.info.run_id, facts["data"], "training")
        tracker.log(record.info.run_id, params=texts(facts["params"]))
    return record


def _point_to(record: Any, folder: RunFolder) -> None:
    """Leave word in the run's folder, so that a report can name the record."""
    where = {"experiment": record.info.experiment_id, "run": record.info.run_id}
    if read_json(folder.path / "record.json") != where:
        folder.write("record", where)


def _advance(tracker: Tracker, record: Any, folder: RunFolder, is_running: bool) -> None:
    """What has happened in the folder since: steps, remarks, the end."""
    run_id, client = record.info.run_id, tracker.client
    result = folder.result()  # before the history, which is whole once there is a result
    _log_history(tracker, run_id, folder, is_new=not record.data.metrics)
    for name, text in folder.remarks().items():
        if text and text != record.data.tags.get(name):
            client.set_tag(run_id, name, text)
        elif not text and name in record.data.tags:
            client.delete_tag(run_id, name)
    if result is not None:
        _log_artifacts(tracker, run_id, folder)
        client.set_tag(run_id, "seconds", round(result["seconds"], 1))
        client.set_terminated(run_id, "FINISHED")
    elif folder.failure() is not None:
        client.set_terminated(run_id, "FAILED")
    elif is_running and record.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
    elif not is_running and record.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")


def _log_history(tracker: Tracker, run_id: str, folder: RunFolder, *, is_new: bool) -> None:
    """Log what is newer than the last step logged: MLflow keeps both values of a step."""
    if run_id not in tracker.logged:
        tracker.logged[run_id] = {} if is_new else tracker.last_steps(run_id)
    logged, now = tracker.logged[run_id], int(time.time() * 1000)
    points = [
        (name, value, now, entry["step"])
        for entry in folder.history()
        for name, value in entry.items()
        if name != "step" and value is not None and entry["step"] > logged.get(name, 0)
    ]
    tracker.log(run_id, points=points)
    logged |= {name: step for name, _, _, step in points}


def _log_artifacts(tracker: Tracker, run_id: str, folder: RunFolder) -> None:
    facts = folder.facts()
    tracker.client.log_dict(run_id, facts["canonical"], "config.json")
    tracker.client.log_dict(run_id, facts, "run.json")
    found = (folder.detections, folder.weights, folder.history_file, *_made_later(folder))
    tracker.log_files(run_id, found)


def _log_late(tracker: Tracker, run_id: str, folder: RunFolder) -> None:
    """What the first report of an older run made of it, which had already been recorded."""
    wanted = [path for path in _made_later(folder) if path.is_file()]
    if wanted:
        there = {file.path for file in tracker.client.list_artifacts(run_id)}
        tracker.log_files(run_id, [path for path in wanted if path.name not in there])


def _made_later(folder: RunFolder) -> tuple[Path, ...]:
    """What a run makes of its detections, or of an older run's its first report."""
    return (folder.matches, folder.path / "insight.json")


@contextmanager
def following(tracker: Tracker, folders: list[RunFolder]) -> Iterator[None]:
    """Mirror these folders while the block runs, and once more when it ends."""
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(tracker, folders, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with tracker.tolerance():
            for folder in folders:
                mirror(tracker, folder)


def _follow(tracker: Tracker, folders: list[RunFolder], stop: threading.Event) -> None:
    while not stop.wait(ROUND_SECONDS):
        with tracker.tolerance():
            for folder in folders:
                mirror(tracker, folder, is_running=True)
