"""The paper's claims as data: the paper's own numbers, its rows, and the page that lists them."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from detector.metrics import HEADINGS
from experiments import TABLES, table9
from experiments.claims import (
    CLAIMS,
    POSITIVE,
    Claim,
    Equal,
    Margin,
    Place,
    Region,
    Spread,
    places,
)

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"


def value(place: Place, metric: str) -> float:
    """The paper's number of a row, found by hand."""
    (row,) = [row for row in TABLES[f"table{place.table}"].rows if row.label == place.label]
    return getattr(row.paper, metric)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_papers_numbers_follow_from_its_tables_and_lie_in_their_regions(claim: Claim) -> None:
    for part in claim.parts if claim.evidence == "training" else ():
        values = [value(place, part.metric) for place in places(part)]
        if isinstance(part, Margin):
            found = values[0] - values[1]
        else:
            found = max(abs(one - other) for one, other in combinations(values, 2))
        assert found == pytest.approx(part.paper, abs=1e-9)
        region = part.region or Region()
        assert region.low < part.paper < region.high or part.paper == region.low == 0


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_says_where_it_stands_and_names_its_parts(claim: Claim) -> None:
    assert claim.where.startswith("Sec. ") and claim.says[0].isupper() and claim.says[-1] != "."
    numbers = re.search(r"Tables? ([\d, and]+)", claim.where)
    if claim.evidence == "training":
        assert numbers and {int(n) for n in re.findall(r"\d", numbers[1])} == {*claim.tables}
    for part in claim.parts:
        assert len(set(places(part))) == len(places(part)) > 1
        assert all(value(place, "ap") for place in places(part))  # each is a row that is there
    names = [part.what for part in claim.parts]
    assert len(set(names)) == len(names) and (all(names) or len(names) == 1)
    assert bool(claim.paper) == (claim.evidence != "training")


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
def test_a_region_says_what_it_takes_and_has_a_direction(
    region: Region, text: str, sign: str, direction: Region | None
) -> None:
    assert (str(region), region.sign, region.direction) == (text, sign, direction)


# The page: written by hand, so it is the second place where every number and region stands


def quantity(part: Margin | Spread | Equal) -> str:
    """What a part compares, for people."""
    names, tables = zip(*((it.label, it.table) for it in places(part)), strict=True)
    where = f" (T{', T'.join(map(str, sorted(set(tables))))})"
    if isinstance(part, Spread):
        return f"spread of {', '.join(names)}{where}"
    if isinstance(part, Equal):
        return f"{names[0]} = {names[1]}{where}"
    metric = "" if part.metric == "ap" else f"{HEADINGS[part.metric]}, "
    crowds = "in crowds less elsewhere, " * part.of_crowds
    return f"{metric}{crowds}{names[0]} − {names[1]}{where}"


def rows_of_the_page(claims: tuple[Claim, ...]) -> list[str]:
    """A table of docs/claims.md, from the data."""
    rows = []
    for claim in claims:
        start = f"| {claim.name} | {claim.says} | {claim.where} | "
        if not claim.parts:
            rows.append(f"{start}positives, counted | {claim.paper} | |")
        for part in claim.parts:
            paper = region = "equal"
            if not isinstance(part, Equal):
                sign = "+" if isinstance(part, Margin) else ""
                region = "not judged" if part.region is None else str(part.region)
                paper = "" if part.paper is None else f"{part.paper:{sign}.1f}"
            rows.append(f"{start}{quantity(part)} | {paper} | {region} |")
            start = "| | | | "
    return rows


def test_the_page_lists_every_claim_as_it_is() -> None:
    assert [claim.name for claim in CLAIMS] == [f"H{number}" for number in range(1, 24)]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begins = [number + 1 for number, line in enumerate(lines) if line == "|-|-|-|-|-|-|"]
    for begin, claims in zip(begins, (CLAIMS, table9.CLAIMS), strict=True):
        rows = rows_of_the_page(claims)
        assert lines[begin : begin + len(rows)] == rows


def test_our_claims_are_about_rows_of_table_9_and_half_of_what_was_published() -> None:
    rows = {row.label: row for row in table9.TABLE.rows}
    found = [place for claim in table9.CLAIMS for part in claim.parts for place in places(part)]
    assert {(place.table, place.label in rows) for place in found} == {(9, True)}
    for part in table9.CLAIMS[0].parts:
        one, other = (float(rows[place.label].printed[-1]) for place in places(part))
        assert part.paper == pytest.approx(one - other)
        assert part.region == Region(high=part.paper / 2)
