"""Training: schedule, optimizer, interruption, failure, and that it learns by heart what it can."""

import copy
import itertools
import math
from dataclasses import replace

import made_up_coco
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from detector import checkpoint
from detector.assigners import IGNORED
from detector.config import DetectorConfig, Recipe
from detector.data.batches import batches as shuffled
from detector.data.coco import open_data
from detector.detector import build_detector
from detector.evaluation.detect import detect_all, measure
from detector.training import assemble, build_optimizer, is_compiled, learning_rate, train
from experiments.baselines import ATSS, FCOS_CENTER_SAMPLING, IMPROVED_RETINANET

RECIPE = replace(
    made_up_coco.RECIPE, pyramid_channels=32, iterations=6, warmup_iterations=2, lr_drops=(0.5,)
)


def batches(start=0, size=4):
    """An endless sequence, a function of the step; every other image has no object."""
    for step in itertools.count(start):
        draw = torch.Generator().manual_seed(step)
        images = torch.randn(size, 3, 96, 96, generator=draw)
        targets = []
        for index in range(size):
            corner = 40 * torch.rand(index % 2 * 3, 2, generator=draw)
            sides = 8 + 40 * torch.rand(len(corner), 2, generator=draw)
            boxes = torch.cat([corner, corner + sides], dim=1)
            targets.append({"boxes": boxes, "labels": torch.arange(len(corner))})
        yield images, targets


def run(recipe=RECIPE, config=ATSS, until=None, seed=0, **settings):
    """Detector, optimizer and all that training yielded, stopped after step `until`."""
    detector, optimizer = assemble(config, recipe, 3, seed=seed)
    steps = train(detector, optimizer, batches(), recipe, **settings)
    return detector, optimizer, list(itertools.islice(steps, until))


def assert_equal_states(one, other):
    """Bit for bit, through nested dicts and lists."""
    torch.testing.assert_close(one, other, rtol=0, atol=0)


# The schedule


def test_the_papers_learning_rate_warms_up_and_drops_twice():
    paper = Recipe()
    at = {1: 0.01 / 3, 500: 0.01 / 3, 501: 0.01, 60_000: 0.01, 60_001: 1e-3}
    at |= {80_000: 1e-3, 80_001: 1e-4, 90_000: 1e-4}
    for step, rate in at.items():
        assert learning_rate(paper, step) == pytest.approx(rate), step


def test_a_cosine_falls_from_the_full_rate_towards_zero():
    recipe = Recipe(lr_decay="cosine", iterations=100, warmup_iterations=0)
    rates = [learning_rate(recipe, step) for step in range(1, 101)]
    assert (rates[0], rates[50]) == (0.01, pytest.approx(0.005)) and 0 < rates[-1] < 1e-5
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_recipes_and_frozen_weights_are_not_in_it(name, kind):
    detector = build_detector(DetectorConfig(), 3)
    optimizer = build_optimizer(detector, Recipe(optimizer=name, momentum=0.8))
    settings = optimizer.param_groups[0]
    assert type(optimizer) is kind and not settings.get("nesterov")
    assert (settings["momentum"] if name == "sgd" else settings["betas"][0]) == 0.8
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in detector.parameters() if p.requires_grad}


def test_a_step_is_that_of_stochastic_gradient_descent_by_hand():
    """Biases learn twice as fast and do not decay; norms and scalars do, so that it is seen."""
    recipe = replace(RECIPE, weight_decay=0.1)
    detector, optimizer = assemble(ATSS, recipe, 3, seed=0)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    images, targets = next(batches())
    sum(detector.loss(images, targets).values()).backward()
    gradients = {name: p.grad.clone() for name, p in detector.named_parameters()}
    next(train(detector, optimizer, batches(), recipe))
    for name, value in detector.state_dict().items():
        speed, decay = (2, 0.0) if "bias" in name else (1, 0.1)
        change = gradients[name] + decay * before[name]
        expected = before[name] - speed * 0.01 / 3 * change  # the warm-up's rate
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7, msg=name)


# The loop


def test_training_yields_step_losses_their_sum_and_the_learning_rate():
    _, _, history = run()
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5, 6]
    for entry in history:
        parts = [entry[f"loss/{name}"] for name in ("cls", "box", "centerness")]
        assert entry["loss"] == pytest.approx(sum(parts))
        assert all(math.isfinite(value) for value in entry.values())
        assert entry["learning_rate"] == learning_rate(RECIPE, entry["step"])


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"precision": "bf16"}])
@pytest.mark.parametrize("killed_after", [1, 5])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path, changes, killed_after):
    recipe = replace(RECIPE, **changes)
    whole, its_optimizer, history = run(recipe)
    detector, optimizer, first = run(recipe, until=killed_after)
    checkpoint.save(tmp_path / "last.ckpt", detector, optimizer, step=killed_after)
    torch.manual_seed(99)
    detector, optimizer = assemble(ATSS, recipe, 3, seed=7)  # nothing of it may be left
    step, _ = checkpoint.load(tmp_path / "last.ckpt", detector, optimizer)
    assert step == killed_after
    rest = list(train(detector, optimizer, batches(step), recipe, start=step))
    assert first + rest == history
    assert_equal_states(detector.state_dict(), whole.state_dict())
    assert_equal_states(optimizer.state_dict(), its_optimizer.state_dict())


def test_gradients_are_clipped_only_when_asked():
    for limit in (0.0, 1e-3):
        recipe = replace(RECIPE, clip_gradient_norm=limit)
        detector, _, _ = run(recipe, until=1)
        norm = torch.stack([p.grad.norm() for p in detector.parameters()]).norm().item()
        assert norm == pytest.approx(1e-3, rel=1e-3) if limit else norm > 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_change(value):
    detector, optimizer = assemble(ATSS, RECIPE, 3, seed=0)
    *good, (images, targets) = itertools.islice(batches(), 3)
    steps = train(detector, optimizer, [*good, (images * value, targets)], RECIPE)
    next(steps), next(steps)
    before = copy.deepcopy(detector.state_dict())
    with pytest.raises(FloatingPointError, match="step 3 of 6.*cls nan.*box nan.*centerness nan"):
        next(steps)
    assert_equal_states(detector.state_dict(), before)
    torch.nn.init.constant_(detector.head.centerness.bias, math.nan)
    with pytest.raises(FloatingPointError, match="centerness nan") as caught:
        next(train(detector, optimizer, batches(1), RECIPE))
    assert "cls nan" not in str(caught.value)  # the one that is not finite is told


def test_training_is_compiled_once_for_each_padded_size_and_gives_the_same(monkeypatch):
    """By Dynamo alone: what a compiler makes of the graphs moves last digits."""
    counted, real = CompileCounter(), torch.compile

    def compile_for_dynamo(function, *, dynamic, options=None):  # which are the compiler's
        return real(function, backend=counted, dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", compile_for_dynamo)
    config = IMPROVED_RETINANET  # which ignores some anchors
    parts = [assemble(config, replace(RECIPE, compiled=it), 3, seed=0)[0] for it in ("yes", "no")]
    target = {"boxes": torch.tensor([[3.0, 5.0, 47.0, 60.0]]), "labels": torch.tensor([1])}
    for size in ((64, 96), (64, 64), (64, 96)):
        images = torch.randn(2, 3, *size)
        fast, plain = (it.loss(images, [target] * 2) for it in parts)
        assert (parts[0].select_samples(size, [target]).classes == IGNORED).any()
        sum(fast.values()).backward()
        sum(plain.values()).backward()
        torch.testing.assert_close(fast, plain, rtol=1e-6, atol=0)
    for one, other in zip(*(it.parameters() for it in parts), strict=True):
        assert one.grad is other.grad is None or torch.allclose(one.grad, other.grad, atol=1e-6)
    assert counted.frame_count == 2 + 2  # two sizes, of two numbers of anchors
    found = [it.eval().detect(torch.randn(1, 3, 32, 32)) for it in parts]
    assert counted.frame_count == 4 and len(found[0]) == 1  # a test is not compiled


def test_long_runs_on_a_gpu_are_compiled_unless_told_otherwise():
    def is_so(device, iterations, compiled="auto"):
        return is_compiled(replace(RECIPE, iterations=iterations, compiled=compiled), device)

    assert is_so("cuda", 90_000) and not is_so("cpu", 90_000)
    assert not is_so("cuda", 3_000)  # would not earn it back
    assert is_so("cpu", 10, "yes") and not is_so("cuda", 90_000, "no")


ON_GPU = [pytest.param("cuda", precision, marks=pytest.mark.gpu) for precision in ("fp32", "bf16")]


@pytest.mark.parametrize(("device", "precision"), [("cpu", "bf16"), *ON_GPU])
def test_a_gpu_and_bf16_train_like_a_cpu_in_fp32_and_weights_are_fp32(device, precision):
    detector, optimizer = assemble(ATSS, RECIPE, 3, seed=0, device=device)
    recipe = replace(RECIPE, precision=precision)
    history = list(train(detector, optimizer, batches(), recipe, micro_batch_size=3))
    for one, expected in zip(history, run()[2], strict=True):
        assert one == pytest.approx(expected, rel=0.02 if precision == "fp32" else 0.1)
    assert {value.dtype for value in detector.state_dict().values()} == {torch.float32}


# Learning by heart

MEMORIZED = (DetectorConfig(), FCOS_CENTER_SAMPLING, ATSS)  # each part of a detector both ways


@pytest.mark.slow
@pytest.mark.parametrize("config", MEMORIZED)
def test_a_detector_learns_a_few_images_by_heart(config, data):
    """AP over 90 on the images it trained on: nothing between pixels and AP is broken."""
    steps = {"iterations": 200, "warmup_iterations": 20, "lr_drops": (0.7, 0.9)}
    sides = {"short_side": (128, 128), "long_side": 160}
    recipe = replace(RECIPE, optimizer="adamw", learning_rate=2e-3, **steps, **sides)
    images = open_data(data).train
    detector, optimizer = assemble(config, recipe, 1, seed=0)
    for entry in train(detector, optimizer, shuffled(images, recipe, seed=0), recipe):
        assert math.isfinite(entry["loss"])
    found = [
        it for part in detect_all(detector.eval(), images, recipe, device="cpu") for it in part
    ]
    assert measure(images.ground_truth, sum(found, []))[0]["AP"] > 90
