"""Many write records at once, and somebody reads: nothing is lost, nothing stands twice."""

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import wait_for
from test_tracking import FACTS

from orchestration.records import TRAININGS, database, sqlite_uri
from orchestration.run_folder import open_store

TRIALS, STEPS = 8, 100

# A launch whose eight trials write a history each, and which mirrors them and another launch's.
LAUNCH = """
import json, sys, threading, time
from pathlib import Path
from orchestration import tracking
from orchestration.run_folder import open_store

root, name, facts, trials, steps = Path(sys.argv[1]), sys.argv[2], *map(json.loads, sys.argv[3:])
tracking.ROUND_SECONDS = 0.2
store = open_store(root)
tracker = tracking.open_tracker(store)
(root / f"{name}.ready").touch()
while len(list(root.glob("*.ready"))) < 2:
    time.sleep(0.02)

def train(folder):
    for step in range(1, steps + 1):
        folder.append({"step": step, "loss": 1 / step, "learning_rate": 0.01})
        time.sleep(0.02)
    folder.detections.write_text("[]")
    folder.weights.write_bytes(folder.signature.encode())
    result = {"signature": folder.signature, "seed": 0, "metrics": {"ap": 1.0}, "seconds": 2.0}
    folder.write("result", result)

own = [store.folder(f"{name}{number}") for number in range(trials)]
for folder in own:
    folder.write("run", facts)
others = [store.folder(f"{other}{number}") for other in "ab" for number in range(trials)]
threads = [threading.Thread(target=train, args=[folder]) for folder in own]
with tracking.following(tracker, others):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(tracker.problem)
"""


@pytest.mark.slow
def test_two_launches_of_eight_trials_and_a_reader_share_the_records(start, tmp_path):
    from mlflow import MlflowClient

    (tmp_path / "launch_trials.py").write_text(LAUNCH)
    values = [json.dumps(FACTS), TRIALS, STEPS]
    both = [start("launch_trials", tmp_path, name, *values) for name in "ab"]  # find no database
    wait_for(lambda: len(list(tmp_path.glob("*.ready"))) == 2, 300, both[0])
    client, reads = MlflowClient(sqlite_uri(database(open_store(tmp_path)))), 0
    (experiment,) = client.search_experiments(filter_string=f"name = '{TRAININGS}'")
    while any(launch.process.poll() is None for launch in both):  # as a page does that is open
        for training in client.search_runs([experiment.experiment_id])[:4]:
            client.get_metric_history(training.info.run_id, "loss")
        reads += 1
    assert [launch.said() for launch in both] == ["None\n", "None\n"]
    assert reads > 3

    trainings = client.search_runs([experiment.experiment_id])
    names = sorted(f"{name}{number}" for name in "ab" for number in range(TRIALS))
    assert sorted(training.data.tags["signature"] for training in trainings) == names
    for training in trainings:
        assert training.info.status == "FINISHED"
        for metric in ("loss", "learning_rate"):
            points = client.get_metric_history(training.info.run_id, metric)
            assert Counter(point.step for point in points) == Counter(range(1, STEPS + 1))
        weights = client.download_artifacts(training.info.run_id, "weights.safetensors")
        assert Path(weights).read_text() == training.data.tags["signature"]
