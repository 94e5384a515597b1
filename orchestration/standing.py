"""Where every run of a results folder stands, told by its files alone, from whatever machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration import early
from orchestration.launches import Launch, going_on, planned
from orchestration.progress import duration
from orchestration.store import RunFolder, Store

# waiting      a launch that goes on has yet to begin it
# starting     its process loads what it needs; then training, testing
# cancelling   it was asked to end and has not yet
# elsewhere    a launch waits for another one that trains it
MOVING = ("waiting", "starting", "training", "testing", "cancelling", "elsewhere")
# stopped      begun, not done, and nobody is at it; missing: not even begun
RESTING = ("done", "failed", "cancelled", "stopped", "missing")


@dataclass(frozen=True)
class Standing:
    """Where one run stands."""

    folder: RunFolder
    facts: Mapping[str, Any]  # run.json, or what its launch says of it
    state: str  # one of MOVING or RESTING
    values: Mapping[str, Any] = field(default_factory=dict)  # as trials report them

    @property
    def is_moving(self) -> bool:
        """Whether something will come of it without a further command."""
        return self.state in MOVING

    @property
    def setup(self) -> str:
        """What its numbers may be compared with, for people."""
        return str(self.facts.get("setup", {}).get("name", "unknown"))

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.facts.get("name", self.folder.signature))

    @property
    def warnings(self) -> list[str]:
        """What looks wrong with it."""
        return list(self.values.get("warnings", ()))

    @property
    def detail(self) -> str:
        """How far it is, or why it is no further, in one line."""
        if reason := self.values.get("reason"):
            return str(reason)
        ap, left = self.values.get("AP"), duration(self.values.get("seconds_left"))
        shown = [] if ap is None else [f"AP {ap:.1f}"]
        if self.state not in ("done", "waiting", "missing"):
            step, iterations = self.values.get("step", 0), self.values.get("iterations", 0)
            shown = [f"after {step} of {iterations} steps", *shown]
        return ", ".join(shown + ([f"{left} left"] if left and self.is_moving else []))


def all_standings(store: Store) -> list[Standing]:
    """Every run that was begun, oldest first, then those that a launch has yet to begin, or had."""
    launches = going_on(store)
    known = {folder.signature: folder.facts() for folder in store.folders()}
    later = {name: facts for name, facts in planned(store).items() if name not in known}
    everything = {**known, **later}
    return [standing(store.folder(name), facts, launches) for name, facts in everything.items()]


def standing(
    folder: RunFolder, facts: Mapping[str, Any], launches: Sequence[Launch] = ()
) -> Standing:
    """One run's; launches: those that go on in its results folder."""
    values: dict[str, Any] = {"warnings": [warning["text"] for warning in folder.warnings()]}
    result = folder.result()
    if result is not None:
        values |= {"AP": result["metrics"]["ap"], "seconds": result.get("seconds")}
        return Standing(folder, facts, "done", values)
    if folder.is_running:
        live = folder.live()
        state = "cancelling" if folder.cancellation() else live.get("state", "starting")
        return Standing(folder, facts, state, values | (live or _last_word(folder, facts)))
    state, reason = _resting(folder, launches)
    values |= _last_word(folder, facts) | ({"reason": reason} if reason else {})
    return Standing(folder, facts, state, values)


def _resting(folder: RunFolder, launches: Sequence[Launch]) -> tuple[str, str]:
    """The state of a run that is not done and that nobody trains, with the reason for it."""
    if cancellation := folder.cancellation():
        return "cancelled", f"by {cancellation['by']} at {cancellation['at']}"
    failure = folder.failure()
    begun = max((it.begun for it in launches if folder.signature in it.runs), default=None)
    if failure and (begun is None or folder.failed_at > begun):
        return "failed", failure["reason"]
    if begun is not None:
        return "waiting", ""
    if where := early.stopped(folder):
        return "stopped", f"early, AP {where.ap:.1f} after {where.step} steps"
    return ("stopped" if folder.facts() else "missing"), ""


def _last_word(folder: RunFolder, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the history says of a run: how far it came, its last AP."""
    history = folder.history()
    aps = [entry["AP"] for entry in history if entry.get("AP") is not None]
    step = history[-1]["step"] if history else 0
    iterations = facts.get("params", {}).get("iterations", 0)
    return {"step": step, "iterations": iterations} | ({"AP": aps[-1]} if aps else {})
