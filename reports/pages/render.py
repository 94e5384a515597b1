"""A report on disk: the bundle, the table in three languages, figures, and an executed notebook.

The notebook is run by this very interpreter, whatever kernels are installed, over a socket file
instead of a network port, and its HTML needs nothing from outside.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import jupytext
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from reports import numbers, tables
from reports.effects import effects_grids
from reports.pages.page import page
from reports.plots.plates import Plate, plates
from reports.render import latex, markdown
from reports.results import Bundle, save_bundle

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TABLE = NOTEBOOKS / "table.py"
ROOT = Path(__file__).parents[2]  # the folder of the packages
AGAIN = "again"  # the cell that says how to run a notebook again, which its page leaves out
CELL_SECONDS = 300
LONGEST_FOLDER = 60  # letters of a folder for a kernel's sockets, whose paths may have 107

Progress = Callable[[str], None]


class NotebookError(RuntimeError):
    """The report notebook failed; the message names the cell and the cause in one line."""


def write_report(bundle: Bundle, folder: Path, progress: Progress = lambda _: None) -> list[Path]:
    """Write <table>.json, .csv, .md, .tex, .ipynb, .html, figures as .png, .svg; their paths.

    progress is told in a few words what is made next. Raises NotebookError where a cell fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = bundle.table.name
    progress("tables")
    save_bundle(bundle, folder / f"{name}.json")
    grid = tables.paper_grid(bundle)
    grids = (
        grid,
        tables.gains_grid(bundle.comparison),
        *tables.changes_grid(bundle.comparison),
        *effects_grids(bundle.comparison),
    )
    written = [
        folder / f"{name}.json",
        _write(folder / f"{name}.csv", numbers.csv_text(bundle.comparison)),
        _write(folder / f"{name}.md", "\n".join(map(markdown, grids))),
        _write(folder / f"{name}.tex", "\n".join(map(latex, grids))),
    ]
    progress("figures")
    written += _draw(plates(bundle).values(), folder)
    parameters = {"bundle_path": str((folder / f"{name}.json").absolute())}
    notebook = run_notebook(TABLE, parameters, progress)
    _set_parameters(notebook, {"bundle_path": f"{name}.json"})
    progress("page")
    return written + _write_notebook(notebook, folder / name, grid.title)


def run_notebook(
    source: Path, parameters: Mapping[str, Any], progress: Progress = lambda _: None
) -> NotebookNode:
    """A notebook of ours, executed with these parameters, without the sections that say nothing.

    NotebookError where a cell fails.
    """
    notebook = jupytext.read(source)
    _set_parameters(notebook, parameters)
    place = "the first cell"

    def starts(cell: NotebookNode, cell_index: int) -> None:
        nonlocal place
        place = _place(notebook, cell_index)
        progress(f"notebook, {place}")

    short = "/tmp" if len(gettempdir()) > LONGEST_FOLDER else None
    with TemporaryDirectory(prefix="nb", dir=short) as folder:
        client = NotebookClient(
            notebook, km=_kernel(Path(folder)), timeout=CELL_SECONDS, on_cell_execute=starts
        )
        try:
            client.execute(cwd=folder, cleanup_kc=True)
        except CellExecutionError as error:
            cause = f"{error.ename}: {error.evalue}".splitlines()[0]
            raise NotebookError(f"the report notebook failed in {place}: {cause}") from error
        except (CellTimeoutError, DeadKernelError) as error:
            cause = str(error).splitlines()[0]
            raise NotebookError(f"the report notebook stopped in {place}: {cause}") from error
    notebook.cells = _telling(notebook.cells)
    return notebook


def _telling(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The cells without the headings under which no cell shows anything, and without those cells.

    What stands before the first heading stays.
    """
    sections: list[list[NotebookNode]] = [[]]
    for cell in cells:
        if _is_heading(cell):
            sections.append([])
        sections[-1].append(cell)
    first, *others = sections
    kept = [section for section in others if any(cell.get("outputs") for cell in section)]
    return [cell for section in [first, *kept] for cell in section]


def to_page(notebook: NotebookNode, title: str) -> str:
    """One HTML file with everything in it and without the code, which the .ipynb has."""
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    cells = [cell for cell in notebook.cells if not _has_tag(cell, AGAIN)]
    body, _ = exporter.from_notebook_node(NotebookNode({**notebook, "cells": cells}))
    return page(title, body)


def _draw(figures: Iterable[Plate], folder: Path) -> list[Path]:
    return [path for plate in figures for path in plate.write(folder)]


def _write_notebook(notebook: NotebookNode, stem: Path, title: str) -> list[Path]:
    return [
        _write(stem.with_name(f"{stem.name}.ipynb"), jupytext.writes(notebook, fmt="ipynb")),
        _write(stem.with_name(f"{stem.name}.html"), to_page(notebook, title)),
    ]


class _ThisInterpreter(KernelSpecManager):
    """A kernel of this interpreter that can import this project and keeps its warnings."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Whatever is asked for, this interpreter."""
        own = [] if ROOT.name == "site-packages" else [str(ROOT)]
        paths = [*own, *filter(None, [os.environ.get("PYTHONPATH")])]
        return KernelSpec(
            argv=[
                *(sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"),
                *("-f", "{connection_file}"),
            ],
            display_name="Python 3",
            language="python",
            env={
                "PYTHONPATH": os.pathsep.join(paths),
                "PYTHONWARNINGS": "ignore",
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            },
        )


def _kernel(folder: Path) -> AsyncKernelManager:
    """A kernel that talks over socket files in a folder; its path must be short (107 letters)."""
    return AsyncKernelManager(
        transport="ipc",
        connection_file=str(folder / "kernel.json"),
        kernel_spec_manager=_ThisInterpreter(),
    )


def _set_parameters(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Write the cell that tells the notebook what to read.

    It is executed with whole paths, and kept with those from its folder, which may be moved.
    """
    cell = next(cell for cell in notebook.cells if _has_tag(cell, "parameters"))
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())


def _has_tag(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def _is_heading(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and not _has_tag(cell, AGAIN)


def _place(notebook: NotebookNode, index: int) -> str:
    """Where a reader finds a cell: its number, and the heading it stands under."""
    above = [cell.source for cell in notebook.cells[:index] if _is_heading(cell)]
    heading = f" under '{above[-1].lstrip('# ').splitlines()[0]}'" if above else ""
    return f"cell {index + 1}{heading}"


def _write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path
