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
from reports.numbers import MISSING, level, signed, signed_interval
from reports.render import Cell, Grid, Kind, line
from reports.statistics import Estimate, Scores, contrast

Combination = tuple[int, ...]  # of F zeros and ones
Array = NDArray[np.floating[Any]]
TOLERANCE = 1e-8  # of a projection's residual, in effects of size 1


@dataclass(frozen=True)
class Worth:
    """In AP points; value None: not determined; estimate None: no interval is known.

    error: standard error from the seeds; None where a single seed tells no spread.
    """

    value: float | None = None
    error: float | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Effects:
    """The combinations that a table has, and what was measured of them: one AP per run.

    scores: of the same runs, where all have their resamples.
    """

    combinations: tuple[Combination, ...]
    measured: tuple[tuple[Combination, float], ...]
    scores: tuple[Scores, ...] = ()

    def effect(self, i: int) -> Worth:
        """Of switching factor i on."""
        return self._estimate([_on(cell, i) - _terms(cell) for cell in self._off(i)])

    def step(self, i: int) -> float | None:
        """The measured change of AP when factor i is switched on, where that is measured at all."""
        aps = dict(self.measured)
        pairs = [(cell, _with(cell, i)) for cell in self._off(i)]
        steps = [aps[on] - aps[off] for off, on in pairs if on in aps and off in aps]
        return fmean(steps) if steps else None

    def interaction(self, i: int, j: int) -> Worth:
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
        squares = sum((ap - fmean(aps)) ** 2 for aps in groups.values() for ap in aps)
        return sqrt(squares / self._degrees) if self._degrees else None

    @property
    def _degrees(self) -> int:
        """Of freedom of that spread."""
        return len(self.measured) - len({cell for cell, _ in self.measured})

    def _off(self, i: int) -> list[Combination]:
        """The combinations without i that the table also has with it."""
        known = self.combinations
        return [cell for cell in known if not cell[i] and _with(cell, i) in known]

    def _estimate(self, contrasts: Sequence[Array]) -> Worth:
        """The mean contrast, each [P]; undetermined unless the measured runs combine to it."""
        if not contrasts or not self.measured:
            return Worth()
        wanted = np.mean(contrasts, axis=0)
        weights = wanted @ self._inverse  # [N]: of each run's AP in the estimate
        if np.abs(weights @ self._design - wanted).max() > TOLERANCE:
            return Worth()
        error = None if self.spread is None else self.spread * float(np.linalg.norm(weights))
        found = contrast(weights, self.scores, "ap", error, self._degrees) if self.scores else None
        return Worth(float(weights @ self._aps), error, found)

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
    runs = [] if of_paper else [run for row in comparison.rows for run in row.scores]
    is_whole = len(runs) == len(measured) and len({run.images for run in runs}) == 1
    return Effects(tuple(cells), tuple(measured), tuple(runs) if is_whole else ())


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
    blocks, unknown = [], []
    for i, name in enumerate(names):
        worths = {name: effects.effect(i)}
        pairs = (
            (f"{name} × {names[j]}", effects.interaction(i, j)) for j in range(i + 1, len(names))
        )
        worths |= dict(pairs)
        unknown += [what for what, worth in worths.items() if worth.value is None]
        step = paper.step(i)
        in_paper = ["" if step is None else signed(step)]
        texts = [MISSING if it.value is None else signed(it.value) for it in worths.values()]
        lines = [_line(name, in_paper[: table.has_paper], texts, len(names), "ours")]
        below = [_uncertainty(worth) for worth in worths.values()]
        if any(below):
            lines.append(_line("", [""][: table.has_paper], below, len(names), "interval"))
        blocks.append(tuple(lines))
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


def _line(
    name: str, in_paper: Sequence[str], texts: Sequence[str], width: int, kind: Kind
) -> tuple[Cell, ...]:
    """The effect alone, then the interactions with the factors behind it, under their heads."""
    alone, *others = (Cell(text, kind) for text in texts)
    blank = [Cell()] * (width - 1 - len(others))
    return (Cell(name), *(Cell(text, "paper") for text in in_paper), alone, *blank, *others)


def _uncertainty(worth: Worth) -> str:
    """The interval, or where there is none the standard error from the seeds."""
    if worth.estimate is not None:
        return signed_interval(worth.estimate)
    return "" if worth.error is None else f"({worth.error:.1f})"


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
