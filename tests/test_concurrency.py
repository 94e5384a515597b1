"""Many write records at once, and somebody reads: nothing is lost, nothing stands twice."""

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import Machine, Start
from test_cluster import free_port, is_healthy, wait_for
from test_tracking import FACTS

from orchestration.records import TRAININGS
from orchestration.run_folder import open_store
from orchestration.tracking import open_tracker

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
while not (root / "go").exists():
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
def test_two_launches_of_eight_trials_and_an_open_page_share_the_records(
    start: Start, tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    (tmp_path / "launch_trials.py").write_text(LAUNCH)
    values = [json.dumps(FACTS), TRIALS, STEPS]
    here = {"MLFLOW_TRACKING_URI": ""}  # both find no database there, and make it
    both = [start("launch_trials", tmp_path, name, *values, **here) for name in "ab"]
    ready = [tmp_path / "a.ready", tmp_path / "b.ready"]
    wait_for(lambda: all(path.exists() for path in ready), 300, both[0])
    port = free_port()
    page = start(
        "orchestration.cli", "ui", "--out", tmp_path, "--port", port, MLFLOW_TRACKING_URI=""
    )
    wait_for(lambda: is_healthy(f"http://127.0.0.1:{port}"), 300, page)
    (tmp_path / "go").touch()
    reads = read_until_over(f"http://127.0.0.1:{port}", both)
    assert [launch.said() for launch in both] == ["None\n", "None\n"]
    assert reads > 3

    client = open_tracker(store).client
    trainings = client.search_runs([client.get_experiment_by_name(TRAININGS).experiment_id])
    names = sorted(f"{name}{number}" for name in "ab" for number in range(TRIALS))
    assert sorted(training.data.tags["signature"] for training in trainings) == names
    for training in trainings:
        assert training.info.status == "FINISHED"
        for metric in ("loss", "learning_rate"):
            points = client.get_metric_history(training.info.run_id, metric)
            assert Counter(point.step for point in points) == Counter(range(1, STEPS + 1))
        weights = client.download_artifacts(training.info.run_id, "weights.safetensors")
        assert Path(weights).read_text() == training.data.tags["signature"]


def read_until_over(address: str, launches: list[Machine]) -> int:
    """Look at the records as a person with the page open does; how often that worked."""
    from mlflow import MlflowClient

    client, reads = MlflowClient(address), 0
    while any(launch.process.poll() is None for launch in launches):
        experiment = client.get_experiment_by_name(TRAININGS)
        for training in client.search_runs([experiment.experiment_id])[:4]:
            client.get_metric_history(training.info.run_id, "loss")
        reads += 1
    return reads
