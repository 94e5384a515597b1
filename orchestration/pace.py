"""How fast a run trains and tests: what is left of it, and what another like it will take."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detector.config import Recipe

TRAINING_COST = 3  # of an image, in forward passes: a guess until a test has been timed


def evaluation_steps(recipe: Recipe, num_images: int) -> set[int]:
    """After which steps AP is measured: evenly, and always after the last one.

    No oftener than the num_images to test on are matched by as many trained: in a run cut short,
    testing would take longer than training.
    """
    affordable = recipe.iterations * recipe.batch_size // max(num_images, 1)
    times = max(1, min(recipe.evaluations, recipe.iterations, affordable))
    return {round(recipe.iterations * part / times) for part in range(1, times + 1)}


@dataclass
class Spent:
    """Wall time in seconds, and what was done in it."""

    training: float = 0.0
    steps: int = 0
    testing: float = 0.0
    images: int = 0

    def per_step(self) -> float | None:
        """Seconds of a training step; None before the first."""
        return self.training / self.steps if self.steps else None

    def per_image(self, batch_size: int) -> float:
        """Seconds to test an image; before the first, a guess by what training one takes."""
        if self.images:
            return self.testing / self.images
        return (self.per_step() or 0.0) / batch_size / TRAINING_COST

    def whole_run(self, recipe: Recipe, num_images: int) -> float:
        """Seconds of a whole run at this pace, testing num_images as often as it does."""
        tested = num_images * len(evaluation_steps(recipe, num_images))
        training = (self.per_step() or 0.0) * recipe.iterations
        return training + tested * self.per_image(recipe.batch_size)


class Pace:
    """The clock of one attempt at a run. before: what earlier ones spent, without what was lost."""

    def __init__(self, recipe: Recipe, num_images: int, before: Mapping[str, Any]) -> None:
        self.recipe, self.num_images = recipe, num_images
        self.tests = evaluation_steps(recipe, num_images)
        self.before = Spent(**before)
        self.now = Spent()
        self.untested = 0  # images of the test that is going on
        self._mark = time.monotonic()

    def stepped(self) -> None:
        """A training step ended, with what was saved and reported after the one before."""
        self.now.training += self._lap()
        self.now.steps += 1

    def testing(self) -> None:
        """A test begins."""
        self.now.training += self._lap()
        self.untested = self.num_images

    def tested(self, images: int = 0) -> None:
        """So many more images were tested; none: what the test found was evaluated."""
        self.now.testing += self._lap()
        images = min(images, self.untested)
        self.now.images, self.untested = self.now.images + images, self.untested - images

    def _lap(self) -> float:
        before, self._mark = self._mark, time.monotonic()
        return self._mark - before

    def spent(self) -> dict[str, Any]:
        """Over all attempts, for the checkpoint and the result."""
        pairs = zip(asdict(self.before).items(), asdict(self.now).values(), strict=True)
        return {name: before + now for (name, before), now in pairs}

    def seconds(self) -> float:
        """Wall time of training and testing, over all attempts."""
        idle = time.monotonic() - self._mark
        return sum(part.training + part.testing for part in (self.before, self.now)) + idle

    def seconds_left(self, step: int) -> float | None:
        """By the pace of this attempt; None before its first step."""
        if not self.now.steps and not self.now.images:
            return None
        images = self.num_images * sum(test > step for test in self.tests) + self.untested
        training = (self.now.per_step() or 0.0) * (self.recipe.iterations - step)
        return training + images * self.now.per_image(self.recipe.batch_size)
