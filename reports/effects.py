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
The standard error comes from the spread between the seeds of a combination, pooled over all.

Shapes: N runs, C combinations, F factors, P = 1 + F + F (F - 1) / 2 parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.experiment import Row, Table
from reports.compare import Comparison
from reports.grids.cells import Cell, Grid, line
from reports.numbers import MISSING, signed

Combination = tuple[int, ...]  # of F zeros and ones
Array = NDArray[np.floating[Any]]
TOLERANCE = 1e-8  # of a projection's residual, in effects of size 1


@dataclass(frozen=True)
class Estimate:
    """In AP points; value None: not determined; error None: a single seed tells no spread."""

    value: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Effects:
    """The combinations that a table has, and what was measured of them: one AP per run."""

    combinations: tuple[Combination, ...]
    measured: tuple[tuple[Combination, float], ...]

    def effect(self, i: int) -> Estimate:
        """Of switching factor i on."""
        return self._estimate([_on(cell, i) - _terms(cell) for cell in self._off(i)])

    def step(self, i: int) -> float | None:
        """The measured change of AP when factor i is switched on, where that is measured at all."""
        aps = dict(self.measured)
        pairs = [(cell, _with(cell, i)) for cell in self._off(i)]
        steps = [aps[on] - aps[off] for off, on in pairs if on in aps and off in aps]
        return fmean(steps) if steps else None

    def interaction(self, i: int, j: int) -> Estimate:
        """Of factors i and j: what both together change beyond the sum of each alone."""
        both = [cell for cell in self._off(i) if cell in self._off(j)]
        corners = [cell for cell in both if _with(_with(cell, i), j) in self.combinations]
        contrasts = [
            _on(_with(cell, i), j) - _on(cell, i) - _on(cell, j) + _terms(cell) for cell in corners
        ]
        return self._estimate(contrasts)

    @property
    def misfit(self) -> float | None:
        """AP points between a combination's mean and the model, root mean square.

        None where there are no more combinations than parameters to fit them with.
        """
        cells = dict.fromkeys(cell for cell, _ in self.measured)
        means = [fmean(ap for cell, ap in self.measured if cell == one) for one in cells]
        if len(cells) <= np.linalg.matrix_rank(self._design):
            return None
        fitted = np.stack([_terms(cell) for cell in cells]) @ self._inverse @ self._aps
        return float(np.sqrt(np.mean((np.array(means) - fitted) ** 2)))

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation between seeds, pooled over the combinations that have several."""
        groups: dict[Combination, list[float]] = {}
        for cell, ap in self.measured:
            groups.setdefault(cell, []).append(ap)
        freedom = sum(len(aps) - 1 for aps in groups.values())
        squares = sum((ap - fmean(aps)) ** 2 for aps in groups.values() for ap in aps)
        return sqrt(squares / freedom) if freedom else None

    def _off(self, i: int) -> list[Combination]:
        """The combinations without i that the table also has with it."""
        known = self.combinations
        return [cell for cell in known if not cell[i] and _with(cell, i) in known]

    def _estimate(self, contrasts: Sequence[Array]) -> Estimate:
        """The mean contrast, each [P]; undetermined unless the measured runs combine to it."""
        if not contrasts or not self.measured:
            return Estimate()
        contrast = np.mean(contrasts, axis=0)
        weights = contrast @ self._inverse  # [N]: of each run's AP in the estimate
        if np.abs(weights @ self._design - contrast).max() > TOLERANCE:
            return Estimate()
        error = None if self.spread is None else self.spread * float(np.linalg.norm(weights))
        return Estimate(float(weights @ self._aps), error)

    @cached_property
    def _design(self) -> Array:
        return np.stack([_terms(cell) for cell, _ in self.measured])  # [N, P]

    @cached_property
    def _inverse(self) -> Array:
        return np.linalg.pinv(self._design)  # [P, N]

    @cached_property
    def _aps(self) -> Array:
        return np.array([ap for _, ap in self.measured])  # [N]


def _terms(cell: Combination) -> Array:
    """[P]: 1, every x_i, every x_i x_j."""
    pairs = (x * y for x, y in combinations(cell, 2))
    return np.array([1, *cell, *pairs], dtype=np.float64)


def _with(cell: Combination, i: int) -> Combination:
    return (*cell[:i], 1, *cell[i + 1 :])


def _on(cell: Combination, i: int) -> Array:
    return _terms(_with(cell, i))


def effects_of(comparison: Comparison, *, of_paper: bool = False) -> Effects:
    """The AP of a table's runs, or the paper's, by the combination of its factors."""
    cells = [_combination(comparison.table, row.row) for row in comparison.rows]
    measured = [
        (cell, ap)
        for cell, row in zip(cells, comparison.rows, strict=True)
        for ap in ([row.ap.paper] if of_paper else row.ap.ours.by_seed.values())
        if ap is not None
    ]
    return Effects(tuple(cells), tuple(measured))


def _combination(table: Table, row: Row) -> Combination:
    """Which factors are on: toggles that are true, other settings that are not row one's."""
    first = table.rows[0].config
    values = [(getattr(row.config, name), getattr(first, name)) for name in table.factors]
    return tuple(int(v if isinstance(v, bool) else v != off) for v, off in values)


def effects_grids(comparison: Comparison) -> tuple[Grid, ...]:
    """The effects of a table's factors, and their interactions; nothing where there are none."""
    table = comparison.table
    if not table.factors or not any(row.results for row in comparison.rows):
        return ()
    are_named = len(table.headings) == len(table.factors)
    names = table.headings if are_named else table.factors
    effects, paper = effects_of(comparison), effects_of(comparison, of_paper=True)
    lines, unknown = [], []
    for i, name in enumerate(names):
        estimates = {name: effects.effect(i)}
        pairs = (
            (f"{name} × {names[j]}", effects.interaction(i, j)) for j in range(i + 1, len(names))
        )
        estimates |= dict(pairs)
        unknown += [what for what, estimate in estimates.items() if estimate.value is None]
        step = paper.step(i)
        in_paper = [Cell("" if step is None else signed(step), "paper")]
        alone, *others = [_cell(estimate) for estimate in estimates.values()]
        blank = [Cell()] * (len(names) - 1 - len(others))
        lines.append((Cell(name), *in_paper[: table.has_paper], alone, *blank, *others))
    heads = ["", *["paper"][: table.has_paper], "alone", *(f"× {name}" for name in names[1:])]
    grid = Grid(
        name=f"{table.name}-effects",
        title="What each is worth on average, and what pairs add to that (AP points)",
        head=line(*heads),
        blocks=(tuple(lines),),
        notes=tuple(_notes(effects, unknown, table.has_paper)),
    )
    return (grid,)


def _cell(estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell(MISSING, "ours")
    error = "" if estimate.error is None else f" ±{estimate.error:.1f}"
    return Cell(signed(estimate.value) + error, "ours")


def _notes(effects: Effects, unknown: Sequence[str], has_paper: bool) -> list[str]:
    """What the numbers mean, and what they cannot tell."""
    num_cells = len({cell for cell, _ in effects.measured})
    notes = [
        "Alone: the mean change of AP when it is switched on, over the combinations of the others. "
        "×: how much more both together change AP than each alone. Least squares over "
        f"{num_cells} of {len(effects.combinations)} combinations."
    ]
    if has_paper:
        notes.append("Paper: its step, in the order in which it adds them.")
    if effects.spread is None:
        notes.append("One seed for each combination, so nothing tells chance from an effect.")
    else:
        notes.append(
            "±: standard error, from the spread between seeds "
            f"({effects.spread:.2f} AP, pooled over all combinations)."
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
