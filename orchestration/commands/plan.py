"""`atss plan`: what would be trained, in which order, and what that costs."""

import platform
import shutil
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from detector.config import Recipe
from orchestration import options, views
from orchestration.launch import asked_setup, load_weights, open_plan
from orchestration.options import parse_rows, parse_seeds
from orchestration.plan import Plan, find_tables
from orchestration.progress import Progress, duration
from orchestration.resources import Resources, share_out
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.terminal import Stopped, console

if TYPE_CHECKING:
    from orchestration.cost import Cost

UNITS = ("B", "kB", "MB", "GB", "TB")
UNKNOWN = "Time: unknown yet, atss plan measures it"


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

    The time of a run is that of finished runs of the same schedule, or measured in less than a
    minute on the machines that would train, as many at once as there.

    Examples:

    - `atss plan all`
    - `atss plan table3 --scale paper --data coco2017 --gpus-per-run 8 --address auto`
    """
    chosen, setup = find_tables(tables), asked_setup(scale, data, settings)
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    store = open_store(out)
    found, data_set = open_plan(setup, store, chosen, parse_rows(rows or []), parse_seeds(seeds))
    store.require_writable()
    try:
        show(found, store, resources, len(data_set.val), is_measured=True)
    except KeyboardInterrupt:
        raise Stopped("nothing was trained") from None


def show(
    plan: Plan, store: Store, resources: Resources, num_images: int, *, is_measured: bool
) -> None:
    """Print a plan and its cost; is_measured: a pace that is not known may be measured.

    num_images: of the validation set.
    """
    from orchestration.cost import PACES

    is_known = any(folder.is_done for folder in store.folders()) or (store.root / PACES).exists()
    if not plan.missing(store) or not (is_measured or is_known):
        console.print(views.show_plan(plan, store))
        return
    found = _cost(plan, store, resources, num_images, is_measured=is_measured)
    seconds = {name: duration(value) for name, value in found[0].seconds.items()} if found else {}
    console.print(views.show_plan(plan, store, seconds))
    console.print(_summary(*found, plan, store) if found else UNKNOWN)


def _cost(
    plan: Plan, store: Store, resources: Resources, num_images: int, *, is_measured: bool
) -> tuple["Cost", int] | None:
    """What the missing runs cost, and how many of them train at once; None if that is unknown."""
    from orchestration import cost
    from orchestration.calibrate import calibrate
    from orchestration.tune import cluster, run_trials

    recipe = plan.setup.recipe
    with cluster(resources.address, threads=recipe.threads) as nodes:
        share = share_out(nodes, resources, threads=recipe.threads, batch_size=recipe.batch_size)
        missing = len(plan.missing(store))
        at_once = min(share.at_once, resources.concurrent or share.at_once, missing)
        key = cost.pace_key(plan, share, at_once, resources.address or platform.node())
        pace = cost.known_pace(plan, store, share, key)
        if pace is None and is_measured:
            load_weights([run.run.recipe for run in plan.missing(store)])
            jobs = cost.calibration_jobs(plan, store, key, at_once)
            begun = time.monotonic()
            console.print(f"Measuring the time of a run, {at_once} at once: about a minute")
            unseen = Progress({job.folder.name: "" for job in jobs}, Console(quiet=True))
            run_trials(jobs, share, unseen, storage=store.root / ".ray-plan", work=calibrate)
            cost.keep_pace(jobs, time.monotonic() - begun)
            pace = cost.known_pace(plan, store, share, key)
        if pace is None:
            return None
        return cost.cost(plan, store, pace, share, at_once, num_images), at_once


def _summary(found: "Cost", at_once: int, plan: Plan, store: Store) -> RenderableType:
    runs = len(found.seconds)
    each = duration(sum(found.seconds.values()) / runs)
    lines = [
        f"Time: {each} a run ({found.source}), {at_once} at once: {duration(found.wall_seconds)} "
        f"in all, {found.device_hours:.1f} {found.device} hours",
        f"Disk: {size(found.peak_bytes)} at most, {size(found.final_bytes)} when all is done",
    ]
    recipes = [run.run.recipe for run in plan.missing(store)]
    names = [item.name for item in fields(Recipe)]
    varied = [name for name in names if len({getattr(it, name) for it in recipes}) > 1]
    if varied:
        of = plan.runs[0].rows[0]
        lines.append(f"The pace is that of {of}: for another {', '.join(varied)} it is a guess")
    free = shutil.disk_usage(_existing(store.root)).free
    if free < found.peak_bytes:
        lines.append(f"Too little: {store.root} has {size(free)} left")
    return Group(*map(Text, lines))


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def size(count: int) -> str:
    """1500000 -> "1.5 MB"."""
    power = max(0, min(len(UNITS) - 1, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:.3g} {UNITS[power]}"
