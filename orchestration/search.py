"""A search: Optuna's TPE proposes the next combination of settings by what the others have reached.

What was asked for is kept in <out>/sweeps/<name>.json, so the same command goes on with it, and
what is done, for whichever table, is not trained again: its AP is told instead.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from experiments.experiment import Row, canonical
from experiments.sweep import ATTEMPTS, Axis, Sweep
from orchestration.early import stopped
from orchestration.plan import PlannedRun, Setup, make_plan
from orchestration.run_folder import RunFolder, Store, read_json, write_json

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

SEED = 0  # of the proposals: the same results lead to the same search
RANDOM_SHARE, MAX_RANDOM = 3, 10  # the first third of the samples, at most ten, is drawn blindly


class Search:
    """So many samples of a sweep. ValueError where Optuna is not installed."""

    def __init__(
        self, sweep: Sweep, samples: int, setup: Setup, seeds: tuple[int, ...], store: Store
    ) -> None:
        self.sweep, self.samples, self.setup, self.seeds = sweep, samples, setup, seeds
        self.store = store
        self.rows: dict[str, Row] = {}  # by label, in the order in which they were asked for
        self._places: list[dict[str, float]] = []  # their places on the axes
        self._open: dict[str, Trial] = {}
        self.study = _study(samples)
        state = read_json(self._path) or {}
        if state.get("definition") == self._definition:
            for places in state["asked"]:
                self.study.enqueue_trial(places)

    def runs(self) -> Iterator[PlannedRun]:
        """One after the other, each chosen when it is asked for; until there are enough samples."""
        for _ in range(ATTEMPTS * self.samples):
            if len(self.rows) >= self.samples:
                break
            self._tell_ended()
            yield from self._next()
        self._tell_ended()

    def asked(self) -> list[PlannedRun]:
        """All runs asked for so far."""
        return [run for row in self.rows.values() for run in self._runs(row)]

    def missing(self) -> list[PlannedRun]:
        """Those without a result that were not ended early."""
        return [run for run in self.asked() if self._lacks(run)]

    def best(self) -> str:
        """ "k = 5 (AP 31.2)"; empty before anything ended."""
        known = {label: self._reached(row) for label, row in self.rows.items()}
        ranked = sorted((ap, label) for label, ap in known.items() if ap is not None)
        return f"{ranked[-1][1]} (AP {ranked[-1][0]:.1f})" if ranked else ""

    def _next(self) -> list[PlannedRun]:
        """The missing runs of the next proposal; none if it is no new one."""
        trial = self.study.ask(_distributions(self.sweep.axes))
        row = self.sweep.row({axis.name: _at(axis, trial.params) for axis in self.sweep.axes})
        if row is None or row.label in self.rows:
            self._tell(trial, None if row is None else self._reached(row))
            return []
        self.rows[row.label], self._open[row.label] = row, trial
        self._places.append(dict(trial.params))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"definition": self._definition, "asked": self._places})
        return [run for run in self._runs(row) if self._lacks(run)]

    def _tell_ended(self) -> None:
        """Let the study know what has ended since."""
        for label in list(self._open):
            folders = [self.store.folder(run.signature) for run in self._runs(self.rows[label])]
            if all(folder.is_done or folder.failure() or stopped(folder) for folder in folders):
                self._tell(self._open.pop(label), self._reached(self.rows[label]))

    def _reached(self, row: Row) -> float | None:
        """The mean AP of a row's runs that ended; of one ended early its last."""
        aps = [_ap(self.store.folder(run.signature)) for run in self._runs(row)]
        known = [ap for ap in aps if ap is not None]
        return fmean(known) if known else None

    def _tell(self, trial: "Trial", ap: float | None) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, ap, state=TrialState.FAIL if ap is None else None)

    def _runs(self, row: Row) -> tuple[PlannedRun, ...]:
        return make_plan(self.setup, [self.sweep.table([row])], seeds=self.seeds).runs

    def _lacks(self, run: PlannedRun) -> bool:
        folder = self.store.folder(run.signature)
        return not folder.is_done and not stopped(folder)

    @property
    def _path(self) -> Path:
        return self.store.root / "sweeps" / f"{self.sweep.name}.json"

    @property
    def _definition(self) -> dict[str, Any]:
        """What makes another search of it; how many samples it has does not."""
        base = canonical(self.setup.row_run(self.sweep.base, 0))
        content = {"base": base, "axes": [asdict(axis) for axis in self.sweep.axes]}
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain


def _study(samples: int) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ValueError(
            "--search optuna needs Optuna, which is not installed: pip install optuna"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # options that Optuna calls experimental
        sampler = optuna.samplers.TPESampler(
            seed=SEED,
            n_startup_trials=max(1, min(MAX_RANDOM, samples // RANDOM_SHARE)),
            constant_liar=True,  # runs that are still training count as bad: no two alike at once
        )
    return optuna.create_study(direction="maximize", sampler=sampler)


def _distributions(axes: tuple[Axis, ...]) -> dict[str, "BaseDistribution"]:
    """A place on every axis: a share of a range, a number in a list, or a choice."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def places(axis: Axis) -> "BaseDistribution":
        """Of one axis."""
        if axis.ends is not None:
            return FloatDistribution(0.0, 1.0)
        if axis.is_ordered:
            return IntDistribution(0, len(axis.values) - 1)
        return CategoricalDistribution(range(len(axis.values)))

    return {axis.name: places(axis) for axis in axes}


def _at(axis: Axis, places: dict[str, float]) -> Any:
    place = places[axis.name]
    return axis.at(place) if axis.ends is not None else axis.values[int(place)]


def _ap(folder: RunFolder) -> float | None:
    """A run's AP, or its last before it was ended early."""
    early, result = stopped(folder), folder.result()
    if result is not None:
        ap: float | None = result["metrics"]["ap"]
        return ap
    return early.ap if early else None
