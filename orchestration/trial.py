"""One run, from its first step or its last checkpoint to its result: the glue, no policy.

It knows neither Ray nor MLflow: what it measures goes into the run's folder, and what a person
wants to watch goes to report, a function that takes a dict. Whatever ends it (a kill, a full disk,
somebody's wish), the folder holds the last checkpoint, and the next attempt ends as this one would
have, to the bit.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from statistics import fmean
from typing import Any

import torch
from torch.multiprocessing import start_processes

from detector import checkpoint
from detector.data.batches import batches
from detector.data.coco import CocoDataset, open_data
from detector.distributed import Group, in_order, joined
from detector.evaluation.detect import detect_all, measure, six
from detector.evaluation.match_records import Matches, save_matches
from detector.metrics import HEADINGS, Metrics
from detector.training import assemble, is_compiled, train
from experiments.own_tables import load_assigner
from orchestration.early_warning import early_warnings
from orchestration.json_files import write_atomically
from orchestration.plan import Job
from orchestration.provenance import environment
from orchestration.resources import Spent, evaluation_steps
from orchestration.run_folder import RunFolder

CHECKPOINT_SECONDS = 10.0  # so much work may be lost when a process is killed
CHECKPOINT_SHARE = 50  # but a save takes at most 1/50 of the time between two
REPORT_SECONDS = 1.0
GRACE_SECONDS = 20.0  # for a run to end by itself when one of its processes has
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}  # for more: trying again at once is no help
HISTORY_STEPS = 500  # entries in a history, each the mean over the steps since the one before

Report = Callable[[dict[str, Any]], None]


class Cancelled(Exception):
    """Somebody asked the run to end; the text says who, and when."""


def run_trial(job: Job, report: Report) -> None:
    """Train and test until result.json is there, or failure.json where no retry would help."""
    folder = RunFolder(job.folder)
    try:
        if folder.is_running:
            reason = f"run {folder.signature} is trained by another process"
            report({"state": "waiting", "reason": reason})
        with folder.locked():
            if not folder.is_done:
                _attempt(job, folder, report)
    except Cancelled as end:
        report({"state": "cancelled", "reason": str(end)})
    except (FloatingPointError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        report({"state": "failed", "reason": folder.fail(error)})
    else:
        metrics = (folder.result() or {}).get("metrics", {})
        report({"state": "done", "AP": metrics.get("ap"), "seconds_left": 0.0})


def _attempt(job: Job, folder: RunFolder, report: Report) -> None:
    """What run_trial does while it holds the folder's lock; the end of an attempt is raised."""
    _check_cancelled(folder)
    folder.forget("failure", "live")
    facts = environment(job.device) | {"processes": str(job.processes)}
    if job.device.startswith("cuda"):
        how = "yes" if is_compiled(job.run.recipe, job.device) else "no"
        print(f"compiled: {how}; --set compiled=yes or no decides otherwise")
        facts |= {"compiled": how, "tf32": "yes"}
    folder.write("run", {**job.facts, "environment": facts})
    if job.training is not None:
        _train_detector(job, job.training, report)
    with _members(job) as address, joined(address, 0, job.processes, job.device) as group:
        Trial(job, report, group).run()


def _check_cancelled(folder: RunFolder) -> None:
    if by := folder.cancellation():
        raise Cancelled(f"by {by}")


def _train_detector(job: Job, training: Job, report: Report) -> None:
    """Train what a job only tests in another way (Table 8's last rows), once, in its own folder.

    Raises Cancelled if somebody ended that, and ValueError, with the reason, where it failed.
    """
    folder = RunFolder(training.folder)

    def pass_on(values: dict[str, Any]) -> None:
        """Not its AP, and not its end: the test is still to come."""
        if values["state"] in ("waiting", "training", "testing"):
            report(values | {"AP": None, "tested_at": None})

    if folder.failure() is None:
        alike = {name: getattr(job, name) for name in ("device", "workers", "processes")}
        run_trial(replace(training, **alike), pass_on)
    if not folder.is_done:
        _check_cancelled(folder)
        reason = (folder.failure() or {}).get("reason", "it ended")
        raise ValueError(f"its detector, of run {folder.signature}, could not be trained: {reason}")


def leave(
    folder: RunFolder, data: CocoDataset, detections: list[dict[str, Any]], matches: Matches
) -> None:
    """Write what a test found into the run's folder: all that its reports need of it."""
    from reports.breakdown import insight

    text = json.dumps(detections)
    write_atomically(folder.detections, lambda part: part.write_text(text))
    write_atomically(folder.matches, lambda part: save_matches(matches, part))
    folder.write("insight", asdict(insight(matches, data.ground_truth, detections)))


@contextmanager
def _members(job: Job) -> Iterator[str]:
    """Start the run's other processes, which share its batches; yields the host:port to meet at.

    When one of them has died this one ends: on GPUs its next sum would wait for half an hour.
    """
    if job.processes == 1:
        yield ""
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    members = start_processes(_join, (job, address), job.processes - 1, join=False)
    is_over = threading.Event()

    def watch() -> None:
        """End this process when another has died."""
        try:
            while not members.join():
                pass
        except Exception as error:
            if not is_over.is_set():
                print(error)
            if not is_over.wait(GRACE_SECONDS):  # the sum may fail by itself, and say why
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield address
    finally:
        is_over.set()
        for member in members.processes:
            member.kill()


def _join(place: int, job: Job, address: str) -> None:
    """What another process of a run does, with the device of its rank; the first one writes."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the first one: PR_SET_PDEATHSIG
    rank = place + 1
    if job.device == "cuda":
        shown = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(job.processes)))
        os.environ["CUDA_VISIBLE_DEVICES"] = shown.split(",")[rank]
    with joined(address, rank, job.processes, job.device) as group:
        Trial(job, lambda values: None, group).run()


class Trial:
    """The state of a run between two of its steps, in one of its processes; the first writes."""

    def __init__(self, job: Job, report: Report, group: Group) -> None:
        self.job, self.report, self.group = job, report, group
        self.folder, self.recipe = RunFolder(job.folder), job.run.recipe
        torch.set_num_threads(self.recipe.threads)  # sums depend on their number
        self.data = open_data(job.where)
        if self.data.fingerprint != job.run.data:
            raise ValueError(
                f"data set {job.where}: its content changed since the launch "
                f"(fingerprint {self.data.fingerprint}, planned with {job.run.data}); start again"
            )
        own, train_set = job.run.assigner, self.data.train
        self.detector, self.optimizer = assemble(
            job.run.config,
            self.recipe,
            len(train_set.names),
            seed=job.run.seed,
            device=job.device,
            assigner=load_assigner(own) if own else None,
        )
        self.description = checkpoint.Description(
            job.run.config, self.recipe, tuple(train_set.category_ids), tuple(train_set.names)
        )
        self.how: dict[str, Any] = {"device": job.device, "workers": job.workers}
        self.how["share"] = group.share
        self.step, facts = self.recipe.iterations, dict[str, Any]()
        if job.training is None:
            where = self.folder.checkpoint
            self.step, facts = checkpoint.load(where, self.detector, self.optimizer)
        else:
            checkpoint.load_weights(RunFolder(job.training.folder).weights, self.detector)
        self.window: list[dict[str, float]] = facts.get("window", [])  # not in the history yet
        self.spent = Spent(**facts.get("spent", {}))
        self.tests = evaluation_steps(self.recipe, len(self.data.val))
        if group.is_first:
            self.folder.forget_after(self.step)
        self.history = self.folder.history()
        self.warnings = [it for it in self.folder.warnings() if it["step"] <= self.step]
        self.latest: dict[str, Any] = {"resumed_at": self.step}
        self.latest["iterations"] = self.recipe.iterations
        self.last_lap = self.last_save = time.monotonic()
        self.save_seconds, self.last_report = 0.0, -REPORT_SECONDS

    def run(self) -> None:
        """Train and test to the end; after the last test all is written."""
        self.tell("training")
        seed, start = self.job.run.seed, self.step
        if start in self.tests:  # stopped between the checkpoint and the end of the test
            self.test()
        images = batches(self.data.train, self.recipe, seed=seed, start=start, **self.how)
        for values in train(
            self.detector,
            self.optimizer,
            images,
            self.recipe,
            start=start,
            micro_batch_size=self.job.micro_batch_size,
            group=self.group,
        ):
            self.step = int(values["step"])
            self.spent.training += self.lap()
            self.spent.steps += 1
            self.keep(values)
            pause = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self.save_seconds)
            if self.step in self.tests or time.monotonic() - self.last_save >= pause:
                self.save()
            if self.step in self.tests:
                self.test()
            else:
                self.tell("training", loss=values["loss"])

    def keep(self, values: dict[str, float]) -> None:
        """Add a step to the history, averaged with others so that a long run's stays short."""
        if not self.group.is_first:
            return
        self.window.append(values)
        every = max(1, self.recipe.iterations // HISTORY_STEPS)
        if self.step in self.tests or self.step == 1 or self.step % every == 0:
            means = {name: fmean(step[name] for step in self.window) for name in values}
            self.note(means | {"step": self.step, "learning_rate": values["learning_rate"]})
            self.window = []

    def note(self, entry: dict[str, Any]) -> None:
        """Add an entry to the history, and write down what looks wrong and did not before."""
        self.folder.append(entry)
        self.history.append(entry)
        about = (self.job.run, len(self.data.train.names))
        for code, text in early_warnings(*about, self.history):
            if code not in [warning["code"] for warning in self.warnings]:
                self.warnings.append({"code": code, "step": self.step, "text": text})
                self.folder.write("warnings", self.warnings)

    def save(self) -> None:
        """Write a checkpoint, and remember what it cost; if that fails, the one before remains."""
        if not self.group.is_first:
            return
        begun = time.monotonic()
        checkpoint.save(
            self.folder.checkpoint,
            self.detector,
            self.optimizer,
            step=self.step,
            facts={"window": self.window, "spent": asdict(self.spent)},
            description=self.description,
        )
        self.last_save = time.monotonic()
        self.save_seconds = self.last_save - begun

    def test(self) -> None:
        """Add the six numbers on the validation images to the history; the last ones finish it.

        Every process tests its share of the images; only the first evaluates what all found.
        """
        val, mine = self.data.val, list[list[dict[str, Any]]]()
        self.spent.training += self.lap()
        self.detector.eval()
        for part in detect_all(self.detector, val, self.recipe, **self.how):
            mine.append([*chain(*part)])
            self.tell("testing")
        detections = in_order(self.group.gather(mine))
        if not self.group.is_first:
            return
        numbers, matches = measure(val.ground_truth, detections)
        self.spent.testing += self.lap()
        self.spent.images += len(val)
        metrics = six(numbers)
        named = {HEADINGS[name]: value for name, value in asdict(metrics).items()}
        self.note({"step": self.step} | named)
        self.tell("training", tested_at=self.step, **named)
        if self.step == self.recipe.iterations:
            leave(self.folder, val, detections, matches)
            self.finish(metrics)

    def finish(self, metrics: Metrics) -> None:
        """Write what is left of the run; result.json last, because it says that all is there."""
        checkpoint.save_weights(self.folder.weights, self.detector, self.description)
        self.spent.testing += self.lap()
        result = {
            "signature": self.folder.signature,
            "seed": self.job.run.seed,
            "metrics": asdict(metrics),
            "seconds": self.spent.training + self.spent.testing,
            "spent": asdict(self.spent),
            "facts": environment(self.job.device),
        }
        self.folder.forget_after(self.step)  # a line per step, however often the run was ended
        self.folder.write("result", result)
        self.folder.forget_checkpoints()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self.last_lap = self.last_lap, time.monotonic()
        return self.last_lap - before

    def tell(self, state: str, **values: Any) -> None:
        """Report where the run stands, each second and after a test; Cancelled if it is to end."""
        self.latest |= values
        if "tested_at" not in values and time.monotonic() - self.last_report < REPORT_SECONDS:
            return
        self.last_report = time.monotonic()
        steps, next_test = self.recipe.iterations - self.step, self.step + (state != "testing")
        images = len(self.data.val) * sum(test >= next_test for test in self.tests)
        self.latest |= {
            "state": state,
            "step": self.step,
            "seconds_left": self.spent.seconds_for(steps, images, self.recipe) or None,
            "warnings": [warning["text"] for warning in self.warnings],
        }
        self.report(dict(self.latest))
        if self.group.is_first:
            self.folder.heartbeat(self.latest)
            if self.folder.cancellation() and state == "training":  # before a test it was saved
                self.save()
            _check_cancelled(self.folder)
