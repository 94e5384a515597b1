"""A user's own file: its tables, its assigners, what names their runs, and what is refused."""

import json
import random
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT
from test_plan import SETUP

from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import OwnAssigner, Row, Run, canonical, signature
from experiments.own_tables import load_assigner, load_tables, own_assigner
from experiments.schedules import DEMO
from orchestration.plan import find_tables
from orchestration.results import reproduce_line

EXAMPLE = ROOT / "docs" / "my_ablation.py"

HEAD = """\
from functools import partial
from experiments.baselines import ATSS, IMPROVED_RETINANET
from experiments.experiment import Row, Table
"""
BODY = """\
SIZES = [8]
SIZES.append(16)


def helper(x):
    return x * SIZES[0]


def mine(anchors, gt_boxes, k=3):
    return helper(k)


def nested():
    def inner(anchors, gt_boxes): ...
    return inner


"""
TAIL = 'TABLE = Table(rows=[Row("mine", IMPROVED_RETINANET, assigner=mine)])\n'
FILE = HEAD + BODY + TAIL


def write(folder: Path, text: str, name: str = "my_ablation.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def only_row(path: Path) -> Row:
    ((_, table),) = load_tables(path).items()
    return table.rows[-1]


def name_of(path: Path) -> str:
    row = only_row(path)
    return signature(Run(row.config, DEMO, "data", 0, own_assigner(row.assigner)))


# --- the table


def test_a_file_is_a_table_called_like_the_file_and_may_have_several(tmp_path, monkeypatch):
    path = write(tmp_path, HEAD + 'TABLE = Table(title="One", rows=[Row("ATSS", ATSS)])')
    (table,) = find_tables([str(path)])
    assert (table.name, table.label, table.heading) == ("my_ablation",) * 2 + ("my_ablation. One",)
    assert reproduce_line(SETUP, table, [0, 1]) == f"atss reproduce {path} --seeds 0,1"
    rows = 'rows=[Row("ATSS", ATSS)]'
    path = write(tmp_path, HEAD + f'TABLES = [Table(name="a", {rows}), Table(name="b", {rows})]')
    assert [table.name for table in find_tables([str(path), "table3"])] == ["a", "b", "table3"]
    assert list(path.parent.iterdir()) == [path]  # read anew, and nothing is left beside it
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"'my_ablation' \(did you mean 'my_ablation.py'\?\)"):
        find_tables(["my_ablation"])


REFUSED = {
    "TABLE = 1": "my_ablation.py needs TABLE = Table(...)",
    "x = (": "my_ablation.py, line 4: '.' was never closed",
    "raise SystemExit(3)": "line 4: SystemExit: 3",
    'TABLE = Table(rows=[Row("a", ATSS), Row("a", ATSS)])': "line 4: .*'a' twice",
    "TABLE = Table(rows=[])": "needs at least one Row, got none",
    "import beside": "line 4: ModuleNotFoundError: .*what lies beside the file has no hash",
    "TABLE = Table(rows=[Row(3, ATSS)])": "line 4: a row needs a label of one line, got 3",
    'TABLE = Table(rows=[Row("a", ATSS)], reference="a")': "row's index below 1, got 'a'",
    'TABLE = Table(rows=[Row("a", "atss")])': "line 4: row 'a' needs a DetectorConfig, got 'atss'",
    'TABLE = Table(rows=[Row("a", ATSS, recipe={"iteration": 5})])': (
        r"line 4: row 'a': recipe has no setting 'iteration' \(did you mean 'iterations'\?\)"
    ),
    'TABLE = Table(rows=[Row("a", ATSS, assigner="iou")])': "a function, got 'iou': ours stand in",
    'TABLE = Table(rows=[Row("a", ATSS)], metrics=["AP"])': "metrics needs some of ap, ap50",
    'TABLE = Table(rows=[Row("a", ATSS)], reference=1)': "reference needs a row's index below 1",
    'TABLE = Table(rows=[Row("a", ATSS)], layout="grid")': "layout='grid' needs two printed cells",
    'TABLE = Table(rows=[Row("a", ATSS)], headings=["A", "B"])': "needs a cell for each of 2",
    'TABLE = Table(rows=[Row("a", ATSS)], factors=["k"])': "factors needs settings with two",
    'TABLE = Table(name="a b", rows=[Row("a", ATSS)])': "name needs letters, .* got 'a b'",
    'TABLE = Table(name="table2", rows=[Row("a", ATSS)])': "needs another name than 'table2'",
    'TABLES = [Table(rows=[Row("a", ATSS)])] * 2': "two tables are called 'my_ablation'; set name=",
    "import dataclasses\ndataclasses.replace(ATSS, k=0)": "line 5: k needs to be positive, got 0",
}
NO_ASSIGNER = {
    "lambda anchors, gt_boxes: 1": "needs a function defined at the top of the file.*lambda",
    "max": "needs a function defined at the top of the file.*max",
    "partial(mine, [])": "partial.mine, .* needs its settings by name",
    "partial(mine, k=mine)": "partial.mine, .* needs plain settings",
    "nested()": "needs a function defined at the top of the file.*inner",
}
for text, why in NO_ASSIGNER.items():
    REFUSED[BODY + TAIL.replace("assigner=mine", f"assigner={text}")] = why


@pytest.mark.parametrize("body", REFUSED)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, body):
    path = write(tmp_path, HEAD + body + "\n")
    with pytest.raises(ValueError, match=REFUSED[body]) as refused:
        find_tables([str(path)])
    assert "\n" not in str(refused.value)


# --- the assigner and its identity


def test_an_assigner_runs_without_its_file(tmp_path):
    path = write(tmp_path, FILE)
    own = only_row(path).assigner
    path.unlink()
    assert isinstance(own, OwnAssigner) and own.source == FILE
    kept = json.loads(json.dumps(asdict(own)))  # as in run.json
    assert load_assigner(OwnAssigner(**kept))([], None) == 3 * 8


def test_a_run_is_another_when_its_assigner_or_a_line_of_that_file_is(tmp_path):
    name = name_of(write(tmp_path, FILE))
    assert name_of(write(tmp_path, FILE, "renamed.py")) == name
    for before in ("x * SIZES", "SIZES = [8]", "append(16)", "k=3", "rows=["):
        changed = FILE.replace(before, before + "  ")
        assert changed != FILE and name_of(write(tmp_path, changed, "renamed.py")) != name
    # A row without an assigner keeps its name whatever its file says.
    plain = name_of(write(tmp_path, FILE.replace(", assigner=mine", "")))
    assert plain == signature(Run(IMPROVED_RETINANET, DEMO, "data", 0))
    text = FILE.replace("assigner=mine", "assigner=partial(mine, k=5)")
    own = only_row(write(tmp_path, text)).assigner
    assert isinstance(own, OwnAssigner) and str(own) == "mine(k=5)"
    assert load_assigner(own)([], None) == 5 * 8
    assert name_of(write(tmp_path, text)) != name


def test_an_assigner_takes_the_place_of_the_configs():
    own = OwnAssigner("mine", "def mine(anchors, gt_boxes): ...\n")
    runs = [Run(config, DEMO, "data", 0, own) for config in (ATSS, IMPROVED_RETINANET)]
    assert runs[0] == runs[1] and signature(runs[0]) != signature(replace(runs[0], assigner=None))
    assert list(canonical(runs[0]))[-1] == "assigner"
    assert canonical(runs[0])["assigner"]["source"].startswith("sha256:")
    with pytest.raises(ValueError, match="k=5 needs assigner='atss', got the own assigner 'mine'"):
        Run(replace(ATSS, k=5), DEMO, "data", 0, own)
    setup = replace(SETUP, settings={"assigner": "atss"})
    with pytest.raises(ValueError, match="row 'a': assigner has no effect here, because the row"):
        setup.row_run(Row("a", IMPROVED_RETINANET, assigner=own), 0)


def test_an_assigner_of_ours_may_be_taken_and_set():
    from detector.assigners import assign_atss

    own = own_assigner(partial(assign_atss, k=5))
    assert own is not None and "def closest_anchors" in own.source
    assert load_assigner(own).keywords == {"k": 5}


def test_an_assigner_with_a_part_in_another_file_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "def helper(x):\n    return x\n", "my_helpers.py")
    path = write(tmp_path, "from my_helpers import helper\n" + FILE.replace("def helper", "def h"))
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(ValueError, match="my_ablation.py, line 1: .*all of its source in one file"):
        load_tables(path)


def test_a_stored_source_that_does_not_run_here_says_why():
    with pytest.raises(ValueError, match="<assigner mine>, line 1: ModuleNotFoundError"):
        load_assigner(OwnAssigner("mine", "import nothing_there\ndef mine(a, b): ...\n"))


NO_ASSIGNMENT = {
    "return None": "got a NoneType",
    "return torch.cat(anchors)[:, 0]": r"int64 \[1706\], got float32 \[1706\]",
    "return torch.zeros(3, dtype=torch.int64)": r"got int64 \[3\]",
    "return torch.full((1706,), 3)": "got values from 3 to 3 for 3 objects",
    "return anchors[7]": "the assigner mine fails in line 3: IndexError: list index out of range",
}


@pytest.mark.parametrize("body", NO_ASSIGNMENT)
def test_what_returns_no_assignment_is_refused_before_anything_is_trained(body):
    source = f"import torch\ndef mine(anchors, gt_boxes):\n    {body}\n"
    run = Run(ATSS, DEMO, "data", 0, OwnAssigner("mine", source))
    from orchestration.launch import check_assigner

    with pytest.raises(ValueError, match=NO_ASSIGNMENT[body]) as refused:
        check_assigner(run)
    assert "\n" not in str(refused.value)


def test_an_assigner_without_positives_or_with_little_speed_is_remarked(monkeypatch):
    from orchestration import launch

    source = "import torch\ndef mine(anchors, gt_boxes):\n    return torch.full((1706,), {})\n"
    found = {}
    for value in (-1, 0):
        run = Run(ATSS, DEMO, "data", 0, OwnAssigner("mine", source.format(value)))
        found[value] = launch.check_assigner(run)
    assert found == {-1: ["the assigner mine gives none of 3 objects a positive"], 0: []}
    monkeypatch.setattr(launch, "SLOW", 0.0)
    assert re.fullmatch(r"the assigner mine took \d\.\d s for .*", launch.check_assigner(run)[0])


# --- the example of the docs


def test_the_example_takes_all_the_candidates_of_atss_and_so_its_positives():
    import torch

    from detector.detector import build_detector

    detector = build_detector(ATSS, 1)
    scene = detector.anchors(128, 160), torch.tensor([[10.0, 20, 60, 90], [70, 40, 150, 70]])
    own = next(iter(load_tables(EXAMPLE).values())).rows[1].assigner
    closest, atss = load_assigner(own)(*scene), detector.assigner(*scene)
    assert torch.equal(closest[atss >= 0], atss[atss >= 0]) and (atss >= 0).any()
    assert 0 < (closest >= 0).sum() <= 2 * 9 * 5


def test_the_parts_of_atss_differ_from_it_and_from_iou_in_what_they_say_alone():
    import torch
    from scenes import anchors_of, boxes_tensor, random_boxes

    from detector.assigners import build_assigner

    rows = load_tables(ROOT / "docs/study/parts-of-atss/parts_of_atss.py")["parts-of-atss"].rows
    settings = {row.label: own_assigner(row.assigner) for row in rows if row.assigner}
    filled, candidates = settings["IoU 0.5, nobody left out"], settings["Candidates, all"]
    iou, atss = build_assigner(IMPROVED_RETINANET), build_assigner(ATSS)
    draw = random.Random(0)
    for _ in range(20):
        scene = anchors_of((128, 192)), boxes_tensor(random_boxes(draw, 9, (0, 400), (40, 400)))
        for own, settings, usual in (
            (filled, {"least": 0}, iou),
            (candidates, {"deviations": 1.0}, atss),
        ):
            assign = build_assigner(
                IMPROVED_RETINANET, load_assigner(replace(own, settings=settings))
            )
            assert torch.equal(assign(*scene), usual(*scene))
        before, after = iou(*scene), load_assigner(filled)(*scene)
        (moved,) = (before != after).nonzero(as_tuple=True)
        lacking, still = ({*range(9)} - {*matched.tolist()} for matched in (before, after))
        assert len(moved) <= len(lacking) and {*after[moved].tolist()} <= lacking
        assert len(still) < len(lacking) or not lacking


def test_the_page_shows_files_that_load_and_the_example_as_it_is(tmp_path):
    first, example = (ROOT / "docs" / "own-tables.md").read_text().split("```python\n")[1:]
    (table,) = load_tables(write(tmp_path, first.partition("```")[0])).values()
    assert [row.changes.get("iterations") for row in table.rows] == [None, None, None, 550]
    assert example.partition("```")[0] in EXAMPLE.read_text()
