"""The paper's claims, H1 to H23, as far as numbers can support or contradict them.

Every claim names the rows it is about, the paper's own number and the region in which a measured
one agrees with it. The regions allow for reruns of one configuration, which differ by 0.1 AP. They
hold for trainings as the paper's; elsewhere only their sign is claimed (docs/claims.md).
"""

from experiments.claim import POSITIVE, Claim, Difference, Equal, Place, Region, Spread

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

IMPROVEMENT = (
    Claim(
        name="H1",
        says="FCOS as published is far better than RetinaNet with one anchor per location",
        where="Sec. 3.2, Table 1",
        parts=(Difference(FCOS, RETINANET, 5.3, Region(4, is_open=True)),),
    ),
    Claim(
        name="H2",
        says="Improvements that any detector can have explain most of that gap",
        where="Sec. 3.2, Table 1",
        parts=(
            Difference(IMPROVED, RETINANET, 4.5, Region(3.3, is_open=True), "all five"),
            Difference(GROUP_NORM, RETINANET, 0.9, Region(0), "GroupNorm"),
            Difference(GIOU, GROUP_NORM, 1.5, Region(0), "GIoU loss"),
            Difference(IN_GT_BOX, GIOU, 0.4, Region(0.1, 0.7), "in GT box"),
            Difference(CENTERNESS, IN_GT_BOX, 1.5, Region(0), "centerness"),
            Difference(IMPROVED, CENTERNESS, 0.2, Region(-0.1, 0.5), "scalar"),
        ),
    ),
    Claim(
        name="H3",
        says="With the same improvements RetinaNet (#A=1) is still behind FCOS",
        where="Sec. 3.2, Table 1",
        parts=(Difference(FCOS, IMPROVED, 0.8, Region(0.4, 1.2)),),
    ),
)

ESSENTIAL = (
    Claim(
        name="H4",
        says="What is left of the gap comes from how positive and negative samples are selected",
        where="Sec. 3.3, Table 2",
        parts=(
            Difference(SSC_BOX, IOU_BOX, 0.8, Region(0.4), "from a box"),
            Difference(SSC_POINT, IOU_POINT, 0.9, Region(0.4), "from a point"),
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
)

ADAPTIVE = (
    Claim(
        name="H6",
        says="ATSS lifts RetinaNet (#A=1), in all six metrics",
        where="Sec. 4.2, Table 3",
        parts=(
            Difference(WITH_ATSS, PLAIN, 2.3, Region(1.7), "AP"),
            Difference(WITH_ATSS, PLAIN, 2.4, POSITIVE, "AP50", "ap50"),
            Difference(WITH_ATSS, PLAIN, 2.9, POSITIVE, "AP75", "ap75"),
            Difference(WITH_ATSS, PLAIN, 2.9, POSITIVE, "AP_S", "ap_s"),
            Difference(WITH_ATSS, PLAIN, 2.1, POSITIVE, "AP_M", "ap_m"),
            Difference(WITH_ATSS, PLAIN, 2.7, POSITIVE, "AP_L", "ap_l"),
        ),
    ),
    Claim(
        name="H7",
        says="ATSS lifts FCOS",
        where="Sec. 4.2, Table 3",
        parts=(
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 1.4, Region(0.9), "AP"),
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 1.7, None, "AP50", "ap50"),
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 1.7, None, "AP75", "ap75"),
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 0.6, None, "AP_S", "ap_s"),
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 1.3, None, "AP_M", "ap_m"),
            Difference(FCOS_WITH_ATSS, PLAIN_FCOS, 2.7, None, "AP_L", "ap_l"),
        ),
    ),
    Claim(
        name="H8",
        says="Center sampling, the lite version of ATSS, lifts FCOS as well, though less",
        where="Sec. 4.2, Table 3",
        parts=(
            Difference(FCOS_SAMPLING, PLAIN_FCOS, 0.8, Region(0.4), "lite over none"),
            Difference(FCOS_WITH_ATSS, FCOS_SAMPLING, 0.6, Region(0.2), "full over lite"),
        ),
    ),
    Claim(
        name="H9",
        says="With ATSS there is no gap left between RetinaNet (#A=1) and FCOS",
        where="Sec. 4.2, Table 3",
        parts=(Spread((WITH_ATSS, FCOS_WITH_ATSS), 0.1, 0.3),),
    ),
)

ROBUST = (
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
            Difference(K9, K3, 1.3, Region(0.8), "k = 9 over 3"),
            Difference(K9, K5, 0.5, Region(0.1), "k = 9 over 5"),
            Difference(K9, K19, 0.4, Region(0, 0.8), "k = 9 over 19"),
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
)

ANCHORS = (
    Claim(
        name="H14",
        says="With IoU samples, nine anchors per location are better than one",
        where="Sec. 4.5, Tables 1 and 7",
        parts=(Difference(NINE_IMPROVED, IMPROVED, 1.4, Region(0.8)),),
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
            Difference(NINE_IMPROVED, NINE, 2.1, Region(1.3), "improvements"),
            Difference(NINE_ATSS, NINE_IMPROVED, 0.8, Region(0.4), "ATSS"),
            Difference(NINE_ATSS, NINE_IMPROVED, 1.4, None, "ATSS, AP50", "ap50"),
            Difference(NINE_ATSS, NINE_IMPROVED, 1.1, None, "ATSS, AP75", "ap75"),
        ),
    ),
)

FAIRNESS = 'Sec. 4.1, "Maintaining fairness"'
COUNTED = (
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
)

COSTS = (
    Claim(
        name="H20",
        says="ATSS costs nothing: the network stays the same",
        where="Sec. 1, 4.2",
        paper="no overhead",
        parts=(Equal(WITH_ATSS, PLAIN, "RetinaNet"), Equal(FCOS_WITH_ATSS, PLAIN_FCOS, "FCOS")),
        evidence="building",
    ),
)

LARGER = (
    Claim(
        name="H21",
        says="Deformable convolutions lift ATSS further, whatever the backbone",
        where="Sec. 4.4, Table 8",
        parts=tuple(
            Difference(one, other, paper, POSITIVE, name)
            for one, other, paper, name in zip(DCN, BARE, (2.7, 2.6, 2.1), BACKBONES, strict=True)
        ),
    ),
    Claim(
        name="H22",
        says="Testing at several scales lifts it once more",
        where="Sec. 4.4, Table 8",
        parts=tuple(
            Difference(one, other, paper, POSITIVE, f"{name}-DCN")
            for one, other, paper, name in zip(
                MULTI_SCALE, DCN[1:], (2.9, 3.0), BACKBONES[1:], strict=True
            )
        ),
    ),
)

UNFAIR = (
    Claim(
        name="H23",
        says="The IoU and the spatial and scale rules give larger objects many more positives",
        where=FAIRNESS,
        paper="no number",
        evidence="counting",
    ),
)

CLAIMS = (
    *(*IMPROVEMENT, *ESSENTIAL, *ADAPTIVE, *ROBUST, *ANCHORS),
    *(*COUNTED, *COSTS, *LARGER, *UNFAIR),
)
BY_NAME = {claim.name: claim for claim in CLAIMS}
