"""What the `atss` command prints: lists of tables, rows, runs and results."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from experiments import TABLES
from experiments.experiment import Run, Table, changes, signature
from experiments.schedules import DEMO
from orchestration.plan import Plan, setups_in, show_setting
from orchestration.progress import duration
from orchestration.store import RunFolder, Store

STYLES = {"done": "green", "failed": "red", "running": "yellow"}


def list_tables() -> RenderableType:
    """Every table of the paper, and how many runs stand behind its rows."""
    grid = _grid("Name", "Rows", "Runs", "Section", "Title")
    everything: set[str] = set()
    for name, table in TABLES.items():
        runs = {signature(Run(row.config, DEMO, "", 0)) for row in table.rows}
        everything |= runs
        grid.add_row(name, str(len(table.rows)), str(len(runs)), table.section, table.title)
    rows = sum(len(table.rows) for table in TABLES.values())
    return Group(
        grid, f"{rows} rows, {len(everything)} distinct runs: shared ones are trained once."
    )


def show_table(table: Table) -> RenderableType:
    """A table's rows: number, label, the paper's AP, what differs from RetinaNet (#A=1)."""
    grid = _grid("", "Row", "AP", "Changes in RetinaNet (#A=1)")
    for number, row in enumerate(table.rows, start=1):
        settings = ", ".join(
            name if value is True else f"{name}={show_setting(value)}"
            for name, value in changes(row.config).items()
        )
        ap = "" if row.paper.ap is None else f"{row.paper.ap:.1f}"
        grid.add_row(str(number), Text(row.label), ap, settings or "nothing")
    title = f"Table {table.number}. {table.title} (Sec. {table.section})"
    below = [Text(table.note)] if table.note else []
    return Group(Text(title, style="bold"), Text(table.caption, style="dim"), grid, *below)


def show_plan(plan: Plan, store: Store) -> RenderableType:
    """The distinct runs of a plan, and which of them are done."""
    grid = _grid("Run", "Seed", "State", "Fills")
    for run in plan.runs:
        state, detail = _state(store.folder(run.signature))
        label = Text(f"{state} {detail}".strip(), style=STYLES.get(state, ""))
        grid.add_row(run.signature, str(run.run.seed), label, Text("\n".join(run.rows)))
    return Group(grid, summary(plan, store))


def summary(plan: Plan, store: Store) -> str:
    """ "4 rows, 1 seed: 4 distinct runs, 1 done, 3 to train"."""
    missing = len(plan.missing(store))
    rows, seeds = count(plan.num_rows, "row"), count(len(plan.seeds), "seed")
    runs = count(len(plan.runs), "distinct run")
    return f"{rows}, {seeds}: {runs}, {len(plan.runs) - missing} done, {missing} to train"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def show_status(store: Store) -> RenderableType:
    """Every run of a results folder, by setup; a run says how far it got, or why it failed."""
    parts: list[RenderableType] = []
    folders = store.folders()
    for name in dict.fromkeys(_setup_name(folder) for folder in folders):
        grid = _grid("Run", "Seed", "State", "", "Time", "Fills")
        ours = [folder for folder in folders if _setup_name(folder) == name]
        for folder in sorted(ours, key=lambda folder: folder.facts().get("name", "")):
            grid.add_row(*_status_line(folder))
        parts += [Text(name, style="bold"), grid, ""]
    num_done = sum(folder.is_done for folder in folders)
    return Group(*parts, f"{count(len(folders), 'run')} in {store.root}, {num_done} done")


def _setup_name(folder: RunFolder) -> str:
    return str(folder.facts().get("setup", {}).get("name", "unknown"))


def _status_line(folder: RunFolder) -> Sequence[str | Text]:
    facts, result = folder.facts(), folder.result()
    state, detail = _state(folder)
    seconds = duration(result["seconds"]) if result else ""
    rows = Text("; ".join(facts.get("rows", [])))
    label = Text(state, style=STYLES.get(state, ""))
    return folder.signature, str(facts.get("seed", "")), label, Text(detail), seconds, rows


def _state(folder: RunFolder) -> tuple[str, str]:
    """done, failed, running, stopped or missing, and a detail."""
    result, failure = folder.result(), folder.failure()
    if result is not None:
        ap = result["metrics"]["ap"]
        return "done", "" if ap is None else f"AP {ap:.1f}"
    facts, history = folder.facts(), folder.history()
    if not facts:
        return "missing", ""
    steps = (
        f"after {history[-1]['step'] if history else 0} of {facts['params']['iterations']} steps"
    )
    if folder.is_running:
        return "running", steps
    return ("failed", failure["reason"]) if failure else ("stopped", steps)


def nothing_found(store: Store, tables: Sequence[str]) -> str:
    """Why there is nothing to report, and what there would be."""
    found = ", ".join(f"'{setup.name}'" for setup, _ in setups_in(store)) or "no runs"
    return f"no results for {', '.join(tables)} in {store.root}, which holds {found}"


def _grid(*headings: str) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        is_number = heading in ("Rows", "Runs", "AP", "Seed", "Time")
        grid.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    return grid
