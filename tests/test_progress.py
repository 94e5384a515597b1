"""What a person sees of runs that look wrong, wait for others, or were told to end."""

import io
import re
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from rich.console import Console

from orchestration.progress import Line, Progress, duration


def in_a_log(*values: dict[str, Any], seconds: Iterable[float] = repeat(0.0)) -> list[str]:
    """The lines that a log gets; seconds: of the clock, for each of the values."""
    log, now = io.StringIO(), [0.0]
    progress = Progress({"a": "run a"}, Console(file=log, width=120), lambda: now[0])
    with progress:
        for told, now[0] in zip(values, seconds, strict=False):
            progress.update("a", told)
    return log.getvalue().splitlines()


def said(*values: dict[str, Any]) -> list[str]:
    """The same without the clock and the name."""
    return [line.partition("run a: ")[2] for line in in_a_log(*values)]


def in_a_terminal(progress: Progress, console: Console, screen: io.StringIO) -> list[str]:
    screen.truncate(0)
    screen.seek(0)
    console.print(progress.render())
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in screen.getvalue().splitlines()]


def test_a_log_is_sparse_and_tells_every_event() -> None:
    training = {"state": "training"}
    told = [{"state": "starting"}]
    told += [training | {"step": 20, "iterations": 300, "resumed_at": 20, "seconds_left": None}]
    told += [training | {"step": n, "loss": 1.25, "seconds_left": 70.0} for n in range(6, 40)]
    told += [training | {"AP": 21.04}, {"state": "retrying", "reason": "its process ended"}]
    told += [training | {"step": 20, "resumed_at": 20}, {"state": "done", "AP": 30.0}]
    assert in_a_log(*told, seconds=[1, 5, *range(6, 40), 40, 41, 45, 50]) == [
        "    0:01  run a: starting",
        "    0:05  run a: goes on after step 20 of 300",
        "    0:20  run a: training 20/300, loss 1.250, 1:10 left",
        "    0:35  run a: training 35/300, loss 1.250, 1:10 left",
        "    0:40  run a: AP 21.0 after step 39 of 300",
        "    0:41  run a: retrying: its process ended",
        "    0:45  run a: goes on after step 20 of 300",
        "    0:50  run a: done, AP 30.0",
    ]


def test_a_terminal_has_one_line_per_run_and_they_fit() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100, height=12, force_terminal=True)
    progress = Progress({str(number): f"run {number}" for number in range(20)}, console)
    progress.update("3", {"state": "done", "AP": 33.0, "seconds_left": 0.0})
    progress.update("15", {"state": "training", "step": 5, "iterations": 9, "loss": 1.0, "AP": 7.0})
    lines = in_a_terminal(progress, console, screen)
    assert len(lines) <= console.height - 1
    assert re.search(r"run 15.*training.*5/9.*1.000.*7.0", lines[1])
    assert "20 runs in all, 1 ended" in lines[-1]
    assert (duration(75), duration(4000), duration(None)) == ("1:15", "1:06:40", "")


def test_a_warning_is_told_once_in_a_log() -> None:
    training = {"state": "training", "step": 1, "iterations": 9}
    assert said(
        training,
        training | {"warnings": ["loss/cls begins at 9"]},
        training | {"warnings": ["loss/cls begins at 9"], "step": 2},
        training | {"warnings": ["loss/cls begins at 9", "AP is 0"], "step": 3, "AP": 0.0},
    ) == [
        "training",
        "warning: loss/cls begins at 9",
        "warning: AP is 0",
        "AP 0.0 after step 3 of 9",
    ]


def test_runs_that_wait_or_end_for_a_reason_give_it_and_are_silent_then() -> None:
    assert said(
        {"state": "starting"},
        {"state": "elsewhere", "reason": "another launch trains it"},
        {"state": "elsewhere"},
        {"state": "training", "step": 0, "iterations": 9},
        {"state": "cancelled", "reason": "by me at noon"},
        {"state": "cancelled", "reason": "by me at noon"},
    ) == ["starting", "elsewhere: another launch trains it", "training", "cancelled: by me at noon"]


def test_a_run_that_looks_wrong_is_marked_and_counted_below_the_table() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=60, height=16, force_terminal=True)
    progress = Progress({str(number): f"run {number}" for number in range(20)}, console)
    told = {"state": "training", "step": 5, "iterations": 9, "warnings": ["AP is 0"]}
    progress.update("15", told)
    lines = in_a_terminal(progress, console, screen)
    assert re.match(r"run 15 +! training +5/9", lines[1])
    assert lines[-2:] == ["... 20 runs in all, 0 ended", "! 1 run with warnings: atss logs"]
    assert len(lines) <= console.height - 1


def test_a_run_that_came_to_rest_before_is_no_news() -> None:
    log = io.StringIO()
    progress = Progress({}, Console(file=log, width=120))
    progress.lines["a"] = Line("run a", "done", {"AP": 33.3})
    progress.update("a", {"state": "done", "AP": 33.3})
    assert log.getvalue() == ""
