"""Do 95 % intervals hold the truth in 95 % of all cases? A simulation in which it is known.

    python benchmarks/coverage.py [--replicates 400] [--jobs 2]

From a made-up population of images (population.py) samples are drawn, and of each the interval is
computed as the reports do, beside other ways to make one of the same draws. What they should hold
is the AP of the whole population. First with one training each, then with several, whose mean over
all trainings is the truth. Every replicate is kept in --work, so that what was ended goes on.
Writes coverage.json and coverage.md.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
from intervals import METHODS, NORMAL, Draws, Interval, Sample
from numpy.typing import NDArray
from population import Images, detect, make_world

from detector.metrics import HEADINGS, Metrics
from reports.coco_bootstrap import Scores, image_weights, metrics_of
from reports.intervals import contrast, difference

HERE = Path(__file__).parent
POPULATION = 10_000
SKILLS = {"A": 0.3, "B": 0.4}  # B is better, by about 2 AP
OURS = "of the reports"
SEEDS = 24  # trainings of each detector; the truth is their mean
SEED_SPREAD = 0.06  # standard deviation of a class's skill from one training to the next
RESAMPLES, BLOCKS = 400, 20


@dataclass(frozen=True)
class Setting:
    """So many classes, images in a sample, and trainings of each detector."""

    classes: int
    images: int
    seeds: int

    @property
    def name(self) -> str:
        return f"{self.classes}-{self.images}-{self.seeds}"


@cache
def population(classes: int) -> tuple[dict[str, list[Images]], dict[str, Draws]]:
    """Every training of both detectors, tested on all images, and its six numbers [SEEDS, 6]."""
    random = np.random.default_rng(classes)
    world = make_world(POPULATION, classes, random)
    everything = np.ones((1, POPULATION), dtype=np.uint8)
    trainings: dict[str, list[Images]] = {}
    for name, skill in SKILLS.items():
        skills = skill + SEED_SPREAD * random.normal(size=(SEEDS, classes))
        trainings[name] = [Images(detect(world, skill, random)) for skill in skills]
    numbers = {
        name: np.concatenate([metrics_of(images.matches, everything) for images in group])
        for name, group in trainings.items()
    }
    return trainings, numbers


SETTINGS = (Setting(8, 100, 3), Setting(8, 300, 3), Setting(8, 1000, 1), Setting(40, 300, 1))


def blocks(num_images: int, count: int = BLOCKS) -> NDArray[np.uint8]:
    """[B, I]: each leaves one block of the images out."""
    block = np.arange(num_images) % count
    return (block != np.arange(count)[:, None]).astype(np.uint8)


def simulate(setting: Setting, work: Path, replicate: int) -> None:
    """Draw a sample of images and trainings, measure them with all weights, keep the numbers.

    numbers [2, S, 1 + B + R, 6] of both detectors: once, blocks left out, resampled; chosen [2, S].
    """
    path = work / setting.name / f"{replicate}.npz"
    if path.exists():
        return
    trainings, _ = population(setting.classes)
    random = np.random.default_rng([setting.classes, setting.images, replicate])
    images = random.integers(0, POPULATION, setting.images)
    chosen = [random.choice(SEEDS, setting.seeds, replace=False) for _ in SKILLS]
    once = np.ones((1, setting.images), dtype=np.uint8)
    weights = np.concatenate(
        [once, blocks(setting.images), image_weights(setting.images, RESAMPLES)]
    )
    numbers = [
        [metrics_of(group[seed].sample(images), weights) for seed in seeds]
        for group, seeds in zip(trainings.values(), chosen, strict=True)
    ]
    part = path.with_suffix(".part.npz")
    np.savez(part, numbers=np.array(numbers, dtype=np.float32), chosen=np.array(chosen))
    part.replace(path)


@dataclass(frozen=True)
class Case:
    """One interval and what it should hold."""

    quantity: str
    method: str
    metric: str
    ends: Interval
    truth: float


def cases(setting: Setting, path: Path) -> Iterator[Case]:
    """All intervals of one replicate; none where a number is undefined."""
    _, numbers = population(setting.classes)
    content = np.load(path)
    measured, chosen = content["numbers"].astype(np.float64), content["chosen"]
    for column, metric in enumerate(HEADINGS.values()):
        sides = measured[..., column]  # [2, S, 1 + B + R]
        if np.isnan(sides[:, :, 0]).any():
            continue
        truths = [numbers[name][:, column] for name in SKILLS]
        one, other = (
            Sample(side[0, 0], side[0, 1 + BLOCKS :], side[0, 1 : 1 + BLOCKS]) for side in sides
        )
        true, other_true = (truth[seeds[0]] for truth, seeds in zip(truths, chosen, strict=True))
        for name, method in METHODS.items():
            yield Case("AP, one training", name, metric, method(one), true)
            change = method(other.minus(one))
            yield Case("difference, one training", name, metric, change, other_true - true)
        yield from _of_reports("one training", metric, sides[:, :1], [true, other_true])
        if setting.seeds > 1:
            means = [truth.mean() for truth in truths]
            yield from _of_reports(f"{setting.seeds} trainings", metric, sides, means)


def _of_reports(
    trainings: str, metric: str, sides: NDArray[np.float64], truths: list[float]
) -> Iterator[Case]:
    """What reports show of both detectors, and how it would be with the error of images alone."""
    one, other = (_scores(side) for side in sides)
    quantities = {
        "AP": (contrast([(1, one)]), truths[0]),
        "difference": (difference(other, one, "ap"), truths[1] - truths[0]),
    }
    for name, (found, truth) in quantities.items():
        assert found is not None
        quantity, ends = f"{name}, {trainings}", (found.low, found.high)
        if found.seed_error is not None:
            middle, reach = (found.low + found.high) / 2, NORMAL * found.image_error
            alone = (middle - reach, middle + reach)
            yield Case(quantity, "images alone", metric, alone, truth)
        yield Case(quantity, OURS, metric, ends, truth)


def _scores(side: NDArray[np.float64]) -> list[Scores]:
    """[S, 1 + B + R] of one metric -> as the reports have it."""
    return [
        Scores(
            signature="",
            seed=seed,
            metrics=Metrics(ap=float(row[0])),
            draws=np.repeat(row[1 + BLOCKS :, None], len(HEADINGS), axis=1),
            images="",
            num_images=0,
        )
        for seed, row in enumerate(side)
    ]


def judged(setting: Setting, work: Path, replicates: int) -> list[dict[str, object]]:
    """A row for each quantity and way to make its interval."""
    groups: dict[tuple[str, str], dict[str, list[Case]]] = {}
    for number in range(replicates):
        for case in cases(setting, work / setting.name / f"{number}.npz"):
            by_metric = groups.setdefault((case.quantity, case.method), {})
            by_metric.setdefault(case.metric, []).append(case)
    rows = []
    for (quantity, method), by_metric in groups.items():
        held, low, width = {}, {}, {}
        for metric, found in by_metric.items():
            ends = np.array([case.ends for case in found])
            truth = np.array([case.truth for case in found])
            held[metric] = float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))
            low[metric] = float(np.mean(truth < ends[:, 0]))
            width[metric] = float(np.mean(ends[:, 1] - ends[:, 0]))
        rows.append(
            {
                "classes": setting.classes,
                "images": setting.images,
                "samples": replicates,
                "quantity": quantity,
                "method": method,
                "held": held,
                "truth below": low,
                "width": width,
            }
        )
    return rows


def markdown(rows: list[dict]) -> str:  # type: ignore[type-arg]
    """The page."""
    headings = list(HEADINGS.values())
    lines = [
        "# How often 95 % intervals hold the truth",
        "",
        f"Samples of images from a made-up population of {POPULATION:,}, {RESAMPLES} resamples of "
        "each; detectors of about 24 AP, two AP apart. The standard error of a share of 95 % is "
        f"{np.sqrt(0.95 * 0.05 / 400):.1%} for 400 samples, {np.sqrt(0.95 * 0.05 / 100):.1%} for "
        "100. In bold: what the reports show.",
        "",
        "| classes | images | samples | quantity | interval | "
        + " | ".join([*headings, "mean", "width"])
        + " |",
        "|-:|-:|-:|-|-|" + "-:|" * (len(headings) + 2),
    ]
    for row in rows:
        held = row["held"]
        cells = [f"{100 * held[name]:.1f}" if name in held else "" for name in headings]
        cells += [f"{100 * np.mean(list(held.values())):.1f}", f"{row['width']['AP']:.2f}"]
        name = f"**{OURS}**" if row["method"] == OURS else row["method"]
        sizes = f"{row['classes']} | {row['images']:,} | {row['samples']}"
        what = f"{sizes} | {row['quantity']} | {name}"
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    notes = ["In percent of the samples; width: of the interval of AP, on average, in AP points."]
    return "\n".join([*lines, "", *notes, "", "`python benchmarks/coverage.py`", ""])


def main() -> None:
    """Simulate what is missing, judge, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("results-coverage"))
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--judge", action="store_true", help="judge what is there")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    for setting in SETTINGS:
        folder = given.work / setting.name
        folder.mkdir(parents=True, exist_ok=True)
        population(setting.classes)  # before the processes part, so that they share it
        if not given.judge:
            with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("fork")) as pool:
                work = partial(simulate, setting, given.work)
                list(pool.map(work, range(given.replicates)))
        there = (number for number in count() if not (folder / f"{number}.npz").exists())
        rows += judged(setting, given.work, min(given.replicates, next(there)))
        print(f"{setting.name}: done", flush=True)
    page = markdown(rows)
    (given.out / "coverage.json").write_text(json.dumps(rows, indent=1) + "\n")
    (given.out / "coverage.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
