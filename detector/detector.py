"""The detector: images in, losses or detections out. The page that tells the story.

    images -> backbone -> head -> predictions            (forward)
    anchors, ground truth -> assigner -> samples         (select_samples)
    predictions at the samples -> focal, box, centerness (loss)
    predictions -> threshold, decode, NMS                (detect)

Shapes: B images, L levels, A anchors in all, M ground truths of an image, P positives of the batch,
C classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from detector import losses
from detector.anchors import STRIDES, cell_anchors, grid_anchors, level_sizes
from detector.assigners import IGNORED, Assigner, BatchAssigner, build_assigner
from detector.backbone import PyramidBackbone, build_backbone
from detector.box_coders import MAX_LOG_RATIO, BoxCoder, Coder, PointCoder
from detector.config import DetectorConfig, Recipe
from detector.data.transforms import SIZE_DIVISOR, collate, padded_size
from detector.head import Head, Predictions
from detector.postprocess import Detections, Postprocess, Score, geometric_mean
from detector.prediction_assigners import Predicted
from detector.weights.conventions import ATSS_SUITE, Layout

MAX_SIZES = 64  # padded sizes that are compiled; torch's own limit is eight
Target = dict[str, Tensor]  # boxes [M, 4] in pixels of the input, labels [M] from 0


@dataclass(frozen=True)
class Normalizers:
    """What the losses are divided by: of the whole batch, known before any forward pass."""

    num_positives: Tensor  # scalar
    centerness: Tensor  # scalar, summed over the positives


@dataclass(frozen=True)
class Samples:
    """What every anchor of a batch learns."""

    classes: Tensor  # [B, A] int64: label, NEGATIVE or IGNORED
    counted: Tensor  # [B x A or fewer] indices, image after image, of all but the ignored
    image: Tensor  # [P] index of the positive's image
    anchor: Tensor  # [P] index of the positive's anchor
    anchors: Tensor  # [P, 4]
    gt_boxes: Tensor  # [P, 4]
    centerness: Tensor  # [P] target; 1 without a centerness branch


def normalizers_of(parts: Sequence[Samples]) -> Normalizers:
    """Of a batch that was selected in parts."""
    centerness = torch.cat([samples.centerness for samples in parts])
    return Normalizers(centerness.new_tensor(float(len(centerness))), centerness.sum())


def build_detector(
    config: DetectorConfig,
    num_classes: int,
    *,
    backbone: PyramidBackbone | None = None,
    postprocess: Postprocess | None = None,
    layout: Layout = ATSS_SUITE,
    assigner: Assigner | None = None,
) -> "Detector":
    """The one place where the paper's toggles become parts.

    backbone: default ResNet-50 with frozen batch norm and no weights, the paper's architecture.
    assigner: a user's own, in place of the configured one.
    layout: conventions of weights that are filled in afterwards.
    """
    backbone = backbone or build_backbone(layout=layout)
    if config.regress_from == "box":
        bound = -MAX_LOG_RATIO if layout.bounded_shrinking else -math.inf
        coder: Coder = BoxCoder(min_log_ratio=bound)
    else:
        coder = PointCoder(config.anchor_scales[0], layout.point_margin)
    return Detector(
        backbone=backbone,
        head=Head(
            backbone.out_channels,
            num_classes,
            anchors_per_location=config.anchors_per_location,
            num_levels=len(STRIDES),
            group_norm=config.group_norm,
            centerness=config.centerness,
            scalar=config.scalar,
            initial_bias=coder.initial_bias,
            deformable=layout.deformable_towers,
        ),
        cells=[
            cell_anchors(stride, config.anchor_scales, config.aspect_ratios)
            + layout.anchor_offset(stride)
            for stride in STRIDES
        ],
        assigner=build_assigner(config, assigner),
        coder=coder,
        regression_loss=losses.giou if config.giou_loss else losses.smooth_l1,
        regression_weight=losses.GIOU_WEIGHT if config.giou_loss else losses.SMOOTH_L1_WEIGHT,
        postprocess=postprocess or Postprocess(),
        score=geometric_mean if layout.geometric_score else torch.mul,
    )


def assemble_detector(
    config: DetectorConfig,
    recipe: Recipe,
    num_classes: int,
    layout: Layout,
    *,
    weights: str = "none",
    assigner: Assigner | None = None,
) -> "Detector":
    """The detector that a recipe says; weights: of the backbone, as build_backbone takes them."""
    return build_detector(
        config,
        num_classes,
        backbone=build_backbone(
            recipe.backbone, recipe.norm, weights, recipe.pyramid_channels, layout
        ),
        postprocess=postprocess_of(recipe),
        layout=layout,
        assigner=assigner,
    )


def postprocess_of(recipe: Recipe) -> Postprocess:
    """The part of a recipe that is about what becomes of predictions."""
    names = [item.name for item in fields(Postprocess)]
    return Postprocess(**{name: getattr(recipe, name) for name in names})


class Detector(nn.Module):
    """A dense one-stage detector, made of parts; build_detector chooses them."""

    def __init__(
        self,
        *,
        backbone: PyramidBackbone,
        head: Head,
        cells: list[Tensor],
        assigner: BatchAssigner,
        coder: Coder,
        regression_loss: losses.RegressionLoss,
        regression_weight: float,
        postprocess: Postprocess,
        score: Score = geometric_mean,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        for level, cell in enumerate(cells):
            self.register_buffer(f"cells_{level}", cell, persistent=False)
        self.assigner = assigner
        self.coder = coder
        self.regression_loss = regression_loss
        self.regression_weight = regression_weight
        self.postprocess = postprocess
        self.score = score
        self.trained_share = 1.0  # of a training's steps, as far as they are over: train sets it
        # In training on a GPU, in place of forward and of the classification loss's sum.
        self.compiled: Callable[[Tensor], Predictions] | None = None
        self.compiled_focal: Callable[[Tensor, Tensor], Tensor] | None = None

    def forward(self, images: Tensor) -> Predictions:
        """[B, 3, H, W], normalized, H and W multiples of 32 -> Predictions."""
        if self.compiled is not None and self.training:
            return self.compiled(images)
        return self.head(self.backbone(images))

    def compile_training(self) -> None:
        """Compile backbone, head and classification loss for training; moves last digits.

        Anew for each padded size, at its first batch. (One compilation for all sizes had not ended
        after 90 s on an H100, one for a size took 70 s.)
        """
        from torch._dynamo import config as dynamo  # takes a second to import

        dynamo.recompile_limit = MAX_SIZES
        self.compiled = torch.compile(
            lambda images: self.head(self.backbone(images)),
            dynamic=False,
            options={"conv_1x1_as_mm": True},  # as it was measured (benchmarks/gpu)
        )
        self.compiled_focal = torch.compile(losses.focal_of_counted, dynamic=False)

    def anchors(self, height: int, width: int) -> list[Tensor]:
        """[A_l, 4] per level, for a padded input of this size in pixels."""
        cells = [self.get_buffer(f"cells_{level}") for level in range(len(STRIDES))]
        return grid_anchors(level_sizes(height, width), cells)

    @torch.no_grad()
    def predicted(self, images: Tensor, targets: Sequence[Target]) -> Predicted | None:
        """What sample selection looks at, by a forward pass of its own; None if at anchors alone.

        So the normalizers are still known before the losses, of whatever parts the batch has.
        """
        if not self.assigner.at(self.trained_share).needs_predictions:
            return None
        predictions = self(images)
        anchors = torch.cat(self.anchors(images.shape[2], images.shape[3]))
        with torch.autocast(images.device.type, enabled=False):
            boxes = [self.coder.decode(anchors, codes) for codes in predictions.codes.float()]
            probabilities = predictions.cls_logits.float().sigmoid()
        labels = pad_sequence([target["labels"] for target in targets], batch_first=True)
        return Predicted(probabilities, torch.stack(boxes), labels)

    @torch.no_grad()
    def select_samples(
        self,
        size: tuple[int, int],
        targets: Sequence[Target],
        predicted: Predicted | None = None,
    ) -> Samples:
        """Assign every anchor of every image; size: (height, width) of the padded batch.

        predicted: of `predicted`. Anchors in the padding take part, as negatives (the official code
        filters none).
        """
        anchors = self.anchors(*size)
        assigner = self.assigner.at(self.trained_share)
        matched = assigner.of_batch(anchors, [target["boxes"] for target in targets], predicted)
        image, anchor = (matched >= 0).nonzero(as_tuple=True)  # [P] each
        counts = [len(target["boxes"]) for target in targets]
        first = matched.new_tensor([0, *counts[:-1]]).cumsum(0)  # image's first in the batch's list
        ground_truth = first[image] + matched[image, anchor]
        gt_boxes = torch.cat([target["boxes"] for target in targets]).float()[ground_truth]
        classes = matched.clone()
        classes[image, anchor] = torch.cat([target["labels"] for target in targets])[ground_truth]
        # Known here, before the forward pass, so that the losses need not wait for it on a GPU.
        counted = (matched != IGNORED).flatten().nonzero()[:, 0]
        positive_anchors = torch.cat(anchors)[anchor]
        if self.head.centerness is None:
            centerness = positive_anchors.new_ones(len(anchor))
        else:
            centerness = losses.centerness_of(positive_anchors, gt_boxes)
        return Samples(
            classes=classes,
            counted=counted,
            image=image,
            anchor=anchor,
            anchors=positive_anchors,
            gt_boxes=gt_boxes,
            centerness=centerness,
        )

    def loss(
        self, images: Tensor | Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Normalized images [B, 3, H, W] (or a list of [3, H, W]) and targets -> named losses.

        Their sum is what training minimizes. ValueError for unusable targets.
        """
        batch, _ = as_batch(images)
        if len(targets) != len(batch):
            raise ValueError(
                f"loss needs one target per image, got {len(targets)} for {len(batch)}"
            )
        check_targets(targets, self.head.num_classes)
        predicted = self.predicted(batch, targets)
        samples = self.select_samples((batch.shape[2], batch.shape[3]), targets, predicted)
        return self.loss_of(batch, samples, normalizers_of([samples]))

    def loss_of(
        self, images: Tensor, samples: Samples, normalizers: Normalizers
    ) -> dict[str, Tensor]:
        """The same where samples are selected; the images may be a part of the normalizers'."""
        predictions = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return self._losses(predictions, samples, normalizers)

    def _losses(
        self, predictions: Predictions, samples: Samples, normalizers: Normalizers
    ) -> dict[str, Tensor]:
        num_positives = normalizers.num_positives.clamp(min=1)
        cls_logits, classes = predictions.cls_logits.flatten(0, 1), samples.classes.flatten()
        if self.compiled_focal is not None and self.training:
            focal = self.compiled_focal(cls_logits, classes)
        else:
            if len(samples.counted) < len(classes):  # or all would be copied, forward and backward
                cls_logits, classes = cls_logits[samples.counted], classes[samples.counted]
            focal = losses.focal(cls_logits, classes).sum()

        # Without positives these are sums over nothing: 0, yet every parameter gets its gradient.
        codes = predictions.codes[samples.image, samples.anchor]
        box = self.regression_loss(codes, samples.anchors, samples.gt_boxes, self.coder)
        weighted_box = (samples.centerness * box).sum()
        tiny = torch.finfo(weighted_box.dtype).tiny
        result = {
            "cls": focal / num_positives,
            "box": self.regression_weight * weighted_box / normalizers.centerness.clamp(min=tiny),
        }
        if predictions.centerness is not None:
            logits = predictions.centerness[samples.image, samples.anchor]
            error = losses.centerness(logits, samples.centerness)
            result["centerness"] = error.sum() / num_positives
        return result

    @torch.no_grad()
    def detect(self, images: Tensor | Sequence[Tensor]) -> list[Detections]:
        """Normalized images [B, 3, H, W] (or a list of [3, H, W]) -> each one's detections.

        boxes [D, 4] in pixels of that image and clipped to it, scores [D] in (0, 1) falling,
        labels [D]. They are the image's own, whatever is beside it: each is padded for itself, and
        only images of one padded size go through the network together. (GroupNorm sees the padding:
        in mixed batches one detector's AP moved by 0.6.)
        """
        padded = [padded_size([image.shape[-2:]]) for image in images]
        found: dict[int, Detections] = {}
        for size in dict.fromkeys(padded):
            places = [place for place, its in enumerate(padded) if its == size]
            together = images if len(places) == len(padded) else [images[p] for p in places]
            batch, sizes = as_batch(together)
            predictions, anchors = self(batch), self.anchors(*size)
            with torch.autocast(batch.device.type, enabled=False):
                its = self.postprocess(predictions, anchors, self.coder, sizes, self.score)
            found |= zip(places, its, strict=True)
        return [found[place] for place in range(len(padded))]


def as_batch(images: Tensor | Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
    """[B, 3, H, W] or a list of [3, H, W] -> one batch, zeros right and below; and each size."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    if isinstance(images, Tensor) and not any(side % SIZE_DIVISOR for side in images.shape[-2:]):
        return images, sizes
    return collate(list(images)), sizes


def check_targets(targets: Sequence[Target], num_classes: int) -> None:
    """ValueError unless every target has boxes [M, 4] and labels [M] of known classes."""
    for index, target in enumerate(targets):
        boxes, labels = target["boxes"], target["labels"]
        if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
            raise ValueError(
                f"target {index} needs boxes [M, 4] and labels [M], got {list(boxes.shape)} and "
                f"{list(labels.shape)}"
            )
    labels = torch.cat([target["labels"] for target in targets])
    is_unknown = (labels < 0) | (labels >= num_classes)
    if is_unknown.any():
        first = int(is_unknown.int().argmax())
        owners = [index for index, target in enumerate(targets) for _ in target["labels"]]
        raise ValueError(
            f"target {owners[first]} needs labels from 0 to {num_classes - 1}, got "
            f"{int(labels[first])}"
        )
