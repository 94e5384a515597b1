"""Do 95 % intervals hold the truth in 95 % of all cases? A simulation in which it is known.

    python benchmarks/coverage.py [--replicates 400] [--jobs 2] [--judge]

From a made-up population of images (population.py) samples are drawn, and of each the interval is
computed as the reports do, beside other ways to make one of the same draws. What they should hold
is the AP of the whole population. First with one training each, then with several, whose mean over
all trainings is the truth. Every replicate is kept in --work, so that what was ended goes on;
--judge looks at what is there. Writes coverage.json and coverage.md.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pages
import pandas as pd
from numpy.typing import NDArray
from population import Images, detect, make_world
from scipy.special import ndtr, ndtri

from detector.metrics import HEADINGS, Metrics
from reports.coco_bootstrap import Scores, image_weights, metrics_of
from reports.intervals import contrast, difference

POPULATION = 10_000
SKILLS = {"A": 0.3, "B": 0.4}  # B is better, by about 2 AP
OURS = "of the reports"
SEEDS = 24  # trainings of each detector; the truth is their mean
SEED_SPREAD = 0.06  # standard deviation of a class's skill from one training to the next
RESAMPLES, BLOCKS = 400, 20
TAILS = (0.025, 0.975)
NORMAL = 1.96
Draws = NDArray[np.float64]
Interval = tuple[float, float]


# Ways to make an interval, beside that of the reports


@dataclass(frozen=True)
class Sample:
    """One quantity, of a sample of images: its value, bootstrap draws [R], jackknife values [B]."""

    value: float
    draws: Draws
    left_out: Draws

    def minus(self, other: "Sample") -> "Sample":
        return Sample(
            self.value - other.value, self.draws - other.draws, self.left_out - other.left_out
        )


def percentile(sample: Sample) -> Interval:
    """Of the draws as they are (Efron & Tibshirani 1993, ch. 13)."""
    low, high = np.nanquantile(sample.draws, TAILS)
    return low, high


def basic(sample: Sample) -> Interval:
    """The percentiles, reflected at the value (Davison & Hinkley 1997, sec. 5.2)."""
    low, high = percentile(sample)
    return 2 * sample.value - high, 2 * sample.value - low


def centered(sample: Sample) -> Interval:
    """The percentiles, moved so that the draws' mean is the value."""
    low, high = percentile(sample)
    bias = np.nanmean(sample.draws) - sample.value
    return low - bias, high - bias


def normal(sample: Sample) -> Interval:
    """Value and standard error."""
    reach = NORMAL * np.nanstd(sample.draws, ddof=1)
    return sample.value - reach, sample.value + reach


def unbiased(sample: Sample) -> Interval:
    """Standard error, around the value less the bias that the draws show."""
    bias = np.nanmean(sample.draws) - sample.value
    low, high = normal(sample)
    return low - bias, high - bias


def bca(sample: Sample) -> Interval:
    """Bias-corrected and accelerated (Efron 1987); acceleration by a jackknife over blocks."""
    draws = sample.draws[~np.isnan(sample.draws)]
    share = (np.mean(draws < sample.value) + np.mean(draws <= sample.value)) / 2
    bias = ndtri(np.clip(share, 1 / len(draws), 1 - 1 / len(draws)))
    away = np.nanmean(sample.left_out) - sample.left_out
    scale = np.nansum(away**2) ** 1.5
    acceleration = np.nansum(away**3) / (6 * scale) if scale else 0.0
    z = bias + ndtri(np.array(TAILS))
    low, high = np.quantile(draws, ndtr(bias + z / (1 - acceleration * z)))
    return low, high


METHODS: dict[str, Callable[[Sample], Interval]] = {
    method.__name__: method for method in (percentile, basic, centered, normal, unbiased, bca)
}


# The simulation


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


def simulate(setting: Setting, work: Path, replicate: int) -> None:
    """Draw a sample of images and trainings, measure them with all weights, keep the numbers.

    numbers [2, S, 1 + B + R, 6] of both detectors: once, with one of the blocks of images left out,
    resampled; chosen [2, S].
    """
    path = work / setting.name / f"{replicate}.npz"
    if path.exists():
        return
    trainings, _ = population(setting.classes)
    random = np.random.default_rng([setting.classes, setting.images, replicate])
    images = random.integers(0, POPULATION, setting.images)
    chosen = [random.choice(SEEDS, setting.seeds, replace=False) for _ in SKILLS]
    once = np.ones((1, setting.images), dtype=np.uint8)
    kept = np.arange(setting.images) % BLOCKS != np.arange(BLOCKS)[:, None]
    resampled = image_weights(setting.images, RESAMPLES)
    weights = np.concatenate([once, kept.astype(np.uint8), resampled])
    numbers = [
        [metrics_of(group[seed].sample(images), weights) for seed in seeds]
        for group, seeds in zip(trainings.values(), chosen, strict=True)
    ]
    part = path.with_suffix(".part.npz")
    np.savez(part, numbers=np.array(numbers, dtype=np.float32), chosen=np.array(chosen))
    part.replace(path)


class Case(NamedTuple):
    """One interval and what it should hold."""

    quantity: str
    method: str
    metric: str
    low: float
    high: float
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
            yield Case("AP, one training", name, metric, *method(one), true)
            change = method(other.minus(one))
            yield Case("difference, one training", name, metric, *change, other_true - true)
        yield from _of_reports("one training", metric, sides[:, :1], [true, other_true])
        if setting.seeds > 1:
            means = [truth.mean() for truth in truths]
            yield from _of_reports(f"{setting.seeds} trainings", metric, sides, means)


def _of_reports(
    trainings: str, metric: str, sides: NDArray[np.float64], truths: list[float]
) -> Iterator[Case]:
    """What reports show of both detectors, and how it would be with the error of images alone."""
    one, other = (_scores(side) for side in sides)
    for name, found, truth in (
        ("AP", contrast([(1, one)]), truths[0]),
        ("difference", difference(other, one, "ap"), truths[1] - truths[0]),
    ):
        assert found is not None
        quantity = f"{name}, {trainings}"
        if found.seed_error is not None:
            middle, reach = (found.low + found.high) / 2, NORMAL * found.image_error
            yield Case(quantity, "images alone", metric, middle - reach, middle + reach, truth)
        yield Case(quantity, OURS, metric, found.low, found.high, truth)


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
    paths = [work / setting.name / f"{number}.npz" for number in range(replicates)]
    frame = pd.DataFrame(case for path in paths for case in cases(setting, path))
    frame["truth below"] = frame.truth < frame.low
    frame["held"] = ~frame["truth below"] & (frame.truth <= frame.high)
    frame["width"] = frame.high - frame.low
    figures = ["held", "truth below", "width"]
    means = frame.groupby(["quantity", "method", "metric"], sort=False)[figures].mean()
    about = {"classes": setting.classes, "images": setting.images, "samples": replicates}
    return [
        {**about, "quantity": quantity, "method": method, **part.loc[quantity, method].to_dict()}
        for (quantity, method), part in means.groupby(["quantity", "method"], sort=False)
    ]


def markdown(rows: list[dict]) -> str:  # type: ignore[type-arg]
    """The page."""
    headings, cells = list(HEADINGS.values()), []
    columns = ["classes:|images:|samples:|quantity|interval"]
    columns += [f"{name}:" for name in (*headings, "mean", "width")]
    for row in rows:
        held = row["held"]
        name = f"**{OURS}**" if row["method"] == OURS else row["method"]
        line = [row["classes"], f"{row['images']:,}", row["samples"], row["quantity"], name]
        line += [f"{100 * held[name]:.1f}" if name in held else "" for name in headings]
        mean = np.mean(list(held.values()))
        cells.append([*line, f"{100 * mean:.1f}", f"{row['width']['AP']:.2f}"])
    return pages.page(
        "coverage.py",
        "How often 95 % intervals hold the truth",
        f"Samples of images from a made-up population of {POPULATION:,}, {RESAMPLES} resamples of "
        "each; detectors of about 24 AP, two AP apart. The standard error of a share of 95 % is "
        f"{np.sqrt(0.95 * 0.05 / 400):.1%} for 400 samples, {np.sqrt(0.95 * 0.05 / 100):.1%} for "
        "100. In bold: what the reports show.",
        pages.table("|".join(columns), cells),
        "In percent of the samples; width: of the interval of AP, on average, in AP points.",
    )


def main() -> None:
    """Simulate what is missing, judge, print and write the page."""
    kept = Path("results-coverage")
    options = pages.options(__doc__, replicates=400, jobs=2, work=kept, judge=False)
    given = options.parse_args()
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
    pages.write(given.out, "coverage", rows, markdown(rows))


if __name__ == "__main__":
    main()
