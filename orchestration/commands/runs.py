"""`atss status`, `cancel`, `logs`: what becomes of the runs, and a say in it."""

import getpass
import socket
import time
from contextlib import suppress
from typing import Annotated

import typer

from orchestration import options, views
from orchestration.find import find_run
from orchestration.progress import Line, Progress
from orchestration.run_folder import DEFAULT_OUT, LOG_HEADER, Store, open_store
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
    store = open_store(out).require_there()
    if not watch:
        console.print(views.show_status(store))
        return
    with suppress(KeyboardInterrupt):
        follow(store)


def follow(store: Store) -> None:
    """Show the runs, as a launch does, until nothing runs or waits."""
    progress = Progress({}, console)
    with progress:
        while True:
            is_over = not store.going_on()  # before the last look at the runs
            everything = store.statuses()
            for it in everything:
                name = it.folder.signature
                if name not in progress.lines:  # at rest before the first look, it is no news
                    ap = it.values.get("AP")
                    rest = Line(it.name, it.state, {"AP": ap})
                    progress.lines[name] = Line(it.name) if it.is_moving else rest
                progress.update(name, {**it.values, "state": it.state})
            if is_over and not any(it.is_moving for it in everything):
                break
            time.sleep(WATCH_SECONDS)
    num_done = sum(it.state == "done" for it in everything)
    total = views.count(len(everything), "run")
    console.print(f"Nothing runs or waits: {total} in {store.root}, {num_done} done")


def cancel(runs: SomeRuns = None, out: options.Out = DEFAULT_OUT) -> None:
    """Ask runs to end: each saves a checkpoint; the line that trained them goes on from there.

    Without RUN it is the launch that ends: all that runs or waits. With RUN the launch goes on with
    the others.

    Examples:

    - `atss cancel`
    - `atss cancel 3f2a "Table 2: Intersection over Union, Box"`
    """
    store = open_store(out).require_there()
    known = {it.folder.signature: it for it in store.statuses()}
    mark = {
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "at": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if runs:
        folders = [find_run(store, text) for text in runs]
        chosen = [known[folder.signature] for folder in folders]
    else:
        chosen = [it for it in known.values() if it.is_moving]
        if not chosen and not store.going_on():
            raise ValueError(f"nothing runs or waits in {store.root}: cancel needs something to")
        for launch in store.going_on():
            launch.write("cancel", mark)
    for it in chosen:
        if it.state == "done":
            name = it.folder.signature
            raise ValueError(f"run {name} is done; only one that is not can be ended")
    running = [it.folder for it in chosen if it.folder.is_running]
    for it in chosen:
        if not it.folder.cancellation():
            it.folder.write("cancel", mark)
    limit = time.monotonic() + PATIENCE
    while any(folder.is_running for folder in running) and time.monotonic() < limit:
        time.sleep(0.5)
    for it in chosen:
        how = "will end at its next step" if it.folder.is_running else "cancelled"
        _print(f"{it.name} ({it.folder.signature}): {how}")
    _print("The line that trained them, given again, goes on from there")


def logs(run: OneRun = None, lines: Lines = 40, out: options.Out = DEFAULT_OUT) -> None:
    """Show why a run failed in one line, then its traceback and what its processes printed.

    Without RUN: every run that failed or looks wrong, a line each.

    Examples:

    - `atss logs`
    - `atss logs 3f2a --lines 200`
    """
    store = open_store(out).require_there()
    if run is None:
        _list_troubled(store)
        return
    folder = find_run(store, run)
    (it,) = (it for it in store.statuses() if it.folder == folder)
    _print(f"{it.name} ({folder.signature}): {it.state}" + (f", {it.detail}" if it.detail else ""))
    for text in it.values["warnings"]:
        _print(f"warning: {text}")
    if trace := (folder.failure() or {}).get("traceback", "").strip():
        _print(f"\n{trace}")
    printed = folder.log.read_text(errors="replace") if folder.log.exists() else ""
    shown = printed.splitlines()[-lines:] if lines else []
    if not shown:
        _print(f"\nno log: {folder.log} is not there, or empty")
        return
    _print("\n".join(["", *shown]))
    if all(line.startswith(LOG_HEADER) for line in shown):
        _print("its processes printed nothing")


def _list_troubled(store: Store) -> None:
    everything = store.statuses()
    shown = [(it, it.detail) for it in everything if it.state == "failed"]
    shown += [(it, f"warning: {text}") for it in everything for text in it.values["warnings"]]
    for it, why in shown:
        _print(f"{it.name} ({it.folder.signature}): {why}")
    more = "atss logs RUN shows more" if shown else "no run failed or looks wrong"
    _print(f"{views.count(len(everything), 'run')} in {store.root}; {more}")


def _print(text: str) -> None:
    console.print(text, soft_wrap=True)
