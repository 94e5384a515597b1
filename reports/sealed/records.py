"""Match records from an archive, which nobody vouches for: read only if they can do no harm.

No pickles, no more memory than the arrays say and are allowed, no index that is none. Records that
are not those of an evaluation would give numbers, too, so they are refused here.
"""

import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from detector.evaluation.match_records import AREAS, IGNORED, IOUS, TRUE, Matches, load_matches
from reports.sealed.archive import MOST_BYTES


def read_records(path: Path, facts: Mapping[str, Any]) -> tuple[Matches | None, str]:
    """The match records; None, and why, where they are missing or cannot be used."""
    if not path.is_file():
        return None, "no match records, so its numbers cannot be computed again"
    try:
        require_harmless(path)
        matches = load_matches(path)
        problem = next(_unsound(matches), None) or next(_of_other_data(matches, facts), None)
    except (ValueError, TypeError, IndexError) as error:
        return None, f"matches.npz cannot be read: {error}"
    return (None, f"matches.npz: {problem}") if problem else (matches, "")


def require_harmless(path: Path) -> None:
    """ValueError where an .npz would take more memory than it may, or holds objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ValueError(f"unpacked it has more than {MOST_BYTES:,} bytes")
            for entry in entries:
                with archive.open(entry) as file:
                    version = np.lib.format.read_magic(file)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shape, _, dtype = read(file)
                    size = file.tell() + prod(shape) * dtype.itemsize
                if dtype.hasobject:
                    raise ValueError(f"{entry.filename} holds Python objects")
                if size != entry.file_size or min(shape, default=0) < 0:
                    raise ValueError(f"{entry.filename} is not as large as it says")
    except (zipfile.BadZipFile, NotImplementedError, KeyError, EOFError, RuntimeError) as error:
        raise ValueError(f"no NumPy archive: {error}") from error


def _unsound(matches: Matches) -> Iterator[str]:
    """What keeps match records from being those of an evaluation."""
    num_images, num_classes = len(matches.image_ids), len(matches.category_ids)
    for name, length, most in (
        ("image", len(matches.score), num_images),
        ("category", len(matches.score), num_classes),
        ("truth_image", len(matches.truth_counts), num_images),
        ("truth_category", len(matches.truth_counts), num_classes),
    ):
        indices = getattr(matches, name)
        if indices.shape != (length,) or not np.issubdtype(indices.dtype, np.integer):
            yield f"{name} has the shape {indices.shape}, needs {length} whole numbers"
        elif length and not 0 <= indices.min() <= indices.max() < most:
            yield f"{name} has an index that is none of {most}"
    for name, shape, kind in (
        ("state", (len(matches.score), 4, 10), np.unsignedinteger),
        ("truth_counts", (len(matches.truth_image), 4), np.bool_),
    ):
        found = getattr(matches, name)
        if found.shape != shape or not np.issubdtype(found.dtype, kind):
            yield f"{name} has the shape {found.shape}, needs {shape}"
    if matches.state.size and matches.state.max() > IGNORED:
        yield "a state is none of false, true and ignored"
    elif _finds_too_much(matches):
        yield "more detections are right than there is to be found"
    if not np.isfinite(matches.score).all():
        yield "a score is not finite"
    steps = np.diff(matches.category.astype(np.int64))
    if (steps < 0).any() or (np.diff(matches.score)[steps == 0] > 0).any():
        yield "detections are not in the order of their classes and scores"
    for name in ("image_ids", "category_ids"):
        ids = getattr(matches, name)
        if ids.ndim != 1 or len(np.unique(ids)) < len(ids):
            yield f"{name} are not each there once"


def _finds_too_much(matches: Matches) -> bool:
    """Whether some image has more true detections of a class than objects, at any area and IoU."""
    size = len(matches.category_ids)
    found = matches.image.astype(np.int64) * size + matches.category
    there = matches.truth_image.astype(np.int64) * size + matches.truth_category
    keys, places = np.unique(np.concatenate([found, there]), return_inverse=True)
    of_found, of_there = places[: len(found)], places[len(found) :]
    for area in range(len(AREAS)):
        truths = np.bincount(of_there[matches.truth_counts[:, area]], minlength=len(keys))
        for iou in range(len(IOUS)):
            is_true = matches.state[:, area, iou] == TRUE
            if (np.bincount(of_found[is_true], minlength=len(keys)) > truths).any():
                return True
    return False


def _of_other_data(matches: Matches, facts: Mapping[str, Any]) -> Iterator[str]:
    """Whether they are of as many images and classes as the data set has."""
    data = facts.get("data")
    if not isinstance(data, dict):
        return
    for what, found, needed in (
        ("images", len(matches.image_ids), data["images"]["val"]),
        ("classes", len(matches.category_ids), len(data["classes"])),
    ):
        if found != needed:
            yield f"{found} {what}, run.json says {needed}"
