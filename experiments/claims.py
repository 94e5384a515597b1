"""The paper's claims, H1 to H23, as far as numbers can support or contradict them.

Every claim names the rows it is about, the paper's own number and the region in which a measured
one agrees with it. The regions allow for reruns of one configuration, which differ by 0.1 AP. They
hold for trainings as the paper's; elsewhere only their sign is claimed (docs/claims.md).
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from detector.metrics import HEADINGS
from experiments import TABLES

# Published runs of one configuration (ATSS on ResNet-50, by three groups) differ so much: standard
# deviations per run, in AP points. Stands in for the seeds' spread where there is one seed only.
RERUN_DEVIATION = {"ap": 0.1, "ap50": 0.1, "ap75": 0.1, "ap_s": 0.7, "ap_m": 0.3, "ap_l": 0.6}
RERUN_DEGREES = 2  # of freedom: they are three runs, whose standard deviation is hardly known
# Those reruns' AP_S lie between 22.9 and 24.3: no difference below this is a claim's.
SMALLEST_AP_S = 1.0

Evidence = Literal["training", "counting", "building"]  # the last compares what networks cost
WORDS = {">": "more than", "≥": "at least", "≤": "at most"}


@dataclass(frozen=True)
class Place:
    """A row of a table; those that train the same detector are one run, so any of them will do."""

    table: int
    label: str

    def __str__(self) -> str:
        return f"“{self.label}” of Table {self.table}"


@dataclass(frozen=True)
class Region:
    """Which values agree with the paper: from low, which is_open excludes, to high, in AP."""

    low: float = -inf
    high: float = inf
    is_open: bool = False

    def __str__(self) -> str:
        sign, _, number = self.sign.partition(" ")
        return f"{WORDS.get(sign, sign)} {number}"

    @property
    def sign(self) -> str:
        """The same in few letters: "> 4", "≥ 0.4", "0.4 to 1.2"."""
        if self.high == inf:
            return f"{'>' if self.is_open else '≥'} {self.low:g}"
        if self.low == -inf:
            return f"≤ {self.high:g}"
        return f"{self.low:g} to {self.high:g}".replace("-", "−")

    @property
    def direction(self) -> "Region | None":
        """What is left of it where values cannot be compared with the paper's: the sign, if any.

        A mere upper bound is a tolerance, and the same everywhere.
        """
        if self.low == -inf:
            return self
        return POSITIVE if self.low >= 0 else None


POSITIVE = Region(0, is_open=True)


@dataclass(frozen=True)
class Margin:
    """One row minus another."""

    one: Place
    other: Place
    paper: float | None  # None: nobody published one
    region: Region | None  # None: the paper has it, and it is not judged
    what: str = ""  # which of a claim's parts it is; empty where it is the only one
    metric: str = "ap"
    of_crowds: bool = False  # on images with more objects than the median, less on all others


@dataclass(frozen=True)
class Spread:
    """The largest difference between any two rows, whatever its sign."""

    places: tuple[Place, ...]
    paper: float
    region: Region  # from 0 on: there is no direction to compare instead
    what: str = ""
    metric: str = "ap"
    of_crowds = False


Part = Margin | Spread


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper, in our words, and its parts, all of which have to hold."""

    name: str = ""  # "H4"
    says: str
    where: str
    parts: tuple[Part, ...] = ()  # none of claims about counts: reports.positives counts
    paper: str = ""  # its number, where no part has one
    evidence: Evidence = "training"  # what can judge it

    @property
    def tables(self) -> tuple[int, ...]:
        """The numbers of the tables whose rows it is about."""
        return tuple(sorted({place.table for part in self.parts for place in places(part)}))


def places(part: Part) -> tuple[Place, ...]:
    """The rows that a part is about."""
    return part.places if isinstance(part, Spread) else (part.one, part.other)


def _rows(table: int) -> tuple[Place, ...]:
    return tuple(Place(table, row.label) for row in TABLES[f"table{table}"].rows)


def _trained(says: str, *parts: Margin | Spread) -> Claim:
    """About trained detectors; it stands where its last table does."""
    claim = Claim(says=says, where="", parts=parts)
    *others, last = claim.tables
    listed = f"Tables {', '.join(map(str, others))} and {last}" if others else f"Table {last}"
    return replace(claim, where=f"Sec. {TABLES[f'table{last}'].section}, {listed}")


def _six(one: Place, other: Place, ap: Region, rest: Region | None, *paper: float) -> list[Margin]:
    """In all six metrics, AP first."""
    named = zip(paper, [ap, *[rest] * 5], HEADINGS.values(), HEADINGS, strict=True)
    return [Margin(one, other, *its) for its in named]


def _counted(says: str, paper: str) -> Claim:
    where = 'Sec. 4.1, "Maintaining fairness"'
    return Claim(says=says, where=where, paper=paper, evidence="counting")


FCOS, RETINANET, GROUP_NORM, GIOU, IN_GT_BOX, CENTERNESS, IMPROVED = _rows(1)
IOU_BOX, IOU_POINT, SSC_BOX, SSC_POINT = _rows(2)
PLAIN, WITH_ATSS, PLAIN_FCOS, FCOS_SAMPLING, FCOS_WITH_ATSS = _rows(3)
K3, K5, K7, K9, K11, K13, K15, K17, K19 = _rows(4)
NINE, NINE_IMPROVED, NINE_ATSS, *FEWER_ATSS = _rows(7)
BARE, DCN, MULTI_SCALE = _rows(8)[:3], _rows(8)[3:6], _rows(8)[6:]  # the last of two backbones

LISTED = {
    "H1": _trained(
        "FCOS as published is far better than RetinaNet with one anchor per location",
        Margin(FCOS, RETINANET, 5.3, Region(4, is_open=True)),
    ),
    "H2": _trained(
        "Improvements that any detector can have explain most of that gap",
        Margin(IMPROVED, RETINANET, 4.5, Region(3.3, is_open=True), "all five"),
        Margin(GROUP_NORM, RETINANET, 0.9, Region(0), "GroupNorm"),
        Margin(GIOU, GROUP_NORM, 1.5, Region(0), "GIoU loss"),
        Margin(IN_GT_BOX, GIOU, 0.4, Region(0.1, 0.7), "in GT box"),
        Margin(CENTERNESS, IN_GT_BOX, 1.5, Region(0), "centerness"),
        Margin(IMPROVED, CENTERNESS, 0.2, Region(-0.1, 0.5), "scalar"),
    ),
    "H3": _trained(
        "With the same improvements RetinaNet (#A=1) is still behind FCOS",
        Margin(FCOS, IMPROVED, 0.8, Region(0.4, 1.2)),
    ),
    "H4": _trained(
        "What is left of the gap comes from how positive and negative samples are selected",
        Margin(SSC_BOX, IOU_BOX, 0.8, Region(0.4), "from a box"),
        Margin(SSC_POINT, IOU_POINT, 0.9, Region(0.4), "from a point"),
    ),
    "H5": _trained(
        "Whether regression starts from a box or from a point makes no difference",
        Spread((IOU_BOX, IOU_POINT), 0.1, Region(0, 0.3), "IoU samples"),
        Spread((SSC_POINT, SSC_BOX), 0.0, Region(0, 0.3), "spatial and scale samples"),
    ),
    "H6": _trained(
        "ATSS lifts RetinaNet (#A=1), in all six metrics",
        *_six(WITH_ATSS, PLAIN, Region(1.7), POSITIVE, 2.3, 2.4, 2.9, 2.9, 2.1, 2.7),
    ),
    "H7": _trained(
        "ATSS lifts FCOS",
        *_six(FCOS_WITH_ATSS, PLAIN_FCOS, Region(0.9), None, 1.4, 1.7, 1.7, 0.6, 1.3, 2.7),
    ),
    "H8": _trained(
        "Center sampling, the lite version of ATSS, lifts FCOS as well, though less",
        Margin(FCOS_SAMPLING, PLAIN_FCOS, 0.8, Region(0.4), "lite over none"),
        Margin(FCOS_WITH_ATSS, FCOS_SAMPLING, 0.6, Region(0.2), "full over lite"),
    ),
    "H9": _trained(
        "With ATSS there is no gap left between RetinaNet (#A=1) and FCOS",
        Spread((WITH_ATSS, FCOS_WITH_ATSS), 0.1, Region(0, 0.3)),
    ),
    "H10": _trained(
        "AP hardly depends on k from 7 to 17",
        Spread((K7, K9, K11, K13, K15, K17), 0.3, Region(0, 0.5)),
    ),
    "H11": _trained(
        "A k that is too small costs AP, one that is too large costs a little",
        Margin(K9, K3, 1.3, Region(0.8), "k = 9 over 3"),
        Margin(K9, K5, 0.5, Region(0.1), "k = 9 over 5"),
        Margin(K9, K19, 0.4, Region(0, 0.8), "k = 9 over 19"),
    ),
    "H12": _trained(
        "With ATSS, AP hardly depends on the anchor's scale", Spread(_rows(5), 0.4, Region(0, 0.6))
    ),
    "H13": _trained(
        "With ATSS, AP hardly depends on the anchor's aspect ratio",
        Spread(_rows(6), 0.3, Region(0, 0.5)),
    ),
    "H14": _trained(
        "With IoU samples, nine anchors per location are better than one",
        Margin(NINE_IMPROVED, IMPROVED, 1.4, Region(0.8)),
    ),
    "H15": _trained(
        "With ATSS, more than one anchor per location is of no use",
        Spread((NINE_ATSS, *FEWER_ATSS), 0.1, Region(0, 0.3)),
    ),
    "H16": _trained(
        "The improvements, and then ATSS, lift RetinaNet with nine anchors, too",
        Margin(NINE_IMPROVED, NINE, 2.1, Region(1.3), "improvements"),
        Margin(NINE_ATSS, NINE_IMPROVED, 0.8, Region(0.4), "ATSS"),
        Margin(NINE_ATSS, NINE_IMPROVED, 1.4, None, "ATSS, AP50", "ap50"),
        Margin(NINE_ATSS, NINE_IMPROVED, 1.1, None, "ATSS, AP75", "ap75"),
    ),
    "H17": _counted("An object has about 0.2 k L positives", "9 of 45"),
    "H18": _counted(
        "Their number is the same at every scale, aspect ratio and location", "“invariant”"
    ),
    "H19": _counted(
        "In theory 16 % of the candidates reach mean + standard deviation, in practice more",
        "16 %, in practice 20 %",
    ),
    "H20": Claim(
        says="ATSS costs nothing: the network stays the same",
        where="Sec. 1, 4.2",
        paper="no overhead",
        parts=(
            Margin(WITH_ATSS, PLAIN, None, None, "RetinaNet"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, None, None, "FCOS"),
        ),
        evidence="building",
    ),
    "H21": _trained(
        "Deformable convolutions lift ATSS further, whatever the backbone",
        Margin(DCN[0], BARE[0], 2.7, POSITIVE, BARE[0].label),
        Margin(DCN[1], BARE[1], 2.6, POSITIVE, BARE[1].label),
        Margin(DCN[2], BARE[2], 2.1, POSITIVE, BARE[2].label),
    ),
    "H22": _trained(
        "Testing at several scales lifts it once more",
        Margin(MULTI_SCALE[0], DCN[1], 2.9, POSITIVE, DCN[1].label),
        Margin(MULTI_SCALE[1], DCN[2], 3.0, POSITIVE, DCN[2].label),
    ),
    "H23": _counted(
        "The IoU and the spatial and scale rules give larger objects many more positives",
        "no number",
    ),
}
CLAIMS = tuple(replace(claim, name=name) for name, claim in LISTED.items())
BY_NAME = {claim.name: claim for claim in CLAIMS}
