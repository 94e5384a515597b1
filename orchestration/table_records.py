"""What MLflow's records say of a table in one setup: its rows, its report, made from its bundle.

A row's params are the toggles that differ from row to row, so that MLflow's plots show what varies;
all the others are in its training's record. Its metrics begin with AP:

    AP, AP50, AP75, AP_S, AP_M, AP_L    ours
    AP_low, AP_high                     the 95 % interval of AP: these trained weights, other images
    paper_AP, delta_AP                  the paper's, and ours minus the paper's
    gain_AP, gain_AP_low, ..._high      ours minus the table's reference row of the same seed
    paper_gain_AP                       the same of the paper's
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.metrics import HEADINGS, Metrics
from experiments.experiment import Row
from experiments.settings import show_setting
from orchestration.plan import Setup
from orchestration.record_views import table_views
from orchestration.records import ROW, ReportRecord, RowRecord, TableRecord, texts
from reports.bundle import Bundle
from reports.compare import Result
from reports.grids.grid import markdown
from reports.tables import paper_grid

if TYPE_CHECKING:  # it imports numpy, which lists need not wait for
    from reports.verdicts import Verdict

ROW_MILLISECONDS = 1000  # between the start times of two rows; seeds stand in between
PAGE = ".html"  # a report's page, the first of its files


def table_record(
    content: Bundle, setup: Setup, folder: Path, verdicts: Sequence["Verdict"] = ()
) -> TableRecord:
    """All that MLflow is to have of a table. folder: of its report, which has the verdicts, too."""
    table = content.table
    rows = row_records(content, setup)
    return TableRecord(
        name=f"{table.label} - {setup.name}",
        note=markdown(paper_grid(content)),
        rows=tuple(rows),
        report=_report(content, rows, folder, verdicts),
        tags={
            "table": table.name,
            "setup": setup.name,
            "scale": setup.scale,
            "data": setup.data,
        },
        data={"name": setup.data, "fingerprint": setup.fingerprint, "where": setup.where},
        views=table_views(rows),
    )


def row_records(content: Bundle, setup: Setup) -> list[RowRecord]:
    """The measured rows of a table, one for each seed."""
    there = [row for row in content.table.rows if content.signatures.get(row.label)]
    toggles = _varying({row.label: _toggles(row, setup) for row in there})
    has_seeds = len(content.comparison.seeds) > 1
    records = []
    for number, row in enumerate(content.table.rows):
        for name in content.signatures.get(row.label, ()):
            if name not in content.results:
                continue
            result = content.results[name]
            seed = {"seed": result.seed}
            assigner = {"assigner": _toggles(row, setup)["assigner"]}
            records.append(
                RowRecord(
                    name=f"{number + 1:02} {row.label} - seed {result.seed}",
                    order=number * ROW_MILLISECONDS + min(result.seed, ROW_MILLISECONDS - 1),
                    signature=name,
                    toggles=toggles[row.label] | (seed if has_seeds else {}),
                    metrics=_numbers(content, row, result),
                    tags={"kind": ROW, "row": row.label, **texts(seed | assigner)},
                    note=_note(content, number, result),
                )
            )
    return records


def _toggles(row: Row, setup: Setup) -> dict[str, Any]:
    """Every toggle of a row, and the settings of the schedule that its table varies."""
    run = setup.row_run(row, 0)
    recipe = {key: getattr(run.recipe, key) for key in row.recipe}
    own = {"assigner": str(run.assigner)} if run.assigner else {}
    return asdict(run.config) | recipe | own


def _varying(toggles: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By row, the toggles of which two rows have different values."""
    values: dict[str, set[str]] = {}
    for row in toggles.values():
        for name, value in row.items():
            values.setdefault(name, set()).add(show_setting(value))
    return {
        label: {name: value for name, value in row.items() if len(values[name]) > 1}
        for label, row in toggles.items()
    }


def _numbers(content: Bundle, row: Row, result: Result) -> dict[str, float]:
    """AP first, then what is to be read beside it; only what is known."""
    ours, reference = result.metrics, content.table.rows[content.table.reference]
    numbers = {HEADINGS[name]: value for name, value in asdict(ours).items()}
    numbers |= {
        "paper_AP": row.paper.ap if ours.ap is not None else None,
        "delta_AP": _minus(ours, row.paper),
        **_interval(content, row, result),
        "paper_gain_AP": _minus(row.paper, reference.paper),
    }
    return {name: round(value, 4) for name, value in numbers.items() if value is not None}


def _minus(one: Metrics, other: Metrics) -> float | None:
    return None if one.ap is None or other.ap is None else one.ap - other.ap


def _interval(content: Bundle, row: Row, result: Result) -> dict[str, float | None]:
    """The interval of AP, and the gain on the reference row's run of the same seed, with its own.

    Intervals are there where the runs' match records are.
    """
    from reports.statistics import difference, estimate

    reference = content.table.rows[content.table.reference]
    names = [
        name for name in content.signatures.get(reference.label, ()) if name in content.results
    ]
    same_seed = [name for name in names if content.results[name].seed == result.seed]
    scores = [content.scores[name] for name in (result.signature,) if name in content.scores]
    others = [content.scores[name] for name in same_seed if name in content.scores]
    alone = estimate(scores, "ap") if scores else None
    gain = difference(scores, others, "ap") if row != reference else None
    by = [_minus(result.metrics, content.results[name].metrics) for name in same_seed]
    return {
        "AP_low": alone.low if alone else None,
        "AP_high": alone.high if alone else None,
        "gain_AP": by[0] if by else None,
        "gain_AP_low": gain.low if gain else None,
        "gain_AP_high": gain.high if gain else None,
    }


def _note(content: Bundle, number: int, result: Result) -> str:
    """What a row is, in a few lines."""
    table, row = content.table, content.table.rows[number]
    numbers = _numbers(content, row, result)
    where = f", Sec. {table.section} of the paper" if table.section else ""
    changed = ", ".join(f"{name}={show_setting(value)}" for name, value in row.changes.items())
    ours = f"AP {numbers['AP']:.1f}" if "AP" in numbers else "AP undefined"
    if "AP_low" in numbers:
        ours += f" (95 % {numbers['AP_low']:.1f} to {numbers['AP_high']:.1f})"
    paper = "" if row.paper.ap is None else f"; the paper has {row.paper.ap:.1f}"
    lines = [
        f"**{ours}**{paper}. Row {number + 1} of {table.heading}{where}: **{row.label}**, "
        f"seed {result.seed}, scale {content.scale} on {content.data}.",
        f"It is RetinaNet (#A=1) with {changed or 'nothing changed'}.",
        f"Made by `{content.command}`.",
    ]
    if "AP_low" in numbers:
        lines.append("The interval is of the images alone: these trained weights, other images.")
    return "\n\n".join(lines)


def _report(
    content: Bundle, rows: Sequence[RowRecord], folder: Path, verdicts: Sequence["Verdict"]
) -> ReportRecord | None:
    """The report as a record; None where it is not written."""
    files = report_files(folder, content.table.name)
    if not files:
        return None
    tables = {"rows.json": _rows_table(rows)}
    if verdicts:
        tables["claims.json"] = _claims_table(verdicts)
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True).encode())
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return ReportRecord(
        name=content.table.name,
        note=_report_note(content, verdicts),
        files=tuple(files),
        tables=tables,
        digest=digest.hexdigest(),
    )


def report_files(folder: Path, name: str) -> list[Path]:
    """The files of a table's report, its page first; not those of a table with a longer name."""
    names = {path.stem for path in folder.glob("*.json")} - {name}
    longer = tuple(other for other in names if other.startswith(name))
    found = [
        path
        for path in folder.glob(f"{name}[.-]*")
        if path.is_file() and not path.name.startswith(longer or ("\0",))
    ]
    return sorted(found, key=lambda path: (path.name != f"{name}{PAGE}", path.name))


def _report_note(content: Bundle, verdicts: Sequence["Verdict"]) -> str:
    came_to = ", ".join(f"{it.claim.name} {it.state}" for it in verdicts)
    lines = [
        f"The report of **{content.table.heading}**, scale {content.scale} on {content.data}."
        + (f" Of what the paper claims about it: {came_to}." if verdicts else ""),
        "",
    ]
    for verdict in verdicts:
        claim = verdict.claim
        lines.append(f"- {claim.name} **{verdict.state}**: {claim.says} ({verdict.reason})")
    return "\n".join([*lines, "", f"Made by `{content.command}`."])


def _rows_table(rows: Sequence[RowRecord]) -> dict[str, Any]:
    """The rows in MLflow's form of a table: columns and lines of data."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return {
        "columns": ["row", "seed", *names, "signature"],
        "data": [
            [row.tags["row"], int(row.tags["seed"]), *map(row.metrics.get, names), row.signature]
            for row in rows
        ],
    }


def _claims_table(verdicts: Sequence["Verdict"]) -> dict[str, Any]:
    return {
        "columns": ["claim", "verdict", "says", "where", "reason"],
        "data": [
            [it.claim.name, it.state, it.claim.says, it.claim.where, it.reason] for it in verdicts
        ],
    }
