"""Effects and interactions: against plain means of differences, known truths, and missing cells."""

from contextlib import suppress
from dataclasses import replace
from itertools import combinations, product
from statistics import fmean

import numpy as np
import pytest
from made_up_results import make_bundle, with_scores

from detector.metrics import Metrics
from experiments.ablations import FACTORIAL, LEAVE_ONE_OUT
from reports.coco_bootstrap import Scores
from reports.effects import Effects, effects_grids, effects_of

CELLS = [cell for cell in product((0, 1), repeat=5) if cell[2] or not cell[3]]
FACTORS = [*((i,) for i in range(5)), *combinations(range(5), 2)]


def switched(cell, *on):
    return tuple(1 if i in on else x for i, x in enumerate(cell))


def mean_effect(aps, i, j=None):
    """Plainly: the mean of i on minus off; of two that of both - i alone - j alone + neither."""
    found = []
    for cell in aps:
        with suppress(KeyError):  # a corner that there is not
            if not cell[i] and j is None:
                found.append(aps[switched(cell, i)] - aps[cell])
            elif not cell[i] and not cell[j]:
                both, mine, other = switched(cell, i, j), switched(cell, i), switched(cell, j)
                found.append(aps[both] - aps[mine] - aps[other] + aps[cell])
    return fmean(found) if found else None


def of_seeds(aps, *changes):
    """Of runs that differ by these changes from seed to seed, on images that tell nothing."""
    measured = {cell: [ap + change for change in changes or [0.0]] for cell, ap in aps.items()}
    scores = {
        cell: [
            Scores(f"{seed}", seed, Metrics(ap), np.full((100, 6), ap), "f" * 64, 10)
            for seed, ap in enumerate(aps)
        ]
        for cell, aps in measured.items()
    }
    return Effects(CELLS, measured, scores)


@pytest.mark.parametrize("seed", range(5))
def test_with_all_combinations_measured_effects_are_plain_means_of_differences(seed):
    aps = np.random.default_rng(seed).normal(30, 3, 24)  # with interactions of every order
    of_cells = dict(zip(CELLS, aps.tolist(), strict=True))
    for factors in FACTORS:
        expected = mean_effect(of_cells, *factors)
        assert of_seeds(of_cells).effect(*factors)[0] == (expected and pytest.approx(expected))
    assert of_seeds(of_cells).effect(2, 3)[0] is None  # centerness without the in-box limit
    assert of_seeds(of_cells).misfit > 0.2


def truth(cell):
    """AP with effects and pairs only, so that the model is right."""
    gn, giou, inside, centerness, scalar = cell
    alone = 1.0 * gn + 2.0 * giou + 0.5 * inside + 1.5 * centerness
    return 30 + alone + 0.7 * gn * giou - 0.4 * giou * scalar


TRUTH = {cell: truth(cell) for cell in CELLS}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_determined_by_a_part_of_the_combinations_is_right(seed):
    measured = np.random.default_rng(seed).permutation(24)[: 24 - 2 * seed]
    effects = of_seeds({CELLS[n]: truth(CELLS[n]) for n in measured})
    estimates = {factors: effects.effect(*factors)[0] for factors in FACTORS}
    for factors, value in estimates.items():
        expected = pytest.approx(mean_effect(TRUTH, *factors), abs=1e-9)
        assert value is None or value == expected
    assert seed == 4 or all(estimates[i,] is not None for i in range(5))


def test_nothing_is_invented_for_what_was_not_measured():
    without_giou = of_seeds({cell: ap for cell, ap in TRUTH.items() if not cell[1]})
    # Of GroupNorm half the combinations are unknown, and pairs interact.
    assert [without_giou.effect(*it) for it in ((1,), (0, 1), (0,))] == [(None, None)] * 3
    assert of_seeds({}).effect(0)[0] is None
    assert of_seeds({CELLS[0]: 30.0}).misfit is None


def test_the_seeds_error_is_that_of_a_mean_of_differences():
    effects = of_seeds(TRUTH, -0.3, 0.3)
    assert effects.spread == pytest.approx(0.3 * 2**0.5)
    # 12 or 8 differences of means over 2 seeds each: variance 2 / 2 of one, / 12 of their mean; of
    # a pair 6 squares of four.
    for factors, variance in (((0,), 1 / 12), ((3,), 1 / 8), ((0, 1), 2 / 6)):
        _, found = effects.effect(*factors)
        assert found.seed_error == pytest.approx(effects.spread * variance**0.5)
        assert found.seed_degrees == 24 and found.image_error == pytest.approx(0, abs=1e-9)
    assert effects.misfit == pytest.approx(0, abs=1e-9)


# --- in a report; what is printed of them is among the goldens


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_effects_have_intervals_of_the_images_and_of_the_seeds(seeds):
    bundle = make_bundle(FACTORIAL, seeds=seeds)
    assert effects_of(bundle).effect(0)[1] is None
    (grid,) = effects_grids(bundle)
    is_alone = any("nothing tells chance in training" in note for note in grid.notes)
    assert is_alone == (seeds == (0,))
    effects = effects_of(with_scores(bundle))
    (value, found), (_, pair) = effects.effect(0), effects.effect(0, 1)
    assert found.value == pytest.approx(value) and found.image_error > 0
    assert (found.seed_error is None) == is_alone
    assert pair.high - pair.low > found.high - found.low  # four means, of half as many runs each


def test_a_toggle_is_on_where_it_is_true_whichever_row_comes_first():
    backwards = replace(FACTORIAL, rows=FACTORIAL.rows[::-1])
    bundles = [make_bundle(table) for table in (FACTORIAL, backwards)]
    there, back = (effects_of(bundle).measured for bundle in bundles)
    assert set(there) == set(back) == set(CELLS) and back[0, 0, 0, 0, 0] == [32.5 / 2]


def test_only_tables_that_combine_settings_have_effects():
    nothing = replace(make_bundle(FACTORIAL), results={})
    for bundle in (make_bundle("table1"), make_bundle(LEAVE_ONE_OUT), nothing):
        assert effects_grids(bundle) == ()
