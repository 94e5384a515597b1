"""The `atss` command: a command is a function, its docstring is its help.

Torch, Ray and MLflow take seconds to load, so each is imported where it is used.
"""

import io
import os
import signal
import socket
import sys

import typer

from orchestration import options, terminal
from orchestration.commands.archive import export, verify
from orchestration.commands.claims import claims
from orchestration.commands.compare import compare
from orchestration.commands.evaluate import evaluate, predict
from orchestration.commands.positives import positives
from orchestration.commands.runs import cancel, logs, status
from orchestration.commands.train import plan, reproduce, sweep
from orchestration.plan import find_tables, setups_in
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, say

app = typer.Typer(
    name="atss",
    help="Re-run the tables of the ATSS study (CVPR 2020), and read them beside the paper's.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command; what a user can cause ends in one line and exit code 2, no traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is like Ctrl-C
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every trial compiles torch for 5 to 9 s
    sys.dont_write_bytecode = False
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort as stop:  # Ctrl-C: what is left, and how to go on, unless nothing is lost
        terminal.warn([f"stopped; {text}" for text in stop.args])
        sys.exit(terminal.STOPPED)
    except typer.TyperException as error:  # a command or an option that is not there, or not so
        reason = error.format_message().rstrip(".")
        told = f"{reason}; atss --help tells more" if reason else ""
    except Exception as error:
        if os.environ.get("ATSS_TRACEBACK"):
            raise
        told = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, ValueError | OSError):  # of a foreign file, or our own mistake
            more = "unexpected; ATSS_TRACEBACK=1 in front of the command tells where"
            told = f"{type(error).__name__}: {told} ({more})"
    terminal.warn([told] if told else [])
    sys.exit(terminal.REFUSED)


def tables() -> None:
    """List the tables of the paper, and how many runs stand behind each.

    Example: `atss tables`
    """
    console.print(terminal.list_tables())


def show(table: options.TableName) -> None:
    """Show the rows of a table: the paper's AP, and what each row changes in RetinaNet (#A=1).

    Example: `atss show table2`
    """
    for chosen in find_tables([table]):
        console.print(terminal.show_table(chosen))


def report(
    tables: options.TableNames,
    scale: options.OnlyScale = None,
    data: options.OnlyData = None,
    out: options.Out = DEFAULT_OUT,
) -> None:
    """Print tables and write their reports from what is in a results folder; nothing is trained.

    A table measured in several setups (scale, settings, data) gets one report for each: numbers of
    different setups never share a table.

    Examples:

    - `atss report table2`
    - `atss report all --scale mini --data coco-mini`
    """
    from orchestration.results import deliver

    chosen, store = find_tables(tables), open_store(out)
    found = setups_in(store, scale, data)
    done = [deliver(store, setup, chosen, seeds, console, is_asked=True) for setup, seeds in found]
    terminal.warn(store.unreadable())
    if all(problems is None for problems in done):
        raise ValueError(terminal.nothing_found(store, tables, data))
    terminal.finish([problem for problems in done for problem in problems or ()])


def ui(out: options.Out = DEFAULT_OUT, port: options.Port = 5000) -> None:
    """Open MLflow's page on the records of a results folder, for this machine only.

    Every training is in the experiment "trainings"; every table has its own, with one line per row.
    Ctrl-C ends it.

    Example: `atss ui --port 5001`
    """
    from orchestration.records import database, local_uri, records_uri, without_password

    store = open_store(out)
    uri, file, host = records_uri(store), database(store), f"127.0.0.1:{port}"
    if uri.startswith("http"):
        console.print(f"The records are at {without_password(uri)} (MLFLOW_TRACKING_URI)")
        return
    if uri == local_uri(store) and not file.is_file():
        raise ValueError(f"no records in {out}: {file} is not there; atss reproduce makes it")
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ValueError(f"port {port} is taken: choose another with --port") from error
    from orchestration.tracking import open_tracker

    console.print(f"MLflow opens http://{host} in a few seconds; Ctrl-C ends it")
    tracker = open_tracker(store)
    if tracker.problem:
        raise ValueError(f"no records to show: {tracker.problem}")
    for name, page in tracker.pages(f"http://{host}").items():
        say(f"{name}\n  {page}")
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that nobody needs
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    serve = f"-m mlflow server --host 127.0.0.1 --port {port} --workers 1".split()
    # Else a foreign page that has its own name resolve to 127.0.0.1 could read the records.
    serve += ["--allowed-hosts", f"{host},localhost:{port}"]
    serve += ["--uvicorn-opts", "--log-level warning", "--backend-store-uri", uri]
    os.execve(sys.executable, [sys.executable, *serve], os.environ | quiet)


for command in (
    *(tables, show, reproduce, plan, report, ui, claims, status, cancel, logs, sweep, positives),
    *(evaluate, predict, compare, export, verify),
):
    app.command()(command)


if __name__ == "__main__":
    main()
