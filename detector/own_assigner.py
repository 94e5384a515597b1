"""What a user's own assigner may return, checked on every image it is given.

An index beyond an image's objects would be one of the next image's: it would be learnt unnoticed.
"""

from collections.abc import Callable

import torch
from torch import Tensor

NEGATIVE = -1
IGNORED = -2

# (anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A] int64
Assigner = Callable[[list[Tensor], Tensor], Tensor]


def checked(own: Assigner, name: str = "") -> Assigner:
    """The same assigner; ValueError, with its name, where it fails or returns no assignment.

    On a GPU that waits for its answer, once an image.
    """
    name = name or getattr(getattr(own, "func", own), "__name__", "of your own")

    def assign(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        """[A_l, 4] per level, [M, 4] -> [A]."""
        try:
            matched = own(anchors, gt_boxes)
        except torch.OutOfMemoryError:
            raise  # says where, and is no fault of the function alone
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the assigner {name} fails: {type(error).__name__}: {reason}"
            ) from error
        num_anchors = sum(map(len, anchors))
        if problem := _problem(matched, num_anchors, len(gt_boxes)):
            raise ValueError(
                f"the assigner {name} needs to return, for every anchor, the index of a ground "
                f"truth, NEGATIVE or IGNORED: int64 [{num_anchors}], got {problem}"
            )
        return matched

    return assign


def _problem(matched: object, num_anchors: int, num_objects: int) -> str:
    """What is wrong with an assignment; empty if nothing is."""
    if not isinstance(matched, Tensor):
        return f"a {type(matched).__name__}"
    if matched.dtype != torch.int64 or matched.shape != (num_anchors,):
        return f"{str(matched.dtype).removeprefix('torch.')} {list(matched.shape)}"
    low, high = torch.stack(matched.aminmax()).tolist()  # waited for once
    if low < IGNORED or high >= num_objects:
        return f"values from {low} to {high} for {num_objects} objects"
    return ""
