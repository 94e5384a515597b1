"""What a sweep decides by results: which combination comes next, and when runs may be ended early.

Optuna's TPE proposes by what the others have reached. Its own journal in <out>/sweeps keeps what
was proposed, so the same command goes on with it; what is done, for whichever table, is not trained
again: its AP is told instead.

ASHA (asynchronous successive halving, Li et al. 2020) ends runs that are far behind at a test. They
keep their folders and checkpoints, so another launch without it trains them to their ends.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from statistics import fmean
from typing import Any

from detector.config import Recipe
from experiments.experiment import Row, canonical
from experiments.sweep import Axis, Sweep
from orchestration.plan import Plan, PlannedRun, make_plan
from orchestration.resources import evaluation_steps
from orchestration.run_folder import Store

ATTEMPTS = 100  # for each sample, to find one that is new and that a detector can be
MAX_RANDOM = 10  # the first third of the samples, but no more, is drawn blindly
SEED = 0  # of the proposals: the same results lead to the same search


class Search:
    """So many samples of a sweep. ValueError where Optuna is not installed."""

    def __init__(self, sweep: Sweep, samples: int, plan: Plan, store: Store) -> None:
        """plan: of the base, for its setup and seeds."""
        self.sweep, self.samples, self.plan, self.store = sweep, samples, plan, store
        self.rows: dict[int, Row] = {}  # by Optuna's number, in the order they were asked for
        self.open: dict[str, int] = {}  # signature -> that number, of runs that have not ended
        self.study = self._open_study()

    def _open_study(self) -> Any:
        """Optuna's, new or as its journal has kept it.

        It is named by what makes another search of it; how many samples it has does not.
        """
        try:
            import optuna
        except ImportError as error:
            raise ValueError(
                "--search optuna needs Optuna, which is not installed: uv sync --extra search, or "
                "pip install optuna"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        journal = self.store.root / "sweeps" / f"{self.sweep.name}.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        base = canonical(self.plan.setup.row_run(self.sweep.base, 0))
        content = {"base": base, "axes": [asdict(axis) for axis in self.sweep.axes]}
        name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        with warnings.catch_warnings(action="ignore"):  # it calls one option experimental
            sampler = optuna.samplers.TPESampler(
                seed=SEED,
                n_startup_trials=max(1, min(MAX_RANDOM, self.samples // 3)),
                constant_liar=True,  # what still trains counts as bad: no two alike at once
            )
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=name,
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )

    def runs(self) -> Iterator[PlannedRun]:
        """What to train, until there are enough samples, each proposed when it is asked for.

        Those of earlier launches come first.
        """
        earlier = [(it.number, it.params) for it in self.study.get_trials(deepcopy=False)]
        for number, places in chain(earlier, self._proposals()):
            row, lacking = self._row(places), list[PlannedRun]()
            if row and row not in self.rows.values():
                self.rows[number] = row
                folders = [
                    (run, self.store.folder(run.signature)) for run in self._plan([row]).runs
                ]
                lacking = [run for run, it in folders if not (it.is_done or it.stopped())]
            if not lacking:  # no new one, or its results are there
                self._tell(number, row)
            self.open |= {run.signature: number for run in lacking}
            for run in lacking:
                self.store.folder(run.signature).forget("failure", "cancel")  # that is over
                yield run
            if len(self.rows) == self.samples:
                return

    def _proposals(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Optuna's number of a combination, and its place on every axis."""
        for _ in range(ATTEMPTS * self.samples):
            trial = self.study.ask()
            yield trial.number, {axis.name: _place(axis, trial) for axis in self.sweep.axes}

    def ended(self, signature: str) -> None:
        """Let Optuna know what a combination has reached, once its last run has ended."""
        number = self.open.pop(signature, None)
        if number is not None and number not in self.open.values():
            self._tell(number, self.rows[number])

    def _tell(self, number: int, row: Row | None) -> None:
        """What a row reached; it may have been told before, by this launch or another."""
        from optuna.trial import TrialState

        reached = self._reached(row) if row else None
        state = TrialState.FAIL if reached is None else None
        self.study.tell(number, reached, state=state, skip_if_finished=True)

    def asked(self) -> Plan:
        """All rows asked for so far, as a table."""
        return self._plan([*self.rows.values()])

    def _row(self, places: Mapping[str, Any]) -> Row | None:
        """The row at a place on every axis; None where no detector can be that, or one lacks."""
        axes = self.sweep.axes
        if len(places) < len(axes):  # killed while it was proposed
            return None
        at = [(axis, places[axis.name]) for axis in axes]
        return self.sweep.row(
            {axis.name: axis.at(it) if axis.ends else axis.values[int(it)] for axis, it in at}
        )

    def _plan(self, rows: Sequence[Row]) -> Plan:
        return make_plan(self.plan.setup, [self.sweep.table(rows)], seeds=self.plan.seeds)

    def _reached(self, row: Row) -> float | None:
        """The mean AP of a row's runs that ended; of one ended early its last."""
        aps = list[float]()
        for folder in (self.store.folder(run.signature) for run in self._plan([row]).runs):
            early, metrics = folder.stopped(), (folder.result() or {}).get("metrics", {})
            ap = early.ap if early else metrics.get("ap")
            aps += [] if ap is None else [ap]
        return fmean(aps) if aps else None


def _place(axis: Axis, trial: Any) -> float:
    """A share of a range, a number in a list, or a choice, by an Optuna trial."""
    if axis.ends:
        return trial.suggest_float(axis.name, 0.0, 1.0)
    if axis.is_ordered:
        return trial.suggest_int(axis.name, 0, len(axis.values) - 1)
    return trial.suggest_categorical(axis.name, [*range(len(axis.values))])


def steps_tested(recipe: Recipe, num_images: int) -> list[int]:
    """After which steps runs are tested on so many images; ValueError if none is tested early."""
    steps = sorted(evaluation_steps(recipe, num_images))
    if len(steps) < 2:
        raise ValueError(
            f"--scheduler asha needs a test before the last step, got only one at {steps[0]} of "
            f"{recipe.iterations}: ask for more with --set evaluations=..., or train longer"
        )
    return steps
