"""From a plan to results: what is missing is trained, all of it is reported and recorded."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from rich.console import Console

from detector.config import Recipe
from experiments.experiment import Run, Table, canonical
from orchestration.plan import Job, Plan, PlannedRun, Setup, make_plan
from orchestration.progress import ENDED, Progress, Status, count
from orchestration.provenance import code_version
from orchestration.resources import RAY_FOLDER, Resources
from orchestration.run_folder import RunFolder, Store
from orchestration.search import Search
from orchestration.terminal import warn

if TYPE_CHECKING:
    from detector.data.coco import DataSet

SLOW = 1.0  # seconds of an own assigner for one image; ours take milliseconds
MADE_UP_BOXES = ((20, 30, 120, 200), (200, 40, 230, 60), (210, 44, 300, 250))


def open_plan(
    setup: Setup, store: Store, tables: Sequence[Table], rows: Sequence[str], seeds: Sequence[int]
) -> tuple[Plan, "DataSet"]:
    """The plan on the data it is for. setup: all but the data's name and fingerprint.

    Rows and settings are checked first: reading a large data set takes a while.
    """
    make_plan(setup, tables, rows=rows, seeds=seeds)
    from detector.data.coco import open_data

    data = open_data(setup.where)
    setup = replace(setup, data=data.name, fingerprint=data.fingerprint)
    plan = make_plan(setup, tables, rows=rows, seeds=seeds)
    missing = plan.missing(store)
    own = {(it.run.config, str(it.run.assigner.identity)): it for it in missing if it.run.assigner}
    warn([remark for it in own.values() for remark in check_assigner(it.run)])
    for part in (data.train, data.val) if missing else ():
        part.check_images()
    return plan, data


def train_missing(
    plan: Plan,
    store: Store,
    data: "DataSet",
    resources: Resources,
    console: Console,
    *,
    asha: Sequence[int] = (),
    search: Search | None = None,
) -> None:
    """Train the runs without a result; those that fail leave the reason in their folders.

    asha: the steps after which runs that are far behind are ended. search: proposes what to train
    instead, as it fits. Raises ValueError for what cannot work, before anything is written down.
    """
    setup, missing = plan.setup, () if search else plan.missing(store, is_asha=bool(asha))
    wanted = search.runs() if search else iter(missing)
    if (first := next(wanted, None)) is None:
        return
    load_weights([run.run.recipe for run in missing or [first]])
    from orchestration.tracking import following, open_tracker
    from orchestration.tune import cluster, halving, run_trials

    progress, folders, facts = Progress({}, console), list[RunFolder](), shared_facts(setup, data)

    def begin(run: PlannedRun) -> Job:
        """A run's job; it is shown and recorded from now on."""
        progress.lines[run.signature] = Status(run.name if len(plan.seeds) > 1 else run.rows[0])
        folders.append(store.folder(run.signature))
        return make_job(run, setup, store, facts, resources.micro_batch_size)

    def tell(signature: str, values: Mapping[str, Any]) -> None:
        progress.update(signature, values)
        if search and values.get("state") in ENDED:
            search.ended(signature)

    with ExitStack() as stack:
        opening = stack.enter_context(ThreadPoolExecutor(1)).submit(open_tracker, store)
        allocation = stack.enter_context(cluster(resources, setup.recipe))
        is_cancelled = stack.enter_context(recorded(store, setup.to_json(), missing, console))
        tracker = opening.result()  # both take seconds, mostly of waiting
        if tracker.problem:
            warn([f"MLflow: {tracker.problem}; training goes on, the records come later"])
        what = "Searching" if search else f"Training {count(len(missing), 'run')}"
        console.print(f"{what}, up to {allocation.at_once} at once, {allocation}")
        going_on = takewhile(lambda _: not is_cancelled(), chain([first], wanted))
        jobs = map(begin, going_on) if search else [begin(run) for run in missing]
        stack.enter_context(following(tracker, folders))
        stack.enter_context(progress)
        run_trials(jobs, allocation, tell, root=store.root, scheduler=halving(asha))


def failures(plan: Plan, store: Store, *, is_asha: bool = False) -> list[str]:
    """One line for each run that has no result; those that somebody cancelled share one."""
    missing = [(run, store.folder(run.signature)) for run in plan.missing(store, is_asha=is_asha)]
    failed = [(run, it.failure() or {}) for run, it in missing if not it.cancellation()]
    lines = [f"{run.name} failed: {why.get('reason', 'ended')}" for run, why in failed]
    if cancelled := len(missing) - len(failed):
        what = count(cancelled, "run")
        lines.append(f"{what} cancelled as asked: the same line goes on, atss status lists them")
    return lines


def load_weights(recipes: Sequence[Recipe]) -> None:
    """Fetch the initial weights once, and refuse here what every trial would fail on."""
    for backbone, norm, weights in dict.fromkeys((r.backbone, r.norm, r.weights) for r in recipes):
        if weights != "none":
            from detector.backbone import build_backbone

            build_backbone(backbone, norm, weights)


def check_assigner(run: Run) -> list[str]:
    """Let a run's own assigner select samples of a made-up image before a launch pays for it.

    What looks wrong although it works. ValueError in one line where it fails or returns what is no
    assignment.
    """
    import torch

    from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
    from detector.assigners import checked
    from experiments.own_tables import load_assigner

    assert run.assigner is not None
    shapes = run.config.anchor_scales, run.config.aspect_ratios
    anchors = grid_anchors(level_sizes(256, 320), [cell_anchors(it, *shapes) for it in STRIDES])
    assign = checked(load_assigner(run.assigner), str(run.assigner))
    begun = time.perf_counter()
    matched = assign(anchors, torch.tensor(MADE_UP_BOXES).float())
    seconds, odd = time.perf_counter() - begun, list[str]()
    if not (matched >= 0).any():
        odd.append(f"gives none of {len(MADE_UP_BOXES)} objects a positive")
    if seconds > SLOW:
        odd.append(f"took {seconds:.1f} s for an image of 256 x 320 pixels")
    return [f"the assigner {run.assigner} {what}" for what in odd]


def make_job(
    run: PlannedRun,
    setup: Setup,
    store: Store,
    shared: Mapping[str, Any],
    micro_batch_size: int | None = None,
) -> Job:
    """All it takes to train a run, whoever does, with the facts that its folder keeps about it.

    shared: of `shared_facts`.
    """
    params = {**asdict(run.run.config), **asdict(run.run.recipe), "seed": run.run.seed}
    params |= {"data": setup.data, "data_fingerprint": setup.fingerprint}
    about = {"signature": run.signature, "name": run.name, "rows": list(run.rows)}
    facts = {**about, "seed": run.run.seed, **shared, "params": params}
    facts["canonical"] = canonical(run.run)
    if own := run.run.assigner:  # whole, so that the run can go on and be understood without a file
        params["assigner"], facts["assigner"] = str(own), asdict(own)
    training, micro = None, micro_batch_size
    if run.training:
        known = {**shared, "setup": setup.as_trained.to_json()}
        training = make_job(run.training, setup.as_trained, store, known, micro)
    path = store.folder(run.signature).path
    return Job(run.run, path, setup.where, facts, micro_batch_size=micro, training=training)


def shared_facts(setup: Setup, data: "DataSet") -> dict[str, Any]:
    """What run.json says of every run of a launch."""
    about_data = {
        "name": setup.data,
        "fingerprint": setup.fingerprint,
        "where": setup.where,
        "images": {"train": len(data.train), "val": len(data.val)},
        "classes": data.train.names,
        "notes": data_notes(data),
    }
    about = {"setup": setup.to_json(), "data": about_data, "code": code_version()}
    return about | {"command": shlex.join(["atss", *sys.argv[1:]])}


def data_notes(data: "DataSet") -> list[str]:
    """What was dropped from the data set: "coco-mini, train: 3 boxes without area dropped"."""
    parts = {", train": data.train.notes, ", val": data.val.notes, "": data.notes}
    return [f"{data.name}{part}: {note}" for part, notes in parts.items() for note in notes]


@contextmanager
def recorded(
    store: Store, setup: Mapping[str, Any], runs: Sequence[PlannedRun], console: Console
) -> Iterator[Callable[[], bool]]:
    """Keep what this process was asked to train, and that it is at it, while the block runs.

    Yields a function: whether the launch was asked to begin no further run. setup: run.json's.
    """
    others = store.going_on()
    for live in (other.live() for other in others):
        who = f"process {live.get('pid')} on {live.get('host')}"
        console.print(f"{who} trains in {store.root}, too: what both want is trained once")
    over = [it.path for it in store.launches() if it not in others]  # this one takes their place
    left = [] if others else store.root.glob(f"{RAY_FOLDER}*")  # by launches that were killed
    for path in (*over, *left):
        shutil.rmtree(path, ignore_errors=True)
    for folder in (store.folder(run.signature) for run in runs):
        damaged = ("run",) if folder.problem("run") else ()
        folder.forget("failure", "cancel", *damaged)  # what became of them before is over
    launch = RunFolder(store.root / "launches" / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}"))
    facts = {
        it.signature: {"name": it.name, "rows": it.rows, "seed": it.run.seed, "setup": setup}
        for it in runs
    }
    with launch.locked():
        launch.heartbeat({})  # which process it is
        launch.write("launch", facts)
        try:
            yield lambda: bool(launch.cancellation())
        finally:
            launch.forget("live", "cancel")
