"""`atss compare`: what A and B may be, what is refused in one line, what is printed and written."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_runs import finish_run, setup_of, write_data
from PIL import Image

from experiments import TABLES
from orchestration.commands.compare import facts_of
from orchestration.find import Asked, find_pair
from orchestration.plan import Setup
from orchestration.run_folder import RunFolder, Store, open_store
from reports import coco_bootstrap, paired

Atss = Callable[..., tuple[int, str, str]]
IOU_BOX, IOU_POINT, SSC_BOX, SSC_POINT = TABLES["table2"].rows
RIGHT = ((IOU_BOX, 0.3), (SSC_BOX, 0.9))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Setup, RunFolder]]:
    """Table 2 at demo scale: two rows with three seeds, and one of them once at mini scale."""
    root = tmp_path_factory.mktemp("compare")
    data = write_data(root / "pets")
    store, setup = open_store(root / "out"), setup_of(data, root / "pets")
    for row, right in RIGHT:
        for seed in (0, 1, 2):
            finish_run(store, setup, row, data, seed=seed, right=right)
    mini = replace(setup, scale="mini", recipe=replace(setup.recipe, iterations=3000))
    alone = finish_run(store, mini, SSC_POINT, data, seed=0, right=0.5)
    with pytest.MonkeyPatch.context() as patch:
        for module in (coco_bootstrap, paired):
            patch.setattr(module, "RESAMPLES", 50)
        patch.setattr(paired, "CLASS_RESAMPLES", 50)
        yield store, setup, alone


# What A and B may be


def test_a_row_is_all_its_seeds_a_run_is_one(made: tuple[Store, Setup, RunFolder]) -> None:
    store, setup, alone = made
    for text in ("table2:1", "Table 2: Intersection over Union, Box", "table2:union,box"):
        first, second = find_pair(store, [text, "table2:spatialandscaleconstraint,box"])
        assert first.name == "Table 2: Intersection over Union, Box" and first.setup == setup
        assert len(first.folders) == len(second.folders) == 3
    first, second = find_pair(store, ["table2:1@2", alone.signature[:8]])
    assert [it.facts()["seed"] for it in first.folders] == [2]
    assert second.folders == (alone,) and alone.signature in second.name


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("table2:1", "table2:9", "'9' is no row of Table 2"),
        ("table2:1", "table2:iou", "'iou' is no row of Table 2"),
        ("table2:1", "table2:box", "'box' is part of several rows of Table 2"),
        ("table2:1", "table2:2", "no finished run of 'table2:2' in"),
        (
            "table2:1",
            "table2:3@7",
            "'table2:3@7' in the setup demo - pets, which has seeds 0, 1, 2 of",
        ),
        ("table2:1", "table2", "table2 needs a row, such as table2:1; there are: 1 Intersection"),
        ("table2:1", "table2:", "table2 needs a row, such as table2:1; "),
        ("", "table2:1", "A is empty: needs a row such as table3:1, or a run"),
        ("table2:1", "nonsense", "'nonsense' is no run of"),
        ("table2:1", "table1:7", "are the same run ("),
        ("table2:3", "table2:3@1", "are the same run ("),
        ("table2:1", "table9:1", "no table is called 'table9'"),
        (
            "table2:1",
            "tabel3:1",
            "no table is called 'tabel3' (did you mean 'table3'?); there are table1, ",
        ),
    ],
)
def test_what_is_not_to_be_compared_is_refused_in_one_line(
    atss: Atss, made: tuple[Store, Setup, RunFolder], first: str, second: str, why: str
) -> None:
    code, output, errors = atss("compare", first, second, "--out", made[0].root)
    assert (code, output) == (2, "")
    assert why in errors and errors.count("\n") == 1


def test_other_data_and_several_setups_are_refused(
    made: tuple[Store, Setup, RunFolder], tmp_path: Path
) -> None:
    data = write_data(tmp_path / "zoo", num_images=12)
    store, setup = open_store(tmp_path / "out"), setup_of(data, tmp_path / "zoo")
    longer = replace(setup, scale="mini", recipe=replace(setup.recipe, iterations=3000))
    for other in (setup, longer):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, other, row, data, seed=0, right=0.5)
    texts = ["table2:1", "table2:3"]
    with pytest.raises(
        ValueError, match="setups: --scale demo for demo - zoo; --scale mini for mini"
    ):
        find_pair(store, texts)
    first, _ = find_pair(store, texts, Asked("mini"))
    assert first.setup.scale == "mini"
    with pytest.raises(ValueError, match="no finished run of 'table2:1' in .* with --data shapes"):
        find_pair(store, texts, Asked(data="shapes"))
    moved = store.folder(first.folders[0].signature)
    elsewhere = replace(longer, data="cages", fingerprint="0" * 64)
    moved.write("run", moved.facts() | {"setup": elsewhere.to_json()})
    with pytest.raises(ValueError, match=r"of different data, cages \(000000000000\) and zoo \("):
        find_pair(store, [moved.signature, "table2:3"], Asked("mini"))


def test_changed_settings_are_asked_for_and_else_not_meant(tmp_path: Path) -> None:
    data = write_data(tmp_path / "zoo", num_images=12)
    store, setup = open_store(tmp_path / "out"), setup_of(data, tmp_path / "zoo")
    shorter, shortest = (
        replace(setup, settings={"iterations": n}, recipe=replace(setup.recipe, iterations=n))
        for n in (20, 10)
    )
    for other, seed in ((shorter, 1), (setup, 0)):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, other, row, data, seed=seed, right=0.5)
    texts = ["table2:1", "table2:3"]
    first, second = find_pair(store, texts)
    assert first.setup.settings == second.setup.settings == {}
    assert first.note == (
        "Measured in several setups, taken from demo - zoo; --set iterations=20 for "
        "demo iterations=20 - zoo."
    )
    first, _ = find_pair(store, texts, Asked(settings=["iterations=20"]))
    assert first.setup.settings == {"iterations": 20} and not first.note
    with pytest.raises(ValueError, match="in the setup demo - zoo, which has seed 0 of it"):
        find_pair(store, ["table2:1@1", "table2:3"])
    with pytest.raises(
        ValueError, match="with --set iterations=30, but in demo iterations=20 - zoo"
    ):
        find_pair(store, texts, Asked(settings=["iterations=30"]))
    longer = replace(setup, scale="mini", recipe=replace(setup.recipe, iterations=3000))
    for other in (shortest, longer):
        for row in (IOU_BOX, SSC_BOX):
            finish_run(store, other, row, data, seed=0, right=0.5)
    with pytest.raises(ValueError, match="--scale demo --set iterations=10 for demo iterations=10"):
        find_pair(store, texts)


def test_what_may_move_numbers_is_told_in_words(made: tuple[Store, Setup, RunFolder]) -> None:
    first, second = find_pair(made[0], ["table2:1@0", made[2].signature])
    one, other = facts_of(first), facts_of(second)
    differing = {name for name in one if one[name] != other[name]}
    assert differing == {"scale", "schedule"}
    assert one["evaluator"] == "pycocotools 2.0.11" and "NMS at IoU 0.6" in one["test"]


# What is printed and written


def test_the_comparison_is_printed_and_ends_with_what_it_means(
    atss: Atss, made: tuple[Store, Setup, RunFolder]
) -> None:
    code, output, errors = atss("compare", "table2:1", "table2:3", "--out", made[0].root)
    assert (code, errors) == (0, "")
    for text in ("B against A", "AP of each class", "What AP50 would gain", "The images"):
        assert text in output, text
    assert "seeds 0, 1, 2" in output
    *_, last = output.strip().split("\n\n")
    assert " ".join(last.split()).startswith(
        "Told apart: Table 2: Spatial and Scale Constraint, Box has "
    )


def test_it_is_saved_as_markdown_and_printed_as_json(
    atss: Atss, made: tuple[Store, Setup, RunFolder], tmp_path: Path
) -> None:
    asked = ("compare", "table2:1", "table2:3", "--out", made[0].root)
    file = tmp_path / "two.md"
    code, output, _ = atss(*asked, "--save", file)
    assert code == 0 and f"Written  {file}" in output
    assert file.read_text().startswith("**B against A (%)**") and "Told apart: " in file.read_text()
    code, output, _ = atss(*asked, "--format", "json")
    content = json.loads(output)
    assert code == 0 and content["num_images"] == 30 and content["metrics"][0]["difference"] > 0
    for wrong, why in (
        (("--format", "html"), "--format html is none of terminal, markdown, json"),
        (("--save", "two.txt"), "needs a file that ends in .md or .json"),
        (("--save", tmp_path / "no" / "two.md"), "there is no folder"),
        (("--pictures", file), f"--pictures {file}: needs a folder, {file} is a file"),
        (("--pictures", file / "in"), f"needs a folder, {file} is a file"),
        (("--scale", "small"), "'small' is not one of 'demo', 'mini', "),
        (("--set", "depth=3"), "no setting is called 'depth'"),
    ):
        code, _, errors = atss(*asked, *wrong)
        assert code == 2 and why in errors


def test_other_circumstances_are_footnotes(
    atss: Atss, made: tuple[Store, Setup, RunFolder]
) -> None:
    code, output, _ = atss("compare", "table2:1@0", made[2].signature, "--out", made[0].root)
    text = " ".join(output.split())
    assert code == 0
    assert "They differ in scale: demo (A), mini (B)." in text
    assert "They differ in schedule: " in text
    assert "of these trained weights" in text
    assert "only more seeds can tell." in text


def test_what_is_infinite_is_null_in_json(
    atss: Atss, made: tuple[Store, Setup, RunFolder], tmp_path: Path
) -> None:
    asked = ("compare", "table2:1@0", "table2:3@0", "--out", made[0].root)
    code, _, errors = atss(*asked, "--save", tmp_path / "two.json")
    assert (code, errors) == (0, "")
    metrics = json.loads((tmp_path / "two.json").read_text())["metrics"]
    assert metrics[0]["estimate"]["seed_degrees"] is None  # of one seed


def test_the_images_on_which_they_differ_most_are_drawn(
    atss: Atss, made: tuple[Store, Setup, RunFolder], tmp_path: Path
) -> None:
    folder = tmp_path / "differences"
    asked = ("compare", "table2:1", "table2:3", "--out", made[0].root, "--pictures", folder)
    code, output, _ = atss(*asked)
    files = sorted(folder.iterdir())
    assert code == 0 and f"Pictures {folder} ({len(files)})" in output
    assert 5 <= len(files) <= 10
    with Image.open(files[0]) as sheet:
        assert sheet.width > 2.5 * sheet.height  # three square images
    assert all(file.stat().st_size <= 100_000 for file in files)


def test_without_the_images_all_but_pictures_is_there(
    atss: Atss, made: tuple[Store, Setup, RunFolder], tmp_path: Path
) -> None:
    store, setup, _ = made
    where = Path(setup.where)
    where.rename(where.with_name("away"))
    try:
        asked = ("compare", "table2:1", "table2:3", "--out", store.root)
        assert atss(*asked)[0] == 0
        code, output, errors = atss(*asked, "--pictures", tmp_path / "none")
    finally:
        where.with_name("away").rename(where)
    assert code == 2 and "Told apart" in output
    assert errors == (
        f"atss: --pictures needs the images of the data set {where}, which are not there\n"
    )
