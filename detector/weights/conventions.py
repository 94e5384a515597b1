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

from detector.anchors import STRIDES
from detector.config import Deformable
from detector.data.transforms import IMAGENET, Normalization

Names = tuple[tuple[str, str], ...]  # patterns in our tensors' names, each replaced in turn

LEVEL_SCALES = (r"^head\.scales$", "head.scales.{}.scale")  # one tensor per level there


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and conventions of a file of weights; the defaults are this project's own."""

    name: str = "atss-suite"
    names: Names = ()
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

    def is_weight(self, theirs: str) -> bool:
        """Whether one of their tensors is needed; batch norm's counts and kept anchors are not."""
        is_anchors = self.anchors_key and theirs.startswith(self.anchors_key)
        return not is_anchors and not theirs.endswith("num_batches_tracked")

    def their_key(self, ours: str) -> str:
        """Our tensor's name -> theirs; "{}" stands for a level."""
        for pattern, replacement in self.names:
            ours = re.sub(pattern, replacement, ours)
        return ours

    def sources(self, ours: str) -> list[str]:
        """Their tensors that make up ours: one, or one per level."""
        levels = range(len(STRIDES))
        return list(dict.fromkeys(self.their_key(ours).format(level) for level in levels))

    def conventions(self) -> list[str]:
        """What differs between the layouts, in words."""
        images, first = self.normalization, STRIDES[0]
        order = "".join("RGB"[channel] for channel in images.channels)
        return [
            f"images: {order} from 0 to {255 / images.scale:g}, minus {images.mean}, "
            f"divided by {images.std}",
            f"network: stride in the {'1x1' if self.stride_in_1x1 else '3x3'} convolutions, "
            f"P7 from {'ReLU(P6)' if self.rectified_p6 else 'P6'}",
            f"boxes: anchors of P3 at {first} i + {first / 2 + self.anchor_offset(first):g} px, "
            f"x2 and y2 are the {'last pixel' if self.inclusive_corners else 'end'}",
            f"scores: {'root of ' if self.geometric_score else ''}probability x centerness",
        ]


ATSS_SUITE = Layout()


def own_layout(deformable: Deformable) -> Layout:
    """This project's own, for a detector with deformable convolutions in these stages (Table 8).

    C3 is layer2's. The last convolutions of both towers are then deformable, too.
    """
    stages = {"none": (), "c3-c5": (2, 3, 4), "c4-c5": (3, 4)}[deformable]
    return replace(ATSS_SUITE, deformable_stages=stages, deformable_towers=bool(stages))


OFFICIAL = Layout(
    name="official ATSS",
    names=(
        (r"^backbone\.body\.(conv1|bn1)\.", r"backbone.body.stem.\1."),
        # Its pyramid counts from the stem's C1, ours from C3.
        *((rf"fpn\.(inner|layer)_blocks\.{i}\.0", rf"fpn.fpn_\g<1>{i + 2}") for i in range(3)),
        (r"fpn\.extra_blocks", "fpn.top_blocks"),
        ("box_tower", "bbox_tower"),
        # A tower is one flat list there: convolution, norm, ReLU, convolution, norm ...
        *((rf"tower\.{i}\.conv", f"tower.{3 * i}") for i in range(4)),
        *((rf"tower\.{i}\.norm", f"tower.{3 * i + 1}") for i in range(4)),
        LEVEL_SCALES,
        (r"^head\.", "rpn.head."),
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
    names=(
        (r"^backbone\.body\.", "backbone."),
        (r"^backbone\.fpn\.inner_blocks\.(\d)\.0", r"neck.lateral_convs.\1.conv"),
        (r"^backbone\.fpn\.layer_blocks\.(\d)\.0", r"neck.fpn_convs.\1.conv"),
        *((rf"^backbone\.fpn\.extra_blocks\.p{i}", f"neck.fpn_convs.{i - 3}.conv") for i in (6, 7)),
        # A deformable convolution is one module there, with the offsets' convolution inside.
        (r"(conv2?)\.conv\.", r"\1."),
        (r"(conv2?)\.offset\.", r"\1.conv_offset."),
        (r"\.norm\.", ".gn."),
        (r"head\.cls_tower", "head.cls_convs"),
        (r"head\.box_tower", "head.reg_convs"),
        (r"head\.cls_logits", "head.atss_cls"),
        (r"head\.bbox_pred", "head.atss_reg"),
        (r"head\.centerness", "head.atss_centerness"),
        LEVEL_SCALES,
        (r"^head\.", "bbox_head."),
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
