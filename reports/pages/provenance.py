"""Where numbers come from, and what they cost."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.numbers import Result
from reports.pages.prints import gallery, positives
from reports.render import Grid, line
from reports.results import Bundle

HOUR = 3600.0
MAX_COMMIT = 12  # letters


def sources(bundles: Sequence[Bundle]) -> Grid:
    """By what name each kind of thing behind a number is found."""
    first = bundles[0]
    codes = dict.fromkeys(str(run.facts["code"]) for run in runs_of(bundles) if "code" in run.facts)
    lines = [
        line("a run", "its signature: the folder of that name in runs/ of the results folder"),
        line("in MLflow", "experiment “trainings”, search for tags.signature = '<signature>'"),
        line("data", f"{first.data}, fingerprint {first.fingerprint}"),
        *([line("code", "; ".join(codes))] if codes else []),
    ]
    return Grid(name="sources", title="Where the numbers come from", head=line("", ""),
                blocks=(tuple(lines),))  # fmt: skip


def cost(bundles: Sequence[Bundle]) -> list[str]:
    """What the distinct runs took, a sentence per device: "Cost: 2.1 hours of Tesla T4 ..."."""
    hours: dict[str, list[float]] = {}
    for run in runs_of(bundles):
        if run.seconds is not None:
            hours.setdefault(device(run), []).append(run.seconds * _processes(run) / HOUR)
    return [
        f"Cost: {duration(sum(found))} of {name}, training and test, for {len(found)} distinct "
        f"{'runs' if len(found) > 1 else 'run'}."
        for name, found in hours.items()
    ]


def device(run: Result) -> str:
    """On what a run was trained, for people."""
    gpu = str(run.facts.get("gpu", "none"))
    return "CPU time" if gpu == "none" else gpu


def duration(hours: float) -> str:
    """Hours, or minutes where that is less than two hours."""
    return f"{hours:.1f} hours" if hours >= 2 else f"{60 * hours:.0f} minutes"


def runs_of(bundles: Iterable[Bundle]) -> list[Result]:
    """Every distinct run with a result."""
    return list({name: run for one in bundles for name, run in one.results.items()}.values())


def _processes(run: Result) -> int:
    """How many devices a run took."""
    return int(run.facts.get("processes", 1))


# What a report could show beside what it shows, and what would bring it there


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
