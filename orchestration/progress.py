"""What a person sees while runs train: a line per run, alive in a terminal, sparse in a log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import progress
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

LOG_SECONDS = 15.0  # between two lines of a running run where the output is no terminal
ENDED = ("done", "failed", "cancelled", "stopped", "missing")  # the last two: left, not begun
WORKING = ("training", "testing")
MARK = "!"  # before the state of a run that looks wrong
DETAIL_WIDTH = 48  # letters in the live table; a reason may be longer
STYLES = {"waiting": "dim", "done": "green", "failed": "red"}
STYLES |= dict.fromkeys(("retrying", "cancelled", "stopped"), "yellow")
Clock = Callable[[], float]


def duration(seconds: float | None) -> str:
    """75 -> "1:15", 4000 -> "1:06:40"; empty if unknown."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs", "2 processes"."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}" + ("" if number == 1 else ending)


@dataclass
class Status:
    """Where one run stands, by what its trial reports or its folder tells."""

    name: str
    state: str = "waiting"  # then starting, training, testing, cancelling; at last one of ENDED
    values: dict[str, Any] = field(default_factory=dict)  # what was told of it last
    signature: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # run.json, or what its launch says
    logged: float = 0.0  # when its last line was printed

    @property
    def warnings(self) -> list[str]:
        """What looks wrong with it."""
        return list(self.values.get("warnings", ()))

    @property
    def is_moving(self) -> bool:
        """Whether something will come of it without a further command."""
        return self.state not in ENDED

    @property
    def detail(self) -> str:
        """Why it is no further, or how far it is: "111/1100, loss 1.874, AP 20.1, 2:19 left"."""
        told, shown = self.values, list[str]()
        if reason := told.get("reason"):
            return str(reason)
        if told.get("step"):
            shown.append(f"{told['step']}/{told.get('iterations') or '?'}")
        if (loss := told.get("loss")) is not None:
            shown.append(f"loss {loss:.3f}")
        if (ap := told.get("AP")) is not None:
            shown.append(f"AP {ap:.1f}")
        if self.is_moving and (left := duration(told.get("seconds_left"))):
            shown.append(f"{left} left")
        return ", ".join(shown)

    def take(self, told: Mapping[str, Any]) -> list[str]:
        """Take in what was reported; returns what is new in it, in words."""
        before, ap, known = self.state, self.values.get("AP"), self.warnings
        self.state = told.get("state", before)
        self.values |= {"reason": None, **told}
        news = [f"warning: {text}" for text in self.warnings if text not in known]
        step, of, now = (self.values.get(name) for name in ("step", "iterations", "AP"))
        if self.state not in WORKING and self.state != before:
            reached = f", AP {now:.1f}" if self.state == "done" and now is not None else ""
            reason = self.values["reason"]
            news.append(self.state + reached + (f": {reason}" if reason else ""))
        elif self.state == "training" and before not in WORKING:
            resumed_at = self.values.get("resumed_at")
            news.append(f"goes on after step {resumed_at} of {of}" if resumed_at else "training")
        elif now is not None and now != ap:
            news.append(f"AP {now:.1f} after step {step} of {of}")
        return news


class Progress:
    """The lines of a launch. As a context: a live table in a terminal, plain lines elsewhere."""

    def __init__(
        self, names: Mapping[str, str], console: Console, clock: Clock = time.monotonic
    ) -> None:
        self.lines = {signature: Status(name) for signature, name in names.items()}
        self.console, self.clock, self.started = console, clock, clock()
        self.live = Live(get_renderable=self.render, console=console, refresh_per_second=2)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def update(self, signature: str, values: Mapping[str, Any]) -> None:
        """Take in what a trial reports: state, step, iterations, loss, AP, seconds_left, reason.

        warnings: all of them so far.
        """
        line = self.lines[signature]
        news, now = line.take(values), self.clock()
        if self.console.is_terminal:
            return
        if not news and now - line.logged >= LOG_SECONDS and line.state in WORKING:
            news = [f"{line.state} {line.detail}"]
        for event in news:
            line.logged = now
            text = f"{duration(now - self.started):>8}  {line.name}: {event}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def render(self) -> Table:
        """The live table: first what runs, because a low terminal shows no more."""
        columns = "Run", "", Column(max_width=DETAIL_WIDTH)
        table = Table(*columns, box=None, pad_edge=False, header_style="dim", title_justify="left")
        order = sorted(
            self.lines.values(), key=lambda it: (not it.is_moving, it.state == "waiting")
        )
        for it in order:
            texts = it.name, f"{MARK} {it.state}" if it.warnings else it.state, it.detail
            cells = (Text(text, no_wrap=True, overflow="ellipsis") for text in texts)
            table.add_row(*cells, style=STYLES.get(it.state, ""))
        if odd := sum(bool(it.warnings) for it in order):
            table.title = Text(f"{MARK} {count(odd, 'run')} with warnings: atss logs", "yellow")
        return table


class Counter(progress.Progress):
    """Counts what is done of a total, as a context; it says what, how far, how long still."""

    def __init__(
        self, what: str, total: int, console: Console, clock: Clock = time.monotonic
    ) -> None:
        columns = (progress.BarColumn(), progress.MofNCompleteColumn())
        left, is_hidden = progress.TimeRemainingColumn(), not console.is_terminal
        super().__init__("{task.description}", *columns, left, console=console, disable=is_hidden)
        self.what, self.total, self.done, self.clock = what, total, 0, clock
        self.bar, self.begun = self.add_task(what, total=total), clock()
        self.logged = self.begun

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self.update(self.bar, completed=self.done)
        now = self.clock()
        if self.disable and now - self.logged >= LOG_SECONDS:
            self.logged, passed = now, now - self.begun
            left = duration(passed * (self.total - self.done) / self.done)
            done = f"{self.what}: {self.done} of {self.total}, {left} left"
            self.console.print(f"{duration(passed):>8}  {done}")
