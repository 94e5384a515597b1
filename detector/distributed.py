"""One run on several devices: every process takes its share of a batch, all take the same step.

A loss is a sum over the batch's images, divided by sums over the whole batch (positives, their
centerness). So where every process divides by the sums of all, its gradient is a part of the
batch's, and the parts add up to exactly that: the batch stays the paper's 16, however many share it
(in the paper's code, too; codes of FCOS that divided locally reported 0.5 to 1 AP less).

Shapes: a tensor of any shape; the same one in every process.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

BUCKET = 2**22  # numbers, 16 MiB, from which on gradients are sent
PATIENCE = timedelta(minutes=30)  # for the slowest process, which may be testing or reading a disk


@dataclass(frozen=True)
class Group:
    """The processes of one run. A group of one leaves everything as it is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the run leaves behind."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Which places of a batch, or of any list, are this process's."""
        return slice(self.rank, None, self.size)

    def sum(self, *values: Tensor) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.size > 1:
            for value in values:
                torch.distributed.all_reduce(value)

    @contextmanager
    def summing(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        """Gradients that come to be inside become their sums over the processes.

        A bucket of them is on its way while those of earlier layers are still to come. By hand,
        because torch's DistributedDataParallel hooks into one module's forward pass and averages;
        ours are several losses of a batch, already divided by its own sums.
        """
        buckets = _buckets([p for p in parameters if p.requires_grad]) if self.size > 1 else []
        missing, sent = [{*bucket} for bucket in buckets], list[_Sent]()

        def arrived(parameter: nn.Parameter) -> None:
            for bucket in missing:
                bucket.discard(parameter)
            while len(sent) < len(buckets) and not missing[len(sent)]:  # in one order everywhere
                sent.append(_send(buckets[len(sent)]))

        hooks = [p.register_post_accumulate_grad_hook(arrived) for it in buckets for p in it]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        sent += [_send(bucket) for bucket in buckets[len(sent) :]]  # with parameters out of use
        for work, flat, gradients in sent:
            work.wait()
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values


# What is on its way: the call, all gradients of a bucket in a row, and each of them
_Sent = tuple[Any, Tensor, list[Tensor]]


def _buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The last layers first, as gradients come to be; some numbers in each."""
    buckets: list[list[nn.Parameter]] = [[]]
    for parameter in reversed(parameters):
        if sum(map(Tensor.numel, buckets[-1])) > BUCKET:
            buckets.append([])
        buckets[-1].append(parameter)
    return buckets


def _send(bucket: Sequence[nn.Parameter]) -> _Sent:
    gradients = [p.grad for p in bucket if p.grad is not None]
    flat = torch.cat([bucket[0].new_zeros(0), *(gradient.flatten() for gradient in gradients)])
    return torch.distributed.all_reduce(flat, async_op=True), flat, gradients


def in_order(shares: list[list[list[Any]]]) -> list[Any]:
    """The items of all batches in their order, where process r had the batches r, r + size, ..."""
    turns = zip_longest(*shares, fillvalue=[])
    return [item for turn in turns for batch in turn for item in batch]


@contextmanager
def joined(address: str, rank: int, size: int, device: str) -> Iterator[Group]:
    """This process as a member of a group that meets at host:port; it blocks until all are there.

    NCCL connects GPUs, gloo CPUs. A member that dies makes the others' next sum fail.
    """
    if size == 1:
        yield Group()
        return
    torch.distributed.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo",
        init_method=f"tcp://{address}",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
        device_id=torch.device("cuda:0") if device.startswith("cuda") else None,
    )
    try:
        yield Group(rank, size)
    finally:
        torch.distributed.destroy_process_group()
