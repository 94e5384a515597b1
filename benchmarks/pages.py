"""A benchmark's results on disk: numbers, and a page whose last section is written by hand."""

import json
from pathlib import Path
from typing import Any

BY_HAND = "## Tried, and left"  # the section's heading, kept with all that follows


def write(folder: Path, name: str, content: dict[str, Any], page: str) -> None:
    """Write <name>.json and <name>.md, and print the page."""
    file = folder / f"{name}.md"
    _, heading, rest = (file.read_text() if file.is_file() else "").partition(BY_HAND)
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    file.write_text(page + ("\n" + heading + rest if heading else ""))
    print(page)
