"""Files of tensors from strangers: read, never executed.

A file of torch.save is a pickle, and a pickle may name any function and have it called. torch's
weights-only reader calls none but those that rebuild tensors, and refuses files that name others.
Training codes, however, leave classes of their own beside the weights: settings, histories, numpy's
numbers. So the names in a refused file are listed without running it, and the same reader reads it
again with each of them standing for Inert, a class that does nothing.
"""

import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import safe_open

MOST_UNPACKED = 4  # times its bytes: torch.save compresses nothing


class Inert:
    """Stands for whatever a file names beside tensors: takes anything, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        """arguments: dropped."""

    def __setstate__(self, state: Any) -> None:
        """state: dropped."""


def read(path: Path) -> dict[str, Any]:
    """The content of a safetensors file, or of one of torch.save, zipped or of before 2020.

    safetensors: the tensors, and the header's metadata as strings under "metadata". Raises
    FileNotFoundError, or ValueError where nothing can be read; nothing in the file is executed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights '{path}' need a file, and there is none")
    try:
        with warnings.catch_warnings(action="ignore"):  # what matters is in the refusal
            content = _read(path)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        if any(num_bytes > path.stat().st_size for num_bytes in _claimed(content)):
            raise ValueError("a tensor claims more bytes than the file has")
    except Exception as error:  # a damaged or hostile file fails in many ways
        # What the reader met, not torch's advice to read the file with risk.
        met = error.__context__ if isinstance(error, UnpicklingError) else None
        reason = (str(met or error).splitlines() or ["no more to read"])[0].split(". ")[0]
        raise ValueError(
            f"weights '{path}' need to be a dict of tensors, saved by safetensors or torch.save; "
            f"reading stopped at {type(error).__name__}: {reason}"
        ) from error
    return content


def _claimed(content: dict[str, Any]) -> Iterator[int]:
    """Bytes of each tensor: one may show a single number as a billion, until it is copied."""
    for value in content.values():
        if isinstance(value, torch.Tensor):
            yield value.numel() * value.element_size()
        elif isinstance(value, dict):
            yield from _claimed(value)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"  # eight bytes tell the length of a header in JSON
    if is_safetensors:
        with safe_open(path, framework="pt") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            return {**tensors, "metadata": content.metadata() or {}}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MOST_UNPACKED * path.stat().st_size:
            raise ValueError(f"unpacked it has {unpacked:,} bytes, which no such file has")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        if not zipfile.is_zipfile(path):  # nobody lists the names in a file of before 2020
            raise
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        inert: list[Any] = [(Inert, name) for name in names]
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
