"""P1 to P6: what is left of them beside single differences, each with its 95 % interval.

python docs/study/parts-of-atss/contrasts.py --out results

A prediction is a weighted sum of mean APs, of rows and setups; its interval is of images and seeds
together (docs/statistics.md), as the suite's claims have it.
"""

import argparse
from pathlib import Path

from orchestration.plan import Setup, find_tables, setups_in
from orchestration.results import bundle
from orchestration.run_folder import open_store
from reports.coco_bootstrap import Scores
from reports.intervals import contrast

FILE = Path(__file__).with_name("parts_of_atss.py")
IOU, LOWER, NOBODY, ATSS = (
    "IoU 0.5",
    "IoU 0.3",
    "IoU 0.5, nobody left out",
    "ATSS: from mean + std on",
)
USUAL, LARGE, SMALL_ANCHORS = "128 px, 8S", "256 px, 8S", "128 px, 4S"
# (setup, row) -> weight
SUMS = {
    "P1, and P6 at 128 px: nobody left out, less half of ATSS's gain": {
        (USUAL, NOBODY): 1,
        (USUAL, IOU): -0.5,
        (USUAL, ATSS): -0.5,
    },
    "P2: half of ATSS's gain, less IoU 0.3's": {
        (USUAL, ATSS): 0.5,
        (USUAL, IOU): 0.5,
        (USUAL, LOWER): -1,
    },
    "P5: ATSS's gain at 128 px, less that at 256": {
        (USUAL, ATSS): 1,
        (USUAL, IOU): -1,
        (LARGE, ATSS): -1,
        (LARGE, IOU): 1,
    },
    "P5: ATSS's gain with 8S, less that with 4S": {
        (USUAL, ATSS): 1,
        (USUAL, IOU): -1,
        (SMALL_ANCHORS, ATSS): -1,
        (SMALL_ANCHORS, IOU): 1,
    },
    "P6: ATSS's gain over nobody left out at 128 px, less that at 256": {
        (USUAL, ATSS): 1,
        (USUAL, NOBODY): -1,
        (LARGE, ATSS): -1,
        (LARGE, NOBODY): 1,
    },
}


def main() -> None:
    """Print every row's AP in every setup, its lead over IoU and over nobody left out; the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results")
    store, (table,) = open_store(parser.parse_args().out), find_tables([str(FILE)])
    found: dict[tuple[str, str], list[Scores]] = {}
    for setup, seeds in setups_in(store):
        content = bundle(store, setup, table, seeds)
        for row in content.rows:
            if runs := [content.scores[it.signature] for it in row.results]:
                found[_called(setup), row.row.label] = runs
    for (setup, label), runs in found.items():
        aps = ", ".join(f"{run.metrics.ap:.1f}" for run in runs)
        over = "".join(
            f"; over {other}: {_told({(setup, label): 1, (setup, other): -1}, found)}"
            for other in (IOU, NOBODY, ATSS)
            if other != label
        )
        print(f"{setup}, {label}: {_told({(setup, label): 1}, found)}, seeds {aps}{over}")
    for name, weights in SUMS.items():
        print(f"{name}: {_told(weights, found)}")


def _called(setup: Setup) -> str:
    scales = setup.settings.get("anchor_scales", (8.0,))
    return f"{setup.recipe.short_side[1]} px, {scales[0]:g}S"


def _told(weights: dict[tuple[str, str], float], found: dict[tuple[str, str], list[Scores]]) -> str:
    if not weights.keys() <= found.keys():
        return "not measured"
    it = contrast([(weight, found[place]) for place, weight in weights.items()])
    return "unknown" if it is None else f"{it.value:+.2f} ({it.low:+.2f} to {it.high:+.2f})"


if __name__ == "__main__":
    main()
