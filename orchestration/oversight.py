"""What a run says while it is trained, beside its numbers, and what it is told.

live.json       where it stands, for `atss status` on any machine
warnings.json   what looks wrong (early_warning.py)
cancel.json     somebody's wish that it ends
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from orchestration.early_warning import Setting, signs
from orchestration.logs import shorten
from orchestration.plan import Job
from orchestration.store import RunFolder

if TYPE_CHECKING:
    from detector.data.coco import CocoDataset

LIVE_SECONDS = 3.0
CHECKS = 20  # looks at the losses in the course of a run, beside one at each test
COUNTED = 500  # images whose objects are counted


class Cancelled(Exception):
    """Somebody asked the run to end; the text says who, and when."""


def require_wanted(folder: RunFolder) -> None:
    """Raise Cancelled if the run was asked to end."""
    if cancellation := folder.cancellation():
        raise Cancelled(f"by {cancellation['by']} at {cancellation['at']}")


class Oversight:
    """Keeps a run's folder up to date for those who watch it; only the first process writes."""

    def __init__(self, job: Job, folder: RunFolder, train: "CocoDataset", step: int) -> None:
        self.job, self.folder = job, folder
        images = range(0, len(train), max(1, len(train) // COUNTED))
        objects = fmean(len(train.target(index)["labels"]) for index in images)
        self.setting = Setting(job.run, len(train.names), objects)
        self.history = folder.history()
        self.warnings = [it for it in folder.warnings() if it["step"] <= step]
        self.num_detections: int | None = None  # of the last test
        self.last_word = -LIVE_SECONDS

    @property
    def texts(self) -> list[str]:
        """The warnings so far, for people."""
        return [warning["text"] for warning in self.warnings]

    def note(self, entry: Mapping[str, Any]) -> None:
        """An entry came to the history: look at it now and then, and at every test."""
        is_new = not self.history or self.history[-1]["step"] != entry["step"]
        self.history += [dict(entry)] if is_new else []
        self.history[-1] |= entry
        every = max(1, self.job.run.recipe.iterations // CHECKS)
        before = self.history[-2]["step"] if len(self.history) > 1 else 0
        if "AP" in entry or before == 0 or entry["step"] // every > before // every:
            self.look()

    def look(self) -> None:
        """Write down what looks wrong and did not before; what was once seen stays."""
        is_tested = self.history[-1].get("AP") is not None
        found = signs(
            self.setting,
            self.history,
            num_detections=self.num_detections if is_tested else None,
        )
        known = {warning["code"] for warning in self.warnings}
        fresh = [asdict(sign) for sign in found if sign.code not in known]
        if fresh:
            self.warnings += fresh
            self.folder.write("warnings", self.warnings)

    def say(self, values: Mapping[str, Any]) -> None:
        """Leave word of where the run stands, every few seconds."""
        if time.monotonic() - self.last_word >= LIVE_SECONDS:
            self.last_word = time.monotonic()
            with suppress(OSError):  # a disk that is full or away is told of elsewhere
                self.folder.say(values)
                shorten(self.folder.log)
