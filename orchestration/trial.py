"""One run, from its first step or its last checkpoint to its result: the glue, no policy.

It knows neither Ray nor MLflow: what it measures goes into the run's folder, and what a person
wants to watch goes to report, a function that takes a dict.
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from itertools import chain
from statistics import fmean
from typing import Any

import torch

from detector import checkpoint
from detector.data.coco import DataSet, batches, open_data
from detector.distributed import Group, in_order, joined
from detector.evaluation.detect import detect_all
from detector.metrics import HEADINGS
from detector.training import assemble, train
from experiments.own import load_assigner
from orchestration.environment import environment
from orchestration.inspection import Tested, leave, tested
from orchestration.oversight import Cancelled, Oversight, require_wanted
from orchestration.pace import Pace
from orchestration.plan import Job
from orchestration.store import RunFolder
from orchestration.tested_anew import Report, starting_point, train_first

CHECKPOINT_SECONDS = 10.0  # so much work may be lost when a process is killed
CHECKPOINT_SHARE = 50  # but a save takes at most 1/50 of the time between two
REPORT_SECONDS = 1.0
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # trying again at once is no help
HISTORY_STEPS = 500  # entries in a history, each the mean over the steps since the one before

Members = Callable[[Job], AbstractContextManager[str]]


def run_trial(job: Job, report: Report, members: Members = lambda job: nullcontext("")) -> None:
    """Train and test until result.json is there, or failure.json where no retry would help.

    members: starts the other processes of a run that has several, each with join_trial, and yields
    the host:port where they meet; by default there are none.
    """
    folder = RunFolder(job.folder)
    if folder.is_running:
        report({"state": "elsewhere", "reason": "another launch trains it, this one waits"})
    with folder.locked():
        reason = None
        if not folder.is_done:
            try:
                require_wanted(folder)
                folder.forget_failure()
                facts = environment(job.device) | {"processes": str(job.processes)}
                folder.write("run", {**job.facts, "environment": facts})
                train_first(job, report, lambda first, tell: run_trial(first, tell, members))
                with members(job) as address:
                    _take_part(job, report, address, 0)
            except (FloatingPointError, ValueError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in NO_ROOM:
                    raise
                reason = folder.fail(error)
            except RuntimeError:
                if folder.failure() is None:  # which another process of the run may have left
                    raise
            except Cancelled as end:
                report({"state": "cancelled", "reason": str(end)})
                return
            finally:
                folder.fall_silent()
        if reason := reason or (folder.failure() or {}).get("reason"):
            report({"state": "failed", "reason": reason})
            return
    metrics = (folder.result() or {}).get("metrics", {})
    report({"state": "done", "AP": metrics.get("ap"), "seconds_left": 0.0})


def join_trial(job: Job, rank: int, address: str) -> None:
    """Share a run's batches with the process that runs the trial; it writes, this one does not."""
    try:
        _take_part(job, lambda values: None, address, rank)
    except (FloatingPointError, ValueError) as error:
        RunFolder(job.folder).fail(error)


def _take_part(job: Job, report: Report, address: str, rank: int) -> None:
    with joined(address, rank, job.processes, job.device) as group:
        Trial(job, RunFolder(job.folder), report, group).run()


class Trial:
    """The state of a run between two of its steps, in one of its processes; the first writes."""

    def __init__(self, job: Job, folder: RunFolder, report: Report, group: Group) -> None:
        self.job, self.folder, self.report, self.group = job, folder, report, group
        self.recipe = job.run.recipe
        torch.set_num_threads(self.recipe.threads)  # sums depend on their number
        self.data = _open(job)
        own = job.run.assigner
        self.detector, self.optimizer = assemble(
            job.run.config,
            self.recipe,
            len(self.data.train.names),
            seed=job.run.seed,
            device=job.device,
            assigner=load_assigner(own) if own else None,
        )
        train = self.data.train
        self.description = checkpoint.Description(
            job.run.config, self.recipe, tuple(train.category_ids), tuple(train.names)
        )
        self.step, facts = starting_point(job, folder, self.detector, self.optimizer)
        self.window: list[dict[str, float]] = facts.get("window", [])  # not in the history yet
        self.unwritten: list[dict[str, Any]] = facts.get("unwritten", [])  # but should be
        self.pace = Pace(self.recipe, len(self.data.val), facts.get("spent", {}))
        if group.is_first:
            folder.forget_after(self.step)
        self.oversight = Oversight(job, folder, train, self.step)
        self.first_step = self.step
        self.last_save, self.last_report = time.monotonic(), -REPORT_SECONDS
        self.save_seconds = 0.0
        self.latest: dict[str, Any] = {}
        self.problems: dict[str, str] = {}

    def run(self) -> None:
        """Train to the end, then test once more and write the result."""
        self.tell("training")
        tests = self.pace.tests
        # Stopped between the checkpoint and the end of the test?
        found = self.test() if self.step in tests else None
        for values in self.steps():
            self.keep(values, is_test=self.step in tests)
            if self.step in tests:
                self.save()
                found = self.test()
            elif self.is_save_due():
                self.save()
            self.tell("training", loss=values["loss"])
        self.finish(found)

    def steps(self) -> Iterator[dict[str, float]]:
        """The training loop; its numbers, once per step."""
        job, recipe = self.job, self.recipe
        images = batches(
            self.data.train,
            recipe,
            seed=job.run.seed,
            start=self.step,
            workers=job.workers,
            share=self.group.share,
            device=job.device,
        )
        for values in train(
            self.detector,
            self.optimizer,
            images,
            recipe,
            start=self.step,
            micro_batch_size=job.micro_batch_size,
            group=self.group,
        ):
            self.step = int(values["step"])
            self.pace.stepped()
            yield values

    def keep(self, values: dict[str, float], *, is_test: bool) -> None:
        """Add a step to the history, averaged with others so that a long run's stays short."""
        if not self.group.is_first:
            return
        self.window.append(values)
        every = max(1, self.recipe.iterations // HISTORY_STEPS)
        if is_test or self.step == 1 or self.step % every == 0:
            means = {name: fmean(step[name] for step in self.window) for name in values}
            self.note(means | {"step": self.step, "learning_rate": values["learning_rate"]})
            self.window = []

    def note(self, entry: dict[str, Any]) -> None:
        """Add an entry to the history, with those that could not be written before."""
        self.unwritten.append(entry)
        with self.tolerance("history"):
            self.folder.append(*self.unwritten)
            self.unwritten = []
            self.oversight.note(entry)

    @contextmanager
    def tolerance(self, what: str) -> Iterator[None]:
        """While training, a disk that is full or away is told of, and costs no more than that."""
        try:
            yield
            self.problems.pop(what, None)
        except OSError as error:
            self.problems[what] = f"no {what} written to {self.folder.path}: {error.strerror}"

    def is_save_due(self) -> bool:
        pause = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self.save_seconds)
        return time.monotonic() - self.last_save >= pause

    def save(self) -> None:
        """Write a checkpoint, and remember what it cost; if that fails, the one before remains."""
        if not self.group.is_first:
            return
        begun = time.monotonic()
        facts = {"window": self.window, "unwritten": self.unwritten, "spent": self.pace.spent()}
        with self.tolerance("checkpoint"):
            checkpoint.save(
                self.folder.checkpoint,
                self.detector,
                self.optimizer,
                step=self.step,
                facts=facts,
                description=self.description,
            )
        self.last_save = time.monotonic()
        self.save_seconds = self.last_save - begun

    def test(self) -> Tested | None:
        """The six numbers on the validation images, and the detections behind them.

        Every process tests its share of the images; only the first evaluates what all found, the
        others have None.
        """
        val = self.data.val
        mine: list[list[dict[str, Any]]] = []
        self.pace.testing()
        self.detector.eval()
        for part in detect_all(
            self.detector,
            val,
            self.recipe,
            device=self.job.device,
            workers=self.job.workers,
            share=self.group.share,
        ):
            mine.append([*chain(*part)])
            self.pace.tested(len(part) * self.group.size)
            self.tell("testing", tested=1 - self.pace.untested / len(val))
        detections = in_order(self.group.gather(mine))
        if not self.group.is_first:
            return None
        found = tested(val, detections)
        self.pace.tested()
        self.oversight.num_detections = len(detections)
        named = {HEADINGS[name]: value for name, value in asdict(found.metrics).items()}
        self.note({"step": self.step} | named)
        self.tell("training", is_urgent=True, tested_at=self.step, **named)
        return found

    def finish(self, found: Tested | None) -> None:
        """Write what is left of the run; result.json last, because it says that all is there."""
        if found is None:
            return
        self.folder.append(*self.unwritten)
        leave(self.folder, self.data.val, found)
        checkpoint.save_weights(self.folder.weights, self.detector, self.description)
        result = {
            "signature": self.folder.signature,
            "seed": self.job.run.seed,
            "metrics": asdict(found.metrics),
            "seconds": self.pace.seconds(),
            "spent": self.pace.spent(),
            "facts": environment(self.job.device),
        }
        self.folder.write("result", result)
        self.folder.forget_checkpoints()

    def tell(self, state: str, *, is_urgent: bool = False, **values: Any) -> None:
        """Report where the run stands, at most once a second; Cancelled if it shall end."""
        self.latest |= values
        now = time.monotonic()
        if not is_urgent and now - self.last_report < REPORT_SECONDS:
            return
        self.last_report = now
        self.latest |= {
            "state": state,
            "step": self.step,
            "iterations": self.recipe.iterations,
            "resumed_at": self.first_step,
            "seconds_left": self.pace.seconds_left(self.step),
            "problem": next(iter(self.problems.values()), None),
        }
        self.latest["warnings"] = self.oversight.texts
        self.report(dict(self.latest))
        if self.group.is_first:
            self.oversight.say(self.latest)
            if self.folder.cancellation() and state == "training":  # before a test it was saved
                self.save()
            require_wanted(self.folder)


def _open(job: Job) -> DataSet:
    """The run's data set; ValueError if it is no longer the one the run was planned with."""
    data = open_data(job.where)
    if data.fingerprint != job.run.data:
        raise ValueError(
            f"data set {job.where}: its content changed since the launch "
            f"(fingerprint {data.fingerprint}, planned with {job.run.data}); start again"
        )
    return data
