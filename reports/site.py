"""A small static site of one setup's reports, that can be published as it is.

    index.html      what this is, the path from RetinaNet to ATSS, what ATSS is robust to, the
                    claims in short, a line per table, how it was made
    claims.html     the paper's claims, what is measured of each, and what would decide it
    <table>.html    the notebook of a table

The pages themselves are templates/*.html. All addresses are of files in the same folder; nothing
comes from outside. Several setups have a folder each, and an index above them.
"""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from experiments.claims import CLAIMS, Claim, places
from experiments.experiment import Table
from reports import footnotes, positives
from reports.claims import Verdict, claims_grid, deciding, judge_all
from reports.figures import embedded, plates
from reports.measurements import Measurements, find_row
from reports.numbers import signed
from reports.render import STYLE, Grid, line, part, template
from reports.results import Bundle, ComparedRow, Result
from reports.study_figures import study_plates
from reports.style import PAPERS

INDEX, CLAIMS_PAGE = "index.html", "claims.html"
PICTURES = "index.json"  # what is in a folder of pictures
STATES = ("supported", "contradicted", "undecided")
HOUR = 3600.0


def page(title: str, body: str) -> str:
    """A whole page; body is HTML that begins with its h1."""
    return _page("page.html", title, body=Markup(body))


def _page(name: str, title: str, **given: Any) -> str:
    return str(template(name).render(title=title, papers=PAPERS, style=Markup(STYLE), **given))


def linked(text: str, links: Mapping[str, str], here: str) -> str:
    """A whole page with this line of links, file -> text, instead of the one it has, if any."""
    header = template("links.html").render(links=links, here=here)
    return re.sub(r"(<header>.*?</header>\n)?<main>", lambda _: f"{header}<main>", text, count=1,
                  flags=re.DOTALL)  # fmt: skip


def write_site(study: Measurements, folder: Path, counts: Path | None = None) -> None:
    """Write the index and the claims, and let all pages of the folder lead to each other.

    The tables' pages, figures and files are there already. counts: positives.csv, if there is one.
    """
    first, verdicts, figures = study.bundles[0], judged(study, counts), study_plates(study)
    for plate in figures.values():
        plate.write(folder)
    by_state = {state: [it.claim for it in verdicts if it.state == state] for state in STATES}
    told = ", ".join(f"{len(found)} {state}" for state, found in by_state.items() if found)
    summary, name = f"Of {len(verdicts)} claims, {told}.", template("parts.html").module.name
    schedule = footnotes.schedule(first.recipe)
    made = {
        INDEX: _page(
            "index.html",
            f"{name}: {study.name}",
            study=study,
            summary=summary,
            setup=f"{schedule.capitalize()}; {footnotes.image_size(first.recipe)}.",
            first=figures.get("path") or plates(first)["ap"],
            sweeps=figures.get("sweeps"),
            by_state=by_state,
            finding=finding,
            facts=footnotes.facts_grid(first),
            cost=cost(study.bundles),
            sources=sources(study.bundles),
        ),
        CLAIMS_PAGE: _page(
            "claims.html",
            f"{name}: claims",
            study=study,
            summary=summary,
            claims=claims_grid(verdicts),
            deciding=deciding(verdicts),
        ),
    }
    tables = [bundle.table for bundle in study.bundles]
    links = {INDEX: "Overview", CLAIMS_PAGE: "Claims"}
    links |= {f"{table.name}.html": table.label for table in tables}
    for name in links:
        text = made.get(name) or (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(linked(text, links, name), encoding="utf-8")


def write_top(setups: Mapping[str, str], folder: Path) -> None:
    """Write the index above several setups: folder's name -> what the setup is called."""
    name = template("parts.html").module.name
    (folder / INDEX).write_text(_page("top.html", name, setups=setups), encoding="utf-8")


# What the pages say


def judged(study: Measurements, counts: Path | None) -> list[Verdict]:
    """What the runs say about every claim, and where there are counts of positives, these.

    counts: positives.csv of `atss positives`, on the data of the study.
    """
    found = judge_all(study)
    if counts is None:
        return found
    counted = {verdict.claim.name: verdict for verdict in positives.claims(pd.read_csv(counts))}
    return [counted.get(verdict.claim.name, verdict) for verdict in found]


def claims_about(table: Table) -> list[Claim]:
    """The paper's claims about trained runs that need no other table's rows."""
    known = [(row.config, row.recipe) for row in table.rows] if table.number else []
    found = []
    for claim in CLAIMS:
        rows = [find_row(place) for part in claim.parts for place in places(part)]
        if claim.evidence == "training" and all((it.config, it.recipe) in known for it in rows):
            found.append(claim)
    return found


def finding(bundle: Bundle) -> str:
    """What our numbers of a table say, beside the paper's if it has any."""
    rows = [row for row in bundle.rows if row.ap.ours.n]
    if not rows:
        return "No run is finished."
    if len(rows) == 1:
        return f"AP {_mean(rows[0]):.1f} for “{rows[0].row.label}”, the only row measured."
    low, best = min(rows, key=_mean), max(rows, key=_mean)
    papers = [(row.ap.paper, row.row.label) for row in bundle.rows if row.ap.paper]
    (least, first), (most, last) = (
        pick(papers, key=lambda it: it[0], default=(0.0, "")) for pick in (min, max)
    )
    if bundle.table.axis:
        ends = [f"{_mean(row):.1f} ({row.row.label}{_others(row, rows)})" for row in (low, best)]
        told = f"AP {' to '.join(ends)}."
        paper = f" The paper: {least:.1f} ({first}) to {most:.1f} ({last})."
    else:
        named = f"“{best.row.label}” ({_mean(best):.1f}{_others(best, rows)})"
        told = f"The highest AP: {named}{_against(best, bundle.reference)}."
        paper = f" The paper’s: “{last}” ({most:.1f})."
    return told + (paper if papers else "")


def _mean(row: ComparedRow) -> float:
    return row.ap.ours.mean or 0.0


def _against(best: ComparedRow, reference: ComparedRow) -> str:
    """How far the best row is from the row of reference."""
    if best is reference:
        return ", the row of reference"
    if best.signatures == reference.signatures:
        return ", the run of the row of reference"
    gain = best.ap.gain.estimate
    if gain is None:
        mean = best.ap.gain.mean
        return "" if mean is None else f", {signed(mean)} against “{reference.row.label}”"
    of = ", these weights" if gain.seed_error is None else ""  # of one seed: of what alone it is
    interval = f"95 %{of}: {signed(gain.low)} to {signed(gain.high)}"
    return f", {signed(gain.value)} ({interval}) against “{reference.row.label}”"


def _others(row: ComparedRow, rows: Sequence[ComparedRow]) -> str:
    """How many of these rows are the run of this one, which is then not the only one there."""
    count = sum(other.signatures == row.signatures for other in rows) - 1
    return f", and {count} row{'s' if count > 1 else ''} of the same run" if count else ""


def cost(bundles: Sequence[Bundle]) -> list[str]:
    """What the distinct runs took, a sentence per device: "Cost: 2.1 hours of Tesla T4 ..."."""
    hours: dict[str, list[float]] = {}
    for run in _runs(bundles):
        gpu = str(run.facts.get("gpu", "none"))
        if run.seconds is not None:
            taken = run.seconds * int(run.facts.get("processes", 1)) / HOUR
            hours.setdefault("CPU time" if gpu == "none" else gpu, []).append(taken)
    told = []
    for name, found in hours.items():
        whole, runs = sum(found), "runs" if len(found) > 1 else "run"
        time = f"{whole:.1f} hours" if whole >= 2 else f"{60 * whole:.0f} minutes"
        told.append(f"Cost: {time} of {name}, training and test, for {len(found)} distinct {runs}.")
    return told


def sources(bundles: Sequence[Bundle]) -> Grid:
    """By what name each kind of thing behind a number is found."""
    first = bundles[0]
    codes = dict.fromkeys(str(run.facts["code"]) for run in _runs(bundles) if "code" in run.facts)
    lines = (
        line("a run", "its signature: the folder of that name in runs/ of the results folder"),
        line("in MLflow", "experiment “trainings”, search for tags.signature = '<signature>'"),
        line("data", f"{first.data}, fingerprint {first.fingerprint}"),
        *([line("code", "; ".join(codes))] if codes else []),
    )
    title = "Where the numbers come from"
    return Grid(name="sources", title=title, head=line("", ""), blocks=(lines,))


def _runs(bundles: Sequence[Bundle]) -> list[Result]:
    """Every distinct run with a result."""
    return list({name: run for one in bundles for name, run in one.results.items()}.values())


# What others have put into a report's folder


def gallery_folder(report: Path, table: str) -> Path:
    """Where the pictures of a table are, in the folder of its report."""
    return report / f"{table}-images"


def load_gallery(folder: Path) -> dict[str, Any]:
    """A folder's PICTURES; nothing where it or a picture is missing.

    made_of: what they depend on; pictures: of each its file, the caption below it, and as alt what
    it shows for those who cannot see it.
    """
    try:
        content: dict[str, Any] = json.loads((folder / PICTURES).read_text(encoding="utf-8"))
        is_whole = all((folder / picture["file"]).is_file() for picture in content["pictures"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return content if is_whole else {}


def gallery(report: Path, table: str) -> list[str]:
    """HTML of a table's best and worst images with their detections, those that are there."""
    folder, found = gallery_folder(report, table), []
    for picture in load_gallery(folder).get("pictures", []):
        data = b64encode((folder / picture["file"]).read_bytes()).decode()
        source = f"data:image/jpeg;base64,{data}"
        found.append(part("photo", source, picture["caption"], picture["alt"]))
    return found


def counted(report: Path, table: str) -> list[str]:
    """HTML of the figures of `atss positives` for a table, those that are there."""
    files = {
        report / f"{table}-{name}.svg": caption for name, caption in positives.CAPTIONS.items()
    }
    return [
        part("plot", embedded(file.read_bytes()), caption)
        for file, caption in files.items()
        if file.is_file()
    ]


def gaps(bundle: Bundle, report: Path) -> list[str]:
    """What a report could show beside what it shows, and what would bring it there, in lines."""
    results, missing, found = bundle.results, bundle.missing, []
    if missing:
        found.append(f"{missing} of the runs: {bundle.command}")
    if results and not bundle.scores:
        found.append("intervals: they need the runs' match records, which the notes miss")
    if results and len(bundle.seeds) < 2:
        found.append("the spread between seeds: the same command with --seeds 0,1,2")
    if results and not bundle.insights:
        found.append("precision against recall, kinds of errors: the data set has to be at hand")
    elif results and not gallery(report, bundle.table.name):
        found.append("the best and the worst images: the data set's images have to be at hand")
    if not counted(report, bundle.table.name):
        words = shlex.split(bundle.command)
        data = words[words.index("--data") :][:2] if "--data" in words else []
        found.append(f"where the positives are: {shlex.join(['atss', 'positives', *data])}")
    return found
