"""Do intervals find differences where there are none? One configuration, trained with many seeds.

    python benchmarks/aa_control.py [--seeds 12] [--iterations 250] [--out FOLDER]
    python benchmarks/aa_control.py --tables 300

Its trainings are split at random into two groups of as many seeds, which are compared as two rows
of a table are: a 95 % interval of their difference should miss zero in 5 % of all splits. Goes on
where it was ended. Writes aa_control.json and aa_control.md.

--tables simulates tables of equal rows instead, and prints in how many of them some row is called
worse than the highest: one by one, and with all rows looked at at once.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev

import numpy as np

from detector.metrics import HEADINGS, Metrics
from orchestration.inspection import inspect
from orchestration.run_folder import open_store
from reports.coco_bootstrap import Scores
from reports.intervals import LEVEL, Estimate, difference, told_apart

HERE = Path(__file__).parent
TABLE, ROW = "table3", 2  # RetinaNet (#A=1) + ATSS, at demo scale
GROUPS = (1, 2, 3, 5)  # seeds of a group
SPLITS = 400  # at most, of so many seeds


def train(num_seeds: int, iterations: int, out: Path) -> str:
    """Whatever is missing; returns the command."""
    seeds = ",".join(map(str, range(num_seeds)))
    words = ["reproduce", TABLE, "--rows", str(ROW), "--seeds", seeds]
    words += ["--set", f"iterations={iterations}"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
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


@dataclass
class Tally:
    """How many intervals of how many miss zero."""

    missed: int = 0
    total: int = 0

    def add(self, estimate: Estimate) -> None:
        self.total += 1
        self.missed += estimate.excludes_zero

    @property
    def share(self) -> float:
        return self.missed / self.total if self.total else float("nan")


def of_images_alone(estimate: Estimate) -> Estimate:
    """As if its seeds were all there are."""
    middle = (estimate.low + estimate.high) / 2
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * estimate.image_error
    return replace(estimate, low=middle - reach, high=middle + reach)


def tally(runs: Sequence[Scores], size: int) -> dict[str, dict[str, float]]:
    """Kind of interval -> metric -> share of the splits in which it misses zero."""
    shares: dict[str, dict[str, float]] = {}
    chosen = splits(len(runs), size)
    for metric in HEADINGS:
        tallies = {"images alone": Tally(), "images and seeds": Tally()}
        for one, other in chosen:
            found = difference([runs[it] for it in one], [runs[it] for it in other], metric)
            if found is None:
                continue
            tallies["images alone"].add(of_images_alone(found))
            if size > 1:
                tallies["images and seeds"].add(found)
        for name, it in tallies.items():
            if it.total:
                shares.setdefault(name, {})[metric] = it.share
    return shares


def markdown(result: dict, command: str) -> str:  # type: ignore[type-arg]
    """The page."""
    ap = result["AP"]
    lines = [
        "# Intervals of differences that are none",
        "",
        f"`{command}`: {len(ap)} seeds, {result['images']} images to test on, AP {fmean(ap):.1f} "
        f"± {stdev(ap):.1f} (standard deviation of one run). Splits into two groups, and how often "
        f"a {LEVEL:.0%} interval of their difference misses zero; nominal {1 - LEVEL:.0%}.",
        "",
        "| seeds | splits | interval of | " + " | ".join(HEADINGS.values()) + " | mean |",
        "|-|-:|-|" + "-:|" * (len(HEADINGS) + 1),
    ]
    for size, shares in result["groups"].items():
        for name, by_metric in shares.items():
            cells = [f"{by_metric[it]:.1%}" if it in by_metric else "" for it in HEADINGS]
            cells.append(f"{fmean(by_metric.values()):.1%}")
            number = len(splits(len(ap), int(size)))
            lines.append(f"| {size} and {size} | {number} | {name} | {' | '.join(cells)} |")
    note = "Splits share seeds, so these shares are far less certain than their number suggests."
    return "\n".join([*lines, "", note, "", "`python benchmarks/aa_control.py`", ""])


def simulated_rows(
    random: np.random.Generator, num_seeds: int, of_seeds: float, num_rows: int = 9
) -> list[list[Scores]]:
    """Rows of equal true APs on 300 images: what an image is worth is shared, and own noise."""
    images, resamples = 300, 1000
    weights = random.multinomial(images, [1 / images] * images, size=resamples).T / images
    shared = random.normal(40, 20, images)
    rows = []
    for row in range(num_rows):
        runs = []
        for seed in range(num_seeds):
            values = shared + random.normal(0, 10, images) + random.normal(0, of_seeds)
            run = Scores(
                signature=f"{row}-{seed}",
                seed=seed,
                metrics=Metrics(ap=float(values.mean())),
                draws=(values @ weights)[:, None],
                images="simulated",
                num_images=images,
            )
            runs.append(run)
        rows.append(runs)
    return rows


def one_by_one(rows: Sequence[Sequence[Scores]]) -> bool:
    """Whether the highest row is told apart from any other, each looked at alone."""
    top = max(rows, key=lambda row: fmean(run.metrics.ap or 0.0 for run in row))
    found = [difference(top, row, "ap") for row in rows if row is not top]
    return any(it is not None and it.excludes_zero for it in found)


def rates_of_tables(number: int) -> str:
    """A table: in how many tables of equal rows some row is called worse."""
    lines = ["| seeds | they differ by | one by one | all at once |", "|-:|-:|-:|-:|"]
    for num_seeds, of_seeds in ((1, 0.0), (2, 2.0), (3, 0.5), (3, 2.0), (5, 2.0)):
        random = np.random.default_rng(num_seeds)
        tables = [simulated_rows(random, num_seeds, of_seeds) for _ in range(number)]
        alone = fmean(one_by_one(rows) for rows in tables)
        at_once = fmean(any(told_apart(rows, "ap")) for rows in tables)
        lines.append(f"| {num_seeds} | {of_seeds:g} AP | {alone:.0%} | {at_once:.0%} |")
    return "\n".join(lines)


def main() -> None:
    """Train, split, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path("results-aa"))
    parser.add_argument("--pages", type=Path, default=HERE)
    parser.add_argument("--tables", type=int, help="simulate so many tables of equal rows instead")
    given = parser.parse_args()
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
        "groups": {str(size): tally(runs, size) for size in sizes},
    }
    page = markdown(result, command)
    (given.pages / "aa_control.json").write_text(json.dumps(result, indent=1) + "\n")
    (given.pages / "aa_control.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
