"""Which numbers of a table are the best of their kind, and which are not told apart from those.

The paper's are compared as printed. Of ours, the highest mean is the best, with all that print the
same; another number is tied with it where the interval of their difference, paired by image and by
seed, includes zero. Without intervals nothing is called tied.
"""

from collections.abc import Mapping

from reports.compare import ComparedRow, Comparison
from reports.grids.cells import Rank
from reports.numbers import number


def of_paper(comparison: Comparison, metric: str) -> dict[str, Rank]:
    """Row label -> rank of the paper's number; empty for fewer than two."""
    rows = {row.row.label: row.metrics[metric].paper for row in comparison.rows}
    return _best({label: value for label, value in rows.items() if value is not None})


def of_ours(comparison: Comparison, metric: str) -> dict[str, Rank]:
    """Row label -> rank of our mean; empty for fewer than two."""
    rows = {row.row.label: row for row in comparison.rows}
    means = {label: row.metrics[metric].ours.mean for label, row in rows.items()}
    measured = {label: mean for label, mean in means.items() if mean is not None}
    ranks = _best(measured)
    if not ranks:
        return {}
    top = rows[max(measured, key=lambda label: measured[label])]
    return ranks | {
        label: "tied"
        for label in measured
        if label not in ranks and not is_told_apart(top, rows[label], metric)
    }


def is_told_apart(one: ComparedRow, other: ComparedRow, metric: str) -> bool:
    """Whether the interval of their difference excludes zero; true where there is none."""
    if not one.scores or not other.scores:
        return True
    from reports.statistics import difference  # imports numpy, which lists need not wait for

    found = difference(one.scores, other.scores, metric)
    return found is None or found.excludes_zero


def _best(values: Mapping[str, float]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    texts = {label: number(value) for label, value in values.items()}
    if len(set(texts.values())) < 2:
        return {}
    highest = texts[max(values, key=lambda label: values[label])]
    return {label: "best" for label, text in texts.items() if text == highest}
