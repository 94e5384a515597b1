"""A training batch is a function of the data, the recipe, the seed and the step."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from made_up_coco import RECIPE, annotation, write

from detector.batches import ahead, batches
from detector.coco import CocoDataset, Target


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """14 images, 9 landscape and 5 portrait; the box of image n is n + 1 pixels wide."""
    described = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": w, "height": 100 - w}
            for n in range(14)
            for w in [60 if n % 14 < 9 else 40]
        ],
        "annotations": [annotation(n, n, 1, [2, 3, n + 1, 20]) for n in range(14)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    return CocoDataset(*write(tmp_path, described))


def take(dataset: CocoDataset, count: int, **given: int) -> list[tuple[torch.Tensor, list[Target]]]:
    return list(islice(batches(dataset, RECIPE, **{"seed": 0, **given}), count))


def equal(one: tuple[torch.Tensor, list[Target]], other: tuple[torch.Tensor, list[Target]]) -> bool:
    pairs = zip(one[1], other[1], strict=True)
    return torch.equal(one[0], other[0]) and all(
        torch.equal(a[key], b[key]) for a, b in pairs for key in ("boxes", "labels")
    )


def test_batches_do_not_depend_on_where_one_starts(dataset: CocoDataset) -> None:
    whole = take(dataset, 12)
    for start in (1, 5, 11):
        late = take(dataset, 12 - start, start=start)
        assert all(equal(*pair) for pair in zip(whole[start:], late, strict=True))


def test_batches_do_not_depend_on_workers(dataset: CocoDataset) -> None:
    alone, helped = take(dataset, 5, start=2), take(dataset, 5, start=2, workers=2)
    assert all(equal(*pair) for pair in zip(alone, helped, strict=True))


def test_batches_leave_torchs_random_numbers_alone(dataset: CocoDataset) -> None:
    before = torch.random.get_rng_state()
    take(dataset, 2, workers=1)
    take(dataset, 2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_seed_gives_other_batches(dataset: CocoDataset) -> None:
    assert not any(
        equal(*pair) for pair in zip(take(dataset, 3), take(dataset, 3, seed=1), strict=True)
    )


def shown(target: Target, image: torch.Tensor) -> tuple[int, bool]:
    """Which image of the fixture a target belongs to, and whether it is landscape; from its box."""
    x1, y1, x2, y2 = target["boxes"][0].tolist()
    scale = (y2 - y1) / 20
    return round((x2 - x1) / scale) - 1, image.shape[-1] > image.shape[-2]


def test_every_image_comes_once_an_epoch_and_batches_are_of_one_aspect(
    dataset: CocoDataset,
) -> None:
    seen: Counter[int] = Counter()
    for images, targets in take(dataset, 14):  # 56 images: 4 epochs
        assert len(targets) == 4
        found = [shown(target, images) for target in targets]
        assert all((index < 9) == is_landscape for index, is_landscape in found)
        seen.update(index for index, _ in found)
    assert set(seen) == set(range(14))
    assert (
        max(seen.values()) - min(seen.values()) <= 2
    )  # what an epoch leaves over comes first next


def test_images_are_padded_to_32_and_boxes_lie_in_them(dataset: CocoDataset) -> None:
    for images, targets in take(dataset, 6):
        assert images.shape[0] == 4
        assert images.dtype == torch.float32
        assert not images.shape[2] % 32
        assert not images.shape[3] % 32
        for target in targets:
            assert target["boxes"].dtype == torch.float32
            assert target["labels"].dtype == torch.int64
            assert (target["boxes"] >= 0).all()
            assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()


def test_short_sides_are_drawn_between_the_recipes_two_both_included(dataset: CocoDataset) -> None:
    recipe = replace(RECIPE, short_side=(40, 43), long_side=200)
    drawn = set()
    for _, targets in islice(batches(dataset, recipe, seed=0), 20):
        drawn |= {
            round((target["boxes"][0, 3] - target["boxes"][0, 1]).item() / 20 * 40)
            for target in targets
        }
    assert drawn == {40, 41, 42, 43}


def test_about_half_of_the_images_are_flipped(dataset: CocoDataset) -> None:
    recipe = replace(RECIPE, short_side=(40, 40), long_side=200)  # as stored: boxes begin at x = 2
    starts = [
        target["boxes"][0, 0].item()
        for _, targets in islice(batches(dataset, recipe, seed=0), 30)
        for target in targets
    ]
    share = sum(start != 2 for start in starts) / len(starts)
    assert 0.35 < share < 0.65


def test_epochs_are_shuffled_differently(dataset: CocoDataset) -> None:
    order = [
        shown(target, images)[0] for images, targets in take(dataset, 14) for target in targets
    ]
    landscape = [index for index in order if index < 9]
    assert landscape[:9] != landscape[9:18]


def explode(key: int) -> int:
    if key == 3:
        raise ValueError("image 3 is broken")
    return key


@pytest.mark.parametrize("workers", [0, 2])
def test_a_workers_error_arrives_as_it_was(workers: int) -> None:
    results = ahead(explode, range(6), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError) as raised:
        next(results)
    assert str(raised.value) == "image 3 is broken"
