"""What a person sees of runs that look wrong, wait for others, or were told to end."""

import io
import re
from typing import Any

from rich.console import Console

from orchestration.progress import Line, Progress


def in_a_log(*values: dict[str, Any], name: str = "run a") -> list[str]:
    """The lines that a log gets, without the clock."""
    log = io.StringIO()
    progress = Progress({"a": name}, Console(file=log, width=120), lambda: 0.0)
    with progress:
        for told in values:
            progress.update("a", told)
    return [line.partition(f"{name}: ")[2] for line in log.getvalue().splitlines()]


def in_a_terminal(progress: Progress, console: Console, screen: io.StringIO) -> list[str]:
    screen.truncate(0)
    screen.seek(0)
    console.print(progress.render())
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in screen.getvalue().splitlines()]


def test_a_warning_is_told_once_in_a_log() -> None:
    training = {"state": "training", "step": 1, "iterations": 9}
    assert in_a_log(
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
    assert in_a_log(
        {"state": "starting"},
        {"state": "elsewhere", "reason": "another launch trains it"},
        {"state": "elsewhere"},
        {"state": "training", "step": 0, "iterations": 9},
        {"state": "cancelled", "reason": "by me at noon"},
        {"state": "cancelled", "reason": "by me at noon"},
    ) == ["starting", "elsewhere: another launch trains it", "training", "cancelled: by me at noon"]


def test_a_run_that_looks_wrong_is_marked_and_explained_below_the_table() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=60, height=16, force_terminal=True)
    progress = Progress({str(number): f"run {number}" for number in range(20)}, console)
    long = "loss/cls begins at 2643, which needs to be within 0.73 and 1.5 before"
    told = {"state": "training", "step": 5, "iterations": 9, "warnings": [long]}
    progress.update("15", told)
    lines = in_a_terminal(progress, console, screen)
    assert re.match(r"run 15 +! training +5/9", lines[1])
    assert lines[-1].startswith("! run 15: warning: loss/cls begins at 2643") and "…" in lines[-1]
    assert "20 runs in all, 0 ended" in lines[-2]
    assert len(lines) <= console.height - 1
    for number in range(20):
        progress.update(str(number), told)
    lines = in_a_terminal(progress, console, screen)
    assert len(lines) <= console.height - 1
    assert (
        lines[-1] == "... 20 in all: atss logs RUN" and len([x for x in lines if x[0] == "!"]) == 4
    )


def test_a_run_that_came_to_rest_before_is_no_news() -> None:
    log = io.StringIO()
    progress = Progress({}, Console(file=log, width=120))
    progress.lines["a"] = Line("run a", "done", {"AP": 33.3})
    progress.update("a", {"state": "done", "AP": 33.3})
    assert log.getvalue() == ""
