"""Pictures that were put into a report's folder, as HTML: counted positives, images."""

import html
from base64 import b64encode
from pathlib import Path

from reports.pages.gallery import gallery_folder, load_gallery
from reports.plots.plates import embedded, plot
from reports.positives.figures import CAPTIONS


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
