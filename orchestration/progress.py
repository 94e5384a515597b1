"""What a person sees while runs train: a line per run, alive in a terminal, sparse in a log."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    step: int = 0
    iterations: int = 0
    loss: float | None = None
    ap: float | None = None  # of the last test
    tested: float | None = None  # share of the validation images, while testing
    seconds_left: float | None = None
    warnings: Sequence[str] = ()  # what looks wrong
    logged: float = 0.0  # when its last line was printed

    @property
    def at(self) -> str:
        return f"{self.step}/{self.iterations}" if self.iterations else ""

    @property
    def doing(self) -> str:
        """The state, and how far it is where that takes long."""
        state = self.state if self.tested is None else f"{self.state} {self.tested:.0%}"
        return f"{MARK} {state}" if self.signs else state

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS."""
        loss = "" if self.loss is None else f"{self.loss:.3f}"
        ap = "" if self.ap is None else f"{self.ap:.1f}"
        return (self.name, self.doing, self.at, loss, ap, duration(self.seconds_left))

    @property
    def signs(self) -> list[str]:
        """What a person should know now, a line each."""
        return [f"warning: {text}" for text in self.warnings]


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
        before, ap_before, signs_before = line.state, line.ap, line.signs
        line.state = values.get("state", line.state)
        line.step = values.get("step", line.step)
        line.iterations = values.get("iterations", line.iterations)
        line.loss = values.get("loss", line.loss)
        line.ap = values.get("AP", line.ap)
        line.tested = values.get("tested") if line.state == "testing" else None
        line.seconds_left = values.get("seconds_left", line.seconds_left)
        line.warnings = values.get("warnings", line.warnings)
        if line.state in ENDED:
            line.seconds_left = None
        if self.live is None:
            for sign in line.signs:
                if sign not in signs_before:
                    self._log(line, sign)
            self._log(line, self._event(line, before, ap_before, values))

    def _event(
        self, line: Line, before: str, ap_before: float | None, values: Mapping[str, Any]
    ) -> str | None:
        """What just happened to a run, in words; None if nothing new."""
        if line.state != before and line.state not in WORKING:
            reason = values.get("reason")
            ap = f", AP {line.ap:.1f}" if line.state == "done" and line.ap is not None else ""
            return line.state + ap + (f": {reason}" if reason else "")
        if before not in WORKING and line.state == "training":
            step = values.get("resumed_at", 0)
            return f"goes on after step {step} of {line.iterations}" if step else "training"
        if line.ap is not None and line.ap != ap_before:
            return f"AP {line.ap:.1f} after step {line.step} of {line.iterations}"
        return None

    def _log(self, line: Line, event: str | None) -> None:
        now = self.clock()
        if event is None:
            if now - line.logged < LOG_SECONDS or line.state not in WORKING:
                return
            loss = "" if line.loss is None else f", loss {line.loss:.3f}"
            left = "" if line.seconds_left is None else f", {duration(line.seconds_left)} left"
            event = f"{line.doing} {line.at}{loss}{left}"
        line.logged = now
        clock = duration(now - self.started)
        text = f"{clock:>8}  {line.name}: {event}"
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def render(self) -> Group:
        """The live table; where the terminal is too low, what runs comes before what ended."""
        lines, signs = list(self.lines.values()), self._signs()
        room = max(4, self.console.height - 4 - len(signs))
        ordered = lines if len(lines) <= room else sorted(lines, key=_urgency)
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


def _urgency(line: Line) -> int:
    if line.state == "waiting":
        return 1
    return 2 if line.state in ENDED else 0


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
