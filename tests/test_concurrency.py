"""Many write records at once, and somebody reads: nothing is lost, nothing stands twice."""

import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import wait_for
from test_tracking import FACTS

from orchestration import tracking
from orchestration.records import TRAININGS, database, sqlite_uri
from orchestration.run_folder import RunFolder, open_store

TRIALS, STEPS = 8, [*range(1, 101)]


def launch(root: Path, name: str) -> None:
    """Eight trials write a history each, which are mirrored, and those of another launch."""
    tracking.ROUND_SECONDS = 0.2
    store = open_store(root)
    tracker = tracking.open_tracker(store)
    (root / f"{name}.ready").touch()
    wait_for(lambda: len(list(root.glob("*.ready"))) == 2, 300)
    a, b = ([store.folder(f"{it}{number}") for number in range(TRIALS)] for it in "ab")
    own = a if name == "a" else b
    for folder in own:
        folder.write("run", FACTS)
    threads = [threading.Thread(target=train, args=[folder]) for folder in own]
    with tracking.following(tracker, [*a, *b]):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(tracker.problem)


def train(folder: RunFolder) -> None:
    for step in STEPS:
        folder.append({"step": step, "loss": 1 / step, "learning_rate": 0.01})
        time.sleep(0.02)
    folder.weights.write_text(folder.signature)
    result = {"signature": folder.signature, "seed": 0, "metrics": {"ap": 1.0}}
    folder.write("result", result)


@pytest.mark.slow
def test_two_launches_of_eight_trials_and_a_reader_share_the_records(start, tmp_path):
    from mlflow import MlflowClient

    both = [start("test_concurrency", tmp_path, name) for name in "ab"]  # they find no database
    wait_for(lambda: len(list(tmp_path.glob("*.ready"))) == 2, 300, both[0])
    client, reads = MlflowClient(sqlite_uri(database(open_store(tmp_path)))), 0
    (experiment,) = client.search_experiments(filter_string=f"name = '{TRAININGS}'")
    while any(one.process.poll() is None for one in both):  # as a page does that is open
        for training in client.search_runs([experiment.experiment_id])[:4]:
            client.get_metric_history(training.info.run_id, "loss")
        reads += 1
    assert [one.said() for one in both] == ["None\n", "None\n"]
    assert reads > 3

    trainings = client.search_runs([experiment.experiment_id])
    names = sorted(f"{name}{number}" for name in "ab" for number in range(TRIALS))
    assert sorted(training.data.tags["signature"] for training in trainings) == names
    for training in trainings:
        assert training.info.status == "FINISHED"
        for metric in ("loss", "learning_rate"):
            points = client.get_metric_history(training.info.run_id, metric)
            assert sorted(point.step for point in points) == STEPS
        weights = client.download_artifacts(training.info.run_id, "weights.safetensors")
        assert Path(weights).read_text() == training.data.tags["signature"]


if __name__ == "__main__":
    launch(Path(sys.argv[1]), sys.argv[2])
