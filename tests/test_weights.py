"""Files of weights: ours, the official code's, mmdetection's, damaged ones and hostile ones."""

import math
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import foreign
import pytest
import torch
from foreign import Payload
from safetensors.torch import save_file

from detector import checkpoint
from detector.anchors import level_sizes
from detector.checkpoint import Description
from detector.config import Recipe
from detector.data.locate import coco_categories
from detector.detector import assemble_detector
from detector.evaluation.detect import as_results
from detector.head import Predictions
from detector.weights import read as tensor_files
from detector.weights.conventions import ATSS_SUITE
from detector.weights.load import load_detector
from experiments.baselines import ATSS

HEIGHT, WIDTH = 64, 96
DEFORMED = {"deformable": (2, 3, 4), "deformable_towers": True}
RESNEXT = {"depth": 101, "groups": 32, "width": 8}
WIDEST = {"depth": 101, "groups": 64, "width": 4, "deformable": (3, 4), "deformable_towers": True}
NETWORKS = {  # code, settings, backbone
    "official": (foreign.official, {}, "resnet50"),
    "official-dcn": (foreign.official, DEFORMED, "resnet50"),
    "mmdetection": (foreign.mmdetection, {}, "resnet50"),
    "mmdetection-dcn": (foreign.mmdetection, DEFORMED, "resnet50"),
    "mmdetection-r18-older": (foreign.mmdetection, {"depth": 18, **DEFORMED}, "resnet18"),
    "large-r101-dcn": (foreign.official, {"depth": 101, **DEFORMED}, "resnet101"),
    "large-x101-32x8d": (foreign.official, RESNEXT, "resnext101_32x8d"),
    "large-x101-64x4d-dcn": (foreign.official, WIDEST, "resnext101_64x4d"),
}


def save(path, network, anchors=None):
    """As the codes save: the official one without a zip, and with what training needs."""
    if network.names is foreign.OFFICIAL:
        whole = network.state | (anchors or foreign.official_anchors())
        state = OrderedDict({f"module.{name}": value for name, value in whole.items()})
        content = {"model": state, "iteration": 9, "optimizer": {"param_groups": [{"lr": 0.1}]}}
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        state = OrderedDict(network.state | {"backbone.bn1.num_batches_tracked": torch.tensor(7)})
        torch.save({"meta": {"epoch": 12}, "state_dict": state}, path)
    return path


def run(make, **settings):
    """A foreign network with random weights, an image batch and what the network says of it."""
    torch.manual_seed(0)
    network = make(**settings)
    images = torch.randn(2, 3, HEIGHT, WIDTH)
    return network, images, network(images)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    network, _, _ = run(foreign.official)
    return save(tmp_path_factory.mktemp("weights") / "official.pth", network)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """mmdetection's smallest, as a state."""
    network, _, _ = run(foreign.mmdetection, depth=18, channels=32, classes=4)
    path = save(tmp_path_factory.mktemp("weights") / "narrow.pth", network)
    return torch.load(path)["state_dict"]


def normalized(layout):
    """What becomes of a pixel of red 10, green 20 and blue 30."""
    image = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    return layout.normalization(image)[:, 0, 0].tolist()


# The same function


def require_equal(loaded, images, expected):
    """A loaded detector's predictions are the other network's."""
    with torch.no_grad():
        found = vars(loaded.detector.double()(images.double())).values()
    assert min(float(part.std()) for part in expected) > 0.1  # there is something to compare
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("large")) for name in NETWORKS],
)
def test_an_imported_detector_computes_what_the_other_code_computes(name, tmp_path):
    make, settings, backbone = NETWORKS[name]
    network, images, expected = run(make, **settings)
    if name.endswith("older"):  # which called the offsets otherwise
        state = network.state.items()
        network.state = {name.replace("offset", "offset_mask"): value for name, value in state}
    loaded = load_detector(save(tmp_path / "weights.pth", network))
    assert loaded.description.recipe.backbone == backbone and not loaded.detector.training
    told = "deformable convolutions: layer2, layer3, layer4, the towers' last"
    assert (told in loaded.notes) == ("deformable" in settings and 2 in settings["deformable"])
    require_equal(loaded, images, expected)


# What comes with the weights


def test_an_official_file_brings_its_conventions(official):
    loaded = load_detector(official)
    layout, description = loaded.layout, loaded.description
    assert (layout.name, layout.inclusive_corners) == ("official ATSS", True)
    expected = [30 - 102.9801, 20 - 115.9465, 10 - 122.7717]  # blue, green, red
    assert normalized(layout) == pytest.approx(expected, rel=1e-6)
    assert (description.config, description.recipe) == (ATSS, Recipe())
    assert (description.category_ids, description.names) == coco_categories()
    assert "official ATSS weights: resnet50, 80 classes, 1 anchor per location" in loaded.notes


LETTERS, NUMBERED = (*"abcd",), ("class 1", "class 2", "class 3", "class 4")
METAS = {  # what mmdetection keeps beside the tensors, and the classes' names
    "objects": ({"CLASSES": [*"abcd"], "cfg": ATSS, "path": Path("a"), "hook": print}, LETTERS),
    "version 3": ({"dataset_meta": {"classes": LETTERS}}, LETTERS),
    "names of other classes": ({"CLASSES": ("a", "b")}, NUMBERED),
    "nothing": ({}, NUMBERED),
}


@pytest.mark.parametrize("meta", METAS)
def test_an_mmdetection_file_brings_its_conventions_and_classes(narrow, tmp_path, meta):
    content, names = METAS[meta]
    torch.save({"meta": content, "state_dict": narrow}, tmp_path / "weights.pth")
    loaded = load_detector(tmp_path / "weights.pth")
    assert not loaded.layout.inclusive_corners
    expected = [(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375]
    assert normalized(loaded.layout) == pytest.approx(expected)
    assert loaded.description.category_ids == (1, 2, 3, 4)
    assert loaded.description.names == names
    assert loaded.description.recipe.pyramid_channels == 32
    save_file(narrow, tmp_path / "weights.safetensors")  # a published file may be converted
    converted = load_detector(tmp_path / "weights.safetensors").detector.head.cls_logits.weight
    assert torch.equal(converted, loaded.detector.head.cls_logits.weight)


def test_several_anchors_are_read_from_an_official_file(tmp_path):
    scales, ratios, count = (4.0, 8.0), (0.25, 1.0, 4.0), 6
    network, images, expected = run(foreign.official, anchors=count, classes=7)
    cells = foreign.official_anchors(scales, ratios)
    loaded = load_detector(save(tmp_path / "weights.pth", network, cells))
    assert loaded.description.config == replace(ATSS, anchor_scales=scales, aspect_ratios=ratios)
    assert f"7 classes, {count} anchors per location" in loaded.notes[0]
    for anchors, theirs in zip(loaded.detector.anchors(64, 96), cells.values(), strict=True):
        first = theirs + torch.tensor([0.0, 0.0, 1.0, 1.0])  # the last pixel is inside
        torch.testing.assert_close(anchors[:count], first)
    require_equal(loaded, images, expected)


# From the head's output to boxes in the original image

# level, row, column, codes, (class logit, centerness logit); every one of another class
HOT = [
    (0, 3, 5, (0.4, -0.7, -3.0, -2.0), (2.0, 1.0)),
    (0, 7, 11, (1.0, 1.0, 0.5, -4.0), (1.5, -1.0)),  # beyond the border
    (1, 1, 2, (-0.3, 0.2, -4.0, -4.5), (1.0, 0.5)),
    (2, 1, 0, (0.1, 0.1, -9.0, -40.0), (0.5, 2.0)),  # lower than mmdetection's bound
    (3, 0, 1, (0.0, 0.0, 40.0, -12.0), (0.0, 0.0)),  # wider than the bound
]


def their_detection(is_official, start, size, original, level, row, column, codes, logits):
    """Their pipeline for one anchor: x, y, width, height in the original image; score."""
    last = 1 if is_official else 0  # x2 and y2 are the last pixel there
    stride = 8 * 2**level
    first, side, bound = stride / 2 if is_official else 0, 8 * stride, math.log(1000 / 16)
    x, y = first + column * stride, first + row * stride
    if start == "point":
        left, top, right, bottom = (stride * max(code, 0) for code in codes)
        corners = [x - left, y - top, x + right, y + bottom]
    else:
        x, y = x + codes[0] / 10 * side, y + codes[1] / 10 * side
        logs = [
            min(code / 5 if is_official else max(code / 5, -bound), bound) for code in codes[2:]
        ]
        w, h = ((math.exp(log) * side - last) / 2 for log in logs)
        corners = [x - w, y - h, x + w, y + h]
    limits = [size[1] - last, size[0] - last] * 2
    ratios = [original[0] / size[1], original[1] / size[0]] * 2
    clipped = [min(max(c, 0), limit) for c, limit in zip(corners, limits, strict=True)]
    x1, y1, x2, y2 = (c * ratio for c, ratio in zip(clipped, ratios, strict=True))
    p, centerness = (1 / (1 + math.exp(-x)) for x in logits)
    score = math.sqrt(p * centerness) if is_official else p * centerness
    return [x1, y1, x2 - x1 + last, y2 - y1 + last], score


def detect_hot(detector, size):
    """Detections where the head says HOT and nothing elsewhere."""
    sizes = level_sizes(HEIGHT, WIDTH)
    areas = [h * w for h, w in sizes]
    logits, codes = torch.full((1, sum(areas), 80), -20.0), torch.zeros(1, sum(areas), 4)
    centerness = logits[..., 0].clone()
    for label, (level, row, column, its_codes, its_logits) in enumerate(HOT):
        place = sum(areas[:level]) + row * sizes[level][1] + column
        logits[0, place, label], centerness[0, place] = its_logits
        codes[0, place] = torch.tensor(its_codes)
    detector.forward = lambda images: Predictions(logits, codes, centerness)
    return detector.detect([torch.zeros(3, *size)])[0]


@pytest.mark.parametrize(("is_official", "start"), [(True, "box"), (True, "point"), (False, "box")])
def test_detections_are_those_of_the_other_code(official, narrow, tmp_path, is_official, start):
    torch.save(narrow, tmp_path / "narrow.pth")
    loaded = load_detector(official if is_official else tmp_path / "narrow.pth", start)
    assert f"regressed from a {start}" in loaded.notes[-1]
    size, original = (60, 90), (54, 36)  # height, width as tested; width, height of the image
    found = detect_hot(loaded.detector, size)
    facts = {"image_id": 1, "category_ids": range(80), "size": original, "tested": size[::-1]}
    results = as_results(found, **facts, inclusive_corners=loaded.layout.inclusive_corners)
    results.sort(key=lambda result: result["category_id"])
    for result, hot in zip(results, HOT, strict=True):
        (x, y, width, height), score = their_detection(is_official, start, size, original, *hot)
        if start == "point" and min(width, height) <= 1:
            continue  # it begins beyond the border, where theirs keeps a pixel
        # At the border, the official one reaches up to a pixel beyond the image, ours to its end.
        box = [x, y, min(width, original[0] - x), min(height, original[1] - y)]
        assert result["bbox"] == pytest.approx(box, abs=0.011)  # two digits are kept
        assert result["score"] == pytest.approx(score, abs=1e-5)


# Ours


SMALL = Recipe(
    backbone="small", norm="group_norm", weights="none", pyramid_channels=16, nms_threshold=0.5
)
DESCRIPTION = Description(ATSS, SMALL, (3, 5), ("cat", "dog"))


def save_own(path, description=DESCRIPTION):
    """A checkpoint, or a file of weights."""
    detector = own()
    if path.suffix == ".ckpt":
        optimizer = torch.optim.SGD(detector.parameters(), lr=0.1)
        checkpoint.save(path, detector, optimizer, step=1, description=description)
    else:
        checkpoint.save_weights(path, detector, description)
    return path


def own():
    """The same each time."""
    torch.manual_seed(0)
    return assemble_detector(ATSS, SMALL, 2, ATSS_SUITE).eval()


@pytest.mark.parametrize("file", ["weights.safetensors", "last.ckpt"])
def test_our_own_files_give_the_same_detector_back(tmp_path, file):
    loaded = load_detector(save_own(tmp_path / file))
    assert loaded.description == DESCRIPTION
    assert loaded.detector.postprocess.nms_threshold == 0.5
    assert loaded.notes == ["atss-suite weights: small, 2 classes, 1 anchor per location"]
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.detector(images).codes, own()(images).codes)
    with pytest.raises(ValueError, match="does not regress from a point"):
        load_detector(tmp_path / file, "point")


def test_of_ours_a_description_is_needed_and_a_large_one_costs_nothing(tmp_path):
    """Neither memory nor time: its tensors are compared before anything is built."""
    save_file(own().state_dict(), tmp_path / "weights.safetensors")
    check_refusal(tmp_path / "weights.safetensors", "description of its detector")
    names = tuple(f"class {number}" for number in range(10**6))
    large = replace(DESCRIPTION, names=names, category_ids=tuple(range(10**6)))
    save_own(tmp_path / "large.safetensors", large)
    check_refusal(tmp_path / "large.safetensors", "tensors do not fit: ", "size mismatch for head.")


# Refusals


def check_refusal(path, *parts, content=None):
    """content: what the file becomes, bytes or what torch saves."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError) as caught:
        load_detector(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 1000
    for part in parts:
        assert part in message, message


def zeros(*shape):
    return torch.zeros(shape)


BOXES, CENTERNESS = "bbox_head.atss_reg.weight", "bbox_head.atss_centerness.weight"
UNFIT = {  # what changes in mmdetection's file (None: is gone), and what is said of it
    "missing": (
        {"backbone.bn1.bias": None, "bbox_head.scales.4.scale": None},
        "recognized as mmdetection ATSS",
        'Missing key(s) in state_dict: "backbone.body.bn1.bias", "head.scales"',
    ),
    "left over": ({f"teacher.{n}": zeros(1) for n in range(99)}, "Unexpected key(s)"),
    "shape": ({CENTERNESS: zeros(1, 32, 1, 1)}, "size mismatch for head.centerness.weight"),
    "no boxes": ({BOXES: None}, "'head.bbox_pred.weight', got []"),
    "another backbone": ({"backbone.layer3.2.conv1.weight": zeros(1)}, "3 blocks in layer3"),
    "several anchors": ({BOXES: zeros(36, 32, 3, 3)}, "9 anchors per location"),
    "no numbers": ({BOXES: zeros(4, 32, 3, 3) / 0}, "needs finite numbers, has NaN or infinity"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_named(narrow, tmp_path, name):
    changes, *parts = UNFIT[name]
    state = {key: value for key, value in {**narrow, **changes}.items() if value is not None}
    check_refusal(tmp_path / "weights.pth", *parts, content={"state_dict": state})


LEVEL_4 = "module.rpn.anchor_generator.cell_anchors.4"
SPOILED = {  # its anchors, of one per location: from -447.5 to 575.5
    "missing": None,
    "too many": zeros(2, 4),
    "rounded": torch.tensor([[-447.5, -447.5, 575.8, 575.5]]),
}


@pytest.mark.parametrize("how", SPOILED)
def test_anchors_of_an_official_file_are_checked(official, tmp_path, how):
    content = torch.load(official)["model"] | {LEVEL_4: SPOILED[how]}
    told = "need to be the 1 anchors [A, 4] of every level, of one size in strides"
    check_refusal(tmp_path / "weights.pth", told, content={"model": content})


STRANGER = "official ATSS ('rpn.head.cls_logits.weight'), mmdetection"
NO_TENSORS = "a dict of tensors, saved by safetensors or torch.save; reading stopped at "
UNFOLDS = "a tensor claims more bytes than the file has"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"conv1.weight": zeros(1)}, STRANGER),
        ({"model": 3}, STRANGER),
        ([zeros(1)], "it holds a list"),
        (b"", NO_TENSORS),
        (b"12345678{not safetensors", NO_TENSORS),
        (b"PK\x03\x04 not a zip", NO_TENSORS),
        ({"head.cls_logits.weight": torch.zeros(1).expand(10**9)}, UNFOLDS),  # four bytes
    ],
    ids=str,
)
def test_what_is_no_file_of_a_detector_is_refused(tmp_path, content, told):
    check_refusal(tmp_path / "weights.pth", told, content=content)


def test_a_file_that_unpacks_or_is_cut_off_and_none_at_all_are_refused(official, narrow, tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"0" * 10_000_000)
    check_refusal(path, "unpacked it has 10,000,000 bytes")
    torch.save(narrow, path)
    for data in (official.read_bytes(), path.read_bytes()):
        check_refusal(path, "reading stopped at", content=data[: len(data) // 2])
    with pytest.raises(FileNotFoundError, match="none.pth"):
        load_detector(tmp_path / "none.pth")


# Nothing is executed


PAYLOADS = {os.system: ("touch {}",), open: ("{}", "w")}  # called with the path of a trace


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
@pytest.mark.parametrize("function", PAYLOADS)
def test_a_hostile_file_does_nothing(tmp_path, function, zipped):
    trace, path = tmp_path / "trace", tmp_path / "weights.pth"
    payload = Payload(function, *(it.format(trace) for it in PAYLOADS[function]))
    content = {"meta": payload, "state_dict": {"a": torch.arange(3.0)}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if zipped and function is open:
        read = tensor_files.read(path)
        assert isinstance(read["meta"], tensor_files.Inert)
        assert read["state_dict"]["a"].tolist() == [0, 1, 2]
    else:  # some names torch refuses whatever stands for them, and all of files of before 2020
        check_refusal(path, "reading stopped at")
    bare = pickle.dumps(payload, pickle.HIGHEST_PROTOCOL * zipped)
    check_refusal(tmp_path / "bare.pth", "reading stopped at", content=bare)
    assert not list(tmp_path.glob("trace*"))
    # ... and it would have, elsewhere:
    if function is open:
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_tensors_saved_on_a_gpu_are_read_without_one(tmp_path):
    """The published files are older ones: here is one, with its device's name changed."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes().replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
    content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert content.count(b"cuda") == 2
    path.write_bytes(content)
    assert tensor_files.read(path)["a"].tolist() == [0, 1, 2]
