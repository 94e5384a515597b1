"""Several processes that share each batch train like one (docs/choices.md Q10)."""

import socket
from dataclasses import replace

import made_up_coco
import pytest
import torch
from made_up_coco import annotation, write

from detector import distributed
from detector.data.batches import batches
from detector.data.coco import CocoDataset
from detector.distributed import joined
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


CASES = [("ATSS", None), ("RetinaNet", None), ("FCOS", None), ("ATSS", 1)]


def run_share(rank, size, address, images_of, name, part):
    """One process: the first batch's gradients, then three steps of training."""
    with joined(address, rank, size, "cpu") as group:
        images = batches(images_of, RECIPE, seed=0, share=group.share)
        detector, optimizer = assemble(CONFIGS[name], RECIPE, 2, seed=0)
        batch = next(images)
        losses = accumulate_gradients(detector, *batch, part, group)
        gradients = {key: p.grad.clone() for key, p in detector.named_parameters()}
        steps = train(detector, optimizer, images, RECIPE, micro_batch_size=part, group=group)
        return {
            "losses": losses,
            "gradients": gradients,
            "history": [*steps],
            "weights": detector.state_dict(),
            "images": len(batch[0]),
        }


def run_shares(rank, addresses, folder):
    """What one of two processes does in every case, which it saves: to start one takes seconds."""
    torch.set_num_threads(1)
    distributed.BUCKET = 1000  # so that there are several
    images_of = dataset(folder / str(rank))
    cases = zip(addresses, CASES, strict=True)
    found = {case: run_share(rank, 2, address, images_of, *case) for address, case in cases}
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of two processes found."""
    folder, addresses = tmp_path_factory.mktemp("together"), []
    for _ in CASES:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{listener.getsockname()[1]}")
    torch.multiprocessing.spawn(run_shares, (addresses, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize(("name", "part"), CASES)
def test_two_processes_agree_to_the_bit_and_train_like_one_and_like_micro_batches(
    tmp_path, together, name, part
):
    images_of = dataset(tmp_path)
    alone, in_parts = (run_share(0, 1, "", images_of, name, its) for its in (None, 2))
    one, other = (found[name, part] for found in together)
    assert (one["images"], other["images"]) == (3, 2)
    assert one["history"] == other["history"]
    torch.testing.assert_close(one["weights"], other["weights"], rtol=0, atol=0)
    for found in (in_parts, one):
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        for key, gradient in alone["gradients"].items():
            close = {"rtol": 1e-3, "atol": 1e-5 * gradient.abs().max().item() + 1e-9}
            torch.testing.assert_close(found["gradients"][key], gradient, **close, msg=key)
        for step, its in zip(alone["history"], found["history"], strict=True):
            assert its == pytest.approx(step, rel=1e-4)
        torch.testing.assert_close(found["weights"], alone["weights"], rtol=1e-3, atol=1e-6)
