"""What the `atss` command prints: lists of tables, rows, runs and results."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Run, Table, signature
from experiments.schedules import SCALES
from experiments.settings import with_settings
from orchestration.plan import Plan, setups_in, show_setting
from orchestration.progress import count, duration
from orchestration.run_folder import Store

STYLES = {"done": "green", "failed": "red", "training": "yellow", "testing": "yellow"}


def list_tables() -> RenderableType:
    """Every table of the paper, and how many runs stand behind its rows."""
    grid = _grid("Name", "Rows", "Runs", "Section", "Title")
    for name, table in TABLES.items():
        runs, rows = len(_signatures(table)), len(table.rows)
        grid.add_row(name, str(rows), str(runs), table.section, table.title)
    everything = set().union(*(_signatures(table) for table in STUDY.values()))
    num_rows = sum(len(table.rows) for table in STUDY.values())
    beyond = _grid("Beyond it", "Rows", "Runs", "Title")
    for name, table in ABLATIONS.items():
        beyond.add_row(name, str(len(table.rows)), str(len(_signatures(table))), table.title)
    return Group(
        grid,
        f"{num_rows} rows, {len(everything)} distinct runs in table1 to table7, which all stands "
        "for: shared ones are trained once.",
        "",
        beyond,
        "These are not part of all, nor is table8, whose schedule is its own: --scale paper-2x. "
        "Your own: atss reproduce FILE.py, atss sweep.",
    )


def _signatures(table: Table) -> set[str]:
    """The distinct runs behind its rows, at the paper's scale."""
    recipe = SCALES[table.scale]
    return {
        signature(Run(*with_settings(row.config, recipe, row.recipe), "", 0)) for row in table.rows
    }


def show_table(table: Table) -> RenderableType:
    """A table's rows: number, label, the paper's AP, what differs from RetinaNet (#A=1)."""
    ap_heading = ["AP"] if table.has_paper else []
    grid = _grid("", "Row", *ap_heading, "Changes in RetinaNet (#A=1)")
    for number, row in enumerate(table.rows, start=1):
        settings = ", ".join(
            name if value is True else f"{name}={_short(value)}"
            for name, value in row.changes.items()
        )
        ap = ["" if row.paper.ap is None else f"{row.paper.ap:.1f}"] if table.has_paper else []
        grid.add_row(str(number), Text(row.label), *ap, Text(settings or "nothing"))
    section = f" (Sec. {table.section})" if table.section else ""
    above = [Text(table.caption, style="dim")] if table.caption else []
    below = [Text(table.note)] if table.note else []
    return Group(Text(f"{table.heading}{section}", style="bold"), *above, grid, *below)


def _short(value: Any) -> str:
    """A setting's value with as many digits as tell it from others: 4,5.04,6.35."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else show_setting(value)


def show_plan(
    plan: Plan, store: Store, times: Mapping[str, str] = MappingProxyType({})
) -> RenderableType:
    """The distinct runs of a plan in the order of training, which are done, and their times."""
    grid = _grid("Run", "Seed", "State", *(["Time"] if times else []), "Fills")
    for run in plan.runs:
        it = store.folder(run.signature).status()
        label = Text(f"{it.state} {it.detail}".strip(), style=STYLES.get(it.state, ""))
        cells = [times.get(run.signature, "")] if times else []
        grid.add_row(run.signature, str(run.run.seed), label, *cells, Text("\n".join(run.rows)))
    return Group(grid, summary(plan, store))


def summary(plan: Plan, store: Store) -> str:
    """ "4 rows, 1 seed: 4 distinct runs, 1 done, 3 to train"."""
    missing = plan.missing(store)
    tests = sum(run.training is not None for run in missing)
    rows, seeds = count(plan.num_rows, "row"), count(len(plan.seeds), "seed")
    runs = count(len(plan.runs), "distinct run")
    to_do = f"{len(missing) - tests} to train" + (f", {tests} to test anew" if tests else "")
    return f"{rows}, {seeds}: {runs}, {len(plan.runs) - len(missing)} done, {to_do}"


def show_status(store: Store) -> RenderableType:
    """Every run of a results folder, by setup; a run says how far it got, or why it failed."""
    parts: list[RenderableType] = []
    everything = store.statuses()
    for setup in dict.fromkeys(it.setup for it in everything):
        grid = _grid("Run", "Seed", "State", "", "Time", "Fills")
        ours = [it for it in everything if it.setup == setup]
        for it in sorted(ours, key=lambda it: it.name):
            state = Text(it.state, style=STYLES.get(it.state, ""))
            seconds, rows = duration(it.values.get("seconds")), "; ".join(it.facts.get("rows", []))
            cells = (it.folder.signature, str(it.facts.get("seed", "")), state, Text(it.detail))
            grid.add_row(*cells, seconds, Text(rows))
        signs = [
            Text(f"! {it.name}: {text}", "yellow") for it in ours for text in it.values["warnings"]
        ]
        parts += [Text(setup, style="bold"), grid, *signs, ""]
    num_done = sum(it.state == "done" for it in everything)
    return Group(*parts, f"{count(len(everything), 'run')} in {store.root}, {num_done} done")


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
