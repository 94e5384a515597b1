"""Checkpoints: whole or not at all, the newest readable one, and nothing executed."""

import copy
import itertools
import multiprocessing
import os
import pickle
from contextlib import suppress
from dataclasses import replace
from unittest.mock import Mock

import made_up_coco
import pytest
import torch
from foreign import Payload

from detector import checkpoint
from detector.config import DetectorConfig
from detector.training import assemble

RECIPE = replace(made_up_coco.RECIPE, pyramid_channels=32, optimizer="adamw")


def build(seed=0, config=None, num_classes=2):
    return assemble(config or DetectorConfig(), RECIPE, num_classes, seed=seed)


def trained(seed=0):
    """A detector and an optimizer that has something to remember."""
    detector, optimizer = build(seed)
    for parameter in detector.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return detector, optimizer


def assert_same(one, other):
    states = [[it.state_dict() for it in pair] for pair in (one, other)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.ckpt"


def test_what_was_saved_is_loaded(path):
    saved = trained()
    checkpoint.save(path, *saved, step=7, facts={"seconds": 1.5, "history": [{"step": 1}]})
    expected = torch.rand(3)
    fresh = build(seed=1)
    torch.set_rng_state(torch.load(path, weights_only=True)["random_state"])
    torch.manual_seed(5)
    assert checkpoint.load(path, *fresh) == (7, {"seconds": 1.5, "history": [{"step": 1}]})
    assert_same(fresh, saved)
    assert torch.equal(torch.rand(3), expected)  # random numbers go on where they stopped


@pytest.mark.parametrize(
    "content", [None, b"", b"no checkpoint", *(pickle.dumps(it, 2) for it in ({"step": 3}, [1]))]
)
def test_without_a_checkpoint_it_is_step_zero_and_nothing_changes(path, content):
    if content is not None:
        path.write_bytes(content)
    fresh = trained()
    before = copy.deepcopy(fresh)
    assert checkpoint.load(path, *fresh) == (0, {})
    assert_same(fresh, before)


@pytest.fixture
def saved(path):
    """Two checkpoints, one after the other: what they are of, by their steps."""
    both = {1: trained(1), 2: trained(2)}
    for step, one in both.items():
        checkpoint.save(path, *one, step=step)
    return both


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("is_flipped", [True, False])
def test_a_damaged_file_is_never_loaded_the_one_before_it_is(path, saved, share, is_flipped):
    """Half a file, or one with a single bit at which torch.load gives wrong weights wordlessly."""
    content = path.read_bytes()
    place = int((0.2 + 0.6 * share if is_flipped else share) * len(content))
    rest = bytes([content[place] ^ 1]) + content[place + 1 :] if is_flipped else b""
    path.write_bytes(content[:place] + rest)
    fresh = build()
    assert checkpoint.load(path, *fresh)[0] == 1
    assert_same(fresh, saved[1])


@pytest.mark.parametrize("newest", [1, 2])
def test_a_write_that_fails_leaves_a_readable_checkpoint_and_no_debris(
    path, saved, monkeypatch, newest
):
    """Of a damaged newest, too, whose place is never taken from the good one before it."""
    if newest == 1:
        path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, *trained(3), step=3)
    fresh = build()
    assert checkpoint.load(path, *fresh)[0] == newest
    assert_same(fresh, saved[newest])
    assert not list(path.parent.glob("*.tmp*"))


def save_for_ever(path, state, steps):
    for step in itertools.count(1):
        checkpoint.save(path, *state, step=step)
        steps.send(step)


def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(path):
    """Whenever the signal comes, what is loaded is a checkpoint that was saved in full."""
    state, forked = trained(), multiprocessing.get_context("fork")
    steps, its_end = forked.Pipe(duplex=False)
    writer = forked.Process(target=save_for_ever, args=(path, state, its_end))
    writer.start()
    its_end.close()
    assert [steps.recv() for _ in range(5)] == [1, 2, 3, 4, 5]
    writer.kill()
    finished = 5
    with suppress(EOFError, OSError):
        while True:
            finished = steps.recv()
    fresh = build(seed=3)
    step, _ = checkpoint.load(path, *fresh)
    assert abs(step - finished) <= 1  # between two moves only the one before the newest is there
    assert_same(fresh, state)


@pytest.mark.parametrize("other", [{"num_classes": 3}, {"config": DetectorConfig(group_norm=True)}])
def test_a_checkpoint_of_another_detector_is_refused_in_one_line(path, other):
    checkpoint.save(path, *trained(), step=1)
    with pytest.raises(ValueError, match=rf"'{path}' is of another detector: [^\n]*\Z"):
        checkpoint.load(path, *build(**other))


def test_loading_executes_nothing(path, tmp_path):
    torch.save({"step": 1, "facts": Payload(open, str(tmp_path / "trace"), "w")}, path)
    assert checkpoint.load(path, *build()) == (0, {})
    assert not (tmp_path / "trace").exists()


DESCRIPTION = checkpoint.Description(DetectorConfig(), RECIPE, (3,), ("cat",)).to_json()
OTHERS = ({"categories": [3]}, {"config": {"no such": 1}}, {"recipe": {"norm": "none"}})


@pytest.mark.parametrize("content", [None, [], {}, *(DESCRIPTION | other for other in OTHERS)])
def test_a_description_of_another_version_is_refused_in_one_line(content):
    with pytest.raises(ValueError, match="needs config, recipe and categories") as caught:
        checkpoint.Description.from_json(content)
    assert "\n" not in str(caught.value)
