"""Several processes that share each batch train like one (docs/choices.md Q10)."""

import socket
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import made_up_coco
import pytest
import torch
from made_up_coco import annotation, write

from detector import distributed
from detector.data.batches import batches
from detector.data.coco import CocoDataset
from detector.distributed import Group, joined
from detector.training import accumulate_gradients, assemble, train
from experiments.baselines import ATSS, FCOS, RETINANET

RECIPE = replace(
    made_up_coco.RECIPE,
    pyramid_channels=32,
    iterations=3,
    batch_size=5,
    short_side=(64, 96),
    long_side=128,
    warmup_iterations=0,
)
CONFIGS = {"RetinaNet": RETINANET, "ATSS": ATSS, "FCOS": FCOS}


def dataset(folder):
    """Ten images of two sizes; number n has n % 4 objects, so some shares have no positive."""
    images = [
        {"id": n, "file_name": f"{n}.png", "width": 80 + 16 * (n % 2), "height": 64}
        for n in range(10)
    ]
    boxes = [(n, m) for n in range(10) for m in range(n % 4)]
    annotations = [
        annotation(number, n, 1 + m % 2, [8 * m + n, 6 * m, 20 + 9 * m, 15 + 5 * n])
        for number, (n, m) in enumerate(boxes, start=1)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    described = {"images": images, "annotations": annotations, "categories": categories}
    return CocoDataset(*write(folder, described))


def run_share(rank, size, address, name, folder, out, micro_batch_size=None):
    """One process: the first batch's gradients, three steps of training, both saved."""
    torch.set_num_threads(1)
    distributed.BUCKET = 1000  # so that there are several
    with joined(address, rank, size, "cpu") as group:
        images = batches(dataset(folder / str(rank)), RECIPE, seed=0, share=group.share)
        detector, optimizer = assemble(CONFIGS[name], RECIPE, 2, seed=0)
        batch = next(images)
        losses = accumulate_gradients(detector, *batch, micro_batch_size, group)
        gradients = {key: p.grad.clone() for key, p in detector.named_parameters()}
        rest = train(
            detector, optimizer, images, RECIPE, micro_batch_size=micro_batch_size, group=group
        )
        history = list(rest)
        content = {
            "losses": losses,
            "gradients": gradients,
            "history": history,
            "weights": detector.state_dict(),
            "images": len(batch[0]),
        }
        torch.save(content, out / f"{name}-{size}-{micro_batch_size}-{rank}.pt")


def run_together(size, name, folder, micro_batch_size=None):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    arguments = (size, address, name, folder, folder, micro_batch_size)
    torch.multiprocessing.spawn(run_share, arguments, nprocs=size)
    ranks = range(size)
    paths = [folder / f"{name}-{size}-{micro_batch_size}-{rank}.pt" for rank in ranks]
    return [torch.load(path) for path in paths]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.slow
def test_two_processes_one_process_and_micro_batches_train_alike(tmp_path, name):
    run_share(0, 1, "", name, tmp_path, tmp_path)
    run_share(0, 1, "", name, tmp_path, tmp_path, micro_batch_size=2)
    alone, in_parts = (
        torch.load(tmp_path / f"{name}-1-{part}-0.pt", weights_only=True) for part in (None, 2)
    )
    shares = run_together(2, name, tmp_path)
    both = run_together(2, name, tmp_path, micro_batch_size=1)
    assert [part["images"] for part in shares] == [3, 2]
    for other in (in_parts, *shares, *both):
        assert other["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        for key, gradient in alone["gradients"].items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(
                other["gradients"][key], gradient, rtol=1e-3, atol=1e-5 * scale + 1e-9, msg=key
            )
        for one, its in zip(alone["history"], other["history"], strict=True):
            assert its == pytest.approx(one, rel=1e-4)
        torch.testing.assert_close(other["weights"], alone["weights"], rtol=1e-3, atol=1e-6)


def test_members_of_a_group_agree_to_the_bit(tmp_path):
    first, second = run_together(2, "ATSS", tmp_path)
    assert first["history"] == second["history"]
    assert all(torch.equal(v, second["weights"][k]) for k, v in first["weights"].items())


def test_dividing_by_ones_own_sums_would_be_noticed(tmp_path):
    """The first batch's shares hold different numbers of positives: local sums are other sums."""
    images = next(batches(dataset(tmp_path), RECIPE, seed=0))
    detector, _ = assemble(CONFIGS["ATSS"], RECIPE, 2, seed=0)
    size = (images[0].shape[2], images[0].shape[3])
    counts = [
        len(detector.select_samples(size, images[1][Group(rank, 2).share]).image) for rank in (0, 1)
    ]
    assert counts[0] != counts[1]


class Twins(Group):
    """Two processes with the very same share, of which this is one: all sums are twice its own."""

    def sum(self, *values):
        for value in values:
            value.mul_(2)

    @contextmanager
    def summing(self, parameters):
        yield
        self.sum(*(p.grad for p in parameters if p.grad is not None))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_images_in_two_processes_train_like_once(tmp_path, name):
    images = next(batches(dataset(tmp_path), RECIPE, seed=0))
    found = []
    for group in (Group(), Twins(0, 2)):
        detector, _ = assemble(CONFIGS[name], RECIPE, 2, seed=0)
        losses = accumulate_gradients(detector, *images, group=group)
        gradient = detector.head.cls_logits.weight.grad
        found.append((losses, gradient))
    (alone, gradient), (together, its_gradient) = found
    assert together == pytest.approx(alone, rel=1e-6)
    torch.testing.assert_close(its_gradient, gradient)


def test_shares_are_the_batch(tmp_path):
    data = dataset(tmp_path)
    whole = list(islice(batches(data, RECIPE, seed=0), 2))
    parts = [Group(rank, 2).share for rank in (0, 1)]
    shares = [list(islice(batches(data, RECIPE, seed=0, share=part), 2)) for part in parts]
    for step in (0, 1):
        images, targets = whole[step]
        for rank in (0, 1):
            its_images, its_targets = shares[rank][step]
            assert torch.equal(its_images, images[rank::2])
            for one, other in zip(its_targets, targets[rank::2], strict=True):
                assert torch.equal(one["boxes"], other["boxes"])


def test_a_group_of_one_changes_nothing():
    value = torch.tensor([1.0, 2.0])
    group = Group()
    group.sum(value)
    assert value.tolist() == [1.0, 2.0] and group.gather("a") == ["a"] and group.is_first
