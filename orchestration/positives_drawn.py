"""Images of a data set with the positives that each selection gives their objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.positives import Study, write_files
from orchestration.terminal import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detector.data.coco import CocoDataset
    from detector.positives import Scene
    from reports.positives.drawn import Picture
    from reports.render import Grid


def draw_images(study: Study, wanted: Sequence[str], object_number: int | None) -> None:
    """Draw images, print how many positives each of their objects has, and write the pictures.

    object_number: counts from 1; that object is drawn closely as well.
    """
    from reports.plots.theme import save
    from reports.positives.drawn import selections_figure
    from reports.terminal import terminal

    found = [find_image(study.datasets, text) for text in wanted]
    files: dict[str, bytes] = {}
    for dataset, index, path in found:
        scene, picture = _look_at(study, dataset, index, path)
        name = f"image {dataset.image_ids[index]}"
        console.print(terminal(_table(picture, f"Positives per object: {name}, {study.pixels}")))
        figures = {path.stem: selections_figure(picture)}
        if object_number is not None:
            figures |= _draw_object(study, scene, picture, object_number - 1, name, path.stem)
        files |= {f"{name}.png": save(figure, "png") for name, figure in figures.items()}
    write_files(study.folder, files)


def find_image(datasets: Sequence["CocoDataset"], text: str) -> tuple["CocoDataset", int, Path]:
    """An image by its id, its file name or a path: its data set, its index there, its file.

    Raises ValueError or FileNotFoundError where no image is called so, or more than one, or where
    its file is not at hand.
    """
    names = [
        (dataset, index, name, dataset.image_ids[index])
        for dataset in datasets
        for index, name in enumerate(dataset.file_names)
    ]
    exact = [one for one in names if text in (one[2], str(one[3]))]
    found = exact or [one for one in names if Path(one[2]).name == Path(text).name]
    if len(found) != 1:
        problem = f"{len(found)} images are" if found else "no image is"
        raise ValueError(
            f"{problem} called '{text}'; --image needs the id or the file name of one of "
            f"{len(names)}, such as {names[0][3]} or {names[0][2]}"
        )
    dataset, index, name, _ = found[0]
    path = Path(text) if Path(text).is_file() else dataset.folder / name
    if not path.is_file():
        raise FileNotFoundError(f"no image file {path}: without --data, --image needs its path")
    return dataset, index, path


def _look_at(
    study: Study, dataset: "CocoDataset", index: int, path: Path
) -> tuple["Scene", "Picture"]:
    from detector.data.images import read_pixels
    from detector.positives import anchors_of, scene_of
    from reports.positives.drawn import Picture

    scene = scene_of(dataset, index, **study.sides)
    labels = dataset.target(index)["labels"].tolist()
    picture = Picture(
        pixels=read_pixels(path, dataset.sizes[index]).permute(1, 2, 0).numpy(),
        height=scene.height,
        width=scene.width,
        boxes=scene.boxes.numpy(),
        names=[dataset.names[label] for label in labels],
        anchors={one.name: anchors_of(one, scene) for one in study.selections},
    )
    return scene, picture


def _table(picture: "Picture", title: str) -> "Grid":
    """A line per object: its size in pixels, its positives under each selection."""
    from reports.render import Grid, line

    counts = [
        [int((anchors["matched"] == g).sum()) for anchors in picture.anchors.values()]
        for g in range(len(picture.boxes))
    ]
    sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
    lines = [
        line(f"{g + 1} {name}", f"{width:.0f} x {height:.0f}", *map(str, counts[g]))
        for g, (name, (width, height)) in enumerate(zip(picture.names, sides, strict=True))
    ]
    head = line("object", "pixels", *picture.anchors)
    return Grid(name="objects", title=title, head=head, blocks=(tuple(lines),))


def _draw_object(
    study: Study, scene: "Scene", picture: "Picture", g: int, name: str, stem: str
) -> dict[str, "Figure"]:
    """File name -> figure of object g; its candidates too, where there is ATSS."""
    from detector.positives import candidates_of
    from reports.positives.drawn import candidates_figure, object_figure

    if g >= len(picture.boxes):
        raise ValueError(f"{name} has {len(picture.boxes)} objects, got --object {g + 1}")
    figures = {f"{stem}-object{g + 1}": object_figure(picture, g)}
    atss = {one.name: candidates_of(one, scene, g) for one in study.selections if one.k is not None}
    if atss:
        title = f"{name}, object {g + 1}, {picture.names[g]}"
        figures[f"{stem}-object{g + 1}-candidates"] = candidates_figure(atss, title)
    return figures
