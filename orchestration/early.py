"""Ending runs early that are far behind: asynchronous successive halving (ASHA, Li et al. 2020).

Rungs follow the tests: the first is a run's first test, every next one FACTOR times as far. At a
rung a run goes on if its AP is among the best 1 / FACTOR of those that came there before. What is
ended keeps its folder and its checkpoint, so another launch without ASHA trains it to its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from detector.config import Recipe
from orchestration.pace import evaluation_steps
from orchestration.run_folder import RunFolder, read_json
from reports.compare import Stopped

FACTOR = 3
NAME = "stopped"  # .json in a run's folder


@dataclass(frozen=True)
class Early:
    """When runs may be ended, and what is known of those that ended in earlier launches."""

    first: int  # step of the first test
    iterations: int
    past: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)  # step, AP


def early_stopping(recipe: Recipe, num_images: int, folders: Sequence[RunFolder]) -> Early:
    """For runs of a recipe, tested on so many images; ValueError if none is tested early."""
    first = min(evaluation_steps(recipe, num_images))
    if first >= recipe.iterations:
        raise ValueError(
            f"--scheduler asha needs a test before the last step, got only one at {first} of "
            f"{recipe.iterations}: ask for more with --set evaluations=..., or train longer"
        )
    ended = [folder for folder in folders if folder.is_done or stopped(folder)]
    return Early(first, recipe.iterations, {folder.signature: tests(folder) for folder in ended})


def tests(folder: RunFolder) -> list[tuple[int, float]]:
    """Every AP that a run has measured, and after which step."""
    entries = [(entry["step"], entry.get("AP")) for entry in folder.history()]
    return [(step, ap) for step, ap in entries if ap is not None]


def stop(folder: RunFolder) -> Stopped | None:
    """Note that a run was ended early; None if it was not: it is done, failed, or cancelled."""
    if folder.is_done or folder.failure() or folder.cancellation():
        return None
    where = Stopped(*tests(folder)[-1]) if tests(folder) else Stopped(0, None)
    folder.write(NAME, asdict(where))
    return where


def stopped(folder: RunFolder) -> Stopped | None:
    """How far a run came that was ended early and that nobody has trained to its end since."""
    content = None if folder.is_done else read_json(folder.path / f"{NAME}.json")
    return None if content is None else Stopped(**content)
