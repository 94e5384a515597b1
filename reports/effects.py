"""What each of several improvements is worth, and which pairs do more or less together than apart.

For a table whose rows combine settings of two values each (Table.factors), all of it by least
squares over the measured runs:

    AP = constant + sum of b_i x_i + sum of b_ij x_i x_j        x_i: 0 off, 1 on

    effect of i        mean change of AP when i is switched on, over the table's combinations of
                       the others
    interaction i x j  mean over them of AP(both) - AP(i alone) - AP(j alone) + AP(neither)

With every combination measured alike these are plain means of differences, whatever more than two
of them do together. With some missing the model fills in where it can; where what is measured
leaves an effect undetermined (it is no combination of X's rows) there is no number for it.
Intervals are as in docs/statistics.md.

Shapes: C combinations that are measured, F factors, P = 1 + F + F (F - 1) / 2 parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from math import sqrt
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.experiment import Row, Table
from reports.coco_bootstrap import Scores
from reports.intervals import Estimate, contrast
from reports.numbers import signed, signed_interval
from reports.render import Cell, Grid, Kind, Line, line, notes
from reports.results import Bundle

Combination = tuple[int, ...]  # of F zeros and ones
Array = NDArray[Any]
TOLERANCE = 1e-8  # of a projection's residual, in effects of size 1


@dataclass(frozen=True)
class Effects:
    """The combinations that a table has, and what was measured of them: an AP for each seed.

    scores: of the same runs; empty unless all have their resamples.
    """

    combinations: Sequence[Combination]
    measured: Mapping[Combination, Sequence[float]]
    scores: Mapping[Combination, Sequence[Scores]] = field(default_factory=dict)

    def effect(self, *factors: int) -> tuple[float | None, Estimate | None]:
        """Of switching a factor on; of two, what both change beyond the sum of each alone.

        None: not determined; no interval without resamples.
        """
        some = [on for n in range(len(factors) + 1) for on in combinations(factors, n)]
        contrasts = [
            sum((-1) ** (len(factors) - len(on)) * _terms(_with(cell, on)) for on in some)
            for cell in self.combinations
            if not any(cell[i] for i in factors)
            and all(_with(cell, on) in self.combinations for on in some)
        ]
        if not contrasts or not self.measured:
            return None, None
        wanted = np.mean(contrasts, axis=0)  # [P]
        counts, means, design, inverse = self._fit
        weights = wanted @ inverse  # [C]: of each combination's mean in the effect
        if np.abs(weights @ design - wanted).max() > TOLERANCE:
            return None, None
        found = contrast(list(zip(weights.tolist(), self.scores.values(), strict=False)))
        if found and self.spread is not None:
            error = self.spread * float(np.linalg.norm(weights / np.sqrt(counts)))
            degrees = float((counts - 1).sum())
            found = replace(found, seed_error=error, seed_degrees=degrees).at()
        return float(weights @ means), found

    @property
    def misfit(self) -> float | None:
        """AP points between a combination's mean and the model, root mean square.

        None where there are no more combinations than parameters to fit them with.
        """
        _, means, design, inverse = self._fit
        if len(means) <= np.linalg.matrix_rank(design):
            return None
        return float(np.sqrt(np.mean((means - design @ inverse @ means) ** 2)))

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds, pooled over the combinations that have several."""
        squares = sum((ap - fmean(aps)) ** 2 for aps in self.measured.values() for ap in aps)
        degrees = sum(len(aps) - 1 for aps in self.measured.values())
        return sqrt(squares / degrees) if degrees else None

    @cached_property
    def _fit(self) -> tuple[Array, Array, Array, Array]:
        """[C] counts, [C] means, [C, P] design, and [P, C]: means -> parameters, by runs."""
        counts = np.array([len(aps) for aps in self.measured.values()])
        means = np.array([fmean(aps) for aps in self.measured.values()])
        design = np.stack([_terms(cell) for cell in self.measured])
        roots = np.sqrt(counts)
        return counts, means, design, np.linalg.pinv(design * roots[:, None]) * roots


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
        if aps := row.ap.by_seed.values():
            measured.setdefault(cell, []).extend(aps)
            scores.setdefault(cell, []).extend(row.scores)
    images = {run.images for runs in scores.values() for run in runs}
    is_whole = len(images) == 1 and all(len(scores[it]) == len(measured[it]) for it in measured)
    return Effects([cell for cell, _ in rows], measured, scores if is_whole else {})


def _combination(table: Table, row: Row) -> Combination:
    """Which factors are on: toggles that are true, other settings that are not row one's."""
    first = table.rows[0].config
    values = [(getattr(row.config, name), getattr(first, name)) for name in table.factors]
    return tuple(int(v if isinstance(v, bool) else v != off) for v, off in values)


def effects_grids(bundle: Bundle) -> tuple[Grid, ...]:
    """The effects of a table's factors, and their interactions; nothing where there are none."""
    table, num = bundle.table, len(bundle.table.factors)
    if not num or not any(row.results for row in bundle.rows):
        return ()
    names = table.headings if len(table.headings) == num else table.factors
    effects, blocks, unknown = effects_of(bundle), [], list[str]()
    papers = {_combination(table, row.row): row.ap.paper for row in bundle.rows}
    for i, name in enumerate(names):
        worths = {name: effects.effect(i)}
        worths |= {f"{name} × {names[j]}": effects.effect(i, j) for j in range(i + 1, num)}
        unknown += [what for what, (value, _) in worths.items() if value is None]
        pairs = ((ap, papers.get(_with(cell, [i]))) for cell, ap in papers.items() if not cell[i])
        steps = [on - off for off, on in pairs if on is not None and off is not None]
        paper = [signed(fmean(steps)) if steps else ""] * table.has_paper
        texts: dict[Kind, list[str]] = {"ours": [signed(value) for value, _ in worths.values()]}
        if effects.scores:
            spans = ("" if it is None else signed_interval(it) for _, it in worths.values())
            texts["interval"] = [*spans]
        lines: list[Line] = []
        for kind, cells in texts.items():
            stub = [Cell("" if lines else name), *(Cell(it * (not lines), "paper") for it in paper)]
            alone, *others = (Cell(text, kind) for text in cells)
            lines.append((*stub, alone, *[Cell()] * i, *others))
        blocks.append(tuple(lines))
    heads = ["", *["paper"] * table.has_paper, "alone", *(f"× {name}" for name in names[1:])]
    grid = Grid(
        name=f"{table.name}-effects",
        title="What each is worth on average, and what pairs add to that (AP points)",
        head=line(*heads),
        blocks=tuple(blocks),
        notes=tuple(notes("effects", effects, unknown, table.has_paper)),
    )
    return (grid,)
