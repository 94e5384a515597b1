"""The paper's toggles, and how a detector is trained: plain data, no torch.

Both are flat: a config is at once a line of a table, a tracker's params and a CSV header.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

# The paper's, and those of Table 9
Assigner = Literal[
    "iou", "ssc", "center_sampling", "atss", "top_k", "tal", "simota", "paa", "poto"
]  # fmt: skip
RegressFrom = Literal["box", "point"]
BackboneName = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "resnext101_32x8d", "resnext101_64x4d", "small"
]  # fmt: skip
Deformable = Literal["none", "c3-c5", "c4-c5"]
Norm = Literal["frozen_batch_norm", "group_norm"]
Precision = Literal["fp32", "bf16"]
Optimizer = Literal["sgd", "adamw"]
Decay = Literal["step", "cosine"]
Compiled = Literal["auto", "yes", "no"]

CHANNELS_PER_GROUP = 8  # of every GroupNorm: the paper's 32 groups at its 256 channels
K = 9  # the paper's choice of ATSS's only hyperparameter (Table 4)
WORDS = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """A dense detector. The defaults are the paper's RetinaNet (#A=1): Table 1, 32.5 AP.

    Values are coerced to their field's type, so equal settings are equal configs however they were
    written. Contradictions and settings without effect raise ValueError. Older variants of the
    official code have no field here: what published weights need comes with their file (layouts).
    """

    # Table 1: the five implementation inconsistencies (Sec. 3.2)
    group_norm: bool = False  # GroupNorm after every convolution of the head's towers
    giou_loss: bool = False  # GIoU of decoded boxes; off: smooth L1 of the box coder's codes
    in_gt_box: bool = False  # a positive's center lies inside its ground-truth box
    centerness: bool = False  # a branch that predicts it; weighs the box loss and the score
    scalar: bool = False  # one learnable factor per level on the box output
    # Table 2: the two differences that are left (Sec. 3.3)
    assigner: Assigner = "iou"
    regress_from: RegressFrom = "box"
    # Tables 4 to 7
    k: int = K  # candidates per FPN level, ground truth and anchor slot (k x anchors per location)
    anchor_scales: tuple[float, ...] = (8.0,)  # anchor side / stride; 8.0 is the paper's "8S"
    aspect_ratios: tuple[float, ...] = (1.0,)  # height / width

    def __post_init__(self) -> None:
        _coerce(self)
        _check_positive(self, "k", "anchor_scales", "aspect_ratios")
        for problem in self._contradictions():
            raise ValueError(problem)

    @property
    def anchors_per_location(self) -> int:
        """The paper's #A: anchor scales times aspect ratios."""
        return len(self.anchor_scales) * len(self.aspect_ratios)

    def _contradictions(self) -> Iterator[str]:
        """What no detector can be (docs/choices.md Q29), or what would give one run two names."""
        if self.assigner != "iou" and not self.in_gt_box:
            yield (
                f"assigner='{self.assigner}' needs in_gt_box=true, got false: "
                "its positives always lie inside their ground truth"
            )
        if self.centerness and not self.in_gt_box:
            yield (
                "centerness=true needs in_gt_box=true, got false: "
                "the centerness of a point outside its box is undefined (Sec. 3.2)"
            )
        if self.regress_from == "point" and not self.in_gt_box:
            yield (
                "regress_from='point' needs in_gt_box=true, got false: "
                "distances to the sides are negative outside the box"
            )
        if self.regress_from == "point" and not self.giou_loss:
            yield (
                "regress_from='point' needs giou_loss=true, got false: "
                "smooth L1 is defined on the four offsets from a box (Sec. 3.3)"
            )
        if self.regress_from == "point" and self.anchors_per_location > 1:
            yield (
                "regress_from='point' needs one anchor per location, got "
                f"{len(self.anchor_scales)} scales x {len(self.aspect_ratios)} aspect ratios: "
                "a location has only one point"
            )
        if self.assigner != "atss" and self.k != K:
            yield (
                f"k={self.k} needs assigner='atss', got '{self.assigner}': "
                "no other assigner reads k, so it would name one run twice"
            )


LR_DROPS = (2 / 3, 8 / 9)
# A field marked with this cannot move a number, so it is no part of a run's identity.
OUTSIDE_IDENTITY = {"identity": False}
# A field marked with this is part of it where it is not at its default: it came after results were
# stored, which were measured as by its default and keep their names.
ADDED_LATER = {"identity": "unless default"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a detector is built around its toggles, trained and tested. The defaults are the paper's.

    Sec. 3.1 "Training Detail" and "Inference Detail"; where it is silent, its code.
    """

    # Backbone (Sec. 3.1)
    backbone: BackboneName = "resnet50"
    norm: Norm = "frozen_batch_norm"  # of the backbone; group_norm trains, and needs no weights
    weights: str = "imagenet"  # "imagenet" (torchvision's V1), "none", or a file's path
    pyramid_channels: int = 256  # of P3 to P7 and the head's towers
    # Stages whose 3x3 convolutions are deformable, with the towers' last ones (Table 8's "DCN")
    deformable: Deformable = field(default="none", metadata=ADDED_LATER)
    # Optimization
    iterations: int = 90_000
    batch_size: int = 16  # images per step, over all micro-batches and devices
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.01
    lr_decay: Decay = "step"
    lr_drops: tuple[float, ...] = LR_DROPS  # shares of iterations: 60k, 80k
    warmup_iterations: int = 500
    warmup_factor: float = 1 / 3  # constant share of the learning rate during the warm-up
    momentum: float = 0.9
    weight_decay: float = 1e-4  # not on biases
    bias_lr_factor: float = 2.0
    clip_gradient_norm: float = 0.0  # 0 clips nothing
    precision: Precision = "fp32"  # of maps; assignment, IoU and losses are always fp32
    # Images, in pixels
    short_side: tuple[int, ...] = (800, 800)  # smallest and largest, drawn per image when training
    long_side: int = 1333  # at most
    # Test (Sec. 3.1 "Inference Detail")
    score_threshold: float = 0.05
    candidates_per_level: int = 1000
    # The paper's; RetinaNet's own code has 0.4: one value for all rows, or Table 1 would vary two.
    nms_threshold: float = 0.6
    max_detections: int = 100  # of an image; multi-scale testing: of each of its passes
    multi_scale_test: bool = field(default=False, metadata=ADDED_LATER)  # Table 8's last two rows
    # Execution
    threads: int = 1  # CPU threads per run: fixed here because sums depend on their number
    evaluations: int = field(default=9, metadata=OUTSIDE_IDENTITY)  # times AP is measured, evenly
    # Whether backbone and head are compiled, which moves last digits as another device does; auto:
    # on a GPU, where the run is long enough
    compiled: Compiled = field(default="auto", metadata=OUTSIDE_IDENTITY)

    def __post_init__(self) -> None:
        _coerce(self)
        _check_positive(self, "iterations", "batch_size", "learning_rate", "candidates_per_level")
        _check_positive(self, "short_side", "long_side", "max_detections", "threads", "evaluations")
        _check_positive(self, "warmup_factor")
        for name in ("warmup_iterations", "weight_decay", "bias_lr_factor", "clip_gradient_norm"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise ValueError(f"{name} needs a number from 0 on, got {value:g}")
        for name in ("score_threshold", "nms_threshold"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} needs a number from 0 to 1, got {value:g}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum needs a number from 0 to below 1, got {self.momentum:g}")
        if list(self.lr_drops) != sorted({share for share in self.lr_drops if 0 < share <= 1}):
            raise ValueError(
                f"lr_drops needs rising shares of the iterations, at most 1, got {self.lr_drops}"
            )
        if self.lr_decay == "cosine" and self.lr_drops != LR_DROPS:
            raise ValueError(
                f"lr_drops={self.lr_drops} needs lr_decay=step, got 'cosine': it never drops, so "
                "they would name one run twice"
            )
        if self.pyramid_channels < 1 or self.pyramid_channels % CHANNELS_PER_GROUP:
            raise ValueError(
                f"pyramid_channels needs a multiple of {CHANNELS_PER_GROUP}, the channels of a "
                f"GroupNorm group, got {self.pyramid_channels}"
            )
        if len(self.short_side) != 2 or self.short_side[0] > self.short_side[1]:
            raise ValueError(
                f"short_side needs the smallest and the largest, in pixels, got {self.short_side}"
            )
        if self.long_side < self.short_side[1]:
            raise ValueError(
                f"long_side needs at least the largest short side, {self.short_side[1]}, got "
                f"{self.long_side}: set both"
            )
        has_statistics = self.weights != "none" and self.backbone != "small"
        if self.norm == "frozen_batch_norm" and not has_statistics:
            raise ValueError(
                "norm='frozen_batch_norm' needs pretrained weights of a ResNet, got "
                f"weights='{self.weights}' with backbone='{self.backbone}': frozen statistics "
                "cannot be learnt; set norm=group_norm"
            )
        if self.norm == "group_norm" and self.weights == "imagenet":
            raise ValueError(
                "norm='group_norm' needs weights=none or a file, got 'imagenet': "
                "torchvision's weights come with batch normalization"
            )


def _coerce(settings: Any) -> None:
    """Bring every field to its default's type: 8 and 8.0, [8] and (8.0,) are one setting.

    ValueError for a value that this would change, and for one that is none of a field's choices.
    """
    for item in fields(settings):
        default: Any = item.default
        value, kind = getattr(settings, item.name), type(default)
        if kind is tuple:
            inner = type(default[0])
            values = value if isinstance(value, (tuple, list)) else (value,)
            value = tuple(_number(item.name, entry, inner) for entry in values)
        elif kind in (bool, int, float):
            value = _number(item.name, value, kind)
        elif get_origin(item.type) is Literal:
            check_choice(item.name, value, get_args(item.type))
        object.__setattr__(settings, item.name, value)


def _number(name: str, value: Any, kind: type) -> Any:
    """The value as kind; ValueError where that would change it."""
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, str) or number != value:
        raise ValueError(f"{name} needs {WORDS[kind]}, got {value!r}")
    return number


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """ValueError, with the nearest, for a value that is none of a field's choices."""
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ValueError(f"{name} needs one of {', '.join(choices)}, got {value!r}{hint}")


def did_you_mean(text: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of what is known, for the end of a line that refuses a text; or nothing."""
    near = get_close_matches(text, list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(0 < entry < float("inf") for entry in values):
            raise ValueError(f"{name} needs to be positive, got {value!r}")
