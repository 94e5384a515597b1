"""Pictures that were put into a report's folder, as HTML: counted positives, images."""

import html
from base64 import b64encode
from pathlib import Path

from reports.pages.gallery import gallery_folder, load_gallery
from reports.plots.plates import embedded, plot
from reports.plots.theme import description

POSITIVES = {  # what `atss positives` draws, and what it is about
    "positives-by-size": "Positives per object, by its size.",
    "positives-by-aspect-ratio": "Positives per object, by its aspect ratio.",
    "positives-by-location": "Positives per object, by where in the image it is.",
    "positives-by-levels": "Positives per object on each level of the pyramid.",
}


def positives(folder: Path, table: str) -> list[str]:
    """The figures of `atss positives` for a table, those that are there."""
    found = []
    for name, caption in POSITIVES.items():
        file = folder / f"{table}-{name}.svg"
        if file.is_file():
            svg = file.read_bytes()
            found.append(plot(embedded(svg), description(svg.decode()) or caption, caption))
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
