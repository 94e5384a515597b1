"""A trained detector by what a person calls it, a run or a weights file, and images to test it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.config import Recipe
from experiments.settings import parse_settings
from orchestration.find import find_run
from orchestration.plan import NAMED_DATA, show_setting
from orchestration.run_folder import RunFolder, Store
from orchestration.terminal import console

if TYPE_CHECKING:
    import torch

    from detector.data.coco import CocoDataset
    from detector.weights.load import Loaded

# All that can be changed once a detector is trained.
IN_POSTPROCESS = ("score_threshold", "candidates_per_level", "nms_threshold", "max_detections")
TEST_SETTINGS = (
    *("short_side", "long_side", *IN_POSTPROCESS),
    *("multi_scale_test", "batch_size", "threads"),
)
SHOWN = 5  # classes in a line that refuses some


@dataclass(frozen=True)
class Trained:
    """A detector that is ready to be tested."""

    loaded: "Loaded"  # on the device; its recipe changed as asked for
    device: "torch.device"
    settings: Mapping[str, Any]  # what was asked for
    path: Path
    run: RunFolder | None  # where it is one of the results folder

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.run.facts()['name']} ({self.run.signature})" if self.run else self.path.name

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        shown = [f"{key}={show_setting(value)}" for key, value in self.settings.items()]
        return "-".join([self.run.signature if self.run else self.path.stem, *shown])

    @cached_property
    def step(self) -> int | None:
        """Of a run that is not done: after which it is tested."""
        import torch

        if self.run is None or self.path == self.run.weights:
            return None
        return int(torch.load(self.path, map_location="cpu", weights_only=True)["step"])

    def introduce(self, store: Store, notes: Sequence[str] = ()) -> None:
        """Say what was loaded, and make ready: a folder for results, and the threads.

        A run has its own number of those, because sums depend on it; else, if none is asked for,
        torch has.
        """
        import torch

        step = self.step
        unfinished = [] if step is None else [f"not finished: tested as of step {step}"]
        lines = [self.name, *unfinished, *self.loaded.notes, *notes]
        console.print("\n".join(lines), soft_wrap=True)
        store.require_writable()
        if self.run is not None or "threads" in self.settings:
            torch.set_num_threads(self.loaded.description.recipe.threads)

    def about(self) -> dict[str, Any]:
        """What a record of a test says of it."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        signature = self.run.signature if self.run else None
        about = {"name": self.name, "run": signature, "step": self.step}
        return {**about, "file": str(self.path), "sha256": digest, "notes": self.loaded.notes}


def open_trained(
    run: str | None, weights: str | None, store: Store, texts: Sequence[str], device: str | None
) -> Trained:
    """Load a run of the store, or a file; texts: what --set changes in how it is tested.

    ValueError or FileNotFoundError in one line, before anything is loaded where that tells.
    """
    settings = _test_settings(texts)
    if (run is None) == (weights is None):
        given = "neither" if run is None else f"both '{run}' and --weights {weights}"
        raise ValueError(f"needs a RUN of the results folder, or --weights FILE, got {given}")
    folder = None if run is None else find_run(store, run)
    path = _file_of(folder) if folder else Path(str(weights)).expanduser()
    place = _choose_device(device)
    from detector.weights.load import load_detector

    loaded = load_detector(path, settings.get("regress_from"))
    recipe = replace(loaded.description.recipe, **_of_recipe(settings))
    changed = {name: settings[name] for name in IN_POSTPROCESS if name in settings}
    loaded.detector.postprocess = replace(loaded.detector.postprocess, **changed)
    loaded.detector.to(place)
    loaded = replace(loaded, description=replace(loaded.description, recipe=recipe))
    return Trained(loaded, place, settings, path, folder)


def _test_settings(texts: Sequence[str]) -> dict[str, Any]:
    """--set of a trained detector, typed; ValueError for what only training could change."""
    settings = parse_settings(texts)
    for name in settings:
        if name not in (*TEST_SETTINGS, "regress_from"):
            raise ValueError(
                f"{name} is a setting of training, and the detector is trained; "
                f"there are {', '.join(TEST_SETTINGS)}, and regress_from for files of other code"
            )
    if len(settings.get("short_side", ())) == 1:  # nothing is drawn at random in a test
        settings["short_side"] *= 2
    replace(Recipe(), **_of_recipe(settings))  # refuses what cannot be
    return settings


def _of_recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in TEST_SETTINGS if name in settings}


def _file_of(folder: RunFolder) -> Path:
    """The weights of a run that is done, else its newest checkpoint."""
    if folder.is_done:
        return folder.weights
    beside = folder.checkpoint.with_name(f"{folder.checkpoint.name}.previous")
    for path in (folder.checkpoint, beside):
        if path.is_file():
            return path
    raise ValueError(
        f"run {folder.signature} has no checkpoint yet, which a test needs: "
        "its training has not come so far"
    )


def _choose_device(wanted: str | None) -> "torch.device":
    """The device asked for, or a GPU where there is one; ValueError where it cannot be used."""
    import torch

    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"no device is called '{wanted}', needs cpu, cuda or cuda:1 ...") from None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(f"--device {wanted} cannot be used here ({reason}), needs cpu") from None


# The images


def require_given(data: str | None, annotations: str | None, images: str | None) -> None:
    """Refuse at once what open_images would refuse after the weights were loaded."""
    if data is not None and data not in NAMED_DATA and not Path(data).expanduser().exists():
        raise FileNotFoundError(
            f"no data set {data}: needs {', '.join(NAMED_DATA)}, a folder or a .toml file"
        )
    for option, path in (("--annotations", annotations), ("--images", images)):
        if path is not None and not Path(path).expanduser().exists():
            raise FileNotFoundError(f"{option} {path}: no such file or folder")


def open_images(
    data: str | None,
    split: str | None,
    annotations: str | None,
    images: str | None,
    run: RunFolder | None,
) -> tuple[str, str, "CocoDataset"]:
    """A set's name, its split ("" where files are named one by one), and its images.

    What the options name; by default what a run was trained on, if it is still the same. Raises
    FileNotFoundError or ValueError, in one line, if it is not as needed.
    """
    from detector.data.coco import CocoDataset, open_data, open_split

    if annotations is not None or images is not None:
        if annotations is None or images is None or data is not None or split is not None:
            raise ValueError(
                "--annotations FILE and --images FOLDER name a set together, "
                "instead of --data and --split"
            )
        file = Path(annotations).expanduser()
        return file.stem, "", CocoDataset(Path(images).expanduser(), file)
    split = split or "val"
    if data is not None:
        name, dataset = open_split(data, split)
        return name, split, dataset
    if run is None:
        raise ValueError(
            "--weights needs images to be tested on: --data WHERE, or --annotations FILE and "
            "--images FOLDER"
        )
    facts = run.facts()["data"]
    found = open_data(facts["where"])
    if found.fingerprint != facts["fingerprint"]:
        raise ValueError(
            f"run {run.signature} was trained on {facts['name']} with the fingerprint "
            f"{facts['fingerprint'][:12]}, {facts['where']} has {found.fingerprint[:12]} now: its "
            "content changed; --data tests on what it is today"
        )
    dataset = found.val if split == "val" else open_split(facts["where"], split)[1]
    return found.name, split, dataset


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
    plain = [name.strip().casefold() for name in names]
    theirs = [name.strip().casefold() for name in dataset.names]
    by_name = dict(zip(theirs, dataset.category_ids, strict=True))
    strange = [name for name, key in zip(names, plain, strict=True) if key not in by_name]
    if strange or len(set(plain)) < len(names):
        given = (
            f"the detector's class '{strange[0]}'" if strange else "a class without its own name"
        )
        raise ValueError(
            f"{given} is none of {title}'s ({_few(dataset.names)}): a test needs the same classes, "
            f"by name; the detector's are {_few(names)}"
        )
    return [by_name[key] for key in plain]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
