"""docs/choices.md tells the truth: each choice has its home, its comment there and its tests."""

import re
from dataclasses import fields

import pytest
from conftest import ROOT

from detector.config import DetectorConfig

PAGE = ROOT / "docs" / "choices.md"
HOME = re.compile(r'^`(?P<path>\S+\.py): (?P<symbol>\S+)` "(?P<phrase>.+)"$')
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")

LINES = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| Q"]
ROWS = {
    first: rest for first, *rest in ([*map(str.strip, it.strip("|").split(" | "))] for it in LINES)
}


def running_text(path):
    """A file's words, as if comments went on from line to line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(" ".join(line.strip().lstrip("# ") for line in lines).split())


def test_the_page_has_all_33_choices_in_order_and_no_two_have_the_same_words_at_the_same_home():
    assert list(ROWS) == [f"Q{number}" for number in range(1, 34)]
    assert len({cells[4] for cells in ROWS.values()}) == 33


@pytest.mark.parametrize("number", ROWS)
def test_a_choice_is_told_and_its_home_carries_the_quoted_comment_and_its_tests_exist(number):
    question, paper, code, here, home, tests = ROWS[number]
    assert question.endswith("?") and all([paper, code, here])
    at = HOME.match(home)
    assert at, home
    words = running_text(ROOT / at["path"])
    assert words.count(at["phrase"].replace('\\"', '"')) == 1, home
    for name in at["symbol"].split("."):
        assert name == "docstring" or re.search(rf"\b{name}\b *[(:=]", words), home
    assert TEST.search(tests) and TEST.sub("", tests).strip(", ") == ""
    for file, name in TEST.findall(tests):
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


def test_older_variants_of_the_official_code_have_no_switch():
    assert [item.name for item in fields(DetectorConfig)] == [
        *("group_norm", "giou_loss", "in_gt_box", "centerness", "scalar"),  # Table 1
        *("assigner", "regress_from"),  # Table 2
        *("k", "anchor_scales", "aspect_ratios"),  # Tables 4 to 7
    ]
