"""A training batch is a function of the data, the recipe, the seed and the step."""

import gc
import multiprocessing
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from made_up_coco import RECIPE, annotation, write
from PIL import Image
from torch.nn import functional

from detector.data.batches import ahead, batches
from detector.data.coco import CocoDataset


@pytest.fixture
def dataset(tmp_path):
    """14 images, 9 landscape and 5 portrait; the box of image n is n + 1 pixels wide."""
    widths = [60 if n < 9 else 40 for n in range(14)]
    described = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": w, "height": 100 - w}
            for n, w in enumerate(widths)
        ],
        "annotations": [annotation(n, n, 1, [2, 3, n + 1, 20]) for n in range(14)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    return CocoDataset(*write(tmp_path, described))


def take(dataset, count, **given):
    return list(islice(batches(dataset, **{"recipe": RECIPE, "seed": 0, **given}), count))


def equal(one, other):
    pairs = zip(one[1], other[1], strict=True)
    return torch.equal(one[0], other[0].cpu()) and all(
        torch.equal(a[key], b[key].cpu()) for a, b in pairs for key in ("boxes", "labels")
    )


ON_GPU = [pytest.param(0, workers, "cuda", marks=pytest.mark.gpu) for workers in (0, 2)]


@pytest.mark.parametrize(
    ("start", "workers", "device"),
    [*((start, 0, "cpu") for start in (1, 5, 11)), (2, 2, "cpu"), *ON_GPU],
)
def test_batches_do_not_depend_on_start_workers_and_device(dataset, start, workers, device):
    before = torch.random.get_rng_state()
    late = take(dataset, 12 - start, start=start, workers=workers, device=device)
    assert {images.device.type for images, _ in late} == {device}
    assert all(equal(*pair) for pair in zip(take(dataset, 12)[start:], late, strict=True))
    other = zip(take(dataset, 3), take(dataset, 3, seed=1), strict=True)
    assert not any(equal(*pair) for pair in other)
    assert torch.equal(before, torch.random.get_rng_state())  # which belong to the run


@pytest.mark.parametrize("share", [slice(0, None, 3), slice(1, None, 3), slice(2, None, 3)])
def test_a_share_is_a_part_of_the_whole_batch_padded_as_there(dataset, share):
    recipe = replace(RECIPE, short_side=(40, 90), long_side=200)
    parts = take(dataset, 6, recipe=recipe, share=share)
    for (images, targets), part in zip(take(dataset, 6, recipe=recipe), parts, strict=True):
        assert equal(part, (images[share], targets[share]))


def plainly(path, size):
    """PIL's pixels, resized (height, width) in planes, normalized by the formula."""
    planes = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
    resized = functional.interpolate(
        planes.contiguous()[None], size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (resized.float() / 255 - mean) / std


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_batch_is_to_the_bit_what_plain_steps_give(dataset, ending):
    draw = np.random.default_rng(0)
    for index, (width, height) in enumerate(dataset.sizes):
        noise = draw.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        dataset.file_names[index] = f"noise{index}.{ending}"
        Image.fromarray(noise).resize((width, height)).save(dataset.path(index))
    recipe = replace(RECIPE, short_side=(70, 70), long_side=200)
    for images, targets in take(dataset, 3, recipe=recipe):
        for image, target in zip(images, targets, strict=True):
            index, is_landscape = shown(target, image)
            height, width = (70, 105) if is_landscape else (105, 70)
            plain = plainly(dataset.path(index), (height, width))
            is_flipped = target["boxes"][0, 0] > 4  # as stored, boxes begin at 2, here at 3.5
            assert torch.equal(image[:, :height, :width], plain.flip(-1) if is_flipped else plain)
            assert not image[:, height:].any() and not image[:, :, width:].any()


def shown(target, image):
    """Which image of the fixture a target belongs to, and whether it is landscape; from its box."""
    x1, y1, x2, y2 = target["boxes"][0].tolist()
    scale = (y2 - y1) / 20
    return round((x2 - x1) / scale) - 1, image.shape[-1] > image.shape[-2]


def test_every_image_comes_once_an_epoch_shuffled_and_batches_are_of_one_aspect(dataset):
    order = []
    for images, targets in take(dataset, 14):  # 56 images: 4 epochs
        found = [shown(target, images) for target in targets]
        assert len(found) == 4
        assert all((index < 9) == is_landscape for index, is_landscape in found)
        order += [index for index, _ in found]
        assert images.dtype == torch.float32
        assert not images.shape[2] % 32 and not images.shape[3] % 32
        for target in targets:
            assert (target["boxes"].dtype, target["labels"].dtype) == (torch.float32, torch.int64)
    seen = Counter(order)
    assert set(seen) == set(range(14))
    assert max(seen.values()) - min(seen.values()) <= 2  # an epoch's rest comes first in the next
    landscape = [index for index in order if index < 9]
    assert landscape[:9] != landscape[9:18]


def test_sides_are_drawn_between_the_recipes_two_and_about_half_is_flipped(dataset):
    recipe = replace(RECIPE, short_side=(40, 43), long_side=200)
    boxes = [t["boxes"][0] for _, its in take(dataset, 30, recipe=recipe) for t in its]
    drawn = {round((box[3] - box[1]).item() / 20 * 40) for box in boxes}
    assert drawn == {40, 41, 42, 43}  # both included
    # As stored, boxes begin at x = 2 of 40 or of 60.
    flipped = [box[0] > 2.2 for box in boxes]
    assert 0.35 < sum(flipped) / len(flipped) < 0.65


def workers_alive():
    """Processes of ours that load images."""
    gc.collect()
    return len(multiprocessing.active_children())


def test_workers_end_when_nobody_wants_batches_any_more(dataset):
    before = workers_alive()
    for _ in range(3):
        wanted = batches(dataset, RECIPE, seed=0, workers=2)
        next(wanted)
        assert workers_alive() == before + 2
        del wanted
        assert workers_alive() == before


def explode(key):
    if key == 3:
        raise ValueError("image 3 is broken")
    return key


@pytest.mark.parametrize("workers", [0, 2])
def test_a_workers_error_arrives_as_it_was(workers):
    before, results = workers_alive(), ahead(explode, range(6), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError) as raised:
        next(results)
    assert str(raised.value) == "image 3 is broken"
    assert workers_alive() == before
