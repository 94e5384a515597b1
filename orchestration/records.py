"""What MLflow's records say, in its terms: every param and tag is text, a description is Markdown.

RowRecord      a row of a table with one seed: flat, so that charts compare rows
ReportRecord   the table's report; has no numbers of its own, so that no chart shows it
TableRecord    an experiment of MLflow: its rows, its report, and how its page opens
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from experiments.settings import show_setting

ROW, REPORT, TRAINING = "row", "report", "training"  # values of the tag "kind"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description
VIEW, SEEDS_VIEW = "atss", "atss-seeds"  # keys of how our pages open
MOST_TEXT = 8000  # letters of a record's tag, MLflow's limit
MOST_NOTE = 20_000  # and of an experiment's


@dataclass(frozen=True, kw_only=True)
class RowRecord:
    """A row of a table with one seed, as MLflow shows it."""

    name: str  # "01 RetinaNet (#A=1) - seed 0"
    order: int  # its place in the paper's table, from 0; rows and seeds in between do not move it
    signature: str
    toggles: Mapping[str, Any]  # those that differ from row to row
    metrics: Mapping[str, float]  # AP first: the compare page starts with the first one
    tags: Mapping[str, str] = field(default_factory=dict)  # what it is searched by
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportRecord:
    """A table's report: its files, and what it says in few words."""

    name: str  # what its files' names begin with
    note: str
    files: tuple[Path, ...]  # the page first
    tables: Mapping[str, Mapping[str, Any]]  # file name -> "columns" and "data"
    digest: str  # of all of this; what is logged again when it changes


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """All that MLflow has of a table in one setup."""

    name: str  # "Table 2 - demo - shapes"
    note: str
    rows: tuple[RowRecord, ...] = ()
    report: ReportRecord | None = None
    tags: Mapping[str, str] = field(default_factory=dict)  # that rows and report share
    data: Mapping[str, str] = field(default_factory=dict)  # "name" and "fingerprint"
    views: Mapping[str, str] = field(default_factory=dict)  # how its page opens: key -> text


def tags_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a training is searched by: setup, rows, toggles, seed, code and machine."""
    groups = {"code": facts["code"], "environment": facts["environment"]}
    nested = {
        f"{group}.{name}": text for group, known in groups.items() for name, text in known.items()
    }
    setup = {name: facts["setup"][name] for name in ("scale", "data") if name in facts["setup"]}
    assigner = {name: facts["params"][name] for name in ("assigner",) if name in facts["params"]}
    known = {"setup": facts["setup"]["name"], "seed": facts["seed"], **setup, **assigner, **nested}
    return texts(known) | {"rows": "; ".join(facts["rows"])}


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Params and tags are text, written as --set takes it: true, 8, 4,8."""
    return {name: show_setting(value) for name, value in values.items()}


def training_note(facts: Mapping[str, Any], rows: Mapping[str, str]) -> str:
    """What a training is for. rows: its rows' records, name -> address, as far as there are any."""
    fills = [f"[{name}]({address})" for name, address in rows.items()] or facts["rows"]
    lines = [
        "One training, with its losses and AP step by step; detections, weights and settings are "
        "under Artifacts. It fills",
        "",
        *(f"- {text}" for text in fills),
        "",
        f"Signature `{facts.get('signature', '')}`, in the results folder "
        f"`runs/{facts.get('signature', '')}`.",
    ]
    if "command" in facts:
        lines += ["", f"Trained by `{facts['command']}`."]
    return "\n".join(lines)


def address(experiment: str, run: str = "", artifact: str = "") -> str:
    """Where MLflow's page shows it, as a link within that page."""
    parts = [f"#/experiments/{experiment}", *([f"runs/{run}"] if run else [])]
    return "/".join([*parts, *([f"artifacts/{artifact}"] if artifact else [])])


def charts(experiment: str, view: str = "") -> str:
    """The page with an experiment's charts, as one of its saved views has it."""
    shown = f"&viewStateShareKey={view}" if view else ""
    return f"{address(experiment)}/runs?compareRunsMode=CHART{shown}"


def comparison(experiment: str, runs: Iterable[str]) -> str:
    """The page that compares these records: parallel coordinates, scatter and contour plots."""
    listed = quote(json.dumps(list(runs)))
    return f"#/compare-runs?runs={listed}&experiments={quote(json.dumps([experiment]))}"


def with_links(note: str, links: Mapping[str, str]) -> str:
    """A description with its links, words -> address, under its first paragraph.

    Of a long one MLflow shows the first lines only.
    """
    first, *others = note.split("\n\n")
    return "\n\n".join(filter(None, [first, link_line(links), *others]))


def link_line(links: Mapping[str, str]) -> str:
    """Links, words -> address, in Markdown."""
    return " · ".join(f"[{words}]({where})" for words, where in links.items())


def cut(text: str, most: int = MOST_TEXT) -> str:
    """The text, or its first lines, where MLflow would refuse the whole."""
    if len(text) <= most:
        return text
    end = "\n..."
    return text[: most - len(end)].rsplit("\n", 1)[0] + end
