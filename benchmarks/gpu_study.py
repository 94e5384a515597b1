"""Tables on one GPU without Ray: several runs at once, within a time, their folders as usual.

    python benchmarks/gpu_study.py table2 table3 --scale scratch --data shapes-large
        --seeds 0,1,2 --set iterations=1000 --at-once 7 --limit-minutes 6 --out results-gpu

What Ray and MLflow do beside training is left out: a host with PyTorch and pycocotools will do.
A run that is done is skipped, one that was cut off goes on from its checkpoint when the same line
is given again. `atss report table2 table3 --out results-gpu` prints the tables; for that a run
needs neither its weights nor its detections, which --bare removes. --workers load a run's images.
"""

import os
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context

import pages

from orchestration.launch import make_job, open_plan, shared_facts
from orchestration.options import parse_seeds
from orchestration.plan import Job, asked_setup, find_tables
from orchestration.run_folder import open_store

NEEDED_ONCE = ("weights.safetensors", "detections.json")


def train(job: Job) -> str:
    """One run from its last checkpoint to its result, in a process of the pool."""
    from orchestration.trial import run_trial

    begun = time.monotonic()
    last: dict[str, object] = {}
    run_trial(job, last.update)
    told = f"AP {last['AP']:.2f}" if last.get("AP") is not None else last.get("reason", "")
    return f"{job.facts['name']}: {last.get('state')}, {told}, {time.monotonic() - begun:.0f} s"


def main() -> None:
    """Train, seed by seed, as long as the time lasts."""
    defaults = {"out": "results-gpu", "scale": "scratch", "data": "shapes-large", "device": "cuda"}
    numbers = {"at_once": 1, "workers": 1, "limit_minutes": 1e9}
    options = pages.options(__doc__, **defaults, **numbers, bare=False)
    options.add_argument("tables", nargs="+")
    options.add_argument("--seeds", type=parse_seeds, default=[0])
    options.add_argument("--set", dest="settings", action="append", default=[])
    given = options.parse_args()
    store = open_store(given.out)
    setup = asked_setup(given.scale, given.data, given.settings)
    plan, data = open_plan(setup, store, find_tables(given.tables), [], given.seeds)
    runs = sorted(plan.missing(store), key=lambda run: run.run.seed)  # whole seeds first
    facts = shared_facts(plan.setup, data)
    jobs = [
        replace(make_job(run, plan.setup, store, facts), device=given.device, workers=given.workers)
        for run in runs
    ]
    print(f"{len(plan.runs)} runs, {len(jobs)} to train, {given.at_once} at once", flush=True)
    is_whole = _train_all(jobs, given.at_once, 60 * given.limit_minutes)
    for folder in store.folders() if given.bare else ():
        for name in NEEDED_ONCE if folder.is_done else ():
            (folder.path / name).unlink(missing_ok=True)
    print("all done" if is_whole else "the time is over", flush=True)
    os._exit(0)  # without waiting for what was cut off


def _train_all(jobs: list[Job], at_once: int, seconds: float) -> bool:
    """Whether all ended in time; what has not is killed, its folder keeps the last checkpoint."""
    ends = time.monotonic() + seconds
    pool = ProcessPoolExecutor(at_once, mp_context=get_context("spawn"))
    waiting = {pool.submit(train, job) for job in jobs}
    while waiting and (left := ends - time.monotonic()) > 0:
        done, waiting = wait(waiting, timeout=left, return_when=FIRST_COMPLETED)
        for future in done:
            print(future.result(), flush=True)
    for process in (pool._processes or {}).values() if waiting else ():
        process.kill()
    return not waiting


if __name__ == "__main__":
    main()
