"""The paper's claims as data: they follow from its tables, and a page lists them.

What a region says, and what is left of it elsewhere, is among the goldens of test_verdicts.py.
"""

import pytest
from conftest import ROOT

from experiments import table9
from experiments.claims import CLAIMS, Margin, Region, places
from reports.measurements import find_row


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_papers_numbers_follow_from_its_tables_and_lie_in_their_regions(claim):
    for part in claim.parts if claim.evidence == "training" else ():
        values = [getattr(find_row(place).paper, part.metric) for place in places(part)]
        is_margin = isinstance(part, Margin)
        found = values[0] - values[1] if is_margin else max(values) - min(values)
        assert found == pytest.approx(part.paper, abs=1e-9)
        region = part.region or Region()
        assert region.low < part.paper < region.high or part.paper == region.low == 0


def test_our_bounds_are_half_of_what_was_published():
    rows = {row.label: row for row in table9.TABLE.rows}
    for part in table9.CLAIMS[0].parts:
        one, other = (float(rows[place.label].printed[-1]) for place in places(part))
        assert part.paper == pytest.approx(one - other)
        assert part.region == Region(high=part.paper / 2)


def as_on_the_page(claim):
    """Of each of its lines the first three cells, the labels in the fourth, and the last two.

    The page is written by hand: the second place where every number and region stands.
    """
    about = claim.name, claim.says, claim.where
    for part in claim.parts:
        paper, region = "", "not judged"
        if claim.evidence == "building":
            paper = region = "equal"
        if part.paper is not None:
            paper = f"{part.paper:+.1f}" if isinstance(part, Margin) else f"{part.paper:.1f}"
        if part.region is not None:
            region = str(part.region)
        yield about, [place.label for place in places(part)], (paper, region)
        about = "", "", ""
    if not claim.parts:
        yield about, ["positives, counted"], (claim.paper, "")


def test_the_page_lists_every_claim_as_it_is():
    lines = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").splitlines()
    rows = [[it.strip() for it in line.split("|")[1:-1]] for line in lines if line[:2] == "| "]
    rows = [row for row in rows if len(row) == 6 and row[2] != "where"]
    claims = (*CLAIMS, *table9.CLAIMS)
    expected = [line for claim in claims for line in as_on_the_page(claim)]
    for row, (about, labels, numbers) in zip(rows, expected, strict=True):
        assert (*row[:3], *row[4:]) == (*about, *numbers)
        assert all(label in row[3] for label in labels), row
