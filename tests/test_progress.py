"""What a person sees of a launch: an event per line in a log, a line per run in a terminal."""

import io
import re
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from rich.console import Console

from orchestration.progress import Counter, Progress, count, duration

ODD = {"state": "training", "step": 1, "iterations": 9, "warnings": ["loss/cls begins at 9"]}
NOW = repeat(0.0)


def in_a_log(told: list[dict[str, Any]], seconds: Iterable[float] = NOW) -> list[str]:
    """The lines that a log gets; seconds: of the clock, for each of the values."""
    log, now = io.StringIO(), [0.0]
    with Progress({"a": "run a"}, Console(file=log, width=120), lambda: now[0]) as progress:
        for values, now[0] in zip(told, seconds, strict=False):
            progress.update("a", values)
    return log.getvalue().splitlines()


def test_a_log_is_sparse_and_tells_every_event():
    training = {"state": "training"}
    told = [{"state": "starting"}]
    told += [training | {"step": 20, "iterations": 300, "resumed_at": 20, "seconds_left": None}]
    told += [training | {"step": n, "loss": 1.25, "seconds_left": 70.0} for n in range(6, 40)]
    told += [training | {"AP": 21.04}, {"state": "retrying", "reason": "its process ended"}]
    told += [training | {"step": 20, "resumed_at": 20}, {"state": "done", "AP": 30.0}]
    assert in_a_log(told, [1, 5, *range(6, 40), 40, 41, 45, 50]) == [
        "    0:01  run a: starting",
        "    0:05  run a: goes on after step 20 of 300",
        "    0:20  run a: training 20/300, loss 1.250, 1:10 left",
        "    0:35  run a: training 35/300, loss 1.250, 1:10 left",
        "    0:40  run a: AP 21.0 after step 39 of 300",
        "    0:41  run a: retrying: its process ended",
        "    0:45  run a: goes on after step 20 of 300",
        "    0:50  run a: done, AP 30.0",
    ]


def test_what_is_no_news_is_not_told_again():
    told = [{"state": "waiting", "reason": "another launch"}, {"state": "elsewhere"}]
    told += [{"state": "elsewhere"}, {"state": "training", "step": 1, "iterations": 9}]
    told += [ODD, ODD | {"step": 2}, ODD | {"step": 3, "AP": 0.0}]
    told += [{"state": "cancelled", "reason": "by me"}] * 2
    assert [line.partition("run a: ")[2] for line in in_a_log(told)] == [
        "elsewhere",
        "training",
        "warning: loss/cls begins at 9",
        "AP 0.0 after step 3 of 9",
        "cancelled: by me",
    ]


def test_a_terminal_has_a_line_per_run_and_those_that_run_come_first():
    screen = io.StringIO()
    console = Console(file=screen, width=60, force_terminal=True)
    progress = Progress({str(number): f"run {number}" for number in range(20)}, console)
    progress.update("3", {"state": "done", "AP": 33.0, "seconds_left": 0.0})
    progress.update("15", ODD | {"step": 5, "loss": 1.0, "AP": 7.0})
    console.print(progress.render())
    text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    odd, head, first, *_, last = [line.rstrip() for line in text.splitlines()]
    assert odd == "! 1 run with warnings: atss logs" and head.split()[0] == "Run"
    assert re.match(r"run 15 +! training +5/9, loss 1.000, AP 7.0$", first)
    assert re.match(r"run 3 +done +AP 33.0$", last)


def test_times_and_numbers_are_said_as_people_do():
    assert (duration(75), duration(4000), duration(None)) == ("1:15", "1:06:40", "")
    assert (count(1, "run"), count(2, "process")) == ("1 run", "2 processes")


def test_progress_is_a_line_now_and_then_with_the_time_left_and_a_bar_in_a_terminal():
    log, screen, clock = io.StringIO(), io.StringIO(), iter([0.0, 5.0, 20.0, 21.0, 40.0])
    with Counter("testing", 8, Console(file=log, width=80), clock=lambda: next(clock)) as counter:
        for _ in range(4):
            counter.add(2)
    assert log.getvalue().splitlines() == [
        "    0:20  testing: 4 of 8, 0:20 left",
        "    0:40  testing: 8 of 8, 0:00 left",
    ]
    with Counter("testing", 8, Console(file=screen, force_terminal=True, width=80)) as counter:
        counter.add(3)
    assert "testing" in screen.getvalue() and "3/8" in screen.getvalue()
