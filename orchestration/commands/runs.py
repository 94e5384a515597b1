"""`atss status`, `cancel`, `logs`: what becomes of the runs, and a say in it."""

import getpass
import socket
import time
from contextlib import suppress
from typing import Annotated

from orchestration import options
from orchestration.find import find_run
from orchestration.options import argument, option
from orchestration.progress import Progress, Status, count
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.terminal import console, say, show_status, total

WATCH_SECONDS = 2.0
PATIENCE = 60.0  # seconds for runs to end that were asked to

NAMED = "its signature, the beginning of one, or a row's name or a part of it"
Watch = Annotated[bool, option("Go on until nothing runs or waits.", "--watch")]
SomeRuns = Annotated[list[str] | None, argument("[RUN...]", f"Each by {NAMED}.")]
OneRun = Annotated[str | None, argument("[RUN]", f"By {NAMED}.")]
Lines = Annotated[int, option("How many of the log's last lines.", min=0)]


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
        return console.print(show_status(store))
    with suppress(KeyboardInterrupt):
        follow(store)


def follow(store: Store) -> None:
    """Show the runs, as a launch does, until nothing runs or waits."""
    with Progress({}, console) as progress:
        while True:
            is_over = not store.going_on()  # before the last look at the runs
            for it in (statuses := store.statuses()):  # what is at rest at first is no news
                told = {**it.values, "state": it.state}
                progress.lines.setdefault(it.signature, Status(it.name) if it.is_moving else it)
                progress.update(it.signature, told)
            if is_over and not any(it.is_moving for it in statuses):
                break
            time.sleep(WATCH_SECONDS)
    console.print(f"Nothing runs or waits: {total(store, statuses)}")


def cancel(runs: SomeRuns = None, out: options.Out = DEFAULT_OUT) -> None:
    """Ask runs to end: each saves a checkpoint; the line that trained them goes on from there.

    Without RUN it is the launch that ends: all that runs or waits. With RUN the launch goes on with
    the others.

    Examples:

    - `atss cancel`
    - `atss cancel 3f2a "Table 2: Intersection over Union, Box"`
    """
    store = open_store(out).require_there()
    statuses = {it.signature: it for it in store.statuses()}
    launches = [] if runs else store.going_on()
    chosen = [statuses[find_run(store, text).signature] for text in runs or ()]
    chosen = chosen or [it for it in statuses.values() if it.is_moving]
    if not chosen and not launches:
        raise ValueError(f"nothing runs or waits in {store.root}: cancel needs something to")
    for it in chosen:
        if it.state in ("done", "cancelled"):
            needs = "only one that is neither done nor cancelled can be ended"
            raise ValueError(f"run {it.signature} is {it.state}; {needs}")
    by, now = f"{getpass.getuser()}@{socket.gethostname()}", time.strftime("%Y-%m-%d %H:%M:%S")
    folders, limit = [store.folder(it.signature) for it in chosen], time.monotonic() + PATIENCE
    for folder in (*launches, *folders):
        if not folder.cancellation():
            folder.write("cancel", {"by": by, "at": now})
    while any(folder.is_running for folder in folders) and time.monotonic() < limit:
        time.sleep(0.5)
    for it, folder in zip(chosen, folders, strict=True):
        how = "will end at its next step" if folder.is_running else "cancelled"
        say(f"{it.name} ({it.signature}): {how}")
    say("The line that trained them, given again, goes on from there")


def logs(run: OneRun = None, lines: Lines = 40, out: options.Out = DEFAULT_OUT) -> None:
    """Show why a run failed in one line, then its traceback and what its processes printed.

    Without RUN: every run that failed or looks wrong, a line each.

    Examples:

    - `atss logs`
    - `atss logs 3f2a --lines 200`
    """
    store = open_store(out).require_there()
    statuses = store.statuses()
    if run is None:
        told = [(it, it.detail) for it in statuses if it.state == "failed"]
        told += [(it, f"warning: {text}") for it in statuses for text in it.warnings]
        more = "atss logs RUN shows more" if told else "no run failed or looks wrong"
        said = [f"{it.name} ({it.signature}): {why}" for it, why in told]
        return say(*said, f"{count(len(statuses), 'run')} in {store.root}; {more}")
    folder = find_run(store, run)
    (it,) = (it for it in statuses if it.signature == folder.signature)
    trace = (folder.failure() or {}).get("traceback", "").strip()
    say(f"{it.name} ({it.signature}): " + ", ".join(filter(None, (it.state, it.detail))))
    say(*(f"warning: {text}" for text in it.warnings), *[f"\n{trace}"][: bool(trace)], "")
    printed = folder.log.read_text(errors="replace").splitlines() if folder.log.exists() else []
    say(*(printed[-lines:] if lines else []) or [f"no log: {folder.log} is not there, or empty"])
