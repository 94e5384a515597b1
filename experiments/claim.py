"""What a claim of the paper consists of, so that measurements can support or contradict it.

Place        a row of one of the paper's tables
Region       which values agree with the paper, in AP points
Difference   one row minus another
Spread       how far several rows lie apart, at most: of two rows, the size of their difference
Equal        two rows that must not differ at all, in what a network costs
Claim        one sentence of the paper, and what has to be looked at
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

# Published runs of one configuration (ATSS on ResNet-50, by three groups) differ so much: standard
# deviations per run, in AP points. Stands in for the seeds' spread where there is one seed only.
RERUN_DEVIATION = {"ap": 0.1, "ap50": 0.1, "ap75": 0.1, "ap_s": 0.7, "ap_m": 0.3, "ap_l": 0.6}
RERUN_DEGREES = 2  # of freedom: they are three runs, whose standard deviation is hardly known
# Those reruns' AP_S lie between 22.9 and 24.3: no difference below this is a claim's.
SMALLEST_AP_S = 1.0

Evidence = Literal["training", "counting", "building"]


@dataclass(frozen=True)
class Place:
    """A row of a table of the paper, by the table's number and the row's label.

    Rows that train the same detector are one run, so any of their places will do.
    """

    table: int
    label: str

    def __str__(self) -> str:
        return f"“{self.label}” of Table {self.table}"


@dataclass(frozen=True)
class Region:
    """From low to high, in AP points, both included; low is not where is_open."""

    low: float = -inf
    high: float = inf
    is_open: bool = False

    def __str__(self) -> str:
        if self.high == inf:
            return f"{'more than' if self.is_open else 'at least'} {self.low:g}"
        return f"{self.low:g} to {self.high:g}".replace("-", "−")

    @property
    def sign(self) -> str:
        """The same in few letters: "> 4", "≥ 0.4", "0.4 to 1.2"."""
        if self.high == inf:
            return f"{'>' if self.is_open else '≥'} {self.low:g}"
        return str(self)

    @property
    def direction(self) -> "Region | None":
        """What is left of it where values cannot be compared with the paper's: the sign.

        None where the region holds both signs, as of a change that is said to be small.
        """
        return POSITIVE if self.low >= 0 else None


POSITIVE = Region(0, is_open=True)


@dataclass(frozen=True)
class Difference:
    """One row minus another. region None: the paper has it, and it is not judged."""

    one: Place
    other: Place
    paper: float
    region: Region | None
    what: str = ""  # which of a claim's parts it is; empty where it is the only one
    metric: str = "ap"


@dataclass(frozen=True)
class Spread:
    """The largest difference between any two rows, whatever its sign; at most within."""

    places: tuple[Place, ...]
    paper: float
    within: float
    what: str = ""
    metric: str = "ap"

    @property
    def region(self) -> Region:
        """Values that agree with the paper's; there is no direction to compare instead."""
        return Region(0, self.within)


@dataclass(frozen=True)
class Equal:
    """Two rows whose networks have as many parameters and as many operations."""

    one: Place
    other: Place
    what: str = ""


Part = Difference | Spread | Equal


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper, in our words, and its parts, all of which have to hold.

    paper: its number, where no part has one. evidence: what can judge it; claims about counts have
    no parts, reports.positives.fairness knows what to count.
    """

    name: str  # "H4"
    says: str
    where: str
    parts: tuple[Part, ...] = ()
    paper: str = ""
    evidence: Evidence = "training"

    @property
    def tables(self) -> tuple[int, ...]:
        """The numbers of the tables whose rows it is about."""
        found = {place.table for part in self.parts for place in places(part)}
        return tuple(sorted(found))


def places(part: Part) -> tuple[Place, ...]:
    """The rows that a part is about."""
    return part.places if isinstance(part, Spread) else (part.one, part.other)
