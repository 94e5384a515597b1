"""Do intervals find differences where there are none? One configuration, trained with many seeds.

    python benchmarks/aa_control.py [--seeds 12] [--iterations 250] [--out FOLDER]
    python benchmarks/aa_control.py --tables 300

Its trainings are split at random into two groups of as many seeds, which are compared as two rows
of a table are: a 95 % interval of their difference should miss zero in 5 % of all splits. Goes on
where it was ended. Writes aa_control.json and aa_control.md.

--tables simulates tables of equal rows instead, and prints in how many of them some row is called
worse than the highest: one by one, and with all rows looked at at once.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev

import numpy as np
import pages

from detector.metrics import HEADINGS, Metrics
from orchestration.results import inspect
from orchestration.run_folder import open_store
from reports.coco_bootstrap import Scores
from reports.intervals import LEVEL, Estimate, difference, told_apart

TABLE, ROW = "table3", 2  # RetinaNet (#A=1) + ATSS, at demo scale
GROUPS = (1, 2, 3, 5)  # seeds of a group
SPLITS = 400  # at most, of so many seeds


def train(num_seeds: int, iterations: int, out: Path) -> str:
    """Whatever is missing; returns the command."""
    seeds = ",".join(map(str, range(num_seeds)))
    words = ["reproduce", TABLE, "--rows", str(ROW), "--seeds", seeds]
    words += ["--set", f"iterations={iterations}"]
    environment = os.environ | {"PYTHONPATH": str(pages.HERE.parent)}
    command = [sys.executable, "-m", "orchestration.cli", *words, "--out", str(out)]
    subprocess.run(command, env=environment, check=True)
    return f"atss {' '.join(words)}"


def measured(out: Path) -> list[Scores]:
    """The scores of all runs of a results folder, by seed."""
    done = [folder for folder in open_store(out).folders() if folder.is_done]
    found = inspect(done, print)
    if found.reasons:
        sys.exit("\n".join(found.reasons))
    return sorted(found.scores.values(), key=lambda run: run.seed)


def splits(num_seeds: int, size: int) -> list[tuple[list[int], list[int]]]:
    """Pairs of groups without a seed in common, all different, at random."""
    random = np.random.default_rng(size)
    found = {}
    for _ in range(20 * SPLITS):
        picked = random.permutation(num_seeds)[: 2 * size].tolist()
        groups = sorted((sorted(picked[:size]), sorted(picked[size:])))
        found[str(groups)] = (groups[0], groups[1])
    return list(found.values())[:SPLITS]


def of_images_alone(estimate: Estimate) -> Estimate:
    """As if its seeds were all there are."""
    middle = (estimate.low + estimate.high) / 2
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * estimate.image_error
    return replace(estimate, low=middle - reach, high=middle + reach)


def missing_zero(runs: Sequence[Scores], size: int) -> dict[str, dict[str, float]]:
    """Kind of interval -> metric -> share of the splits in which it misses zero."""
    shares: dict[str, dict[str, float]] = {"images alone": {}, "images and seeds": {}}
    chosen = [
        [[runs[it] for it in group] for group in groups] for groups in splits(len(runs), size)
    ]
    for metric in HEADINGS:
        found = [it for groups in chosen if (it := difference(*groups, metric))]
        kinds = {"images alone": [of_images_alone(it) for it in found]}
        kinds |= {"images and seeds": found} if size > 1 else {}
        for name, estimates in kinds.items() if found else ():
            shares[name][metric] = fmean(it.excludes_zero for it in estimates)
    return {name: by_metric for name, by_metric in shares.items() if by_metric}


def markdown(result: dict, command: str) -> str:  # type: ignore[type-arg]
    """The page."""
    ap, rows = result["AP"], []
    for size, shares in result["groups"].items():
        for name, by_metric in shares.items():
            cells = [f"{by_metric[it]:.1%}" if it in by_metric else "" for it in HEADINGS]
            number = len(splits(len(ap), int(size)))
            mean = f"{fmean(by_metric.values()):.1%}"
            rows.append([f"{size} and {size}", number, name, *cells, mean])
    columns = ["seeds|splits:|interval of", *(f"{name}:" for name in HEADINGS.values()), "mean:"]
    return pages.page(
        "aa_control.py",
        "Intervals of differences that are none",
        f"`{command}`: {len(ap)} seeds, {result['images']} images to test on, AP {fmean(ap):.1f} "
        f"± {stdev(ap):.1f} (standard deviation of one run). Splits into two groups, and how often "
        f"a {LEVEL:.0%} interval of their difference misses zero; nominal {1 - LEVEL:.0%}.",
        pages.table("|".join(columns), rows),
        "Splits share seeds, so these shares are far less certain than their number suggests.",
    )


def simulated_rows(
    random: np.random.Generator, num_seeds: int, of_seeds: float, num_rows: int = 9
) -> list[list[Scores]]:
    """Rows of equal true APs on 300 images: what an image is worth is shared, and own noise."""
    images, resamples = 300, 1000
    weights = random.multinomial(images, [1 / images] * images, size=resamples).T / images
    shared = random.normal(40, 20, images)

    def run(row: int, seed: int) -> Scores:
        values = shared + random.normal(0, 10, images) + random.normal(0, of_seeds)
        return Scores(
            signature=f"{row}-{seed}",
            seed=seed,
            metrics=Metrics(ap=float(values.mean())),
            draws=(values @ weights)[:, None],
            images="simulated",
            num_images=images,
        )

    return [[run(row, seed) for seed in range(num_seeds)] for row in range(num_rows)]


def one_by_one(rows: Sequence[Sequence[Scores]]) -> bool:
    """Whether the highest row is told apart from any other, each looked at alone."""
    top = max(rows, key=lambda row: fmean(run.metrics.ap or 0.0 for run in row))
    found = [difference(top, row, "ap") for row in rows if row is not top]
    return any(it is not None and it.excludes_zero for it in found)


def rates_of_tables(number: int) -> str:
    """A table: in how many tables of equal rows some row is called worse."""
    lines = []
    for num_seeds, of_seeds in ((1, 0.0), (2, 2.0), (3, 0.5), (3, 2.0), (5, 2.0)):
        random = np.random.default_rng(num_seeds)
        tables = [simulated_rows(random, num_seeds, of_seeds) for _ in range(number)]
        alone = fmean(one_by_one(rows) for rows in tables)
        at_once = fmean(any(told_apart(rows, "ap")) for rows in tables)
        lines.append([num_seeds, f"{of_seeds:g} AP", f"{alone:.0%}", f"{at_once:.0%}"])
    return pages.table("seeds:|they differ by:|one by one:|all at once:", lines)


def main() -> None:
    """Train, split, print and write the page."""
    folders = {"out": Path("results-aa"), "pages": pages.HERE}
    options = pages.options(__doc__, seeds=12, iterations=250, tables=0, **folders)
    given = options.parse_args()
    if given.tables:
        print(rates_of_tables(given.tables))
        return
    out = given.out / str(given.iterations)
    command = train(given.seeds, given.iterations, out)
    runs = measured(out)[: given.seeds]
    sizes = [size for size in GROUPS if 2 * size <= len(runs)]
    result = {
        "images": runs[0].num_images,
        "AP": [run.metrics.ap for run in runs],
        "groups": {str(size): missing_zero(runs, size) for size in sizes},
    }
    pages.write(given.pages, "aa_control", result, markdown(result, command))


if __name__ == "__main__":
    main()
