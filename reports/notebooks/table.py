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

# %% tags=["parameters"]
bundle_path = "table1.json"  # one bundle: everything below is read from it

# %%
from html import escape
from pathlib import Path

from IPython.display import HTML, Image

from reports import effects, facts, figures, tables
from reports.bundle import load_bundle
from reports.grid import STYLE, to_html

bundle = load_bundle(Path(bundle_path))
table = bundle.table
section = f"Section {table.section} of the paper: " if table.section else ""
HTML(
    f"{STYLE}<h1>{escape(table.heading)}</h1>"
    f"<p>{section}<em>{escape(table.caption)}</em></p>"
)

# %% [markdown]
# ## The table

# %%
HTML(to_html(tables.paper_grid(bundle)))

# %%
ap = figures.save(figures.comparison_figure(bundle), "png")
Image(ap, width=720, alt="AP: the paper's and ours")

# %% [markdown]
# ## What each row changes

# %%
HTML(to_html(tables.gains_grid(bundle.comparison)))

# %%
HTML("".join(to_html(grid) for grid in effects.effects_grids(bundle.comparison)))

# %%
HTML(
    "".join(
        f"<h3>The assigner {escape(name)}</h3><pre>{escape(source)}</pre>"
        for name, source in facts.assigners(table).items()
    )
)

# %% [markdown]
# ## How the runs were made

# %%
HTML(to_html(facts.facts_grid(bundle)))

# %%
HTML(to_html(tables.runs_grid(bundle.comparison)))

# %% [markdown]
# ## Learning curves

# %%
curves = figures.save(figures.learning_figure(bundle), "png")
Image(curves, width=720, alt="Losses and AP against the step")

# %% [markdown]
# ## How to reproduce it

# %%
HTML(
    f"<pre>{escape(bundle.command)}</pre>"
    "<p>Equal runs are trained once: what is there is not trained again.</p>"
)
