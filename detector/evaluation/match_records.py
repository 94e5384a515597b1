"""What COCO's evaluation found of every detection: the records that statistics are made of.

From them the six numbers follow under any weights of the images, without matching again: an image
that a bootstrap draws twice counts twice.

Shapes: I images, C categories, D detections, G ground truths; 4 area ranges (all, small, medium,
large), 10 IoUs (0.50 to 0.95 by 0.05).
"""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FALSE, TRUE, IGNORED = 0, 1, 2  # states of a detection
AREAS = ("all", "small", "medium", "large")
IOUS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches:
    """The detections that count (at most 100 of an image and category), and the ground truths.

    Detections stand in the order in which precision and recall are accumulated: by category, then
    from the highest score down, equal scores in the order of the images.
    """

    image_ids: NDArray[np.int64]  # [I]
    category_ids: NDArray[np.int64]  # [C]
    image: NDArray[np.int32]  # [D] index of its image
    category: NDArray[np.int16]  # [D] index of its category
    score: NDArray[np.float64]  # [D]
    state: NDArray[np.uint8]  # [D, 4, 10] FALSE, TRUE or IGNORED
    source: NDArray[np.int32]  # [D] index in the list of detections that was evaluated
    truth_image: NDArray[np.int32]  # [G]
    truth_category: NDArray[np.int16]  # [G]
    truth_counts: NDArray[np.bool_]  # [G, 4] whether it has to be found
    truth_source: NDArray[np.int32]  # [G] index in the ground truth's annotations, ascending


def save_matches(matches: Matches, path: Path) -> None:
    """Write them, compressed, as NumPy's archive."""
    with path.open("wb") as file:
        np.savez_compressed(file, **vars(matches))


def load_matches(path: Path) -> Matches:
    """The inverse of save_matches; ValueError for another file."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return Matches(**{item.name: content[item.name] for item in fields(Matches)})
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no match records: {error}") from error
