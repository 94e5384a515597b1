"""Intervals: what they are made of, by hand, and how often they hold the truth."""

from dataclasses import replace
from math import hypot, inf, sqrt

import numpy as np
import pytest
from scipy.stats import t

from detector.metrics import Metrics
from reports.coco_bootstrap import Scores
from reports.intervals import Estimate, contrast, difference, told_apart

RESAMPLES = 400


def noise(number: int) -> np.ndarray:
    """[R] of mean 0 and standard deviation 1, exactly."""
    drawn = np.random.default_rng(number).normal(size=RESAMPLES)
    return (drawn - drawn.mean()) / drawn.std(ddof=1)


def run(seed: int, ap: float | None, draws: np.ndarray | None = None, images: str = "a") -> Scores:
    """A run whose six numbers are all the same; without draws, so is every resample."""
    drawn = np.full(RESAMPLES, ap) if draws is None else draws
    six = np.repeat(drawn[:, None], 6, axis=1)
    return Scores(f"{seed}", seed, Metrics(*[ap] * 6), six, images, 1000)


def runs(aps: dict[int, float], draws: np.ndarray | float = 0.0) -> list[Scores]:
    """Seed -> AP; draws: what the resamples do to all of them."""
    return [run(seed, ap, ap + draws + np.zeros(RESAMPLES)) for seed, ap in aps.items()]


def alone(runs: list[Scores], metric: str = "ap") -> Estimate | None:
    """One configuration's number."""
    return contrast([(1, runs)], metric)


N0, N1 = noise(0), noise(1)
EXPECTED = {  # value, errors of the images and of the seeds, degrees of freedom in all
    "one seed: the images alone": (alone(runs({0: 30.0}, 0.5 * N0)), 30, 0.5, None, inf),
    "what images do to both cancels in a difference": (
        difference(runs({0: 31.0}, 2 * N0 + 0.1 * N1), runs({0: 30.0}, 2 * N0)),
        *(1, 0.1, None, inf),
    ),
    "variances 2 and 8, each of a mean of two: 1 + 4; Satterthwaite: 5^2 / (1 + 16)": (
        difference(runs({1: 33.0, 0: 31.0}), runs({0: 28.0, 1: 32.0})),
        *(2, 0, sqrt(5), 25 / 17),
    ),
    "no seed is shared, so all are taken: 1 + 1/4; 1.25^2 / (1 + 1/16)": (
        difference(runs({0: 10.0, 1: 12.0}), runs({2: 5.0, 3: 6.0})),
        *(5.5, 0, sqrt(1.25), 1.25**2 / (1 + 1 / 16)),
    ),
    "a seed that only one has is left out: 1/4 of two, and nothing; one degree of freedom": (
        difference(runs({0: 9.0, 1: 31.0, 2: 32.0}), runs({1: 29.0, 2: 29.0, 5: 2.0})),
        *(2.5, 0, 0.5, 1),
    ),
    "both sources: images 0.09; seeds 0.04 of three; 0.10333^2 / (0.01333^2 / 2)": (
        alone(runs({0: 31.0, 1: 31.4, 2: 31.2}, 0.3 * N0)),
        *(31.2, 0.3, sqrt(0.04 / 3), 120.1),
    ),
    "seeds known from two degrees of freedom elsewhere, hardly": (
        replace(difference(runs({0: 3.0}), runs({0: 2.0})), seed_error=0.1, seed_degrees=2).at(),
        *(1, 0, 0.1, 2),
    ),
    "weights: images 0.5 x 1 - 2 x 0.1; seeds 0.5^2 x 1 + 2^2 x 0.25; 1.25^2 / (1 + 1/16)": (
        contrast([(0.5, runs({0: 10.0, 1: 12.0}, N0)), (-2, runs({0: 5, 1: 6}, N0 / 10))]),
        *(-5.5, 0.3, sqrt(1.25), (1.25 + 0.09) ** 2 / (1 + 1 / 16)),
    ),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_an_interval_is_made_of_images_and_seeds(case):
    """Also at other levels; and what is visible is seen in 80 % of all cases."""
    found, value, image_error, seed_error, degrees = EXPECTED[case]
    assert found.num_images == 1000
    assert (found.value, found.image_error) == pytest.approx((value, image_error))
    assert found.seed_error == (None if seed_error is None else pytest.approx(seed_error))
    error = hypot(image_error, seed_error or 0)
    reach = {share: t.ppf(share, degrees) * error for share in (0.8, 0.9, 0.975)}
    for estimate, share in ((found, 0.975), (found.at(0.95), 0.975), (found.at(0.8), 0.9)):
        ends = (value - reach[share], value + reach[share])
        assert (estimate.low, estimate.high) == pytest.approx(ends, rel=1e-3)
        assert found.visible(2 * share - 1) == pytest.approx(reach[share] + reach[0.8], rel=1e-3)
    assert found.excludes_zero == (abs(value) > reach[0.975])
    assert replace(found, value=9.0).visible() == found.visible()


def test_draws_that_are_too_high_on_average_move_the_interval_down():
    found = alone([run(0, 30.0, 30.4 + 0.5 * N0)])
    assert found.value == 30
    assert (found.low + found.high) / 2 == pytest.approx(29.6)


def test_there_is_no_estimate_of_what_is_undefined_or_of_other_images():
    """An undefined sample, without an object of that size, voids nothing; many do."""
    draws, other = 30 + N0, [run(0, 30.0, 30 + N1)]
    for undefined, is_known in ((1, True), (RESAMPLES // 10, False)):
        draws[:undefined] = np.nan
        found = alone([run(0, 30.0, draws)], "ap_l")
        assert (found is not None and found.image_error == pytest.approx(1, rel=0.02)) == is_known
        assert (difference([run(0, 30.0, draws)], other, "ap_l") is not None) == is_known
    nothing, known = [run(0, None, np.full(RESAMPLES, np.nan))], runs({0: 1.0})
    assert alone(nothing, "ap_s") is None and alone([]) is None
    for others in (nothing, [], [run(0, 1, images="b")]):
        assert difference(known, others) is difference(others, known) is None


def scattered_run(number: int, ap: float, seed: int = 0) -> Scores:
    """A run whose draws share what the images do, and have noise of their own."""
    shared = np.random.default_rng(99).normal(0, 2, RESAMPLES)
    own = np.random.default_rng([number, seed]).normal(0, 1.0, RESAMPLES)
    return replace(run(seed, ap, ap + shared + own), signature=f"{number}-{seed}")


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_of_nine_equal_rows_hardly_a_table_has_one_that_is_worse(num_seeds):
    """One by one against the selected highest it would be 58 % of such tables with one seed."""
    random = np.random.default_rng(num_seeds)
    spread = sqrt(2.0 if num_seeds > 1 else 1.0)  # of the images, and of the seeds
    wrong = 0
    for _ in range(150):
        rows = [
            [scattered_run(number, float(ap), seed) for seed, ap in enumerate(row)]
            for number, row in enumerate(random.normal(40, spread, (9, num_seeds)))
        ]
        wrong += any(told_apart(rows, "ap"))
    assert wrong <= 16  # of 5 %, so many or more come in 1 of 1,000 samples


def test_a_row_that_is_far_worse_is_told_apart_and_an_unknown_one_is_not():
    far, near, top = ([scattered_run(n, ap)] for n, ap in enumerate((30.0, 39.9, 40.0)))
    undefined = [replace(top[0], signature="u", draws=np.full((RESAMPLES, 6), np.nan))]
    elsewhere = [replace(far[0], signature="e", images="b")]
    rows = [far, near, top, [], undefined, elsewhere, far]
    assert told_apart(rows, "ap") == [True, False, False, None, None, None, True]
    assert told_apart([far, []], "ap") == [None, None]
