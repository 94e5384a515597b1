"""Where a data set's files are: "shapes", "coco2017", a folder, or a TOML file -> its splits."""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detector.data import shapes

MOST_BYTES = 2**16  # of a TOML file, which names two folders, two files, perhaps categories
COCO_2017 = Path(__file__).with_name("coco2017.toml")


@dataclass(frozen=True)
class Source:
    """A data set that was found; whether a split's files are there is seen when it is asked for."""

    name: str  # that people know it by
    files: Callable[[str], tuple[Path, Path]]  # of a split: image folder, annotation file
    edition: str = ""  # stands for what the images show, where their files may differ


def locate(where: str | Path) -> Source:
    """FileNotFoundError or ValueError, in one line, where there is no data set."""
    if (name := str(where)) in shapes.EDITIONS:
        # Its files differ from one JPEG library to the next; what they show does not.
        files = partial(_find_split, shapes.make(name))
        return Source(name, files, edition=f"{name}-v{shapes.VERSION}")
    path = COCO_2017 if where == "coco2017" else Path(where).expanduser()
    if path.is_dir():
        return Source(path.resolve().name, partial(_find_split, path))
    if path.is_file() and path.suffix == ".toml":
        content = _read_toml(path)
        return Source(str(content.get("name", path.stem)), partial(_toml_split, path, content))
    raise FileNotFoundError(
        f"no data set {where}: needs {', '.join(map(repr, shapes.EDITIONS))}, 'coco2017', "
        "a folder or a .toml file"
    )


def coco_categories() -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids (1 to 90, with gaps) and names of COCO's 80 categories, in the order of their labels."""
    names: dict[str, str] = _read_toml(COCO_2017)["categories"]
    return tuple(map(int, names)), tuple(names.values())


def _find_split(folder: Path, split: str) -> tuple[Path, Path]:
    """Image folder and annotation file of a split, named as COCO and its derivatives name them."""
    pattern = f"annotations/instances_{split}*.json"
    file = _only_one(folder, pattern, sorted(folder.glob(pattern)))
    stem = file.stem.removeprefix("instances_")
    names = list(dict.fromkeys([stem, f"images/{stem}", split, f"images/{split}"]))
    found = [folder / name for name in names if (folder / name).is_dir()]
    return _only_one(folder, f"image folder for {file.name} ({', '.join(names)})", found), file


def _only_one(folder: Path, what: str, found: list[Path]) -> Path:
    if len(found) == 1:
        return found[0]
    names = " and ".join(path.relative_to(folder).as_posix() for path in found) or "none"
    raise ValueError(f"{folder}: needs one {what}, found {names}; a TOML file can name any")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"of at most {MOST_BYTES:,} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: needs TOML: {error}") from None


def _toml_split(path: Path, content: dict[str, Any], split: str) -> tuple[Path, Path]:
    """Paths are relative to the file; $VARIABLES and ~ are expanded."""
    table = content.get(split)
    given = table if isinstance(table, dict) else {}
    images, annotations = given.get("images"), given.get("annotations")
    if not isinstance(images, str) or not isinstance(annotations, str):
        raise ValueError(
            f'{path}: needs [{split}] with images = "FOLDER" and annotations = "FILE.json", got '
            f"{table!r:.80}"
        )
    return _expand(path, images), _expand(path, annotations)


def _expand(toml: Path, given: str) -> Path:
    expanded = os.path.expandvars(given)
    if "$" in expanded:
        name = given[given.index("$") :].lstrip("${").split("/")[0].rstrip("}")
        raise ValueError(
            f"{toml.name}: set the environment variable {name} to the folder that '{given}' lies in"
        )
    return toml.parent / Path(expanded).expanduser()
