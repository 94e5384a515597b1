"""`atss status`, `cancel`, `logs`: what becomes of the runs, and a say in it."""

import getpass
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Annotated

from orchestration import options, views
from orchestration.find import find_run
from orchestration.options import argument, option
from orchestration.progress import Line, Progress, count
from orchestration.run_folder import DEFAULT_OUT, LOG_HEADER, Store, open_store
from orchestration.terminal import console

WATCH_SECONDS = 2.0
PATIENCE = 60.0  # seconds for runs to end that were asked to

NAMED = "its signature, the beginning of one, or a row's name or a part of it"
Watch = Annotated[bool, option("Go on until nothing runs or waits.", "--watch")]
SomeRuns = Annotated[list[str] | None, argument("[RUN...]", f"Each by {NAMED}.")]
OneRun = Annotated[str | None, argument("[RUN]", f"By {NAMED}.")]
Lines = Annotated[int, option("How many of the log's last lines.", min=0)]

say = partial(console.print, soft_wrap=True)


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
    with Progress({}, console) as progress:
        while True:
            is_over = not store.going_on()  # before the last look at the runs
            everything = store.statuses()
            for it in everything:  # what is at rest before the first look is no news
                line = Line(it.name) if it.is_moving else Line(it.name, it.state, {**it.values})
                progress.lines.setdefault(it.folder.signature, line)
                progress.update(it.folder.signature, {**it.values, "state": it.state})
            if is_over and not any(it.is_moving for it in everything):
                break
            time.sleep(WATCH_SECONDS)
    num_done = sum(it.state == "done" for it in everything)
    total = count(len(everything), "run")
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
    launches = [] if runs else store.going_on()
    chosen = [it for it in known.values() if it.is_moving]
    if runs:
        chosen = [known[find_run(store, text).signature] for text in runs]
    elif not chosen and not launches:
        raise ValueError(f"nothing runs or waits in {store.root}: cancel needs something to")
    for it in chosen:
        if it.state == "done":
            name = it.folder.signature
            raise ValueError(f"run {name} is done; only one that is not can be ended")
    who, now = f"{getpass.getuser()}@{socket.gethostname()}", time.strftime("%Y-%m-%d %H:%M:%S")
    folders = [it.folder for it in chosen]
    running = [folder for folder in folders if folder.is_running]
    for folder in (*launches, *folders):
        if not folder.cancellation():
            folder.write("cancel", {"by": who, "at": now})
    limit = time.monotonic() + PATIENCE
    while any(folder.is_running for folder in running) and time.monotonic() < limit:
        time.sleep(0.5)
    for it in chosen:
        how = "will end at its next step" if it.folder.is_running else "cancelled"
        say(f"{it.name} ({it.folder.signature}): {how}")
    say("The line that trained them, given again, goes on from there")


def logs(run: OneRun = None, lines: Lines = 40, out: options.Out = DEFAULT_OUT) -> None:
    """Show why a run failed in one line, then its traceback and what its processes printed.

    Without RUN: every run that failed or looks wrong, a line each.

    Examples:

    - `atss logs`
    - `atss logs 3f2a --lines 200`
    """
    store = open_store(out).require_there()
    everything = store.statuses()
    if run is None:
        failed = [(it, it.detail) for it in everything if it.state == "failed"]
        odd = [(it, f"warning: {text}") for it in everything for text in it.values["warnings"]]
        for it, why in (*failed, *odd):
            say(f"{it.name} ({it.folder.signature}): {why}")
        more = "atss logs RUN shows more" if failed or odd else "no run failed or looks wrong"
        say(f"{count(len(everything), 'run')} in {store.root}; {more}")
        return
    folder = find_run(store, run)
    (it,) = (it for it in everything if it.folder == folder)
    say(f"{it.name} ({folder.signature}): {it.state}" + (f", {it.detail}" if it.detail else ""))
    for text in it.values["warnings"]:
        say(f"warning: {text}")
    if trace := (folder.failure() or {}).get("traceback", "").strip():
        say(f"\n{trace}")
    printed = folder.log.read_text(errors="replace") if folder.log.exists() else ""
    shown = printed.splitlines()[-lines:] if lines else []
    say("\n".join(["", *(shown or [f"no log: {folder.log} is not there, or empty"])]))
    if shown and all(line.startswith(LOG_HEADER) for line in shown):
        say("its processes printed nothing")
