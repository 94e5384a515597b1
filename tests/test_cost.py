"""What a plan costs: by finished runs, by a measurement, and over the machines' places."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.filesize import decimal
from test_plan import SETUP, facts, finish
from test_trial import write_small_data

from experiments.baselines import ATSS
from experiments.experiment import canonical
from orchestration import cost
from orchestration.cost import Pace, known_pace, wall_time
from orchestration.plan import THESIS, Job, PlannedRun, find_tables, make_plan
from orchestration.progress import duration
from orchestration.resources import Allocation, Resources, Spent, evaluation_steps
from orchestration.run_folder import Store

SHARE = Allocation(cpus=1, gpus=0.0, workers=0, processes=1, at_once=2)
PACE = Pace(
    Spent(training=10.0, steps=100, testing=5.0, images=500),
    "measured",
    start_seconds=4.0,
    weights_bytes=1000,
)


def test_a_run_costs_its_steps_its_tests_and_its_start() -> None:
    recipe = replace(SETUP.recipe, iterations=1000, evaluations=4)
    tested = 200 * len(evaluation_steps(recipe, 200))
    assert PACE.spent.whole_run(recipe, 200) == pytest.approx(1000 * 0.1 + tested * 0.01)


@pytest.mark.parametrize(
    ("seconds", "at_once", "expected"),
    [([4, 4, 4], 1, 12), ([4, 4, 4], 2, 8), ([5, 1, 1, 1], 2, 5), ([], 2, 0), ([3], 8, 3)],
)
def test_runs_take_the_first_place_that_is_free(
    seconds: list[float], at_once: int, expected: float
) -> None:
    assert wall_time(seconds, at_once) == expected


@pytest.mark.parametrize("num_gpus", [0, 4])
def test_only_missing_runs_cost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    num_gpus: int,
) -> None:
    """GPUs count as often as a run has them."""
    on_gpus = Allocation(cpus=4, gpus=1.0, workers=3, processes=4, at_once=2)
    share = on_gpus if num_gpus else SHARE
    monkeypatch.setattr(cost, "_pace_there", lambda *_, **__: (PACE, share))
    store, plan = Store(tmp_path), make_plan(SETUP, find_tables(["table2"]))
    each = 4.0 + PACE.spent.whole_run(SETUP.recipe, 100)
    for missing in (4, 3):
        cost.show_cost(plan, store, Resources(), 100, is_measured=True)
        output = " ".join(capsys.readouterr().out.split())
        hours = missing * each * (num_gpus or 1) / 3600
        assert (
            f"Time: {duration(each)} a run (measured), 2 at once: {duration(2 * each)} in all, "
            f"{hours:.1f} {'GPU' if num_gpus else 'CPU core'} hours"
        ) in output
        final = missing * (2 * (1000 + 100 * SETUP.recipe.max_detections * 120) + 200_000)
        peak = final + 3 * 2 * 1000 * 2
        assert f"Disk: {decimal(peak)} at most, {decimal(final)} when all is done" in output
        assert output.count(duration(each)) == missing + 1
        finish(store.folder(plan.runs[0].signature), 30.0)


def test_finished_runs_tell_the_pace_of_their_like(tmp_path: Path) -> None:
    measured, store = tmp_path / "paces", Store(tmp_path)
    plan = make_plan(SETUP, find_tables(["table2"]))
    assert known_pace(plan, store, SHARE, measured) is None
    for planned, seconds in zip(plan.runs, (10.0, 30.0, 20.0), strict=False):
        spent = {"training": seconds, "steps": 10, "testing": seconds, "images": 100}
        done(store, planned, spent)
    pace = known_pace(plan, store, SHARE, measured)
    assert pace is not None and "3 finished" in pace.source
    assert pace.spent.per_step() == pytest.approx(2.0)
    assert pace.spent.per_image(8) == pytest.approx(0.2)
    on_gpu = replace(SHARE, gpus=1.0)
    assert known_pace(plan, store, on_gpu, measured) is None
    assert known_pace(plan, store, replace(SHARE, processes=2), measured) is None
    longer = replace(SETUP, recipe=replace(SETUP.recipe, iterations=77))
    assert known_pace(make_plan(longer, find_tables(["table2"])), store, SHARE, measured) is None


def done(store: Store, planned: PlannedRun, spent: dict[str, float]) -> None:
    """A finished run with the time it took."""
    folder = store.folder(planned.signature)
    finish(folder, 30.0)
    environment = {"gpu": "none", "cpu": "a CPU", "processes": "1"}
    data = facts(0)["data"] | {"fingerprint": planned.run.data}
    known = {"environment": environment, "data": data, "canonical": canonical(planned.run)}
    folder.write("run", folder.facts() | known)
    folder.write("result", (folder.result() or {}) | {"spent": spent})
    folder.weights.write_bytes(b"0" * 10)


def test_the_thesis_comes_first_and_seed_by_seed() -> None:
    plan = make_plan(SETUP, find_tables(["all"]), seeds=(0, 1))
    first = [(run.run.config, run.run.seed) for run in plan.runs[:14]]
    assert first == [(config, seed) for seed in (0, 1) for config in THESIS]
    assert len({run.signature for run in plan.runs}) == len(plan.runs) == 66
    assert plan.runs[0].run.config == ATSS


def test_what_nobody_has_trained_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.5)
    data, store = write_small_data(tmp_path / "squares"), Store(tmp_path)
    plan = make_plan(SETUP, find_tables(["table2"]))
    job = Job(plan.runs[0].run, tmp_path / "paces" / "0", str(data), {"begun": time.time() - 3})
    states: list[dict[str, str]] = []
    cost.calibrate(job, states.append)
    assert [it["state"] for it in states] == ["measuring", "done"]
    pace = known_pace(plan, store, SHARE, tmp_path / "paces")
    assert pace is not None and pace.source.startswith("measured, ")
    assert pace.spent.training > 0 and pace.spent.testing > 0
    assert pace.start_seconds >= 3 and pace.weights_bytes > 1000
