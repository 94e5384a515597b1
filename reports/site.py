"""A small static site of one setup's reports, that can be published as it is.

    index.html      what this is, the path from RetinaNet to ATSS, what ATSS is robust to, the
                    claims in short, a line per table, how it was made
    claims.html     the paper's claims, what is measured of each, and what would decide it
    <table>.html    the notebook of a table

What they are made of is in templates/parts.html. All addresses are of files in the same folder;
nothing comes from outside. Every setup has a folder of its own.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.claims import CLAIMS, Claim, places
from experiments.experiment import Table
from reports import positives
from reports.claims import Verdict, claims_grid, deciding, judge_all
from reports.figures import plates, study_plates
from reports.measurements import Measurements, find_row
from reports.numbers import signed
from reports.render import notes, part
from reports.results import Bundle
from reports.tables import facts, image_size, schedule

INDEX, CLAIMS_PAGE = "index.html", "claims.html"
PICTURES = "index.json"  # what is in a folder of pictures
NAME = "The ATSS study, re-run"


def linked(text: str, links: Mapping[str, str], here: str) -> str:
    """A whole page with this line of links, file -> text, instead of the one it has, if any."""
    header, place = part("links", links, here), r"(?s)(<header>.*?</header>\s*)?<main>"
    return re.sub(place, lambda _: f"{header}<main>", text, count=1)


def write_site(study: Measurements, folder: Path, counts: Path | None = None) -> None:
    """Write the index and the claims, and let all pages of the folder lead to each other.

    The tables' pages, figures and files are there already. counts: positives.csv, if there is one.
    """
    first, verdicts, figures = study.bundles[0], judged(study, counts), study_plates(study)
    for plate in figures.values():
        plate.write(folder)
    shown = [figures.get("path") or plates(first)["ap"], figures.get("sweeps")]
    setup = f"{schedule(first.recipe).capitalize()}; {image_size(first.recipe)}"
    findings = [(bundle.table, finding(bundle)) for bundle in study.bundles]
    made = [facts(first), cost(study.bundles)]
    overview = part("overview", study, setup, verdicts, shown, findings, *made)
    claims = part("claims", study, verdicts, claims_grid(verdicts), deciding(verdicts))
    pages = {
        INDEX: part("page", f"{NAME}: {study.name}", overview),
        CLAIMS_PAGE: part("page", f"{NAME}: claims", claims),
    }
    links = {INDEX: "Overview", CLAIMS_PAGE: "Claims"}
    links |= {f"{table.name}.html": table.label for table, _ in findings}
    for name in links:
        text = pages.get(name) or (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(linked(text, links, name), encoding="utf-8")


# What the pages say


def judged(study: Measurements, counts: Path | None) -> list[Verdict]:
    """What the runs say about every claim, and where there are counts of positives, these.

    counts: positives.csv of `atss positives`, on the data of the study.
    """
    counted = [] if counts is None else positives.claims(pd.read_csv(counts))
    by_name = {verdict.claim.name: verdict for verdict in counted}
    return [by_name.get(verdict.claim.name, verdict) for verdict in judge_all(study)]


def claims_about(table: Table) -> list[Claim]:
    """The paper's claims about trained runs that need no other table's rows."""
    known = [(row.config, row.recipe) for row in table.rows] if table.number else []
    rows = ([find_row(it) for part in claim.parts for it in places(part)] for claim in CLAIMS)
    return [
        claim
        for claim, needed in zip(CLAIMS, rows, strict=True)
        if claim.evidence == "training" and all((row.config, row.recipe) in known for row in needed)
    ]


def finding(bundle: Bundle) -> str:
    """What our numbers of a table say, beside the paper's if it has any."""
    rows = {row.row.label: row for row in bundle.rows}
    ours, papers = (
        {label: ap for label, row in rows.items() if (ap := getattr(row.ap, of)) is not None}
        for of in ("ours", "paper")
    )
    best = rows[max(ours, key=ours.__getitem__)] if ours else None
    about = {"ours": ours, "papers": papers, "best": best, "reference": bundle.reference}
    return " ".join(notes("finding", signed=signed, **about))


def cost(bundles: Sequence[Bundle]) -> list[str]:
    """What the distinct runs took, a sentence per device: "Cost: 2.1 hours of Tesla T4 ..."."""
    hours: dict[str, list[float]] = {}
    for run in {name: it for bundle in bundles for name, it in bundle.results.items()}.values():
        gpu = run.facts.get("gpu", "none")
        if run.seconds is not None:
            taken = run.seconds * int(run.facts.get("processes", 1)) / 3600
            hours.setdefault("CPU time" if gpu == "none" else gpu, []).append(taken)
    return [
        f"Cost: {sum(found):.1f} hours of {name}, training and test, in {len(found)} distinct runs."
        for name, found in hours.items()
    ]


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
    for it in load_gallery(folder).get("pictures", []):
        data = b64encode((folder / it["file"]).read_bytes()).decode()
        found.append(part("photo", f"data:image/jpeg;base64,{data}", it["caption"], it["alt"]))
    return found
