"""The index of a metric, set low: AP50 and AP_S as the paper writes them."""

import re
from collections.abc import Callable


def with_indices(text: str, escape: Callable[[str], str], index: str) -> str:
    """The text escaped, with the index of a metric set as the template index says."""
    parts = re.split(r"\bAP_?(50|75|S|M|L)\b", text)
    return "".join(index.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
