"""Tables beyond what the paper trained. Table 1 without its order: the same five improvements.

The paper adds them to RetinaNet one after the other, so what each is worth is known in that one
order only. Both tables share their runs with Table 1 where a combination is one of its columns.
Centerness is undefined outside a ground truth, so it needs In GT Box, and 8 of the 2^5 = 32
combinations do not exist: the factorial has 24 rows, and leaving In GT Box out leaves out both.
"""

from dataclasses import replace
from itertools import compress, product
from typing import Any

from detector.metrics import Metrics
from experiments import table9
from experiments.baselines import IMPROVED_RETINANET
from experiments.experiment import Row, Table
from experiments.tables import SWITCHES, TABLE_1

SHORT = ("GN", "GIoU", "In", "Cent", "Scalar")
PAPER = {row.config: row.paper for row in TABLE_1.rows}


def _row(label: str, *off: str) -> Row:
    """The improved RetinaNet without these."""
    switched: dict[str, Any] = dict.fromkeys(off, False)
    config = replace(IMPROVED_RETINANET, **switched)
    marks = tuple("" if name in off else "✓" for name in SWITCHES)
    return Row(label, config, PAPER.get(config, Metrics()), printed=marks)


def _combination(*on: bool) -> Row:
    label = " + ".join(compress(SHORT, on)) or "RetinaNet (#A=1)"
    return _row(label, *(name for name, is_on in zip(SWITCHES, on, strict=True) if not is_on))


LEAVE_ONE_OUT = Table(
    name="leave-one-out",
    title="The improved RetinaNet without each of its five improvements",
    headings=TABLE_1.headings[1:],
    metrics=("ap",),
    rows=(
        _row("all five"),
        _row("without GroupNorm", "group_norm"),
        _row("without GIoU Loss", "giou_loss"),
        _row("without In GT Box and Centerness", "in_gt_box", "centerness"),
        _row("without Centerness", "centerness"),
        _row("without Scalar", "scalar"),
    ),
    note="Centerness needs In GT Box, so it is left out with it. The paper's numbers: Table 1.",
)

FACTORIAL = Table(
    name="factorial",
    title="All combinations of the five improvements",
    headings=TABLE_1.headings[1:],
    metrics=("ap",),
    factors=SWITCHES,
    rows=tuple(
        _combination(*values)
        for values in product((False, True), repeat=len(SWITCHES))
        if values[SWITCHES.index("in_gt_box")] or not values[SWITCHES.index("centerness")]
    ),
    note=(
        "Centerness needs In GT Box, so 24 of the 32 combinations exist. The paper's numbers: "
        "Table 1."
    ),
)

ABLATIONS = {table.name: table for table in (LEAVE_ONE_OUT, FACTORIAL, table9.TABLE)}
