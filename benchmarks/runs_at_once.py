"""How many steps a second does one GPU do for one, two, four or seven small runs at once?

    python benchmarks/runs_at_once.py [--counts 1 2 4 7] [--seconds 8] [--scale scratch]

Every run is a process of its own with the product's own batches and training loop; ATSS. All
processes are started and warmed up first, then so many of them at a time train for some seconds.
With NVIDIA's Multi-Process Service on the host (`nvidia-cuda-mps-control -d`) kernels of several
processes run side by side; without it the GPU is given to one process after the other. Writes
runs_at_once.json (under --name) and prints a table.
"""

import argparse
import json
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2, 4, 7])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--scale", default="scratch")
    parser.add_argument("--data", default="shapes-large")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compiled", choices=["no", "yes"], default="no")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--warm", type=int, default=10)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--name", default="runs_at_once")
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
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
    rows = [
        {"runs": count, "steps per second": sum(parts) / given.seconds}
        for place, count in enumerate(given.counts)
        for parts in [steps[place * given.most : (place + 1) * given.most]]
    ]
    how = {name: getattr(given, name) for name in ("scale", "precision", "compiled", "workers")}
    content = {"where": where, **how, "rows": rows}
    (given.out / f"{given.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{where}, {', '.join(map(str, how.values()))}\n\n| runs at once | steps/s |")
    print("|-:|-:|")
    for row in rows:
        print(f"| {row['runs']} | {row['steps per second']:.1f} |")


if __name__ == "__main__":
    main()
