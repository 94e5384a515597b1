"""`atss compare`: what A and B may be, what is refused in one line, what is printed and written."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from made_up_runs import finish_run, setup_of, write_data
from PIL import Image

from experiments import TABLES
from orchestration.commands.compare import side_of
from orchestration.find import find_pair
from orchestration.plan import Setup
from orchestration.run_folder import RunFolder, Store, open_store
from reports import coco_bootstrap, paired

Atss = Callable[..., tuple[int, str, str]]
IOU_BOX, IOU_POINT, SSC_BOX, SSC_POINT = TABLES["table2"].rows
TEXTS = ["table2:1", "table2:3"]


@dataclass
class Made:
    """Table 2 at demo scale: two rows with three seeds, and one of them once at mini scale."""

    store: Store
    setup: Setup
    alone: RunFolder

    def asked(self, first: str, second: str) -> tuple[str, ...]:
        return ("compare", first, second, "--out", str(self.store.root))


def at(setup: Setup, scale: str = "demo", **changes: int) -> Setup:
    """The setup at another scale, or with changed settings."""
    longer = {"iterations": 3000} if scale == "mini" else {}
    recipe = replace(setup.recipe, **longer, **changes)
    return replace(setup, scale=scale, recipe=recipe, settings=changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("compare")
    data = write_data(root / "pets")
    store, setup = open_store(root / "out"), setup_of(data, root / "pets")
    for row, right in ((IOU_BOX, 0.3), (SSC_BOX, 0.9)):
        for seed in (0, 1, 2):
            finish_run(store, setup, row, data, seed=seed, right=right)
    alone = finish_run(store, at(setup, "mini"), SSC_POINT, data, seed=0, right=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_bootstrap, "RESAMPLES", 50)
        patch.setattr(paired, "CLASS_RESAMPLES", 50)
        yield Made(store, setup, alone)


# What A and B may be


def test_a_row_is_all_its_seeds_a_run_is_one(made: Made) -> None:
    for text in ("table2:1", "Table 2: Intersection over Union, Box", "table2:union,box"):
        first, second, _ = find_pair(made.store, [text, "table2:spatialandscaleconstraint,box"])
        assert first.name == "Table 2: Intersection over Union, Box" and first.setup == made.setup
        assert len(first.folders) == len(second.folders) == 3
    first, second, _ = find_pair(made.store, ["table2:1@2", made.alone.signature[:8]])
    assert [it.facts()["seed"] for it in first.folders] == [2]
    assert second.folders == (made.alone,) and made.alone.signature in second.name
    # What may move numbers is told in words.
    one, other = (side_of(it, lambda text: None).facts for it in (first, second))
    assert {name for name in one if one[name] != other[name]} == {"scale", "iterations"}
    assert one["pycocotools"] == "2.0.11" and one["nms_threshold"] == "0.6"


OF_SEEDS = "'table2:3@7' as asked for in"
A_ROW = "'' is no row of Table 2; there are: 1 Intersection"
NO_TABLE = "no table is called 'tabel3' (did you mean 'table3'?); there are table1, "


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("table2:1 table2:9", "'9' is no row of Table 2"),
        ("table2:1 table2:iou", "'iou' is no row of Table 2"),
        ("table2:1 table2:box", "'box' is part of several rows of Table 2"),
        ("table2:1 table2:2", "no finished run of 'table2:2' as asked for in"),
        ("table2:1 table2:3@7", OF_SEEDS),
        ("table2:1 table2", A_ROW),
        ("table2:1 table2:", A_ROW),
        (" table2:1", "'' is no run of"),
        ("table2:1 nonsense", "'nonsense' is no run of"),
        ("table2:1 table1:7", "are the same run ("),
        ("table2:3 table2:3@1", "are the same run ("),
        ("table2:1 table10:1", "no table is called 'table10'"),
        ("table2:1 tabel3:1", NO_TABLE),
        ("table2:1 table2:3 --format html", "'html' is not one of 'terminal', 'markdown', 'json'"),
        ("table2:1 table2:3 --pictures FILE", "'--pictures': dir 'FILE' is a file"),
        ("table2:1 table2:3 --scale small", "'small' is not one of 'demo', 'mini', "),
        ("table2:1 table2:3 --set depth=3", "no setting is called 'depth'"),
    ],
)
def test_what_is_not_to_be_compared_is_refused_in_one_line(
    refused: Callable[..., str], made: Made, asked: str, why: str
) -> None:
    words = asked.replace("FILE", __file__).split(" ")
    errors = refused("compare", *words, "--out", made.store.root)
    assert why.replace("FILE", __file__) in errors


def test_other_data_and_several_setups_are_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "zoo", num_images=12)
    store, setup = open_store(tmp_path / "out"), setup_of(data, tmp_path / "zoo")
    for other in (setup, at(setup, "mini")):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, other, row, data, seed=0, right=0.5)
    with pytest.raises(ValueError, match="several setups: demo - zoo; mini - zoo; --scale, --dat"):
        find_pair(store, TEXTS)
    first, _, _ = find_pair(store, TEXTS, scale="mini")
    assert first.setup.scale == "mini"
    with pytest.raises(ValueError, match="no finished run of 'table2:1' as asked for in .*; mini"):
        find_pair(store, TEXTS, data="shapes")
    moved = store.folder(first.folders[0].signature)
    elsewhere = replace(at(setup, "mini"), data="cages", fingerprint="0" * 64)
    moved.write("run", moved.facts() | {"setup": elsewhere.to_json()})
    with pytest.raises(ValueError, match=r"of different data, cages \(000000000000\) and zoo \("):
        find_pair(store, [moved.signature, "table2:3"], scale="mini")


def test_changed_settings_are_asked_for_and_else_not_meant(tmp_path: Path) -> None:
    data = write_data(tmp_path / "zoo", num_images=12)
    store, setup = open_store(tmp_path / "out"), setup_of(data, tmp_path / "zoo")
    for other, seed in ((at(setup, iterations=20), 1), (setup, 0)):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, other, row, data, seed=seed, right=0.5)
    first, second, note = find_pair(store, TEXTS)
    assert first.setup.settings == second.setup.settings == {}
    assert note == "Taken from demo - zoo; measured in demo iterations=20 - zoo; demo - zoo."
    first, _, note = find_pair(store, TEXTS, settings=["iterations=20"])
    assert first.setup.settings == {"iterations": 20} and not note
    first, second, _ = find_pair(store, ["table2:1@1", "table2:3"])  # a seed that one setup has
    assert first.setup == second.setup and first.setup.settings == {"iterations": 20}
    with pytest.raises(ValueError, match="there are: demo iterations=20 - zoo"):
        find_pair(store, TEXTS, settings=["iterations=30"])


# What is printed and written


def test_it_is_printed_and_drawn_and_ends_with_what_it_means(
    atss: Atss, made: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "differences"
    code, output, errors = atss(*made.asked(*TEXTS), "--pictures", folder)
    assert (code, errors) == (0, "")
    for text in ("B against A", "AP of each class", "What AP50 would gain", "The images"):
        assert text in output, text
    assert "seeds 0, 1, 2" in output
    *_, last = output.strip().split("\n\n")
    last, pictures = " ".join(last.split()).split(" Pictures ")
    assert last.startswith("Told apart: Table 2: Spatial and Scale Constraint, Box has ")
    files = sorted(folder.iterdir())
    assert pictures == f"{folder} ({len(files)})" and 5 <= len(files) <= 10
    with Image.open(files[0]) as sheet:
        assert sheet.width > 2.5 * sheet.height  # three square images
    assert all(it.stat().st_size <= 100_000 for it in files)


def test_it_is_markdown_and_json_too(atss: Atss, made: Made) -> None:
    asked = made.asked("table2:1@0", "table2:3@0")
    code, output, _ = atss(*asked, "--format", "json")
    content = json.loads(output)
    assert code == 0 and content["num_images"] == 30 and content["metrics"][0]["difference"] > 0
    assert content["metrics"][0]["estimate"]["seed_degrees"] is None  # infinite: of one seed
    code, output, _ = atss(*asked, "--format", "markdown")
    assert code == 0 and output.startswith("**B against A (%)**")
    for text in ("seed 0.", "| AP |", "| cat |", "| localization |"):
        assert text in output, text
    assert output.endswith(f"\n{content['meaning']}\n")


def test_other_circumstances_are_footnotes(atss: Atss, made: Made) -> None:
    code, output, _ = atss(*made.asked("table2:1@0", made.alone.signature))
    text = " ".join(output.split())
    assert code == 0 and text.endswith("only more seeds can tell.")
    assert "They differ in scale: demo (A), mini (B); iterations: " in text
    assert "of these trained weights" in text


def test_without_the_images_all_but_pictures_is_there(
    atss: Atss, made: Made, tmp_path: Path
) -> None:
    where = Path(made.setup.where)
    where.rename(where.with_name("away"))
    try:
        code, output, errors = atss(*made.asked(*TEXTS), "--pictures", tmp_path / "none")
    finally:
        where.with_name("away").rename(where)
    assert code == 2 and "Told apart" in output
    assert errors == (
        f"atss: --pictures needs the images of the data set {where}, which are not there\n"
    )
