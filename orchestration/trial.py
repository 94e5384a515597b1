"""One run, from its first step or its last checkpoint to its result: the glue, no policy.

It knows neither Ray nor MLflow: what it measures goes into the run's folder, and what a person
wants to watch goes to report, a function that takes a dict.
"""

import json
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from detector import checkpoint
from detector.coco import DataSet, batches, open_data
from detector.config import Recipe
from detector.evaluation import detect_all, evaluate
from detector.metrics import HEADINGS, Metrics
from detector.training import assemble, train
from orchestration.plan import Job
from orchestration.store import RunFolder, write_atomically

CHECKPOINT_SECONDS = 10.0  # so much work may be lost when a process is killed
CHECKPOINT_SHARE = 50  # but a save takes at most 1/50 of the time between two
REPORT_SECONDS = 1.0
TRAINING_COST = 3  # of an image, in forward passes: a guess until a test has been timed
HISTORY_STEPS = 500  # entries in a history, each the mean over the steps since the one before

Report = Callable[[dict[str, Any]], None]


def run_trial(job: Job, report: Report) -> None:
    """Train and test until result.json is there, or failure.json where no retry would help."""
    folder = RunFolder(job.folder)
    with folder.locked():
        if not folder.is_done:
            folder.forget_failure()
            folder.write("run", {**job.facts, "environment": environment(job.device)})
            try:
                Trial(job, folder, report).run()
            except (FloatingPointError, ValueError) as error:
                _fail(folder, error, report)
                return
    metrics = (folder.result() or {}).get("metrics", {})
    report({"state": "done", "AP": metrics.get("ap"), "seconds_left": 0.0})


def _fail(folder: RunFolder, error: Exception, report: Report) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    folder.write("failure", {"reason": reason, "traceback": traceback.format_exc()})
    report({"state": "failed", "reason": reason})


def evaluation_steps(recipe: Recipe, num_images: int) -> set[int]:
    """After which steps AP is measured: evenly, and always after the last one.

    No oftener than the num_images to test on are matched by as many trained: in a run cut short,
    testing would take longer than training.
    """
    affordable = recipe.iterations * recipe.batch_size // max(num_images, 1)
    times = max(1, min(recipe.evaluations, recipe.iterations, affordable))
    return {round(recipe.iterations * part / times) for part in range(1, times + 1)}


class Trial:
    """The state of a run between two of its steps."""

    def __init__(self, job: Job, folder: RunFolder, report: Report) -> None:
        self.job, self.folder, self.report = job, folder, report
        self.recipe = job.run.recipe
        torch.set_num_threads(self.recipe.threads)  # sums depend on their number
        self.data = _open(job)
        self.tests = evaluation_steps(self.recipe, len(self.data.val))
        self.detector, self.optimizer = assemble(
            job.run.config,
            self.recipe,
            len(self.data.train.names),
            seed=job.run.seed,
            device=job.device,
        )
        self.step, facts = checkpoint.load(folder.checkpoint, self.detector, self.optimizer)
        self.window: list[dict[str, float]] = facts.get(
            "window", []
        )  # steps not in the history yet
        self.seconds_before: float = facts.get("seconds", 0.0)
        self.history = folder.forget_after(self.step)
        self.first_step, self.started = self.step, time.monotonic()
        self.last_save, self.last_report = self.started, -REPORT_SECONDS
        self.save_seconds = self.test_seconds = 0.0
        self.num_tested = self.num_untested = 0  # images: in all tests, and left in the present one
        self.latest: dict[str, Any] = {}

    def run(self) -> None:
        """Train to the end, then test once more and write the result."""
        self.tell("training")
        tests = self.tests
        detections: list[dict[str, Any]] = []
        metrics = Metrics()
        if self.step in tests:  # stopped between the checkpoint and the end of the test
            metrics, detections = self.test()
        for values in self.steps():
            self.keep(values, is_test=self.step in tests)
            if self.step in tests:
                self.save()
                metrics, detections = self.test()
            elif self.is_save_due():
                self.save()
            self.tell("training", loss=values["loss"])
        self.finish(metrics, detections)

    def steps(self) -> Iterator[dict[str, float]]:
        """The training loop; its numbers, once per step."""
        job, recipe = self.job, self.recipe
        images = batches(
            self.data.train, recipe, seed=job.run.seed, start=self.step, workers=job.workers
        )
        for values in train(
            self.detector,
            self.optimizer,
            images,
            recipe,
            start=self.step,
            micro_batch_size=job.micro_batch_size,
        ):
            self.step = int(values["step"])
            yield values

    def keep(self, values: dict[str, float], *, is_test: bool) -> None:
        """Add a step to the history, averaged with others so that a long run's stays short."""
        self.window.append(values)
        every = max(1, self.recipe.iterations // HISTORY_STEPS)
        if is_test or self.step % every == 0:
            means = {name: fmean(step[name] for step in self.window) for name in values}
            self.folder.append(
                means | {"step": self.step, "learning_rate": values["learning_rate"]}
            )
            self.window = []

    def is_save_due(self) -> bool:
        pause = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self.save_seconds)
        return time.monotonic() - self.last_save >= pause

    def save(self) -> None:
        """Write a checkpoint, and remember what it cost."""
        begun = time.monotonic()
        facts = {"window": self.window, "seconds": self.seconds()}
        checkpoint.save(
            self.folder.checkpoint, self.detector, self.optimizer, step=self.step, facts=facts
        )
        self.last_save = time.monotonic()
        self.save_seconds = self.last_save - begun

    def test(self) -> tuple[Metrics, list[dict[str, Any]]]:
        """The six numbers on the validation images, and the detections behind them."""
        begun, before, val = time.monotonic(), self.test_seconds, self.data.val
        detections: list[dict[str, Any]] = []
        self.num_untested = len(val)
        self.detector.eval()
        for part in detect_all(
            self.detector, val, self.recipe, device=self.job.device, workers=self.job.workers
        ):
            detections += part
            images = min(self.recipe.batch_size, self.num_untested)
            self.num_tested, self.num_untested = (
                self.num_tested + images,
                self.num_untested - images,
            )
            self.test_seconds = before + time.monotonic() - begun
            self.tell("testing", tested=1 - self.num_untested / len(val))
        metrics = evaluate(val.ground_truth, detections)
        self.test_seconds = before + time.monotonic() - begun
        named = {HEADINGS[name]: value for name, value in asdict(metrics).items()}
        self.folder.append({"step": self.step} | named)
        self.tell("training", is_urgent=True, **named)
        return metrics, detections

    def finish(self, metrics: Metrics, detections: list[dict[str, Any]]) -> None:
        """Write what is left of the run; result.json last, because it says that all is there."""
        text = json.dumps(detections)
        write_atomically(self.folder.detections, lambda part: part.write_text(text))
        checkpoint.save_weights(self.folder.weights, self.detector)
        result = {
            "signature": self.folder.signature,
            "seed": self.job.run.seed,
            "metrics": asdict(metrics),
            "seconds": self.seconds(),
            "facts": environment(self.job.device),
        }
        self.folder.write("result", result)
        self.folder.forget_checkpoints()

    def seconds(self) -> float:
        """Wall time of training and testing, over all attempts, without what was lost."""
        return self.seconds_before + time.monotonic() - self.started

    def tell(self, state: str, *, is_urgent: bool = False, **values: Any) -> None:
        """Report where the run stands, at most once a second."""
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
            "seconds_left": self.seconds_left(),
        }
        self.report(dict(self.latest))

    def seconds_left(self) -> float | None:
        """By the pace of this attempt so far; None before its first step."""
        steps = self.step - self.first_step
        if not steps and not self.num_tested:
            return None
        trained = time.monotonic() - self.started - self.test_seconds
        per_step = trained / steps if steps else 0.0
        guess = per_step / self.recipe.batch_size / TRAINING_COST
        per_image = self.test_seconds / self.num_tested if self.num_tested else guess
        tests_left = sum(step > self.step for step in self.tests)
        images_left = tests_left * len(self.data.val) + self.num_untested
        return per_step * (self.recipe.iterations - self.step) + per_image * images_left


def _open(job: Job) -> DataSet:
    """The run's data set; ValueError if it is no longer the one the run was planned with."""
    data = open_data(job.where)
    if data.fingerprint != job.run.data:
        raise ValueError(
            f"data set {job.where}: its content changed since the launch "
            f"(fingerprint {data.fingerprint}, planned with {job.run.data}); start again"
        )
    return data


def environment(device: str) -> dict[str, str]:
    """Where a run is trained: versions and devices."""
    packages = ("torch", "torchvision", "ray", "mlflow", "pycocotools")
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "cuda": str(torch.version.cuda) if device == "cuda" else "none",
        "gpu": gpu,
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu_model() -> str:
    """The processor's name; "unknown" where the system does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
