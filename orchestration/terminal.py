"""What the `atss` command prints, and how it ends: lists, one-line problems, exit codes."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text

from experiments import STUDY, TABLES
from experiments.ablations import ABLATIONS
from experiments.experiment import Run, Table, signature
from experiments.schedules import SCALES
from experiments.settings import show_setting, with_settings
from orchestration.plan import Plan, setups_in
from orchestration.progress import STYLES, Status, count, duration
from orchestration.run_folder import DEFAULT_OUT, Store
from reports import render
from reports.numbers import finite

DONE, SOME_FAILED, REFUSED, STOPPED = 0, 1, 2, 130  # exit codes
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and ends of lines


def clean(text: str) -> str:
    """Names come from anybody's files: one may hold what moves a cursor or sets a title."""
    return CONTROL.sub("\ufffd", text)


class Clean(Console):
    """A console that shows control sequences of texts instead of following them."""

    def render(self, *given: Any, **more: Any) -> Iterator[Segment]:
        """As rich's: all that is shown passes here."""
        for text, style, control in super().render(*given, **more):
            yield Segment(text if control else clean(text), style, control)


# Names and reasons may hold brackets, which rich would take for its markup.
console = Clean(highlight=False, markup=False)


def say(*lines: str) -> None:
    """Print whole lines: whoever copies a path, or reads a pipe, wants no breaks in them."""
    for line in lines:
        console.print(line, soft_wrap=True)


def warn(texts: Sequence[str]) -> None:
    """Say what does not end a command, one line each, beside what it prints."""
    for text in texts:
        print(f"atss: {clean(text)}", file=sys.stderr)


def finish(problems: Sequence[str]) -> NoReturn:
    """Say what went wrong, one line each, and end."""
    warn(problems)
    raise typer.Exit(SOME_FAILED if problems else DONE)


def near(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def out_option(store: Store) -> str:
    """What a line for this results folder ends with; empty for the one that is the default."""
    name = near(store.root)
    return "" if name == DEFAULT_OUT else f" --out {shlex.quote(name)}"


# Lists of tables, rows, runs and results


def list_tables() -> RenderableType:
    """Every table of the paper, and how many runs stand behind its rows."""
    grid = _grid("Name", "Rows", "Runs", "Section", "Title")
    for name, table in (TABLES | ABLATIONS).items():
        counts = str(len(table.rows)), str(len(_signatures(table)))
        grid.add_row(name, *counts, table.section, table.title)
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
    settings = [with_settings(it.config, SCALES[table.scale], it.recipe) for it in table.rows]
    return {signature(Run(*it, "", 0)) for it in settings}


def show_table(table: Table) -> RenderableType:
    """A table's rows: number, label, the paper's AP, what differs from RetinaNet (#A=1)."""
    section = f" (Sec. {table.section})" if table.section else ""
    grid = _grid("", "Row", *["AP"][: table.has_paper], "Changes in RetinaNet (#A=1)")
    for number, row in enumerate(table.rows, start=1):
        ap = "" if row.paper.ap is None else f"{row.paper.ap:.1f}"
        told = [f"{name}={_short(it)}".removesuffix("=true") for name, it in row.changes.items()]
        changes = Text(", ".join(told) or "nothing")
        grid.add_row(str(number), Text(row.label), *[ap][: table.has_paper], changes)
    heading, caption = Text(f"{table.heading}{section}", "bold"), Text(table.caption, "dim")
    return Group(*(it for it in (heading, caption, grid, Text(table.note)) if it))


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
    """ "4 rows, 1 seed: 4 distinct runs, 1 done, 3 to train", and which rows are one run."""
    missing = plan.missing(store)
    tests = sum(run.training is not None for run in missing)
    rows, seeds = count(plan.num_rows, "row"), count(len(plan.seeds), "seed")
    runs, num_done = count(len(plan.runs), "distinct run"), len(plan.runs) - len(missing)
    to_do = f"{len(missing) - tests} to train" + (f", {tests} to test anew" if tests else "")
    told = [f"{rows}, {seeds}: {runs}, {num_done} done, {to_do}"]
    for run, table in product(plan.runs, plan.tables):  # as Table 8's, but for its own scales
        alike = [row for row in run.rows if row.startswith(f"{table.label}: ")]
        if len(alike) > 1 and run.run.seed == plan.seeds[0]:
            told.append(f"At scale {plan.setup.scale} one run: {'; '.join(alike)}")
    return "\n".join(told)


def show_status(store: Store) -> RenderableType:
    """Every run of a results folder, by setup; a run says how far it got, or why it failed."""
    statuses = store.statuses()
    setups = [it.facts.get("setup", {}).get("name", "unknown") for it in statuses]
    parts: list[RenderableType] = []
    for setup in dict.fromkeys(setups):
        grid, signs = _grid("Run", "Seed", "State", "", "Time", "Fills"), list[Text]()
        ours = [it for it, name in zip(statuses, setups, strict=True) if name == setup]
        for it in sorted(ours, key=lambda it: it.name):
            state, rows = Text(it.state, STYLES.get(it.state, "")), it.facts.get("rows", [])
            seed, time = str(it.facts.get("seed", "")), duration(it.values.get("seconds"))
            cells = (it.signature, seed, state, Text(it.detail), time)
            grid.add_row(*cells, Text("; ".join(rows)))
            signs += [Text(f"! {it.name}: {text}", "yellow") for text in it.warnings]
        parts += [Text(setup, style="bold"), grid, *signs, ""]
    return Group(*parts, total(store, statuses))


def total(store: Store, statuses: Sequence[Status]) -> str:
    """ "4 runs in results, 1 done"."""
    num_done = sum(it.state == "done" for it in statuses)
    return f"{count(len(statuses), 'run')} in {store.root}, {num_done} done"


def nothing_found(store: Store, tables: Sequence[str], data: str | None = None) -> str:
    """Why there is nothing to report, and what there would be. data: where only that is wanted."""
    found = ", ".join(f"'{setup.name}'" for setup, _ in setups_in(store)) or "no runs"
    if (runs := store.folders()) and not any(run.is_done for run in runs):
        found = f"{count(len(runs), 'run')}, none of them done: atss status"
    on = "" if data is None else f" on a data set '{data}'"
    return f"no results for {', '.join(tables)}{on} in {store.root}, which holds {found}"


def _grid(*headings: str) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        is_number = heading in ("Rows", "Runs", "AP", "Seed", "Time")
        grid.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    return grid


# What reports say


def print_grid(grid: render.Grid, form: str) -> None:
    """A table of a report, as Markdown or for a terminal."""
    is_markdown = form == "markdown"
    written = render.markdown(grid) if is_markdown else render.terminal(grid)
    console.print(written, soft_wrap=is_markdown)


def print_json(content: Any) -> None:
    """JSON, with null for numbers that are not finite."""
    print(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False))
