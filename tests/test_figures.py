"""Figures: what is drawn of results, what stands in them, and that it is seen on both papers."""

import re
from xml.etree import ElementTree

import matplotlib.style
import pytest
from made_up_results import make_bundle, with_insights, with_scores
from matplotlib.colors import to_rgb

from experiments import TABLES
from experiments.claims import Place
from experiments.schedules import PAPER as AS_IN_PAPER
from reports.figures import comparison_figure, path, plates, study_plates, sweeps
from reports.intervals import difference
from reports.measurements import Measurements
from reports.render import TEMPLATES
from reports.style import CYCLE, MUTED, PAPER, RULES, STYLE, save

READABLE, SEEN = 4.5, 3  # the contrasts that WCAG 2.1 asks of text and of graphics
PAIR = re.compile(r"--(\w+): light-dark\((#\w+), (#\w+)\)")
PAIRS = {name: both for name, *both in PAIR.findall((TEMPLATES / "page.css").read_text())}


@pytest.fixture(scope="module")
def study():
    """Tables 1 to 7 with two seeds; Table 4 with what is behind its numbers."""
    made = [with_scores(make_bundle(f"table{number}", (0, 1))) for number in range(1, 8)]
    return Measurements([with_insights(it) if it.table.number == 4 else it for it in made])


# --- a table's


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_numbers_are_drawn_beside_ours(name):
    bundle = make_bundle(name, seeds=(0, 1))
    figure = comparison_figure(bundle)
    left, right = figure.axes
    assert left.get_title(loc="left") == "paper, COCO val2017"
    assert right.get_title(loc="left") == "ours, demo on made-up"
    lengths = [high - low for low, high in (left.get_xlim(), right.get_xlim())]
    assert lengths[0] == pytest.approx(lengths[1])  # an AP point is as long on both
    numbers = [text.get_text() for text in left.texts]
    assert numbers == [f"{row.paper.ap:.1f}" for row in bundle.table.rows]
    assert save(figure, "svg") == save(comparison_figure(bundle), "svg")


def test_at_the_papers_scale_both_are_on_one_range_and_what_is_missing_has_no_dot():
    about = {"scale": "paper", "recipe": AS_IN_PAPER, "data": "coco2017"}
    left, right = comparison_figure(make_bundle("table4", missing={("k = 5", 0)}, **about)).axes
    assert left.get_xlim() == right.get_xlim()
    values = right.lines[0].get_xdata()
    assert len(values) == 9 and values[1] != values[1]  # not a number
    assert len(right.texts) == 8 and left.get_yticklabels()[1].get_text() == "k = 5"


def test_bars_are_the_intervals_where_they_are_known_else_the_spread_of_the_seeds():
    bundle = make_bundle("table2", seeds=(0, 1))
    sampled = with_scores(bundle)
    intervals = [(row.ap.estimate.low, row.ap.estimate.high) for row in sampled.rows]
    spreads = [(row.ap.ours - 0.5**0.5, row.ap.ours + 0.5**0.5) for row in bundle.rows]
    for content, expected in ((sampled, intervals), (bundle, spreads)):
        (bars,) = comparison_figure(content).axes[1].collections
        drawn = [tuple(bar[:, 0]) for bar in bars.get_segments()]
        assert drawn == [pytest.approx(ends) for ends in expected]


def test_changes_are_drawn_beside_the_papers(study):
    left, right = plates(study.bundles[2])["gains"].draw().axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["paper", "ours"]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == [row.label for row in TABLES["table3"].rows[1:]]
    assert [text.get_text() for text in left.texts] == ["+2.3", "+0.8", "+1.6", "+2.2"]
    assert left.get_xlim() == right.get_xlim() and len(right.texts) == 4


# --- the study's


def test_the_path_and_the_sweeps_are_the_papers_and_our_steps_are_paired(study):
    steps = list(path(study).values())
    assert [step.ap.paper for step in steps] == [32.5, 33.4, 34.9, 35.3, 36.8, 37.0, 37.8, 39.3]
    one, other = (study.row(Place(1, it)).scores for it in ("+ GIoU Loss", "+ GroupNorm"))
    assert steps[2].gain.estimate == difference(one, other, "ap")
    found = {}
    for name, point in sweeps(study).items():
        found.setdefault(name.rpartition(" ")[0], []).append(point.ap.paper)
    spans = {name: round(max(papers) - min(papers), 1) for name, papers in found.items()}
    assert spans == {"k": 0.3, "anchor scale": 0.4, "aspect ratio": 0.3, "scales × ratios": 0.1}


def test_atss_is_no_change_of_itself(study):
    """Its distance from itself is known exactly, and alone it is no sweep."""
    points = [it.gain for name, it in sweeps(study).items() if name.startswith("k ")]
    (itself,) = (point for point in points if not any(point.by_seed.values()))
    assert itself.estimate is None and itself.ours == 0
    assert not study_plates(Measurements([study.bundles[2]]))
    assert list(study_plates(study)) == ["path", "sweeps"]


# --- on light and on dark paper


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
    rgb = [0.91 - 0.82 * it for it in to_rgb(color)]
    gray = 0.213 * rgb[0] + 0.715 * rgb[1] + 0.072 * rgb[2]
    return [min(max(2 * gray - it, 0.0), 1.0) for it in rgb]


def test_text_can_be_read_and_data_is_seen_on_both_papers():
    light, dark = PAIRS["paper"]
    for one, other in (PAIRS[name] for name in ("ink", "muted", "link")):
        assert contrast(to_rgb(one), to_rgb(light)) >= READABLE
        assert contrast(to_rgb(other), to_rgb(dark)) >= READABLE
    assert on_dark(PAPER) == pytest.approx(to_rgb(dark), abs=1 / 255)  # figures lie on the page
    with matplotlib.style.context(STYLE):
        ink = matplotlib.rcParams["text.color"]
    for color in (ink, MUTED, *CYCLE, "#0d2c54", "#00224e"):
        assert contrast(on_dark(color), to_rgb(dark)) >= SEEN, color


def test_a_figure_says_in_itself_what_it_shows(study):
    found = [*plates(study.bundles[3]).values(), *study_plates(study).values()]
    assert [it.name for it in found[-3:]] == ["table4-errors", "path", "sweeps"]
    for plate in found:
        root = ElementTree.fromstring(save(plate.draw(), "svg", plate.caption))
        title, *_ = root.iter("{http://www.w3.org/2000/svg}title")
        style, *_ = root.iter("{http://www.w3.org/2000/svg}style")
        assert title.text == plate.caption != "" and RULES.decode() in style.text
        texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
        assert len(texts) > 5  # real text, not outlines
