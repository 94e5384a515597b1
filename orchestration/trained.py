"""A trained detector by what a person calls it, a run or a weights file, and images to test it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.settings import parse_settings, show_setting
from orchestration.find import find_run
from orchestration.run_folder import RunFolder, Store
from orchestration.terminal import console

if TYPE_CHECKING:
    import torch

    from detector.data.coco import CocoDataset
    from detector.weights.load import Loaded

TEST_SETTINGS = (  # all that can be changed once a detector is trained
    *("short_side", "long_side", "score_threshold", "candidates_per_level", "nms_threshold"),
    *("max_detections", "multi_scale_test", "batch_size", "threads"),
)
SHOWN = 5  # classes in a line that refuses some


@dataclass(frozen=True)
class Trained:
    """A detector to be tested, on its device, its recipe and test changed as asked for."""

    loaded: "Loaded"
    path: Path
    run: RunFolder | None  # where it is one of the results folder
    step: int | None  # of a run that is not done: after which it is tested
    slug: str  # its name as part of a path
    device: "torch.device"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.run.facts()['name']} ({self.run.signature})" if self.run else self.path.name

    def introduce(self, notes: Sequence[str] = ()) -> None:
        """Say what was loaded, and what is to be known of the images."""
        unfinished = [] if self.step is None else [f"not finished: tested as of step {self.step}"]
        lines = [self.name, *unfinished, *self.loaded.notes, *notes]
        console.print("\n".join(lines), soft_wrap=True)


def load_trained(
    run: str | None, weights: str | None, store: Store, texts: Sequence[str], device: str | None
) -> Trained:
    """A run of the store, or a file; texts: what --set changes in how it is tested.

    ValueError or FileNotFoundError in one line. Threads are the run's, because sums depend on
    their number; of a file those asked for, else torch's.
    """
    settings = _test_settings(texts)
    if (run is None) == (weights is None):
        given = "neither" if run is None else f"both '{run}' and --weights {weights}"
        raise ValueError(f"needs a RUN of the results folder, or --weights FILE, got {given}")
    folder = None if run is None else find_run(store, run)
    path = _file_of(folder) if folder else Path(str(weights)).expanduser()
    where, step = _choose_device(device), None
    import torch

    from detector.weights.load import load_detector

    loaded = load_detector(path, settings.get("regress_from"))
    changed = {name: settings[name] for name in TEST_SETTINGS if name in settings}
    recipe, detector = replace(loaded.description.recipe, **changed), loaded.detector
    own = {item.name for item in fields(detector.postprocess)} & changed.keys()
    detector.postprocess = replace(detector.postprocess, **{name: changed[name] for name in own})
    detector.to(where)
    loaded = replace(loaded, description=replace(loaded.description, recipe=recipe))
    if folder and path != folder.weights:
        step = int(torch.load(path, map_location="cpu", weights_only=True)["step"])
    if folder or "threads" in settings:
        torch.set_num_threads(recipe.threads)
    shown = [f"{key}={show_setting(value)}" for key, value in settings.items()]
    slug = "-".join([folder.signature if folder else path.stem, *shown])
    return Trained(loaded, path, folder, step, slug, where)


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
    return settings


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
