"""What a person sees while runs train: a line per run, alive in a terminal, sparse in a log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import progress
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LOG_SECONDS = 15.0  # between two lines of a running run where the output is no terminal
ENDED = ("done", "failed", "cancelled", "stopped", "missing")  # the last two: left, not begun
WORKING = ("training", "testing")
MARK = "!"  # before the state of a run that looks wrong
HEADINGS = ("Run", "", "Iteration", "Loss", "AP", "Left")
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
    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS: the state says how far it is where that takes long."""
        told, mark = self.values, f"{MARK} " if self.warnings else ""
        part = told.get("tested") if self.state == "testing" else None
        loss, ap = told.get("loss"), told.get("AP")
        return (
            self.name,
            mark + self.state + ("" if part is None else f" {part:.0%}"),
            f"{told.get('step', 0)}/{told['iterations']}" if told.get("iterations") else "",
            "" if loss is None else f"{loss:.3f}",
            "" if ap is None else f"{ap:.1f}",
            duration(told.get("seconds_left")) if self.is_moving else "",
        )

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
        """How far it is, or why it is no further, in one line."""
        if reason := self.values.get("reason"):
            return str(reason)
        shown = []
        if self.state not in ("done", "waiting", "missing"):
            shown.append(f"after {self.values['step']} of {self.values['iterations']} steps")
        if (ap := self.values.get("AP")) is not None:
            shown.append(f"AP {ap:.1f}")
        if self.is_moving and (left := duration(self.values.get("seconds_left"))):
            shown.append(f"{left} left")
        return ", ".join(shown)

    def take(self, told: Mapping[str, Any]) -> list[str]:
        """Take in what was reported; returns what is new in it, in words."""
        state, ap, known = self.state, self.values.get("AP"), self.warnings
        self.state = told.get("state", state)
        self.values |= {"tested": None, "reason": None, **told}
        news = [f"warning: {text}" for text in self.warnings if text not in known]
        now, of = self.values.get("AP"), self.values.get("iterations")
        if self.state != state and self.state not in WORKING:
            reached = f", AP {now:.1f}" if self.state == "done" and now is not None else ""
            reason = self.values["reason"]
            news.append(self.state + reached + (f": {reason}" if reason else ""))
        elif state not in WORKING and self.state == "training":
            step = self.values.get("resumed_at", 0)
            news.append(f"goes on after step {step} of {of}" if step else "training")
        elif now is not None and now != ap:
            news.append(f"AP {now:.1f} after step {self.values.get('step')} of {of}")
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
            _, doing, at, loss, _, left = line.cells
            loss, left = (f", loss {loss}" if loss else ""), (f", {left} left" if left else "")
            news = [f"{doing} {at}{loss}{left}"]
        for event in news:
            line.logged = now
            text = f"{duration(now - self.started):>8}  {line.name}: {event}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def render(self) -> Group:
        """The live table; where the terminal is too low, what runs comes before what ended."""
        lines, below = list(self.lines.values()), list[Text]()
        room = max(4, self.console.height - 6)
        if len(lines) > room:
            ended = sum(not line.is_moving for line in lines)
            below.append(Text(f"... {len(lines)} runs in all, {ended} ended", "dim"))
            lines.sort(key=lambda line: (not line.is_moving, line.state == "waiting"))
        if odd := sum(bool(line.warnings) for line in lines):
            below.append(Text(f"{MARK} {count(odd, 'run')} with warnings: atss logs", "yellow"))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for place, heading in enumerate(HEADINGS):  # names give way, states and numbers do not
            table.add_column(heading, justify="right" if place > 1 else "left", no_wrap=place > 0)
        for line in lines[:room]:
            name, *others = line.cells
            shown = Text(name, no_wrap=True, overflow="ellipsis")
            table.add_row(shown, *others, style=STYLES.get(line.state, ""))
        return Group(table, *below)


class Counter(progress.Progress):
    """Counts what is done of a total, as a context; it says what, how far, how long still."""

    def __init__(
        self, what: str, total: int, console: Console, clock: Clock = time.monotonic
    ) -> None:
        columns = (progress.BarColumn(), progress.MofNCompleteColumn())
        left, is_hidden = progress.TimeRemainingColumn(), not console.is_terminal
        super().__init__("{task.description}", *columns, left, console=console, disable=is_hidden)
        self.task = self.add_task(what, total=total)
        self.what, self.total, self.done, self.clock = what, total, 0, clock
        self.begun = self.logged = clock()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done = min(self.done + count, self.total)
        self.update(self.task, completed=self.done)
        now = self.clock()
        if self.disable and now - self.logged >= LOG_SECONDS:
            self.logged, passed = now, now - self.begun
            left = duration(passed * (self.total - self.done) / max(1, self.done))
            done = f"{self.what}: {self.done} of {self.total}, {left} left"
            self.console.print(f"{duration(passed):>8}  {done}")
