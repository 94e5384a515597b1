"""What files of weights call their tensors, and under which conventions they were learnt.

    ATSS_SUITE    this project's own
    OFFICIAL      the paper's code
    MMDETECTION   mmdetection 2 and 3

The network is the same; where a bottleneck halves the map, what a pixel's number means, where an
anchor stands and the like is not (docs/choices.md Q31). build_backbone and build_detector turn the
differences into parts; only Layout knows whose they are.
"""

import re
from dataclasses import dataclass, replace

from detector.config import Deformable
from detector.data.transforms import IMAGENET, Normalization


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and conventions of a file of weights; the defaults are this project's own."""

    name: str = "atss-suite"
    mark: str = "head.cls_logits.weight"  # a tensor that no other layout has
    names: tuple[tuple[str, str], ...] = ()  # patterns in theirs, each replaced in turn, give ours
    anchors_key: str = ""  # before a level's number: its first location's anchors, [A, 4], if kept
    normalization: Normalization = IMAGENET
    # Backbone
    stride_in_1x1: bool = False  # a stage halves its map in the first 1x1 convolution, not the 3x3
    batch_norm_eps: float = 1e-5
    rectified_p6: bool = True  # P7 comes from ReLU(P6), not from P6
    deformable_stages: tuple[int, ...] = ()  # of 1 to 4: those of deformable 3x3 convolutions
    # Head
    deformable_towers: bool = False  # the last convolution of both towers
    tower_bias: bool = True  # the towers' convolutions have one; else it is 0
    # Boxes and scores
    anchor_offset_strides: float = 0.0  # of the anchors' centers, beside (i + 0.5) S
    anchor_offset_pixels: float = 0.0
    bounded_shrinking: bool = False  # decoding bounds the size ratios below as it does above
    geometric_score: bool = True  # sqrt(probability x centerness), not their product
    point_margin: float = 0.0  # pixels that a box has beyond distances from a point, on every side
    inclusive_corners: bool = False  # x2, y2 are the last pixel's index: resizing scaled them so

    def anchor_offset(self, stride: int) -> float:
        """How far right of and below (i + 0.5) S a level's anchors stand, in pixels."""
        return self.anchor_offset_strides * stride + self.anchor_offset_pixels

    def our_key(self, theirs: str) -> str:
        """Their tensor's name -> ours, but that their scalars are one tensor per level."""
        for pattern, replacement in self.names:
            theirs = re.sub(pattern, replacement, theirs)
        return theirs


ATSS_SUITE = Layout()


def own_layout(deformable: Deformable) -> Layout:
    """This project's own, for a detector with deformable convolutions in these stages (Table 8).

    C3 is layer2's. The last convolutions of both towers are then deformable, too.
    """
    stages = {"none": (), "c3-c5": (2, 3, 4), "c4-c5": (3, 4)}[deformable]
    return replace(ATSS_SUITE, deformable_stages=stages, deformable_towers=bool(stages))


OFFICIAL = Layout(
    name="official ATSS",
    mark="rpn.head.cls_logits.weight",
    names=(
        (r"^backbone\.body\.stem\.", "backbone.body."),
        # Its pyramid counts from the stem's C1, ours from C3.
        *((rf"fpn\.fpn_(inner|layer){i + 2}\.", rf"fpn.\1_blocks.{i}.0.") for i in range(3)),
        (r"fpn\.top_blocks", "fpn.extra_blocks"),
        # A tower is one flat list there: convolution, norm, ReLU, convolution, norm ...
        *(
            (rf"^rpn\.head\.b?(cls|box)_tower\.{3 * i}\.", rf"head.\1_tower.{i}.conv.")
            for i in range(4)
        ),
        *(
            (rf"^rpn\.head\.b?(cls|box)_tower\.{3 * i + 1}\.", rf"head.\1_tower.{i}.norm.")
            for i in range(4)
        ),
        (r"^rpn\.head\.", "head."),
    ),
    anchors_key="rpn.anchor_generator.cell_anchors.",
    normalization=Normalization(
        mean=(102.9801, 115.9465, 122.7717), std=(1.0, 1.0, 1.0), scale=1.0, channels=(2, 1, 0)
    ),
    stride_in_1x1=True,  # not its ResNeXts
    batch_norm_eps=0.0,
    # Its pixel i is the point i, ours reaches from i to i + 1.
    anchor_offset_pixels=0.5,
    # Distances are between pixels' middles: half a pixel is missing at either end.
    point_margin=0.5,
    inclusive_corners=True,
)

MMDETECTION = Layout(
    name="mmdetection ATSS",
    mark="bbox_head.atss_cls.weight",
    names=(
        (r"^backbone\.", "backbone.body."),
        (r"^neck\.lateral_convs\.(\d)\.conv", r"backbone.fpn.inner_blocks.\1.0"),
        (r"^neck\.fpn_convs\.([0-2])\.conv", r"backbone.fpn.layer_blocks.\1.0"),
        *((rf"^neck\.fpn_convs\.{i - 3}\.conv", f"backbone.fpn.extra_blocks.p{i}") for i in (6, 7)),
        (r"\.conv_offset(_mask)?\.", ".offset."),  # "_mask": its older name
        (r"\.gn\.", ".norm."),
        (r"\.cls_convs\.", ".cls_tower."),
        (r"\.reg_convs\.", ".box_tower."),
        (r"\.atss_cls\.", ".cls_logits."),
        (r"\.atss_reg\.", ".bbox_pred."),
        (r"\.atss_centerness\.", ".centerness."),
        (r"^bbox_head\.", "head."),
    ),
    normalization=Normalization(
        mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), scale=1.0
    ),
    rectified_p6=False,
    tower_bias=False,
    anchor_offset_strides=-0.5,
    bounded_shrinking=True,
    geometric_score=False,
)

LAYOUTS = (ATSS_SUITE, OFFICIAL, MMDETECTION)
