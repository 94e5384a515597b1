"""Intervals: what they are made of, by hand; and that they are kept beside the results."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_results import make_bundle, with_scores

from detector.metrics import HEADINGS, Metrics
from reports.coco_bootstrap import Scores, load_scores, save_scores
from reports.intervals import (
    Estimate,
    contrast,
    difference,
    estimate,
    told_apart,
    visible,
)
from reports.results import Bundle, load_bundle, save_bundle

RESAMPLES = 400


def noise(number: int) -> np.ndarray:
    """[R] of mean 0 and standard deviation 1, exactly."""
    drawn = np.random.default_rng(number).normal(size=RESAMPLES)
    return (drawn - drawn.mean()) / drawn.std(ddof=1)


def run(seed: int, ap: float | None, draws: np.ndarray, images: str = "a") -> Scores:
    """A run whose six numbers are all the same."""
    return Scores(
        signature=f"{seed}",
        seed=seed,
        metrics=Metrics(*[ap] * 6),
        draws=np.repeat(draws[:, None], 6, axis=1),
        images=images,
        num_images=1000,
    )


def t_quantile(share: float, degrees: float) -> float:
    """Student's, by adding up its density: the plain way."""
    scale = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    total, x, step = 0.5, 0.0, 1e-4
    while total < share:
        middle = x + step / 2
        total += step * scale * (1 + middle * middle / degrees) ** (-(degrees + 1) / 2)
        x += step
    return x


def test_with_one_seed_the_interval_is_of_the_images_alone() -> None:
    found = estimate([run(0, 30.0, 30 + 0.5 * noise(0))], "ap")
    assert found is not None
    assert (found.value, found.seed_error) == (30.0, None)
    assert (found.num_seeds, found.num_images) == (1, 1000)
    assert found.image_error == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((30 - 0.98, 30 + 0.98), abs=1e-4)  # 1.96 x 0.5


def test_draws_that_are_too_high_on_average_move_the_interval_down() -> None:
    found = estimate([run(0, 30.0, 30.4 + 0.5 * noise(0))], "ap_s")
    assert found is not None and found.value == 30
    assert (found.low + found.high) / 2 == pytest.approx(29.6)
    assert found.high - found.low == pytest.approx(1.96, abs=1e-4)
    change = difference([run(0, 30.0, 30.4 + noise(0))], [run(0, 28.0, 28.1 + noise(1))], "ap")
    assert change is not None and (change.low + change.high) / 2 == pytest.approx(2)


def test_what_images_do_to_both_cancels_in_their_difference() -> None:
    shared = 2.0 * noise(0)
    one, other = run(0, 31.0, 31 + shared), run(0, 30.0, 30 + shared + 0.1 * noise(1))
    found = difference([one], [other], "ap")
    assert found is not None
    assert found.value == 1
    assert found.image_error == pytest.approx(0.1)
    assert found.excludes_zero
    turned = difference([other], [one], "ap")
    assert turned is not None
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_the_spread_of_seeds_has_students_t() -> None:
    """Variances 2 and 8, each of a mean of two: 1 + 4; Satterthwaite: 5^2 / (1 + 16)."""
    ones = [run(seed, ap, np.full(RESAMPLES, ap)) for seed, ap in ((1, 33.0), (0, 31.0))]
    others = [run(seed, ap, np.full(RESAMPLES, ap)) for seed, ap in ((0, 28.0), (1, 32.0))]
    found = difference(ones, others, "ap")
    assert found is not None
    assert (found.value, found.image_error) == pytest.approx((2, 0))
    assert found.seed_error == pytest.approx(math.sqrt(5))
    assert found.seed_degrees == pytest.approx(25 / 17)
    reach = t_quantile(0.975, 25 / 17) * math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach), rel=1e-3)
    assert not found.excludes_zero


def test_a_seed_that_only_one_has_is_left_out() -> None:
    ones = [run(seed, 30.0 + seed, 30 + seed + noise(seed)) for seed in (0, 1, 2)]
    others = [run(seed, 29.0, 29 + noise(9)) for seed in (1, 2, 5)]
    found = difference(ones, others, "ap")
    assert found is not None
    assert (found.value, found.num_seeds) == (pytest.approx(2.5), 2)  # of the seeds 1 and 2


def test_where_no_seed_is_shared_all_are_taken() -> None:
    """Variances 2 and 1/2, each of a mean of two: 1 + 1/4; Satterthwaite: 1.25^2 / (1 + 1/16)."""
    ones = [run(seed, ap, np.full(RESAMPLES, ap)) for seed, ap in ((0, 10.0), (1, 12.0))]
    others = [run(seed, ap, np.full(RESAMPLES, ap)) for seed, ap in ((2, 5.0), (3, 6.0))]
    found = difference(ones, others, "ap")
    assert found is not None
    assert (found.value, found.seed_error) == pytest.approx((5.5, math.sqrt(1.25)))
    assert found.seed_degrees == pytest.approx(1.25**2 / (1 + 1 / 16))
    reach = t_quantile(0.975, found.seed_degrees) * math.sqrt(1.25)
    assert (found.low, found.high) == pytest.approx((5.5 - reach, 5.5 + reach), rel=1e-3)


def test_both_sources_are_taken_together() -> None:
    """Images 0.3; seeds: variance 0.04 of three, 0.01333; 0.10333^2 / (0.01333^2 / 2) = 120."""
    shared = 0.3 * noise(0)
    runs = [run(seed, ap, ap + shared) for seed, ap in ((0, 31.0), (1, 31.4), (2, 31.2))]
    found = estimate(runs, "ap")
    assert found is not None
    assert found.value == pytest.approx(31.2)
    assert (found.image_error, found.seed_error) == pytest.approx((0.3, math.sqrt(0.04 / 3)))
    reach = 1.9799 * math.sqrt(0.09 + 0.04 / 3)  # t of 120 degrees of freedom
    assert (found.low, found.high) == pytest.approx((31.2 - reach, 31.2 + reach), abs=1e-4)


def test_the_level_widens_the_interval() -> None:
    runs = [run(0, 30.0, 30 + noise(0))]
    usual, sure = estimate(runs, "ap"), estimate(runs, "ap", level=0.99)
    assert usual is not None and sure is not None
    assert (sure.high - sure.low) / (usual.high - usual.low) == pytest.approx(
        2.5758 / 1.96, abs=1e-4
    )


def test_an_undefined_sample_voids_nothing_but_many_leave_the_spread_unknown() -> None:
    draws = 30 + noise(0)
    whole = estimate([run(0, 30.0, draws)], "ap_l")
    draws[0] = np.nan  # a sample without an object of that size
    found = estimate([run(0, 30.0, draws)], "ap_l")
    assert found is not None and whole is not None
    assert found.image_error == pytest.approx(whole.image_error, rel=0.02)
    assert difference([run(0, 30.0, draws)], [run(0, 30.0, 30 + noise(1))], "ap_l") is not None
    draws[: RESAMPLES // 10] = np.nan
    assert estimate([run(0, 30.0, draws)], "ap_l") is None
    assert difference([run(0, 30.0, draws)], [run(0, 30.0, 30 + noise(1))], "ap_l") is None


def test_there_is_no_estimate_of_what_is_undefined_or_of_other_images() -> None:
    runs = [run(0, None, np.full(RESAMPLES, np.nan))]
    known = [run(0, 1.0, np.ones(RESAMPLES))]
    assert estimate(runs, "ap_s") is None and estimate([], "ap") is None
    assert difference(runs, known, "ap") is None and difference(known, runs, "ap") is None
    assert difference(known, [], "ap") is None
    assert difference(known, [run(0, 1.0, np.ones(RESAMPLES), images="b")], "ap") is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """A mean over 60 images, of three seeds that have their own level and fail on their own."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        images = random.normal(0, 1, 60)
        values = images + random.normal(0, 0.1, (3, 1)) + random.normal(0, 0.3, (3, 60))
        picked = random.integers(0, 60, (150, 60))
        means, draws = values.mean(axis=1), values[:, picked].mean(axis=2)
        runs = [run(seed, float(mean), draws[seed]) for seed, mean in enumerate(means)]
        found = contrast([(1, runs)])
        held += found is not None and found.low <= 0 <= found.high
    assert 0.92 <= held / 400 <= 0.98  # four standard errors around 0.95 are 0.906 to 0.994


NORMAL = 1.95996 + 0.84162  # quantiles of 97.5 and 80 %


def made(image_error: float, seed_error: float | None, seeds: int, degrees: float) -> Estimate:
    return Estimate(
        value=0.5,
        low=0,
        high=1,
        image_error=image_error,
        seed_error=seed_error,
        num_seeds=seeds,
        num_images=1000,
        seed_degrees=degrees,
    )


def test_what_is_visible_depends_on_the_errors_and_not_on_what_was_observed() -> None:
    assert visible(made(0.3, None, 1, math.inf)) == pytest.approx(NORMAL * 0.3, abs=1e-4)
    # 0.2 x (t of 2 at 97.5 % + t of 2 at 80 %)
    estimated = made(0.0, 0.2, 3, 2)
    assert visible(estimated) == pytest.approx((4.302653 + 1.060660) * 0.2, abs=1e-4)
    assert visible(replace(estimated, value=9.0)) == visible(estimated)
    assert visible(estimated, 0.99) > visible(estimated)


def test_the_spread_of_three_published_reruns_is_hardly_known() -> None:
    """Student's t of two degrees of freedom: 4.30 standard errors, where a normal has 1.96."""
    sides = [run(0, 3.0, np.full(RESAMPLES, 3.0))], [run(0, 2.0, np.full(RESAMPLES, 2.0))]
    found = difference(*sides, "ap", seeds=(0.1, 2))
    assert found is not None and (found.seed_error, found.seed_degrees) == (0.1, 2)
    assert (found.low, found.high) == pytest.approx((1 - 0.4303, 1 + 0.4303), abs=1e-4)
    with_images = difference([run(0, 3.0, 3 + 0.1 * noise(0))], sides[1], "ap", seeds=(0.1, 2))
    assert with_images is not None and 0.14 * 1.96 < with_images.high - 1 < 0.14 * 4.3


def test_a_contrast_is_a_weighted_sum_of_means_over_seeds() -> None:
    """Images 0.5 x 1 and 2 x 0.1; seeds: 0.5^2 x 2 / 2 + 2^2 x 0.5 / 2 = 1.25."""
    one = [run(seed, ap, ap + noise(0)) for seed, ap in ((0, 10.0), (1, 12.0))]
    other = [run(seed, ap, ap + 0.1 * noise(0)) for seed, ap in ((0, 5.0), (1, 6.0))]
    found = contrast([(0.5, one), (-2, other)])
    assert found is not None and found.value == 0.5 * 11 - 2 * 5.5
    assert found.image_error == pytest.approx(0.5 - 0.2)
    assert found.seed_error == pytest.approx(math.sqrt(1.25))
    assert (found.num_seeds, found.num_images) == (2, 1000)


def scattered_run(number: int, ap: float, *, seed: int = 0, noise: float = 1.0) -> Scores:
    """A run whose draws share what the images do, and have noise of their own."""
    shared = np.random.default_rng(99).normal(0, 2, (RESAMPLES, 6))
    own = np.random.default_rng([number, seed]).normal(0, noise, (RESAMPLES, 6))
    return Scores(
        signature=f"{number}-{seed}",
        seed=seed,
        metrics=Metrics(*[ap] * 6),
        draws=ap + shared + own,
        images="a",
        num_images=300,
    )


def equal_rows(
    random: np.random.Generator, num_seeds: int, num_rows: int = 9
) -> list[list[Scores]]:
    """Rows whose true numbers are the same, measured on one sample of images."""
    rows = []
    for number in range(num_rows):
        seeds = random.normal(0, 1.0 if num_seeds > 1 else 0.0, num_seeds)
        errors = random.normal(0, 1.0, num_seeds)
        rows.append(
            [
                scattered_run(number, 40 + float(error + moved), seed=seed)
                for seed, (error, moved) in enumerate(zip(errors, seeds, strict=True))
            ]
        )
    return rows


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_of_nine_equal_rows_hardly_a_table_has_one_that_is_worse(num_seeds: int) -> None:
    """One by one against the selected highest: 58 % of such tables with one seed."""
    random = np.random.default_rng(num_seeds)
    tables = [equal_rows(random, num_seeds) for _ in range(150)]
    wrong = sum(any(told_apart(rows, "ap")) for rows in tables)
    assert wrong <= 16  # of 5 %, so many or more come in 1 of 1,000 samples
    one_by_one = 0
    for rows in tables:
        top = max(rows, key=lambda row: np.mean([run.metrics.ap for run in row]))
        found = [difference(top, row, "ap") for row in rows if row is not top]
        one_by_one += any(it is not None and it.excludes_zero for it in found)
    assert one_by_one > 2 * max(wrong, 10)


def test_a_row_that_is_far_worse_is_told_apart_and_an_unknown_one_is_not() -> None:
    far, near, top = ([scattered_run(n, ap)] for n, ap in enumerate((30.0, 39.9, 40.0)))
    undefined = [replace(top[0], signature="u", draws=np.full((RESAMPLES, 6), np.nan))]
    elsewhere = [replace(far[0], signature="e", images="b")]
    rows = [far, near, top, [], undefined, elsewhere, far]
    assert told_apart(rows, "ap") == [True, False, False, None, None, None, True]
    assert told_apart([far, []], "ap") == [None, None]


def test_draws_are_kept_to_the_bit(tmp_path: Path) -> None:
    path, scores = tmp_path / "scores.npz", run(3, 30.0, 30 + noise(0))
    save_scores(scores, path, source="m")
    about = (scores.signature, scores.seed, scores.metrics)
    loaded = load_scores(path, *about, source="m")
    assert np.array_equal(loaded.draws, scores.draws)
    assert (loaded.images, loaded.num_images, loaded.digest) == ("a", 1000, scores.digest)
    with pytest.raises(ValueError, match="made of other matches"):
        load_scores(path, *about, source="n")


@pytest.fixture
def bundle() -> Bundle:
    return with_scores(make_bundle("table3", (0, 1)))


def test_a_bundle_keeps_its_draws_beside_it(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "table3.json")
    assert (tmp_path / "table3.npz").is_file()
    loaded = load_bundle(tmp_path / "table3.json")
    before, after = bundle.comparison.rows, loaded.comparison.rows
    assert [row.estimates for row in after] == [row.estimates for row in before]
    assert [row.differences for row in after] == [row.differences for row in before]
    first = (tmp_path / "table3.json").read_bytes()
    save_bundle(loaded, tmp_path / "table3.json")
    assert (tmp_path / "table3.json").read_bytes() == first


def test_a_bundle_without_its_draws_has_no_intervals(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "table3.json")
    (tmp_path / "table3.npz").unlink()
    loaded = load_bundle(tmp_path / "table3.json")
    assert loaded.scores == {} and loaded.results.keys() == bundle.results.keys()
    assert all(not row.estimates and not row.differences for row in loaded.comparison.rows)


def test_draws_of_another_bundle_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "table3.json")
    save_bundle(with_scores(bundle, noise=0.7), tmp_path / "other.json")
    (tmp_path / "other.npz").replace(tmp_path / "table3.npz")
    with pytest.raises(ValueError, match=r"table3\.json is no report bundle .* other draws"):
        load_bundle(tmp_path / "table3.json")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_broken_draws_are_refused(bundle: Bundle, tmp_path: Path, content: bytes) -> None:
    save_bundle(bundle, tmp_path / "table3.json")
    (tmp_path / "table3.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"table3\.json is no report bundle"):
        load_bundle(tmp_path / "table3.json")


def test_a_row_of_which_a_run_cannot_be_resampled_has_no_interval(bundle: Bundle) -> None:
    """It would be another mean's."""
    atss, *_ = bundle.signatures[bundle.table.rows[1].label]
    left = {name: scores for name, scores in bundle.scores.items() if name != atss}
    comparison = replace(bundle, scores=left).comparison
    assert not comparison.rows[1].estimates and not comparison.rows[1].differences
    assert comparison.rows[0].estimates and comparison.rows[2].differences


def test_draws_that_are_gone_leave_no_file(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "table3.json")
    save_bundle(replace(bundle, scores={}), tmp_path / "table3.json")
    assert not (tmp_path / "table3.npz").exists()


def test_a_row_has_an_interval_and_its_difference_from_the_reference_has_one(
    bundle: Bundle,
) -> None:
    comparison = bundle.comparison
    atss = comparison.rows[1]
    assert set(atss.estimates) == set(HEADINGS) - {"ap_s"}  # of which the made-up data has none
    assert atss.differences["ap"].value == pytest.approx(atss.ap.gain.mean)
    assert atss.estimates["ap"].value == pytest.approx(atss.ap.ours.mean)
    assert atss.estimates["ap"].image_error > 1 > atss.differences["ap"].image_error
    assert comparison.reference.estimates and not comparison.reference.differences
    assert not make_bundle("table3").comparison.rows[1].estimates
