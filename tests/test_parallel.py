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
    sizes = [{"width": 80 + 16 * (n % 2), "height": 64} for n in range(10)]
    images = [{"id": n, "file_name": f"{n}.png", **size} for n, size in enumerate(sizes)]
    boxes = [(n, m) for n in range(10) for m in range(n % 4)]
    annotations = [
        annotation(number, n, 1 + m % 2, [8 * m + n, 6 * m, 20 + 9 * m, 15 + 5 * n])
        for number, (n, m) in enumerate(boxes, start=1)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    described = {"images": images, "annotations": annotations, "categories": categories}
    return CocoDataset(*write(folder, described))


def run_share(rank, size, address, name, folder, part=None):
    """One process: the first batch's gradients, three steps of training; saves and returns both."""
    torch.set_num_threads(1)
    distributed.BUCKET = 1000  # so that there are several
    with joined(address, rank, size, "cpu") as group:
        images = batches(dataset(folder / str(rank)), RECIPE, seed=0, share=group.share)
        detector, optimizer = assemble(CONFIGS[name], RECIPE, 2, seed=0)
        batch = next(images)
        losses = accumulate_gradients(detector, *batch, part, group)
        gradients = {key: p.grad.clone() for key, p in detector.named_parameters()}
        steps = train(detector, optimizer, images, RECIPE, micro_batch_size=part, group=group)
        content = {
            "losses": losses,
            "gradients": gradients,
            "history": [*steps],
            "weights": detector.state_dict(),
            "images": len(batch[0]),
        }
    torch.save(content, folder / f"{rank}.pt")
    return content


def run_together(name, folder, part=None):
    """What each of two processes found."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    torch.multiprocessing.spawn(run_share, (2, address, name, folder, part), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.slow
def test_two_processes_one_process_and_micro_batches_train_alike(tmp_path, name):
    alone, in_parts = (run_share(0, 1, "", name, tmp_path, part) for part in (None, 2))
    shares, both = (run_together(name, tmp_path, part) for part in (None, 1))
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
    first, second = run_together("ATSS", tmp_path)
    assert first["history"] == second["history"]
    assert all(torch.equal(v, second["weights"][k]) for k, v in first["weights"].items())


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
        found.append((losses, detector.head.cls_logits.weight.grad))
    (alone, gradient), (together, its_gradient) = found
    assert together == pytest.approx(alone, rel=1e-6)
    torch.testing.assert_close(its_gradient, gradient)


def test_shares_are_the_batch(tmp_path):
    data = dataset(tmp_path)
    whole = list(islice(batches(data, RECIPE, seed=0), 2))
    for rank in (0, 1):
        shares = batches(data, RECIPE, seed=0, share=Group(rank, 2).share)
        for (images, targets), (its_images, its_targets) in zip(whole, shares, strict=False):
            assert torch.equal(its_images, images[rank::2])
            for one, other in zip(its_targets, targets[rank::2], strict=True):
                assert torch.equal(one["boxes"], other["boxes"])
