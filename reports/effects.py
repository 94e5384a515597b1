"""What each of several improvements is worth, and which pairs do more or less together than apart.

For a table whose rows combine settings of two values each (Table.factors), all of it by least
squares over the measured runs:

    AP = constant + sum of b_i x_i + sum of b_ij x_i x_j        x_i: 0 off, 1 on

    effect of i        mean change of AP when i is switched on, over the table's combinations of
                       the others
    interaction i x j  mean over them of AP(both) - AP(i alone) - AP(j alone) + AP(neither)

With every combination measured these are plain means of differences, whatever more than two of them
do together. With some missing the model fills in where it can; where what is measured leaves an
effect undetermined (it is no combination of X's rows) there is no number for it.
The interval holds both sources: the images, by the runs' shared resamples, and the seeds, by the
spread between those of a combination, pooled over all.

Shapes: C combinations that are measured, F factors, P = 1 + F + F (F - 1) / 2 parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import sqrt
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.experiment import Row, Table
from reports.coco_bootstrap import Scores
from reports.intervals import Estimate, contrast
from reports.numbers import MISSING, level, signed, signed_interval
from reports.render import Cell, Grid, line
from reports.results import Bundle

Combination = tuple[int, ...]  # of F zeros and ones
Array = NDArray[Any]
TOLERANCE = 1e-8  # of a projection's residual, in effects of size 1


class Worth(NamedTuple):
    """In AP points; value None: not determined; estimate None: no interval is known.

    error: standard error from the seeds; None where a single seed tells no spread.
    """

    value: float | None = None
    error: float | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Effects:
    """The combinations that a table has, and what was measured of them: an AP for each seed.

    scores: of the same runs; empty unless all have their resamples.
    """

    combinations: Sequence[Combination]
    measured: Mapping[Combination, Sequence[float]]
    scores: Mapping[Combination, Sequence[Scores]] = field(default_factory=dict)

    def effect(self, *factors: int) -> Worth:
        """Of switching a factor on; of two, what both change beyond the sum of each alone."""
        some = [on for n in range(len(factors) + 1) for on in combinations(factors, n)]
        contrasts = [
            sum((-1) ** (len(factors) - len(on)) * _terms(_with(cell, on)) for on in some)
            for cell in self.combinations
            if not any(cell[i] for i in factors)
            and all(_with(cell, on) in self.combinations for on in some)
        ]
        if not contrasts or not self.measured:
            return Worth()
        wanted = np.mean(contrasts, axis=0)  # [P]
        weights = wanted @ self._inverse  # [C]: of each combination's mean in the effect
        if np.abs(weights @ self._design - wanted).max() > TOLERANCE:
            return Worth()
        error, seeds = None, None
        if self.spread is not None:
            error = self.spread * float(np.linalg.norm(weights / np.sqrt(self._counts)))
            seeds = error, float((self._counts - 1).sum())
        parts = list(zip(weights.tolist(), self.scores.values(), strict=False))
        return Worth(float(weights @ self._means), error, contrast(parts, seeds=seeds))

    @property
    def misfit(self) -> float | None:
        """AP points between a combination's mean and the model, root mean square.

        None where there are no more combinations than parameters to fit them with.
        """
        if len(self.measured) <= np.linalg.matrix_rank(self._design):
            return None
        fitted = self._design @ self._inverse @ self._means
        return float(np.sqrt(np.mean((self._means - fitted) ** 2)))

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation between seeds, pooled over the combinations that have several."""
        squares = sum((ap - fmean(aps)) ** 2 for aps in self.measured.values() for ap in aps)
        degrees = sum(len(aps) - 1 for aps in self.measured.values())
        return sqrt(squares / degrees) if degrees else None

    @cached_property
    def _counts(self) -> Array:
        return np.array([len(aps) for aps in self.measured.values()])  # [C]

    @cached_property
    def _means(self) -> Array:
        return np.array([fmean(aps) for aps in self.measured.values()])  # [C]

    @cached_property
    def _design(self) -> Array:
        return np.stack([_terms(cell) for cell in self.measured])  # [C, P]

    @cached_property
    def _inverse(self) -> Array:
        """[P, C]: means -> parameters, by least squares over the runs."""
        weights = np.sqrt(self._counts)
        inverse: Array = np.linalg.pinv(self._design * weights[:, None]) * weights
        return inverse


def _terms(cell: Combination) -> Array:
    """[P]: 1, every x_i, every x_i x_j."""
    pairs = (x * y for x, y in combinations(cell, 2))
    return np.array([1, *cell, *pairs], dtype=np.float64)


def _with(cell: Combination, on: Sequence[int]) -> Combination:
    return tuple(1 if i in on else x for i, x in enumerate(cell))


def effects_of(bundle: Bundle) -> Effects:
    """The AP of a table's runs by the combination of its factors."""
    rows = [(_combination(bundle.table, row.row), row) for row in bundle.rows]
    measured: dict[Combination, list[float]] = {}
    scores: dict[Combination, list[Scores]] = {}
    for cell, row in rows:
        if aps := row.ap.ours.by_seed.values():
            measured.setdefault(cell, []).extend(aps)
            scores.setdefault(cell, []).extend(row.scores)
    images = {run.images for runs in scores.values() for run in runs}
    is_whole = len(images) == 1 and all(len(scores[it]) == len(measured[it]) for it in measured)
    return Effects([cell for cell, _ in rows], measured, scores if is_whole else {})


def _paper_steps(bundle: Bundle) -> list[float | None]:
    """The paper's change of AP when a factor is switched on, where it prints both numbers."""
    aps = {_combination(bundle.table, row.row): row.ap.paper for row in bundle.rows}
    found: list[float | None] = []
    for i in range(len(bundle.table.factors)):
        pairs = ((ap, aps.get(_with(cell, [i]))) for cell, ap in aps.items() if not cell[i])
        steps = [on - off for off, on in pairs if on is not None and off is not None]
        found.append(fmean(steps) if steps else None)
    return found


def _combination(table: Table, row: Row) -> Combination:
    """Which factors are on: toggles that are true, other settings that are not row one's."""
    first = table.rows[0].config
    values = [(getattr(row.config, name), getattr(first, name)) for name in table.factors]
    return tuple(int(v if isinstance(v, bool) else v != off) for v, off in values)


def effects_grids(bundle: Bundle) -> tuple[Grid, ...]:
    """The effects of a table's factors, and their interactions; nothing where there are none."""
    table = bundle.table
    if not table.factors or not any(row.results for row in bundle.rows):
        return ()
    are_named = len(table.headings) == len(table.factors)
    names = table.headings if are_named else table.factors
    effects, steps = effects_of(bundle), _paper_steps(bundle)
    blocks, unknown = [], []
    for i, name in enumerate(names):
        worths = {name: effects.effect(i)}
        for j in range(i + 1, len(names)):
            worths[f"{name} × {names[j]}"] = effects.effect(i, j)
        unknown += [what for what, worth in worths.items() if worth.value is None]
        paper = Cell("" if steps[i] is None else signed(steps[i]), "paper")
        ours = [Cell(signed(worth.value), "ours") for worth in worths.values()]
        below = [Cell(_uncertainty(worth), "interval") for worth in worths.values()]
        lines = [(Cell(name), paper, ours), (Cell(), Cell("", "paper"), below)]
        blocks.append(
            tuple(  # the effect alone, then the interactions with those behind it
                (label, *[papers][: table.has_paper], alone, *[Cell()] * i, *others)
                for label, papers, (alone, *others) in lines
                if any(cell.text for cell in (alone, *others))
            )
        )
    are_short = all(len(block) == 1 for block in blocks)
    heads = ["", *["paper"][: table.has_paper], "alone", *(f"× {name}" for name in names[1:])]
    grid = Grid(
        name=f"{table.name}-effects",
        title="What each is worth on average, and what pairs add to that (AP points)",
        head=line(*heads),
        blocks=(tuple(line for block in blocks for line in block),) if are_short else tuple(blocks),
        notes=tuple(_notes(effects, unknown, table.has_paper)),
    )
    return (grid,)


def _uncertainty(worth: Worth) -> str:
    """The interval, or where there is none the standard error from the seeds."""
    if worth.estimate is not None:
        return signed_interval(worth.estimate)
    return "" if worth.error is None else f"({worth.error:.1f})"


def _notes(effects: Effects, unknown: Sequence[str], has_paper: bool) -> list[str]:
    """What the numbers mean, and what they cannot tell."""
    notes = [
        "Alone: the mean change of AP when it is switched on, over the combinations of the others. "
        "×: how much more both together change AP than each alone. Least squares over "
        f"{len(effects.measured)} of {len(effects.combinations)} combinations."
    ]
    if has_paper:
        notes.append("Paper: its step, in the order in which it adds them.")
    if effects.scores:
        notes.append(f"Below each: the {level()} interval, of images and seeds together.")
    if effects.spread is None:
        notes.append(
            "One seed for each combination: an interval is of these trained weights, and nothing "
            "tells chance in training from an effect."
        )
    else:
        below = "" if effects.scores else "In brackets: standard error from the seeds. "
        notes.append(
            f"{below}Seeds of one combination differ by {effects.spread:.2f} AP (standard "
            "deviation, pooled over all combinations)."
        )
    if effects.misfit is not None:
        notes.append(
            f"Three or more together leave {effects.misfit:.2f} AP of a combination unexplained "
            "(root mean square)."
        )
    if unknown:
        notes.append(
            f"{MISSING}: not determined by the combinations that are measured, or that there are: "
            f"{', '.join(unknown)}."
        )
    return notes
