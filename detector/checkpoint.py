"""Checkpoints that are never half a file, and never lost to a bad one.

A checkpoint holds all a run needs to go on: weights, optimizer, step, torch's random state and the
caller's own facts. Writing replaces the file in one move and keeps the one before it; reading takes
the newest that can be read. Only tensors and plain values are loaded, nothing is executed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from detector.detector import Detector


def save(
    path: Path,
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint after the given step; the previous one stays beside it."""
    content = {
        "step": step,
        "detector": detector.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random_state": torch.get_rng_state(),
        "facts": facts or {},
    }
    _write_atomically(path, lambda temporary: torch.save(content, temporary), keep=True)


def load(
    path: Path, detector: Detector, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Restore the newest readable checkpoint: its step and facts; (0, {}) where there is none.

    Raises ValueError if a checkpoint can be read but belongs to another detector.
    """
    for candidate in (path, previous(path)):
        content = _read(candidate)
        if content is None:
            continue
        try:
            detector.load_state_dict(content["detector"])
            optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"checkpoint '{candidate}' is of another detector: {reason}"
            ) from error
        torch.set_rng_state(content["random_state"])
        return content["step"], content["facts"]
    return 0, {}


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_name(path.name + ".previous")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001 - a damaged file fails in many ways, and all mean: take the other
        return None
    needed = {"step", "detector", "optimizer", "random_state", "facts"}
    return content if isinstance(content, dict) and needed <= set(content) else None


def save_weights(path: Path, detector: Detector) -> None:
    """The weights alone, as safetensors, written in one move."""
    state = {name: value.contiguous() for name, value in detector.state_dict().items()}
    _write_atomically(path, lambda temporary: save_file(state, temporary))


def load_weights(path: Path, detector: Detector) -> None:
    """Fill the detector from a safetensors file; every key must match."""
    detector.load_state_dict(load_file(path))


def _write_atomically(path: Path, write: Callable[[Path], None], *, keep: bool = False) -> None:
    """Write beside the path, flush, then rename: a reader sees the old file or the new one.

    keep: the old file stays as previous(path); it moves only once the new one is safe on the disk.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, previous(path))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
