"""What a plan costs: by finished runs, by a measurement, and over the machines' places."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
from rich.filesize import decimal
from test_plan import SETUP, TABLE2, facts, finish
from test_trial import RECIPE, make_job, write_small_data

from experiments.experiment import canonical
from orchestration import cost
from orchestration.cost import Pace, Stopwatch, finished_pace, wall_time
from orchestration.plan import make_plan
from orchestration.resources import Allocation, Resources, Spent
from orchestration.run_folder import RunFolder, Store
from orchestration.trial import run_trial

SHARE = Allocation(cpus=1, gpus=0.0, workers=0, processes=1, at_once=2)
ON_GPUS = Allocation(cpus=4, gpus=1.0, workers=3, processes=4, at_once=2)
PACE = Pace(Spent(training=10.0, steps=100, testing=5.0, images=500), "measured", 2000)


def test_runs_take_the_first_place_that_is_free():
    assert (wall_time([5, 1, 1, 1], 2), wall_time([4, 4, 4], 2), wall_time([], 2)) == (5, 8, 0)


@pytest.mark.parametrize(("share", "hours"), [(SHARE, "CPU core hours"), (ON_GPUS, "GPU hours")])
def test_only_missing_runs_cost(tmp_path, monkeypatch, capsys, share, hours):
    """A run: 5 s to start, 1,100 steps of 0.1 s, three tests of 100 images of 0.01 s: 1:58."""
    monkeypatch.setattr("orchestration.tune.cluster", lambda *_: nullcontext(share))
    monkeypatch.setattr(cost, "measured_pace", lambda *_: PACE)
    store, plan = Store(tmp_path), make_plan(SETUP, TABLE2)
    for missing in (4, 3):
        cost.show_cost(plan, store, Resources(), 100)
        output = " ".join(capsys.readouterr().out.split())
        spent = missing * 118 * share.processes / 3600  # a GPU or a CPU core each
        assert f"Time: 1:58 a run (measured), 2 at once: 3:56 in all, {spent:.1f} {hours}" in output
        # Weights and 10,000 detections of 120 bytes, twice; two runs with three checkpoints each.
        final = missing * 2 * (1000 + 10_000 * 120)
        sizes = f"{decimal(final + 2 * 3 * 2000)} at most, {decimal(final)} when all is done"
        assert f"Disk: {sizes}" in output
        assert output.count("1:58") == missing + 1
        finish(store.folder(plan.runs[0].signature), 30.0)


def test_finished_runs_tell_the_pace_of_their_like(tmp_path):
    store, plan = Store(tmp_path), make_plan(SETUP, TABLE2)
    run = plan.runs[0].run
    assert finished_pace(run, store, SHARE) is None
    environment = {"gpu": "none", "cpu": "a CPU", "processes": "1"}
    for planned, seconds in zip(plan.runs, (10.0, 30.0), strict=False):
        folder = store.folder(planned.signature)
        finish(folder, 30.0)
        data = facts(0)["data"] | {"fingerprint": planned.run.data}
        known = {"environment": environment, "data": data, "canonical": canonical(planned.run)}
        folder.write("run", folder.facts() | known)
        spent = {"training": seconds, "steps": 10, "testing": seconds, "images": 100}
        folder.write("result", (folder.result() or {}) | {"spent": spent})
        folder.weights.write_bytes(b"0" * 10)
    pace = finished_pace(run, store, SHARE)
    assert pace == Pace(Spent(**spent), f"as run {folder.signature}, a CPU", 20)
    assert finished_pace(run, store, replace(SHARE, gpus=1.0)) is None
    assert finished_pace(run, store, replace(SHARE, processes=2)) is None
    longer = replace(run, recipe=replace(SETUP.recipe, iterations=77))
    assert finished_pace(longer, store, SHARE) is None


def test_runs_are_timed_between_their_tests_and_asked_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "monotonic", iter([0.0, 1.0, 2.0, 17.0]).__next__)
    folder = RunFolder(tmp_path / "0")
    watch = Stopwatch([folder])
    told = [("training", 0), ("training", 1), ("training", 2), ("testing", 2), ("training", 2)]
    for state, step in (*told, ("training", 3), ("training", 20)):
        assert not folder.cancellation()
        watch.tell("0", {"state": state, "step": step})
    assert folder.cancellation() == "atss plan"


@pytest.mark.parametrize(("iterations", "timed"), [(7, 1), (2, 2)])  # the second is over before
def test_what_nobody_has_trained_is_measured(tmp_path, monkeypatch, iterations, timed):
    monkeypatch.setattr("orchestration.trial.REPORT_SECONDS", 0.0)
    data = write_small_data(tmp_path / "squares")
    job = make_job(data, tmp_path, replace(RECIPE, iterations=iterations))
    folder = RunFolder(job.folder)
    watch = Stopwatch([folder])
    run_trial(job, partial(watch.tell, folder.signature))
    assert folder.is_done == (iterations == 2)
    pace = watch.pace()
    assert pace.source.startswith("measured, ") and pace.checkpoint_bytes > 1000
    assert pace.spent.training > 0 and pace.spent.steps == timed


def test_a_measurement_that_fails_says_why(tmp_path):
    folder = RunFolder(tmp_path / "0")
    folder.write("failure", {"reason": "no room", "traceback": ""})
    with pytest.raises(ValueError, match="could not be measured: no room"):
        Stopwatch([folder]).pace()
