"""What a report could show beside what it shows, and what would bring it there."""

import shlex
from pathlib import Path

from reports.bundle import Bundle
from reports.pages.prints import gallery, positives


def gaps(bundle: Bundle, folder: Path) -> list[str]:
    """A line for each thing that is missing; folder: the report's, with the pictures in it."""
    results, found = bundle.results, []
    if bundle.comparison.missing:
        runs = bundle.comparison.missing
        found.append(f"{runs} of the runs: {bundle.command}")
    if results and not bundle.scores:
        found.append("intervals: they need the runs' match records, which the notes miss")
    if results and len(bundle.comparison.seeds) < 2:
        found.append("the spread between seeds: the same command with --seeds 0,1,2")
    if results and not bundle.insights:
        found.append("precision against recall, kinds of errors: the data set has to be at hand")
    elif results and not gallery(folder, bundle.table.name):
        found.append("the best and the worst images: the data set's images have to be at hand")
    if not positives(folder, bundle.table.name):
        found.append(f"where the positives are: {_counting(bundle)}")
    return found


def _counting(bundle: Bundle) -> str:
    """The command that counts positives on a bundle's data, into the same results folder."""
    words = shlex.split(bundle.command)
    data = words[words.index("--data") :][:2] if "--data" in words else []
    return shlex.join(["atss", "positives", *data])
