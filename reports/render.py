"""A report on disk: the bundle, the table in three languages, figures, and an executed notebook.

The notebook is run by this very interpreter, whatever kernels are installed, over a socket file
instead of a network port, and its HTML needs nothing from outside.
"""

import html
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from reports import figures, tables
from reports.bundle import Bundle, save_bundle
from reports.effects import effects_grids
from reports.grid import latex, markdown

NOTEBOOK = Path(__file__).parent / "notebooks" / "table.py"
ROOT = Path(__file__).parents[1]  # the folder of the packages
CELL_SECONDS = 300

# nbconvert's own pages load scripts from elsewhere; its bare template and this need nothing.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff; }}
body {{ font: 15px/1.5 system-ui, sans-serif; }}
h1, h2 {{ line-height: 1.2; }}
h2 {{ margin-top: 2em; }}
figure {{ margin-left: 0; }}
img {{ max-width: 100%; height: auto; }}
pre {{ overflow-x: auto; padding: .6em; background: #f4f4f4; }}
.anchor-link {{ display: none; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

Progress = Callable[[str], None]


class NotebookError(RuntimeError):
    """The report notebook failed; the message names the cell and the cause in one line."""


def write_report(bundle: Bundle, folder: Path, progress: Progress = lambda _: None) -> list[Path]:
    """Write <table>.json, .csv, .md, .tex, .ipynb, .html, figures as .png, .svg; their paths.

    progress is told in a few words what is made next. Raises NotebookError where a cell fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle_path = folder / f"{bundle.table.name}.json"
    progress("tables")
    save_bundle(bundle, bundle_path)
    grid = tables.paper_grid(bundle)
    grids = (grid, *effects_grids(bundle.comparison))
    files: dict[str, str | bytes] = {
        ".csv": tables.csv_text(bundle.comparison),
        ".md": "\n".join(map(markdown, grids)),
        ".tex": "\n".join(map(latex, grids)),
    }
    progress("figures")
    drawings = {
        "-ap": figures.comparison_figure(bundle),
        "-curves": figures.learning_figure(bundle),
    }
    for name, figure in drawings.items():
        for kind in ("png", "svg"):
            files[f"{name}.{kind}"] = figures.save(figure, kind)
    notebook = run_notebook(bundle_path, progress)
    progress("page")
    files[".ipynb"] = jupytext.writes(notebook, fmt="ipynb")
    files[".html"] = to_page(notebook, grid.title)
    written = (
        _write(folder / f"{bundle.table.name}{end}", content) for end, content in files.items()
    )
    return [bundle_path, *written]


def run_notebook(
    bundle_path: Path, progress: Progress = lambda _: None, source: Path = NOTEBOOK
) -> NotebookNode:
    """The report notebook, executed for one bundle; NotebookError where a cell fails."""
    notebook = jupytext.read(source)
    _parameters(notebook).source = f"bundle_path = {str(bundle_path.absolute())!r}"
    place = "the first cell"

    def starts(cell: NotebookNode, cell_index: int) -> None:
        nonlocal place
        place = _place(notebook, cell_index)
        progress(f"notebook, {place}")

    with TemporaryDirectory(prefix="nb") as folder:
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
    return notebook


def to_page(notebook: NotebookNode, title: str) -> str:
    """One HTML file with everything in it and without the code, which the .ipynb has."""
    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook)
    return PAGE.format(title=html.escape(title), body=body)


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


def _parameters(notebook: NotebookNode) -> NotebookNode:
    """The cell that tells the notebook which bundle to read."""
    tagged = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return next(tagged)


def _place(notebook: NotebookNode, index: int) -> str:
    """Where a reader finds a cell: its number, and the heading it stands under."""
    above = [cell.source for cell in notebook.cells[:index] if cell.cell_type == "markdown"]
    heading = f" under '{above[-1].lstrip('# ')}'" if above else ""
    return f"cell {index + 1}{heading}"


def _write(path: Path, content: str | bytes) -> Path:
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path
