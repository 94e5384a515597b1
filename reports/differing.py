"""In what the runs of one table differ beside what the table is about: each cell says so.

A seed that is missing, another version of the evaluation, another device, other test images: what
most rows have goes without saying, a row that differs gets a letter and a footnote.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from reports.numbers import ComparedRow, Comparison

HARMLESS = ("ray", "mlflow")  # facts whose names begin so: no number depends on them
MOST_LETTERS = 5  # with more groups of rows than these, letters help nobody
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Differing:
    """letters: row label -> the letter of its footnote, or nothing; notes: the footnotes."""

    letters: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def differing(comparison: Comparison) -> Differing:
    """Which rows are not like most, and in what."""
    facts = {row.row.label: _facts(row) for row in comparison.rows if row.results}
    names = list(dict.fromkeys(name for row in facts.values() for name in row))
    usual = {
        name: Counter(row.get(name, UNKNOWN) for row in facts.values()).most_common(1)[0][0]
        for name in names
    }
    groups: dict[str, list[str]] = {}  # what a footnote says -> labels of its rows
    for label, row in facts.items():
        odd = [
            f"{name} {row.get(name, UNKNOWN)} (most rows: {usual[name]})"
            for name in names
            if row.get(name, UNKNOWN) != usual[name]
        ]
        if odd:
            groups.setdefault("; ".join(odd), []).append(label)
    if len(groups) > MOST_LETTERS:
        return Differing(notes=(_in_short(facts, names),))
    by_letter = dict(zip(ascii_lowercase, groups.items(), strict=False))
    return Differing(
        {label: letter for letter, (_, labels) in by_letter.items() for label in labels},
        tuple(f"{letter}: {text}." for letter, (text, _) in by_letter.items()),
    )


def common(comparison: Comparison, name: str) -> str | None:
    """What all runs say of a fact, if they say the same."""
    results = [result for row in comparison.rows for result in row.results]
    values = {result.facts.get(name) for result in results}
    value = values.pop() if len(values) == 1 else None
    return None if value is None else str(value)


def _facts(row: ComparedRow) -> dict[str, str]:
    """Everything about a row's runs that could move its number, in words."""
    names = dict.fromkeys(name for result in row.results for name in result.facts)
    told = {
        name: _list([str(result.facts.get(name, UNKNOWN)) for result in row.results])
        for name in names
        if not name.lower().startswith(HARMLESS)
    }
    found = {"seeds": _list([str(result.seed) for result in row.results]), **told}
    if row.scores:
        tested = [f"{one.num_images:,} ({one.images[:8]})" for one in row.scores]
        found["test images"] = _list(tested)
    return found


def _list(values: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(values))


def _in_short(facts: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> str:
    kinds = {name: len({row.get(name, UNKNOWN) for row in facts.values()}) for name in names}
    listed = ", ".join(f"{name} ({number} kinds)" for name, number in kinds.items() if number > 1)
    return f"Rows differ in more than the table says: {listed}; the list of runs names each."
