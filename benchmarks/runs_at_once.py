"""How many steps a second does one GPU do for one, two, four or seven small runs at once?

    python benchmarks/runs_at_once.py [--counts 1 2 4 7] [--seconds 8] [--scale scratch]

Every run is a process of its own with the product's own batches and training loop; ATSS. All
processes are started and warmed up first, then so many of them at a time train for some seconds.
With NVIDIA's Multi-Process Service on the host (`nvidia-cuda-mps-control -d`) kernels of several
processes run side by side; without it the GPU is given to one process after the other. Writes
runs_at_once.json (under --name) and prints a table.
"""

import argparse
import time
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pages
import torch
from side_by_side import DEVICES


def run(index: int, given: argparse.Namespace, gate: Any, steps: Any) -> None:
    """One run: waits at the gate before and after each count, trains where it takes part."""
    from detector.data.batches import batches
    from detector.data.coco import open_data
    from detector.training import assemble, train
    from experiments.baselines import ATSS
    from experiments.schedules import SCALES

    torch.set_num_threads(1)
    how = {"precision": given.precision, "compiled": given.compiled}
    recipe, data = replace(SCALES[given.scale], **how), open_data(given.data).train
    detector, optimizer = assemble(ATSS, recipe, len(data.names), seed=index, device=given.device)
    images = batches(data, recipe, seed=index, workers=given.workers, device=given.device)
    training = train(detector, optimizer, images, recipe)
    for _ in range(given.warm):
        next(training)
    for place, count in enumerate(given.counts):
        gate.wait()
        ends = time.monotonic() + given.seconds
        while index < count and time.monotonic() < ends:
            next(training)
            steps[place * given.most + index] += 1
        gate.wait()


def main() -> None:
    """Measure every count, print and write."""
    run_by = {"scale": "scratch", "data": "shapes-large", "workers": 1, "warm": 10}
    run_by |= {"precision": ("fp32", "bf16"), "compiled": ("no", "yes"), "device": DEVICES}
    about = {"counts": [1, 2, 4, 7], "seconds": 8.0, "name": "runs_at_once"}
    given = pages.options(__doc__, **about, **run_by).parse_args()
    given.most = max(given.counts)
    context = get_context("spawn")
    gate = context.Barrier(given.most, timeout=240)
    steps = context.Array("i", given.most * len(given.counts))
    processes = [
        context.Process(target=run, args=(index, given, gate, steps)) for index in range(given.most)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a run failed; see above")
    where = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    parts = [steps[i : i + given.most] for i in range(0, len(steps), given.most)]
    rates = [sum(part) / given.seconds for part in parts]
    both = list(zip(given.counts, rates, strict=True))
    rows = [{"runs": count, "steps per second": rate} for count, rate in both]
    how = {name: getattr(given, name) for name in ("scale", "precision", "compiled", "workers")}
    pages.write_json(given.out, given.name, {"where": where, **how, "rows": rows})
    table = pages.table("runs at once:|steps/s:", [(count, f"{rate:.1f}") for count, rate in both])
    print(f"{where}, {', '.join(map(str, how.values()))}\n\n{table}")


if __name__ == "__main__":
    main()
