"""Pictures that were put into a report's folder, as HTML: counted positives, images."""

import html
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.plots.plates import embedded, plot
from reports.positives import CAPTIONS

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


def positives(folder: Path, table: str) -> list[str]:
    """The figures of `atss positives` for a table, those that are there."""
    found = []
    for name, caption in CAPTIONS.items():
        file = folder / f"{table}-{name}.svg"
        if file.is_file():
            found.append(plot(embedded(file.read_bytes()), caption))
    return found


def gallery(folder: Path, table: str) -> list[str]:
    """A table's best and worst images with their detections, those that are there."""
    place = gallery_folder(folder, table)
    found = []
    for picture in load_gallery(place)[0]:
        data = b64encode((place / picture.file).read_bytes()).decode()
        found.append(
            f'<figure class="photo"><img src="data:image/jpeg;base64,{data}" '
            f'alt="{html.escape(picture.alt)}">\n'
            f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>\n"
        )
    return found
