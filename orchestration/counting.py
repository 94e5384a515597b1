"""How far a piece of work is: a bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console

from orchestration.progress import LOG_SECONDS, duration


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
