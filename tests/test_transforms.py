"""Images and boxes go to the network's input together."""

import pytest
import torch

from detector.data.transforms import IMAGENET, Normalization, collate, flip, resize, resize_sizes


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1066)),  # 800 * 640 / 480 = 1066.7, cut off
        ((640, 480), (1066, 800)),
        ((500, 500), (800, 800)),
        ((427, 640), (800, 1199)),
        ((200, 640), (417, 1333)),  # 800 would give 2560: round(1333 * 200 / 640) = round(416.6)
        ((640, 200), (1333, 417)),
        ((1, 3000), (1, 1333)),  # never nothing
    ],
)
def test_the_short_side_becomes_800_unless_the_long_one_passes_1333(size, resized):
    assert resize_sizes(size, short_side=800, long_side=1333) == resized


def lit(image):
    """The box of what is brighter than half, in whole pixels."""
    ys, xs = (image[0] > image.max() / 2).nonzero().unbind(1)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def test_boxes_stay_on_what_they_mark_when_an_image_is_resized_or_flipped():
    image, boxes = torch.zeros(3, 60, 90).to(torch.uint8), torch.tensor([[30.0, 10.0, 60.0, 50.0]])
    image[:, 10:50, 30:60] = 255
    resized, moved = resize(image, boxes, (120, 270))
    assert resized.shape == (3, 120, 270)
    assert resized.dtype == torch.uint8
    assert moved.tolist() == [[90, 20, 180, 100]] == [lit(resized)]
    mirrored, moved = flip(image[..., :80], boxes)
    assert moved.tolist() == [[20, 10, 50, 50]] == [lit(mirrored)]
    assert flip(*resize(image, torch.zeros(0, 4), (16, 16)))[1].shape == (0, 4)


BGR = Normalization(mean=(103, 116, 123), std=(2, 4, 5), scale=2, channels=(2, 1, 0))


@pytest.mark.parametrize("normalize", [IMAGENET, BGR])
def test_normalizing_is_the_formula_to_the_bit_in_place_too_and_by_looking_numbers_up(normalize):
    """Which is how it is done on a GPU, where dividing gives other bits."""
    values = torch.stack([torch.randperm(256) for _ in range(3)]).to(torch.uint8)[:, None]
    mean, std = (torch.tensor(it)[:, None, None] for it in (normalize.mean, normalize.std))
    formula = (values[list(normalize.channels)].float() / normalize.scale - mean) / std
    assert torch.equal(normalize(values), formula)
    for write in (normalize, normalize.look_up):
        padded = torch.zeros(3, 8, 300)
        write(values, padded[:, :1, :256])
        assert torch.equal(padded[:, :1, :256], formula)
        assert not padded[:, 1:].any() and not padded[:, :, 256:].any()


def test_a_batch_is_padded_right_and_below_to_multiples_of_32():
    images = [torch.ones(3, 40, 64), torch.ones(3, 30, 65)]
    batch = collate(images)
    assert batch.shape == (2, 3, 64, 96)
    assert [float(image.sum()) for image in batch] == [3 * 40 * 64, 3 * 30 * 65]
    assert batch[1, :, :30, :65].eq(1).all()
