"""What a person sees of a launch: an event per line in a log, a line per run in a terminal."""

import io
import re
from typing import Any

from rich.console import Console

from orchestration.progress import Counter, Progress, duration

ODD = {"state": "training", "step": 40, "iterations": 300, "warnings": ["loss/cls begins at 9"]}
EVENTS: list[tuple[float, dict[str, Any], str]] = [  # seconds, what is told, what is printed
    (0, {"state": "waiting", "reason": "another launch"}, ""),
    (1, {"state": "starting"}, "starting"),
    (2, {"state": "starting"}, ""),
    (5, {"state": "training", "step": 20, "iterations": 300}, "training"),
    (6, {"step": 21, "loss": 1.25, "seconds_left": 4000.0}, ""),
    (20, {"step": 39}, "training 39/300, loss 1.250, 1:06:40 left"),
    (34, {"step": 39}, ""),
    (35, {"step": 40, "seconds_left": None}, "training 40/300, loss 1.250"),
    (36, ODD, "warning: loss/cls begins at 9"),
    (37, ODD, ""),
    (40, {"AP": 21.04}, "AP 21.0 after step 40 of 300"),
    (41, {"state": "retrying", "reason": "its process ended"}, "retrying: its process ended"),
    (45, {"state": "training", "step": 20, "resumed_at": 20}, "goes on after step 20 of 300"),
    (46, {"state": "done", "AP": 30.0}, "done, AP 30.0"),
    (47, {"state": "cancelled", "reason": "by me"}, "cancelled: by me"),
    (48, {"state": "cancelled", "reason": "by me"}, ""),
]


def test_a_log_is_sparse_and_tells_every_event_once():
    log, now = io.StringIO(), [0.0]
    with Progress({"a": "run a"}, Console(file=log, width=120), lambda: now[0]) as progress:
        for now[0], told, _ in EVENTS:
            progress.update("a", told)
    lines = [f"    {duration(seconds)}  run a: {text}" for seconds, _, text in EVENTS if text]
    assert log.getvalue().splitlines() == lines


def test_a_terminal_has_a_line_per_run_and_those_that_run_come_first():
    screen = io.StringIO()
    console = Console(file=screen, width=60, force_terminal=True)
    progress = Progress({str(number): f"run {number}" for number in range(20)}, console)
    progress.update("3", {"state": "done", "AP": 33.0, "seconds_left": 0.0})
    progress.update("15", ODD | {"loss": 1.0, "AP": 7.0})
    console.print(progress.render())
    text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    odd, head, first, *_, last = [line.rstrip() for line in text.splitlines()]
    assert odd == "! 1 run with warnings: atss logs" and head.split()[0] == "Run"
    assert re.match(r"run 15 +! training +40/300, loss 1.000, AP 7.0$", first)
    assert re.match(r"run 3 +done +AP 33.0$", last)


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
