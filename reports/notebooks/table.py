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
bundle_path = "table1.json"  # one bundle: everything below is read from it

# %%
from html import escape
from pathlib import Path

from IPython.display import HTML

from reports import effects, footnotes, tables
from reports.numbers import frames
from reports.results import load_bundle
from reports.claims import claims_grid, deciding, judge_all
from reports.figures import plates
from reports.measurements import Measurements
from reports.render import STYLE, part, to_html
from reports.site import claims_about, cost, counted, finding, gallery, gaps

folder = Path(bundle_path).parent
bundle = load_bundle(Path(bundle_path))
table = bundle.table
verdicts = judge_all(Measurements([bundle]), claims_about(table))
drawn = plates(bundle)


def show(*parts: str) -> HTML | None:
    """What is there of these HTML parts, None where nothing is."""
    return HTML("".join(parts)) if any(parts) else None


def plate(name: str) -> str:
    """The figure of this name, if the results allow it."""
    return drawn[name].shown(folder) if name in drawn else ""


section = f"Section {table.section} of the paper: " if table.section else ""
show(
    f"{STYLE}<h1>{escape(table.heading)}</h1>",
    f"<p>{section}<em>{escape(table.caption)}</em></p>",
    part("paragraphs", [finding(bundle)]),
)

# %% [markdown]
# ## The table

# %%
show(to_html(tables.paper_grid(bundle)), plate("ap"))

# %% [markdown]
# ## What each row changes

# %%
show(to_html(tables.gains_grid(bundle)), plate("gains"))

# %%
show(*map(to_html, tables.changes_grid(bundle)))

# %%
show(*map(to_html, effects.effects_grids(bundle)))

# %%
show(
    *(
        f"<h3>The assigner {escape(name)}</h3><pre>{escape(source)}</pre>"
        for name, source in {
            it.assigner.name: it.assigner.source for it in table.rows if it.assigner
        }.items()
    )
)

# %% [markdown]
# ## The paper’s claims about it

# %%
show(
    to_html(claims_grid(verdicts)) if verdicts else "",
    part("listed", "What would decide what is open", deciding(verdicts)),
)

# %% [markdown]
# ## Precision and recall

# %%
show(plate("precision"))

# %% [markdown]
# ## Kinds of errors

# %%
show(plate("errors"))

# %% [markdown]
# ## Images, from best to worst

# %%
show(*gallery(folder, table.name))

# %% [markdown]
# ## Where the positives are

# %%
show(*counted(folder, table.name))

# %% [markdown]
# ## How the runs were made

# %%
show(to_html(footnotes.facts_grid(bundle)), part("paragraphs", cost([bundle])))

# %%
show(to_html(tables.runs_grid(bundle)))

# %%
show(part("listed", "Not in this report, and what would bring it", gaps(bundle, folder)))

# %% [markdown]
# ## How to reproduce it

# %%
show(
    f"<pre>{escape(bundle.command)}</pre>",
    "<p>Equal runs are trained once: what is there is not trained again.</p>",
)

# %% [markdown]
# ## The results as data frames
#
# For whoever goes on from here, in Jupyter: the results as tidy pandas data frames.

# %%
data = frames(bundle)
numbers, runs, classes, images = data.values()
told = [f"{name}: {len(it):,} lines of {', '.join(map(str, it))}" for name, it in data.items()]
show(part("listed", "Data frames", told))
