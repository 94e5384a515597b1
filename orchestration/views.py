"""What the `atss` command prints: lists of tables, rows, runs and results."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Run, Table, signature
from experiments.schedules import SCALES
from experiments.settings import did_you_mean, show_setting, with_settings
from orchestration.plan import Plan, setups_in
from orchestration.progress import STYLES, count, duration
from orchestration.run_folder import Store


def list_tables() -> RenderableType:
    """Every table of the paper, and how many runs stand behind its rows."""
    grid = _grid("Name", "Rows", "Runs", "Section", "Title")
    for name, table in (TABLES | ABLATIONS).items():
        counted = str(len(table.rows)), str(len(_signatures(table)))
        grid.add_row(name, *counted, table.section, table.title)
    runs = len(set().union(*map(_signatures, STUDY.values())))
    rows = sum(len(table.rows) for table in STUDY.values())
    return Group(
        grid,
        f"{rows} rows, {runs} distinct runs in table1 to table7, which all stands for: shared ones "
        "are trained once. The others are no part of it; table8 has a schedule of its own, --scale "
        "paper-2x. Your own: atss reproduce FILE.py, atss sweep.",
    )


def _signatures(table: Table) -> set[str]:
    """The distinct runs behind its rows, at the paper's scale."""
    recipe = SCALES[table.scale]
    return {
        signature(Run(*with_settings(row.config, recipe, row.recipe), "", 0)) for row in table.rows
    }


def show_table(table: Table) -> RenderableType:
    """A table's rows: number, label, the paper's AP, what differs from RetinaNet (#A=1)."""
    grid = _grid("", "Row", *(["AP"] if table.has_paper else []), "Changes in RetinaNet (#A=1)")
    for number, row in enumerate(table.rows, start=1):
        changes = [
            name if value is True else f"{name}={_short(value)}"
            for name, value in row.changes.items()
        ]
        ap = "" if row.paper.ap is None else f"{row.paper.ap:.1f}"
        shown = Text(", ".join(changes) or "nothing")
        grid.add_row(str(number), Text(row.label), *([ap] if table.has_paper else []), shown)
    section = f" (Sec. {table.section})" if table.section else ""
    caption, note = Text(table.caption, style="dim"), Text(table.note)
    above = [Text(f"{table.heading}{section}", style="bold"), *([caption] if caption else [])]
    return Group(*above, grid, *([note] if note else []))


def _short(value: Any) -> str:
    """A setting's value with as many digits as tell it from others: 4,5.04,6.35."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else show_setting(value)


def show_plan(plan: Plan, store: Store, times: Mapping[str, str] | None = None) -> RenderableType:
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
        grid, signs = _grid("Run", "Seed", "State", "", "Time", "Fills"), list[Text]()
        ours = [it for it in everything if it.setup == setup]
        for it in sorted(ours, key=lambda it: it.name):
            state, rows = Text(it.state, STYLES.get(it.state, "")), it.facts.get("rows", [])
            seed, time = str(it.facts.get("seed", "")), duration(it.values.get("seconds"))
            cells = (it.folder.signature, seed, state, Text(it.detail), time)
            grid.add_row(*cells, Text("; ".join(rows)))
            signs += [Text(f"! {it.name}: {text}", "yellow") for text in it.values["warnings"]]
        parts += [Text(setup, style="bold"), grid, *signs, ""]
    num_done = sum(it.state == "done" for it in everything)
    return Group(*parts, f"{count(len(everything), 'run')} in {store.root}, {num_done} done")


def nothing_found(store: Store, tables: Sequence[str], data: str | None = None) -> str:
    """Why there is nothing to report, and what there would be. data: where only that is wanted."""
    setups = [setup for setup, _ in setups_in(store)]
    found = ", ".join(f"'{setup.name}'" for setup in setups) or "no runs"
    known = [name for setup in setups for name in (setup.data, setup.where)]
    on = ""
    if data is not None and data not in known:
        on = f" on a data set '{data}'{did_you_mean(data, known)}"
    return f"no results for {', '.join(tables)}{on} in {store.root}, which holds {found}"


def _grid(*headings: str) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        is_number = heading in ("Rows", "Runs", "AP", "Seed", "Time")
        grid.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    return grid
