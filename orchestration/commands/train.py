"""`atss reproduce`, `plan`, `sweep`: what is trained and reported, and what it costs before."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from experiments import TABLES
from experiments.ablations import ABLATIONS
from experiments.baselines import ATSS, FCOS, FCOS_ATSS, IMPROVED_RETINANET, RETINANET
from experiments.experiment import Row, Table
from experiments.settings import OF_CONFIG, show_setting, with_settings
from experiments.sweep import Sweep, parse_axis
from orchestration import options
from orchestration.cost import show_cost
from orchestration.find import named_row
from orchestration.launch import data_notes, failures, open_plan, train_missing
from orchestration.options import option, parse_rows, parse_seeds
from orchestration.plan import Plan, Setup, asked_setup, find_tables
from orchestration.resources import Resources
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.search import Search, steps_tested
from orchestration.terminal import console, finish, say, show_plan, summary

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
AXES = (
    "What is varied: 3,5,7 (a tuple with +: 4+8,8), 3..7, 4..6..0.5, or for a search 0.001..0.1 "
    "and 1e-4..1e-1..log. One value holds for every run. Repeatable."
)
SCHEDULER = "fifo trains every run to its end; asha ends those that are far behind after a test."
SEARCH = "grid takes every combination, optuna proposes some by what the others reached."
NAME = "Of the report and its files.  [default: by base and settings]"


def reproduce(
    tables: options.TableNames,
    scale: options.Scale = "demo",
    data: options.Data = None,
    seeds: options.Seeds = "0",
    rows: options.Rows = None,
    settings: options.Settings = None,
    out: options.Out = DEFAULT_OUT,
    dry_run: options.DryRun = False,
    concurrent: options.Concurrent = None,
    gpus_per_run: options.GpusPerRun = None,
    processes: options.Processes = None,
    micro_batch: options.MicroBatch = None,
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Train what tables still lack, and print them beside the paper's numbers.

    A finished run is never trained again, and a launch that was ended goes on when the same line is
    given again. Reports (HTML, notebook, Markdown, LaTeX, CSV) and records are in the folder --out.

    Examples:

    - `atss reproduce table2`
    - `atss reproduce table4 --rows 1,3 --set iterations=500 --dry-run`
    - `atss reproduce table2 table3 --scale mini --data photos.toml --seeds 0,1,2`
    - `atss reproduce all --scale paper --data coco2017 --micro-batch 4`

    Exit codes: 0 all rows are there, 1 some failed or were cancelled, 2 refused, 130 stopped.
    """
    chosen, setup, store = find_tables(tables), asked_setup(scale, data, settings), open_store(out)
    planned, data_set = open_plan(setup, store, chosen, parse_rows(rows or []), parse_seeds(seeds))
    say(*data_notes(data_set))
    if dry_run:
        return console.print(show_plan(planned, store))
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    _train(planned, store, data_set, resources)


def plan(
    tables: options.TableNames,
    scale: options.Scale = "demo",
    data: options.Data = None,
    seeds: options.Seeds = "0",
    rows: options.Rows = None,
    settings: options.Settings = None,
    out: options.Out = DEFAULT_OUT,
    concurrent: options.Concurrent = None,
    gpus_per_run: options.GpusPerRun = None,
    processes: options.Processes = None,
    micro_batch: options.MicroBatch = None,
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Say what tables still lack, in the order of training, and what it costs; nothing is trained.

    The time of a run is that of the last finished one of its schedule, or measured in about a
    minute on the machines that would train, as many at once as there.

    Examples:

    - `atss plan all`
    - `atss plan table3 --scale paper --data coco2017 --gpus-per-run 8 --address auto`
    """
    chosen, setup, store = find_tables(tables), asked_setup(scale, data, settings), open_store(out)
    planned, data_set = open_plan(setup, store, chosen, parse_rows(rows or []), parse_seeds(seeds))
    store.require_writable()
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    show_cost(planned, store, resources, len(data_set.val))


def sweep(
    settings: Annotated[list[str], option(AXES, "--set", metavar="KEY=VALUES")],
    base: Annotated[str, option(BASE, metavar="NAME|TABLE:ROW")] = "atss",
    seeds: options.Seeds = "0",
    scale: options.Scale = "demo",
    data: options.Data = None,
    out: options.Out = DEFAULT_OUT,
    scheduler: Annotated[Literal["fifo", "asha"], option(SCHEDULER)] = "fifo",
    search: Annotated[Literal["grid", "optuna"], option(SEARCH, "--search")] = "grid",
    samples: Annotated[int | None, option("How many combinations a search takes.", min=1)] = None,
    name: Annotated[str | None, option(NAME, metavar="NAME")] = None,
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
    if (search == "grid") != (samples is None):
        raise ValueError("--search optuna needs --samples, and --samples needs --search optuna")
    how = ["--search", search, "--samples", str(samples)] if samples else []
    how += ["--scheduler", scheduler] if scheduler == "asha" else []
    what, setup = _define(settings, base, name, how, scale, data)
    store = open_store(out)
    base_alone = Table(name=what.name, rows=(what.base,))  # it stands for all that a search tries
    table = base_alone if samples else what.table(what.grid())
    tell_left_out(what)
    planned, data_set = open_plan(setup, store, [table], (), parse_seeds(seeds))
    asha = steps_tested(setup.recipe, len(data_set.val)) if scheduler == "asha" else []
    say(*data_notes(data_set))
    if dry_run:
        return console.print(show_plan(planned, store))
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    sought = Search(what, samples, planned, store) if samples else None
    _train(planned, store, data_set, resources, asha, sought)


def _train(
    plan: Plan,
    store: Store,
    data: "DataSet",
    resources: Resources,
    asha: Sequence[int] = (),
    search: Search | None = None,
) -> NoReturn:
    """Train what a plan lacks, or what a search asks for, report it, and end."""
    from orchestration.results import deliver  # help does not wait for reports

    store.require_writable()
    try:
        if search is None:
            console.print(summary(plan, store))
        train_missing(plan, store, data, resources, console, asha=asha, search=search)
        if search:
            tell_left_out(search.sweep)
            plan = search.asked()
        problems = deliver(store, plan.setup, plan.tables, plan.seeds_measured(store), console)
    except KeyboardInterrupt:
        raise typer.Abort("the same line goes on from the last checkpoints") from None
    finish([*failures(plan, store, is_asha=bool(asha or search)), *(problems or ())])


def _define(
    texts: Sequence[str],
    base: str,
    name: str | None,
    how: Sequence[str],
    scale: str,
    data: str | None,
) -> tuple[Sweep, Setup]:
    """What is varied, and what all runs share; settings with one value are no axes.

    how: the options that say how it is trained.
    """
    axes = [parse_axis(text) for text in texts]
    names = [axis.name for axis in axes]
    varied = [axis for axis in axes if len(axis.values) != 1]
    for twice in (it for it in names if names.count(it) > 1):
        raise ValueError(f"{twice} is set twice; its values are separated by commas")
    if not varied:
        raise ValueError("a sweep needs a setting with several values, such as --set k=3,5,7")
    if "asha" in how and any(axis.name == "iterations" for axis in varied):
        raise ValueError("--scheduler asha needs runs of one length, so iterations cannot vary")
    fixed = {axis.name: axis.values[0] for axis in axes if axis not in varied}
    toggles = {key: value for key, value in fixed.items() if key in OF_CONFIG}
    shared = [f"{key}={show_setting(it)}" for key, it in fixed.items() if key not in OF_CONFIG]
    setup, row = asked_setup(scale, data, shared), find_base(base)
    row = replace(row, config=with_settings(row.config, setup.recipe, toggles)[0])
    own = [t for t, axis in zip(texts, axes, strict=True) if axis in varied or axis.name in toggles]
    line = ["sweep", "--base", base, *(part for text in own for part in ("--set", text)), *how]
    table, *number = base.rsplit(":", 1)  # "sweep-table3-2-k" from "table3:2" and k
    words = ["sweep", Path(table).stem, *number, *(axis.name for axis in varied)]
    called = name or re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words))
    if called in TABLES | ABLATIONS:
        raise ValueError(f"--name {called} is another table's")
    return Sweep(row, setup.recipe, tuple(varied), called, tuple(line)), setup


def find_base(text: str) -> Row:
    """A detector's name, or a row of a table, such as table3:2 or my_ablation.py:mine."""
    if text in BASES:
        return Row(text, BASES[text])
    if (named := named_row(text)) and named.seed is None:
        return named.row
    names = ", ".join(BASES)
    raise ValueError(f"--base needs one of {names}, or a row such as table3:2, got '{text}'")


def tell_left_out(sweep: Sweep) -> None:
    """The first combinations that no detector can be, each with the reason."""
    left_out = [f"{label}: {reason}" for label, reason in sweep.left_out.items()]
    if (more := len(left_out) - MAX_SHOWN) > 0:
        left_out[MAX_SHOWN:] = [f"{more} more"]
    say(*(f"Left out: {text}" for text in left_out))
