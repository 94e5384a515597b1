"""Sweeps: values, combinations, their table, ending runs early, and a search that goes on."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import log10
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from test_plan import SETUP, facts, finish

from experiments import TABLES
from experiments.baselines import ATSS
from experiments.experiment import OwnAssigner, Row, Run, Table, signature
from experiments.schedules import DEMO
from experiments.sweep import Sweep, parse_axis
from orchestration.commands.train import BASES, find_base
from orchestration.plan import Job, Setup, make_plan
from orchestration.results import bundle, reproduce_line
from orchestration.run_folder import RunFolder, Store, open_store
from orchestration.search import Search, steps_tested
from orchestration.terminal import show_status
from reports.results import Stopped

LINE = ("sweep", "--base", "atss", "--set", "k=3,5,9")


def sweep(*texts: str, base: Row | None = None) -> Sweep:
    axes = tuple(parse_axis(text) for text in texts)
    return Sweep(base or Row("ATSS", ATSS), DEMO, axes, "my-sweep", LINE)


def table_of(*texts: str) -> Table:
    grid = sweep(*texts)
    return grid.table(grid.grid())


VALUES = {
    "k=3,5,7": (3, 5, 7),
    "k=3..6": (3, 4, 5, 6),
    "k=3..9..3": (3, 6, 9),
    "anchor_scales=4+8,8": ((4.0, 8.0), (8.0,)),
    "anchor_scales=4..6": ((4.0,), (5.0,), (6.0,)),
    "anchor_scales=4..5..0.5": ((4.0,), (4.5,), (5.0,)),
    "aspect_ratios=1/2, 1/2+1+2": ((0.5,), (0.5, 1.0, 2.0)),
    "learning_rate=0.1..0.3..0.1": (0.1, 0.2, 0.3),
    "scalar=true,off": (True, False),
    "assigner=iou,atss": ("iou", "atss"),
}
DRAWN = {  # at the begin, the middle and the end
    "learning_rate=0.001..0.1": [0.001, 0.0505, 0.1],
    "learning_rate=1e-3..0.1..log": [0.001, 0.01, 0.1],
    "anchor_scales=4..8": [(4.0,), (6.0,), (8.0,)],
    "iterations=10..1000..log": [10, 100, 1000],
}


def test_values_are_alternatives_ranges_and_tuples_or_drawn_between_two_ends():
    for text, values in VALUES.items():
        assert parse_axis(text).values == values and parse_axis(text).name == text.split("=")[0]
    for text, drawn in DRAWN.items():
        assert [parse_axis(text).at(share) for share in (0, 0.5, 1)] == drawn


# --- combinations and their table


def test_a_grid_has_every_combination_that_a_detector_can_be_and_names_the_others():
    grid = sweep("k=3,9", "assigner=atss,ssc")
    assert {row.label: row.config for row in grid.grid()} == {
        "k = 3, assigner = atss": replace(ATSS, k=3),
        "k = 9, assigner = atss": ATSS,
        "k = 9, assigner = ssc": replace(ATSS, assigner="ssc"),
    }
    ((label, reason),) = grid.left_out.items()
    assert label == "k = 3, assigner = ssc" and "k=3 needs assigner='atss'" in reason


def test_a_sweep_is_a_table_that_compares_with_its_base():
    table = table_of("k=3,5,9")
    assert (table.axis, table.headings, table.reference) == ("k", ("k",), 2)
    assert [row.cells for row in table.rows] == [("3",), ("5",), ("9",)] and not table.has_paper
    setup = replace(SETUP, settings={"short_side": (64, 64)})
    assert reproduce_line(setup, table, [0, 1]) == (
        "atss sweep --base atss --set k=3,5,9 --seeds 0,1 --set short_side=64+64"
    )
    by_row = {run.rows[0]: run.rows[1:] for run in make_plan(SETUP, [table]).runs}
    assert by_row["my-sweep: k = 3"] == ("Table 4: k = 3",)  # one run
    assert "Table 5: 8S" in by_row["my-sweep: k = 9"]
    toggles = table_of("scalar=false,true", "centerness=false,true")
    assert toggles.factors == ("scalar", "centerness")
    mixed = table_of("scalar=false,true", "iterations=5,6")
    assert (mixed.factors, mixed.axis, mixed.rows[0].recipe) == ((), "", {"iterations": 5})
    assert mixed.rows[0].label == "scalar = false, iterations = 5"


def test_the_base_is_a_detector_or_a_row_of_any_table(tmp_path):
    assert {name: find_base(name).config for name in BASES} == BASES
    assert find_base("table3:2").config == find_base("table4:k = 9").config == ATSS
    path = tmp_path / "mine.py"
    path.write_text(
        "from experiments.baselines import ATSS\n"
        "from experiments.experiment import Row, Table\n"
        "def mine(anchors, gt_boxes): ...\n"
        "TABLE = Table(rows=[Row('a', ATSS, assigner=mine)])\n"
    )
    base = find_base(f"{path}:1")
    assert isinstance(base.assigner, OwnAssigner)
    (row, _) = sweep("scalar=true,false", base=base).grid()
    assert row.assigner == base.assigner
    refused = sweep("k=5,7", base=base)
    assert refused.grid() == [] and "got the own assigner 'mine'" in str(refused.left_out)


REFUSED = {
    "--set k": "a setting needs name=value, got 'k'",
    "--set k=3,3": "label needs to differ from row to row, got 'k = 3' twice",
    "--set k=7..3": "k needs a range alone: LOW..HIGH, .*got '7..3'",
    "--set k=3..5..0": "k needs .* a step above 0",
    "--set scalar=false..true": "scalar needs true or false, got 'false..true'",
    "--set learning_rate=0..1..log": "learning_rate needs .*log above 0, ",
    "--set learning_rate=0.1..0.2,0.5": "learning_rate needs a number, got '0.2,0.5'",
    "--set k=1..100000": "k needs at most 1000 values, got 100000 in '1..100000'",
    "--set k=1..1000 --set candidates_per_level=1000..1999": "1000 combinations, got 1000000",
    "--set learning_rate=0.001..0.1": "learning_rate=LOW..HIGH..STEP; a search draws without",
    "--base retinanet --set k=3,5": "no combination is left to train; k = 3: k=3 needs",
    "--set k=3": "a sweep needs a setting with several values",
    "--set k=3,5 --set k=7,9": "k is set twice",
    "--base retina --set k=3,5": "--base needs one of retinanet, .*got 'retina'",
    "--set k=3,5 --search optuna": "--samples",
    "--set k=3,5 --samples 2": "--samples",
    "--set k=3,5 --name factorial": "--name factorial is another table's",
    "--set k=3,5 --name a/b": "name needs letters",
    "--set iterations=5,6 --scheduler asha": "needs runs of one length",
    "--set k=3,5 --set evaluations=1 --scheduler asha": "needs a test before the last step",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_refused_in_one_line(refused, data, tmp_path, line):
    place = ["--data", data, "--out", tmp_path / "out", "--dry-run"]
    errors = refused("sweep", *line.split(), *place)
    assert re.search(REFUSED[line], errors), errors


def test_a_dry_run_shows_the_runs_and_what_is_left_out(atss, data, tmp_path):
    line = ["--set", "k=3,9", "--set", "assigner=atss,ssc", "--set", "iterations=50", "--dry-run"]
    code, output, _ = atss("sweep", *line, "--data", data, "--out", tmp_path / "out")
    assert code == 0 and "3 rows, 1 seed: 3 distinct runs, 0 done, 3 to train" in output
    assert "Left out: k = 3, assigner = ssc: k=3 needs assigner='atss'" in output
    assert "sweep-atss-k-assigner: k = 3, assigner = atss" in output


# --- ending runs early


def after_tests(folder: RunFolder, *aps: float) -> RunFolder:
    """A run that was tested after every tenth step."""
    folder.write("run", {**facts(0), "name": "a", "params": {"iterations": 90}})
    folder.append(*({"step": 10 * place, "AP": ap} for place, ap in enumerate(aps, start=1)))
    return folder


def test_a_run_that_was_ended_early_says_so(tmp_path):
    store, table = open_store(tmp_path), table_of("k=3,5,9")
    runs = make_plan(SETUP, [table]).runs
    by_row = {run.rows[0].removeprefix("my-sweep: "): store.folder(run.signature) for run in runs}
    done, early, failed = by_row["k = 9"], by_row["k = 3"], store.folder("f" * 12)
    finish(done, 30.0)
    after_tests(failed, 5.0).write("failure", {"reason": "x", "traceback": ""})
    ended = [one.stop() for one in (done, failed, after_tests(early, 5.0, 6.5))]
    assert ended == [None, None, Stopped(20, 6.5)]
    assert early.stopped() == Stopped(20, 6.5) and failed.stopped() is None
    text = io.StringIO()
    Console(file=text, width=200).print(show_status(store))
    assert re.search(r"stopped +early, AP 6.5 after 20 steps", text.getvalue())
    content = bundle(store, SETUP, table, [0])
    assert content.stopped == {early.signature: Stopped(20, 6.5)}
    assert list(content.results) == [done.signature]
    finish(early, 30.0)
    assert early.stopped() is None  # somebody trained it


def test_asha_ends_who_is_behind_at_a_test_but_nobody_at_the_end():
    from orchestration.tune import halving

    def decisions(name: str, **aps: float) -> list[str]:
        trial = SimpleNamespace(trial_id=name)
        asha.on_trial_add(None, trial)
        told = [{"tested_at": int(at.strip("_")), "AP": ap} for at, ap in aps.items()]
        return [asha.on_trial_result(None, trial, one) for one in told]

    asha: Any = halving(range(10, 91, 10))
    assert decisions("first", _10=20.0, _30=30.0) == ["CONTINUE"] * 2
    assert decisions("worse", _10=19.0) == ["STOP"]
    # Between the rungs at 10 and 30 nobody is ended, and nobody at the last test.
    assert decisions("better", _10=21.0, _20=0.0, _30=40.0, _90=0.0) == ["CONTINUE"] * 4
    assert decisions("late", _10=25.0, _30=31.0) == ["CONTINUE", "STOP"]
    for iterations, evaluations in product(range(2, 60), (2, 3, 5, 9, 10)):
        recipe = replace(DEMO, iterations=iterations, evaluations=evaluations)
        steps = steps_tested(recipe, num_images=1)
        asha = halving(steps)
        for last in (9.0, 0.0):
            aps = {f"_{step}": 9.0 for step in steps} | {f"_{steps[-1]}": last}
            assert set(decisions(f"ends at {last}", **aps)) == {"CONTINUE"}, steps


# --- a search


def search_in(
    store: Store, samples: int, *texts: str, setup: Setup = SETUP, seeds: tuple[int, ...] = (0,)
) -> Search:
    base = make_plan(setup, [Table(name="base", rows=(Row("ATSS", ATSS),))], seeds=seeds)
    return Search(sweep(*(texts or ("k=3..19",))), samples, base, store)


def by_k(run: Run) -> float:
    """Best at k = 12."""
    return 40.0 - abs(run.config.k - 12)


def train(
    search: Search, ap_of: Callable[[Run], float | None] = by_k, limit: int = 99
) -> list[Run]:
    """Train what a search asks for, as Ray would one at a time; AP None: that run fails.

    limit: all is killed after so many runs, when another was begun.
    """
    runs: list[Run] = []
    for planned in search.runs():
        runs.append(planned.run)
        if len(runs) > limit:
            break
        folder, ap = search.store.folder(planned.signature), ap_of(planned.run)
        if ap is not None and not folder.stopped():
            finish(folder, ap, planned.run.seed)
        search.ended(planned.signature)
    return runs


def labels(search: Search) -> list[str]:
    return [row.label for row in search.rows.values()]


def values(search: Search) -> set[float | None]:
    return {trial.value for trial in search.study.get_trials()}


def test_a_search_learns_from_what_was_reached(tmp_path):
    def miss(run: Run) -> float:
        return abs(log10(run.recipe.learning_rate) + 3)  # the best is 0.001

    search = search_in(open_store(tmp_path), 20, "learning_rate=1e-5..1e-1..log")
    misses = [miss(run) for run in train(search, lambda run: 40.0 - 10 * miss(run))]
    assert len(misses) == len(search.rows) == 20
    assert fmean(misses[10:]) < 0.8  # blind draws, as the first six are, miss by 1 on average


def test_the_same_search_goes_on_and_trains_nothing_twice(tmp_path):
    store = open_store(tmp_path)
    first = search_in(store, 6)
    train(first, limit=3)
    begun = labels(first)
    assert len(begun) == 4
    asked = train(search_in(store, 6))
    assert len(asked) == 3 and f"k = {asked[0].config.k}" == begun[-1]
    again = search_in(store, 6)
    assert train(again) == [] and set(begun) < set(labels(again))
    assert len(train(search_in(store, 8))) == 2  # more samples are two more
    fewer = search_in(store, 5)
    assert train(fewer) == [] and len(fewer.rows) == 5
    longer = replace(SETUP, recipe=replace(DEMO, iterations=7))
    assert len(train(search_in(store, 2, setup=longer))) == 2  # of it nothing is known


def test_a_search_knows_runs_of_other_tables_and_counts_only_what_can_be(tmp_path):
    store = open_store(tmp_path)
    for run in make_plan(SETUP, [TABLES["table4"]]).runs:
        finish(store.folder(run.signature), by_k(run.run))
    search = search_in(store, 6, "k=3..19..2", "assigner=atss,ssc")
    (run,) = train(search)
    assert run.config.k == 9  # with ssc; no other k has a meaning there
    assert "k = 9, assigner = ssc" in labels(search) and len(search.rows) == 6
    assert all("needs assigner='atss', got 'ssc'" in why for why in search.sweep.left_out.values())


def test_what_failed_or_was_ended_early_teaches_a_search_too(tmp_path):
    store, told = open_store(tmp_path), iter([None, 2.0, 30.0, 30.0, 30.0])
    search = search_in(store, 5)

    def ap_of(run: Run) -> float | None:
        if (ap := next(told)) == 2.0:
            after_tests(store.folder(signature(run)), 1.0, 2.0).stop()
        return ap

    train(search, ap_of)
    assert values(search) == {None, 2.0, 30.0}
    assert len(train(search_in(store, 5))) == 1  # who failed is tried again


def test_a_search_learns_the_mean_of_all_seeds(tmp_path):
    search = search_in(open_store(tmp_path), 2, seeds=(0, 1))
    assert len(train(search, lambda run: 20.0 + 2 * run.seed)) == len(search.asked().runs) == 4
    assert values(search) == {21.0}


def test_a_search_without_optuna_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match="--search optuna needs Optuna, .*pip install optuna"):
        search_in(open_store(tmp_path), 2)


# --- through Ray


def work(job: Job, report: Any) -> None:
    """Six tests; the higher k, the better."""
    folder = RunFolder(job.folder)
    folder.write("run", {**facts(0), "name": "a", "params": {"iterations": 60}})
    with folder.locked():
        for step in range(10, 61, 10):
            ap = step / 10 + job.run.config.k
            report({"state": "testing", "step": step, "AP": ap - 1})  # that of the test before
            folder.append({"step": step, "AP": ap})
            report({"state": "training", "step": step, "AP": ap, "tested_at": step, "left": None})
        finish(folder, ap)
    report({"state": "done", "AP": ap})


@pytest.mark.slow
def test_ray_asks_for_runs_one_by_one_and_ends_those_that_are_behind(tmp_path):
    import ray

    from orchestration.progress import Progress
    from orchestration.resources import Resources
    from orchestration.tune import cluster, halving, run_trials

    for name in (__name__, "test_plan"):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # trials cannot import a test
    store, log, done_before = open_store(tmp_path), io.StringIO(), list[int]()
    runs = make_plan(SETUP, [table_of("k=9,3,15")]).runs

    def jobs() -> Iterator[Job]:
        """Who proposes the next run can look at what was reached before."""
        for run in runs:
            done_before.append(sum(folder.is_done for folder in store.folders()))
            yield Job(run.run, store.folder(run.signature).path, "shapes", {})

    names = {run.signature: f"k = {run.run.config.k}" for run in runs}
    progress = Progress(names, Console(file=log, width=200))
    with cluster(Resources(concurrent=1), DEMO) as allocation, progress:
        how = {"root": tmp_path, "work": work, "scheduler": halving(range(10, 61, 10))}
        run_trials(jobs(), allocation, progress.update, **how)
    best, behind, better = (store.folder(run.signature) for run in runs)
    assert done_before == [0, 1, 1]
    assert best.is_done and better.is_done and not behind.is_done
    where = behind.stopped()
    line = f"k = 3: stopped: AP {where.ap:.1f} after {where.step} steps is not among"
    assert line in log.getvalue()
    assert not any(folder.is_running for folder in store.folders())
