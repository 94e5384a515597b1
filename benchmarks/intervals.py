"""Ways to make an interval of bootstrap draws, for comparison with that of the reports."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

TAILS = (0.025, 0.975)
NORMAL = 1.96
Draws = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Sample:
    """One quantity, of a sample of images: its value, bootstrap draws [R], jackknife values [B]."""

    value: float
    draws: Draws
    left_out: Draws

    def minus(self, other: "Sample") -> "Sample":
        return Sample(
            self.value - other.value, self.draws - other.draws, self.left_out - other.left_out
        )


def percentile(sample: Sample) -> Interval:
    """Of the draws as they are (Efron & Tibshirani 1993, ch. 13)."""
    low, high = np.nanquantile(sample.draws, TAILS)
    return low, high


def basic(sample: Sample) -> Interval:
    """The percentiles, reflected at the value (Davison & Hinkley 1997, sec. 5.2)."""
    low, high = percentile(sample)
    return 2 * sample.value - high, 2 * sample.value - low


def centered(sample: Sample) -> Interval:
    """The percentiles, moved so that the draws' mean is the value."""
    low, high = percentile(sample)
    bias = np.nanmean(sample.draws) - sample.value
    return low - bias, high - bias


def normal(sample: Sample) -> Interval:
    """Value and standard error."""
    reach = NORMAL * np.nanstd(sample.draws, ddof=1)
    return sample.value - reach, sample.value + reach


def unbiased(sample: Sample) -> Interval:
    """Standard error, around the value less the bias that the draws show."""
    bias = np.nanmean(sample.draws) - sample.value
    low, high = normal(sample)
    return low - bias, high - bias


def bca(sample: Sample) -> Interval:
    """Bias-corrected and accelerated (Efron 1987); acceleration by a jackknife over blocks."""
    draws = sample.draws[~np.isnan(sample.draws)]
    share = (np.mean(draws < sample.value) + np.mean(draws <= sample.value)) / 2
    bias = ndtri(np.clip(share, 1 / len(draws), 1 - 1 / len(draws)))
    away = np.nanmean(sample.left_out) - sample.left_out
    scale = np.nansum(away**2) ** 1.5
    acceleration = np.nansum(away**3) / (6 * scale) if scale else 0.0
    z = bias + ndtri(np.array(TAILS))
    low, high = np.quantile(draws, ndtr(bias + z / (1 - acceleration * z)))
    return low, high


METHODS: dict[str, Callable[[Sample], Interval]] = {
    method.__name__: method for method in (percentile, basic, centered, normal, unbiased, bca)
}
