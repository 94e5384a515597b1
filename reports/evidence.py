"""What is measured of one part of a claim: its interval, and whether that lies where it should.

Whoever looks at m quantities finds one outside its region by chance m times as often. So there are
two intervals: loose, of 95 %, has to lie in the region, for which no correction is needed where all
quantities have to; strict, of 1 - 0.05 / m, has to lie outside to contradict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from experiments.claim import (
    RERUN_DEGREES,
    RERUN_DEVIATION,
    Difference,
    Place,
    Region,
    Spread,
    places,
)
from reports.study import Study

if TYPE_CHECKING:  # it imports numpy and scipy, which lists need not wait for
    from reports.statistics import Estimate

State = Literal["supported", "contradicted", "undecided"]
MISSING = "–"


@dataclass(frozen=True)
class Interval:
    """One quantity with its two intervals, strict as one of so many that are looked at."""

    loose: "Estimate"
    strict: "Estimate"
    num_looked_at: int = 1


def compare(region: Region, found: Interval) -> State:
    """Supported when all of the loose interval lies in the region, contradicted when no part of
    the strict one does."""
    if holds(region, found.loose.low) and holds(region, found.loose.high):
        return "supported"
    low, high = found.strict.low, found.strict.high
    is_below = high < region.low or (region.is_open and high == region.low)
    return "contradicted" if is_below or low > region.high else "undecided"


def holds(region: Region, value: float) -> bool:
    """Whether the value lies in the region."""
    is_above = value > region.low if region.is_open else value >= region.low
    return is_above and value <= region.high


def estimates(part: Difference | Spread, study: Study, num_judged: int) -> Interval | None:
    """A part's quantity, one of so many that are judged; None where it is undefined."""
    from reports.statistics import LEVEL

    if isinstance(part, Difference):
        pairs = [(part.one, part.other)]
    else:
        pairs = list(combinations(part.places, 2))
    num_looked_at = num_judged * len(pairs)
    levels = (LEVEL, 1 - (1 - LEVEL) / num_looked_at)
    found = [[_difference(*pair, part.metric, study, it) for pair in pairs] for it in levels]
    loose, strict = ([one for one in line if one is not None] for line in found)
    if len(loose) < len(pairs) or len(strict) < len(pairs):
        return None
    if isinstance(part, Difference):
        return Interval(loose[0], strict[0], num_looked_at)
    return Interval(spread(loose), spread(strict), num_looked_at)


def _difference(
    one: Place, other: Place, metric: str, study: Study, level: float
) -> "Estimate | None":
    """With one seed in the paper's setup its reruns' spread stands in for that of the seeds."""
    from reports.statistics import difference, with_seed_error

    found = difference(study.scores(one), study.scores(other), metric, level=level)
    is_as_in_paper = study.are_as_in_paper((one.table, other.table))
    if found is None or found.seed_error is not None or not is_as_in_paper:
        return found
    error = sqrt(2) * RERUN_DEVIATION[metric]  # of the difference of two runs
    return with_seed_error(found, error, RERUN_DEGREES, level=level)


def spread(pairs: Sequence["Estimate"]) -> "Estimate":
    """The largest of the differences, whatever their signs, from one interval for each of them.

    All rows lie within a tolerance when every pair does: high is the farthest end of any interval.
    They do not when some pair lies beyond it: low is the nearest end of the farthest interval.
    Errors and seeds are those of the pair with the fewest seeds, so one without seeds' error shows.
    """
    reach = [max(-pair.low, pair.high) for pair in pairs]
    weakest = min(range(len(pairs)), key=lambda n: (pairs[n].num_seeds, -reach[n]))
    return replace(
        pairs[weakest],
        value=max(abs(pair.value) for pair in pairs),
        low=max(max(pair.low, -pair.high, 0.0) for pair in pairs),
        high=max(reach),
    )


def without_interval(part: Difference | Spread, study: Study) -> str:
    """The difference of the rows' means, without an interval."""
    means = []
    for place in places(part):
        found = (getattr(result.metrics, part.metric) for result in study.results(place))
        known = [value for value in found if value is not None]
        means += [fmean(known)] if known else []
    if len(means) < len(places(part)):
        return MISSING
    if isinstance(part, Difference):
        return number(means[0] - means[1], "+")
    return number(max(means) - min(means))


def power(found: Interval, region: Region) -> str:
    """What more seeds or images have to bring about: how far from the nearest end of the region
    a value has to lie so that these would show it.

    Inside, the loose interval has to get clear of it, outside the strict one.
    """
    from reports.statistics import LEVEL, visible

    estimate = found.loose
    ends = [end for end in (region.low, region.high) if abs(end) != inf]
    nearest = min(ends, key=lambda end: abs(estimate.value - end))
    is_inside = holds(region, estimate.value)
    level = LEVEL if is_inside else 1 - (1 - LEVEL) / found.num_looked_at
    value, end = number(estimate.value), number(nearest)
    if value == end:
        value, end = f"{estimate.value:.2f}", f"{nearest:.2f}"
    least = f"{visible(estimate, level):.1f}"
    return f"more seeds or images, to tell {value} from {end} (these show {least} or more)"


def shown(estimate: "Estimate", sign: str = "") -> str:
    """A value with its interval: "+3.9 (3.1 to 4.8)"."""
    return f"{number(estimate.value, sign)} ({number(estimate.low)} to {number(estimate.high)})"


def number(value: float, sign: str = "") -> str:
    """One decimal, with a minus as it is printed; sign "+" marks what is not negative."""
    rounded = round(value, 1) + 0.0  # no negative zero
    return f"{rounded:{sign}.1f}".replace("-", "−")
