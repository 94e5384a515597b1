"""A table on a real Ray cluster of two nodes, with a real MLflow server, and a node that goes."""

import os
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Machine, Start
from test_trial import files, write_small_data

from detector.data.coco import open_data
from experiments import TABLES
from experiments.experiment import Run, signature
from orchestration.plan import Job, resolve_scale
from orchestration.run_folder import RunFolder, open_store
from orchestration.trial import run_trial

DOCS = ROOT / "docs" / "cluster"
ROWS = TABLES["table2"].rows[:2]
SETTINGS = ["iterations=100", "batch_size=2", "warmup_iterations=1", "evaluations=10"]
SETTINGS += ["short_side=64,64"]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCS / name).read_text()))


def check_launch(words: list[str]) -> None:
    """All that a line needs which is to work on a cluster."""
    assert words[:2] == ["atss", "reproduce"]
    given = dict(zip(words, words[1:], strict=False))
    assert given["--address"] == "auto" and given["--out"].startswith(("/", "$"))
    assert {"--scale", "--data", "--gpus-per-run"} <= set(given)


def test_the_slurm_script_is_a_shell_script_that_ends_in_a_launch() -> None:
    script = DOCS / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    launch = script.read_text().rpartition("symmetric-run")[2].replace("\\\n", " ")
    words = shlex.split(launch)
    check_launch(words[words.index("atss") :])
    assert os.access(script, os.X_OK)


def test_the_kubernetes_files_have_what_kuberay_needs() -> None:
    (cluster,), (job,) = documents("raycluster.yaml"), documents("rayjob.yaml")
    deployment, service = documents("mlflow.yaml")
    spec, served = cluster["spec"], deployment["spec"]
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert isinstance(group["rayStartParams"], dict) and container["image"]
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        variables = {item["name"]: item["value"] for item in container["env"]}
        assert variables["MLFLOW_TRACKING_URI"] == f"http://{address}"
    for group in spec["workerGroupSpecs"]:
        assert group["groupName"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert spec["authOptions"] == {"mode": "token"}
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    check_launch(job["spec"]["entrypoint"].split())
    labels = served["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == served["selector"]["matchLabels"]
    (container,) = served["template"]["spec"]["containers"]
    assert any("--allowed-hosts" in text and address in text for text in container["args"])


def wait_for(happened: Callable[[], object], seconds: float, machine: Machine) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit, machine.said()
        assert machine.process.poll() is None, machine.said()
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_healthy(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


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
    head = start(*node, "--head", *options)
    wait_for(lambda: "Ray runtime started" in head.said(), 120, head)
    second = start(*node, f"--address={address}")
    wait_for(lambda: "Ray runtime started" in second.said(), 120, second)
    return address, second


@pytest.mark.slow
def test_a_table_survives_the_loss_of_a_node(start: Start, tmp_path: Path) -> None:
    data, out = write_small_data(tmp_path / "squares"), tmp_path / "out"
    records, server = start_server(start, tmp_path / "server")
    address, second = start_cluster(start)
    wait_for(lambda: is_healthy(records), 120, server)

    changes = [part for setting in SETTINGS for part in ("--set", setting)]
    line = ["reproduce", "table2", "--rows", "1,2", "--data", data, "--out", out, *changes]
    launch = start("orchestration.cli", *line, "--address", address, MLFLOW_TRACKING_URI=records)
    recipe, _ = resolve_scale("demo", SETTINGS)
    fingerprint = open_data(data).fingerprint
    runs = [Run(row.config, recipe, fingerprint, 0) for row in ROWS]
    folders = [open_store(out).folder(signature(run)) for run in runs]
    wait_for(lambda: all(folder.checkpoint.exists() for folder in folders), 300, launch)
    second.is_lost()
    assert launch.process.wait(timeout=300) == 0, launch.said()

    log = launch.said()
    assert "Training 2 runs, up to 2 at once" in log
    assert log.count(": done, AP") == 2
    assert log.count(": retrying") == 1 and log.count(": goes on after step") == 1, log
    for run, folder in zip(runs, folders, strict=True):
        undisturbed = Job(run, tmp_path / "undisturbed" / folder.signature, str(data), {})
        run_trial(undisturbed, lambda values: None)
        assert files(folder) == files(RunFolder(undisturbed.folder))
    check_records(records, folders, tmp_path)


def check_records(address: str, folders: list[RunFolder], tmp_path: Path) -> None:
    """The server has both trainings whole, and both rows; files come back through it."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    experiments = {it.name: it.experiment_id for it in client.search_experiments()}
    trainings = client.search_runs([experiments.pop("trainings")])
    by_signature = {training.data.tags["signature"]: training for training in trainings}
    assert len(trainings) == 2 and set(by_signature) == {folder.signature for folder in folders}
    for folder in folders:
        info = by_signature[folder.signature].info
        assert info.status == "FINISHED" and info.artifact_uri.startswith("mlflow-artifacts:/")
        losses = client.get_metric_history(info.run_id, "loss/cls")
        told = [(entry["step"], entry["loss/cls"]) for entry in folder.history()]
        assert [(point.step, point.value) for point in losses] == told
        weights = client.download_artifacts(info.run_id, folder.weights.name, str(tmp_path))
        assert Path(weights).read_bytes() == folder.weights.read_bytes()
    (table,) = (it for name, it in experiments.items() if name.startswith("Table 2 - demo "))
    rows = [it.info for it in client.search_runs([table], order_by=["start_time DESC"])]
    labels = [f"{number:02} {row.label}" for number, row in enumerate(ROWS, start=1)]
    assert [row.run_name for row in rows] == [*labels, "report"]
    assert {row.status for row in rows} == {"FINISHED"}
