"""What a user's own assigner may return, checked on every image it is given.

An index beyond an image's objects would be one of the next image's: it would be learnt unnoticed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NEGATIVE = -1
IGNORED = -2


def checked(own: Callable[..., Any], name: str = "") -> Callable[[list[Tensor], Tensor], Tensor]:
    """The same assigner; ValueError, with its name, where it fails or returns no assignment.

    On a GPU that waits for its answer, once an image.
    """
    name = name or getattr(getattr(own, "func", own), "__name__", "of your own")

    def assign(anchors: list[Tensor], gt_boxes: Tensor) -> Tensor:
        try:
            matched = own(anchors, gt_boxes)
        except torch.OutOfMemoryError:
            raise  # says where, and is no fault of the function alone
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"the assigner {name} fails: {type(error).__name__}: {reason}"
            ) from error
        require_assignment(matched, name, sum(map(len, anchors)), len(gt_boxes))
        assert isinstance(matched, Tensor)
        return matched

    return assign


def require_assignment(matched: object, name: str, num_anchors: int, num_objects: int) -> None:
    """ValueError unless it is int64 [A], each the index of an object, NEGATIVE or IGNORED."""
    if problem := _problem(matched, num_anchors, num_objects):
        raise ValueError(
            f"the assigner {name} needs to return, for every anchor, the index of a ground "
            f"truth, NEGATIVE or IGNORED: int64 [{num_anchors}], got {problem}"
        )


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
