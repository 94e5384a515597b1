"""How far a measured AP, or the difference of two, is to be trusted: images and seeds.

Shapes: R resamples of the images; the last axis holds the six fields of Metrics, in their order.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isinf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from detector.evaluation.match_records import Matches
from detector.metrics import HEADINGS, Metrics
from reports.resampling import RESAMPLES, Numbers, image_weights, metrics_of

LEVEL = 0.95  # of every interval
VERSION = 1  # of the draws; raised when they are drawn or computed in another way
MOST_DEGREES = 1e6  # of freedom: by then Student's t is the normal distribution
MOST_SEEDS = 1000
FACTORS = 2 ** np.arange(-8, 16, 0.125)  # of the number of images


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """One run's six numbers, and what they would be for resampled images.

    draws [R, 6]: percent, NaN where undefined. The r-th draw of two runs on the same images is of
    the same resample, so differences are paired.
    """

    signature: str
    seed: int
    metrics: Metrics
    draws: NDArray[np.float64]
    images: str  # digest of the images' ids: only draws of the same images are paired
    num_images: int

    @property
    def digest(self) -> str:
        """Of the draws, by which two files of them are told apart."""
        return hashlib.sha256(np.ascontiguousarray(self.draws, "<f8").tobytes()).hexdigest()


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


@dataclass(frozen=True)
class Needed:
    """What would tell a difference apart: seeds of each with the images that are there, or images
    with the seeds that are there. None where no number would, as the other source is too large.

    visible: the least difference that can be told from zero with what is there, in AP points.
    """

    seeds: int | None
    images: int | None
    visible: float


def score(signature: str, seed: int, metrics: Metrics, matches: Matches) -> Scores:
    """A run's six numbers under resampled images."""
    num_images = len(matches.image_ids)
    return Scores(
        signature=signature,
        seed=seed,
        metrics=metrics,
        draws=metrics_of(matches, image_weights(num_images, RESAMPLES)),
        images=digest_of_images(matches),
        num_images=num_images,
    )


def digest_of_images(matches: Matches) -> str:
    """Equal for runs that were tested on the same images, in one order."""
    return hashlib.sha256(matches.image_ids.astype("<i8").tobytes()).hexdigest()


def save_scores(scores: Scores, path: Path, *, source: str) -> None:
    """Write the draws as NumPy's archive. source: digest of the matches they are made of."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            version=VERSION,
            source=source,
            draws=scores.draws,
            images=scores.images,
            num_images=scores.num_images,
        )


def load_scores(path: Path, signature: str, seed: int, metrics: Metrics, *, source: str) -> Scores:
    """The inverse of save_scores; ValueError for draws made of other matches, or differently."""
    try:
        with np.load(path, allow_pickle=False) as content:
            if int(content["version"]) != VERSION or str(content["source"]) != source:
                raise ValueError("they are made of other matches, or in another way")
            return Scores(
                signature=signature,
                seed=seed,
                metrics=metrics,
                draws=content["draws"],
                images=str(content["images"]),
                num_images=int(content["num_images"]),
            )
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} has no draws of this run: {error}") from error


def estimate(runs: Sequence[Scores], metric: str, *, level: float = LEVEL) -> Estimate | None:
    """One configuration's number over its seeds; None where it or its spread is undefined.

    AP exceeds that of all images there could be, the more so the fewer there are, and resamples
    exceed it by about as much once more: so the interval is moved down by the draws' mean less the
    value (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 10). In differences that
    cancels.
    """
    side = _side(runs, metric)
    if side is None:
        return None
    found = _combined([side], runs[0].num_images, level)
    bias = float(side.draws.mean()) - found.value
    return replace(found, low=found.low - bias, high=found.high - bias)


def difference(
    runs: Sequence[Scores], others: Sequence[Scores], metric: str, *, level: float = LEVEL
) -> Estimate | None:
    """The runs' number minus the others', paired by image, of the seeds that both have.

    Where they share no seed, all are taken. The same seed in two configurations counts as two
    independent trainings: if it makes both better or worse, the interval is rather too wide.
    None where the number or its spread is undefined, or the images are others.
    """
    if not runs or not others or len({run.images for run in (*runs, *others)}) > 1:
        return None
    shared = {run.seed for run in runs} & {run.seed for run in others}
    one, other = (
        _side([run for run in side if run.seed in shared or not shared], metric)
        for side in (runs, others)
    )
    if one is None or other is None:
        return None
    return _combined([one, -other], runs[0].num_images, level)


def interval(
    values: Sequence[float], draws: Numbers, num_images: int, level: float = LEVEL
) -> Estimate:
    """Of a quantity with one value for each seed; draws [S, R]: the same for resampled images."""
    return _combined([_Side(np.array(values), draws)], num_images, level)


@dataclass(frozen=True, eq=False)
class _Side:
    """A quantity with every seed: its value [S], and its draws [S, R]."""

    values: Numbers
    draws: Numbers

    def __neg__(self) -> "_Side":
        return _Side(-self.values, -self.draws)


def _side(runs: Sequence[Scores], metric: str) -> _Side | None:
    """None where a run has no such number, or draws without it.

    A draw without any object of the size comes of fewer than about seven images that hold one: too
    few to tell a spread.
    """
    values = [getattr(run.metrics, metric) for run in runs]
    column = list(HEADINGS).index(metric)
    draws = np.array([run.draws[:, column] for run in runs])
    if not values or None in values or not np.isfinite(draws).all():
        return None
    return _Side(np.array(values), draws)


def _combined(sides: Sequence[_Side], num_images: int, level: float) -> Estimate:
    """The sum of the sides, whose seeds are independent of each other.

    The error of the images is the standard deviation of the draws, meaned over seeds; that of the
    seeds is the standard error of a mean of S values. Both are taken together with Student's t,
    whose degrees of freedom are Satterthwaite's (Biometrics Bull. 2, 110-114, 1946). Seeds differ
    also because they fail on different images, which the draws show as well: that counts twice,
    and makes the interval rather too wide than too narrow.
    """
    value = float(sum(side.values.mean() for side in sides))
    draws = np.sum([side.draws.mean(axis=0) for side in sides], axis=0)
    image_error = float(draws.std(ddof=1))
    seed_error, degrees = _of_seeds(sides)
    reach = float(_reach(image_error, seed_error or 0.0, degrees, (1 + level) / 2))
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        image_error=image_error,
        seed_error=seed_error,
        num_seeds=min(len(side.values) for side in sides),
        num_images=num_images,
        seed_degrees=degrees,
    )


def _of_seeds(sides: Sequence[_Side]) -> tuple[float | None, float]:
    """The standard error from the seeds and its degrees of freedom; None, inf with one seed."""
    numbers = [len(side.values) for side in sides]
    if min(numbers) < 2:
        return None, inf
    parts = [float(side.values.var(ddof=1)) / len(side.values) for side in sides]
    if not sum(parts):
        return 0.0, inf
    spread = sum(part**2 / (number - 1) for part, number in zip(parts, numbers, strict=True))
    return sqrt(sum(parts)), sum(parts) ** 2 / spread


def _reach(image_error: Any, seed_error: Any, seed_degrees: Any, share: float) -> Any:
    """The quantile of the error of both sources together; numbers, or arrays of them."""
    images, seeds = np.square(image_error), np.square(seed_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.where(seeds > 0, (images + seeds) ** 2 / (seeds**2 / seed_degrees), inf)
    return stdtrit(np.minimum(degrees, MOST_DEGREES), share) * np.sqrt(images + seeds)


def needed(estimate: Estimate, effect: float | None = None) -> Needed | None:
    """What would tell this effect, by default the value, from zero; None where it is zero.

    At 5 %, two-sided, in 80 % of all cases: where the effect is the sum of both quantiles.
    """
    effect = abs(estimate.value if effect is None else effect)
    if effect == 0:
        return None
    error, seeds_error = estimate.image_error, estimate.seed_error or 0.0
    least = 1 if isinf(estimate.seed_degrees) else 2  # two, where they have to tell their spread
    seeds = np.arange(least, MOST_SEEDS + 1)
    degrees = estimate.seed_degrees / max(estimate.num_seeds - 1, 1) * np.maximum(seeds - 1, 1)
    with_seeds = _visible(error, seeds_error * np.sqrt(estimate.num_seeds / seeds), degrees)
    images = estimate.num_images * FACTORS
    with_images = _visible(error / np.sqrt(FACTORS), seeds_error, estimate.seed_degrees)
    return Needed(
        seeds=_first(seeds, with_seeds <= effect) if estimate.seed_error is not None else None,
        images=_first(images, with_images <= effect),
        visible=float(_visible(error, seeds_error, estimate.seed_degrees)),
    )


def _visible(image_error: Any, seed_error: Any, seed_degrees: Any) -> Any:
    return sum(_reach(image_error, seed_error, seed_degrees, share) for share in (0.975, 0.8))


def _first(numbers: NDArray[Any], is_enough: NDArray[np.bool_]) -> int | None:
    places = np.flatnonzero(is_enough)
    return ceil(numbers[places[0]]) if len(places) else None
