"""Positives per object: counted as plain loops count them, judged, printed, drawn, refused."""

import random
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference
from made_up_coco import annotation, content, write, write_both
from made_up_results import frame
from PIL import Image
from scenes import boxes_tensor, random_boxes

from detector.config import DetectorConfig
from detector.data.coco import CocoDataset
from detector.positives import LEVELS, Scene, anchors_of, columns_of, count, scene_of
from orchestration.commands.positives import PAPERS, choose, selection_of
from reports.positives import claims, markdown_claims, selections_figure, summarize

NINE = DetectorConfig(
    in_gt_box=True, assigner="atss", k=3, anchor_scales=(4.0, 5.0, 6.0), aspect_ratios=(0.25, 1, 4)
)
SELECTIONS = {selection_of(config).name: selection_of(config) for config in (*PAPERS, NINE)}
CONFIGS = dict(zip(SELECTIONS, (*PAPERS, NINE), strict=True))


def scene(*boxes, height=96, width=128):
    return Scene(height, width, boxes_tensor(boxes))


def by_level(found):
    return np.stack([found.objects[level] for level in LEVELS], axis=1)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_plain_loops(name, seed):
    config, sizes = CONFIGS[name], reference.level_sizes(96, 128)
    levels = reference.anchor_levels(sizes, config.anchor_scales, config.aspect_ratios)
    ends = np.cumsum([len(level) for level in levels])
    places = [range(end - len(level), end) for level, end in zip(levels, ends, strict=True)]
    boxes = random_boxes(random.Random(seed), seed % 8, start=(0, 400))
    boxes += boxes[: seed % 2]  # of equal ones the first has the positives
    found, columns = (what(SELECTIONS[name], scene(*boxes)) for what in (count, anchors_of))
    matched = reference.assign(config, levels, boxes)
    alone = [[value == 0 for value in reference.assign(config, levels, [box])] for box in boxes]
    for g in range(len(boxes)):
        per_level = [sum(matched[a] == g for a in place) for place in places]
        assert by_level(found)[g].tolist() == per_level
        lost = [a for a, is_taken in enumerate(alone[g]) if is_taken and matched[a] != g]
        assert found.objects["lost"][g] == len(lost)
    takers = [sum(column) for column in zip(*alone, strict=True)]
    assert found.image["contested"] == sum(number > 1 for number in takers)
    assert found.image["ignored"] == matched.count(reference.IGNORED)
    assert found.image["negatives"] == matched.count(reference.NEGATIVE)
    assert np.maximum(columns["matched"], -1).tolist() == [max(value, -1) for value in matched]
    assert columns["is_ignored"].tolist() == [value == reference.IGNORED for value in matched]
    assert columns["level"].tolist() == [i for i, place in enumerate(places) for _ in place]
    if config.assigner != "atss":
        return
    anchors, k = sum(levels, []), config.k * config.anchors_per_location
    for g, box in enumerate(boxes):  # Algorithm 1
        chosen = [a for place in places for a in reference.closest(anchors, place, box, k)]
        ious = [reference.iou(anchors[a], box) for a in chosen]
        threshold = statistics.mean(ious) + statistics.stdev(ious)
        assert found.objects["candidates"][g] == sum(min(k, len(level)) for level in levels)
        assert found.objects["threshold"][g] == pytest.approx(threshold, rel=1e-5)
        assert found.objects["above_threshold"][g] == sum(value >= threshold for value in ious)


def test_objects_are_described_as_the_file_has_them(tmp_path):
    described = content()
    described["annotations"] = [
        annotation(1, 20, 7, [5, 5, 30, 50], area=800.0),
        annotation(2, 10, 3, [0, 0, 60, 20]),
        annotation(3, 10, 3, [0, 0, 60, 40], iscrowd=1),
        annotation(4, 20, 3, [0, 0, 10, 10], area=96.0**2),
        annotation(5, 20, 3, [0, 0, 10, 10], area=96.0**2 + 1),
    ]
    dataset = CocoDataset(*write(tmp_path, described))
    scenes = [scene_of(dataset, i, short_side=64, long_side=96) for i in range(len(dataset))]
    columns = columns_of([one.described for one in scenes])
    assert columns["image"].tolist() == [10, 20, 20, 20]
    assert columns["annotation"].tolist() == [2, 1, 4, 5]
    assert columns["category"].tolist() == ["cat", "dog", "cat", "cat"]
    assert columns["size"].tolist() == ["medium", "small", "medium", "large"]
    assert columns["area"].tolist() == [1200, 800, 96**2, 96**2 + 1]
    assert columns["aspect_ratio"].tolist()[:2] == pytest.approx([1 / 3, 5 / 3])
    assert (columns["x"][0], columns["y"][0]) == (0.5, 0.25)
    assert columns["relative_size"][0] == pytest.approx(100 * np.sqrt(0.5))


# What is made of the counts


def test_a_summary_has_means_spreads_and_shares():
    objects = frame({"IoU": [0, 20, 4, 20], "ATSS": [8, 10, 8, 10]})
    images = {"selection": ["IoU", "ATSS"], "ignored": [30, 0], "contested": [4, 2]}
    summary = summarize(objects, pd.DataFrame(images))
    assert summary.index.tolist() == ["IoU", "ATSS"]
    expected = {
        **{"objects": 4, "mean": 11, "std": statistics.stdev([0, 20, 4, 20]), "none, %": 25},
        **{"small": 2, "medium": np.nan, "large": 20, "wide": np.nan, "even": 2, "tall": 20},
        **{"middle": 2, "side": np.nan, "corner": 20, "P3": 0, "P4": 100, "P5": 0, "P6": 0},
        **{"P7": 0, "ignored": 30, "contested": 4, "lost": 0.5},
        **{"smallest third": 2, "middle third": np.nan, "largest third": 20},
    }
    assert summary.loc["IoU"].to_dict() == pytest.approx(expected, nan_ok=True)


UNFAIR, FAIR = [2, 20, 2, 20], [9, 9, 9, 9]


def test_claims_tell_the_numbers_they_are_judged_by():
    found = claims(frame({"IoU": [2, 20, 4, 20], "ATSS": FAIR}))
    told = markdown_claims(found)
    assert "share of the candidates 0.200" in told
    assert "share before the in-box test and conflicts 0.222, threshold 0.500" in told
    assert "IoU: largest third / smallest third 6.667" in told
    assert all(f"{one.state}: {one.reason}" in told for one in found)


@pytest.mark.parametrize(
    ("counts", "above", "states"),  # of H17, H18, H19 and H23: their first letters
    [
        ({"IoU": [2, 20, 4, 20], "ATSS": FAIR}, 10, "sssu"),
        ({"ATSS": [9, 3, 9, 3], "ATSS, k=8": FAIR}, 10, "ccsu"),  # one variant is not enough
        ({"ATSS": [2, 4, 2, 4]}, 7, "cccu"),
        ({"ATSS": [13] * 4}, 10, "cssu"),
        ({"ATSS": [0, 0]}, 10, "cusu"),  # too few objects
        # Both older rules have to be unfair in all their variants
        ({"IoU": UNFAIR, "spatial and scale": UNFAIR}, 10, "s"),
        ({"IoU": UNFAIR}, 10, "u"),
        ({"IoU": FAIR, "IoU in GT box": UNFAIR, "spatial and scale": UNFAIR}, 10, "u"),
        ({"IoU": UNFAIR, "spatial and scale": FAIR}, 10, "c"),
        ({"IoU": UNFAIR, "spatial and scale": FAIR, "ATSS": FAIR}, 10, "sssc"),
    ],
)
def test_claims_that_do_not_hold_are_not_called_so(counts, above, states):
    found = claims(frame(counts, above_threshold=above))
    assert "".join(one.state[0] for one in found) == states
    is_open = found[-1].state == "undecided" and not {"IoU", "spatial and scale"} <= {*counts}
    assert found[-1].needs == ("atss positives",) * is_open


# The command


def names(*asked):
    return [selection.name for selection in choose(*asked)]


def test_rows_that_select_alike_are_one() -> None:
    assert names([], [], {}) == list(SELECTIONS)[:5]
    assert names(["table1"], [], {}) == ["spatial and scale", "IoU", "IoU in GT box"]
    assert len(names(["table4"], [], {})) == 9
    assert names(["table4"], ["k = 5"], {}) == ["ATSS, k=5"]
    assert names(["table7"], ["3"], {}) == ["ATSS, 4/5.04/6.35S, h/w 0.5/1/2"]
    assert selection_of(NINE).k == 3 * 9 and selection_of(DetectorConfig()).k is None


SIZE = ("--short-side", 64, "--long-side", 96, "--workers", 0)


def test_counting_prints_and_writes_what_was_counted_the_same_on_boxes_alone(atss, tmp_path):
    data, out = write_both(tmp_path / "pets"), tmp_path / "out"
    code, output, errors = atss("positives", "--data", data, "--out", out, *SIZE)
    assert (code, errors) == (0, "")
    for expected in ("pets val, 4 objects, 64/96 pixels", "H17", "H18", "H19", "H23"):
        assert expected in output
    folder = out / "positives" / "pets-val-64-96"
    assert f"Written to {folder}: summary.md" in output.replace("\n", "")
    objects = pd.read_csv(folder / "positives.csv")
    assert len(objects) == 5 * 4 and list(objects["selection"].unique()) == list(SELECTIONS)[:5]
    assert (objects[list(LEVELS)].sum(axis=1) == objects["positives"]).all()
    images = pd.read_csv(folder / "images.csv")
    assert len(images) == 5 * 3
    assert images["positives"].sum() == objects["positives"].sum()
    text = (folder / "summary.md").read_text()
    assert "| ATSS |" in text and "H18" in text and "atss positives --data" in text
    assert len(list(folder.glob("*.svg"))) == 3
    file, two = data / "annotations" / "instances_val.json", ("--workers", 2)
    assert atss("positives", "--annotations", file, "--out", out, *SIZE, *two)[0] == 0
    alone = out / "positives" / "instances_val-64-96"
    for name in ("positives.csv", "images.csv"):
        assert (alone / name).read_bytes() == (folder / name).read_bytes()


def test_rows_may_be_chosen_and_images_drawn_by_id_and_name_and_path(atss, tmp_path):
    images, file = write(tmp_path, content())
    line = ("positives", "--annotations", file, "--out", tmp_path, *SIZE)
    assert atss(*line, "table5", "--rows", "7S", "--set", "k=5")[::2] == (0, "")
    (written,) = (tmp_path / "positives").iterdir()
    assert written.name == "instances_train-table5-7S-k=5-64-96"
    assert "| ATSS, k=5, 7S |" in (written / "summary.md").read_text()
    assert atss(*line, "--image", images / "a.png")[0] == 0
    assert atss(*line, "--image", "20")[2].startswith("atss: b.png")  # whose folder is not known
    line = ("positives", "--data", write_both(tmp_path / "pets"), "--out", tmp_path, *SIZE)
    assert atss(*line, "--image", "20", "--image", "a.png")[::2] == (0, "")
    drawn = {path.name for path in (tmp_path / "positives" / "pets-val-64-96").iterdir()}
    assert drawn == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--image", "nothing.png"], "no images are called 'nothing.png'"),
        (["--set", "k=5"], "IoU: k=5 needs assigner='atss', got 'iou'"),
        (["--set", "iterations=5"], "iterations=5 moves no positive; needs one of assigner"),
        (["--rows", "1"], "--rows chooses from one table, got 0 tables"),
        (["table9"], "TAL selects by what the network predicts, which only training has: --rows"),
        (["--annotations", "x.json"], "--annotations is one file of boxes, instead of --data"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, tmp_path, arguments, expected):
    line = ("positives", "--data", write_both(tmp_path / "pets"), "--out", tmp_path / "out")
    assert expected in refused(*line, *SIZE, *arguments)
    _, file = write(tmp_path, content() | {"annotations": []})
    line = ("positives", "--annotations", file, "--out", tmp_path / "out")
    assert "nothing can be measured" in refused(*line)
    assert not list(tmp_path.glob("out/positives/*/*"))


def test_a_picture_names_its_selections_and_objects():
    two = scene((20, 20, 70, 60), (60, 30, 120, 90))
    anchors = {name: anchors_of(one, two) for name, one in SELECTIONS.items()}
    image = Image.new("RGB", (two.width, two.height))
    panels = selections_figure(image, two.boxes.numpy(), ["cat", "dog"], anchors).axes
    for axes, (name, selection) in zip(panels, SELECTIONS.items(), strict=True):
        mean = count(selection, two).image["positives"] / 2
        assert axes.get_title(loc="left").startswith(f"{name}: {mean:.1f} per object")
        assert [text.get_text().strip() for text in axes.texts] == ["1 cat", "2 dog"]


def test_an_assigner_of_ones_own_is_counted_as_itself():
    example = str(Path(__file__).parents[1] / "docs" / "my_ablation.py")
    chosen = {selection.name: selection for selection in choose([example], [], {})}
    assert list(chosen) == ["IoU in GT box", "closest in GT box", "closest(k=3) in GT box", "ATSS"]
    selection = chosen["closest(k=3) in GT box"]
    box = (60.0, 60.0, 190.0, 190.0)
    found = count(selection, scene(box, box, height=256, width=256))
    assert sorted(by_level(found).tolist()) == [[0, 0, 0, 0, 0], [3, 3, 3, 3, 1]]
    assert sorted(found.objects["lost"]) == [0, 13] and found.image["contested"] == 13
    assert np.isnan(found.objects["candidates"]).all() and selection.k is None
