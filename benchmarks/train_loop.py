"""How many images a second does the training loop take, input included, as the command runs it?

    python benchmarks/train_loop.py [--steps 60] [--workers 14] [--compiled yes no] [--device cuda]
    python benchmarks/train_loop.py --made-up --theirs [--profile]    # one batch of 800 x 1344

The paper's ATSS with its backbone (of random weights) and its batch of 16 images, 800 pixels on the
short side, bf16, from files that workers decode and resize: photographs with --data FOLDER. Each
way of running is timed by itself, its first steps (and compiling) apart. With --made-up the batch
is the same in every step, and --theirs takes the same steps of torchvision's FCOS, channels last.
--profile writes what the last steps launched. Writes train_loop.json and prints a line for each.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice, pairwise, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import pages
import torch
from side_by_side import DEVICES
from stages import Setting
from torch.profiler import profile
from torchvision.models import resnet50
from training_step import build, case_of, optimizer_of, step

from detector.config import Recipe
from detector.data.batches import batches
from detector.data.coco import open_data
from detector.training import assemble, train
from experiments.baselines import ATSS

FIRST = 10  # steps that find algorithms, fill queues and compile


def measure(recipe: Recipe, given: argparse.Namespace) -> dict[str, object]:
    """Images per second, milliseconds of a step, and seconds until the first steps were over."""
    data = open_data(given.data).train
    detector, optimizer = assemble(ATSS, recipe, len(data.names), seed=0, device=given.device)
    images = batches(data, recipe, seed=0, workers=given.workers, device=given.device)
    if given.made_up:
        case = case_of(Setting("bf16", channels_last=True), given)
        targets = [it | {"labels": it["labels"] % len(data.names)} for it in case.targets]
        images = repeat((case.images, targets))
    pixels = list[int]()
    watched = (pixels.append(batch[0][0, 0].numel()) or batch for batch in images)
    steps = train(detector, optimizer, watched, recipe)
    found = {"compiled": recipe.compiled, **timed(steps, recipe.batch_size, given)}
    return found | {"pixels per image": statistics.fmean(pixels[FIRST:])}


def measure_theirs(is_compiled: bool, given: argparse.Namespace) -> dict[str, object]:
    """The same of torchvision's FCOS on the batch that is made up."""
    setting = Setting("bf16", channels_last=True, compiled=is_compiled)
    model, case = build("torchvision FCOS", setting, given.device), case_of(setting, given)
    optimizer = optimizer_of(model)
    steps = (step(model, optimizer, case) for _ in count())
    name = "torchvision " + ("yes" if is_compiled else "no")
    return {"compiled": name, **timed(steps, given.batch_size, given)}


def timed(steps: Iterator[object], batch_size: int, given: argparse.Namespace) -> dict[str, object]:
    """Take steps, and say what they took."""
    stamps = [time.perf_counter()]
    for _ in islice(steps, FIRST + given.steps):
        stamps.append(time.perf_counter())  # the loss has been read, so the step is there
    times = [after - before for before, after in pairwise(stamps)][FIRST:]
    if given.profile:
        with profile() as found:
            list(islice(steps, 2))
        table = found.key_averages().table(sort_by="self_device_time_total", row_limit=60)
        (given.out / f"profile_{time.monotonic():.0f}.txt").write_text(table)
    return {
        "images per second": batch_size * len(times) / sum(times),
        "ms per step": 1000 * statistics.median(times),
        "seconds of the first steps": stamps[FIRST] - stamps[0],
        "GiB": torch.cuda.max_memory_allocated() / 2**30 if given.device == "cuda" else None,
    }


def main() -> None:
    """Measure each way, print and write."""
    sizes = {"steps": 60, "workers": 14, "batch_size": 16, "short_side": 800}
    ways = {"made_up": False, "theirs": False, "profile": False, "compiled": ["no", "yes"]}
    options = pages.options(__doc__, device=DEVICES, data="shapes", **sizes, **ways)
    given = options.parse_args()
    given.batch, given.height = given.batch_size, given.short_side
    given.width = given.short_side * 1344 // 800
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "resnet50.pth"
        torch.save(resnet50().state_dict(), weights)
        usual = Recipe(
            weights=str(weights), precision="bf16", learning_rate=1e-6,
            batch_size=given.batch_size, short_side=(given.short_side,) * 2,
        )  # fmt: skip
        found = [measure(replace(usual, compiled=how), given) for how in given.compiled]
    if given.theirs:
        found += [measure_theirs(how == "yes", given) for how in given.compiled]
    about = {"where": pages.machine(given.device), "steps": given.steps}
    pages.write_json(given.out, "train_loop", about | {"ways": found})
    for it in found:
        print(", ".join(f"{name} {value}" for name, value in it.items()))


if __name__ == "__main__":
    main()
