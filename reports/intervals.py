"""How far a measured AP, or a weighted sum of several, is to be trusted: images and seeds.

    contrast    sum of weight x mean over seeds, with interval: a number, a difference, an effect
    difference  the contrast of two configurations, of the seeds that both have
    told_apart  which rows of a table are worse than its highest, all looked at at once

Shapes: S seeds, R resamples of the images, K rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
from scipy.special import stdtrit

from detector.metrics import HEADINGS
from reports.coco_bootstrap import SEED, Numbers, Scores

LEVEL = 0.95  # of every interval: numbers.SURE in words
LEAST_DEFINED = 0.95  # of the draws: an object of a size is on three images at least
MOST_DEGREES = 1e6  # of freedom: by then Student's t is the normal distribution
POWER = 0.8  # how often a difference that is called visible is seen


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A quantity in AP points with its interval, and the two sources of its spread.

    image_error, seed_error: standard errors from the sample of images and from that of seeds; the
    latter None with one seed, whose interval holds for these trained weights only.
    seed_degrees: degrees of freedom of seed_error; inf where that is known from elsewhere.
    """

    value: float
    low: float
    high: float
    image_error: float
    seed_error: float | None
    num_seeds: int
    num_images: int
    seed_degrees: float = inf

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def at(self, level: float = LEVEL) -> "Estimate":
        """A difference with its interval of another level, or of the errors that it now has."""
        reach = self._reach((1 + level) / 2)
        return replace(self, low=self.value - reach, high=self.value + reach)

    def visible(self, level: float = LEVEL) -> float:
        """The smallest difference from zero, in AP points, that these seeds and images could show.

        At this level, two-sided, in 80 % of all cases; it does not depend on the value observed.
        """
        return self._reach((1 + level) / 2) + self._reach(POWER)

    def _reach(self, share: float) -> float:
        """The quantile of the error of both sources together."""
        images, seeds = (error * error for error in (self.image_error, self.seed_error or 0.0))
        spread = seeds**2 / self.seed_degrees
        degrees = (images + seeds) ** 2 / spread if spread else inf
        return float(stdtrit(min(degrees, MOST_DEGREES), share)) * sqrt(images + seeds)


def contrast(
    parts: Sequence[tuple[float, Sequence[Scores]]], metric: str = "ap"
) -> Estimate | None:
    """Sum of weight x mean over a part's seeds, all on the same images; None if undefined.

    The images' error is the draws' standard deviation, the seeds' that of the parts' means, taken
    as independent; both together have Student's t (Satterthwaite, Biometrics Bull. 2, 110-114,
    1946). A number alone is moved down by the draws' mean less the value (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, ch. 10); docs/statistics.md says why.
    """
    found = [(weight, *its) for weight, part in parts if (its := _numbers(part, metric))]
    if not parts or len(found) < len(parts):
        return None
    value = float(sum(weight * values.mean() for weight, values, _ in found))
    draws = np.sum([weight * drawn.mean(axis=0) for weight, _, drawn in found], axis=0)  # [R]
    seed_error, degrees = _of_seeds([(weight, values) for weight, values, _ in found])
    estimate = Estimate(
        value=value,
        low=value,
        high=value,
        image_error=float(np.nanstd(draws, ddof=1)),
        seed_error=seed_error,
        num_seeds=min(len(runs) for _, runs in parts),
        num_images=parts[0][1][0].num_images,
        seed_degrees=degrees,
    ).at()
    if len(parts) > 1:
        return estimate
    ((weight, _, drawn),) = found
    bias = weight * float(np.nanmean(drawn)) - value
    return replace(estimate, low=estimate.low - bias, high=estimate.high - bias)


def difference(
    runs: Sequence[Scores], others: Sequence[Scores], metric: str = "ap"
) -> Estimate | None:
    """The runs' number minus the others', paired by image, of the seeds that both have, if any.

    None where the images are others. Equal seeds count as independent trainings: if they make both
    better or worse, the interval is rather too wide.
    """
    if len({run.images for run in (*runs, *others)}) > 1:
        return None
    shared = {run.seed for run in runs} & {run.seed for run in others}
    one, other = (
        [run for run in side if run.seed in shared or not shared] for side in (runs, others)
    )
    return contrast([(1, one), (-1, other)], metric)


def _numbers(runs: Sequence[Scores], metric: str) -> tuple[Numbers, Numbers] | None:
    """[S] and its draws [S, R]; None where a run has no such number, or too many draws without it.

    A draw that happens to have no object of the size tells nothing of the spread; it is left out.
    """
    values = [getattr(run.metrics, metric) for run in runs]
    column = list(HEADINGS).index(metric)
    draws = np.array([run.draws[:, column] for run in runs])
    if not values or None in values or np.isfinite(draws).all(axis=0).mean() < LEAST_DEFINED:
        return None
    return np.array(values), draws


def _of_seeds(parts: Sequence[tuple[float, Numbers]]) -> tuple[float | None, float]:
    """The standard error from the seeds and its degrees of freedom; None, inf with one seed."""
    if min(len(values) for _, values in parts) < 2:
        return None, inf
    variances = [weight**2 * float(each.var(ddof=1)) / len(each) for weight, each in parts]
    if not sum(variances):
        return 0.0, inf
    spread = sum(it**2 / (len(each) - 1) for it, (_, each) in zip(variances, parts, strict=True))
    return sqrt(sum(variances)), sum(variances) ** 2 / spread


def told_apart(runs: Sequence[Sequence[Scores]], metric: str) -> list[bool | None]:
    """Which rows of a table are worse than its highest, with all its rows looked at at once.

    runs: of each row, one per seed; equal rows count once. None: not known, because the row or the
    highest has no draws, or is of other images. The largest of all studentized differences of two
    rows has to be exceeded (Tukey's range, docs/statistics.md): by its distribution under the
    shared resamples, and normal seeds of one variance, pooled, with its own chi-square.
    """
    names = [tuple(run.signature for run in row) for row in runs]
    rows = dict(zip(names, runs, strict=True))
    numbers = {name: it for name, row in rows.items() if (it := _numbers(row, metric))}
    if len(numbers) < 2:
        return [None] * len(runs)
    top = max(numbers, key=lambda name: float(numbers[name][0].mean()))
    known = [name for name in numbers if rows[name][0].images == rows[top][0].images]
    is_worse = _are_worse([numbers[name] for name in known], known.index(top))
    found = dict(zip(known, is_worse, strict=True))
    return [found.get(name) for name in names]


def _are_worse(rows: Sequence[tuple[Numbers, Numbers]], top: int) -> list[bool]:
    """Of each row, [S] and [S, R], whether the top's lead over it is larger than chance's."""
    draws = np.array([drawn.mean(axis=0) for _, drawn in rows])
    draws = draws[:, np.isfinite(draws).all(axis=0)]  # [K, R]
    counts = np.array([len(values) for values, _ in rows])
    degrees = int((counts - 1).sum())
    squares = sum(float(values.var(ddof=0)) * len(values) for values, _ in rows)
    of_seeds = squares / degrees / counts if degrees else np.zeros(len(rows))  # [K], variances
    random = np.random.default_rng(SEED)
    seeds = random.normal(size=draws.shape) * np.sqrt(of_seeds)[:, None]
    scale = random.chisquare(degrees, draws.shape[1]) / degrees if degrees else 1.0
    moved = draws - draws.mean(axis=1, keepdims=True) + seeds
    largest = np.zeros(draws.shape[1])  # [R]
    errors = np.zeros(len(rows))  # of the top's lead over each
    for one in range(len(rows)):  # against each of the others, or memory would not hold a search
        of_images = (draws - draws[one]).var(axis=1, ddof=1)  # [K]
        both = np.where(np.arange(len(rows)) == one, 0.0, of_seeds + of_seeds[one])
        spread = np.sqrt(of_images[:, None] + both[:, None] * scale)  # [K, R]
        size = np.abs(moved - moved[one])
        ratio = np.divide(size, spread, out=np.zeros_like(size), where=spread > 0)
        largest = np.maximum(largest, ratio.max(axis=0))
        if one == top:
            errors = np.sqrt(of_images + both)
    limit = np.quantile(largest, LEVEL)
    means = np.array([values.mean() for values, _ in rows])
    return [bool(it) for it in means[top] - means > limit * errors]
