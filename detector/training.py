"""Training as the paper trains (Sec. 3.1 "Training Detail"): a loop that yields numbers.

It knows no tracker and no scheduler. Everything random is a function of the seed and the step, so a
run that was interrupted and resumed ends where an uninterrupted one does, bit for bit on a CPU.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from detector.assigners import Assigner
from detector.config import DetectorConfig, Recipe
from detector.detector import Detector, Target, assemble_detector, normalizers_of
from detector.distributed import Group
from detector.weights.conventions import own_layout

# Steps from which on compiling is earned back: about a minute for each padded size, of which COCO's
# images have some ten. It saved a quarter of a step, 30 ms, on an H100 (benchmarks/gpu).
COMPILED_FROM = 30_000
DROP_FACTOR = 0.1  # of the learning rate, at each of recipe.lr_drops

Batch = tuple[Tensor, list[Target]]
ALONE = Group()


def assemble(
    config: DetectorConfig,
    recipe: Recipe,
    num_classes: int,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    assigner: Assigner | None = None,
) -> tuple[Detector, torch.optim.Optimizer]:
    """The detector of a run before its first step, and its optimizer; seed decides the weights.

    assigner: a user's own, in place of the configured one. On a GPU maps lie channels last, and
    backbone and head are compiled at their first batch, if recipe.compiled says so; both move last
    digits only.
    """
    torch.manual_seed(seed)
    layout = own_layout(recipe.deformable)
    detector = assemble_detector(
        config, recipe, num_classes, layout, weights=recipe.weights, assigner=assigner
    ).to(device)
    if torch.device(device).type == "cuda":
        detector.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True  # few sizes: those of padded batches
        torch.backends.cudnn.allow_tf32 = True  # torch's default, which might change
    if is_compiled(recipe, device):
        detector.compile_training()
    return detector, build_optimizer(detector, recipe)


def is_compiled(recipe: Recipe, device: torch.device | str) -> bool:
    """Whether backbone and head are: where asked for, else on a GPU where it is earned back."""
    if recipe.compiled != "auto":
        return recipe.compiled == "yes"
    return torch.device(device).type == "cuda" and recipe.iterations >= COMPILED_FROM


def build_optimizer(detector: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Biases learn twice as fast and do not decay; all else, GroupNorm and scalars too, does."""
    weights, biases = list[nn.Parameter](), list[nn.Parameter]()
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            (biases if "bias" in name else weights).append(parameter)
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay, "lr_factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "lr_factor": recipe.bias_lr_factor},
    ]
    # foreach: a call for all parameters, not one for each; the same numbers on a CPU, too.
    # fused: on a GPU one kernel for all.
    is_on_gpu = any(parameter.is_cuda for parameter in (*weights, *biases))
    how: dict[str, Any] = {"fused": True} if is_on_gpu else {"foreach": True}
    rate, momentum = recipe.learning_rate, recipe.momentum
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, **how)
    return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), **how)


def learning_rate(recipe: Recipe, step: int) -> float:
    """At a step, counted from 1: a constant warm-up, then full, then in drops or along a cosine.

    The paper names the drops (60k and 80k of 90k); the warm-up is its code's: 500 steps at 1/3.
    """
    if step <= recipe.warmup_iterations:
        return recipe.learning_rate * recipe.warmup_factor
    if recipe.lr_decay == "cosine":
        return recipe.learning_rate * (1 + math.cos(math.pi * (step - 1) / recipe.iterations)) / 2
    drops = sum(step > round(share * recipe.iterations) for share in recipe.lr_drops)
    return recipe.learning_rate * DROP_FACTOR**drops


def train(
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    recipe: Recipe,
    *,
    start: int = 0,
    micro_batch_size: int | None = None,
    group: Group = ALONE,
) -> Iterator[dict[str, float]]:
    """Train from step start + 1 to recipe.iterations; batches must begin at that step, too.

    Yields once per step: "step", each "loss/<name>", their sum "loss" and "learning_rate". Between
    two of them the detector is in evaluation mode or not, as the caller left it. micro_batch_size:
    images per forward pass; the gradients stay those of the whole batch. group: the processes that
    share each batch; batches are then this one's shares, the numbers those of the whole.

    Raises FloatingPointError at the first loss that is not finite, before it reaches the weights.
    """
    device = next(detector.parameters()).device
    steps = range(start + 1, recipe.iterations + 1)
    for step, (images, targets) in zip(steps, _loaded(batches, device), strict=False):
        detector.train()
        detector.trained_share = (step - 1) / recipe.iterations
        rate = learning_rate(recipe, step)
        for settings in optimizer.param_groups:
            settings["lr"] = rate * settings["lr_factor"]
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            values = accumulate_gradients(detector, images, targets, micro_batch_size, group)
        total = sum(values.values())
        if not math.isfinite(total):
            parts = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise FloatingPointError(
                f"the loss is {total} at step {step} of {recipe.iterations} "
                f"(learning rate {rate:g}): {parts}"
            )
        if limit := recipe.clip_gradient_norm:
            nn.utils.clip_grad_norm_(detector.parameters(), limit, foreach=True)
        optimizer.step()
        named = {f"loss/{name}": value for name, value in values.items()}
        yield {"step": step, "loss": total, **named, "learning_rate": rate}


def _loaded(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on the device, whatever they were made on."""
    iterator = iter(batches)
    while True:
        with beside(device) as used:
            batch = next(iterator, None)
            if batch is None:
                return
            images = batch[0].to(device)
            targets = [{name: value.to(device) for name, value in t.items()} for t in batch[1]]
            used += [images, *(value for target in targets for value in target.values())]
        yield images, targets


@contextmanager
def beside(device: torch.device) -> Iterator[list[Tensor]]:
    """What a step needs before its forward pass, on a GPU while the step before still goes back.

    Whatever is launched inside waits for nothing but itself, and so does the host where it counts
    the positives. To the list yielded belong the tensors that are used afterwards.
    """
    used: list[Tensor] = []
    if device.type != "cuda":
        yield used
        return
    main = torch.cuda.current_stream(device)
    with torch.cuda.stream(_stream_beside(device)):
        yield used
    main.wait_stream(_stream_beside(device))
    for tensor in used:
        tensor.record_stream(main)


@cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def accumulate_gradients(
    detector: Detector,
    images: Tensor,
    targets: list[Target],
    micro_batch_size: int | None = None,
    group: Group = ALONE,
) -> dict[str, float]:
    """Losses of the batch, and its gradients in the parameters, which begin without.

    images [B, 3, H, W] and targets are this process's share of the batch. Samples are selected
    first, so the normalizers are summed over the whole batch before the first forward pass: the sum
    over micro-batches and processes is exactly the batch's gradient.
    """
    size = micro_batch_size or len(images)
    parts = [slice(first, first + size) for first in range(0, len(images), size)]
    padded = (images.shape[2], images.shape[3])
    predicted = [detector.predicted(images[part], targets[part]) for part in parts]
    is_free = predicted[0] is None  # of the weights, which the step before has yet to move
    used: list[Tensor]
    with beside(images.device) if is_free else nullcontext(list[Tensor]()) as used:
        samples = [
            detector.select_samples(padded, targets[part], its)
            for part, its in zip(parts, predicted, strict=True)
        ]
        normalizers = normalizers_of(samples)
        group.sum(normalizers.num_positives, normalizers.centerness)
        used += [value for it in (*samples, normalizers) for value in vars(it).values()]
    names: list[str] = []
    total: Tensor | int = 0
    for part, its_samples in zip(parts, samples, strict=True):
        losses = detector.loss_of(images[part], its_samples, normalizers)
        values = torch.stack(list(losses.values()))
        total = values.detach() + total
        is_last = part is parts[-1]
        if is_last:
            group.sum(total)
            names, read = list(losses), _read_later(total)
        with group.summing(detector.parameters()) if is_last else nullcontext():
            values.sum().backward()
    return dict(zip(names, read(), strict=True))


def _read_later(values: Tensor) -> Callable[[], list[float]]:
    """Of [N], their numbers: a GPU is waited for until it has these, not what came after them."""
    if not values.is_cuda:
        return values.tolist
    copied = torch.empty_like(values, device="cpu", pin_memory=True)
    copied.copy_(values, non_blocking=True)
    is_there = torch.cuda.Event()
    is_there.record()

    def read() -> list[float]:
        is_there.synchronize()
        return copied.tolist()

    return read
