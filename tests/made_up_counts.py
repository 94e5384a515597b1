"""Positives that nobody counted: objects of two sizes under some selections."""

import pandas as pd

from reports.positives import LEVELS


def frame(positives: dict[str, list[int]], **columns: list) -> pd.DataFrame:
    """Objects of two sizes under some selections; candidates where the name begins with ATSS."""
    parts = []
    for name, counts in positives.items():
        number = len(counts)
        part = pd.DataFrame(
            {
                "selection": name,
                "image": range(number),
                "annotation": range(number),
                "size": ["small", "large"] * (number // 2),
                "relative_size": [2.0, 50.0] * (number // 2),
                "aspect_ratio": [1.0, 3.0] * (number // 2),
                "x": [0.5, 0.1] * (number // 2),
                "y": [0.5, 0.9] * (number // 2),
                "positives": counts,
                "lost": [0, 1] * (number // 2),
                **{level: counts if level == "P4" else [0] * number for level in LEVELS},
            }
        )
        if name.startswith("ATSS"):
            part = part.assign(candidates=45, above_threshold=10, threshold=0.5)
        parts.append(part.assign(**columns))
    return pd.concat(parts, ignore_index=True)
