"""How numbers are written: one decimal as in the paper, a sign on what is a change."""

from math import isfinite
from typing import TYPE_CHECKING, Any

from reports.compare import Comparison, Sample
from reports.render import BREAK, PAD

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.intervals import Estimate

MISSING = "–"
EARLY = "†"


def finite(value: Any) -> Any:
    """The same content for JSON, which has neither infinity nor NaN: null in their place."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def number(value: float | None) -> str:
    """One decimal, as the paper; figure spaces keep the points of 5.3 and 12.8 in one line."""
    return MISSING if value is None else f"{value:.1f}".rjust(4, PAD)


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if value is None:
        return MISSING
    text = f"{abs(value):.1f}"
    sign = "±" if float(text) == 0 else "+" if value > 0 else "−"
    return sign + text


def spread(sample: Sample) -> str:
    """Mean, and standard deviation where several seeds tell one."""
    return number(sample.mean) + ("" if sample.std is None else f" ±{sample.std:.1f}")


def interval(estimate: "Estimate | None") -> str:
    """From low to high, of a number that cannot be below zero."""
    if estimate is None:
        return MISSING
    return f"{max(estimate.low, 0):.1f}–{BREAK}{min(estimate.high, 100):.1f}"


def signed_interval(estimate: "Estimate | None") -> str:
    """From low to high, of a difference; +0.0 tells on which side of zero it is."""
    if estimate is None:
        return MISSING
    low, high = (
        ("−" if end < 0 else "+") + f"{abs(end):.1f}" for end in (estimate.low, estimate.high)
    )
    return f"{low} to {BREAK}{high}"


def has_intervals(comparison: Comparison) -> bool:
    """Whether anything is known of how far our numbers are to be trusted."""
    return any(row.estimates for row in comparison.rows)


def level() -> str:
    """How sure intervals are: "95 %"."""
    from reports.intervals import LEVEL

    return f"{LEVEL:.0%}".replace("%", " %")


def least_shown(estimate: "Estimate") -> str:
    """The smallest difference that these seeds and images could have shown: "0.8 AP"."""
    from reports.intervals import visible

    return f"{visible(estimate):.1f} AP"
