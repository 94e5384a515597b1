"""The results of a table as tidy data frames, for whoever wants to go on from a report.

    numbers       THE frame, a line per row and metric: the paper's number, ours, what it changes,
                  with their intervals; the CSV is this, and MLflow's rows and archives read it
    runs          a line per run: signature, row, seed, minutes, the six numbers, facts
    history       a line per run, step and what was recorded at it
    curves        a line per run, metric and recall: precision
    errors        a line per run and kind of error: how many, what AP50 would gain without them
    classes       a line per run and class
    images        a line per run and image

All numbers are AP points or percent. What is not known is NaN.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from detector.metrics import HEADINGS
from reports.bundle import Bundle
from reports.compare import ComparedRow, Comparison, Result
from reports.intervals import Estimate
from reports.render import Grid, line

Lines = Iterator[dict[str, Any]]

NAMES: dict[str, tuple[str, ...]] = {  # columns, so that a frame without lines has them as well
    "runs": ("row", "signature", "seed", "minutes", *HEADINGS),
    "history": ("row", "signature", "seed", "step", "name", "value"),
    "curves": ("row", "signature", "seed", "metric", "recall", "precision"),
    "errors": ("row", "signature", "seed", "kind", "count", "points"),
    "classes": ("row", "signature", "seed", "id", "name", "num_truths", "ap", "ap50"),
    "images": ("row", "signature", "seed", "id", "score", "found", "missed", "false"),
}
OF_NUMBER = ("low", "high", "image_error", "seed_error", "images")
OF_GAIN = ("gain_low", "gain_high", "gain_image_error", "gain_seed_error")
COLUMNS = (
    *("table", "row", "metric", "paper", "ours", "std", "n", *OF_NUMBER, "difference"),
    *("paper_gain", "gain", "gain_std", *OF_GAIN, "seeds", "signatures"),
)
TEXTS = ("table", "row", "metric", "seeds", "signatures")


def numbers(comparison: Comparison) -> pd.DataFrame:
    """COLUMNS, every number in full precision; what is not known is None.

    low, high: the 95 % interval; image_error, seed_error: standard errors from the samples of
    images and of seeds, the latter None with one seed, whose interval is of the images alone.
    """
    lines = [_values(comparison, row, name) for row in comparison.rows for name in HEADINGS]
    return pd.DataFrame(lines, columns=list(COLUMNS), dtype=object)


def csv_text(comparison: Comparison) -> str:
    """The numbers as they are; what is not known stays empty; lists are separated by spaces."""
    return numbers(comparison).to_csv(index=False, lineterminator="\n")


def _values(comparison: Comparison, row: ComparedRow, name: str) -> list[float | int | str | None]:
    found, estimate = row.metrics[name], row.estimates.get(name)
    return [
        *(comparison.table.number or comparison.table.name, row.row.label, HEADINGS[name]),
        *(found.paper, found.ours.mean, found.ours.std, found.ours.n),
        *_spread(estimate),
        *(None if estimate is None else estimate.num_images, found.difference),
        *(found.paper_gain, found.gain.mean, found.gain.std),
        *_spread(row.differences.get(name)),
        " ".join(str(seed) for seed in found.ours.by_seed),
        " ".join(row.signatures),
    ]


def _spread(estimate: Estimate | None) -> tuple[float | None, ...]:
    if estimate is None:
        return (None,) * 4
    return (estimate.low, estimate.high, estimate.image_error, estimate.seed_error)


def frames(bundle: Bundle) -> dict[str, pd.DataFrame]:
    """Name -> data frame, of all that this module names."""
    found = numbers(bundle.comparison)
    plain = [name for name in COLUMNS if name not in TEXTS]
    found[plain] = found[plain].apply(pd.to_numeric)
    lines = {
        "runs": _runs(bundle),
        "history": _history(bundle),
        "curves": _curves(bundle),
        "errors": _errors(bundle),
        "classes": _classes(bundle),
        "images": _images(bundle),
    }
    return {"numbers": found} | {name: _frame(name, each) for name, each in lines.items()}


def overview(data: Mapping[str, pd.DataFrame]) -> Grid:
    """Which frames there are, how long they are, and their columns."""
    lines = (
        line(name, f"{len(frame):,}", ", ".join(map(str, frame.columns)))
        for name, frame in data.items()
    )
    head = line("frame", "lines", "columns")
    return Grid(name="frames", title="Data frames", head=head, blocks=(tuple(lines),))


def _frame(name: str, lines: Lines) -> pd.DataFrame:
    found = pd.DataFrame(list(lines))
    return found if len(found) else pd.DataFrame(columns=list(NAMES[name]))


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
