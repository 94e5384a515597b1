"""The `atss` command: a command is a function, its docstring is its help.

Torch, Ray and MLflow take seconds to load, so each is imported where it is used.
"""

import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from orchestration import plan as planning
from orchestration import views
from orchestration.launch import Resources, data_location, data_notes, open_plan, train_missing
from orchestration.plan import Plan, Setup
from orchestration.results import DEFAULT_OUT, deliver
from orchestration.store import Store, open_store, records_uri

DONE, SOME_FAILED, REFUSED, STOPPED = 0, 1, 2, 130  # exit codes

app = typer.Typer(
    name="atss",
    help="Re-run the tables of the ATSS study (CVPR 2020), and read them beside the paper's.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)

TableName = Annotated[
    str, typer.Argument(metavar="TABLE", help="table1 ... table7", show_default=False)
]
TableNames = Annotated[
    list[str],
    typer.Argument(metavar="TABLE...", help="table1 ... table7, or all", show_default=False),
]
Out = Annotated[str, typer.Option("--out", metavar="FOLDER", help="The results folder.")]
DATA_HELP = (
    "A data set in COCO format: a folder, a TOML file that names images and annotations, or "
    "coco2017. Demo scale brings its own, shapes."
)
Data = Annotated[
    str | None, typer.Option("--data", metavar="WHERE", help=DATA_HELP, show_default=False)
]
SET_HELP = "Change a setting in every row, a toggle or a part of the schedule. Repeatable."
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP, show_default=False),
]


class Stopped(Exception):
    """The user ended a launch."""


def main() -> None:
    """Run the command; what a user can cause ends in one line and exit code 2, no traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except Stopped:
        print("atss: stopped; the same line goes on from the last checkpoints", file=sys.stderr)
        sys.exit(STOPPED)
    except (ValueError, OSError) as error:
        if os.environ.get("ATSS_TRACEBACK"):
            raise
        print(f"atss: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(REFUSED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@app.command()
def tables() -> None:
    """List the tables of the paper, and how many runs stand behind each.

    Example: `atss tables`
    """
    console.print(views.list_tables())


@app.command()
def show(table: TableName) -> None:
    """Show the rows of a table: the paper's AP, and what each row changes in RetinaNet (#A=1).

    Example: `atss show table2`
    """
    for chosen in planning.find_tables([table]):
        console.print(views.show_table(chosen))


@app.command()
def reproduce(
    tables: TableNames,
    scale: Annotated[
        str,
        typer.Option(
            metavar="demo|mini|paper",
            help="How much is trained: demo (a CPU, minutes, generated images), mini (one GPU, "
            "minutes, your images), paper (90,000 iterations a run).",
        ),
    ] = "demo",
    data: Data = None,
    seeds: Annotated[
        str, typer.Option(metavar="0,1,2", help="One run for each row and seed.")
    ] = "0",
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="1,3|LABEL",
            help="Only these rows of one table: numbers from 1, a label, or a part of one. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    out: Out = DEFAULT_OUT,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained, and stop.")
    ] = False,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Runs at once.  [default: as many as fit]")
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(min=0, help="A share of a GPU, or 0 for none.  [default: one, if any]"),
    ] = None,
    micro_batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per forward pass; the gradients stay those of the whole batch."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes per run that load images.  [default: by the CPUs]"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A running Ray cluster.  [default: this machine]"),
    ] = None,
) -> None:
    """Train what tables still lack, and print them beside the paper's numbers.

    A finished run is never trained again, whichever table or launch it was trained for, and a
    launch that was ended goes on when the same line is given again. The report (HTML, notebook,
    Markdown, LaTeX, CSV) and MLflow's records are in the results folder.

    Examples:

    - `atss reproduce table2`
    - `atss reproduce table4 --rows 1,3 --set iterations=500 --dry-run`
    - `atss reproduce table2 table3 --scale mini --data photos.toml --seeds 0,1,2`
    - `atss reproduce all --scale paper --data coco2017 --micro-batch 4`

    Exit codes: 0 all rows are there, 1 some runs failed, 2 refused, 130 stopped.
    """
    chosen, (recipe, changed) = (
        planning.find_tables(tables),
        planning.resolve_scale(scale, settings or []),
    )
    setup = Setup(scale, recipe, changed, "", "", data_location(scale, data))
    store = open_store(out)
    if not dry_run:
        store.require_writable()
    try:
        plan, data_set = open_plan(setup, chosen, parse_rows(rows or []), parse_seeds(seeds))
        for note in data_notes(data_set):
            console.print(note)
        if dry_run:
            console.print(views.show_plan(plan, store))
            return
        console.print(views.summary(plan, store))
        if plan.missing(store):
            resources = Resources(address, concurrent, gpus_per_run, micro_batch, workers)
            train_missing(plan, store, data_set, resources, console)
        delivered = deliver(store, plan.setup, chosen, plan.seeds_measured(store), console)
    except KeyboardInterrupt:
        raise Stopped from None
    finish([*failures(plan, store), *delivered.problems])


def finish(problems: list[str]) -> None:
    """Say what went wrong, one line each, and end."""
    for problem in problems:
        print(f"atss: {problem}", file=sys.stderr)
    raise typer.Exit(SOME_FAILED if problems else DONE)


def failures(plan: Plan, store: Store) -> list[str]:
    """One line for each run that has no result."""
    folders = [(run.name, store.folder(run.signature)) for run in plan.missing(store)]
    reasons = [(name, (folder.failure() or {}).get("reason", "ended")) for name, folder in folders]
    return [f"{name} failed: {reason}" for name, reason in reasons]


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2]; ValueError for anything but whole numbers from 0 on."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--seeds needs whole numbers from 0 on, such as 0,1,2, got '{text}'")
    return [int(part) for part in parts]


def parse_rows(texts: list[str]) -> list[str]:
    """["1,3", "Box"] -> ["1", "3", "Box"]; labels keep their commas."""
    numbers = {text: [part.strip() for part in text.split(",")] for text in texts}
    return [
        part
        for text, parts in numbers.items()
        for part in (parts if all(part.isdigit() for part in parts) else [text])
    ]


@app.command()
def status(out: Out = DEFAULT_OUT) -> None:
    """Show every run of a results folder: how far it got, its AP, or why it failed.

    Example: `atss status --out results`
    """
    console.print(views.show_status(open_store(out)))


@app.command()
def report(
    tables: TableNames,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="demo|mini|paper", help="Only results of this scale.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only results on this data set.", show_default=False),
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Print tables and write their reports from what is in a results folder; nothing is trained.

    A table measured in several setups (scale, settings, data) gets one report for each: numbers of
    different setups never share a table.

    Examples:

    - `atss report table2`
    - `atss report all --scale mini --data coco-mini`
    """
    chosen, store = planning.find_tables(tables), open_store(out)
    found = [
        (setup, seeds)
        for setup, seeds in planning.setups_in(store)
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where)
    ]
    done = [deliver(store, setup, chosen, seeds, console, is_asked=True) for setup, seeds in found]
    if not any(delivered.num_tables for delivered in done):
        raise ValueError(views.nothing_found(store, tables))
    finish([problem for delivered in done for problem in delivered.problems])


@app.command()
def ui(
    out: Out = DEFAULT_OUT,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000,
) -> None:
    """Open MLflow's page on the records of a results folder, for this machine only.

    Every training is in the experiment "trainings"; every table has its own, with one line per row.
    Ctrl-C ends it.

    Example: `atss ui --port 5001`
    """
    uri = records_uri(open_store(out))
    if uri.startswith("http"):
        console.print(f"The records are at {uri} (MLFLOW_TRACKING_URI)")
        return
    database = Path(uri.removeprefix("sqlite:///"))
    if not database.is_file():
        raise ValueError(f"no records in {out}: {database} is not there; atss reproduce makes it")
    require_free(port)
    console.print(f"MLflow opens http://127.0.0.1:{port} in a few seconds; Ctrl-C ends it")
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    serve = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *serve]
    os.execve(sys.executable, command, {**os.environ, **quiet})


def require_free(port: int) -> None:
    """ValueError if something listens on the port already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} is taken: choose another with --port") from error


if __name__ == "__main__":
    main()
