"""Notebooks and pages as they are written: whole, self-contained, linked, and readable by all."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from xml.etree import ElementTree

import nbformat
import pytest
from made_up_results import frame, make_bundle, with_insights, with_scores
from test_oracles import check

from experiments import TABLES
from reports import site
from reports.measurements import Measurements
from reports.notebook import NotebookError, run_notebook, to_page, write_report
from reports.site import claims_about, finding, judged


def read(path):
    """A page as a tree: every tag is closed."""
    text = path.read_text().replace("<!doctype html>", "").replace("<wbr>", "")
    return ElementTree.fromstring(text)


def checked(path):
    """A page is whole, needs nothing from outside, and can be read without seeing it."""
    text, page = path.read_text(), read(path)
    tags = list(page.iter())
    assert not {"script", "link", "iframe", "object"} & {tag.tag for tag in tags}
    for address in [tag.get(name) for tag in tags for name in ("href", "src") if tag.get(name)]:
        _, _, svg = address.partition("data:image/svg+xml;base64,")
        if svg:  # a figure loads nothing either
            assert not re.findall(r'(?:href|src)="([^"#][^"]*)"', b64decode(svg).decode())
        elif not address.startswith("data:image/"):
            assert (path.parent / address).is_file(), f"{path.name} leads to {address}"
    assert not re.search(r"url\(|@import|https?://", text)
    assert all(len(image.get("alt")) > 20 for image in page.iter("img"))
    assert page.get("lang") == "en" and page.find("head/title") is not None
    body = page.find("body/main")
    levels = [int(tag.tag[1]) for tag in body.iter() if re.fullmatch("h[1-6]", tag.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(head.get("scope") for head in page.iter("th"))
    names = [tag.get("id") for tag in tags if tag.get("id")]
    labels = {tag.get("aria-labelledby") for tag in tags} - {None}
    assert len(names) == len(set(names)) and labels <= set(names)
    assert "Traceback" not in text and "Warning" not in text
    return page


def words(page):
    return "".join(page.itertext())


def headings(page):
    return [tag.text for tag in page.iter("h2")]


def bring_pictures(folder, table):
    """What the gallery leaves in a report's folder."""
    pictures = site.gallery_folder(folder, table)
    pictures.mkdir()
    (pictures / "1.jpg").write_bytes(b"\xff\xd8 no picture")
    told = {"file": "1.jpg", "caption": "a & caption", "alt": "a made-up image with a dog"}
    index = json.dumps({"made_of": [1], "pictures": [told]})
    (pictures / site.PICTURES).write_text(index)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A site of two tables with everything that a report can show, and of one with nothing."""
    folder = tmp_path_factory.mktemp("full")
    bundles = [
        with_insights(with_scores(make_bundle("table2", seeds=(0, 1), data="<b>$bold</b>"))),
        with_scores(make_bundle("table4", seeds=(0, 1), data="<b>$bold</b>")),
        replace(make_bundle("table5", data="<b>$bold</b>"), results={}),
    ]
    bring_pictures(folder, "table2")
    heard = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # notebooks import the project from anywhere
        for bundle in bundles:
            write_report(bundle, folder, heard.append)
        site.write_site(Measurements(bundles), folder)
    return folder, bundles, heard


def test_every_page_is_whole_and_needs_nothing(full):
    folder, *_ = full
    pages = sorted(path.name for path in folder.glob("*.html"))
    assert pages == ["claims.html", "index.html", "table2.html", "table4.html", "table5.html"]
    for name in pages:
        page = checked(folder / name)
        assert "<b>bold" not in (folder / name).read_text(), name
        assert sum(tag.get("aria-current") == "page" for tag in page.iter("a")) == 1


def test_everything_that_is_known_is_shown(full):
    folder, bundles, _ = full
    curves = ["Precision and recall", "Kinds of errors"]
    pictures = ["Images, from best to worst"]
    first = ["The table", "What each row changes", "The paper’s claims about it"]
    last = ["How the runs were made", "How to reproduce it", "The results as a data frame"]
    page, empty, index = (read(folder / f"{name}.html") for name in ("table2", "table5", "index"))
    assert headings(page) == [*first, *curves, *pictures, *last]
    assert "H4" in words(page) and bundles[0].command in words(page)
    images = list(page.iter("img"))
    assert sum(image.get("src").startswith("data:image/svg+xml") for image in images) == 4
    assert any(image.get("alt") == "a made-up image with a dog" for image in images)
    assert not {*curves, *pictures} & {*headings(empty)} and len(list(empty.iter("img"))) == 1
    assert "No run is finished" in words(empty)
    about = ["The paper’s claims", "The tables", "How it was made"]
    assert headings(index) == ["What ATSS is robust to", *about]
    assert (folder / "sweeps.svg").is_file() and (folder / "path.png").is_file()
    for told in (*(it.table.heading for it in bundles), "to 19.4 (“Spatial and Scale Constraint"):
        assert told in words(index)


def test_a_report_is_these_files_and_says_what_it_makes_of_them(full):
    folder, _, heard = full
    figures = [f"-{name}.{kind}" for name in ("ap", "gains") for kind in ("png", "svg")]
    ends = [".json", ".csv", ".md", ".tex", *figures, ".npz", ".ipynb", ".html"]
    files = {path.name for path in folder.glob("table4*") if path.stat().st_size}
    assert files == {f"table4{end}" for end in ends}
    assert heard[:2] == ["tables", "figures"] and heard[-1] == "page"
    assert any("The table" in text for text in heard)
    notebook = nbformat.read(folder / "table4.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


# What pages say


def test_findings_are_sentences_with_our_numbers_the_papers_and_whom_an_interval_is_of():
    nothing = replace(make_bundle("table2"), results={})
    (name, first), *_ = make_bundle("table2").results.items()
    found = [
        make_bundle("table3"),
        nothing,
        replace(nothing, results={name: first}),
        with_scores(make_bundle("table3", (0,))),
        with_scores(make_bundle("table3", (0, 1, 2))),
    ]
    check("tables/findings.txt", "\n".join(map(finding, found)) + "\n")


def test_a_table_has_the_claims_that_its_rows_can_decide_and_counts_judge_the_others(tmp_path):
    found = {name: [claim.name for claim in claims_about(TABLES[name])] for name in TABLES}
    assert [*found.values()][:2] == [["H1", "H2", "H3"], ["H3", "H4", "H5"]]
    assert {"H6", "H7", "H8", "H9"} <= set(found["table3"]) and found["table4"] == ["H10", "H11"]
    study, file = Measurements([make_bundle("table3")]), tmp_path / "positives.csv"
    frame({"IoU": [1, 9] * 30, "ATSS": [9, 9] * 30}).to_csv(file, index=False)
    pairs = zip(judged(study, None), judged(study, file), strict=True)
    changed = {other.claim.name for one, other in pairs if one != other}
    assert changed == {"H17", "H18", "H19", "H23"}


# The notebook

PARAMETERS = '# %% tags=["parameters"]\nvalue = 0\n\n# %% [markdown]\n# ## Numbers\n\n'


def test_a_failing_cell_is_named_and_a_heading_under_which_nothing_is_shown_left_out(tmp_path):
    source = tmp_path / "broken.py"
    source.write_text(f"{PARAMETERS}# %%\n{{}}[value]\n")
    with pytest.raises(NotebookError, match="failed in cell 3 under 'Numbers': KeyError: 7$"):
        run_notebook(source, {"value": 7})
    full = "# %% [markdown]\n# ## Full\n\n# %%\nNone\n\n# %%\nvalue\n"
    source.write_text(f"{PARAMETERS}# %%\nNone\n\n# %%\nx = value\n\n{full}")
    notebook = run_notebook(source, {"value": 7})
    assert notebook.cells[-1].outputs[0]["data"]["text/plain"] == "7"
    page = to_page(notebook, "Half")
    assert "Full</h2>" in page and "Numbers" not in page
