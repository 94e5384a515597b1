"""THE numbers of a table, as a data frame that whoever goes on from here reads, and how each is
written: one decimal as in the paper, a sign on what is a change.
"""

import json
from itertools import product
from typing import TYPE_CHECKING, Any

from detector.metrics import HEADINGS
from reports.render import BREAK, PAD
from reports.results import Bundle

if TYPE_CHECKING:  # they import numpy and pandas, which lists need not wait for
    import pandas as pd

    from reports.intervals import Estimate

MISSING = "–"
EARLY = "†"
SURE = "95 %"  # how sure intervals are: intervals.LEVEL
ERRORS = ("low", "high", "image_error", "seed_error")  # of an estimate


def numbers(bundle: Bundle) -> "pd.DataFrame":
    """A line per row and metric, every number in full precision; what is not known is None.

    low, high: the 95 % interval; image_error, seed_error: standard errors from the samples of
    images and of seeds, the latter None with one seed, whose interval is of the images alone.
    """
    import pandas as pd

    table, lines = bundle.table.number or bundle.table.name, []
    for row, name in product(bundle.rows, HEADINGS):
        found, change = row.metrics[name], row.gains[name]
        lines.append(
            {"table": table, "row": row.row.label, "metric": HEADINGS[name]}
            | {it: getattr(found, it) for it in ("paper", "ours", "std", "n")}
            | {it: getattr(found.estimate, it, None) for it in (*ERRORS, "num_images")}
            | {"difference": found.difference, "paper_gain": change.paper}
            | {"gain": change.ours, "gain_std": change.std}
            | {f"gain_{it}": getattr(change.estimate, it, None) for it in ERRORS}
            | {"seeds": " ".join(map(str, found.by_seed)), "signatures": " ".join(row.signatures)}
        )
    return pd.DataFrame(lines, dtype=object).rename(columns={"num_images": "images"})


def csv_text(bundle: Bundle) -> str:
    """The numbers as they are; what is not known stays empty; lists are separated by spaces."""
    return numbers(bundle).to_csv(index=False, lineterminator="\n")


# As they are written


def number(value: float | None, missing: str = MISSING) -> str:
    """One decimal, as the paper; figure spaces keep the points of 5.3 and 12.8 in one line."""
    return missing if value is None else f"{value:.1f}".rjust(4, PAD)


def signed(value: float | None, missing: str = MISSING) -> str:
    """A difference with its sign."""
    text = f"{value or 0.0:+z.1f}".replace("-", "−").replace("+0.0", "±0.0")
    return missing if value is None else text


def spread(std: float | None) -> str:
    """A standard deviation behind its mean, where several seeds tell one."""
    return "" if std is None else f" {BREAK}±{std:.1f}"


def interval(estimate: "Estimate | None") -> str:
    """From low to high, of a number that cannot be below zero."""
    if estimate is None:
        return MISSING
    return f"{max(estimate.low, 0):.1f}–{BREAK}{min(estimate.high, 100):.1f}"


def signed_interval(estimate: "Estimate | None") -> str:
    """From low to high, of a difference; +0.0 tells on which side of zero it is."""
    if estimate is None:
        return MISSING
    return f"{estimate.low:+.1f} to {BREAK}{estimate.high:+.1f}".replace("-", "−")


def errors(estimate: "Estimate | None") -> list[str]:
    """Its standard errors from images and from seeds."""
    found = (estimate.image_error, estimate.seed_error) if estimate else (None, None)
    return [MISSING if error is None else f"{error:.2f}" for error in found]


def finite(value: Any) -> Any:
    """The same content for JSON, which has neither infinity nor NaN: null in their place."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
