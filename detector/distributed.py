"""One run on several devices: every process takes its share of a batch, all take the same step.

A loss is a sum over the batch's images, divided by sums over the whole batch (positives, their
centerness). So where every process divides by the sums of all, its gradient is a part of the
batch's, and the parts add up to exactly that: the batch stays the paper's 16, however many share it
(in the paper's code, too; codes of FCOS that divided locally reported 0.5 to 1 AP less).

Shapes: a tensor of any shape; the same one in every process.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

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

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their sums over the processes, in one call.

        By hand, because torch's DistributedDataParallel hooks into one module's forward pass and
        averages; ours are several losses of a batch, already divided by its own sums.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
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
    )
    try:
        yield Group(rank, size)
    finally:
        torch.distributed.destroy_process_group()
