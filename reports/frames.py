"""The results of a table as tidy data frames, for whoever wants to go on from a report.

    runs          a line per run: signature, row, seed, minutes, the six numbers, facts
    metrics       a line per row and metric: the paper's number and ours, with its interval
    differences   the same against the table's reference row
    history       a line per run, step and what was recorded at it
    curves        a line per run, metric and recall: precision
    errors        a line per run and kind of error: how many, what AP50 would gain without them
    classes       a line per run and class
    images        a line per run and image

All numbers are AP points or percent. What is not known is NaN.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from detector.metrics import HEADINGS
from reports.bundle import Bundle
from reports.compare import ComparedRow, Comparison, Result
from reports.render import Grid, line
from reports.statistics import Estimate

Lines = Iterator[dict[str, Any]]

NAMES: dict[str, tuple[str, ...]] = {  # columns, so that a frame without lines has them as well
    "runs": ("row", "signature", "seed", "minutes", *HEADINGS),
    "metrics": ("row", "metric", "paper", "ours", "std", "seeds"),
    "differences": ("row", "metric", "paper", "ours", "std", "seeds"),
    "history": ("row", "signature", "seed", "step", "name", "value"),
    "curves": ("row", "signature", "seed", "metric", "recall", "precision"),
    "errors": ("row", "signature", "seed", "kind", "count", "points"),
    "classes": ("row", "signature", "seed", "id", "name", "num_truths", "ap", "ap50"),
    "images": ("row", "signature", "seed", "id", "score", "found", "missed", "false"),
}
INTERVAL = ("low", "high", "image_error", "seed_error")  # further columns of two of them


def frames(bundle: Bundle) -> dict[str, pd.DataFrame]:
    """Name -> data frame, of all that this module names."""
    lines = {
        "runs": _runs(bundle),
        "metrics": _metrics(bundle),
        "differences": _differences(bundle),
        "history": _history(bundle),
        "curves": _curves(bundle),
        "errors": _errors(bundle),
        "classes": _classes(bundle),
        "images": _images(bundle),
    }
    return {name: _frame(name, found) for name, found in lines.items()}


def overview(data: Mapping[str, pd.DataFrame]) -> Grid:
    """Which frames there are, how long they are, and their columns."""
    lines = (
        line(name, f"{len(frame):,}", ", ".join(map(str, frame.columns)))
        for name, frame in data.items()
    )
    head = line("frame", "lines", "columns")
    return Grid(name="frames", title="Data frames", head=head, blocks=(tuple(lines),))


def _frame(name: str, lines: Lines) -> pd.DataFrame:
    columns = (*NAMES[name], *(INTERVAL if name in ("metrics", "differences") else ()))
    found = pd.DataFrame(list(lines))
    return found if len(found) else pd.DataFrame(columns=list(columns))


def _measured(bundle: Bundle) -> Iterator[tuple[dict[str, Any], Result]]:
    """What names a run, and the run."""
    for row in bundle.comparison.rows:
        for result in row.results:
            names = {"row": row.row.label, "signature": result.signature, "seed": result.seed}
            yield names, result


def _runs(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        minutes = None if result.seconds is None else result.seconds / 60
        yield names | {"minutes": minutes} | asdict(result.metrics) | result.facts


def _metrics(bundle: Bundle) -> Lines:
    for row in bundle.comparison.rows:
        for name, n in row.metrics.items():
            numbers = {"paper": n.paper, "ours": n.ours.mean, "std": n.ours.std, "seeds": n.ours.n}
            yield _named(row, name) | numbers | _interval(row.estimates.get(name))


def _differences(bundle: Bundle) -> Lines:
    comparison = bundle.comparison
    for row in comparison.rows:
        for name, n in row.metrics.items():
            if row is not comparison.reference:
                gain = {"ours": n.gain.mean, "std": n.gain.std, "seeds": n.gain.n}
                numbers = {"paper": n.paper_gain, **gain}
                yield _named(row, name) | numbers | _interval(row.differences.get(name))


def _named(row: ComparedRow, metric: str) -> dict[str, Any]:
    return {"row": row.row.label, "metric": metric}


def _interval(estimate: Estimate | None) -> dict[str, Any]:
    return {name: getattr(estimate, name, None) for name in INTERVAL}


def _history(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        for entry in result.history:
            for name, value in entry.items():
                if name != "step":
                    yield names | {"step": entry["step"], "name": name, "value": value}


def _curves(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        if insight := bundle.insights.get(result.signature):
            for metric, curve in insight.precision.items():
                for recall, precision in enumerate(curve):
                    yield names | {"metric": metric, "recall": recall, "precision": precision}


def _errors(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        if insight := bundle.insights.get(result.signature):
            for kind, share in insight.errors.items():
                yield names | {"kind": kind, "count": share.count, "points": share.points}


def _classes(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        if insight := bundle.insights.get(result.signature):
            yield from (names | asdict(found) for found in insight.classes)


def _images(bundle: Bundle) -> Lines:
    for names, result in _measured(bundle):
        if insight := bundle.insights.get(result.signature):
            yield from (names | asdict(found) for found in insight.images)


# The CSV: a line per row and metric, every number in full precision


OF_NUMBER = ("low", "high", "image_error", "seed_error", "images")
OF_GAIN = ("gain_low", "gain_high", "gain_image_error", "gain_seed_error")
COLUMNS = (
    *("table", "row", "metric", "paper", "ours", "std", "n", *OF_NUMBER, "difference"),
    *("paper_gain", "gain", "gain_std", *OF_GAIN, "seeds", "signatures"),
)


def csv_text(comparison: Comparison) -> str:
    """Long form under COLUMNS; what is not known stays empty; lists are separated by spaces.

    low, high: the 95 % interval; image_error, seed_error: standard errors from the samples of
    images and of seeds, the latter empty with one seed, whose interval is of the images alone.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.rows:
        for name in HEADINGS:
            writer.writerow(_values(comparison.table.number or comparison.table.name, row, name))
    return text.getvalue()


def _values(table: int | str, row: ComparedRow, name: str) -> list[float | int | str | None]:
    found, estimate = row.metrics[name], row.estimates.get(name)
    return [
        *(table, row.row.label, HEADINGS[name]),
        *(found.paper, found.ours.mean, found.ours.std, found.ours.n),
        *_spread(estimate),
        *(None if estimate is None else estimate.num_images, found.difference),
        *(found.paper_gain, found.gain.mean, found.gain.std),
        *_spread(row.differences.get(name)),
        " ".join(str(seed) for seed in found.ours.by_seed),
        " ".join(row.signatures),
    ]


def _spread(estimate: "Estimate | None") -> tuple[float | None, ...]:
    if estimate is None:
        return (None,) * 4
    return (estimate.low, estimate.high, estimate.image_error, estimate.seed_error)
