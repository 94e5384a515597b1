"""A trained detector by what a person calls it: a run of the results folder, or a weights file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.config import Recipe
from experiments.settings import parse_settings
from orchestration.find import find_run
from orchestration.plan import show_setting
from orchestration.run_folder import RunFolder, Store

if TYPE_CHECKING:
    import torch

    from detector.weights.load import Loaded

# All that can be changed once a detector is trained.
TEST_SETTINGS = (
    *("short_side", "long_side", "score_threshold", "candidates_per_level"),
    *("nms_threshold", "max_detections", "multi_scale_test", "batch_size", "threads"),
)
IN_POSTPROCESS = ("score_threshold", "candidates_per_level", "nms_threshold", "max_detections")


@dataclass(frozen=True)
class Trained:
    """A detector that is ready to be tested."""

    loaded: "Loaded"
    recipe: Recipe  # its own, changed as asked for
    settings: Mapping[str, Any]  # what was asked for
    name: str  # for people
    slug: str  # the name as part of a path
    path: Path
    run: RunFolder | None  # where it is one of the results folder
    step: int | None  # of a run that is not done: after which it is tested

    @property
    def test_settings(self) -> dict[str, Any]:
        """Those that hold: all TEST_SETTINGS."""
        return {name: getattr(self.recipe, name) for name in TEST_SETTINGS}

    @property
    def introduction(self) -> list[str]:
        """What was loaded, line by line."""
        unfinished = [] if self.step is None else [f"not finished: tested as of step {self.step}"]
        return [self.name, *unfinished, *self.loaded.notes]

    def about(self) -> dict[str, Any]:
        """What a record of a test says of it."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        signature = self.run.signature if self.run else None
        about = {"name": self.name, "run": signature, "step": self.step}
        return {**about, "file": str(self.path), "sha256": digest, "notes": self.loaded.notes}


def open_trained(
    run: str | None, weights: str | None, store: Store, settings: Mapping[str, Any]
) -> Trained:
    """Load a run of the store, or a file; ValueError or FileNotFoundError in one line."""
    if (run is None) == (weights is None):
        given = "neither" if run is None else f"both '{run}' and --weights {weights}"
        raise ValueError(f"needs a RUN of the results folder, or --weights FILE, got {given}")
    folder = None if run is None else find_run(store, run)
    path = _file_of(folder) if folder else Path(str(weights)).expanduser()
    from detector.weights.load import load_detector

    start = settings.get("regress_from")
    loaded = load_detector(path, start)
    recipe = replace(loaded.description.recipe, **_of_recipe(settings))
    changed = {name: settings[name] for name in IN_POSTPROCESS if name in settings}
    loaded.detector.postprocess = replace(loaded.detector.postprocess, **changed)
    name = f"{folder.facts()['name']} ({folder.signature})" if folder else path.name
    slug = folder.signature if folder else path.stem
    shown = [f"{key}={show_setting(value)}" for key, value in settings.items()]
    step = _step_of(path) if folder and not folder.is_done else None
    return Trained(loaded, recipe, settings, name, "-".join([slug, *shown]), path, folder, step)


def parse_test_settings(texts: Sequence[str]) -> dict[str, Any]:
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
    replace(Recipe(), **_of_recipe(settings))  # refuses what cannot be, before anything is loaded
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


def _step_of(checkpoint: Path) -> int:
    import torch

    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"])


def choose_device(wanted: str | None) -> "torch.device":
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
