"""The figures of a report: what their files are called, what they show, and how to draw them.

A figure is drawn once, into the report's folder; notebooks and pages show that file. Opened
elsewhere, where the files are not, a notebook draws it anew.
"""

import html
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from reports.measurements import Measurements
from reports.pages.headlines import path, sweeps
from reports.plots import figures, study_figures, theme
from reports.results import Bundle

KINDS = ("png", "svg")


@dataclass(frozen=True)
class Plate:
    """One figure."""

    name: str  # of its files, without an ending
    caption: str  # also its alternative text
    draw: Callable[[], Figure]

    def write(self, folder: Path) -> list[Path]:
        """Draw it, and write a file of each of KINDS."""
        figure, written = self.draw(), []
        for kind in KINDS:
            written.append(folder / f"{self.name}.{kind}")
            written[-1].write_bytes(theme.save(figure, kind, self.caption))
        return written

    def shown(self, folder: Path) -> str:
        """HTML with the figure in it, from its file if that is in the folder."""
        file = folder / f"{self.name}.svg"
        svg = file.read_bytes() if file.is_file() else theme.save(self.draw(), "svg", self.caption)
        return plot(embedded(svg), self.caption)


def embedded(svg: bytes) -> str:
    """An SVG as an address that needs no file."""
    return f"data:image/svg+xml;base64,{b64encode(svg).decode()}"


def plot(source: str, caption: str) -> str:
    """HTML of a figure that scrolls by itself where the page is narrow."""
    told = html.escape(caption)
    return (
        f'<figure><div class="plot" tabindex="0" role="group" aria-label="{told}">'
        f'<img src="{html.escape(source)}" alt="{told}"></div>\n'
        f"<figcaption>{told}</figcaption></figure>\n"
    )


def plates(bundle: Bundle) -> dict[str, Plate]:
    """The figures that a table's results allow, by a short name, which also ends their files'."""
    start = f"{bundle.table.name}-"
    return {plate.name.removeprefix(start): plate for plate in _drawn(bundle, start)}


def _drawn(bundle: Bundle, start: str) -> Iterator[Plate]:
    comparison = bundle.comparison
    beside = " beside the paper’s" if bundle.table.has_paper else ""
    yield Plate(
        f"{start}ap",
        f"AP of every row{beside}. {bars(bundle)}",
        partial(figures.comparison_figure, bundle),
    )
    if any(row.ap.gain.n for row in comparison.rows if row is not comparison.reference):
        yield Plate(
            f"{start}gains",
            f"AP against “{comparison.reference.row.label}”{beside}. {bars(bundle)}",
            partial(figures.gains_figure, bundle),
        )
    if any(run.history for row in comparison.rows for run in row.results):
        yield Plate(
            f"{start}curves",
            "How the runs learnt: a colour per row, a line per seed.",
            partial(figures.learning_figure, bundle),
        )
    if figures.insights_by_row(bundle):
        yield Plate(
            f"{start}precision",
            "Precision against recall, averaged over the categories and seeds.",
            partial(figures.precision_figure, bundle),
        )
        yield Plate(
            f"{start}errors",
            "What AP50 would gain if one kind of error were mended, each by itself, as TIDE "
            "(Bolya et al., ECCV 2020) counts it. Where a row’s bar ends before the dashed line, "
            "the row loses less to that kind than the reference row.",
            partial(figures.errors_figure, bundle),
        )


def study_plates(study: Measurements) -> dict[str, Plate]:
    """The figures of all tables together that the results allow."""
    steps, settings = path(study), sweeps(study)
    found = {}
    if any(step.ours.n for step in steps):
        found["path"] = Plate(
            "path",
            "The paper’s path from RetinaNet to ATSS. Each bar begins at the AP of the line above "
            "and ends at its own; the whisker is the 95 % interval of the step.",
            partial(study_figures.path_figure, steps, study.bundles[0]),
        )
    # ATSS itself is a point of every sweep: alone it shows nothing.
    if any(any(step.gain.by_seed.values()) for sweep in settings for step in sweep.steps):
        found["sweeps"] = Plate(
            "sweeps",
            "What ATSS is robust to: AP against ATSS as it is used everywhere else. Bars are 95 % "
            "intervals of the difference.",
            partial(study_figures.sweeps_figure, settings),
        )
    return found


def bars(bundle: Bundle) -> str:
    """What the bars of a table's figures are."""
    rows = [row for row in bundle.comparison.rows if row.results]
    estimates = [found for row in rows if (found := row.ap.ours.estimate)]
    if estimates and all(one.seed_error is not None for one in estimates):
        return "Bars: 95 % intervals, over images and seeds."
    if estimates:
        return "Bars: 95 % intervals over images, for these trained weights."
    has_spread = any(row.ap.ours.std is not None for row in rows)
    return "Bars: standard deviation over the seeds." if has_spread else "No interval is known."
