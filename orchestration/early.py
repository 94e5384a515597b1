"""Ending runs early that are far behind: asynchronous successive halving (ASHA, Li et al. 2020).

Rungs follow the tests: the first is a run's first test, every next one three times as far. What is
ended keeps its folder and its checkpoint, so another launch without ASHA trains it to its end.
"""

from dataclasses import asdict

from detector.config import Recipe
from orchestration.pace import evaluation_steps
from orchestration.run_folder import RunFolder, read_json
from reports.compare import Stopped

NAME = "stopped"  # .json in a run's folder


def steps_tested(recipe: Recipe, num_images: int) -> list[int]:
    """After which steps runs are tested on so many images; ValueError if none is tested early."""
    steps = sorted(evaluation_steps(recipe, num_images))
    if len(steps) < 2:
        raise ValueError(
            f"--scheduler asha needs a test before the last step, got only one at {steps[0]} of "
            f"{recipe.iterations}: ask for more with --set evaluations=..., or train longer"
        )
    return steps


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


def last_ap(folder: RunFolder) -> float | None:
    """A run's AP, or its last before it was ended early."""
    early, result = stopped(folder), folder.result()
    if result is not None:
        ap: float | None = result["metrics"]["ap"]
        return ap
    return early.ap if early else None
