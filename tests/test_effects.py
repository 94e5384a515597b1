"""Effects and interactions: against plain means of differences, known truths, and missing cells."""

from contextlib import suppress
from dataclasses import replace
from itertools import combinations, product
from statistics import fmean

import numpy as np
import pytest
from made_up_results import make_bundle, with_scores

from detector.metrics import Metrics
from experiments import TABLES
from experiments.ablations import FACTORIAL, LEAVE_ONE_OUT
from reports.coco_bootstrap import Scores
from reports.effects import Effects, effects_grids, effects_of
from reports.numbers import signed_interval
from reports.tables import paper_grid

CELLS = tuple(
    tuple(int(x) for x in values)
    for values in product((0, 1), repeat=5)
    if values[2] or not values[3]
)
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
    """Effects of runs that differ by these changes from seed to seed, on images that tell nothing.

    The interval is then of the seeds alone.
    """
    return of_runs({cell: [ap + change for change in changes or [0.0]] for cell, ap in aps.items()})


def of_runs(measured):
    """The same of runs whose numbers are the same on any images."""
    images = "f" * 64, 10
    scores = {
        cell: [
            Scores(f"{seed}", seed, Metrics(ap), np.full((100, 6), ap), *images)
            for seed, ap in enumerate(aps)
        ]
        for cell, aps in measured.items()
    }
    return Effects(CELLS, measured, scores)


def random_aps(seed):
    aps = np.random.default_rng(seed).normal(30, 3, 24)
    return dict(zip(CELLS, aps.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_with_all_combinations_measured_effects_are_plain_means_of_differences(seed):
    aps = random_aps(seed)  # with interactions of every order
    for factors in FACTORS:
        expected = mean_effect(aps, *factors)
        assert of_seeds(aps).effect(*factors)[0] == (expected and pytest.approx(expected))
    assert of_seeds(aps).effect(2, 3)[0] is None  # centerness without the in-box limit is nothing


def truth(cell):
    """AP with effects and pairs only, so that the model is right."""
    gn, giou, inside, centerness, scalar = cell
    alone = 1.0 * gn + 2.0 * giou + 0.5 * inside + 1.5 * centerness
    return 30 + alone + 0.7 * gn * giou - 0.4 * giou * scalar


@pytest.mark.parametrize("seed", range(5))
def test_what_is_determined_by_a_part_of_the_combinations_is_right(seed):
    measured = np.random.default_rng(seed).permutation(24)[: 24 - 2 * seed]
    effects = of_seeds({CELLS[n]: truth(CELLS[n]) for n in measured})
    everything = {cell: truth(cell) for cell in CELLS}
    estimates = {factors: effects.effect(*factors)[0] for factors in FACTORS}
    for factors, value in estimates.items():
        expected = pytest.approx(mean_effect(everything, *factors), abs=1e-9)
        assert value is None or value == expected
    assert seed == 4 or all(estimates[i,] is not None for i in range(5))


def test_nothing_is_invented_for_what_was_not_measured():
    without_giou = of_seeds({cell: truth(cell) for cell in CELLS if not cell[1]})
    # Of GroupNorm half the combinations are unknown, and pairs interact.
    assert [without_giou.effect(*it) for it in ((1,), (0, 1), (0,))] == [(None, None)] * 3
    assert of_seeds({}).effect(0)[0] is None
    assert of_seeds({CELLS[0]: 30.0}).misfit is None
    columns_of_table_1 = [(1,) * n + (0,) * (5 - n) for n in range(6)]
    effects = of_seeds({cell: truth(cell) for cell in columns_of_table_1})
    assert [effects.effect(i)[0] for i in range(5)] == [None] * 5


def test_the_seeds_error_is_that_of_a_mean_of_differences():
    effects = of_seeds({cell: truth(cell) for cell in CELLS}, -0.3, 0.3)
    assert effects.spread == pytest.approx(0.3 * 2**0.5)
    # 12 or 8 differences of means over 2 seeds each: variance 2 / 2 of one, / 12 of their mean; of
    # a pair 6 squares of four.
    for factors, variance in (((0,), 1 / 12), ((3,), 1 / 8), ((0, 1), 2 / 6)):
        _, found = effects.effect(*factors)
        assert found.seed_error == pytest.approx(effects.spread * variance**0.5)
        assert found.seed_degrees == 24 and found.image_error == pytest.approx(0, abs=1e-9)
    assert effects.misfit == pytest.approx(0, abs=1e-9)


def test_the_seeds_error_is_how_far_estimates_scatter():
    rng = np.random.default_rng(0)
    estimates, errors = [], []
    for _ in range(300):
        measured = {cell: [truth(cell) + rng.normal(0, 0.5) for _ in range(3)] for cell in CELLS}
        value, found = of_runs(measured).effect(0, 4)
        estimates.append(value)
        errors.append(found.seed_error)
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.15)
    assert np.mean(estimates) == pytest.approx(0, abs=0.06)


def test_effects_beyond_pairs_are_told():
    three = {cell: truth(cell) + 2.0 * (cell[0] and cell[1] and cell[4]) for cell in CELLS}
    assert of_seeds(three).misfit > 0.2


# --- in a report


def test_the_factorials_effects_stand_beside_the_papers_steps():
    bundle = make_bundle(FACTORIAL, seeds=(0, 1))
    (grid,) = effects_grids(bundle)
    lines = {block[0][0].text: [cell.text for cell in block[0][1:]] for block in grid.blocks}
    assert list(lines) == ["GroupNorm", "GIoU Loss", "In GT Box", "Centerness", "Scalar"]
    assert [cells[0] for cells in lines.values()] == ["+0.9", "+1.5", "+0.4", "+1.5", "+0.2"]
    assert effects_of(bundle).effect(0)[1] is None and {len(block) for block in grid.blocks} == {1}
    assert lines["In GT Box"][2:] == ["", "", "–", lines["In GT Box"][5]]
    assert lines["Scalar"][2:] == [""] * 4
    assert grid.notes[-1].endswith("or that there are: In GT Box × Centerness.")
    assert "24 of 24 combinations" in grid.notes[0]
    # One seed tells no spread, and says so.
    (grid,) = effects_grids(make_bundle(FACTORIAL))
    assert any("nothing tells chance in training from an effect" in note for note in grid.notes)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_effects_have_intervals_of_the_images_and_of_the_seeds(seeds):
    bundle = with_scores(make_bundle(FACTORIAL, seeds=seeds))
    effects = effects_of(bundle)
    (value, found), (_, pair) = effects.effect(0), effects.effect(0, 1)
    assert found.value == pytest.approx(value) and found.image_error > 0
    assert (found.seed_error is None) == (len(seeds) == 1)
    assert pair.high - pair.low > found.high - found.low  # four means, of half as many runs each
    (grid,) = effects_grids(bundle)
    assert grid.blocks[0][1][2].text == signed_interval(found)
    assert grid.blocks[0][1][2].kind == "interval"


def test_a_toggle_is_on_where_it_is_true_whichever_row_comes_first():
    backwards = replace(FACTORIAL, rows=FACTORIAL.rows[::-1])
    bundles = [make_bundle(table) for table in (FACTORIAL, backwards)]
    there, back = (effects_of(bundle).measured for bundle in bundles)
    assert set(there) == set(back) and back[0, 0, 0, 0, 0] == [32.5 / 2]


def test_only_tables_that_combine_settings_have_effects():
    nothing = make_bundle(FACTORIAL, missing={(row.label, 0) for row in FACTORIAL.rows})
    for bundle in (make_bundle("table1"), make_bundle(LEAVE_ONE_OUT), nothing):
        assert effects_grids(bundle) == ()
    assert not any(table.factors for table in TABLES.values())


def test_a_table_with_some_of_the_papers_numbers_prints_blanks_for_the_others():
    grid = paper_grid(make_bundle(FACTORIAL))
    blocks = [[cell.text for cell in cells] for block in grid.blocks for cells in block]
    assert [len(block) for block in grid.blocks] == [3, 11, 3, 5, 3, 1, 3, 1, 3, 3]
    assert blocks[0] == ["", "", "", "", "", "paper", "32.5"]
    assert blocks[3] == ["", "", "", "", "✓", "ours", "11.0"]
    assert grid.title == "factorial. All combinations of the five improvements"
