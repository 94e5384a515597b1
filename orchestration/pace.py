"""How fast a run trains and tests, and after which steps it tests."""

from dataclasses import astuple, dataclass

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
    """Wall time in seconds, and what was done in it; "spent" of result.json."""

    training: float = 0.0
    steps: int = 0
    testing: float = 0.0
    images: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

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
