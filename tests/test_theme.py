"""Figures and pages in light and in dark: what is drawn is seen, what is written can be read."""

import re
from xml.etree import ElementTree

import pytest
from made_up_results import make_bundle, with_insights, with_scores

from reports import site
from reports import style as colors
from reports.figures import plates
from reports.measurements import Measurements
from reports.study_figures import study_plates
from reports.style import CYCLE, DARK, INK, LINK, MUTED, PAPER, contrast, on_dark, save

READABLE, SEEN = 4.5, 3  # the contrasts that WCAG 2.1 asks of text and of graphics


def plain_contrast(one: str, other: str) -> float:
    """WCAG 2.1's formula for two colours, written down once more."""

    def luminance(color: str) -> float:
        total = 0.0
        for weight, i in ((0.2126, 1), (0.7152, 3), (0.0722, 5)):
            part = int(color[i : i + 2], 16) / 255
            total += weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        return total

    light, dark = max(luminance(one), luminance(other)), min(luminance(one), luminance(other))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # a well-known grey
    for one in (*CYCLE, INK, LINK):
        assert contrast(one, PAPER) == pytest.approx(plain_contrast(one, PAPER))


@pytest.mark.parametrize("color", [INK, MUTED, LINK])
def test_text_can_be_read_on_both_papers(color):
    assert plain_contrast(color, PAPER) >= READABLE
    assert plain_contrast(DARK[color], DARK[PAPER]) >= READABLE


@pytest.mark.parametrize("color", [*CYCLE, "#0d2c54", "#00224e", "#010101"])
def test_data_is_seen_on_dark_paper(color):
    assert plain_contrast(on_dark(color), DARK[PAPER]) >= SEEN


def test_what_stands_out_already_keeps_its_color():
    assert on_dark("#e69f00") == "#e69f00"


@pytest.fixture(scope="module")
def drawn():
    """Every kind of figure, as its description and its file."""
    bundles = [
        with_insights(with_scores(make_bundle(name, seeds=(0, 1))))
        for name in ("table1", "table2", "table3", "table4")
    ]
    found = [*plates(bundles[3]).values(), *study_plates(Measurements(bundles)).values()]
    return {
        plate.name: (plate.caption, save(plate.draw(), "svg", plate.caption)) for plate in found
    }


def test_every_color_of_a_figure_has_one_for_dark_pages(drawn):
    for name, (_, svg) in drawn.items():
        found = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg.decode()))
        rule = r'\[style\*="fill: (#[0-9a-f]{6})"\]\{fill:(#[0-9a-f]{6})'
        dark = dict(re.findall(rule, svg.decode()))
        assert {PAPER, INK} <= found, name
        for color in found - {PAPER, colors.RULE}:
            assert plain_contrast(dark.get(color, color), DARK[PAPER]) >= SEEN, (name, color)


def test_a_figure_says_in_itself_what_it_shows(drawn):
    for caption, svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        (told,) = (element.text for element in root.iter("{http://www.w3.org/2000/svg}desc"))
        assert told == caption != ""
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert len(texts) > 5  # real text, not outlines


def test_figures_are_only_of_what_is_there():
    nothing = {(row.label, 0) for row in make_bundle("table2").table.rows}
    assert list(plates(make_bundle("table2", missing=nothing))) == ["ap"]
    assert list(plates(make_bundle("table2"))) == ["ap", "gains", "curves"]
    everything = plates(with_insights(make_bundle("table2")))
    assert list(everything) == ["ap", "gains", "curves", "precision", "errors"]


def test_a_page_is_led_from_again_and_again():
    links = {"index.html": "Overview", "claims.html": "Claims"}
    alone = site.page("A & B", "<h1>A</h1>")
    linked = site.linked(alone, links, "claims.html")
    assert '<a href="claims.html" aria-current="page">Claims</a>' in linked
    assert site.linked(linked, {}, "index.html").count("<nav") == 1
    assert site.linked(linked, links, "claims.html") == linked
    assert "<title>A &amp; B</title>" in alone
