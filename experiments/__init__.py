"""The paper's tables as data: every row a detector's settings beside the number the paper got."""

from experiments import table1, table2, table3, table4, table5, table6, table7, table8

TABLES = {
    module.TABLE.name: module.TABLE
    for module in (table1, table2, table3, table4, table5, table6, table7, table8)
}

# What "all" asks for: Tables 1 to 7, which compare detectors trained alike and share their runs.
# Table 8 shows how far the method goes: its schedule is twice as long, its backbones are larger.
STUDY = {name: table for name, table in TABLES.items() if table.scale == "paper"}
