"""Positives that nobody counted: objects of two sizes under some selections."""

import pandas as pd

from reports.positives import LEVELS

CANDIDATES = {"candidates": 45, "above_threshold": 10, "threshold": 0.5}


def frame(positives: dict[str, list[int]], **columns: list) -> pd.DataFrame:
    """As positives.csv has them; candidates are known where a name begins with ATSS."""
    parts = []
    for name, counts in positives.items():
        half = len(counts) // 2
        part = {
            "selection": name,
            "size": ["small", "large"] * half,
            "relative_size": [2.0, 50.0] * half,
            "aspect_ratio": [1.0, 3.0] * half,
            "x": [0.5, 0.1] * half,
            "y": [0.5, 0.9] * half,
            "positives": counts,
            "lost": [0, 1] * half,
            **{level: counts if level == "P4" else 0 for level in LEVELS},
            **(CANDIDATES if name.startswith("ATSS") else dict.fromkeys(CANDIDATES)),
        }
        parts.append(pd.DataFrame(part | columns))
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(CANDIDATES, float))
