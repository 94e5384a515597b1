"""`atss sweep`: one detector with settings that take several values, trained and reported."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET, RETINANET
from experiments.experiment import Row, Table
from experiments.settings import OF_CONFIG, show_setting, with_settings
from experiments.sweep import Sweep, parse_axis
from orchestration import options, views
from orchestration.cost import show_cost
from orchestration.find import named_row
from orchestration.launch import data_notes, failures, lacking, open_plan, train_missing
from orchestration.options import option, parse_seeds
from orchestration.plan import Plan, Setup, asked_setup
from orchestration.resources import Resources
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.search import Search, steps_tested
from orchestration.terminal import Interrupted, console, finish

if TYPE_CHECKING:
    from detector.data.coco import DataSet

BASES = {
    "retinanet": RETINANET,
    "improved-retinanet": IMPROVED_RETINANET,
    "fcos": FCOS,
    "fcos-atss": FCOS_ATSS,
    "atss": ATSS,
}
MAX_SHOWN = 10  # of the combinations that are left out

BASE = f"What is varied: {', '.join(BASES)}, or a row such as table3:2 or my_ablation.py:2."
Base = Annotated[str, option(BASE, metavar="NAME|TABLE:ROW")]
AXES = (
    "What is varied: 3,5,7 (a tuple with +: 4+8,8), 3..7, 4..6..0.5, or for a search 0.001..0.1 "
    "and 1e-4..1e-1..log. One value holds for every run. Repeatable."
)
Axes = Annotated[list[str], option(AXES, "--set", metavar="KEY=VALUES")]
SCHEDULER = "fifo trains every run to its end; asha ends those that are far behind after a test."
Scheduler = Annotated[Literal["fifo", "asha"], option(SCHEDULER)]
SEARCH = "grid takes every combination, optuna proposes some by what the others reached."
SearchName = Annotated[Literal["grid", "optuna"], option(SEARCH, "--search")]
Samples = Annotated[int | None, option("How many combinations a search takes.", min=1)]
NAME = "Of the report and its files.  [default: by base and settings]"
Name = Annotated[str | None, option(NAME, metavar="NAME")]


def sweep(
    settings: Axes,
    base: Base = "atss",
    seeds: options.Seeds = "0",
    scale: options.Scale = "demo",
    data: options.Data = None,
    out: options.Out = DEFAULT_OUT,
    scheduler: Scheduler = "fifo",
    search: SearchName = "grid",
    samples: Samples = None,
    name: Name = None,
    dry_run: options.DryRun = False,
    concurrent: options.Concurrent = None,
    gpus_per_run: options.GpusPerRun = None,
    processes: options.Processes = None,
    micro_batch: options.MicroBatch = None,
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Train a detector with every combination of some settings, and report them as one table.

    Runs that a table of the paper has too are shared with it, and the same line goes on where it
    was ended. Combinations that no detector can be are named and left out.

    Examples:

    - `atss sweep --base atss --set k=3,5,7 --set anchor_scales=4..10`
    - `atss sweep --base table3:2 --set scalar=true,false --set centerness=true,false --seeds 0,1`
    - `atss sweep --set k=3..19 --set learning_rate=1e-4..1e-2..log --search optuna --samples 20`
    - `atss sweep --set k=3..19 --scheduler asha --scale mini --data photos.toml`

    Exit codes: 0 all runs are there, 1 some failed, 2 refused, 130 stopped.
    """
    how = _how(search, samples, scheduler)
    what, setup = _define(base, settings, name, how, scale, data)
    store = open_store(out)
    if not dry_run:
        store.require_writable()
    table = _grid(what) if search == "grid" else Table(name=what.name, rows=(what.base,))
    plan, data_set = open_plan(setup, store, [table], (), parse_seeds(seeds))
    asha = steps_tested(setup.recipe, len(data_set.val)) if scheduler == "asha" else []
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    if not dry_run:
        sought = Search(what, samples, plan, store) if search == "optuna" else None
        finish(_train(plan, store, data_set, resources, asha, sought))
    show_cost(plan, store, resources, len(data_set.val), is_measured=False)
    if search == "optuna":
        console.print(f"The search proposes {samples} runs, each by what the others reached.")
        console.print(f"The base above stands for them: they take {samples} times as much.")


def _how(search: str, samples: int | None, scheduler: str) -> list[str]:
    """The part of the command that says how the sweep goes about it."""
    if (search == "grid") != (samples is None):
        raise ValueError("--search optuna needs --samples, and --samples needs --search optuna")
    how = ["--search", search, "--samples", str(samples)] if samples else []
    return how + (["--scheduler", scheduler] if scheduler == "asha" else [])


def _grid(sweep: Sweep) -> Table:
    """Every combination; what no detector can be is told."""
    table = sweep.table(sweep.grid())
    tell_left_out(sweep)
    return table


def _train(
    plan: Plan,
    store: Store,
    data: "DataSet",
    resources: Resources,
    asha: Sequence[int],
    search: Search | None,
) -> list[str]:
    """Train and report the plan, or what a search asks for; one line for each problem."""
    from orchestration.results import deliver  # help does not wait for reports

    (table,) = plan.tables
    if search:
        plan = replace(plan, runs=search.asked())
    else:
        console.print(views.summary(plan, store))
    try:
        if search.is_wanting if search else lacking(plan, store, is_asha=bool(asha)):
            for note in data_notes(data):
                console.print(note, soft_wrap=True)
            train_missing(plan, store, data, resources, console, asha=asha, search=search)
        if search:
            tell_left_out(search.sweep)
            plan, table = replace(plan, runs=search.asked()), search.table()
        delivered = deliver(store, plan.setup, [table], plan.seeds_measured(store), console)
    except KeyboardInterrupt:
        raise Interrupted("the same line goes on from the last checkpoints") from None
    return [*failures(plan, store, is_asha=bool(asha or search)), *delivered.problems]


def _define(
    base: str, texts: Sequence[str], name: str | None, how: list[str], scale: str, data: str | None
) -> tuple[Sweep, Setup]:
    """What is varied, and what all runs share; settings with one value are no axes."""
    axes = [parse_axis(text) for text in texts]
    for place, axis in enumerate(axes):
        if axis.name in [other.name for other in axes[:place]]:
            raise ValueError(f"{axis.name} is set twice; its values are separated by commas")
    varied = [axis for axis in axes if len(axis.values) != 1]
    if not varied:
        raise ValueError("a sweep needs a setting with several values, such as --set k=3,5,7")
    if "asha" in how and any(axis.name == "iterations" for axis in varied):
        raise ValueError("--scheduler asha needs runs of one length, so iterations cannot vary")
    fixed = {axis.name: axis.values[0] for axis in axes if axis not in varied}
    toggles = {key: value for key, value in fixed.items() if key in OF_CONFIG}
    shared = [f"{key}={show_setting(it)}" for key, it in fixed.items() if key not in OF_CONFIG]
    setup = asked_setup(scale, data, shared)
    row = find_base(base)
    row = replace(row, config=with_settings(row.config, setup.recipe, toggles)[0])
    own = [t for t, axis in zip(texts, axes, strict=True) if axis in varied or axis.name in toggles]
    line = ("sweep", "--base", base, *(part for text in own for part in ("--set", text)), *how)
    table, *number = base.rsplit(":", 1)  # "sweep-table3-2-k" from "table3:2" and k
    words = ["sweep", Path(table).stem, *number, *(axis.name for axis in varied)]
    called = name or re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words))
    if called in TABLES | ABLATIONS:
        raise ValueError(f"--name {called} is another table's")
    return Sweep(row, setup.recipe, tuple(varied), called, line), setup


def find_base(text: str) -> Row:
    """A detector's name, or a row of a table, such as table3:2 or my_ablation.py:mine."""
    if text in BASES:
        return Row(text, BASES[text])
    named = named_row(text)
    if named is None or named.seed is not None:
        raise ValueError(
            f"--base needs one of {', '.join(BASES)}, or a row such as table3:2, got '{text}'"
        )
    return named.row


def tell_left_out(sweep: Sweep) -> None:
    """The first combinations that no detector can be, each with the reason."""
    for label, reason in islice(sweep.left_out.items(), MAX_SHOWN):
        console.print(f"Left out: {label}: {reason}", soft_wrap=True)
    if (more := len(sweep.left_out) - MAX_SHOWN) > 0:
        console.print(f"Left out: {more} more")
