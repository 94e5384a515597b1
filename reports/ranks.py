"""Which numbers of a table are the best of their kind, and which are not told apart from those.

The paper's are compared as printed. Of ours, the highest mean is the best, with all that print the
same; another number is tied with it unless it is told apart with all rows of the table looked at at
once (statistics.told_apart). What is unknown is not different: a row that cannot be judged is tied.
Without any interval nothing is called tied.
"""

from collections.abc import Mapping

from reports.compare import ComparedRow, Comparison
from reports.numbers import number
from reports.render import Rank


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
    told = _worse([rows[label] for label in measured], metric)
    if told is None:
        return ranks
    is_worse = dict(zip(measured, told, strict=True))
    return ranks | {
        label: "tied" for label in measured if label not in ranks and not is_worse[label]
    }


def _worse(rows: list[ComparedRow], metric: str) -> list[bool | None] | None:
    """Of each row whether it is told apart from the highest; None where none has intervals."""
    if not any(row.scores for row in rows):
        return None
    from reports.statistics import told_apart  # imports numpy, which lists need not wait for

    return told_apart([row.scores for row in rows], metric)


def _best(values: Mapping[str, float]) -> dict[str, Rank]:
    """All that print like the highest; nothing where they are all the same, or too few."""
    texts = {label: number(value) for label, value in values.items()}
    if len(set(texts.values())) < 2:
        return {}
    highest = texts[max(values, key=lambda label: values[label])]
    return {label: "best" for label, text in texts.items() if text == highest}
