"""What a person sees while runs train: a line per run, alive in a terminal, sparse in a log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LOG_SECONDS = 15.0  # between two lines of a running run where the output is no terminal
ENDED = ("done", "failed", "cancelled", "stopped", "missing")
WORKING = ("training", "testing")
MARK = "!"  # before the state of a run that looks wrong
HEADINGS = ("Run", "", "Iteration", "Loss", "AP", "Left")
STYLES = {
    "waiting": "dim",
    "done": "green",
    "failed": "red",
    "retrying": "yellow",
    "cancelled": "yellow",
    "stopped": "yellow",
}


@dataclass
class Line:
    """Where one run stands."""

    name: str
    state: str = "waiting"  # then starting, training, testing, retrying; at last one of ENDED
    values: dict[str, Any] = field(default_factory=dict)  # what its trial reported last
    logged: float = 0.0  # when its last line was printed

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS: the state says how far it is where that takes long."""
        told = self.values
        part = told.get("tested") if self.state == "testing" else None
        doing = self.state if part is None else f"{self.state} {part:.0%}"
        at = f"{told.get('step', 0)}/{told['iterations']}" if told.get("iterations") else ""
        loss, ap = told.get("loss"), told.get("AP")
        left = None if self.state in ENDED else told.get("seconds_left")
        return (
            self.name,
            f"{MARK} {doing}" if self.signs else doing,
            at,
            "" if loss is None else f"{loss:.3f}",
            "" if ap is None else f"{ap:.1f}",
            duration(left),
        )

    @property
    def signs(self) -> list[str]:
        """What a person should know now, a line each."""
        return [f"warning: {text}" for text in self.values.get("warnings", ())]


class Progress:
    """The lines of a launch. As a context: a live table in a terminal, plain lines elsewhere."""

    def __init__(
        self,
        names: Mapping[str, str],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines = {signature: Line(name) for signature, name in names.items()}
        self.console = console
        self.clock = clock
        self.started = clock()
        self.live: Live | None = None

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live = Live(
                get_renderable=self.render, console=self.console, refresh_per_second=2
            ).__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.__exit__(kind, error, trace)
            self.live = None

    def update(self, signature: str, values: Mapping[str, Any]) -> None:
        """Take in what a trial reports: state, step, iterations, loss, AP, seconds_left, reason.

        warnings: all of them so far.
        """
        line = self.lines[signature]
        before = replace(line, values=dict(line.values))
        line.state = values.get("state", line.state)
        line.values |= {"tested": None, "reason": None, **values}
        if self.live is None:
            for sign in line.signs:
                if sign not in before.signs:
                    self._log(line, sign)
            self._log(line, _event(before, line))

    def _log(self, line: Line, event: str | None) -> None:
        now = self.clock()
        if event is None:
            if now - line.logged < LOG_SECONDS or line.state not in WORKING:
                return
            _, doing, at, loss, _, left = line.cells
            event = f"{doing} {at}" + (f", loss {loss}" if loss else "")
            event += f", {left} left" if left else ""
        line.logged = now
        clock = duration(now - self.started)
        text = f"{clock:>8}  {line.name}: {event}"
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def render(self) -> Group:
        """The live table; where the terminal is too low, what runs comes before what ended."""
        lines, signs = list(self.lines.values()), self._signs()
        room = max(4, self.console.height - 4 - len(signs))
        ordered = lines
        if len(lines) > room:
            ordered = sorted(
                lines, key=lambda it: 2 * (it.state in ENDED) + (it.state == "waiting")
            )
        rows = [line.cells for line in ordered[:room]]
        _, *others = zip(HEADINGS, *rows, strict=True)
        left = self.console.width - sum(2 + max(map(len, column)) for column in others)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for place, heading in enumerate(HEADINGS):
            width = None if place else max(16, left)  # names give way, states and numbers do not
            table.add_column(
                heading, justify="left" if place < 2 else "right", no_wrap=True, max_width=width
            )
        for line, cells in zip(ordered, rows, strict=False):
            table.add_row(*cells, style=STYLES.get(line.state, ""))
        if len(lines) > room:
            ended = sum(line.state in ENDED for line in lines)
            signs = [Text(f"... {len(lines)} runs in all, {ended} ended", "dim"), *signs]
        return Group(table, *signs)

    def _signs(self) -> list[Text]:
        """What stands below the table, cut to the terminal's width: `atss logs` has it whole."""
        texts = [
            f"{MARK} {line.name}: {sign}" for line in self.lines.values() for sign in line.signs
        ]
        shown = texts[: max(2, self.console.height // 4)]
        if len(texts) > len(shown):
            shown += [f"... {len(texts)} in all: atss logs RUN"]
        return [Text(text, "yellow", no_wrap=True, overflow="ellipsis") for text in shown]


def _event(before: Line, line: Line) -> str | None:
    """What just happened to a run, in words; None if nothing new."""
    told, ap = line.values, line.values.get("AP")
    if line.state != before.state and line.state not in WORKING:
        reached = f", AP {ap:.1f}" if line.state == "done" and ap is not None else ""
        return line.state + reached + (f": {told['reason']}" if told["reason"] else "")
    if before.state not in WORKING and line.state == "training":
        step = told.get("resumed_at", 0)
        return f"goes on after step {step} of {told.get('iterations')}" if step else "training"
    if ap is not None and ap != before.values.get("AP"):
        return f"AP {ap:.1f} after step {told.get('step')} of {told.get('iterations')}"
    return None


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


class Counter:
    """Counts what is done of a total, as a context; it says what, how far, how long still."""

    def __init__(
        self,
        what: str,
        total: int,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.progress import (  # which the help of a command need not wait for
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.what, self.total, self.console, self.clock = what, total, console, clock
        self.done = 0
        self.started = self.logged = clock()
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(
            TextColumn(what), *columns, console=console, disable=not console.is_terminal
        )
        self.task = self.bar.add_task(what, total=total)

    def __enter__(self) -> "Counter":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done = min(self.done + count, self.total)
        self.bar.update(self.task, completed=self.done)
        now = self.clock()
        if self.console.is_terminal or now - self.logged < LOG_SECONDS:
            return
        self.logged, passed = now, now - self.started
        left = duration(passed * (self.total - self.done) / self.done) if self.done else "?"
        self.console.print(
            f"{duration(passed):>8}  {self.what}: {self.done} of {self.total}, {left} left"
        )
