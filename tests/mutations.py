"""Plants faults into a copy of the project, one at a time, and says which test notices each.

    python tests/mutations.py [--only NAME ...] [--check]

A fault is what one gets wrong when one re-implements the paper: > for >=, the biased standard
deviation, k instead of k x anchors per location. Whatever no test notices is a missing test. A
fault takes half a minute, so this is no part of the test suite; it writes benchmarks/mutations.json
and benchmarks/mutations.md. It exits with 1 if a fault survives, with 2 if one cannot be planted.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "mutations.json"
COPIED = ("detector", "experiments", "reports", "orchestration", "tests", "benchmarks", "docs")
SPOILED = ("detector", "reports")
LIMIT = 900  # seconds for the tests of a file
NO_TESTS = 5  # is pytest's exit code where all tests of a file are slow ones

# A fault that ends in one of these says nothing: the copy does not run at all.
BROKEN = ("NameError", "SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError")
PYTEST = ["-n0", "-x", "-q", "--tb=no", "--durations=0", "--durations-min=999"]
PYTEST += ["-p", "no:cacheprovider", "-m", "not slow and not gpu"]
# COLUMNS: or pytest cuts the messages off. No byte code: it could be that of another fault.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
ENVIRONMENT |= {"HYPOTHESIS_PROFILE": "unshrunk"}


@dataclass(frozen=True)
class Fault:
    """What a re-implementation may get wrong; each edit's old text must be there `times` times.

    The file is found by what is in it, however its lines are broken and whatever it is called, so a
    rename or a move breaks no fault.
    """

    name: str
    module: str  # where it is, should several files have the text
    edits: tuple[tuple[str, str], ...]
    times: int = 1

    def planted(self, root: Path) -> tuple[Path, str]:
        """The file below root, and its text with the fault.

        ValueError unless it is one that has every text as said.
        """
        edits = [(_pattern(old), new) for old, new in self.edits]
        files = [it for package in SPOILED for it in sorted((root / package).rglob("*.py"))]
        texts = {path: path.read_text(encoding="utf-8") for path in files}
        found = [
            path
            for path, text in texts.items()
            if all(len(old.findall(text)) == self.times for old, _ in edits)
        ]
        if len(found) > 1:  # the text alone is not telling
            found = [path for path in found if path.stem == self.module]
        if len(found) != 1:
            raise ValueError(
                f"fault '{self.name}' needs one file with its text {self.times} times, found "
                f"{len(found)}: {self.edits[0][0]!r}"
            )
        text = texts[found[0]]
        for old, new in edits:
            text = old.sub(lambda _, new=new: new, text)
        compile(text, found[0].name, "exec")
        return found[0], text


def _pattern(old: str) -> re.Pattern[str]:
    """The text, whatever spaces and line ends are between its words."""
    core = old.strip()
    before, after = old[: old.index(core)], old[old.index(core) + len(core) :]
    words = r"\s+".join(map(re.escape, core.split()))
    return re.compile(re.escape(before) + words + re.escape(after))


@dataclass
class Outcome:
    """What the tests said of a fault; caught_by is the first that failed, or empty."""

    fault: str
    module: str
    caught_by: str
    message: str
    seconds: float


def fault(name: str, module: str, *edits: tuple[str, str], times: int = 1) -> Fault:
    return Fault(name, module, edits, times)


# fmt: off
FAULTS = [
    # Sample selection by IoU
    fault("IoU of exactly 0.5 is not positive", "iou_assigner",
          ("best_iou >= positive_iou", "best_iou > positive_iou")),
    fault("IoU of exactly 0.4 is negative", "iou_assigner",
          ("best_iou < negative_iou", "best_iou <= negative_iou")),
    fault("no anchor is ignored for its IoU", "iou_assigner",
          ("best_iou < negative_iou", "best_iou < positive_iou")),
    fault("center outside: negative, not ignored", "iou_assigner",
          ("(matched >= 0) & ~is_inside, IGNORED", "(matched >= 0) & ~is_inside, NEGATIVE")),
    fault("center inside any object counts", "iou_assigner",
          ("paired_inside(centers(anchor_boxes), learnt)",
           "paired_inside(centers(anchor_boxes), gt_boxes[..., None, :]).any(dim=-2)")),
    fault("low-quality matches dropped", "iou_assigner",
          ("(best_iou >= positive_iou) | is_low_quality", "best_iou >= positive_iou")),
    fault("a low-quality match learns who asked", "iou_assigner",
          ("    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched\n",
           "    iou = paired_iou(anchor_boxes, gt_boxes[..., None, :])\n"
           "    is_best = (iou == iou.amax(dim=-1, keepdim=True)) & (iou > 0)\n"
           "    asked = is_best.int().argmax(dim=-2)\n"
           "    matched = torch.where(is_low_quality, asked, matched)\n"
           "    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched"
           "\n")),
    fault("an object without overlap matches all", "iou_assigner",
          ("highest.where(highest > 0, torch.inf)", "highest")),
    fault("only the first of tying low-quality matches", "iou_assigner",
          ("(iou == highest.where(highest > 0, torch.inf))",
           "torch.zeros_like(iou, dtype=bool).scatter(-1, iou.argmax(-1, keepdim=True), True)")),
    fault("IoU: the last of equals wins", "iou_assigner",
          ("best_iou, best = iou.max(dim=-2)",
           "best_iou, best = iou.flip(-2).max(dim=-2); best = iou.shape[-2] - 1 - best")),
    # ... by what the network predicts
    fault("TAL: IoU to the fifth", "prediction_assigners",
          ("TASK_ALIGNED_BETA = 6", "TASK_ALIGNED_BETA = 5")),
    fault("TAL: center may lie outside", "prediction_assigners",
          ("(aligned > 0) & is_inside", "aligned > 0")),
    fault("SimOTA: k rounded up", "prediction_assigners",
          (".sum(dim=-1).int()", ".sum(dim=-1).ceil().int()")),
    fault("SimOTA: a conflict among those that want it", "prediction_assigners",
          ("is_taken | (times > 1)[..., None, :]", "is_taken")),
    fault("SimOTA: equal costs in any order", "prediction_assigners",
          ("keys.topk(most, dim=-1, largest=False).values & 0xFFFF_FFFF",
           "cost.topk(most, dim=-1, largest=False).indices")),
    fault("SimOTA: other classes cost nothing", "prediction_assigners",
          ("absent[..., None, :] - predicted", "-predicted")),
    fault("PAA: only the densest and not those below", "prediction_assigners",
          ("<= densest[:, None]", "== densest[:, None]")),
    fault("PAA: candidates of any IoU", "prediction_assigners", ("PAA_IOU = 0.1", "PAA_IOU = 0.0")),
    fault("PAA: one step of the fit", "prediction_assigners",
          ("EM_TOLERANCE, EM_VARIANCE = 100", "EM_TOLERANCE, EM_VARIANCE = 1")),
    fault("POTO: greedy", "prediction_assigners",
          ("linear_sum_assignment(qualities[real], maximize=True)",
           "(real * 0 + range(len(real)), qualities[real].argmax(axis=1))")),
    fault("padding is an object", "prediction_assigners",
          ("area(gt_boxes)[..., None] > 0", "area(gt_boxes)[..., None] >= 0")),
    # ... by space and scale
    fault("largest object wins, not smallest", "assigners",
          ("torch.where(is_positive, area(gt_boxes)", "torch.where(is_positive, -area(gt_boxes)")),
    fault("lower end of a scale range excluded", "assigners",
          ("(lower <= level)", "(lower < level)")),
    fault("upper end of a scale range excluded", "assigners",
          ("(level <= upper)", "(level < upper)")),
    fault("scale range of the nearest side", "assigners",
          ("nearest, farthest = sides.amin(dim=0), sides.amax(dim=0)",
           "nearest = farthest = sides.amin(dim=0)")),
    fault("center sampling with radius 2.5", "assigners",
          ("CENTER_RADIUS = 1.5", "CENTER_RADIUS = 2.5")),
    fault("center sampling reaches beyond the object", "assigners",
          ("torch.minimum(nearest, torch.cat(within, dim=-1))", "torch.cat(within, dim=-1)")),
    fault("inside margin of 0 px", "boxes", ("INSIDE_MARGIN = 0.01", "INSIDE_MARGIN = 0.0")),
    fault("on the margin counts as inside", "boxes",
          (".amin(dim=-1) > INSIDE_MARGIN", ".amin(dim=-1) >= 0")),
    # ... by ATSS
    fault("ATSS: above the threshold, not at it", "assigners",
          ("(iou >= threshold[..., None])", "(iou > threshold[..., None])")),
    fault("ATSS: biased standard deviation", "assigners",
          ("iou.std(dim=-1)", "iou.std(dim=-1, unbiased=False)")),
    fault("ATSS: no standard deviation", "assigners",
          ("iou.mean(dim=-1) + spread", "iou.mean(dim=-1)")),
    fault("ATSS: k, not k x anchors per location", "assigners",
          ("k=config.k * config.anchors_per_location", "k=config.k")),
    fault("ATSS: one candidate too many", "assigners",
          ("min(k, len(index))", "min(k + 1, len(index))")),
    fault("ATSS: distance by L1", "boxes",
          ("dx * dx + dy * dy", "dx.abs() + dy.abs()")),
    fault("ATSS: candidates of all levels together", "assigners",
          ("distance.split([len(level) for level in anchors], dim=-1)", "[distance]")),
    fault("ATSS: center may lie outside", "assigners",
          ("(iou >= threshold[..., None]) & is_inside", "iou >= threshold[..., None]")),
    fault("ATSS: anchors that are no candidates", "assigners",
          ("candidates = closest_anchors(anchors, gt_boxes, k)",
           "candidates = torch.arange(sum(map(len, anchors))).expand(*gt_boxes.shape[:-1], -1)")),
    fault("ATSS: ties at the k-th place to the last", "assigners",
          ("<< 32) | index", "<< 32) | (len(index) - 1 - index)")),
    fault("conflict: the lowest IoU wins", "assigners",
          ("of_positives.max(dim=-2)", "of_positives.where(of_positives >= 0, 2.0).min(dim=-2)"),
          ("torch.where(highest >= 0, matched", "torch.where(highest < 2, matched")),
    fault("conflict: the last of equals wins", "assigners",
          ("highest, matched = of_positives.max(dim=-2)",
           "highest, matched = of_positives.flip(-2).max(dim=-2)\n"
           "    matched = of_positives.shape[-2] - 1 - matched")),
    fault("selection in half precision", "assigners",
          ("values.to(torch.promote_types(values.dtype, torch.float32))", "values")),
    # ... of a batch in one go
    fault("images assigned in the order of their objects", "assigners",
          ("for boxes in gt_boxes]", "for boxes in sorted(gt_boxes, key=len)]")),
    fault("lists of a batch filled up with NaN", "assigners",
          ("pad_sequence(images[part], batch_first=True)",
           "pad_sequence(images[part], batch_first=True, padding_value=torch.nan)")),
    fault("images together by objects, not by what fills up", "assigners",
          ("max(map(len, images))", "(sum(map(len, images)) // len(images))")),
    fault("conflict: the highest IoU of all images", "assigners",
          ("    return torch.where(highest >= 0, matched",
           "    highest = highest.view(-1, num_anchors).amax(dim=0).expand_as(highest)\n"
           "    return torch.where(highest >= 0, matched")),
    fault("boxes of the first images for all", "iou_assigner",
          ("gt_boxes.gather(-2, place)", "gt_boxes[:1].expand_as(gt_boxes).gather(-2, place)")),
    # Anchors
    fault("aspect ratio is width / height", "anchors",
          ("(_on_grid(side / math.sqrt(ratio)), _on_grid(side * math.sqrt(ratio)))",
           "(_on_grid(side * math.sqrt(ratio)), _on_grid(side / math.sqrt(ratio)))")),
    fault("anchors scale-major", "anchors",
          ("        for ratio in ratios\n"
           "        for side in (scale * stride / 2 for scale in scales)\n",
           "        for side in (scale * stride / 2 for scale in scales)\n"
           "        for ratio in ratios\n")),
    fault("anchor centers at i x stride", "anchors", ("+ 0.5) * stride", ") * stride"), times=2),
    fault("locations column by column", "anchors", ('indexing="ij"', 'indexing="xy"')),
    fault("P6 and P7 round down", "anchors",
          ("(math.ceil(height / stride), math.ceil(width / stride))",
           "(max(height // stride, 1), max(width // stride, 1))")),
    # Codes
    fault("weights of center and size swapped", "box_coders",
          ("CENTER_WEIGHT = 10.0", "CENTER_WEIGHT = 5.0"),
          ("SIZE_WEIGHT = 5.0", "SIZE_WEIGHT = 10.0")),
    fault("size ratio not bounded", "box_coders",
          ("clamp(self.min_log_ratio, MAX_LOG_RATIO)", "clamp(self.min_log_ratio)")),
    fault("stride of a point taken from scale 8", "box_coders",
          (".sqrt() / self.anchor_scale", ".sqrt() / 8.0")),
    fault("no ReLU on a point's distances", "box_coders", ("codes.relu()", "codes")),
    fault("a point starts with bias 0", "detector",
          ("initial_bias=coder.initial_bias", "initial_bias=0.0")),
    # Losses
    fault("alpha of positives and negatives swapped", "losses",
          ("torch.where(is_class, ALPHA, 1 - ALPHA)", "torch.where(is_class, 1 - ALPHA, ALPHA)")),
    fault("gamma of 1", "losses", ("ALPHA, GAMMA = 0.25, 2.0", "ALPHA, GAMMA = 0.25, 1.0")),
    fault("smooth L1 bends at 1", "losses", ("BETA = 0.11", "BETA = 1.0")),
    fault("smooth L1 summed, not averaged over codes", "losses",
          ("beta=BETA).mean(dim=1)", "beta=BETA).sum(dim=1)")),
    fault("GIoU without the enclosing box", "losses",
          ("1 - overlap / union + (enclosing - union) / enclosing", "1 - overlap / union")),
    fault("GIoU: inside-out boxes kept", "losses",
          ("torch.cat([boxes[:, :2], torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)", "boxes")),
    fault("GIoU loss without its weight", "losses",
          ("GIOU_WEIGHT, SMOOTH_L1_WEIGHT = 2.0, 1.0", "GIOU_WEIGHT, SMOOTH_L1_WEIGHT = 1.0, 1.0")),
    fault("loss weight not applied", "detector",
          ("self.regression_weight * weighted_box", "weighted_box")),
    fault("centerness without the root", "losses",
          (".clamp(min=0).sqrt()", ".clamp(min=0)")),
    fault("centerness of one axis only", "losses",
          ("(horizontal * vertical)", "(horizontal * horizontal)")),
    fault("box loss not weighed by centerness", "detector",
          ("(samples.centerness * box).sum()", "box.sum()")),
    fault("box loss divided by positives, not centerness", "detector",
          ("normalizers.centerness.clamp(min=tiny)", "num_positives")),
    fault("focal loss divided by images", "detector",
          ('"cls": focal / num_positives', '"cls": focal / len(samples.classes)')),
    fault("focal loss divided by anchors", "detector",
          ('"cls": focal / num_positives', '"cls": focal / len(classes)')),
    fault("no floor under the number of positives", "detector",
          ("normalizers.num_positives.clamp(min=1)", "normalizers.num_positives")),
    fault("ignored anchors learn background", "detector",
          ("counted = (matched != IGNORED)", "counted = (matched >= IGNORED)")),
    fault("ignored anchors of the first image for all", "detector",
          ("(matched != IGNORED).flatten().nonzero()[:, 0]",
           "(matched != IGNORED).nonzero()[:, 1]")),
    fault("only positives are counted", "detector",
          ("counted = (matched != IGNORED)", "counted = (matched >= 0)")),
    fault("objects of the first image for all", "detector",
          ("first[image] + matched[image, anchor]", "matched[image, anchor]")),
    fault("positives counted per micro-batch", "training",
          ("its_samples, normalizers)", "its_samples, normalizers_of([its_samples]))")),
    fault("samples of the first micro-batch for all", "training",
          ("zip(parts, samples, strict=True)",
           "zip(parts, samples[:1] * len(parts), strict=True)")),
    fault("positives counted per process", "training",
          ("group.sum(normalizers.num_positives, normalizers.centerness)", "pass")),
    fault("losses of the last micro-batch", "training",
          ("total = values.detach() + total", "total = values.detach()")),
    fault("gradients of the last micro-batch", "training",
          ("        values.sum().backward()\n",
           "        detector.zero_grad()\n        values.sum().backward()\n")),
    fault("gradients of one process", "training",
          ("group.summing(detector.parameters()) if is_last", "nullcontext() if is_last")),
    # Head
    fault("no prior in the class biases", "head",
          ("nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))",
           "nn.init.zeros_(self.cls_logits.bias)")),
    fault("centerness on the classification tower", "head",
          ("self.centerness(level) for level in box_features",
           "self.centerness(self.cls_tower(level)) for level in features")),
    fault("scalar not applied", "head",
          ("scale * level for scale, level", "level for scale, level")),
    fault("scalar leaves the bias out", "head",
          ("scale * level for scale, level",
           "scale * level + (1 - scale) * self.bbox_pred.bias[:, None, None] for scale, level")),
    fault("one scalar for all levels", "head",
          ("zip(self.scales, codes, strict=True)",
           "zip(self.scales[:1].expand(len(codes)), codes, strict=True)")),
    fault("GroupNorm with one group", "head",
          ("GroupNorm(channels // CHANNELS_PER_GROUP, channels)", "GroupNorm(1, channels)")),
    fault("towers of three convolutions", "head", ("TOWER_DEPTH = 4", "TOWER_DEPTH = 3")),
    fault("no ReLU in the towers", "head", ("nn.ReLU(inplace=True)", "nn.Identity()")),
    fault("predictions column by column", "head", ("permute(0, 2, 3, 1)", "permute(0, 3, 2, 1)")),
    # Backbone
    fault("P6 from C5", "backbone",
          ("extra_blocks=top(out_channels, out_channels)",
           "extra_blocks=top(in_channels[-1], out_channels)")),
    fault("no ReLU before P7", "backbone",
          ("LastLevelP6P7 if rectified_p6 else UnrectifiedTop", "UnrectifiedTop")),
    fault("the stem trains", "backbone",
          ("body.conv1.requires_grad_(False)", "body.conv1.requires_grad_(True)")),
    # Detections
    fault("score without the root", "postprocess",
          ("(probabilities * centerness).sqrt()", "probabilities * centerness")),
    fault("threshold not strict", "postprocess",
          ("probabilities > self.score_threshold", "probabilities >= self.score_threshold")),
    fault("threshold on the score with centerness", "postprocess",
          ("(probabilities > self.score_threshold).nonzero(as_tuple=True)",
           "((probabilities if centerness is None"
           " else score(probabilities, centerness.sigmoid()[..., None]))"
           " > self.score_threshold).nonzero(as_tuple=True)")),
    fault("candidates ranked by probability alone", "postprocess",
          ("best = scores.argsort(descending=True, stable=True)",
           "best = probabilities[image, anchor, label].argsort(descending=True, stable=True)")),
    fault("the 1000 best before the threshold", "postprocess",
          ("image, anchor, label = (probabilities > self.score_threshold).nonzero(as_tuple=True)\n",
           "fused = probabilities\n"
           "        if centerness is not None:\n"
           "            fused = score(probabilities, centerness.sigmoid()[..., None])\n"
           "        order = fused.flatten(1).argsort(dim=1, descending=True, stable=True)\n"
           "        is_best = torch.zeros_like(fused, dtype=torch.bool).flatten(1)\n"
           "        is_best.scatter_(1, order[:, : self.candidates_per_level], True)\n"
           "        is_found = (probabilities > self.score_threshold) & is_best.view_as(fused)\n"
           "        image, anchor, label = is_found.nonzero(as_tuple=True)\n")),
    fault("the 1000 best over all levels", "postprocess",
          ("        best = best[rank < self.candidates_per_level]\n", ""),
          ("        boxes = clip_boxes_to_image(boxes, size)\n",
           "        boxes = clip_boxes_to_image(boxes, size)\n"
           "        best = scores.argsort(descending=True, stable=True)\n"
           "        best = best[: self.candidates_per_level]\n"
           "        boxes, scores, labels = boxes[best], scores[best], labels[best]\n")),
    fault("one class per anchor", "postprocess",
          ("(probabilities > self.score_threshold)",
           "((probabilities > self.score_threshold)"
           " & (probabilities == probabilities.amax(dim=2, keepdim=True)))")),
    fault("suppression across classes", "postprocess",
          ("labels, self.nms_threshold", "torch.zeros_like(labels), self.nms_threshold")),
    fault("suppression from 0.5", "postprocess",
          ("nms_threshold: float = 0.6", "nms_threshold: float = 0.5")),
    fault("suppression from 0.5 in the recipe", "config",
          ("nms_threshold: float = 0.6", "nms_threshold: float = 0.5")),
    fault("boxes not clipped", "postprocess",
          ("        boxes = clip_boxes_to_image(boxes, size)\n", "")),
    fault("boxes clipped to the padded batch", "detector",
          ("self.coder, sizes, self.score)",
           "self.coder, [tuple(batch.shape[2:])] * len(sizes), self.score)")),
    fault("more than 100 detections", "postprocess",
          ("        keep = keep[: self.max_detections]\n", "")),
    # Training
    fault("biases learn as slowly as weights", "training",
          ('"lr_factor": recipe.bias_lr_factor', '"lr_factor": 1.0')),
    fault("biases decay", "training",
          ('"weight_decay": 0.0', '"weight_decay": recipe.weight_decay')),
    fault("linear warm-up", "training",
          ("return recipe.learning_rate * recipe.warmup_factor",
           "return recipe.learning_rate * (recipe.warmup_factor + (1 - recipe.warmup_factor)"
           " * step / recipe.warmup_iterations)")),
    fault("learning rate drops a step early", "training", ("step > round(", "step >= round(")),
    fault("learning rate drops by half", "training", ("DROP_FACTOR = 0.1", "DROP_FACTOR = 0.5")),
    fault("Nesterov's momentum", "training",
          ("SGD(groups, lr=rate, momentum=momentum, **how)",
           "SGD(groups, lr=rate, momentum=momentum, nesterov=True, foreach=True)")),
    # Data
    fault("flip off by one pixel", "transforms",
          ("[width - x2, y1, width - x1, y2]", "[width - x2 - 1, y1, width - x1 - 1, y2]")),
    fault("flip leaves the boxes", "transforms",
          ("[width - x2, y1, width - x1, y2]", "[x1, y1, x2, y2]")),
    fault("resize leaves the boxes", "transforms", ("boxes * factors", "boxes")),
    fault("resize mixes up width and height", "transforms",
          ("[size[1] / width, size[0] / height]", "[size[0] / height, size[1] / width]")),
    fault("no cap on the long side", "transforms",
          ("if long / short * short_side > long_side:", "if long_side < 0:"),
          ("min(int(short_side * long / short), long_side)", "int(short_side * long / short)")),
    fault("padding left and above", "transforms",
          ("place[:, : image.shape[-2], : image.shape[-1]] = image",
           "place[:, -image.shape[-2] :, -image.shape[-1] :] = image")),
    fault("never flipped", "batches", ("FLIP_PROBABILITY = 0.5", "FLIP_PROBABILITY = 0.0")),
    fault("padding normalized, too", "batches",
          ("IMAGENET(image[:, :height, :width], place[:, :height, :width])",
           "IMAGENET(image, place)")),
    fault("every channel normalized as red on a device", "transforms",
          ("row[image[channel].long()]", "row[image[0].long()]")),
    fault("a share padded to its own images", "batches",
          ("for _, size, _ in drawn]", "for _, size, _ in mine]")),
    fault("landscape and portrait in a batch", "batches",
          ("waiting[width >= height]", "waiting[True]")),
    fault("every step resizes and flips alike", "batches",
          ("[AUGMENTATION, seed, step, place]", "[AUGMENTATION, seed, place]")),
    fault("crowd regions are objects", "coco",
          ("~(is_crowd | is_flat | is_outside)", "~(is_flat | is_outside)")),
    fault("width and height read as a corner", "coco",
          ("np.concatenate([start, start + extent], axis=1)",
           "np.concatenate([start, extent], axis=1)")),
    fault("categories in the file's order", "annotations",
          ("sorted(content.categories, key=lambda one: one.id)", "content.categories")),
    fault("images of several sizes tested in one batch", "detector",
          ("if its == size]", "if size]")),
    fault("an orientation that is not followed", "images",
          ("return turn > 1 and not stored_is_meant", "return False")),
    fault("labels reported instead of category ids", "evaluation",
          ('"category_id": category_ids[label]', '"category_id": label')),
    fault("detections left in the network's pixels", "evaluation",
          ("corners = transforms.resize_back(boxes, tested, size, inclusive_corners)",
           "corners = boxes")),
    fault("detections reported as corners", "evaluation",
          ("corners[:, 2:] - corners[:, :2]", "corners[:, 2:]")),
    # COCO's numbers
    fault("the lowest score chooses first", "matching",
          ("np.lexsort((found.image, -score, found.category))",
           "np.lexsort((found.image, score, found.category))")),
    fault("of equal overlaps the first is taken", "matching",
          ("np.lexsort((truth, iou,", "np.lexsort((-truth, iou,")),
    fault("what does not count is chosen as gladly", "matching",
          ("may_choose, counts[truth[step]])", "may_choose, np.ones_like(counts[truth[step]]))")),
    fault("IoU of exactly the threshold is no match", "matching",
          ("overlap[step, None, None] >= IOUS", "overlap[step, None, None] > IOUS")),
    fault("a crowd is matched once", "matching",
          ("= ~is_crowd[chosen]", "= True")),
    fault("a crowd has to be found", "matching",
          ("~is_crowd[:, None] & ~_is_outside(area)", "~_is_outside(area)")),
    fault("IoU with a crowd over the union", "matching",
          ("np.where(is_crowd, area, area + truths", "(area + truths")),
    fault("an object's size is its box's, not its mask's", "matching",
          ('np.array([item["area"] for item in annotations], dtype=np.float64)',
           "truths.box[:, 2] * truths.box[:, 3]")),
    fault("upper end of an area range excluded", "matching",
          ("areas[:, None] > HIGHEST", "areas[:, None] >= HIGHEST")),
    fault("detections of another size are false", "matching",
          ("np.where(is_outside, IGNORED, FALSE)", "np.full_like(is_outside, FALSE, int)")),
    fault("100 detections of an image, not of its classes", "matching",
          ("ranks(found.group[order])", "ranks(found.image[order])")),
    fault("IoU thresholds summed up step by step", "matches",
          ("np.linspace(0.5, 0.95, 10)", "np.array([0.5, *[0.05] * 9]).cumsum()")),
    fault("precision without its envelope", "matching",
          ("np.maximum.accumulate(precision[::-1])[::-1]", "precision")),
    fault("precision read at the next recall", "matching",
          ("np.searchsorted(num_true / num_truths, RECALLS)",
           'np.searchsorted(num_true / num_truths, RECALLS, "right")')),
    fault("precision at 11 recalls", "matching",
          ("np.linspace(0, 1, 101)", "np.linspace(0, 1, 11)")),
    fault("ignored detections are false", "matching",
          ("(state[area] != IGNORED)", "(state[area] >= 0)")),
    fault("classes without objects score 0", "matching",
          ("values[values > NONE]", "values.clip(min=0)")),
    # Testing at many scales
    fault("mirrored boxes left mirrored", "multi_scale_test",
          ("boxes = transforms.flip(shown, boxes)[1]", "boxes = boxes")),
    fault("sizes of a pass in pixels of the image", "multi_scale_test",
          ("is_kept = each.keeps(boxes)",
           "is_kept = each.keeps(boxes * image.shape[2] / shown.shape[2])")),
    fault("every vote counts the same", "multi_scale_test",
          ("index_add(0, best, scores)", "index_add(0, best, torch.ones_like(scores))"),
          ("boxes * scores[:, None]", "boxes")),
    fault("a box votes again", "multi_scale_test",
          ("is_near[index] & (votes_with < 0)", "is_near[index]")),
    # Intervals
    fault("another bootstrap for every run", "coco_bootstrap",
          ("np.random.default_rng(SEED)", "np.random.default_rng()")),
    fault("runs that are compared fail on different images", "intervals",
          ("float(np.nanstd(draws, ddof=1))",
           "sqrt(sum(float(drawn.mean(axis=0).var(ddof=1)) for *_, drawn in found))")),
    fault("seeds: biased variance", "intervals",
          ("each.var(ddof=1)", "each.var(ddof=0)")),
    fault("few seeds taken for many", "intervals",
          ("min(degrees, MOST_DEGREES)", "MOST_DEGREES")),
    fault("bias of the bootstrap doubled, not removed", "intervals",
          ("low=estimate.low - bias, high=estimate.high - bias",
           "low=estimate.low + bias, high=estimate.high + bias")),
]
# fmt: on


def copy_of_project(target: Path) -> Path:
    """What tests need, without what they leave behind."""
    left_out = shutil.ignore_patterns("__pycache__", "*.ipynb", "mutations.py")
    for name in COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def tests_of(root: Path, module: str) -> list[Path]:
    """The files of tests that train nothing: the module's own, those that name it, the others."""
    texts = {path: path.read_text() for path in sorted((root / "tests").glob("test_*.py"))}
    quick = [path for path, text in texts.items() if "orchestration" not in text]
    names = re.compile(rf"\b{module}\b")
    return sorted(quick, key=lambda it: (it.stem != f"test_{module}", not names.search(texts[it])))


def first_failure(root: Path, files: list[Path]) -> tuple[str, str]:
    """The id of the first fast test of these that fails, and its message; empty if none does.

    A process for each file: Hypothesis draws other scenes where other modules are loaded.
    """
    for file in files:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *PYTEST, str(file)],
            cwd=root,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        if done.returncode in (0, NO_TESTS):
            continue
        line = r"^(?:FAILED|ERROR) (tests/\S+\.py(?:::.*?)?)(?: - (.*))?$"
        if found := re.search(line, done.stdout, re.MULTILINE):
            return found[1], (found[2] or "").strip()
        raise ValueError(f"pytest names no test:\n{done.stdout[-2000:]}{done.stderr}")
    return "", ""


def try_fault(one: Fault, root: Path) -> Outcome:
    """Plant it into the copy, ask the tests, and take it out again."""
    path, text = one.planted(root)
    whole, start = path.read_text(encoding="utf-8"), time.perf_counter()
    path.write_text(text, encoding="utf-8")
    caught_by, message = first_failure(root, tests_of(root, path.stem))
    path.write_text(whole, encoding="utf-8")
    if caught_by and ("::" not in caught_by or message.startswith(BROKEN)):
        raise ValueError(f"fault '{one.name}' does not run: {caught_by} {message}")
    return Outcome(one.name, one.module, caught_by, message, round(time.perf_counter() - start, 1))


def write(outcome: Outcome) -> None:
    """Add it to the results that are kept, in the order of FAULTS."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = {one["fault"]: one for one in (*before, asdict(outcome))}
    ordered = [kept[one.name] for one in FAULTS if one.name in kept]
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    caught = sum(bool(one["caught_by"]) for one in ordered)
    lines = [
        "# Planted faults, and the tests that notice them",
        "",
        f"{caught} of {len(ordered)} faults are noticed by the fast tests. Each is planted into a",
        "copy of the project, whose tests run until one fails, those of the spoiled module first.",
        "`python tests/mutations.py` does it all again in about an hour; each fault's exact edit",
        "stands there.",
        "",
        "| Fault | In | Noticed first by |",
        "|-|-|-|",
    ]
    for one in ordered:
        test = one["caught_by"].replace("tests/", "").replace("|", "\\|")
        noticed = f"`{test}`" if test else "**none**"
        lines.append(f"| {one['fault']} | `{one['module']}.py` | {noticed} |")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(faults: list[Fault]) -> int:
    """Try every fault; 1 if the tests miss one."""
    survived = 0
    with tempfile.TemporaryDirectory() as name:
        root = copy_of_project(Path(name) / "project")
        if any(failure := first_failure(root, tests_of(root, ""))):
            raise ValueError(f"the tests fail without any fault: {failure}")
        for number, one in enumerate(faults, start=1):
            outcome = try_fault(one, root)
            write(outcome)  # now: whoever stops this keeps what is done
            survived += not outcome.caught_by
            told = f"caught by {outcome.caught_by}" if outcome.caught_by else "SURVIVED"
            print(f"{number} of {len(faults)}  {one.name}: {told}", flush=True)
    return min(survived, 1)


def main() -> int:
    """Plant the faults and print who noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="faults whose name contains this")
    parser.add_argument("--check", action="store_true", help="only whether each can be planted")
    given = parser.parse_args()
    faults = [one for one in FAULTS if not given.only or any(p in one.name for p in given.only)]
    problems = [] if faults else [f"--only needs a part of a fault's name, got {given.only}"]
    for one in faults:
        try:
            one.planted(ROOT)
        except (ValueError, SyntaxError) as error:
            problems.append(str(error))
    try:
        if not (problems or given.check):
            return run(faults)
    except (ValueError, subprocess.TimeoutExpired) as error:
        problems.append(str(error))
    print(*problems, f"{len(faults) - len(problems)} of {len(faults)} can be planted", sep="\n")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
