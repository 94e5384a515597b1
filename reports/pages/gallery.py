"""The best and the worst images of a table, drawn for its report: files in a folder, with an index.

<table>-images/index.json, 1.jpg, 2.jpg ...
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

INDEX = "index.json"


@dataclass(frozen=True)
class Shown:
    """A picture: its file, what stands below it, and what it shows for those who cannot see it."""

    file: str
    caption: str
    alt: str


def gallery_folder(report: Path, table: str) -> Path:
    """Where the pictures of a table are, in the folder of its report."""
    return report / f"{table}-images"


def save_gallery(folder: Path, pictures: Sequence[Shown], made_of: Any) -> None:
    """Write the index; made_of: in JSON's terms, what the pictures depend on."""
    content = {"made_of": made_of, "pictures": [asdict(picture) for picture in pictures]}
    (folder / INDEX).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_gallery(folder: Path) -> tuple[list[Shown], Any]:
    """The inverse of save_gallery; nothing where a picture or the index is missing."""
    try:
        content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        pictures = [Shown(**picture) for picture in content["pictures"]]
        made_of = content["made_of"]
    except (OSError, ValueError, KeyError, TypeError):
        return [], None
    is_whole = all((folder / picture.file).is_file() for picture in pictures)
    return (pictures, made_of) if is_whole else ([], None)
