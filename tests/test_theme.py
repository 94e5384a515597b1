"""Figures and pages in light and in dark: what is drawn is seen, what is written can be read."""

import re
from xml.etree import ElementTree

import matplotlib.style
import pytest
from made_up_results import make_bundle, with_insights, with_scores

from reports.figures import plates, study_plates
from reports.measurements import Measurements
from reports.render import TEMPLATES
from reports.style import CYCLE, MUTED, PAPER, RULES, STYLE, save

READABLE, SEEN = 4.5, 3  # the contrasts that WCAG 2.1 asks of text and of graphics
PAIR = re.compile(r"--(\w+): light-dark\((#\w+), (#\w+)\)")
PAIRS = {name: both for name, *both in PAIR.findall((TEMPLATES / "page.css").read_text())}


def parts(color):
    """Red, green and blue of "#rgb" or "#rrggbb", from 0 to 1."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def luminance(rgb):
    linear = (it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in rgb)
    return sum(weight * it for weight, it in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """WCAG 2.1's formula for two colours."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def on_dark(color):
    """What invert(.91) hue-rotate(180deg) of CSS's filter effects makes of a colour."""
    assert b"invert(.91) hue-rotate(180deg)" in RULES
    rgb = [0.91 - 0.82 * it for it in parts(color)]
    gray = 0.213 * rgb[0] + 0.715 * rgb[1] + 0.072 * rgb[2]
    return [min(max(2 * gray - it, 0.0), 1.0) for it in rgb]


def test_text_can_be_read_and_data_is_seen_on_both_papers():
    light, dark = PAIRS["paper"]
    for one, other in (PAIRS[name] for name in ("ink", "muted", "link")):
        assert contrast(parts(one), parts(light)) >= READABLE
        assert contrast(parts(other), parts(dark)) >= READABLE
    assert on_dark(PAPER) == pytest.approx(parts(dark), abs=1 / 255)  # figures lie on the page
    with matplotlib.style.context(STYLE):
        ink = matplotlib.rcParams["text.color"]
    for color in (ink, MUTED, *CYCLE, "#0d2c54", "#00224e"):
        assert contrast(on_dark(color), parts(dark)) >= SEEN, color


def test_a_figure_says_in_itself_what_it_shows():
    bundles = [
        with_insights(with_scores(make_bundle(f"table{i}", seeds=(0, 1)))) for i in range(1, 5)
    ]
    found = [*plates(bundles[3]).values(), *study_plates(Measurements(bundles)).values()]
    assert [it.name for it in found[-3:]] == ["table4-errors", "path", "sweeps"]
    for plate in found:
        root = ElementTree.fromstring(save(plate.draw(), "svg", plate.caption))
        title, *_ = root.iter("{http://www.w3.org/2000/svg}title")
        style, *_ = root.iter("{http://www.w3.org/2000/svg}style")
        assert title.text == plate.caption != "" and RULES.decode() in style.text
        texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
        assert len(texts) > 5  # real text, not outlines
