"""A report on disk: the bundle, the table in three languages, figures, and an executed notebook.

The notebook's cells run in this very process, as a kernel of Jupyter would run them, whatever
kernels are installed, and the page made of them needs nothing from outside.
"""

import ast
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jupytext
from IPython.core.formatters import DisplayFormatter
from nbformat import NotebookNode
from nbformat.v4 import new_output

from reports import numbers, tables
from reports.effects import effects_grids
from reports.figures import plates
from reports.render import latex, markdown, part
from reports.results import Bundle, save_bundle
from reports.site import page

TABLE = Path(__file__).parent / "notebooks" / "table.py"
AGAIN = "again"  # the cell that says how to run a notebook again, which its page leaves out

Progress = Callable[[str], None]


class NotebookError(RuntimeError):
    """The report notebook failed; the message names the cell and the cause in one line."""


def write_report(bundle: Bundle, folder: Path, progress: Progress = lambda _: None) -> list[Path]:
    """Write <table>.json, .csv, .md, .tex, .ipynb, .html, figures as .png, .svg; their paths.

    progress is told in a few words what is made next. Raises NotebookError where a cell fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = bundle.table.name
    written = [folder / f"{name}.json"]

    def write(ending: str, content: str) -> None:
        written.append(folder / f"{name}{ending}")
        written[-1].write_text(content, encoding="utf-8")

    progress("tables")
    save_bundle(bundle, written[0])
    grids = [tables.paper_grid(bundle), tables.gains_grid(bundle)]
    grids += [*tables.changes_grid(bundle), *effects_grids(bundle)]
    write(".csv", numbers.csv_text(bundle))
    write(".md", "\n".join(map(markdown, grids)))
    write(".tex", "\n".join(map(latex, grids)))
    progress("figures")
    written += [path for plate in plates(bundle).values() for path in plate.write(folder)]
    notebook = run_notebook(TABLE, {"bundle_path": str(written[0].absolute())}, progress)
    _set_parameters(notebook, {"bundle_path": written[0].name})  # the folder may be moved
    progress("page")
    write(".ipynb", jupytext.writes(notebook, fmt="ipynb"))
    write(".html", to_page(notebook, grids[0].title))
    return written


def run_notebook(
    source: Path, parameters: Mapping[str, Any], progress: Progress = lambda _: None
) -> NotebookNode:
    """A notebook of ours, executed with these parameters; NotebookError where a cell fails."""
    notebook = jupytext.read(source)
    _set_parameters(notebook, parameters)
    names: dict[str, Any] = {"__name__": "__main__"}
    heading, count = "", 0
    for i, cell in enumerate(notebook.cells, start=1):
        if _is_heading(cell):
            heading = f" under '{cell.source.lstrip('# ').splitlines()[0]}'"
        if cell.cell_type != "code":
            continue
        place, count = f"cell {i}{heading}", count + 1
        progress(f"notebook, {place}")
        try:
            with warnings.catch_warnings(action="ignore"):
                value = _run(cell.source, names)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            raise NotebookError(f"the report notebook failed in {place}: {cause}") from error
        cell.execution_count = count
        if value is not None:
            data, _ = DisplayFormatter().format(value)
            cell.outputs = [new_output("execute_result", data, execution_count=count)]
    return notebook


def _run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what its last line says, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


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
            body += [heading, output.data.get("text/html", "")]
            heading = ""
    return page(title, "".join(body))


def _set_parameters(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Write the cell that tells the notebook what to read."""
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())


def _is_heading(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and AGAIN not in cell.metadata.get("tags", ())
