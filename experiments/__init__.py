"""The paper's tables as data: every row a detector's settings beside the number the paper got."""

from experiments.tables import TABLES as TABLES

# What "all" asks for: Tables 1 to 7, which compare detectors trained alike and share their runs.
# Table 8 shows how far the method goes: its schedule is twice as long, its backbones are larger.
STUDY = {name: table for name, table in TABLES.items() if table.scale == "paper"}
