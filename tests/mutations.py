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

# Name -> a text of the code, what stands there instead, and so on where it takes several edits.
# fmt: off
FAULTS = {
    # Sample selection by IoU
    "IoU of exactly 0.5 is not positive": ("best_iou >= positive_iou", "best_iou > positive_iou"),
    "IoU of exactly 0.4 is negative": ("best_iou < negative_iou", "best_iou <= negative_iou"),
    "no anchor is ignored for its IoU": ("best_iou < negative_iou", "best_iou < positive_iou"),
    "center outside: negative, not ignored": ("~is_inside, IGNORED", "~is_inside, NEGATIVE"),
    "center inside any object counts":
        ("paired_inside(centers(anchor_boxes), learnt)",
         "paired_inside(centers(anchor_boxes), gt_boxes[..., None, :]).any(dim=-2)"),
    "low-quality matches dropped": ("| is_low_quality", ""),
    "a low-quality match learns who asked":
        ("return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched",
         "iou = paired_iou(anchor_boxes, gt_boxes[..., None, :])\n"
         "    is_best = (iou == iou.amax(dim=-1, keepdim=True)) & (iou > 0)\n"
         "    asked = is_best.int().argmax(dim=-2)\n"
         "    matched = torch.where(is_low_quality, asked, matched)\n"
         "    return ignore_outside(anchor_boxes, gt_boxes, matched) if in_gt_box else matched"),
    "an object without overlap matches all": ("highest.where(highest > 0, torch.inf)", "highest"),
    "only the first of tying low-quality matches":
        ("(iou == highest.where(highest > 0, torch.inf))",
         "torch.zeros_like(iou, dtype=bool).scatter(-1, iou.argmax(-1, keepdim=True), True)"),
    "IoU: the last of equals wins":
        ("best_iou, best = iou.max(dim=-2)",
         "best_iou, best = iou.flip(-2).max(dim=-2); best = iou.shape[-2] - 1 - best"),
    # ... by what the network predicts
    "TAL: IoU to the fifth": ("TASK_ALIGNED_BETA = 6", "TASK_ALIGNED_BETA = 5"),
    "TAL: center may lie outside": ("(aligned > 0) & is_inside", "aligned > 0"),
    "SimOTA: k rounded up": (".sum(dim=-1).int()", ".sum(dim=-1).ceil().int()"),
    "SimOTA: a conflict among those that want it": ("| (times > 1)[..., None, :]", ""),
    "SimOTA: equal costs in any order":
        ("keys.topk(most, dim=-1, largest=False).values & 0xFFFF_FFFF",
         "cost.topk(most, dim=-1, largest=False).indices"),
    "SimOTA: other classes cost nothing": ("absent[..., None, :] - predicted", "-predicted"),
    "PAA: only the densest and not those below": ("<= densest[:, None]", "== densest[:, None]"),
    "PAA: candidates of any IoU": ("PAA_IOU = 0.1", "PAA_IOU = 0.0"),
    "PAA: one step of the fit": ("EM_VARIANCE = 100", "EM_VARIANCE = 1"),
    "POTO: greedy":
        ("linear_sum_assignment(qualities[real], maximize=True)",
         "(real * 0 + range(len(real)), qualities[real].argmax(axis=1))"),
    "padding is an object":
        ("return area(gt_boxes)[..., None] > 0", "return area(gt_boxes)[..., None] >= 0"),
    # ... by space and scale
    "largest object wins, not smallest": ("is_positive, area(", "is_positive, -area("),
    "lower end of a scale range excluded": ("(lower <= level)", "(lower < level)"),
    "upper end of a scale range excluded": ("(level <= upper)", "(level < upper)"),
    "scale range of the nearest side":
        ("nearest, farthest = sides.amin(dim=0), sides.amax(dim=0)",
         "nearest = farthest = sides.amin(dim=0)"),
    "center sampling with radius 2.5": ("CENTER_RADIUS = 1.5", "CENTER_RADIUS = 2.5"),
    "center sampling reaches beyond the object":
        ("torch.minimum(nearest, torch.cat(within, dim=-1))", "torch.cat(within, dim=-1)"),
    "inside margin of 0 px": ("INSIDE_MARGIN = 0.01", "INSIDE_MARGIN = 0.0"),
    # ... by ATSS
    "ATSS: above the threshold, not at it":
        ("(iou >= threshold[..., None])", "(iou > threshold[..., None])"),
    "ATSS: biased standard deviation": ("iou.std(dim=-1)", "iou.std(dim=-1, unbiased=False)"),
    "ATSS: no standard deviation": ("iou.mean(dim=-1) + spread", "iou.mean(dim=-1)"),
    "ATSS: k, not k x anchors per location":
        ("k=config.k * config.anchors_per_location", "k=config.k"),
    "ATSS: one candidate too many": ("min(k, len(index))", "min(k + 1, len(index))"),
    "ATSS: distance by L1": ("dx * dx + dy * dy", "dx.abs() + dy.abs()"),
    "ATSS: candidates of all levels together":
        ("distance.split([len(level) for level in anchors], dim=-1)", "[distance]"),
    "ATSS: center may lie outside": ("threshold[..., None]) & is_inside", "threshold[..., None])"),
    "ATSS: anchors that are no candidates":
        ("candidates = closest_anchors(anchors, gt_boxes, k)",
         "candidates = torch.arange(sum(map(len, anchors))).expand(*gt_boxes.shape[:-1], -1)"),
    "ATSS: ties at the k-th place to the last": ("| index", "| (len(index) - 1 - index)"),
    "conflict: the lowest IoU wins":
        ("of_positives.max(dim=-2)", "of_positives.where(of_positives >= 0, 2.0).min(dim=-2)",
         "torch.where(highest >= 0, matched", "torch.where(highest < 2, matched"),
    "conflict: the last of equals wins":
        ("highest, matched = of_positives.max(dim=-2)",
         "highest, matched = of_positives.flip(-2).max(dim=-2)\n"
         "    matched = of_positives.shape[-2] - 1 - matched"),
    "selection in half precision":
        ("values.to(torch.promote_types(values.dtype, torch.float32))", "values"),
    # ... of a batch in one go
    "images assigned in the order of their objects":
        ("for boxes in gt_boxes]", "for boxes in sorted(gt_boxes, key=len)]"),
    "lists of a batch filled up with NaN":
        ("pad_sequence(images[part], batch_first=True)",
         "pad_sequence(images[part], batch_first=True, padding_value=torch.nan)"),
    "images together by objects, not by what fills up":
        ("max(map(len, images))", "(sum(map(len, images)) // len(images))"),
    "conflict: the highest IoU of all images":
        ("return torch.where(highest >= 0, matched",
         "highest = highest.view(-1, num_anchors).amax(dim=0).expand_as(highest)\n"
         "    return torch.where(highest >= 0, matched"),
    "boxes of the first images for all":
        ("gt_boxes.gather(-2, place)", "gt_boxes[:1].expand_as(gt_boxes).gather(-2, place)"),
    # Anchors
    "aspect ratio is width / height":
        ("(_on_grid(side / math.sqrt(ratio)), _on_grid(side * math.sqrt(ratio)))",
         "(_on_grid(side * math.sqrt(ratio)), _on_grid(side / math.sqrt(ratio)))"),
    "anchors scale-major":
        ("for ratio in ratios for side in (scale * stride / 2 for scale in scales)",
         "for side in (scale * stride / 2 for scale in scales) for ratio in ratios"),
    "anchor centers at i x stride":
        ("(torch.arange(width, device=cell.device, dtype=cell.dtype) + 0.5)",
         "torch.arange(width, device=cell.device, dtype=cell.dtype)"),
    "locations column by column": ('indexing="ij"', 'indexing="xy"'),
    "P6 and P7 round down":
        ("(math.ceil(height / stride), math.ceil(width / stride))",
         "(max(height // stride, 1), max(width // stride, 1))"),
    # Codes
    "weights of center and size swapped":
        ("CENTER_WEIGHT = 10.0", "CENTER_WEIGHT = 5.0", "SIZE_WEIGHT = 5.0", "SIZE_WEIGHT = 10.0"),
    "size ratio not bounded": ("self.min_log_ratio, MAX_LOG_RATIO", "self.min_log_ratio"),
    "stride of a point taken from scale 8": (".sqrt() / self.anchor_scale", ".sqrt() / 8.0"),
    "no ReLU on a point's distances": ("codes.relu()", "codes"),
    "a point starts with bias 0": ("initial_bias=coder.initial_bias", "initial_bias=0.0"),
    # Losses
    "alpha of positives and negatives swapped": ("ALPHA, 1 - ALPHA", "1 - ALPHA, ALPHA"),
    "gamma of 1": ("ALPHA, GAMMA = 0.25, 2.0", "ALPHA, GAMMA = 0.25, 1.0"),
    "smooth L1 bends at 1": ("BETA = 0.11", "BETA = 1.0"),
    "smooth L1 summed, not averaged over codes": ("beta=BETA).mean(", "beta=BETA).sum("),
    "GIoU without the enclosing box": ("+ (enclosing - union) / enclosing", ""),
    "GIoU: inside-out boxes kept":
        ("torch.cat([boxes[:, :2], torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)", "boxes"),
    "GIoU loss without its weight": ("SMOOTH_L1_WEIGHT = 2.0,", "SMOOTH_L1_WEIGHT = 1.0,"),
    "centerness without the root": (".clamp(min=0).sqrt()", ".clamp(min=0)"),
    "centerness of one axis only": ("(horizontal * vertical)", "(horizontal * horizontal)"),
    "box loss not weighed by centerness": ("(samples.centerness * box).sum()", "box.sum()"),
    "box loss divided by positives, not centerness":
        ("normalizers.centerness.clamp(min=tiny)", "num_positives"),
    "focal loss divided by images": ("focal / num_positives", "focal / len(samples.classes)"),
    "no floor under the number of positives": ("num_positives.clamp(min=1)", "num_positives"),
    "ignored anchors learn background": ("(matched != IGNORED)", "(matched >= IGNORED)"),
    "only positives are counted": ("(matched != IGNORED)", "(matched >= 0)"),
    "objects of the first image for all": ("first[image] + matched", "matched"),
    "positives counted per micro-batch":
        ("its_samples, normalizers)", "its_samples, normalizers_of([its_samples]))"),
    "samples of the first micro-batch for all":
        ("zip(parts, samples, strict=True)", "zip(parts, samples[:1] * len(parts), strict=True)"),
    "positives counted per process":
        ("group.sum(normalizers.num_positives, normalizers.centerness)", "pass"),
    "losses of the last micro-batch": ("values.detach() + total", "values.detach()"),
    "gradients of the last micro-batch":
        ("values.sum().backward()", "detector.zero_grad(); values.sum().backward()"),
    "gradients of one process": ("group.summing(detector.parameters())", "nullcontext()"),
    # Head
    "no prior in the class biases":
        ("nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))",
         "nn.init.zeros_(self.cls_logits.bias)"),
    "centerness on the classification tower":
        ("self.centerness(level) for level in box_features",
         "self.centerness(self.cls_tower(level)) for level in features"),
    "scalar leaves the bias out":
        ("scale * level for scale, level",
         "scale * level + (1 - scale) * self.bbox_pred.bias[:, None, None] for scale, level"),
    "one scalar for all levels":
        ("zip(self.scales, codes, strict=True)",
         "zip(self.scales[:1].expand(len(codes)), codes, strict=True)"),
    "GroupNorm with one group":
        ('layer["norm"] = GroupNorm(channels // CHANNELS_PER_GROUP, channels)',
         'layer["norm"] = GroupNorm(1, channels)'),
    "towers of three convolutions": ("TOWER_DEPTH = 4", "TOWER_DEPTH = 3"),
    "no ReLU in the towers": ("nn.ReLU(inplace=True)", "nn.Identity()"),
    "predictions column by column": ("permute(0, 2, 3, 1)", "permute(0, 3, 2, 1)"),
    # Backbone
    "P6 from C5": ("top(out_channels, out_channels)", "top(in_channels[-1], out_channels)"),
    "no ReLU before P7": ("LastLevelP6P7 if rectified_p6 else UnrectifiedTop", "UnrectifiedTop"),
    "the stem trains": ("body.conv1.requires_grad_(False)", "body.conv1.requires_grad_(True)"),
    # Detections
    "score without the root": ("(probabilities * centerness).sqrt()", "probabilities * centerness"),
    "threshold not strict": ("> self.score_threshold", ">= self.score_threshold"),
    "threshold on the score with centerness":
        ("(probabilities > self.score_threshold).nonzero(as_tuple=True)",
         "((probabilities if centerness is None else score(probabilities, "
         "centerness.sigmoid()[..., None])) > self.score_threshold).nonzero(as_tuple=True)"),
    "candidates ranked by probability alone":
        ("best = scores.argsort(descending=True, stable=True)",
         "best = probabilities[image, anchor, label].argsort(descending=True, stable=True)"),
    "the 1000 best before the threshold":
        ("image, anchor, label = (probabilities > self.score_threshold)",
         "fused = probabilities if centerness is None else "
         "score(probabilities, centerness.sigmoid()[..., None])\n"
         "        most = min(self.candidates_per_level, fused[0].numel())\n"
         "        least = fused.flatten(1).topk(most).values[:, -1, None, None]\n"
         "        image, anchor, label = ((probabilities > self.score_threshold) & (fused >= "
         "least))"),
    "the 1000 best over all levels":
        ("best = best[rank < self.candidates_per_level]", "",
         "boxes = clip_boxes_to_image(boxes, size)",
         "boxes = clip_boxes_to_image(boxes, size)\n"
         "        best = scores.argsort(descending=True, stable=True)\n"
         "        best = best[: self.candidates_per_level]\n"
         "        boxes, scores, labels = boxes[best], scores[best], labels[best]"),
    "one class per anchor":
        ("(probabilities > self.score_threshold)",
         "((probabilities > self.score_threshold) & (probabilities == probabilities.amax(dim=2, "
         "keepdim=True)))"),
    "suppression across classes": ("labels, self.nms", "torch.zeros_like(labels), self.nms"),
    "suppression from 0.5 in the recipe":
        ("vary two. nms_threshold: float = 0.6",
         "vary two.\n"
         "    nms_threshold: float = 0.5"),
    "boxes not clipped": ("boxes = clip_boxes_to_image(boxes, size)", ""),
    "boxes clipped to the padded batch":
        ("self.coder, sizes, self.score)",
         "self.coder, [tuple(batch.shape[2:])] * len(sizes), self.score)"),
    "more than 100 detections": ("keep = keep[: self.max_detections]", ""),
    # Training
    "biases learn as slowly as weights": ('"lr_factor": recipe.bias_lr_factor', '"lr_factor": 1.0'),
    "biases decay": ('"weight_decay": 0.0', '"weight_decay": recipe.weight_decay'),
    "linear warm-up":
        ("return recipe.learning_rate * recipe.warmup_factor",
         "return recipe.learning_rate * (recipe.warmup_factor + (1 - recipe.warmup_factor) * "
         "step / recipe.warmup_iterations)"),
    "learning rate drops a step early": ("step > round(", "step >= round("),
    "learning rate drops by half": ("DROP_FACTOR = 0.1", "DROP_FACTOR = 0.5"),
    "Nesterov's momentum":
        ("SGD(groups, lr=rate, momentum=momentum, **how)",
         "SGD(groups, lr=rate, momentum=momentum, nesterov=True, foreach=True)"),
    # Data
    "flip off by one pixel": ("width - x2, y1, width - x1", "width - x2 - 1, y1, width - x1 - 1"),
    "resize mixes up width and height":
        ("[size[1] / width, size[0] / height]", "[size[0] / height, size[1] / width]"),
    "no cap on the long side":
        ("if long / short * short_side > long_side:", "if long_side < 0:",
         "min(int(short_side * long / short), long_side)", "int(short_side * long / short)"),
    "padding left and above":
        ("place[:, : image.shape[-2], : image.shape[-1]] = image",
         "place[:, -image.shape[-2] :, -image.shape[-1] :] = image"),
    "never flipped": ("FLIP_PROBABILITY = 0.5", "FLIP_PROBABILITY = 0.0"),
    "padding normalized, too":
        ("IMAGENET(image[:, :height, :width], place[:, :height, :width])",
         "IMAGENET(image, place)"),
    "every channel normalized as red on a device": ("image[channel].long()", "image[0].long()"),
    "a share padded to its own images": ("for _, size, _ in drawn]", "for _, size, _ in mine]"),
    "landscape and portrait in a batch": ("waiting[width >= height]", "waiting[True]"),
    "every step resizes and flips alike": ("seed, step, place]", "seed, place]"),
    "crowd regions are objects": ("~(is_crowd | is_flat | is_outside)", "~(is_flat | is_outside)"),
    "width and height read as a corner":
        ("np.concatenate([start, start + extent], axis=1)",
         "np.concatenate([start, extent], axis=1)"),
    "categories in the file's order":
        ("sorted(content.categories, key=lambda one: one.id)", "content.categories"),
    "images of several sizes tested in one batch": ("if its == size]", "if size]"),
    "an orientation that is not followed": ("turn > 1 and not stored_is_meant", "False"),
    "labels reported instead of category ids": ("category_ids[label]", "label"),
    "detections left in the network's pixels":
        ("corners = transforms.resize_back(boxes, tested, size, inclusive_corners)",
         "corners = boxes"),
    "detections reported as corners": ("corners[:, 2:] - corners[:, :2]", "corners[:, 2:]"),
    # COCO's numbers
    "the lowest score chooses first":
        ("np.lexsort((found.image, -score, found.category))",
         "np.lexsort((found.image, score, found.category))"),
    "of equal overlaps the first is taken": ("np.lexsort((truth, iou,", "np.lexsort((-truth, iou,"),
    "what does not count is chosen as gladly":
        ("may_choose, counts[truth[step]])", "may_choose, np.ones_like(counts[truth[step]]))"),
    "IoU of exactly the threshold is no match": ("None, None] >= IOUS", "None, None] > IOUS"),
    "a crowd is matched once": ("= ~is_crowd[chosen]", "= True"),
    "a crowd has to be found": ("~is_crowd[:, None] & ~_is_outside(area)", "~_is_outside(area)"),
    "IoU with a crowd over the union": ("np.where(is_crowd, area, area + truths", "(area + truths"),
    "an object's size is its box's, not its mask's":
        ('np.array([item["area"] for item in annotations], dtype=np.float64)',
         "truths.box[:, 2] * truths.box[:, 3]"),
    "upper end of an area range excluded": ("[:, None] > HIGHEST", "[:, None] >= HIGHEST"),
    "100 detections of an image, not of its classes": ("found.group[order]", "found.image[order]"),
    "IoU thresholds summed up step by step":
        ("np.linspace(0.5, 0.95, 10)", "np.array([0.5, *[0.05] * 9]).cumsum()"),
    "precision without its envelope":
        ("best = np.maximum.accumulate(precision[::-1])[::-1]", "best = precision"),
    "precision read at the next recall":
        ("np.searchsorted(num_true / num_truths, RECALLS)",
         'np.searchsorted(num_true / num_truths, RECALLS, "right")'),
    "precision at 11 recalls": ("0, 1, 101)  # where precision", "0, 1, 11)  # where precision"),
    "ignored detections are false": ("(state[area] != IGNORED)", "(state[area] >= 0)"),
    "classes without objects score 0": ("values[values > NONE]", "values.clip(min=0)"),
    # Testing at many scales
    "mirrored boxes left mirrored": ("boxes = transforms.flip(shown, boxes)[1]", "boxes = boxes"),
    "sizes of a pass in pixels of the image":
        ("is_kept = each.keeps(boxes)",
         "is_kept = each.keeps(boxes * image.shape[2] / shown.shape[2])"),
    "every vote counts the same":
        ("index_add(0, best, scores)", "index_add(0, best, torch.ones_like(scores))",
         "boxes * scores[:, None]", "boxes"),
    "a box votes again": ("is_near[index] & (votes_with < 0)", "is_near[index]"),
    # Intervals
    "another bootstrap for every run": ("default_rng(SEED) drawn", "default_rng(); drawn"),
    "runs that are compared fail on different images":
        ("float(np.nanstd(draws, ddof=1))",
         "sqrt(sum(float(drawn.mean(axis=0).var(ddof=1)) for *_, drawn in found))"),
    "seeds: biased variance": ("each.var(ddof=1)", "each.var(ddof=0)"),
    "few seeds taken for many": ("min(degrees, MOST_DEGREES)", "MOST_DEGREES"),
    "bias of the bootstrap doubled, not removed":
        ("low=estimate.low - bias, high=estimate.high - bias",
         "low=estimate.low + bias, high=estimate.high + bias"),
}
# fmt: on


def planted(name: str, root: Path) -> tuple[Path, str]:
    """The file below root that a fault spoils, and its text with the fault.

    It is found by what is in it, however its lines are broken and whatever it is called, so a
    rename or a move breaks no fault. ValueError unless one file has every text exactly once.
    """
    olds, news = map(_pattern, FAULTS[name][::2]), FAULTS[name][1::2]
    edits = list(zip(olds, news, strict=True))
    files = [it for package in SPOILED for it in sorted((root / package).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    found = [
        path for path, text in texts.items() if all(len(old.findall(text)) == 1 for old, _ in edits)
    ]
    if len(found) != 1:
        raise ValueError(
            f"fault '{name}' needs one file with its text once, found {len(found)}: "
            f"{FAULTS[name][0]}"
        )
    text = texts[found[0]]
    for old, new in edits:
        text = old.sub(lambda _, new=new: new, text)
    compile(text, found[0].name, "exec")
    return found[0], text


def _pattern(text: str) -> re.Pattern[str]:
    """The text, whatever spaces and line ends are between its words."""
    return re.compile(r"\s+".join(map(re.escape, text.split())))


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


def try_fault(name: str, root: Path) -> dict[str, object]:
    """Plant it into the copy, ask the tests, and take it out again; what is kept of that."""
    path, text = planted(name, root)
    whole, start = path.read_text(encoding="utf-8"), time.perf_counter()
    path.write_text(text, encoding="utf-8")
    caught_by, message = first_failure(root, tests_of(root, path.stem))
    path.write_text(whole, encoding="utf-8")
    if caught_by and ("::" not in caught_by or message.startswith(BROKEN)):
        raise ValueError(f"fault '{name}' does not run: {caught_by} {message}")
    seconds = round(time.perf_counter() - start, 1)
    noticed = {"caught_by": caught_by, "message": message, "seconds": seconds}
    return {"fault": name, "module": path.stem} | noticed


def write(outcome: dict[str, object]) -> None:
    """Add it to the results that are kept, in the order of FAULTS."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = {one["fault"]: one for one in (*before, outcome)}
    ordered = [kept[name] for name in FAULTS if name in kept]
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


def run(names: list[str]) -> int:
    """Try every fault; 1 if the tests miss one."""
    survived = 0
    with tempfile.TemporaryDirectory() as place:
        root = copy_of_project(Path(place) / "project")
        if any(failure := first_failure(root, tests_of(root, ""))):
            raise ValueError(f"the tests fail without any fault: {failure}")
        for number, name in enumerate(names, start=1):
            outcome = try_fault(name, root)
            write(outcome)  # now: whoever stops this keeps what is done
            caught_by = outcome["caught_by"]
            survived += not caught_by
            told = f"caught by {caught_by}" if caught_by else "SURVIVED"
            print(f"{number} of {len(names)}  {name}: {told}", flush=True)
    return min(survived, 1)


def main() -> int:
    """Plant the faults and print who noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="faults whose name contains this")
    parser.add_argument("--check", action="store_true", help="only whether each can be planted")
    given = parser.parse_args()
    names = [it for it in FAULTS if not given.only or any(part in it for part in given.only)]
    problems = [] if names else [f"--only needs a part of a fault's name, got {given.only}"]
    for name in names:
        try:
            planted(name, ROOT)
        except (ValueError, SyntaxError) as error:
            problems.append(str(error))
    if problems or given.check:
        print(*problems, f"{len(names) - len(problems)} of {len(names)} can be planted", sep="\n")
        return 2 if problems else 0
    return run(names)


if __name__ == "__main__":
    sys.exit(main())
