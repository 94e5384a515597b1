"""The paper's claims as data: the paper's own numbers, its rows, and the page that lists them."""

from itertools import combinations
from pathlib import Path

import pytest

from experiments import TABLES, table9
from experiments.claims import (
    CLAIMS,
    POSITIVE,
    Margin,
    Part,
    Place,
    Region,
    places,
)

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"


def value(place: Place, metric: str) -> float:
    """The paper's number of a row, found by hand."""
    (row,) = [row for row in TABLES[f"table{place.table}"].rows if row.label == place.label]
    return getattr(row.paper, metric)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_papers_numbers_follow_from_its_tables_and_lie_in_their_regions(claim):
    for part in claim.parts if claim.evidence == "training" else ():
        values = [value(place, part.metric) for place in places(part)]
        if isinstance(part, Margin):
            found = values[0] - values[1]
        else:
            found = max(abs(one - other) for one, other in combinations(values, 2))
        assert found == pytest.approx(part.paper, abs=1e-9)
        region = part.region or Region()
        assert region.low < part.paper < region.high or part.paper == region.low == 0


@pytest.mark.parametrize(
    ("region", "text", "sign", "direction"),
    [
        (Region(4, is_open=True), "more than 4", "> 4", POSITIVE),
        (Region(0.4), "at least 0.4", "≥ 0.4", POSITIVE),
        (Region(0.4, 1.2), "0.4 to 1.2", "0.4 to 1.2", POSITIVE),
        (Region(-0.1, 0.5), "−0.1 to 0.5", "−0.1 to 0.5", None),  # it holds both signs
        (Region(high=1.5), "at most 1.5", "≤ 1.5", Region(high=1.5)),  # a tolerance, everywhere
    ],
)
def test_a_region_says_what_it_takes_and_has_a_direction(region, text, sign, direction):
    assert (str(region), region.sign, region.direction) == (text, sign, direction)


# The page: written by hand, so it is the second place where every number and region stands


def cells(part: Part, evidence: str) -> tuple[str, str]:
    """The paper's number and the region of one, as the page has them."""
    if evidence == "building":
        return "equal", "equal"
    sign = "+" if isinstance(part, Margin) else ""
    region = "not judged" if part.region is None else str(part.region)
    return "" if part.paper is None else f"{part.paper:{sign}.1f}", region


def test_the_page_lists_every_claim_as_it_is():
    assert [claim.name for claim in CLAIMS] == [f"H{number}" for number in range(1, 24)]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[it.strip() for it in line.split("|")[1:-1]] for line in lines if line[:2] == "| "]
    told = iter([row for row in rows if len(row) == 6 and row[2] != "where"])
    for claim in (*CLAIMS, *table9.CLAIMS):
        first = [claim.name, claim.says, claim.where]
        for part in claim.parts or (None,):
            row = next(told)
            assert row[:3] == first
            first = ["", "", ""]
            if part is None:
                assert row[3:] == ["positives, counted", claim.paper, ""]
            else:
                assert tuple(row[4:]) == cells(part, claim.evidence)
                assert all(place.label in row[3] for place in places(part)), row
    assert next(told, None) is None


def test_our_claims_are_about_rows_of_table_9_and_half_of_what_was_published():
    rows = {row.label: row for row in table9.TABLE.rows}
    found = [place for claim in table9.CLAIMS for part in claim.parts for place in places(part)]
    assert {(place.table, place.label in rows) for place in found} == {(9, True)}
    for part in table9.CLAIMS[0].parts:
        one, other = (float(rows[place.label].printed[-1]) for place in places(part))
        assert part.paper == pytest.approx(one - other)
        assert part.region == Region(high=part.paper / 2)
