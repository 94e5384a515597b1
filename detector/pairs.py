"""What is asked of all pairs of objects and anchors, and how it stays cheap.

Pairs are looked at in pieces that a CPU keeps in its cache, so memory grows with the anchors and
not with the pairs. And they are asked in numbers: a CPU adds, takes the larger of two and takes
signs several times faster than it fills booleans or looks for an index. The answers are the same to
the bit, of equals always the first (benchmarks/assignment.md).

Shapes: M objects, A anchors, N anchors of a level; "..." stands for nothing or for B images.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

PAIRS_AT_ONCE = {"cpu": 2**19}  # of an object and an anchor: 2 MiB of fp32
MANY_PAIRS = 2**24  # the same elsewhere: 64 MiB
BLOCK = 32  # anchors whose least distance stands for them


def pieces(gt_boxes: Tensor, num_anchors: int) -> Iterator[tuple[int, Tensor]]:
    """[..., M, 4] -> (the first one's number, [..., m, 4]), so many that their pairs fit."""
    pairs = PAIRS_AT_ONCE.get(gt_boxes.device.type, MANY_PAIRS)
    size = max(1, pairs // (num_anchors * math.prod(gt_boxes.shape[:-2])))
    return zip(range(0, gt_boxes.shape[-2], size), gt_boxes.split(size, dim=-2), strict=True)


def rows(gt_boxes: Tensor, index: Tensor) -> Tensor:
    """[..., M, 4], [..., N] -> [..., N, 4]; several times faster than take_along_dim."""
    shape = index.shape[:-1]
    first = torch.arange(math.prod(shape), device=index.device).view(*shape, 1) * gt_boxes.shape[-2]
    return gt_boxes.flatten(0, -2)[index + first]


def first_highest(values: Tensor) -> tuple[Tensor, Tensor]:
    """[..., M, A] -> the highest of each column and the first row that has it, [..., A] each."""
    num_rows, highest = values.shape[-2], values.amax(dim=-2, keepdim=True)
    is_lower = (highest - values).sign_()  # 0 or 1; 0 only of equals
    rows = torch.arange(num_rows, device=values.device)[:, None]
    return highest.squeeze(-2), is_lower.mul_(num_rows).add_(rows).amin(dim=-2).long()


def is_negative(values: Tensor) -> Tensor:
    """1 where a value is, else 0, in place."""
    return values.sign_().clamp_(max=0).neg_()


def is_not_positive(values: Tensor) -> Tensor:
    """1 where a value is not, else 0, in place."""
    return values.sign_().clamp_(min=0).neg_().add_(1)


def k_smallest(distance: Tensor, k: int) -> Tensor:
    """[..., M, N] -> [..., M, min(k, N)] indices, in no order; of equals, the lowest.

    In two steps where that is less work: no other blocks than the k of the smallest least distance,
    the first of equals, can hold any.
    """
    num = distance.shape[-1]
    k, num_blocks = min(k, num), -(-num // BLOCK)
    everything = torch.arange(num, device=distance.device)
    if k == num:
        return everything.expand(*distance.shape[:-1], num)
    if num_blocks <= 2 * k:
        return _k_first(distance, everything, k)
    padded = pad(distance, (0, num_blocks * BLOCK - num), value=torch.inf)
    least = padded.unflatten(-1, (num_blocks, BLOCK)).amin(dim=-1)
    blocks = _k_first(least, torch.arange(num_blocks, device=distance.device), k)
    members = blocks[..., None] * BLOCK + torch.arange(BLOCK, device=distance.device)
    members = members.flatten(-2)  # [..., M, k x BLOCK]
    return _k_first(padded.gather(-1, members), members, k)


def _k_first(distance: Tensor, index: Tensor, k: int) -> Tensor:
    """[..., M, N] and the index of each -> [..., M, k] indices.

    The order of fp32 numbers that are not negative is that of their bits.
    """
    bits = distance.float().contiguous().view(torch.int32).long()
    keys = (bits << 32) | index
    return keys.topk(k, dim=-1, largest=False, sorted=False).values & 0xFFFFFFFF
