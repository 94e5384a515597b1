"""`atss compare`: what A and B may be, what is refused in one line, what is printed and written."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_folder import finish_run, write_data
from PIL import Image

from experiments import TABLES
from orchestration.commands.compare import side_of
from orchestration.find import find_pair
from orchestration.run_folder import open_store
from reports import coco_bootstrap, paired

IOU_BOX, _, SSC_BOX, SSC_POINT = TABLES["table2"].rows
TEXTS = ["table2:1", "table2:3"]


def at(setup, scale="demo", **changes):
    """The setup at another scale, or with changed settings."""
    longer = {"iterations": 3000} if scale == "mini" else {}
    recipe = replace(setup.recipe, **longer, **changes)
    return replace(setup, scale=scale, recipe=recipe, settings=changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two rows of Table 2 at demo scale with three seeds, and alone another once at mini scale."""
    root = tmp_path_factory.mktemp("compare")
    store, (data, setup) = open_store(root / "out"), write_data(root / "pets")
    for row, skill in ((IOU_BOX, 0.3), (SSC_BOX, 0.9)):
        for seed in (0, 1, 2):
            finish_run(store, setup, row, data, seed=seed, skill=skill)
    alone = finish_run(store, at(setup, "mini"), SSC_POINT, data, seed=0, skill=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_bootstrap, "RESAMPLES", 50)
        patch.setattr(paired, "CLASS_RESAMPLES", 50)
        yield SimpleNamespace(store=store, setup=setup, alone=alone)


@pytest.fixture
def compare(atss, made):
    return lambda *asked: atss("compare", *asked, "--out", made.store.root)


# What A and B may be


def test_a_row_is_all_its_seeds_a_run_is_one(made):
    for text in ("table2:1", "Table 2: Intersection over Union, Box", "table2:union,box"):
        first, second, _ = find_pair(made.store, [text, "table2:spatialandscaleconstraint,box"])
        assert first.name == "Table 2: Intersection over Union, Box" and first.setup == made.setup
        assert len(first.folders) == len(second.folders) == 3
    first, second, _ = find_pair(made.store, ["table2:1@2", made.alone.signature[:8]])
    assert [it.facts()["seed"] for it in first.folders] == [2]
    assert second.folders == (made.alone,) and made.alone.signature in second.name
    elsewhere, _, _ = find_pair(made.store, ["leave-one-out:1", "table2:3"])
    assert elsewhere.name == "leave-one-out: all five (here the run of Table 1: + Scalar)"
    # What may move numbers is told in words.
    one, other = (side_of(it, lambda text: None).facts for it in (first, second))
    assert {name for name in one if one[name] != other[name]} == {"scale", "iterations"}
    assert one["pycocotools"] == "2.0.11" and one["nms_threshold"] == "0.6"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("table2:1 table2:iou", "'iou' is no row of Table 2; there are: 1 Intersection"),
        ("table2:1 table2:box", "'box' is part of several rows of Table 2"),
        ("table2:1 table2:2", "no finished run of 'table2:2' as asked for in"),
        ("table2:1 table2:3@7", "; there are seeds 0, 1, 2"),
        ("table2:1 table7:9", "'9' is no row of Table 7"),  # and no part of "RetinaNet (#A=9)"
        ("table2:1 table2", "'table2' is no run of"),
        (" table2:1", "'' is no run of"),
        ("table2:1 table1:7", "are the same run ("),
        ("table2:3 table2:3@1", "are the same run ("),
        ("table2:1 table2:3 --pictures FILE", "'FILE' is a file"),
        ("table2:1 table2:3 --set depth=3", "no setting is called 'depth'"),
    ],
)
def test_what_is_not_to_be_compared_is_refused_in_one_line(refused, made, asked, why):
    words = asked.replace("FILE", __file__).split(" ")
    assert why.replace("FILE", __file__) in refused("compare", *words, "--out", made.store.root)


SEVERAL = "measured: demo - zoo; demo iterations=20 - zoo; mini - zoo; .* --scale, --data and"


def test_of_several_setups_that_without_changed_settings_is_meant_or_what_is_asked_for(tmp_path):
    store, (data, setup) = open_store(tmp_path / "out"), write_data(tmp_path / "zoo", num_images=12)
    setups = at(setup), at(setup, iterations=20), at(setup, "mini")
    for seed, its in enumerate(setups):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, its, row, data, seed=seed, skill=0.5)
    with pytest.raises(ValueError, match=SEVERAL):
        find_pair(store, TEXTS)
    first, second, note = find_pair(store, TEXTS, scale="demo")
    assert first.setup == second.setup == setups[0]
    assert note == "Taken from demo - zoo; measured in demo - zoo; demo iterations=20 - zoo."
    first, _, note = find_pair(store, TEXTS, settings=["iterations=20"])
    assert first.setup == setups[1] and not note
    first, second, _ = find_pair(store, ["table2:1@1", "table2:3"])  # a seed that one setup has
    assert first.setup == second.setup == setups[1]
    for asked in ({"data": "shapes"}, {"settings": ["iterations=30"]}):
        with pytest.raises(ValueError, match="no finished run of 'table2:1' as asked .*; mini"):
            find_pair(store, TEXTS, **asked)
    moved = find_pair(store, TEXTS, scale="mini")[0].folders[0]
    elsewhere = replace(setups[2], data="cages", fingerprint="0" * 64)
    moved.write("run", moved.facts() | {"setup": elsewhere.to_json()})
    with pytest.raises(ValueError, match="of different data, cages and zoo:"):
        find_pair(store, [moved.signature, "table2:3"], scale="mini")


# What is printed and written


def test_it_is_printed_and_drawn_and_ends_with_what_it_means(compare, made, tmp_path):
    folder = tmp_path / "differences"
    code, output, errors = compare(*TEXTS, "--pictures", folder)
    assert (code, errors) == (0, "")
    *_, last = output.strip().split("\n\n")
    last, pictures = " ".join(last.split()).split(" Pictures ")
    assert last.startswith("Told apart: Table 2: Spatial and Scale Constraint, Box has ")
    files = sorted(folder.iterdir())
    assert pictures == f"{folder} ({len(files)})" and 5 <= len(files) <= 10
    with Image.open(files[0]) as sheet:
        assert sheet.width > 2.5 * sheet.height  # three square images
    assert all(it.stat().st_size <= 100_000 for it in files)
    where = Path(made.setup.where)
    where.rename(where.with_name("away"))
    try:  # without the images all but pictures is there
        code, output, errors = compare(*TEXTS, "--pictures", tmp_path / "none")
    finally:
        where.with_name("away").rename(where)
    assert code == 2 and "Told apart" in output and errors.count("\n") == 1
    assert f"no data set {where}: needs" in errors


def test_it_is_markdown_and_json_too(compare, made):
    code, output, _ = compare("table2:1@0", "table2:3@0", "--format", "json")
    content = json.loads(output)
    assert code == 0 and content["num_images"] == 30 and content["metrics"][0]["difference"] > 0
    assert content["metrics"][0]["estimate"]["seed_degrees"] is None  # infinite: of one seed
    code, output, _ = compare("table2:1@0", made.alone.signature, "--format", "markdown")
    assert code == 0 and output.startswith("**B against A (%)**") and "| AP |" in output
    assert "They differ in scale: demo (A), mini (B); iterations: " in output
