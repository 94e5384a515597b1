"""Checkpoints that are never half a file, and never lost to a bad one.

A checkpoint holds all a run needs to go on: weights, optimizer, step, torch's random state and the
caller's own facts. Writing replaces the file in one move and keeps the one before it; reading takes
the newest that can be read. Only tensors and plain values are loaded, nothing is executed.

Checkpoints and weights files also say which detector they are of: a Description.
"""

import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from detector.config import DetectorConfig, Recipe
from detector.detector import Detector

METADATA = "atss"  # where a weights file's header keeps its description


@dataclass(frozen=True)
class Description:
    """What a weights file needs beside its tensors to become a detector again."""

    config: DetectorConfig
    recipe: Recipe
    category_ids: tuple[int, ...]  # of the labels, in order
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the categories as COCO's annotation files have them."""
        pairs = zip(self.category_ids, self.names, strict=True)
        categories = [{"id": number, "name": name} for number, name in pairs]
        settings = {"config": asdict(self.config), "recipe": asdict(self.recipe)}
        return settings | {"categories": categories}

    @staticmethod
    def from_json(content: Any) -> "Description":
        """The inverse of to_json; ValueError, in one line, for what it did not write."""
        try:
            return Description(
                config=DetectorConfig(**content["config"]),
                recipe=Recipe(**content["recipe"]),
                category_ids=tuple(int(item["id"]) for item in content["categories"]),
                names=tuple(str(item["name"]) for item in content["categories"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "the description of a detector needs config, recipe and categories of this "
                f"version, got something else: {error}"
            ) from error


def save(
    path: Path,
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    facts: dict[str, Any] | None = None,
    description: Description | None = None,
) -> None:
    """Write a checkpoint after the given step; the previous one stays beside it.

    Raises OSError where the disk is full, and leaves what is there.
    """
    content = {
        "step": step,
        "description": description and description.to_json(),
        "detector": detector.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random_state": torch.get_rng_state(),
        "facts": facts or {},
    }
    buffer = io.BytesIO()  # torch's own writer does not say why it fails
    torch.save(content, buffer)
    _write_atomically(path, buffer.getbuffer(), keep=True)


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
        with zipfile.ZipFile(path) as archive:  # a bit that has flipped goes unnoticed by torch
            if archive.testzip() is not None:
                return None
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # noqa: BLE001 - a damaged file fails in many ways, and all mean: take the other
        return None
    needed = {"step", "detector", "optimizer", "random_state", "facts"}
    return content if isinstance(content, dict) and needed <= set(content) else None


def save_weights(path: Path, detector: Detector, description: Description) -> None:
    """The weights as safetensors, with what they belong to in the header; written in one move."""
    state = {name: value.contiguous() for name, value in detector.state_dict().items()}
    header = {METADATA: json.dumps(description.to_json())}
    _write_atomically(path, to_safetensors(state, header))


def load_weights(path: Path, detector: Detector) -> None:
    """Fill the detector from a safetensors file; every key must match."""
    detector.load_state_dict(load_file(path))


def _write_atomically(path: Path, content: bytes | memoryview, *, keep: bool = False) -> None:
    """Write beside the path, flush, then rename: a reader sees the old file or the new one.

    keep: the old file stays as previous(path); it moves only once the new one is safe on the disk.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, previous(path))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
