"""A trained detector by what a person calls it, a run or a weights file, and images to test it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.config import Recipe
from experiments.settings import parse_settings, show_setting
from orchestration.find import find_run
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
    """A detector to be tested; it is loaded when it is first asked for."""

    path: Path
    run: RunFolder | None  # where it is one of the results folder
    settings: Mapping[str, Any]  # what was asked for
    device: "torch.device"

    @cached_property
    def loaded(self) -> "Loaded":
        """On the device; its recipe changed as asked for."""
        from detector.weights.load import load_detector

        loaded = load_detector(self.path, self.settings.get("regress_from"))
        recipe = replace(loaded.description.recipe, **_of(self.settings, TEST_SETTINGS))
        changed = _of(self.settings, IN_POSTPROCESS)
        loaded.detector.postprocess = replace(loaded.detector.postprocess, **changed)
        loaded.detector.to(self.device)
        return replace(loaded, description=replace(loaded.description, recipe=recipe))

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

        unfinished = f"not finished: tested as of step {self.step}"
        lines = [self.name, *([] if self.step is None else [unfinished])]
        console.print("\n".join([*lines, *self.loaded.notes, *notes]), soft_wrap=True)
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


def find_trained(
    run: str | None, weights: str | None, store: Store, texts: Sequence[str], device: str | None
) -> Trained:
    """A run of the store, or a file; texts: what --set changes in how it is tested.

    ValueError or FileNotFoundError in one line for what can be told before it is loaded.
    """
    settings = _test_settings(texts)
    if (run is None) == (weights is None):
        given = "neither" if run is None else f"both '{run}' and --weights {weights}"
        raise ValueError(f"needs a RUN of the results folder, or --weights FILE, got {given}")
    folder = None if run is None else find_run(store, run)
    path = _file_of(folder) if folder else Path(str(weights)).expanduser()
    return Trained(path, folder, settings, _choose_device(device))


def _test_settings(texts: Sequence[str]) -> dict[str, Any]:
    """--set of a trained detector, typed; ValueError for what only training could change."""
    settings = parse_settings(texts)
    for name in settings.keys() - {*TEST_SETTINGS, "regress_from"}:
        raise ValueError(
            f"{name} is a setting of training, and the detector is trained; "
            f"there are {', '.join(TEST_SETTINGS)}, and regress_from for files of other code"
        )
    if len(settings.get("short_side", ())) == 1:  # nothing is drawn at random in a test
        settings["short_side"] *= 2
    replace(Recipe(), **_of(settings, TEST_SETTINGS))  # refuses what cannot be
    return settings


def _of(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _file_of(folder: RunFolder) -> Path:
    """The weights of a run that is done, else its newest checkpoint."""
    from detector.checkpoint import previous

    if folder.is_done:
        return folder.weights
    paths = [it for it in (folder.checkpoint, previous(folder.checkpoint)) if it.is_file()]
    if not paths:
        raise ValueError(f"run {folder.signature} has no checkpoint yet, which a test needs")
    return paths[0]


def _choose_device(wanted: str | None) -> "torch.device":
    """The device asked for, or a GPU where there is one; ValueError where it cannot be used."""
    import torch

    wanted = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(f"--device {wanted} cannot be used here ({reason}), needs cpu") from None


# The images


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

    if annotations is not None and images is not None and data is None and split is None:
        file = Path(annotations).expanduser()
        return file.stem, "", CocoDataset(Path(images).expanduser(), file)
    if annotations is not None or images is not None:
        raise ValueError("--annotations and --images name a set together, without --data, --split")
    split = split or "val"
    if data is not None:
        name, dataset = open_split(data, split)
        return name, split, dataset
    if run is None:
        pair = "--annotations FILE and --images FOLDER"
        raise ValueError(f"--weights needs images to be tested on: --data WHERE, or {pair}")
    facts = run.facts()["data"]
    found = open_data(facts["where"])
    if found.fingerprint != facts["fingerprint"]:
        raise ValueError(
            f"run {run.signature} was trained on another edition of {facts['name']}: its content "
            f"changed in {facts['where']}; --data tests on what it is today"
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
    mine, theirs = ([name.strip().casefold() for name in it] for it in (names, dataset.names))
    if sorted(mine) != sorted(theirs) or len(set(mine)) < len(mine):
        odd = _few(sorted(set(mine) ^ set(theirs))) or "none, but some are there twice"
        raise ValueError(
            f"the detector knows {len(names)} classes ({_few(names)}), {title} has "
            f"{len(dataset.names)} ({_few(dataset.names)}): a test needs the same ones, by name; "
            f"only on one side: {odd}"
        )
    by_name = dict(zip(theirs, dataset.category_ids, strict=True))
    return [by_name[name] for name in mine]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
