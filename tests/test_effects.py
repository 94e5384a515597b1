"""Effects and interactions: against plain means of differences, known truths, and missing cells."""

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
PAIRS = list(combinations(range(5), 2))


def switched(cell, *on):
    return tuple(1 if i in on else x for i, x in enumerate(cell))


def mean_change(aps, i):
    """Plainly: over all pairs that differ in i alone, the mean of on minus off."""
    pairs = [(switched(cell, i), cell) for cell in aps if not cell[i]]
    return fmean(aps[on] - aps[off] for on, off in pairs if on in aps)


def mean_surplus(aps, i, j):
    """Plainly: over all squares, both - i alone - j alone + neither."""
    corners = [cell for cell in aps if not cell[i] and not cell[j]]
    squares = [
        (switched(cell, i, j), switched(cell, i), switched(cell, j), cell) for cell in corners
    ]
    squares = [square for square in squares if all(cell in aps for cell in square)]
    return fmean(aps[a] - aps[b] - aps[c] + aps[d] for a, b, c, d in squares) if squares else None


def of_seeds(aps, *changes):
    """Effects of runs that differ by these changes from seed to seed, on images that tell nothing.

    The interval is then of the seeds alone.
    """
    measured = {cell: [ap + change for change in changes] for cell, ap in aps.items()}
    return Effects(CELLS, measured, {cell: of_no_images(aps) for cell, aps in measured.items()})


def of_no_images(aps):
    """Scores of runs whose numbers are the same on any images."""
    return [
        Scores(
            signature=f"{seed}",
            seed=seed,
            metrics=Metrics(ap),
            draws=np.full((100, 6), ap),
            images="f" * 64,
            num_images=10,
        )
        for seed, ap in enumerate(aps)
    ]


def of_one_seed(aps):
    return of_seeds(aps, 0.0)


def random_aps(seed):
    return {
        cell: float(ap)
        for cell, ap in zip(CELLS, np.random.default_rng(seed).normal(30, 3, 24), strict=True)
    }


@pytest.mark.parametrize("seed", range(5))
def test_with_all_combinations_measured_effects_are_plain_means_of_differences(seed):
    aps = random_aps(seed)  # with interactions of every order
    effects = of_one_seed(aps)
    for i in range(5):
        assert effects.effect(i)[0] == pytest.approx(mean_change(aps, i))
    for i, j in PAIRS:
        expected = mean_surplus(aps, i, j)
        assert effects.effect(i, j)[0] == (expected and pytest.approx(expected))
    assert effects.effect(2, 3)[0] is None  # centerness without the in-box limit is nothing


def truth(cell):
    """AP with effects and pairs only, so that the model is right."""
    gn, giou, inside, centerness, scalar = cell
    return (
        30
        + 1.0 * gn
        + 2.0 * giou
        + 0.5 * inside
        + 1.5 * centerness
        + 0.7 * gn * giou
        - 0.4 * giou * scalar
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_is_determined_by_a_part_of_the_combinations_is_right(seed):
    measured = np.random.default_rng(seed).permutation(24)[: 24 - 2 * seed]
    effects = of_one_seed({CELLS[n]: truth(CELLS[n]) for n in measured})
    everything = {cell: truth(cell) for cell in CELLS}
    found = 0
    for i in range(5):
        estimate = effects.effect(i)[0]
        found += estimate is not None
        assert estimate is None or estimate == pytest.approx(mean_change(everything, i))
    for i, j in PAIRS:
        estimate = effects.effect(i, j)[0]
        assert estimate is None or estimate == pytest.approx(
            mean_surplus(everything, i, j), abs=1e-9
        )
    assert found == 5 or seed == 4


def test_nothing_is_invented_for_what_was_not_measured():
    without_giou = of_one_seed({cell: truth(cell) for cell in CELLS if not cell[1]})
    # Of GroupNorm half the combinations are unknown, and pairs interact.
    assert [without_giou.effect(*it) for it in ((1,), (0, 1), (0,))] == [(None, None)] * 3
    assert of_one_seed({}).effect(0)[0] is None
    assert of_one_seed({CELLS[0]: 30.0}).misfit is None
    columns_of_table_1 = [(1,) * n + (0,) * (5 - n) for n in range(6)]
    effects = of_one_seed({cell: truth(cell) for cell in columns_of_table_1})
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
        scores = {cell: of_no_images(aps) for cell, aps in measured.items()}
        value, found = Effects(CELLS, measured, scores).effect(0, 4)
        estimates.append(value)
        errors.append(found.seed_error)
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.15)
    assert np.mean(estimates) == pytest.approx(0, abs=0.06)


def test_effects_beyond_pairs_are_told():
    three = {cell: truth(cell) + 2.0 * (cell[0] and cell[1] and cell[4]) for cell in CELLS}
    assert of_one_seed(three).misfit > 0.2


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
