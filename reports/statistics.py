"""How far a measured AP, or the difference of two, is to be trusted: images and seeds.

Shapes: R resamples of the images; the last axis holds the six fields of Metrics, in their order.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from detector.evaluation.match_records import Matches
from detector.metrics import HEADINGS, Metrics
from reports.resampling import RESAMPLES, SEED, Numbers, image_weights, metrics_of

LEVEL = 0.95  # of every interval
LEAST_DEFINED = 0.95  # of the draws: an object of a size is on three images at least
VERSION = 1  # of the draws; raised when they are drawn or computed in another way
MOST_DEGREES = 1e6  # of freedom: by then Student's t is the normal distribution
POWER = 0.8  # how often a difference that is called visible is seen


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
    bias = float(np.nanmean(side.draws)) - found.value
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


def contrast(
    weights: Sequence[float] | Numbers,
    runs: Sequence[Scores],
    metric: str,
    seed_error: float | None,
    degrees: float,
) -> Estimate | None:
    """A weighted sum of runs on the same images, such as a factorial effect, with its interval.

    seed_error: its standard error from the seeds, with so many degrees of freedom; None: unknown,
    so the interval is of these trained weights. None where a number or its spread is undefined.
    """
    side = _side(runs, metric)
    if side is None:
        return None
    value = float(np.asarray(weights) @ side.values)
    image_error = float(np.nanstd(np.asarray(weights) @ side.draws, ddof=1))
    reach = float(_reach(image_error, seed_error or 0.0, degrees or inf, (1 + LEVEL) / 2))
    return Estimate(
        value=value,
        low=value - reach,
        high=value + reach,
        image_error=image_error,
        seed_error=seed_error,
        num_seeds=len({run.seed for run in runs}),
        num_images=runs[0].num_images,
        seed_degrees=degrees or inf,
    )


def with_seed_error(
    found: Estimate, seed_error: float, degrees: float, *, level: float = LEVEL
) -> Estimate:
    """An estimate from one seed, with a spread of seeds that is known from elsewhere.

    degrees: of freedom, of whoever measured it: from three runs a standard deviation is hardly
    known, and Student's t says by how much.
    """
    reach = float(_reach(found.image_error, seed_error, degrees, (1 + level) / 2))
    low, high = found.value - reach, found.value + reach
    return replace(found, low=low, high=high, seed_error=seed_error, seed_degrees=degrees)


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
    """None where a run has no such number, or too many draws without it.

    A draw that happens to have no object of the size tells nothing of the spread; it is left out.
    """
    values = [getattr(run.metrics, metric) for run in runs]
    column = list(HEADINGS).index(metric)
    draws = np.array([run.draws[:, column] for run in runs])
    if not values or None in values or np.isfinite(draws).all(axis=0).mean() < LEAST_DEFINED:
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
    image_error = float(np.nanstd(draws, ddof=1))
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


def visible(estimate: Estimate, level: float = LEVEL) -> float:
    """The smallest difference from zero, in AP points, that these seeds and images could show.

    At this level, two-sided, in 80 % of all cases: where it is the sum of both quantiles. Nothing
    is taken from the difference that was observed, which is no better known than the true one.
    """
    errors = estimate.image_error, estimate.seed_error or 0.0, estimate.seed_degrees
    return float(sum(_reach(*errors, share) for share in ((1 + level) / 2, POWER)))


def told_apart(
    runs: Sequence[Sequence[Scores]], metric: str, *, level: float = LEVEL
) -> list[bool | None]:
    """Which rows of a table are worse than its highest, with all its rows looked at at once.

    runs: of each row, one per seed; equal rows count once. None: not known, because the row or the
    highest has no draws, or is of other images. Whatever the rows, in at most 5 % of tables does a
    row count as worse that is not: the largest of all studentized differences of two rows has to
    be exceeded (Tukey's range, by its distribution under the shared resamples of the images, and
    normal seeds of one variance, which is pooled over the rows and has its own chi-square).
    """
    sides = {name: _side(row, metric) for row in runs if (name := _names(row))}
    means = {name: side.values.mean() for name, side in sides.items() if side is not None}
    if len(means) < 2:
        return [None] * len(runs)
    images = {_names(row): row[0].images for row in runs if row}
    top = max(means, key=lambda name: float(means[name]))
    known = [name for name in means if images[name] == images[top]]
    found = [side for name in known if (side := sides[name]) is not None]
    gaps, errors, highest = _range(found, known.index(top))
    limit = np.quantile(highest, level)
    worse = dict(zip(known, (gaps > limit * errors).tolist(), strict=True))
    return [worse.get(_names(row)) for row in runs]


def _names(runs: Sequence[Scores]) -> tuple[str, ...]:
    return tuple(run.signature for run in runs)


def _range(sides: Sequence[_Side], top: int) -> tuple[Numbers, Numbers, Numbers]:
    """Of K rows: the highest's lead over each [K], its error [K], the largest studentized
    difference of any two under each resample [R]."""
    draws = np.array([side.draws.mean(axis=0) for side in sides])
    draws = draws[:, np.isfinite(draws).all(axis=0)]  # [K, R]
    numbers = np.array([len(side.values) for side in sides])
    degrees = int((numbers - 1).sum())
    squares = sum(float(side.values.var(ddof=0)) * len(side.values) for side in sides)
    of_seeds = squares / degrees / numbers if degrees else np.zeros(len(sides))  # [K]
    random = np.random.default_rng(SEED)
    seeds = random.normal(size=draws.shape) * np.sqrt(of_seeds)[:, None]
    scale = random.chisquare(degrees, draws.shape[1]) / degrees if degrees else 1.0
    moved = draws - draws.mean(axis=1, keepdims=True) + seeds
    highest = np.zeros(draws.shape[1])
    errors = np.zeros(len(sides))
    for one in range(len(sides)):
        images = (draws - draws[one]).var(axis=1, ddof=1)  # [K]
        both = np.where(np.arange(len(sides)) == one, 0.0, of_seeds + of_seeds[one])
        spread = np.sqrt(images[:, None] + both[:, None] * scale)  # [K, R]
        size = np.abs(moved - moved[one])
        ratio = np.divide(size, spread, out=np.zeros_like(size), where=spread > 0)
        highest = np.maximum(highest, ratio.max(axis=0))
        if one == top:
            errors = np.sqrt(images + both)
    means = np.array([side.values.mean() for side in sides])
    return means[top] - means, errors, highest
