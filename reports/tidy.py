"""A comparison for other programs: every number in full precision, one metric of a row per line."""

import csv
import io
from typing import TYPE_CHECKING

from detector.metrics import HEADINGS
from reports.compare import ComparedRow, Comparison

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.statistics import Estimate

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
