"""A report on disk: the bundle, the table in three languages, figures, and an executed notebook.

The notebook is run by this very interpreter, whatever kernels are installed, over a socket file
instead of a network port, and the page made of it needs nothing from outside.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import jupytext
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from reports import numbers, tables
from reports.effects import effects_grids
from reports.figures import plates
from reports.render import latex, markdown, part
from reports.results import Bundle, save_bundle

TABLE = Path(__file__).parent / "notebooks" / "table.py"
ROOT = Path(__file__).parents[1]  # the folder of the packages
CELL_SECONDS = 300
QUIET = {"PYTHONWARNINGS": "ignore", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
LONGEST_FOLDER = 60  # letters of a folder for a kernel's sockets, whose paths may have 107

Progress = Callable[[str], None]


class NotebookError(RuntimeError):
    """The report notebook failed; the message names the cell and the cause in one line."""


def write_report(bundle: Bundle, folder: Path, progress: Progress = lambda _: None) -> None:
    """Write <table>.json, .csv, .md, .tex, .ipynb, .html, and figures as .png and .svg.

    progress is told in a few words what is made next. Raises NotebookError where a cell fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{bundle.table.name}.json"

    def write(**texts: str) -> None:
        for ending, text in texts.items():
            file.with_suffix(f".{ending}").write_text(text, encoding="utf-8")

    progress("tables")
    save_bundle(bundle, file)
    grids = [tables.paper_grid(bundle), tables.gains_grid(bundle)]
    grids += [*tables.changes_grid(bundle), *effects_grids(bundle)]
    write(csv=numbers.csv_text(bundle))
    write(md="\n".join(map(markdown, grids)), tex="\n".join(map(latex, grids)))
    progress("figures")
    for plate in plates(bundle).values():
        plate.write(folder)
    notebook = run_notebook(TABLE, {"bundle_path": str(file.absolute())}, progress)
    _set_parameters(notebook, {"bundle_path": file.name})  # the folder may be moved
    progress("page")
    write(ipynb=jupytext.writes(notebook, fmt="ipynb"), html=to_page(notebook, grids[0].title))


def run_notebook(
    source: Path, parameters: Mapping[str, Any], progress: Progress = lambda _: None
) -> NotebookNode:
    """A notebook of ours, executed with these parameters; NotebookError where a cell fails."""
    notebook, place = jupytext.read(source), "the first cell"
    _set_parameters(notebook, parameters)

    def starts(cell: NotebookNode, cell_index: int) -> None:
        """Remember and tell which cell runs: a failure is named by it."""
        nonlocal place
        above = [it.source for it in notebook.cells[:cell_index] if _is_heading(it)]
        heading = f" under '{above[-1].lstrip('# ').splitlines()[0]}'" if above else ""
        place = f"cell {cell_index + 1}{heading}"
        progress(f"notebook, {place}")

    paths = os.pathsep.join([*sys.path, str(ROOT)])  # what can be imported here, can be there
    env = {**os.environ, **QUIET, "PYTHONPATH": paths}
    short = "/tmp" if len(gettempdir()) > LONGEST_FOLDER else None
    with TemporaryDirectory(prefix="nb", dir=short) as folder:
        kernel = AsyncKernelManager(
            transport="ipc",
            connection_file=str(Path(folder) / "kernel.json"),
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # so none but this interpreter
        )
        client = NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS, on_cell_execute=starts)
        try:
            client.execute(cwd=folder, env=env, cleanup_kc=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            is_cells = isinstance(error, CellExecutionError)
            cause = f"{error.ename}: {error.evalue}" if is_cells else str(error)
            told = f"the report notebook {'failed' if is_cells else 'stopped'} in {place}"
            raise NotebookError(f"{told}: {cause.splitlines()[0]}") from error
    return notebook


def to_page(notebook: NotebookNode, title: str) -> str:
    """One HTML file with everything in it, but the code and headings under which nothing is shown.

    The .ipynb has these.
    """
    body, heading = [], ""
    for cell in notebook.cells:
        if _is_heading(cell):
            name, *texts = cell.source.lstrip("# ").split("\n\n")
            heading = part("section", name, texts)
        for output in cell.get("outputs", ()):
            body += [heading, output.get("data", {}).get("text/html", "")]
            heading = ""
    return part("page", title, "".join(body))


def _set_parameters(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Write the cell that tells the notebook what to read."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())


def _is_heading(cell: NotebookNode) -> bool:
    """Not so the cell that says how to run a notebook again, which its page leaves out."""
    return cell.cell_type == "markdown" and cell.source.startswith("#")
