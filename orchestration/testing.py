"""What a trained detector is tested on, and the test itself: the data, its classes, the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.plan import NAMED_DATA
from orchestration.progress import Counter
from orchestration.run_folder import RunFolder
from orchestration.terminal import console
from orchestration.trained import Trained

if TYPE_CHECKING:
    import torch

    from detector.data.coco import CocoDataset

SHOWN = 5  # classes in a line that refuses some
GPU_WORKERS, CPU_WORKERS = 4, 0  # processes that load images, where a user asks for none


@dataclass(frozen=True)
class Images:
    """Annotated images, and what people call them."""

    name: str
    split: str  # empty where the files are named one by one
    dataset: "CocoDataset"

    @property
    def title(self) -> str:
        return f"{self.name}, {self.split}" if self.split else self.name

    def about(self) -> dict[str, Any]:
        """What a record of a test says of them."""
        return {
            "name": self.name,
            "split": self.split or None,
            "annotations": str(self.dataset.annotation_file),
            "images": len(self.dataset),
            "fingerprint": self.dataset.digest(),
        }


def open_images(
    data: str | None,
    split: str | None,
    annotations: str | None,
    images: str | None,
    run: RunFolder | None,
) -> Images:
    """What the options name; by default what a run was trained on, if it is still the same.

    Raises FileNotFoundError or ValueError, in one line, if it is not as needed.
    """
    from detector.data.coco import CocoDataset, open_split

    if annotations is not None or images is not None:
        if annotations is None or images is None or data is not None or split is not None:
            raise ValueError(
                "--annotations FILE and --images FOLDER name a set together, "
                "instead of --data and --split"
            )
        file = Path(annotations).expanduser()
        return Images(file.stem, "", CocoDataset(Path(images).expanduser(), file))
    chosen = split or "val"
    if data is not None:
        name, dataset = open_split(data, chosen)
        return Images(name, chosen, dataset)
    if run is not None:
        return _own_images(run, chosen)
    raise ValueError(
        "--weights needs images to be tested on: --data WHERE, or --annotations FILE and "
        "--images FOLDER"
    )


def _own_images(run: RunFolder, split: str) -> Images:
    """A split of the set that a run was trained on."""
    from detector.data.coco import open_data, open_split

    facts = run.facts()["data"]
    found = open_data(facts["where"])
    if found.fingerprint != facts["fingerprint"]:
        raise ValueError(
            f"run {run.signature} was trained on {facts['name']} with the fingerprint "
            f"{facts['fingerprint'][:12]}, {facts['where']} has {found.fingerprint[:12]} now: its "
            "content changed; --data tests on what it is today"
        )
    dataset = found.val if split == "val" else open_split(facts["where"], split)[1]
    return Images(found.name, split, dataset)


def require_given(data: str | None, annotations: str | None, images: str | None) -> None:
    """Refuse at once what open_images would refuse after the weights were loaded."""
    if data is not None and data not in NAMED_DATA and not Path(data).expanduser().exists():
        raise FileNotFoundError(
            f"no data set {data}: needs {', '.join(NAMED_DATA)}, a folder or a .toml file"
        )
    for option, path in (("--annotations", annotations), ("--images", images)):
        if path is not None and not Path(path).expanduser().exists():
            raise FileNotFoundError(f"{option} {path}: no such file or folder")


def category_ids(
    ids: Sequence[int], names: Sequence[str], dataset: "CocoDataset", title: str
) -> list[int]:
    """The data's id for each label of a detector that knows ids and names: by equal names.

    ValueError where the classes differ: a detection counts as one of the data's, or not at all.
    """
    if (list(ids), list(names)) == (dataset.category_ids, dataset.names):
        return dataset.category_ids
    if len(names) != len(dataset.names):
        raise ValueError(
            f"the detector knows {len(names)} classes ({_few(names)}), {title} has "
            f"{len(dataset.names)} ({_few(dataset.names)}): a test needs the same ones"
        )
    by_name = {
        _plain(name): number
        for name, number in zip(dataset.names, dataset.category_ids, strict=True)
    }
    strange = [name for name in names if _plain(name) not in by_name]
    if strange or len(by_name) < len(names) or len(set(map(_plain, names))) < len(names):
        given = (
            f"the detector's class '{strange[0]}'" if strange else "a class without its own name"
        )
        raise ValueError(
            f"{given} is none of {title}'s ({_few(dataset.names)}): a test needs the same classes, "
            f"by name; the detector's are {_few(names)}"
        )
    return [by_name[_plain(name)] for name in names]


def _plain(name: str) -> str:
    return name.strip().casefold()


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def detections_of(
    trained: Trained, images: Images, device: "torch.device", workers: int | None
) -> list[dict[str, Any]]:
    """COCO's results of the detector on all images."""
    from detector.evaluation.detect import detect_all

    loaded = trained.loaded
    description = loaded.description
    ids = category_ids(description.category_ids, description.names, images.dataset, images.title)
    default = GPU_WORKERS if device.type == "cuda" else CPU_WORKERS
    found: list[dict[str, Any]] = []
    parts = detect_all(
        loaded.detector.to(device),
        images.dataset,
        trained.recipe,
        device=device,
        workers=default if workers is None else workers,
        layout=loaded.layout,
        category_ids=ids,
    )
    with Counter("testing", len(images.dataset), console) as counter:
        for part in parts:
            found += chain(*part)
            counter.add(len(part))
    return found


def set_threads(trained: Trained) -> None:
    """A run's own number, because sums depend on it; else, if none is asked for, torch's."""
    import torch

    if trained.run is not None or "threads" in trained.settings:
        torch.set_num_threads(trained.recipe.threads)
