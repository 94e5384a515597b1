"""What has to be trained: distinct runs in the paper's order; what is refused before any work."""

import json
from dataclasses import replace

import pytest

from experiments import TABLES
from experiments.schedules import DEMO, PAPER
from orchestration.plan import (
    THESIS,
    Setup,
    find_rows,
    find_tables,
    make_plan,
    resolve_scale,
    setups_in,
)
from orchestration.results import bundle, reproduce_line
from orchestration.run_folder import RunFolder, open_store

SETUP = Setup("demo", DEMO, {}, "shapes", "f00d", "shapes")
TABLE2 = [TABLES["table2"]]


def setup_at(scale: str, *settings: str) -> Setup:
    """A setup as it was typed."""
    return Setup(scale, *resolve_scale(scale, settings), "shapes", "f00d", "shapes")


def finish(folder: RunFolder, ap: float, seed: int = 0) -> None:
    """Make a run done, as a trial would."""
    metrics = {"ap": ap, "ap50": ap + 20, "ap75": None, "ap_s": None, "ap_m": None, "ap_l": None}
    folder.write("run", facts(seed))
    folder.append({"step": 300, "loss/cls": 0.5, "AP": ap})
    result = {"signature": folder.signature, "seed": seed, "metrics": metrics}
    folder.write("result", {**result, "seconds": 60.0, "facts": {"gpu": "none"}})


def facts(seed: int, setup: Setup = SETUP) -> dict[str, object]:
    canonical = {"recipe": {"iterations": setup.recipe.iterations}}
    notes = ["shapes, train: 2 boxes without area dropped"]
    data = {"name": "shapes", "notes": notes, "where": "/nowhere", "fingerprint": "f" * 16}
    about = {"setup": setup.to_json(), "seed": seed, "canonical": canonical, "data": data}
    return about | {"name": "Table 2"}


def test_a_row_is_trained_once_however_many_tables_want_it_the_thesis_first_and_seed_by_seed():
    plan = make_plan(SETUP, find_tables(["all"]), seeds=(1, 0, 1))
    assert plan.num_rows == 41 and len({run.signature for run in plan.runs}) == len(plan.runs) == 66
    first = [(run.run.config, run.run.seed) for run in plan.runs[:14]]
    assert first == [(config, seed) for seed in (1, 0) for config in THESIS]
    fcos = next(run for run in plan.runs if "Table 1: FCOS" in run.rows)
    others = {"Table 2: Spatial and Scale Constraint, Point", "Table 3: FCOS"}
    assert fcos.name == "Table 1: FCOS - seed 1" and set(fcos.rows[1:]) == others
    iou_box, iou_point, ssc_box, ssc_point = (row.label for row in TABLES["table2"].rows)
    order = [run.rows[0] for run in make_plan(SETUP, TABLE2).runs]
    assert order == [f"Table 2: {it}" for it in (iou_box, ssc_point, ssc_box, iou_point)]


def test_what_is_done_is_not_missing_also_for_another_table(tmp_path):
    store, table2 = open_store(tmp_path), make_plan(SETUP, TABLE2)
    folders = [store.folder(run.signature) for run in table2.runs]
    for folder in folders:
        finish(folder, 30.0)
    assert table2.missing(store) == ()
    assert len(make_plan(SETUP, find_tables(["table3"])).missing(store)) == 3
    longer = replace(SETUP, recipe=replace(DEMO, iterations=301))
    assert len(make_plan(longer, TABLE2).missing(store)) == 4
    # A result that is broken, or of another run, counts not.
    result = folders[0].path / "result.json"
    result.write_text(result.read_text()[:-20])
    folders[1].write("result", {"signature": folders[2].signature, "metrics": {"ap": 1.0}})
    assert table2.missing(store) == table2.runs[:2]
    folders[0].write("stopped", {"step": 20, "ap": 6.5})  # by ASHA, which gives it up
    assert table2.missing(store, is_asha=True) == table2.runs[1:2]


def test_rows_are_chosen_by_number_or_label():
    (table2,), rows = TABLE2, TABLES["table2"].rows
    assert find_rows(table2, []) == rows
    assert find_rows(table2, ["4", "1"]) == (rows[0], rows[3])
    assert find_rows(table2, ["spatial and scale constraint, box"]) == (rows[2],)
    assert find_rows(table2, ["Union, P"]) == (rows[1],)
    (fcos,) = find_rows(TABLES["table3"], ["fcos"])  # a label goes before a part of another
    assert fcos.label == "FCOS"
    for none in ("0", "5", "nothing", "", "point"):  # is answered with those that are
        with pytest.raises(ValueError, match="of Table 2.* are: 1 Intersection over Union, Box;"):
            find_rows(table2, ["1", none])


def test_settings_change_the_recipe_and_the_name_only_if_they_tell(tmp_path, monkeypatch):
    setup = setup_at("demo", "iterations=50", "batch_size=8", "evaluations=2")
    assert (setup.recipe.iterations, setup.recipe.evaluations) == (50, 2)
    # The batch is the scale's own, evaluations move nothing.
    assert setup.settings == {"iterations": 50}
    assert setup.name == "demo iterations=50 - shapes" and setup.slug == "demo-iterations=50-shapes"
    assert resolve_scale("paper", []) == (PAPER, {})
    monkeypatch.chdir(tmp_path)
    setup = setup_at("demo", "weights=body.pth")  # found from anywhere
    assert setup.recipe.weights == str(tmp_path / "body.pth")
    assert setup.name == "demo weights=body.pth - shapes"
    thirds = setup_at("demo", "aspect_ratios=1/3")
    assert thirds.name.startswith("demo aspect_ratios=1/3 - ")
    assert thirds.slug.startswith("demo-aspect_ratios=1-3-")


def test_a_setting_of_the_test_trains_nothing_that_is_there(tmp_path):
    """As Table 8's rows of tests at many scales: a run of its own, of a detector trained once."""
    changed, usual = setup_at("demo", "nms_threshold=0.5"), setup_at("demo")
    assert changed.as_trained == usual
    plan, store = make_plan(changed, TABLE2, rows=["1"]), open_store(tmp_path)
    trained, *tested = plan.runs
    (whole,) = make_plan(usual, TABLE2, rows=["1"]).runs
    assert [it.training for it in tested] == [trained]
    assert trained.rows[0] == f"{tested[0].rows[0]} (its training)"
    assert trained.signature == whole.signature != tested[0].signature
    finish(store.folder(whole.signature), 30.0)
    assert [it.signature for it in plan.missing(store)] == [tested[0].signature]


def test_toggles_are_set_in_every_row_and_contradictions_named():
    setup = setup_at("demo", "k=5")
    plan = make_plan(setup, find_tables(["table5"]))
    assert {run.run.config.k for run in plan.runs} == {5} and len(plan.runs) == 5
    with pytest.raises(ValueError, match="row 'Intersection over Union, Box': k=5 needs"):
        make_plan(setup, TABLE2)
    assert bundle(open_store("/nowhere"), setup, *TABLE2, [0]).signatures == {}
    content = bundle(open_store("/nowhere"), SETUP, *TABLE2, [0])
    assert list(content.signatures) == [row.label for row in TABLE2[0].rows]


def test_a_setup_survives_its_json():
    setup = replace(setup_at("mini", "anchor_scales=4,6", "short_side=100,200"), data="photos")
    content = json.loads(json.dumps(setup.to_json()))
    assert Setup.from_json(content) == setup
    assert content["name"] == "mini anchor_scales=4,6 short_side=100,200 - photos"
    content["recipe"]["epochs"] = content["recipe"].pop("iterations")
    with pytest.raises(ValueError, match="a setup of another version"):
        Setup.from_json(content)


def test_the_store_tells_its_setups_and_their_seeds(tmp_path):
    store = open_store(tmp_path)
    for seed in (2, 0):
        run = make_plan(SETUP, TABLE2, seeds=[seed]).runs[0]
        finish(store.folder(run.signature), 30.0, seed)
    longer = replace(SETUP, recipe=replace(DEMO, iterations=900), settings={"iterations": 900})
    store.folder("0" * 12).write("run", facts(1, longer))
    store.folder("1" * 12).write("run", {"setup": {"name": "of a later version"}})
    assert setups_in(store) == [(SETUP, (0, 2)), (longer, (1,))]
    assert make_plan(SETUP, TABLE2, seeds=[5]).seeds_measured(store) == (0, 2, 5)


def test_a_report_tells_how_to_make_its_runs():
    setup = replace(setup_at("mini", "lr_drops=0.5,0.75"), where="/data/my photos.toml")
    assert reproduce_line(setup, *TABLE2, [0, 1]) == (
        "atss reproduce table2 --scale mini --data '/data/my photos.toml' --seeds 0,1 "
        "--set lr_drops=0.5,0.75"
    )
    assert reproduce_line(SETUP, *TABLE2, [0]) == "atss reproduce table2"


def test_history_survives_a_crash_in_the_middle_of_a_line(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    assert folder.history() == []
    folder.append({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0})
    folder.append({"step": 2, "AP": 30.0})
    with folder.history_file.open("a") as file:
        file.write('{"step": 3, "lo')
    assert folder.history() == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "AP": 30.0}]
    folder.forget_after(1)
    folder.append({"step": 2, "loss": 3.0})
    assert folder.history() == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 3.0}]
