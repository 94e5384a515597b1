"""`atss evaluate` and `atss predict`: runs and files, on annotated images and on a person's own."""

import json
import random
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_coco import content, write, write_both
from PIL import Image
from test_plan import facts
from test_trial import RECIPE, Killed, kill_at, make_job, write_small_data

from detector import checkpoint
from detector.config import DetectorConfig
from detector.metrics import COCO_NUMBERS, HEADINGS
from detector.training import assemble
from experiments.experiment import signature
from orchestration import trial
from orchestration.find import find_run
from orchestration.run_folder import RunFolder, Store
from orchestration.trial import run_trial

ROW = "Table 2: Made up, Box"


def train(data: Path, out: Path, seed: int = 0, report: Any = lambda values: None) -> None:
    job = make_job(data, out)
    run, about = replace(job.run, seed=seed), told_of([ROW, "Table 3: The same"], seed)
    about["data"] |= {"name": "squares", "fingerprint": run.data, "where": str(data)}
    run_trial(replace(job, run=run, folder=out / "runs" / signature(run), facts=about), report)


def told_of(rows: list[str], seed: int = 0) -> dict[str, Any]:
    """What run.json says of a run that is called so."""
    return {**facts(seed), "name": f"{rows[0]} - seed {seed}", "rows": rows}


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run that is done, and one of another seed that was stopped after its step 4."""
    out = tmp_path_factory.mktemp("results")
    train(data, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "REPORT_SECONDS", 0.0)
        with pytest.raises(Killed):
            train(data, out, seed=1, report=kill_at(6, "training"))
    return Store(out)


def run_of(store: Store, seed: int = 0) -> RunFolder:
    return next(folder for folder in store.folders() if folder.facts()["seed"] == seed)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a detector that has learnt nothing, for the categories of made_up_coco.content()."""
    return save_untrained(tmp_path_factory.mktemp("file") / "untrained.safetensors")


def save_untrained(path, ids=(3, 7), names=("cat", "dog")):
    detector, _ = assemble(DetectorConfig(), RECIPE, len(names), seed=0)
    torch.nn.init.normal_(detector.head.cls_logits.weight, std=0.3)
    torch.nn.init.constant_(detector.head.cls_logits.bias, -2.2)  # scores around 0.1, not 0.01
    description = checkpoint.Description(DetectorConfig(), RECIPE, ids, names)
    checkpoint.save_weights(path, detector, description)
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def metrics_of(store: Store, name: str) -> Any:
    return read(store.root / "evaluations" / name / "metrics.json")


# atss evaluate


def test_a_run_is_worth_what_its_result_says(atss, store):
    run = run_of(store)
    code, output, errors = atss("evaluate", run.signature, "--out", store.root)
    assert (code, errors) == (0, "")
    folder = store.root / "evaluations" / f"{run.signature}-squares-val"
    metrics, result = read(folder / "metrics.json"), run.result()
    assert result is not None and any(result["metrics"].values())
    six = {name: metrics["numbers"][HEADINGS[name].replace("_", "")] for name in HEADINGS}
    assert six == result["metrics"]
    assert (folder / "detections.json").read_bytes() == run.detections.read_bytes()
    for text in (*(f"\n{name} " for name in COCO_NUMBERS), ROW, str(folder)):
        assert text in output
    assert metrics["settings"]["nms_threshold"] == 0.6
    assert metrics["data"]["images"] == 12 and len(metrics["data"]["fingerprint"]) == 64
    assert metrics["environment"]["device"] == "cpu" and metrics["environment"]["torch"]


def test_an_unfinished_run_is_tested_from_its_last_checkpoint(atss, store):
    run = run_of(store, seed=1)
    assert not run.is_done
    code, output, _ = atss("evaluate", f"{ROW} - seed 1", "--out", store.root)
    assert code == 0 and "not finished: tested as of step 4" in output
    metrics = metrics_of(store, f"{run.signature}-squares-val")
    measured = next(entry for entry in run.history() if entry["step"] == 4)
    assert metrics["numbers"]["AP"] == measured["AP"] and measured["AP50"] is not None


def test_another_split_and_another_place_of_the_data(atss, store, data):
    run, out = run_of(store).signature, ("--out", store.root)
    assert atss("evaluate", run, "--split", "train", *out)[0] == 0
    files = ("--annotations", data / "annotations" / "instances_train.json")
    code, output, _ = atss("evaluate", run, *files, "--images", data / "train", *out)
    assert code == 0 and "12 images of instances_train:" in output
    names = f"{run}-squares-train", f"{run}-instances_train"
    one, other = (metrics_of(store, name) for name in names)
    assert one["numbers"] == other["numbers"]
    assert one["data"]["fingerprint"] == other["data"]["fingerprint"]


def test_data_that_changed_since_the_training_are_refused(atss, refused, tmp_path):
    data, out = write_small_data(tmp_path / "squares"), tmp_path / "results"
    train(data, out)
    file = data / "annotations" / "instances_val.json"
    file.write_text(json.dumps(read(file) | {"annotations": read(file)["annotations"][1:]}))
    assert "its content changed" in refused("evaluate", ROW, "--out", out)
    assert not (out / "evaluations").exists()
    assert atss("evaluate", ROW, "--data", data, "--out", out)[0] == 0


def test_a_file_is_tested_and_its_images_are_drawn(atss, weights, tmp_path):
    line = ("evaluate", "--data", write_both(tmp_path / "pets"), "--out", tmp_path, "--weights")
    assert atss(*line, weights, "--draw", 2, "--score", 0)[0] == 0
    folder = tmp_path / "evaluations" / "untrained-pets-val"
    metrics, found = read(folder / "metrics.json"), read(folder / "detections.json")
    assert str(weights) in metrics["detector"]
    assert {item["category_id"] for item in found} == {3, 7}
    pictures = sorted(path.name for path in (folder / "pictures").iterdir())
    assert pictures == ["01-a.jpg", "02-b.jpg"]  # the first two of three
    with Image.open(folder / "pictures" / "01-a.jpg") as sheet:
        assert sheet.width > 1000  # side by side, and enlarged to be read
    # The same detector, which has other ids for its categories: they are told by name.
    assert atss(*line, save_untrained(tmp_path / weights.name, (1, 2), ("Cat", "dog ")))[0] == 0
    assert read(folder / "detections.json") == found
    assert read(folder / "metrics.json")["numbers"] == metrics["numbers"]
    assert not (folder / "pictures").exists()  # they would not be of these detections
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cat", "horse"], "only on one side: dog, horse"),
        (["dog", "DOG"], "only on one side: cat"),
        (["cat", "dog", "horse"], "knows 2 classes, pets-val has 3"),
    ],
)
def test_other_classes_are_refused(refused, weights, tmp_path, names, reason):
    named = [{"id": number, "name": name} for number, name in zip((3, 7, 9), names, strict=False)]
    write(tmp_path / "pets", content() | {"categories": named}, "val")  # one split is enough
    line = ("evaluate", "--weights", weights, "--data", tmp_path / "pets", "--out", tmp_path)
    assert reason in refused(*line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("evaluate", "needs a RUN of the results folder, or --weights FILE, got neither"),
        ("evaluate RUN --weights FILE", "got both 'RUN' and --weights FILE"),
        ("evaluate 'mede up'", "(did you mean 'made up, box'?)"),
        ("evaluate ''", "'' is no run of"),
        ("evaluate box --out EMPTY", "there are none"),
        ("evaluate young --out YOUNG", "has no checkpoint yet"),
        ("evaluate SIGNATURE --set k=5", "k is a setting of training"),
        ("evaluate SIGNATURE --set nms_treshold=0.5", "did you mean 'nms_threshold'?"),
        ("evaluate SIGNATURE --set short_side=0", "short_side needs to be positive"),
        ("evaluate SIGNATURE --device abacus", "--device abacus cannot be used here"),
        ("evaluate SIGNATURE --data nowhere", "no data set nowhere"),
        ("evaluate SIGNATURE --split test", "needs one annotations/instances_test*.json"),
        ("evaluate SIGNATURE --annotations none.json", "name a set together"),
        ("evaluate SIGNATURE --annotations none.json --images tests", "none.json"),
        ("evaluate SIGNATURE --images tests", "name a set together"),
        ("evaluate --weights FILE --data shapes", "weights 'FILE'"),
        ("evaluate --weights README.md --data shapes", "weights 'README.md'"),
        ("evaluate --weights WEIGHTS", "--weights needs images to be tested on"),
        ("predict SIGNATURE", "is taken for a RUN; needs images after it"),
        ("predict SIGNATURE nowhere.jpg", "no images in nowhere.jpg: needs a file, or a folder"),
        ("predict SIGNATURE EMPTY", "no images in"),
        ("predict README.md CHANGELOG.md", "'README.md' is no run of"),
        ("predict SIGNATURE PHOTO --set iterations=3", "iterations is a setting of training"),
    ],
)
def test_what_cannot_be_is_refused(refused, store, data, weights, tmp_path, line, reason):
    meant = {"SIGNATURE": run_of(store).signature, "WEIGHTS": weights, "EMPTY": tmp_path / "empty"}
    meant |= {"PHOTO": data / "val" / "1.png", "YOUNG": tmp_path}
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "runs" / "abc").write("run", told_of(["young"]))
    words = [meant.get(word, word) for word in shlex.split(line)]
    out = [] if "--out" in words else ["--out", store.root]
    assert reason in refused(*words, *out) and not list((tmp_path / "empty").iterdir())


def test_a_run_is_found_by_what_people_call_it(tmp_path):
    store = Store(tmp_path)
    named = {
        "abc123": ["Table 4: 3"],
        "3def45": ["Table 4: 9", "Table 1: ATSS"],
        "999999": ["Table 4: 99"],
        "555555": ["Table 2: Intersection over Union, Box"],
    }
    for name, rows in named.items():
        store.folder(name).write("run", told_of(rows))
    meant = {  # a row's whole name comes before the beginning of a signature
        **dict.fromkeys(("abc123", "ABC", "3"), "abc123"),
        **dict.fromkeys(("3d", "9", "table 1", "atss"), "3def45"),
        **dict.fromkeys(("table2:1", "table2:1@0"), "555555"),
        "table 4: 99 - seed 0": "999999",
    }
    assert {wanted: find_run(store, wanted).signature for wanted in meant} == meant
    refused = {"table 4": "means 3 runs of .* abc123 .Table 4: 3 - seed 0.; 3def45 "}
    refused |= {"seed 0": "means 13 runs of", "table2:9": "'9' is no row of Table 2; there are: 1 "}
    for number in range(9):
        store.folder(f"eee{number}").write("run", told_of([f"more {number}"]))
    refused |= {"nothing like it": "and 8 more: atss status lists them", "eee": "and 4 more: "}
    for wanted, reason in refused.items():
        with pytest.raises(ValueError, match=reason):
            find_run(store, wanted)


# atss predict


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of every kind, one of them cut off, one no image, and things that are none."""
    folder = tmp_path / "photos"
    (folder / "sub" / ".hidden").mkdir(parents=True)
    picture = Image.frombytes("RGB", (70, 50), random.Random(0).randbytes(70 * 50 * 3))
    for name in ("b.jpg", "sub/b.jpg", "A.PNG", "sub/map.bmp", "sub/._c.jpg", "sub/.hidden/d.jpg"):
        picture.save(folder / name)
    picture.convert("L").save(folder / "gray.png")
    picture.quantize(16).save(folder / "palette.png", transparency=bytes([0, 9]))
    picture.convert("RGBA").save(folder / "sub" / "clear.webp")
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:2000])
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("no image, and not taken for one")
    return folder


def test_a_folder_is_searched_and_what_cannot_be_read_is_left_out(
    atss, weights, photos, tmp_path, recwarn
):
    torch.set_num_threads(2)
    line = ("predict", "--weights", weights, photos, "--out", tmp_path, "--score", 0.1)
    code, output, errors = atss(*line)
    assert code == 1 and torch.get_num_threads() == 2  # as before
    left_out = [error for error in errors.splitlines() if error.endswith("; left out")]
    assert len(left_out) == 2 and "cut.jpg" in left_out[0] and "text.jpg" in left_out[1]
    folder = tmp_path / "predictions" / "untrained-photos"
    described = read(folder / "images.json")
    taken = {image["id"]: image["file_name"] for image in described["images"]}
    names = "A.PNG b.jpg gray.png palette.png sub/b.jpg sub/clear.webp sub/map.bmp"
    assert list(taken.values()) == [str(photos / name) for name in names.split()]
    assert list(taken) == [1, 2, 4, 5, 6, 7, 8]  # 3 and 9 are those left out
    assert described["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    found = read(folder / "detections.json")
    assert {item["image_id"] for item in found} == set(taken)
    assert set(found[0]) == {"image_id", "category_id", "bbox", "score"}
    assert min(item["score"] for item in found) >= 0.1
    same, others = ([it | {"image_id": 0} for it in found if it["image_id"] == n] for n in (1, 8))
    assert same == others  # equal pixels, whatever file they come in
    for image in described["images"]:
        assert (image["width"], image["height"]) == (70, 50)
        with Image.open(folder / image["drawn"]) as drawn:
            assert drawn.mode == "RGB" and drawn.width == 9 * 70
    assert len(list((folder / "pictures").iterdir())) == 7
    assert f"2 of 9, {photos / 'b.jpg'}: " in output
    assert not [w for w in recwarn if "Palette" in str(w.message)]


def test_a_run_predicts_what_it_detects_when_evaluated(atss, store, data):
    """Its val images as files; tested one by one, so all but the padding of a batch is the same."""
    run = run_of(store)
    torch.set_num_threads(2)
    seventh = str(data / "val" / "7.png")
    places = (data / "val", seventh)  # what is named twice is tested once
    settings = ("--set", "max_detections=3", "--set", "short_side=64")
    line = ("predict", run.signature, *places, "--score", 0, *settings)
    assert atss(*line, "--out", store.root)[0] == 0
    assert torch.get_num_threads() == RECIPE.threads == 1  # sums depend on it
    (folder,) = store.root.glob("predictions/*-max_detections=3-short_side=64-val")
    images = read(folder / "images.json")["images"]
    (its_id,) = (image["id"] for image in images if image["file_name"] == seventh)
    ours = [it for it in read(folder / "detections.json") if it["image_id"] == its_id]
    theirs = [item for item in read(run.detections) if item["image_id"] == 7][:3]
    for one, other in zip(ours, theirs, strict=True):
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
