"""`atss status`, `cancel`, `logs`: what becomes of the runs, and a say in it."""

import getpass
import socket
import time
from typing import Annotated

import typer

from orchestration import launches, options, views
from orchestration.finding import find_run
from orchestration.logs import HEADER, last_lines
from orchestration.progress import Line, Progress
from orchestration.standing import Standing, all_standings, standing
from orchestration.store import DEFAULT_OUT, RunFolder, Store, open_store
from orchestration.terminal import console

WATCH_SECONDS = 2.0
PATIENCE = 60.0  # seconds for runs to end that were asked to

NAMED = "its signature, the beginning of one, or a row's name or a part of it"
Watch = Annotated[bool, typer.Option("--watch", help="Go on until nothing runs or waits.")]
SomeRuns = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN...]", help=f"Each by {NAMED}.", show_default=False),
]
OneRun = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help=f"By {NAMED}.", show_default=False)
]
Lines = Annotated[int, typer.Option(min=0, help="How many of the log's last lines.")]


def status(watch: Watch = False, out: options.Out = DEFAULT_OUT) -> None:
    """Show every run of a results folder: how far it got, its AP, or why it failed.

    It reads files alone, so a shared folder can be watched from any machine. Ctrl-C ends the
    watching and nothing else.

    Examples:

    - `atss status --out results`
    - `atss status --watch`
    """
    store = _open(out)
    if watch:
        try:
            follow(store)
        except KeyboardInterrupt:
            return
    else:
        console.print(views.show_status(store))


def follow(store: Store) -> None:
    """Show the runs, as a launch does, until nothing runs or waits."""
    progress = Progress({}, console)
    with progress:
        while True:
            is_over = not launches.going_on(store)  # before the last look at the runs
            everything = all_standings(store)
            for it in everything:
                _show(progress, it)
            if is_over and not any(it.is_moving for it in everything):
                break
            time.sleep(WATCH_SECONDS)
    num_done = sum(it.state == "done" for it in everything)
    total = views.count(len(everything), "run")
    console.print(f"Nothing runs or waits: {total} in {store.root}, {num_done} done")


def _show(progress: Progress, it: Standing) -> None:
    """A run that had come to rest before the first look at it is no news."""
    if it.folder.signature not in progress.lines:
        line = Line(it.name) if it.is_moving else Line(it.name, it.state, ap=it.values.get("AP"))
        progress.lines[it.folder.signature] = line
    progress.update(it.folder.signature, {**it.values, "state": it.state})


def cancel(runs: SomeRuns = None, out: options.Out = DEFAULT_OUT) -> None:
    """Ask runs to end: each saves a checkpoint; the line that trained them goes on from there.

    Without RUN it is the launch that ends: all that runs or waits. With RUN the launch goes on with
    the others.

    Examples:

    - `atss cancel`
    - `atss cancel 3f2a "Table 2: Intersection over Union, Box"`
    """
    store = _open(out)
    if runs:
        folders = [find_run(store, text, launches.planned(store)) for text in runs]
    else:
        folders = [it.folder for it in all_standings(store) if it.is_moving]
        if not folders and not launches.going_on(store):
            raise ValueError(f"nothing runs or waits in {store.root}: cancel needs something to")
        launches.cancel(store)
    for folder in folders:
        if folder.is_done:
            raise ValueError(f"run {folder.signature} is done; only one that is not can be ended")
    mark = {
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "at": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    running = [folder for folder in folders if folder.is_running]
    for folder in folders:
        if folder.cancellation() is None:
            folder.write("cancel", mark)
    _await(running)
    for folder in folders:
        how = "will end at its next step" if folder.is_running else "cancelled"
        console.print(f"{_name(store, folder)}: {how}", soft_wrap=True)
    console.print("The line that trained them, given again, goes on from there", soft_wrap=True)


def _await(running: list[RunFolder]) -> None:
    limit = time.monotonic() + PATIENCE
    while any(folder.is_running for folder in running) and time.monotonic() < limit:
        time.sleep(0.5)


def logs(run: OneRun = None, lines: Lines = 40, out: options.Out = DEFAULT_OUT) -> None:
    """Show why a run failed in one line, then its traceback and what its processes printed.

    Without RUN: every run that failed or looks wrong, a line each.

    Examples:

    - `atss logs`
    - `atss logs 3f2a --lines 200`
    """
    store = _open(out)
    if run is None:
        _list_troubled(store)
        return
    planned = launches.planned(store)
    folder = find_run(store, run, planned)
    facts = folder.facts() or planned.get(folder.signature, {})
    it = standing(folder, facts, launches.going_on(store))
    _print(f"{it.name} ({folder.signature}): {it.state}" + (f", {it.detail}" if it.detail else ""))
    for text in it.warnings:
        _print(f"warning: {text}")
    if trace := (folder.failure() or {}).get("traceback", "").strip():
        _print(f"\n{trace}")
    printed = last_lines(folder.log, lines)
    if not printed:
        _print(f"\nno log: {folder.log} is not there, or empty")
        return
    _print("\n".join(["", *printed]))
    if all(line.startswith(HEADER) for line in printed):
        _print("its processes printed nothing")


def _list_troubled(store: Store) -> None:
    everything = all_standings(store)
    shown = [(it, it.detail) for it in everything if it.state == "failed"]
    shown += [(it, f"warning: {text}") for it in everything for text in it.warnings]
    for it, why in shown:
        _print(f"{it.name} ({it.folder.signature}): {why}")
    more = "atss logs RUN shows more" if shown else "no run failed or looks wrong"
    _print(f"{views.count(len(everything), 'run')} in {store.root}; {more}")


def _open(out: str) -> Store:
    store = open_store(out)
    store.require_there()
    return store


def _name(store: Store, folder: RunFolder) -> str:
    """A run for people."""
    facts = folder.facts() or launches.planned(store).get(folder.signature, {})
    return f"{facts.get('name', 'run')} ({folder.signature})"


def _print(text: str) -> None:
    console.print(text, soft_wrap=True)
