# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# To run this notebook again, start Jupyter in the folder where it lies, which holds what it reads,
# with the Python of this project: one that can import its packages (`reports`, `detector`,
# `experiments`). In its repository that is `uv run --with jupyterlab jupyter lab FOLDER`; elsewhere
# install the repository (`pip install PATH`), or set `PYTHONPATH` to its path.

# + tags=["parameters"]
bundle_path = "table1.json"  # one bundle: everything below is read from it

# +
from pathlib import Path

from IPython.display import HTML

from reports import effects, site, tables
from reports.claims import claims_grid, deciding, judge_all
from reports.figures import plates
from reports.measurements import Measurements
from reports.numbers import numbers
from reports.render import STYLE, part
from reports.results import load_bundle

folder = Path(bundle_path).parent
bundle = load_bundle(Path(bundle_path))
table = bundle.table
verdicts = judge_all(Measurements([bundle]), site.claims_about(table))
figures = {name: plate.shown(folder) for name, plate in plates(bundle).items()}


def show(*parts: str) -> HTML | None:
    """What is there of these HTML parts, None where nothing is."""
    return HTML("".join(parts)) if any(parts) else None


show(STYLE, part("opening", table, site.finding(bundle)))
# -

# ## The table

show(part("grid", tables.paper_grid(bundle)), figures["ap"])

# ## What each row changes

others = *tables.changes_grid(bundle), *effects.effects_grids(bundle)
show(
    part("grid", tables.gains_grid(bundle)),
    figures.get("gains", ""),
    *(part("grid", grid) for grid in others),
    part("sources", table.rows),
)

# ## The paper’s claims about it

show(
    part("grid", claims_grid(verdicts)) if verdicts else "",
    part("listed", "What would decide what is open", deciding(verdicts)),
)

# ## Precision and recall

show(figures.get("precision", ""))

# ## Kinds of errors

show(figures.get("errors", ""))

# ## Images, from best to worst

show(*site.gallery(folder, table.name))

# ## How the runs were made

show(
    part("listed", "All runs have", tables.facts(bundle)),
    part("listed", "Rows change in RetinaNet (#A=1)", tables.row_changes(bundle)),
    part("paragraphs", site.cost([bundle])),
    part("grid", tables.runs_grid(bundle)),
)

# ## How to reproduce it

show(part("command", bundle.command))

# ## The results as a data frame
#
# For whoever goes on from here, in Jupyter: the table's numbers, a line per row and metric.

data = numbers(bundle).infer_objects()
show(part("paragraphs", [f"{len(data):,} lines of {', '.join(data)}."]))
