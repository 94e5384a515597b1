"""What a figure shows, in words, for readers who do not see it; made from the same numbers."""

from collections.abc import Iterable, Sequence

from reports.bundle import Bundle
from reports.compare import ComparedRow
from reports.mending import ERRORS
from reports.numbers import MISSING, signed
from reports.pages.headlines import Step, Varied
from reports.plots.figures import CURVE_NAMES, curve_names
from reports.plots.insight_figures import insights_of, known_rows, mean_curve, mean_points
from reports.statistics import Estimate

MOST = 12  # rows that are told one by one; of more, the extremes


def comparison_alt(bundle: Bundle) -> str:
    """Of figures.comparison_figure."""
    rows = bundle.comparison.rows
    kind = "Curves" if bundle.table.axis else "Dots"
    whose = ["ours", "the paper's"] if bundle.table.has_paper else ["ours"]
    told = (
        f"{row.row.label}: ours {_number(row.ap.ours.mean)}{_within(row.estimates.get('ap'))}"
        + (f", paper {_number(row.ap.paper)}" if row.ap.paper is not None else "")
        for row in _few(rows)
    )
    return f"{kind} of AP, {' and '.join(whose)}. {_listed(told)}"


def gains_alt(bundle: Bundle) -> str:
    """Of figures.gains_figure."""
    comparison = bundle.comparison
    rows = [row for row in comparison.rows if row is not comparison.reference]
    told = (
        f"{row.row.label}: ours {signed(row.ap.gain.mean)}{_within(row.differences.get('ap'))}"
        + (f", paper {signed(row.ap.paper_gain)}" if row.ap.paper_gain is not None else "")
        for row in _few(rows)
    )
    reference = comparison.reference.row.label
    return f"Dots of the difference of AP from {reference}, in points. {_listed(told)}"


def learning_alt(bundle: Bundle) -> str:
    """Of figures.learning_figure."""
    rows = [row for row in bundle.comparison.rows if any(run.history for run in row.results)]
    told = []
    for name in curve_names(rows):
        ends = [_ends(row, name) for row in rows]
        first, last = [a for a, _ in ends if a is not None], [b for _, b in ends if b is not None]
        if first and last:
            told.append(
                f"{CURVE_NAMES.get(name, name)} from {_span(first)} at its first step to "
                f"{_span(last)} at its last"
            )
    return f"Curves against the training step, a line for each of {len(rows)} rows. {_listed(told)}"


def precision_alt(bundle: Bundle) -> str:
    """Of insight_figures.precision_figure."""
    told = []
    for row in known_rows(bundle):
        curve = mean_curve(insights_of(bundle, row), "ap50")
        reached = 100 * int((curve > 0).sum() - 1) // 100 if len(curve) else 0
        middle = f"{curve[50]:.0f}" if len(curve) else MISSING
        told.append(f"{row.row.label}: precision {middle} at recall 50, recall up to {reached}")
    return f"Curves of precision against recall in percent. At IoU 0.50: {_listed(told)}"


def errors_alt(bundle: Bundle) -> str:
    """Of insight_figures.errors_figure."""
    told = []
    for row in known_rows(bundle):
        points = [(mean_points(insights_of(bundle, row), kind), kind) for kind in ERRORS]
        listed = ", ".join(f"{kind} {value:.1f}" for value, kind in points)
        told.append(f"{row.row.label}: {listed}")
    return f"Bars of the points of AP50 that mending a kind of error would gain. {_listed(told)}"


def path_alt(steps: Sequence[Step]) -> str:
    """Of study_figures.path_figure."""
    told = (
        f"{step.label}: ours {_number(step.ours.mean)}"
        + (f" ({signed(step.gain.mean)})" if step.gain.n else "")
        + f", paper {_number(step.paper)}"
        + (f" ({signed(step.paper_gain)})" if step.paper_gain is not None else "")
        for step in steps
    )
    return f"A waterfall of AP from RetinaNet to ATSS, step by step. {_listed(told)}"


def sweeps_alt(sweeps: Sequence[Varied]) -> str:
    """Of study_figures.sweeps_figure."""
    told = (
        f"{sweep.setting}, {sweep.steps[0].label} to {sweep.steps[-1].label}: AP spans "
        f"{_number(ours)} points, in the paper {_number(paper)}"
        for sweep in sweeps
        for paper, ours in [sweep.ranges]
    )
    return f"Curves of the difference of AP from ATSS, a panel per setting. {_listed(told)}"


def _few(rows: Sequence[ComparedRow]) -> Sequence[ComparedRow]:
    """The rows, or of many those with the lowest and the highest AP."""
    if len(rows) <= MOST:
        return rows
    known = sorted((row for row in rows if row.results), key=lambda row: row.ap.ours.mean or 0.0)
    return [*known[:2], *known[-2:]] if len(known) > 4 else known


def _ends(row: ComparedRow, name: str) -> tuple[float | None, float | None]:
    """A curve's first and last value, of the row's first seed."""
    values = [entry[name] for run in row.results[:1] for entry in run.history if name in entry]
    return (values[0], values[-1]) if values else (None, None)


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _within(estimate: Estimate | None) -> str:
    ends = f"{estimate.low:.1f} to {estimate.high:.1f}".replace("-", "−") if estimate else ""
    return f" (95 % interval {ends})" if ends else ""


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


def _listed(texts: Iterable[str]) -> str:
    listed = "; ".join(texts)
    return f"{listed}." if listed else "Nothing is measured yet."
