"""The paper's claims, H1 to H23, as far as numbers can support or contradict them.

Every claim names the rows it is about, the paper's own number and the region in which a measured
one agrees with it. The regions allow for reruns of one configuration, which differ by 0.1 AP. They
hold for trainings as the paper's; elsewhere only their sign is claimed (docs/claims.md).

Place     a row of one of the paper's tables
Region    which values agree with the paper, in AP points
Margin    one row minus another
Spread    how far several rows lie apart, at most: of two rows, the size of their difference
Equal     two rows that must not differ at all, in what a network costs
Claim     one sentence of the paper, and what has to be looked at
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
        if self.low == -inf:
            return f"at most {self.high:g}"
        return f"{self.low:g} to {self.high:g}".replace("-", "−")

    @property
    def sign(self) -> str:
        """The same in few letters: "> 4", "≥ 0.4", "0.4 to 1.2"."""
        if self.high == inf:
            return f"{'>' if self.is_open else '≥'} {self.low:g}"
        return f"≤ {self.high:g}" if self.low == -inf else str(self)

    @property
    def direction(self) -> "Region | None":
        """What is left of it where values cannot be compared with the paper's: the sign.

        None where the region holds both signs, as of a change that is said to be small. A mere
        upper bound is a tolerance, and the same everywhere.
        """
        if self.low == -inf:
            return self
        return POSITIVE if self.low >= 0 else None


POSITIVE = Region(0, is_open=True)


@dataclass(frozen=True)
class Margin:
    """One row minus another. region None: the paper has it, and it is not judged.

    of_crowds: the margin on images with more objects than the median, less that on all others.
    """

    one: Place
    other: Place
    paper: float | None  # None: nobody published one
    region: Region | None
    what: str = ""  # which of a claim's parts it is; empty where it is the only one
    metric: str = "ap"
    of_crowds: bool = False


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


Part = Margin | Spread | Equal


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper, in our words, and its parts, all of which have to hold.

    paper: its number, where no part has one. evidence: what can judge it; claims about counts have
    no parts, reports.positives knows what to count.
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


# Table 1: RetinaNet (#A=1) with one improvement after the other
FCOS, RETINANET = Place(1, "FCOS"), Place(1, "RetinaNet (#A=1)")
GROUP_NORM, GIOU = Place(1, "+ GroupNorm"), Place(1, "+ GIoU Loss")
IN_GT_BOX, CENTERNESS = Place(1, "+ In GT Box"), Place(1, "+ Centerness")
IMPROVED = Place(1, "+ Scalar")
# Table 2: sample selection, and where regression starts
IOU_BOX = Place(2, "Intersection over Union, Box")
IOU_POINT = Place(2, "Intersection over Union, Point")
SSC_BOX = Place(2, "Spatial and Scale Constraint, Box")
SSC_POINT = Place(2, "Spatial and Scale Constraint, Point")
# Table 3: ATSS in both detectors
PLAIN, WITH_ATSS = Place(3, "RetinaNet (#A=1)"), Place(3, "RetinaNet (#A=1) + ATSS")
PLAIN_FCOS, FCOS_WITH_ATSS = Place(3, "FCOS"), Place(3, "FCOS + ATSS")
FCOS_SAMPLING = Place(3, "FCOS + Center sampling")
# Tables 4 to 6: ATSS with other settings
K3, K5, K9, K19 = (Place(4, f"k = {k}") for k in (3, 5, 9, 19))
KS = tuple(Place(4, f"k = {k}") for k in (7, 9, 11, 13, 15, 17))
SCALES = tuple(Place(5, f"{scale}S") for scale in (5, 6, 7, 8, 9))
RATIOS = tuple(Place(6, ratio) for ratio in ("1:4", "1:2", "1:1", "2:1", "4:1"))
# Table 7: nine anchors per location, then fewer
NINE, NINE_IMPROVED = Place(7, "RetinaNet (#A=9)"), Place(7, "+Imprs.")
NINE_ATSS = Place(7, "+Imprs.+ATSS (3 sc, 3 ar)")
FEWER_ATSS = tuple(
    Place(7, f"+Imprs.+ATSS ({sc} sc, {ar} ar)") for sc, ar in ((3, 1), (1, 3), (1, 1))
)
# Table 8: larger backbones
BACKBONES = ("ResNet-101", "ResNeXt-32x8d-101", "ResNeXt-64x4d-101")
BARE = tuple(Place(8, name) for name in BACKBONES)
DCN = tuple(Place(8, f"{name}-DCN") for name in BACKBONES)
MULTI_SCALE = tuple(Place(8, f"{name}-DCN, multi-scale test") for name in BACKBONES[1:])

FAIRNESS = 'Sec. 4.1, "Maintaining fairness"'

CLAIMS = (
    Claim(
        name="H1",
        says="FCOS as published is far better than RetinaNet with one anchor per location",
        where="Sec. 3.2, Table 1",
        parts=(Margin(FCOS, RETINANET, 5.3, Region(4, is_open=True)),),
    ),
    Claim(
        name="H2",
        says="Improvements that any detector can have explain most of that gap",
        where="Sec. 3.2, Table 1",
        parts=(
            Margin(IMPROVED, RETINANET, 4.5, Region(3.3, is_open=True), "all five"),
            Margin(GROUP_NORM, RETINANET, 0.9, Region(0), "GroupNorm"),
            Margin(GIOU, GROUP_NORM, 1.5, Region(0), "GIoU loss"),
            Margin(IN_GT_BOX, GIOU, 0.4, Region(0.1, 0.7), "in GT box"),
            Margin(CENTERNESS, IN_GT_BOX, 1.5, Region(0), "centerness"),
            Margin(IMPROVED, CENTERNESS, 0.2, Region(-0.1, 0.5), "scalar"),
        ),
    ),
    Claim(
        name="H3",
        says="With the same improvements RetinaNet (#A=1) is still behind FCOS",
        where="Sec. 3.2, Table 1",
        parts=(Margin(FCOS, IMPROVED, 0.8, Region(0.4, 1.2)),),
    ),
    Claim(
        name="H4",
        says="What is left of the gap comes from how positive and negative samples are selected",
        where="Sec. 3.3, Table 2",
        parts=(
            Margin(SSC_BOX, IOU_BOX, 0.8, Region(0.4), "from a box"),
            Margin(SSC_POINT, IOU_POINT, 0.9, Region(0.4), "from a point"),
        ),
    ),
    Claim(
        name="H5",
        says="Whether regression starts from a box or from a point makes no difference",
        where="Sec. 3.3, Table 2",
        parts=(
            Spread((IOU_BOX, IOU_POINT), 0.1, 0.3, "IoU samples"),
            Spread((SSC_POINT, SSC_BOX), 0.0, 0.3, "spatial and scale samples"),
        ),
    ),
    Claim(
        name="H6",
        says="ATSS lifts RetinaNet (#A=1), in all six metrics",
        where="Sec. 4.2, Table 3",
        parts=(
            Margin(WITH_ATSS, PLAIN, 2.3, Region(1.7), "AP"),
            Margin(WITH_ATSS, PLAIN, 2.4, POSITIVE, "AP50", "ap50"),
            Margin(WITH_ATSS, PLAIN, 2.9, POSITIVE, "AP75", "ap75"),
            Margin(WITH_ATSS, PLAIN, 2.9, POSITIVE, "AP_S", "ap_s"),
            Margin(WITH_ATSS, PLAIN, 2.1, POSITIVE, "AP_M", "ap_m"),
            Margin(WITH_ATSS, PLAIN, 2.7, POSITIVE, "AP_L", "ap_l"),
        ),
    ),
    Claim(
        name="H7",
        says="ATSS lifts FCOS",
        where="Sec. 4.2, Table 3",
        parts=(
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 1.4, Region(0.9), "AP"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 1.7, None, "AP50", "ap50"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 1.7, None, "AP75", "ap75"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 0.6, None, "AP_S", "ap_s"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 1.3, None, "AP_M", "ap_m"),
            Margin(FCOS_WITH_ATSS, PLAIN_FCOS, 2.7, None, "AP_L", "ap_l"),
        ),
    ),
    Claim(
        name="H8",
        says="Center sampling, the lite version of ATSS, lifts FCOS as well, though less",
        where="Sec. 4.2, Table 3",
        parts=(
            Margin(FCOS_SAMPLING, PLAIN_FCOS, 0.8, Region(0.4), "lite over none"),
            Margin(FCOS_WITH_ATSS, FCOS_SAMPLING, 0.6, Region(0.2), "full over lite"),
        ),
    ),
    Claim(
        name="H9",
        says="With ATSS there is no gap left between RetinaNet (#A=1) and FCOS",
        where="Sec. 4.2, Table 3",
        parts=(Spread((WITH_ATSS, FCOS_WITH_ATSS), 0.1, 0.3),),
    ),
    Claim(
        name="H10",
        says="AP hardly depends on k from 7 to 17",
        where="Sec. 4.3, Table 4",
        parts=(Spread(KS, 0.3, 0.5),),
    ),
    Claim(
        name="H11",
        says="A k that is too small costs AP, one that is too large costs a little",
        where="Sec. 4.3, Table 4",
        parts=(
            Margin(K9, K3, 1.3, Region(0.8), "k = 9 over 3"),
            Margin(K9, K5, 0.5, Region(0.1), "k = 9 over 5"),
            Margin(K9, K19, 0.4, Region(0, 0.8), "k = 9 over 19"),
        ),
    ),
    Claim(
        name="H12",
        says="With ATSS, AP hardly depends on the anchor's scale",
        where="Sec. 4.3, Table 5",
        parts=(Spread(SCALES, 0.4, 0.6),),
    ),
    Claim(
        name="H13",
        says="With ATSS, AP hardly depends on the anchor's aspect ratio",
        where="Sec. 4.3, Table 6",
        parts=(Spread(RATIOS, 0.3, 0.5),),
    ),
    Claim(
        name="H14",
        says="With IoU samples, nine anchors per location are better than one",
        where="Sec. 4.5, Tables 1 and 7",
        parts=(Margin(NINE_IMPROVED, IMPROVED, 1.4, Region(0.8)),),
    ),
    Claim(
        name="H15",
        says="With ATSS, more than one anchor per location is of no use",
        where="Sec. 4.5, Table 7",
        parts=(Spread((NINE_ATSS, *FEWER_ATSS), 0.1, 0.3),),
    ),
    Claim(
        name="H16",
        says="The improvements, and then ATSS, lift RetinaNet with nine anchors, too",
        where="Sec. 4.5, Table 7",
        parts=(
            Margin(NINE_IMPROVED, NINE, 2.1, Region(1.3), "improvements"),
            Margin(NINE_ATSS, NINE_IMPROVED, 0.8, Region(0.4), "ATSS"),
            Margin(NINE_ATSS, NINE_IMPROVED, 1.4, None, "ATSS, AP50", "ap50"),
            Margin(NINE_ATSS, NINE_IMPROVED, 1.1, None, "ATSS, AP75", "ap75"),
        ),
    ),
    Claim(
        name="H17",
        says="An object has about 0.2 k L positives",
        where=FAIRNESS,
        paper="9 of 45",
        evidence="counting",
    ),
    Claim(
        name="H18",
        says="Their number is the same at every scale, aspect ratio and location",
        where=FAIRNESS,
        paper="“invariant”",
        evidence="counting",
    ),
    Claim(
        name="H19",
        says="In theory 16 % of the candidates reach mean + standard deviation, in practice more",
        where=FAIRNESS,
        paper="16 %, in practice 20 %",
        evidence="counting",
    ),
    Claim(
        name="H20",
        says="ATSS costs nothing: the network stays the same",
        where="Sec. 1, 4.2",
        paper="no overhead",
        parts=(Equal(WITH_ATSS, PLAIN, "RetinaNet"), Equal(FCOS_WITH_ATSS, PLAIN_FCOS, "FCOS")),
        evidence="building",
    ),
    Claim(
        name="H21",
        says="Deformable convolutions lift ATSS further, whatever the backbone",
        where="Sec. 4.4, Table 8",
        parts=tuple(
            Margin(one, other, paper, POSITIVE, name)
            for one, other, paper, name in zip(DCN, BARE, (2.7, 2.6, 2.1), BACKBONES, strict=True)
        ),
    ),
    Claim(
        name="H22",
        says="Testing at several scales lifts it once more",
        where="Sec. 4.4, Table 8",
        parts=tuple(
            Margin(one, other, paper, POSITIVE, f"{name}-DCN")
            for one, other, paper, name in zip(
                MULTI_SCALE, DCN[1:], (2.9, 3.0), BACKBONES[1:], strict=True
            )
        ),
    ),
    Claim(
        name="H23",
        says="The IoU and the spatial and scale rules give larger objects many more positives",
        where=FAIRNESS,
        paper="no number",
        evidence="counting",
    ),
)
BY_NAME = {claim.name: claim for claim in CLAIMS}
