"""A small static site of one setup's reports, that can be published as it is.

    index.html      what this is, the path from RetinaNet to ATSS, what ATSS is robust to, the
                    claims in short, a line per table, how it was made
    claims.html     the paper's claims, what is measured of each, and what would decide it
    <table>.html    the notebook of a table

All addresses are of files in the same folder; nothing comes from outside. Several setups have a
folder each, and an index above them.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports import footnotes
from reports.claims import State, Verdict, claims_grid, deciding
from reports.measurements import Measurements
from reports.pages import provenance
from reports.pages.headlines import caution, finding, judged
from reports.pages.page import Link, listed, page, paragraphs, relinked
from reports.plots.plates import Plate, plates, plot, study_plates
from reports.render import STYLE, to_html
from reports.results import Bundle

NAME = "The ATSS study, re-run"
WHAT = (
    "Zhang et al., “Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive "
    "Training Sample Selection” (CVPR 2020), asks why an anchor-free detector beats an "
    "anchor-based one, and answers: because of how training samples are selected. These pages show "
    "its tables trained anew, each number beside the paper’s."
)
INDEX, CLAIMS = "index.html", "claims.html"
FILES = {"ipynb": "notebook", "csv": "CSV", "tex": "LaTeX", "md": "Markdown", "json": "JSON"}
STATES: tuple[State, ...] = ("supported", "contradicted", "undecided")


def write_site(study: Measurements, folder: Path, counts: Path | None = None) -> list[Path]:
    """Write the index and the claims, and let all pages of the folder lead to each other.

    The tables' pages, figures and files are there already. counts: positives.csv, if there is one.
    """
    verdicts = judged(study, counts)
    figures = study_plates(study)
    written = [path for plate in figures.values() for path in plate.write(folder)]
    written += [
        _write(folder / INDEX, _index(study, verdicts, figures)),
        _write(folder / CLAIMS, _claims(study, verdicts)),
    ]
    links = _links(study)
    for link in links:
        file = folder / link.href
        _write(file, relinked(file.read_text(encoding="utf-8"), links, link.href))
    return written


def _links(study: Measurements) -> tuple[Link, ...]:
    tables = [bundle.table for bundle in study.bundles]
    return (
        Link("Overview", INDEX),
        Link("Claims", CLAIMS),
        *(Link(table.label, f"{table.name}.html") for table in tables),
    )


def write_top(setups: Mapping[str, str], folder: Path) -> Path:
    """Write the index above several setups: folder's name -> what the setup is called."""
    items = "".join(
        f'<li><a href="{html.escape(slug)}/{INDEX}">{html.escape(name)}</a></li>\n'
        for slug, name in setups.items()
    )
    body = (
        f"<h1>{NAME}</h1>\n{paragraphs([WHAT])}<h2>Setups</h2>\n"
        + paragraphs(
            ["Numbers of different setups never share a table, so each has its own pages."]
        )
        + f"<ul>{items}</ul>\n"
    )
    return _write(folder / INDEX, page(NAME, body, WHAT))


def _index(study: Measurements, verdicts: Sequence[Verdict], figures: Mapping[str, Plate]) -> str:
    first = study.bundles[0]
    body = [
        f"{STYLE}<h1>{NAME}</h1>\n",
        paragraphs([WHAT, f"Setup: {study.name}. {_short(first)}", *caution(study)]),
        _linked(figures["path"] if "path" in figures else plates(first)["ap"]),
        _robust(figures),
        "<h2>The paper’s claims</h2>\n",
        paragraphs([_summary(verdicts)]),
        _decided(verdicts),
        f'<p><a href="{CLAIMS}">Each claim, and what would decide it</a></p>\n',
        f"<h2>The tables</h2>\n<dl>{''.join(map(_entry, study.bundles))}</dl>\n",
        "<h2>How it was made</h2>\n",
        to_html(footnotes.facts_grid(first)),
        paragraphs(provenance.cost(study.bundles)),
        to_html(provenance.sources(study.bundles)),
    ]
    return page(f"{NAME}: {study.name}", "".join(body), WHAT)


def _short(bundle: Bundle) -> str:
    recipe = bundle.recipe
    return f"{footnotes.schedule(recipe).capitalize()}; {footnotes.image_size(recipe)}."


def _robust(figures: Mapping[str, Plate]) -> str:
    """What hardly moves AP under ATSS; nothing where it is not measured."""
    if "sweeps" not in figures:
        return ""
    return f"<h2>What ATSS is robust to</h2>\n{_linked(figures['sweeps'])}"


def _linked(plate: Plate) -> str:
    return plot(f"{plate.name}.svg", plate.caption)


def _entry(bundle: Bundle) -> str:
    """A table's page, what it says, its files."""
    name = bundle.table.name
    files = ", ".join(f'<a href="{name}.{ending}">{text}</a>' for ending, text in FILES.items())
    return (
        f'<dt><a href="{name}.html">{html.escape(bundle.table.heading)}</a></dt>\n'
        f'<dd>{paragraphs([finding(bundle)])}<p class="note">Files: {files}.</p></dd>\n'
    )


def _summary(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.state for verdict in verdicts)
    told = [f"{counts[state]} {state}" for state in STATES if counts[state]]
    return f"Of {len(verdicts)} claims, {', '.join(told)}."


def _decided(verdicts: Sequence[Verdict]) -> str:
    """The claims on which the runs have something to say, sentence by sentence."""
    return "".join(
        listed(
            state.capitalize(),
            [f"{it.claim.name}: {it.claim.says}." for it in verdicts if it.state == state],
        )
        for state in STATES[:2]
    )


def _claims(study: Measurements, verdicts: Sequence[Verdict]) -> str:
    body = [
        f"{STYLE}<h1>The paper’s claims</h1>\n",
        paragraphs([f"As measured at {study.name}. {_summary(verdicts)}", *caution(study)]),
        to_html(claims_grid(verdicts)),
        "<h2>What would decide what is open</h2>\n" if deciding(verdicts) else "",
        listed("A command, or more of it, for each", deciding(verdicts)),
    ]
    return page(f"{NAME}: claims", "".join(body))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
