"""What a sweep decides by results: which combination comes next, and which run is ended early.

Optuna's TPE proposes by what the others have reached. Its own journal in <out>/sweeps keeps what
was proposed, so the same command goes on with it; what is done, for whichever table, is not trained
again: its AP is told instead.

ASHA (asynchronous successive halving, Li et al. 2020) ends runs that are far behind at a test. They
keep their folders and checkpoints, so another launch without it trains them to their ends.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from detector.config import Recipe
from experiments.experiment import Row, Table, canonical
from experiments.sweep import Axis, Sweep
from orchestration.plan import Job, Plan, PlannedRun, make_plan
from orchestration.resources import evaluation_steps
from orchestration.run_folder import RunFolder, Store
from reports.results import Stopped

ATTEMPTS = 100  # for each sample, to find one that is new and that a detector can be
SEED = 0  # of the proposals: the same results lead to the same search
RANDOM_SHARE, MAX_RANDOM = 3, 10  # the first third of the samples, at most ten, is drawn blindly


class Search:
    """So many samples of a sweep. ValueError where Optuna is not installed."""

    def __init__(self, sweep: Sweep, samples: int | None, plan: Plan, store: Store) -> None:
        """plan: of the base, for its setup and seeds."""
        self.sweep, self.samples, self.plan, self.store = sweep, samples or 1, plan, store
        self.attempts = ATTEMPTS * self.samples
        self.rows: dict[str, Row] = {}  # by label, in the order in which they were asked for
        self.trials: dict[str, int] = {}  # Optuna's number of each
        self.waiting: list[PlannedRun] = []  # those to train next
        self.open: dict[str, str] = {}  # signature -> label, of runs that have not ended
        self.study = self._open_study()
        for trial in self.study.get_trials(deepcopy=False):
            if (row := self._row(trial.params)) and len(self.rows) < self.samples:
                self._take(trial.number, row)

    def _open_study(self) -> Any:
        """Optuna's, new or as its journal has kept it.

        It is named by what makes another search of it; how many samples it has does not.
        """
        try:
            import optuna
        except ImportError as error:
            raise ValueError(
                "--search optuna needs Optuna, which is not installed: pip install optuna"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        journal = self.store.root / "sweeps" / f"{self.sweep.name}.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        base = canonical(self.plan.setup.row_run(self.sweep.base, 0))
        content = {"base": base, "axes": [asdict(axis) for axis in self.sweep.axes]}
        name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        with warnings.catch_warnings(action="ignore"):  # it calls some options experimental
            sampler = optuna.samplers.TPESampler(
                seed=SEED,
                n_startup_trials=max(1, min(MAX_RANDOM, self.samples // RANDOM_SHARE)),
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

    @property
    def is_wanting(self) -> bool:
        """Whether runs wait, or there are too few samples yet and some are left to be found."""
        return bool(self.waiting) or (len(self.rows) < self.samples and self.attempts > 0)

    def jobs(
        self, job_of: Callable[[PlannedRun], Job], is_cancelled: Callable[[], bool]
    ) -> Iterator[Job]:
        """What to train, each proposed when it is asked for, until there are enough of them.

        is_cancelled: whether to begin no more.
        """
        while self.is_wanting and not is_cancelled():
            while self.is_wanting and not self.waiting:
                self.attempts -= 1
                trial = self.study.ask()
                places = {axis.name: _place(axis, trial) for axis in self.sweep.axes}
                self._take(trial.number, self._row(places))
            if self.waiting:
                yield job_of(self.waiting.pop(0))

    def _take(self, number: int, row: Row | None) -> None:
        """One more sample, if it is a new one; what is trained already is told at once."""
        lacking = []
        if row and row.label not in self.rows:
            self.rows[row.label], self.trials[row.label] = row, number
            runs = [(run, self.store.folder(run.signature)) for run in self._runs(row)]
            lacking = [run for run, folder in runs if not folder.is_done and not stopped(folder)]
            self.waiting += lacking
            self.open |= {run.signature: row.label for run in lacking}
        if not lacking:
            self._tell(number, row)

    def ended(self, signature: str) -> None:
        """Let Optuna know what a combination has reached, once its last run has ended."""
        label = self.open.pop(signature, None)
        if label and label not in self.open.values():
            self._tell(self.trials[label], self.rows[label])

    def _tell(self, number: int, row: Row | None) -> None:
        """What a row reached; it may have been told before, by this launch or another."""
        from optuna.trial import TrialState

        reached = self._reached(row) if row else None
        state = TrialState.FAIL if reached is None else None
        self.study.tell(number, reached, state=state, skip_if_finished=True)

    def asked(self) -> tuple[PlannedRun, ...]:
        """All runs asked for so far."""
        return tuple(run for row in self.rows.values() for run in self._runs(row))

    def table(self) -> Table:
        """All rows asked for so far; the note below it names the best, if any ended."""
        table = self.sweep.table(list(self.rows.values()))
        known = [(self._reached(row), label) for label, row in self.rows.items()]
        ap, label = max(((ap, label) for ap, label in known if ap is not None), default=(None, ""))
        best = "" if ap is None else f"The best of {len(table.rows)}: {label} (AP {ap:.1f})."
        return replace(table, note=best)

    def _row(self, places: Mapping[str, Any]) -> Row | None:
        """The row at a place on every axis; None where no detector can be that, or one lacks."""
        if len(places) < len(self.sweep.axes):  # killed while it was proposed
            return None
        of_axes = [(axis, places[axis.name]) for axis in self.sweep.axes]
        return self.sweep.row(
            {it.name: it.at(place) if it.ends else it.values[int(place)] for it, place in of_axes}
        )

    def _runs(self, row: Row) -> tuple[PlannedRun, ...]:
        table = self.sweep.table([row])
        return make_plan(self.plan.setup, [table], seeds=self.plan.seeds).runs

    def _reached(self, row: Row) -> float | None:
        """The mean AP of a row's runs that ended; of one ended early its last."""
        aps: list[float | None] = []
        for folder in (self.store.folder(run.signature) for run in self._runs(row)):
            if result := folder.result():
                aps.append(result["metrics"]["ap"])
            elif early := stopped(folder):
                aps.append(early.ap)
        known = [ap for ap in aps if ap is not None]
        return fmean(known) if known else None


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


def tests(folder: RunFolder) -> list[tuple[int, float]]:
    """Every AP that a run has measured, and after which step."""
    entries = [(entry["step"], entry.get("AP")) for entry in folder.history()]
    return [(step, ap) for step, ap in entries if ap is not None]


def stop(folder: RunFolder) -> Stopped | None:
    """Note that a run was ended early; None if it was not: it is done, failed, or cancelled."""
    if folder.is_done or folder.failure() or folder.cancellation():
        return None
    where = Stopped(*tests(folder)[-1]) if tests(folder) else Stopped(0, None)
    folder.write("stopped", asdict(where))
    return where


def stopped(folder: RunFolder) -> Stopped | None:
    """How far a run came that was ended early and that nobody has trained to its end since."""
    content = None if folder.is_done else folder.read("stopped")
    return None if content is None else Stopped(**content)
