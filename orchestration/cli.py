"""The `atss` command: a command is a function, its docstring is its help.

Torch, Ray and MLflow take seconds to load, so each is imported where it is used.
"""

import io
import os
import signal
import socket
import sys

import typer

from orchestration import options, terminal, views
from orchestration.commands.archive import export, verify
from orchestration.commands.claims import claims
from orchestration.commands.compare import compare
from orchestration.commands.evaluate import evaluate, predict
from orchestration.commands.positives import positives
from orchestration.commands.runs import cancel, logs, status
from orchestration.commands.sweep import sweep
from orchestration.cost import show_cost
from orchestration.launch import data_notes, failures, open_plan, train_missing
from orchestration.options import parse_rows, parse_seeds
from orchestration.plan import asked_setup, find_tables, setups_in
from orchestration.resources import Resources
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console

GOES_ON = "the same line goes on from the last checkpoints"

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
    signal.signal(signal.SIGTERM, terminal.interrupt)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every trial compiles torch for 5 to 9 s
    sys.dont_write_bytecode = False
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:  # a command or an option that is not there, or not so
        if reason := error.format_message().rstrip("."):
            terminal.refuse(f"{reason}; atss --help tells more")
        sys.exit(terminal.REFUSED)
    except typer.Abort:  # Ctrl-C where nothing can be lost
        sys.exit(terminal.STOPPED)
    except terminal.Interrupted as stop:
        terminal.warn([f"stopped; {stop}"])
        sys.exit(terminal.STOPPED)
    except Exception as error:
        if os.environ.get("ATSS_TRACEBACK"):
            raise
        kind, text = type(error).__name__, " ".join(str(error).split())
        if isinstance(error, ValueError | OSError):
            terminal.refuse(text or kind)
        # whatever else a foreign file can cause, and our own mistakes
        more = "unexpected; ATSS_TRACEBACK=1 in front of the command tells where"
        terminal.refuse(f"{kind}: {text} ({more})")


@app.command()
def tables() -> None:
    """List the tables of the paper, and how many runs stand behind each.

    Example: `atss tables`
    """
    console.print(views.list_tables())


@app.command()
def show(table: options.TableName) -> None:
    """Show the rows of a table: the paper's AP, and what each row changes in RetinaNet (#A=1).

    Example: `atss show table2`
    """
    for chosen in find_tables([table]):
        console.print(views.show_table(chosen))


@app.command()
def reproduce(
    tables: options.TableNames,
    scale: options.Scale = "demo",
    data: options.Data = None,
    seeds: options.Seeds = "0",
    rows: options.Rows = None,
    settings: options.Settings = None,
    out: options.Out = DEFAULT_OUT,
    dry_run: options.DryRun = False,
    concurrent: options.Concurrent = None,
    gpus_per_run: options.GpusPerRun = None,
    processes: options.Processes = None,
    micro_batch: options.MicroBatch = None,
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Train what tables still lack, and print them beside the paper's numbers.

    A finished run is never trained again, and a launch that was ended goes on when the same line is
    given again. Reports (HTML, notebook, Markdown, LaTeX, CSV) and records are in the folder --out.

    Examples:

    - `atss reproduce table2`
    - `atss reproduce table4 --rows 1,3 --set iterations=500 --dry-run`
    - `atss reproduce table2 table3 --scale mini --data photos.toml --seeds 0,1,2`
    - `atss reproduce all --scale paper --data coco2017 --micro-batch 4`

    Exit codes: 0 all rows are there, 1 some failed or were cancelled, 2 refused, 130 stopped.
    """
    from orchestration.results import deliver  # help does not wait for reports

    chosen, setup, store = find_tables(tables), asked_setup(scale, data, settings), open_store(out)
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    if not dry_run:
        store.require_writable()
    try:
        plan, data_set = open_plan(setup, store, chosen, parse_rows(rows or []), parse_seeds(seeds))
        for note in data_notes(data_set):
            console.print(note, soft_wrap=True)
        if dry_run:
            return show_cost(plan, store, resources, len(data_set.val), is_measured=False)
        console.print(views.summary(plan, store))
        train_missing(plan, store, data_set, resources, console)
        delivered = deliver(store, plan.setup, chosen, plan.seeds_measured(store), console)
    except KeyboardInterrupt:
        raise terminal.Interrupted(GOES_ON) from None
    terminal.finish([*failures(plan, store), *delivered.problems])


@app.command("plan")
def plan_(
    tables: options.TableNames,
    scale: options.Scale = "demo",
    data: options.Data = None,
    seeds: options.Seeds = "0",
    rows: options.Rows = None,
    settings: options.Settings = None,
    out: options.Out = DEFAULT_OUT,
    concurrent: options.Concurrent = None,
    gpus_per_run: options.GpusPerRun = None,
    processes: options.Processes = None,
    micro_batch: options.MicroBatch = None,
    workers: options.Workers = None,
    address: options.Address = None,
) -> None:
    """Say what tables still lack, in the order of training, and what it costs; nothing is trained.

    The time of a run is that of finished runs of the same schedule, or measured in about a minute
    on the machines that would train, as many at once as there.

    Examples:

    - `atss plan all`
    - `atss plan table3 --scale paper --data coco2017 --gpus-per-run 8 --address auto`
    """
    chosen, setup, store = find_tables(tables), asked_setup(scale, data, settings), open_store(out)
    resources = Resources(address, concurrent, gpus_per_run, processes, micro_batch, workers)
    plan, data_set = open_plan(setup, store, chosen, parse_rows(rows or []), parse_seeds(seeds))
    store.require_writable()
    try:
        show_cost(plan, store, resources, len(data_set.val), is_measured=True)
    except KeyboardInterrupt:
        raise terminal.Interrupted("nothing was trained") from None


@app.command()
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
    if not any(delivered.num_tables for delivered in done):
        raise ValueError(views.nothing_found(store, tables, data))
    terminal.finish([problem for delivered in done for problem in delivered.problems])


@app.command()
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
        console.print(f"{name}\n  {page}", soft_wrap=True)
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
    *(claims, status, cancel, logs, sweep, positives),
    *(evaluate, predict, compare, export, verify),
):
    app.command()(command)


if __name__ == "__main__":
    main()
