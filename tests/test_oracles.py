"""What no reshaping may move, frozen: names, matched anchors, losses, rendered tables, claims.

The goldens lie in tests/goldens; `WRITE_GOLDENS=1 pytest tests/test_oracles.py` writes them anew,
which only a deliberate change of a number may do. Everything is asked for through the command line
and the few names that users import, so that a reshaping changes this file in its imports at most.
"""

import hashlib
import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from made_up_folder import fill

from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS, FACTORIAL, LEAVE_ONE_OUT
from experiments.experiment import Run, signature
from experiments.schedules import SCALES
from experiments.settings import with_settings
from orchestration.run_folder import open_store

GOLDENS = Path(__file__).parent / "goldens"
GPU_RUNS = Path(__file__).parents[2] / "shared" / "measured" / "coco-mini-h200" / "runs"
ROWS = {f"{table.label}: {row.label}": row for table in STUDY.values() for row in table.rows}
CONFIGS = {row.config: name for name, row in reversed(ROWS.items())}
SIZES = ((128, 160), (256, 320), (96, 96))  # (height, width) of scenes
COUNTS = (0, 1, 3, 12)  # objects of a scene
STEPS = 30


def check(name: str, found: str) -> None:
    """Compare with a golden file, or write it."""
    golden = GOLDENS / name
    if os.environ.get("WRITE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found.split("\n") == golden.read_text(encoding="utf-8").split("\n"), name


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


@pytest.mark.parametrize("scale", SCALES)
def test_names_of_runs(scale):
    found = {}
    for table in (*TABLES.values(), *ABLATIONS.values()):
        for row in table.rows:
            config, recipe = with_settings(row.config, SCALES[scale], row.recipe_at(scale))
            names = [signature(Run(config, recipe, "f" * 64, seed)) for seed in (0, 1)]
            found[f"{table.label}: {row.label}"] = " ".join(names)
    check(f"names-{scale}.json", json.dumps(found, indent=0) + "\n")


def scene(size, count, draw):
    """Boxes in quarters of a pixel: any, a twin, beyond the border, less than a pixel, aligned."""
    height, width = size
    boxes = []
    for place in range(count):
        x, y = draw.randrange(-64, 4 * width) / 4, draw.randrange(-64, 4 * height) / 4
        w, h = draw.randrange(1, 640) / 4, draw.randrange(1, 640) / 4
        if place % 4 == 3:
            x, y, w, h = boxes[-1][0], boxes[-1][1], 0.75, 0.5
        elif place % 4 == 2:
            x, y, w, h = x // 8 * 8 - 28, y // 8 * 8 - 28, 64, 64
        boxes.append((x, y, x + w, y + h))
        if place % 4 == 1:
            boxes.append(boxes[-1])
    return boxes[:count]


@pytest.mark.parametrize("name", CONFIGS.values())
def test_matched_anchors(name):
    from scenes import anchors_of, boxes_tensor

    from detector.assigners import build_assigner

    config = ROWS[name].config
    assigner, draw, found = build_assigner(config), random.Random(1), {}
    for size in SIZES:
        padded = [-(-side // 128) * 128 for side in size]
        anchors = anchors_of(padded, config.anchor_scales, config.aspect_ratios)
        for count in COUNTS:
            matched = assigner(anchors, boxes_tensor(scene(size, count, draw)))
            digest = hashlib.sha256(matched.numpy().tobytes()).hexdigest()[:16]
            positive, ignored = int((matched >= 0).sum()), int((matched == -2).sum())
            text = f"{digest} {positive} positive, {ignored} ignored"
            found[f"{size[0]}x{size[1]}, {count} objects"] = text
    check(f"matched/{slug(name)}.json", json.dumps(found, indent=0) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLES["table2"].rows, ids=lambda row: row.label)
def test_thirty_steps(row):
    import torch

    from detector.data.batches import batches
    from detector.data.coco import open_data
    from detector.training import assemble, train

    torch.set_num_threads(1)
    recipe, data = SCALES["demo"], open_data("shapes")
    detector, optimizer = assemble(row.config, recipe, len(data.train.names), seed=0)
    images = batches(data.train, recipe, seed=0)
    found = []
    for values in train(detector, optimizer, images, recipe):
        found.append({key: value for key, value in values.items() if "loss" in key})
        if len(found) == STEPS:
            break
    norms = {key: value.double().norm().item() for key, value in detector.state_dict().items()}
    golden = GOLDENS / "steps" / f"{slug(row.label)}.json"
    if os.environ.get("WRITE_GOLDENS"):
        golden.write_text(json.dumps([*found, norms], indent=0) + "\n")
    # Another kind of processor sums in another order: 1e-7 at first, 1 % after thirty steps, more
    # in the norms of biases, which began at zero.
    *losses, weights = json.loads(golden.read_text())
    for step, (now, before) in enumerate(zip(found, losses, strict=True)):
        assert now == pytest.approx(before, rel=1e-3 if step < 10 else 0.03, abs=1e-3)
    assert norms == pytest.approx(weights, rel=0.03, abs=0.01)


@pytest.fixture
def without_notebooks(monkeypatch):
    """The notebook is an empty one, no figure is drawn, no record written: that takes minutes."""
    from nbformat.v4 import new_code_cell, new_notebook

    def run(source, parameters, progress=None):
        return new_notebook(cells=[new_code_cell(metadata={"tags": ["parameters"]})])

    monkeypatch.setattr("reports.notebook.run_notebook", run)
    monkeypatch.setattr("reports.notebook.plates", lambda results: {})
    monkeypatch.setattr("orchestration.results.record", lambda *given: None)


def of_this_machine(text: str, folder: Path) -> str:
    """The text without what another machine would write."""
    return text.replace(str(folder), "FOLDER").replace(os.path.relpath(folder), "FOLDER")


def frozen(name: str, atss, folder: Path, *arguments: object) -> None:
    """Run `atss report`; freeze what it prints and every table's CSV, LaTeX and Markdown."""
    code, output, _ = atss("report", *arguments, "--out", folder)
    assert code == 0
    printed = re.sub(r"(Report|Site|Records) .*\n", "", of_this_machine(output, folder))
    check(f"{name}/terminal.txt", printed)
    (reports,) = (path for path in (folder / "reports").iterdir() if path.is_dir())
    files = [path for path in sorted(reports.iterdir()) if path.suffix in (".csv", ".md", ".tex")]
    assert files
    for file in files:
        check(f"{name}/{file.name}", of_this_machine(file.read_text(encoding="utf-8"), folder))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """All tables with two seeds and Table 3 with three, of 24 images; one run is missing."""
    folder = tmp_path_factory.mktemp("made-up")
    fill(folder, [*TABLES.values(), LEAVE_ONE_OUT, FACTORIAL], num_images=24)
    fill(folder, [TABLES["table3"]], seeds=(2,), num_images=24, skill=0.6)
    store = open_store(folder)
    gone = [it for it in store.folders() if it.facts()["rows"][0].startswith("Table 6")][-1]
    shutil.rmtree(gone.path)
    return folder


@pytest.mark.slow
def test_tables_of_made_up_results(made_up, atss, without_notebooks):
    frozen("made-up", atss, made_up, *TABLES, LEAVE_ONE_OUT.name, FACTORIAL.name)


@pytest.mark.slow
def test_claims_of_made_up_results(made_up, atss):
    code, output, _ = atss("claims", "--format", "json", "--out", made_up)
    assert code == 0
    check("made-up/claims.json", of_this_machine(output, made_up))


@pytest.mark.slow
def test_a_comparison_of_made_up_results(made_up, atss):
    code, output, _ = atss("compare", "table3:1", "table3:5", "--out", made_up)
    assert code == 0
    check("made-up/compare.txt", re.sub(r"\S*\.(json|html|jpg)\b", "FILE", output))


@pytest.mark.slow
@pytest.mark.skipif(not GPU_RUNS.is_dir(), reason=f"needs {GPU_RUNS.name} trained on a GPU")
def test_tables_of_runs_from_a_gpu(tmp_path, atss, without_notebooks):
    shutil.copytree(GPU_RUNS, tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    frozen("gpu", atss, tmp_path, "table2", "table3")
