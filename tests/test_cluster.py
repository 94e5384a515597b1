"""A table on a real Ray cluster of two nodes, with a real MLflow server, and a node that goes."""

import os
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Machine, Start, launch_line, wait_for
from test_end_to_end import check_records, train_alone
from test_trial import files

from experiments import TABLES
from orchestration.run_folder import open_store

DOCS = ROOT / "docs" / "cluster"
ROWS = {1: TABLES["table2"].rows[0].label, 2: TABLES["table2"].rows[1].label}
TO_MISS_A_NODE = {"initial_delay_ms": "0", "period_ms": "500", "failure_threshold": "2"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCS / name).read_text()))


def check_launch(words: list[str]) -> None:
    """All that a line needs which is to work on a cluster."""
    assert words[:2] == ["atss", "reproduce"]
    given = dict(zip(words, words[1:], strict=False))
    assert given["--address"] == "auto" and given["--out"].startswith(("/", "$"))
    assert {"--scale", "--data", "--gpus-per-run"} <= set(given)


def test_the_slurm_script_is_a_shell_script_that_ends_in_a_launch():
    script = DOCS / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    launch = script.read_text().rpartition("symmetric-run")[2].replace("\\\n", " ")
    words = shlex.split(launch)
    check_launch(words[words.index("atss") :])
    assert os.access(script, os.X_OK)


def test_the_kubernetes_files_fit_each_other():
    """What kubectl cannot see."""
    (cluster,), (job,) = documents("raycluster.yaml"), documents("rayjob.yaml")
    deployment, service = documents("mlflow.yaml")
    spec, served = cluster["spec"], deployment["spec"]
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        variables = {item["name"]: item["value"] for item in container["env"]}
        assert variables["MLFLOW_TRACKING_URI"] == f"http://{address}"
    assert spec["authOptions"] == {"mode": "token"}
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    check_launch(job["spec"]["entrypoint"].split())
    labels = served["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == served["selector"]["matchLabels"]
    (container,) = served["template"]["spec"]["containers"]
    assert any("--allowed-hosts" in text and address in text for text in container["args"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start_server(start: Start, place: Path) -> tuple[str, Machine]:
    """A real MLflow server with its own place for artifacts, and its address; not yet ready."""
    place.mkdir()
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{place}/mlflow.db"]
    store += ["--artifacts-destination", f"{place}/artifacts"]
    serve = ["--host", "127.0.0.1", "--port", port, "--workers", 1]
    return f"http://127.0.0.1:{port}", start("mlflow", "server", *store, *serve)


def start_cluster(start: Start) -> tuple[str, Machine]:
    """Two nodes of one CPU each, by hand: the address of the head, and the second node."""
    address = f"127.0.0.1:{free_port()}"
    node = ["ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    node.append(f"--object-store-memory={100 * 2**20}")
    options = [f"--port={address.rpartition(':')[2]}", "--include-dashboard=false"]
    checks = {f"RAY_health_check_{name}": value for name, value in TO_MISS_A_NODE.items()}
    head = start(*node, "--head", *options, **checks)
    wait_for(lambda: "Ray runtime started" in head.said(), 120, head)
    second = start(*node, f"--address={address}")
    wait_for(lambda: "Ray runtime started" in second.said(), 120, second)
    return address, second


@pytest.mark.slow
def test_a_table_survives_the_loss_of_a_node(start, data, tmp_path):
    from mlflow import MlflowClient

    out = tmp_path / "out"
    records, server = start_server(start, tmp_path / "server")
    address, second = start_cluster(start)
    wait_for(lambda: "Uvicorn running" in server.said(), 120, server)

    settings = ["iterations=150", "evaluations=15"]  # so that no run ends before both began
    line = launch_line("table2", "--rows", "1,2", data=data, out=out, settings=settings)
    launch = start(*line, "--address", address, MLFLOW_TRACKING_URI=records)
    store = open_store(out)
    wait_for(lambda: sum(it.checkpoint.exists() for it in store.folders()) == 2, 300, launch)
    second.is_lost()
    assert launch.process.wait(timeout=300) == 0, launch.said()

    log = launch.said()
    assert "Training 2 runs, up to 2 at once" in log
    assert log.count(": done, AP") == 2
    assert log.count(": retrying") == 1 and log.count(": goes on after step") == 1, log
    client = MlflowClient(records)
    for training in check_records(client, "Table 2", ROWS):
        folder = store.folder(training.data.tags["signature"])
        assert files(folder) == files(train_alone(folder, "table2", data, tmp_path / "alone"))
        assert training.info.artifact_uri.startswith("mlflow-artifacts:/")
        weights = client.download_artifacts(training.info.run_id, folder.weights.name)
        assert Path(weights).read_bytes() == folder.weights.read_bytes()
