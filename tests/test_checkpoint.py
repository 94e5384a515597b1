"""Checkpoints: whole or not at all, the newest readable one, and nothing executed."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from detector import checkpoint
from detector.config import DetectorConfig, Recipe
from detector.training import assemble

ROOT = Path(__file__).parents[1]
RECIPE = Recipe(
    backbone="small", pyramid_channels=32, norm="group_norm", weights="none", optimizer="adamw"
)


def build(seed=0, config=None, num_classes=2):
    return assemble(config or DetectorConfig(), RECIPE, num_classes, seed=seed)


def trained(seed=0):
    """A detector and an optimizer that has something to remember."""
    detector, optimizer = build(seed)
    for parameter in detector.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return detector, optimizer


def states(detector, optimizer):
    remembered = [value for one in optimizer.state.values() for value in one.values()]
    return [*detector.state_dict().values(), *remembered]


def assert_same(one, other):
    for value, its in zip(states(*one), states(*other), strict=True):
        assert torch.equal(value, its)


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


def test_no_checkpoint_is_step_zero_and_changes_nothing(path):
    detector, optimizer = trained()
    before = [value.clone() for value in states(detector, optimizer)]
    assert checkpoint.load(path, detector, optimizer) == (0, {})
    for value, its in zip(states(detector, optimizer), before, strict=True):
        assert torch.equal(value, its)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_half_a_file_is_never_loaded_the_one_before_it_is(path, share):
    first, second = trained(1), trained(2)
    checkpoint.save(path, *first, step=1)
    checkpoint.save(path, *second, step=2)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    fresh = build()
    assert checkpoint.load(path, *fresh)[0] == 1
    assert_same(fresh, first)


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint", pickle.dumps({"step": 3}, 2), pickle.dumps([1, 2], 2)]
)
def test_what_is_no_checkpoint_is_none(path, content):
    path.write_bytes(content)
    assert checkpoint.load(path, *build()) == (0, {})


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_single_bit_that_flipped_is_noticed(path, share):
    """torch.load gives wrong weights without a word."""
    first, second = trained(1), trained(2)
    checkpoint.save(path, *first, step=1)
    checkpoint.save(path, *second, step=2)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)
    fresh = build()
    assert checkpoint.load(path, *fresh)[0] == 1
    assert_same(fresh, first)


def failing(*_args, **_kwargs):
    raise OSError("no space left on device")


def test_a_write_that_fails_leaves_a_readable_checkpoint_and_no_debris(path, monkeypatch):
    saved = trained()
    checkpoint.save(path, *saved, step=1)
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, *trained(2), step=2)
    fresh = build()
    assert checkpoint.load(path, *fresh)[0] == 1
    assert_same(fresh, saved)
    assert not list(path.parent.glob("*.tmp*"))


def test_a_damaged_file_never_takes_the_place_of_a_good_one(path, monkeypatch):
    """A run that went on from the older checkpoint fails again while it writes the next."""
    checkpoint.save(path, *trained(1), step=1)
    checkpoint.save(path, *trained(2), step=2)
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, *trained(3), step=2)
    assert checkpoint.load(path, *build())[0] == 1


def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(path):
    """Whenever the signal comes, what is loaded is a checkpoint that was saved in full."""
    code = """
import itertools, sys
from pathlib import Path
from detector import checkpoint
from test_checkpoint import trained
state = trained()
for step in itertools.count(1):
    checkpoint.save(Path(sys.argv[1]), *state, step=step)
    print(step, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(5):
        finished = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate()[0].split()
    finished = int(rest[-1]) if rest else finished
    fresh = build(seed=3)
    step, _ = checkpoint.load(path, *fresh)
    assert finished <= step + 1  # between two moves only the one before the newest is there
    assert step <= finished + 1
    assert_same(fresh, trained())


@pytest.mark.parametrize(
    "other",
    [
        {"num_classes": 3},
        {"config": DetectorConfig(group_norm=True)},
        {"config": DetectorConfig(anchor_scales=(4, 8))},
    ],
)
def test_a_checkpoint_of_another_detector_is_refused_in_one_line(path, other):
    checkpoint.save(path, *trained(), step=1)
    with pytest.raises(ValueError, match="of another detector") as caught:
        checkpoint.load(path, *build(**other))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_loading_executes_nothing(path, tmp_path):
    torch.save({"step": 1, "facts": _Payload(str(tmp_path / "trace"))}, path)
    assert checkpoint.load(path, *build()) == (0, {})
    assert not (tmp_path / "trace").exists()


DESCRIPTION = checkpoint.Description(DetectorConfig(), RECIPE, (3, 7), ("cat", "dog"))


def test_weights_alone_are_saved_and_loaded(tmp_path):
    detector, _ = trained()
    checkpoint.save_weights(tmp_path / "weights.safetensors", detector, DESCRIPTION)
    fresh, _ = build(seed=1)
    checkpoint.load_weights(tmp_path / "weights.safetensors", fresh)
    for name, value in detector.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_weights_file_says_what_it_belongs_to(tmp_path):
    path = tmp_path / "weights.safetensors"
    checkpoint.save_weights(path, trained()[0], DESCRIPTION)
    with safe_open(path, "pt") as file:
        content = json.loads(file.metadata()[checkpoint.METADATA])
    assert content["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert checkpoint.Description.from_json(content) == DESCRIPTION


def test_a_checkpoint_of_an_unfinished_run_says_what_it_belongs_to(path):
    checkpoint.save(path, *trained(), step=1, description=DESCRIPTION)
    content = torch.load(path, weights_only=True)["description"]
    assert checkpoint.Description.from_json(content) == DESCRIPTION
    assert checkpoint.load(path, *build())[0] == 1


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        DESCRIPTION.to_json() | {"categories": [3]},
        DESCRIPTION.to_json() | {"config": {"no such": 1}},
        DESCRIPTION.to_json() | {"recipe": {"norm": "none"}},
    ],
)
def test_a_description_of_another_version_is_refused_in_one_line(content):
    with pytest.raises(ValueError, match="needs config, recipe and categories") as caught:
        checkpoint.Description.from_json(content)
    assert "\n" not in str(caught.value)
