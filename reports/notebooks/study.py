# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["again"]
# To run this notebook again, start Jupyter in the folder where it lies, which holds what it reads,
# with the Python of this project: one that can import its packages (`reports`, `detector`,
# `experiments`). In its repository that is `uv run --with jupyterlab jupyter lab FOLDER`; elsewhere
# install the repository (`pip install PATH`), or set `PYTHONPATH` to its path.

# %% tags=["parameters"]
bundle_paths = ["table1.json", "table2.json"]  # of one setup: everything below is read from them
counts_path = ""  # positives.csv of `atss positives` on the same data, if there is one

# %%
from html import escape
from pathlib import Path

from IPython.display import HTML

from reports import facts, tables
from reports.bundle import load_bundle
from reports.claims import claims_grid, deciding
from reports.frames import all_frames, overview
from reports.grids.grid import STYLE, to_html
from reports.pages import headlines, page, provenance
from reports.plots.plates import study_plates
from reports.study import Study

folder = Path(bundle_paths[0]).parent
study = Study([load_bundle(Path(path)) for path in bundle_paths])
counts = Path(counts_path)
verdicts = headlines.judged(study, counts if counts.is_file() else None)
drawn = study_plates(study)


def show(*parts: str) -> HTML | None:
    """What is there of these HTML parts, None where nothing is."""
    return HTML("".join(parts)) if any(parts) else None


def plate(name: str) -> str:
    """The figure of this name, if the results allow it."""
    return drawn[name].shown(folder) if name in drawn else ""


show(
    f"{STYLE}<h1>The whole study</h1>",
    page.paragraphs([f"All tables measured in one setup: {study.name}.", *headlines.caution(study)]),
)

# %% [markdown]
# ## The paper's claims

# %%
show(to_html(claims_grid(verdicts)))

# %%
show(page.listed("What would decide what is open", deciding(verdicts)))

# %% [markdown]
# ## From RetinaNet to ATSS

# %%
show(plate("path"))

# %% [markdown]
# ## What ATSS is robust to

# %%
show(plate("sweeps"))

# %% [markdown]
# ## The tables

# %%
show(
    *(
        f"<h3>{escape(bundle.table.heading)}</h3>"
        f"{page.paragraphs([headlines.finding(bundle)])}{to_html(tables.paper_grid(bundle))}"
        for bundle in study.bundles
    )
)

# %% [markdown]
# ## How the runs were made

# %%
show(
    to_html(facts.facts_grid(study.bundles[0])),
    page.paragraphs(provenance.cost(study.bundles)),
    to_html(provenance.sources(study.bundles)),
)

# %% [markdown]
# ## The results as data frames
#
# For whoever goes on from here, in Jupyter: the results of all tables as tidy pandas data frames.

# %%
data = all_frames(study.bundles)
runs, metrics, differences, history = (
    data[name] for name in ("runs", "metrics", "differences", "history")
)
curves, errors, classes, images = (data[name] for name in ("curves", "errors", "classes", "images"))
show(to_html(overview(data)))
