"""Tables beyond what the paper trained. Table 1 without its order: the same five improvements.

The paper adds them to RetinaNet one after the other, so what each is worth is known in that one
order only. Both tables share their runs with Table 1 where a combination is one of its columns.

    leave-one-out   the improved RetinaNet without each of the five
    factorial       all combinations: what each is worth on average, and which pairs interact
    table9          sample selection since ATSS, in a file of its own

Centerness is undefined outside a ground truth, so it needs In GT Box, and 8 of the 2^5 = 32
combinations do not exist: the factorial has 24 rows, and leaving In GT Box out leaves out both.
"""

from collections.abc import Collection
from dataclasses import replace
from itertools import product
from typing import Any

from detector.metrics import Metrics
from experiments import table9
from experiments.baselines import IMPROVED_RETINANET
from experiments.experiment import Row, Table
from experiments.table1 import SWITCHES, TABLE

NAMES = dict(zip(SWITCHES, TABLE.headings[1:], strict=True))
SHORT = dict(zip(SWITCHES, ("GN", "GIoU", "In", "Cent", "Scalar"), strict=True))
PAPER = {row.config: row.paper for row in TABLE.rows}


def _row(label: str, off: Collection[str]) -> Row:
    """The improved RetinaNet without these."""
    switched: dict[str, Any] = dict.fromkeys(off, False)
    config = replace(IMPROVED_RETINANET, **switched)
    marks = tuple("" if name in off else "✓" for name in SWITCHES)
    return Row(label, config, PAPER.get(config, Metrics()), printed=marks)


def _without(switch: str) -> Row:
    off = [switch, "centerness"] if switch == "in_gt_box" else [switch]
    return _row(f"without {' and '.join(NAMES[name] for name in off)}", off)


def _combination(values: tuple[bool, ...]) -> Row:
    switched = dict(zip(SWITCHES, values, strict=True))
    label = " + ".join(SHORT[name] for name, is_on in switched.items() if is_on)
    return _row(label or "RetinaNet (#A=1)", [name for name in switched if not switched[name]])


LEAVE_ONE_OUT = Table(
    name="leave-one-out",
    title="The improved RetinaNet without each of its five improvements",
    headings=tuple(NAMES.values()),
    metrics=("ap",),
    rows=(_row("all five", ()), *(_without(switch) for switch in SWITCHES)),
    note="Centerness needs In GT Box, so it is left out with it. The paper's numbers: Table 1.",
)

FACTORIAL = Table(
    name="factorial",
    title="All combinations of the five improvements",
    headings=tuple(NAMES.values()),
    metrics=("ap",),
    factors=SWITCHES,
    rows=tuple(
        _combination(values)
        for values in product((False, True), repeat=len(SWITCHES))
        if values[SWITCHES.index("in_gt_box")] or not values[SWITCHES.index("centerness")]
    ),
    note=(
        "Centerness needs In GT Box, so 24 of the 32 combinations exist. The paper's numbers: "
        "Table 1."
    ),
)

ABLATIONS = {table.name: table for table in (LEAVE_ONE_OUT, FACTORIAL, table9.TABLE)}
