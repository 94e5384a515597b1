"""The numbers behind P1 to P6, Q1 to Q7, R1 and R2, each with its 95 % interval.

python docs/study/parts-of-atss/contrasts.py --out results

A prediction is a weighted sum of mean APs, of rows and setups; its interval is of images and seeds
together (docs/statistics.md), as the suite's claims have it.
"""

import argparse
from itertools import product
from pathlib import Path

from orchestration.plan import Setup, find_tables, setups_in
from orchestration.results import bundle
from orchestration.run_folder import open_store
from reports.coco_bootstrap import Scores
from reports.intervals import contrast

FILES = [str(Path(__file__).with_name(name)) for name in ("parts_of_atss.py", "balance.py")]
LABELS = {
    "iou": "IoU 0.5",
    "lower": "IoU 0.3",
    "nobody": "IoU 0.5, nobody left out",
    "three": "IoU 0.5, at least 3 each",
    "seven": "IoU 0.5, at least 7 each",
    "nine": "IoU 0.5, at most 9 each",
    "both": "IoU 0.5, 7 to 9 each",
    "ignores": "IoU 0.5, 7 to 9 each, nothing ignored",
    "all": "Candidates, all",
    "threshold": "All inside from ATSS's threshold on",
    "atss": "ATSS",
}
# weight and row, of 128 pixels and anchors of 8 strides unless another setup stands behind an "@"
SUMS = {
    "P1, P6: nobody left out, less half of ATSS's gain": "1 nobody, -.5 iou, -.5 atss",
    "P2: half of ATSS's gain, less IoU 0.3's": ".5 atss, .5 iou, -1 lower",
    "P5: ATSS's gain, less that at 256 px": "1 atss, -1 iou, -1 atss@256, 1 iou@256",
    "P5: ATSS's gain, less that with 4S": "1 atss, -1 iou, -1 atss@4S, 1 iou@4S",
    "P6: its gain over nobody left out, less that at 256 px": (
        "1 atss, -1 nobody, -1 atss@256, 1 nobody@256"
    ),
    "Q1: at least 3 each, over IoU": "1 three, -1 iou",
    "Q1: at least 7 each, over at least 3": "1 seven, -1 three",
    "Q2: half of ATSS's gain, less at most 9 each's": ".5 atss, .5 iou, -1 nine",
    "Q3: 7 to 9 each, over ATSS": "1 both, -1 atss",
    "Q4: nothing ignored, of 7 to 9 each": "1 ignores, -1 both",
    "Q5: 7 to 9 each, over ATSS at 256 px": "1 both@256, -1 atss@256",
    "Q6: 7 to 9 each, over ATSS with 4S": "1 both@4S, -1 atss@4S",
    "Q7: 7 to 9 each, over IoU on bccd": "1 both@bccd, -1 iou@bccd",
    "Q7: 7 to 9 each, over ATSS on bccd": "1 both@bccd, -1 atss@bccd",
    "beside: candidates, all, over ATSS at 256 px": "1 all@256, -1 atss@256",
    "beside: from ATSS's threshold on, over ATSS at 256 px": "1 threshold@256, -1 atss@256",
    "beside: from ATSS's threshold on, over 7 to 9 each at 256 px": "1 threshold@256, -1 both@256",
    "R1: from ATSS's threshold on, over IoU on bccd": "1 threshold@bccd, -1 iou@bccd",
    "R1: from ATSS's threshold on, over ATSS on bccd": "1 threshold@bccd, -1 atss@bccd",
    "R2: from ATSS's threshold on, over IoU with 4S": "1 threshold@4S, -1 iou@4S",
    "R2: from ATSS's threshold on, over ATSS with 4S": "1 threshold@4S, -1 atss@4S",
    "left: what both bounds give, less the sum of each": "1 both, 1 iou, -1 seven, -1 nine",
}
Runs = dict[tuple[str, str], list[Scores]]  # setup, row


def main() -> None:
    """Print every row's AP in every setup with its lead over IoU and over ATSS, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results")
    store, found = open_store(parser.parse_args().out), Runs()
    for (setup, seeds), table in product(setups_in(store), find_tables(FILES)):
        content = bundle(store, setup, table, seeds)
        for row in content.rows:
            if runs := [content.scores[it.signature] for it in row.results]:
                found[called(setup), row.row.label] = runs
    for (setup, label), runs in found.items():
        over = [(1.0, runs), (-1.0, found[setup, LABELS["iou"]])]
        less = [(1.0, runs), (-1.0, found[setup, LABELS["atss"]])]
        aps = ", ".join(f"{run.metrics.ap:.1f}" for run in runs)
        print(f"{setup or 'usual'}: {label}: {told([(1.0, runs)])} ({aps})", end="")
        print(f"; over IoU {told(over)}; over ATSS {told(less)}")
    for name, text in SUMS.items():
        weights, places = zip(*(part.split() for part in text.split(", ")), strict=True)
        keys = [(place.partition("@")[2], LABELS[place.partition("@")[0]]) for place in places]
        is_there = all(key in found for key in keys)
        parts = [(float(it), found[key]) for it, key in zip(weights, keys, strict=True) if is_there]
        print(f"{name}: {told(parts) if parts else 'not measured'}")


def called(setup: Setup) -> str:
    """What is not shapes-large, 128 pixels and 8S: "256", "4S", "bccd"; nothing if all is."""
    side, scales = setup.recipe.short_side[1], setup.settings.get("anchor_scales")
    data = setup.data if setup.data != "shapes-large" else ""
    return data + (str(side) if side != 128 else "") + (f"{scales[0]:g}S" if scales else "")


def told(parts: list[tuple[float, list[Scores]]]) -> str:
    """A weighted sum with its interval."""
    if len(parts) == 2 and parts[0][1] == parts[1][1]:
        return "0"
    it = contrast(parts)
    return "unknown" if it is None else f"{it.value:+.2f} ({it.low:+.2f} to {it.high:+.2f})"


if __name__ == "__main__":
    main()
