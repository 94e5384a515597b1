"""The paper's tables as data: every row a detector's settings beside the number the paper got."""

from experiments import table1, table2, table3, table4, table5, table6, table7

TABLES = {
    module.TABLE.name: module.TABLE
    for module in (table1, table2, table3, table4, table5, table6, table7)
}
