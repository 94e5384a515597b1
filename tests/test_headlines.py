"""What a study says in a few lines: its path, its sweeps, its findings, its verdicts."""

from pathlib import Path

import pytest
from made_up_results import make_bundle, with_scores
from test_positives import frame

from experiments import TABLES
from reports.figures import path, study_plates, sweeps
from reports.intervals import difference
from reports.measurements import Measurements
from reports.numbers import signed
from reports.site import claims_about, finding, judged

NAMES = [f"table{number}" for number in range(1, 8)]


@pytest.fixture(scope="module")
def study():
    return Measurements([with_scores(make_bundle(name, seeds=(0, 1))) for name in NAMES])


def test_the_path_and_the_sweeps_are_the_papers(study):
    steps = path(study).values()
    assert [step.paper for step in steps] == [32.5, 33.4, 34.9, 35.3, 36.8, 37.0, 37.8, 39.3]
    gains = [step.paper_gain for step in steps]
    assert gains[0] is None
    assert gains[1:] == pytest.approx([0.9, 1.5, 0.4, 1.5, 0.2, 0.8, 1.5])  # Sec. 3.2, 3.3, 4.2
    found = {}
    for name, point in sweeps(study).items():
        found.setdefault(name.rpartition(" ")[0], []).append(point.paper)
    assert list(found) == ["k", "anchor scale", "aspect ratio", "scales × ratios"]
    spans = [max(papers) - min(papers) for papers in found.values()]
    assert spans == pytest.approx([0.3, 0.4, 0.3, 0.1])


def test_our_steps_are_paired_and_add_up_to_the_whole_way(study):
    steps = list(path(study).values())
    assert [step.ours for step in steps] == pytest.approx([step.paper / 2 + 0.5 for step in steps])
    assert sum(step.gain for step in steps[1:]) == pytest.approx((39.3 - 32.5) / 2)
    table1 = study.bundles[0]
    scores = [
        [table1.scores[name] for name in table1.signatures[label]]
        for label in ("+ GIoU Loss", "+ GroupNorm")
    ]
    assert steps[2].gain_estimate == difference(*scores, "ap")


def test_atss_is_no_change_of_itself(study):
    """Its distance from itself is known exactly, and alone it is no sweep."""
    points = [it for name, it in sweeps(study).items() if name.startswith("k ")]
    (itself,) = (point for point in points if not any(point.gains.values()))
    assert itself.gain_estimate is None and itself.gain == 0
    alone = Measurements([with_scores(make_bundle("table3", seeds=(0, 1)))])
    assert not study_plates(alone) and list(study_plates(study)) == ["path", "sweeps"]


LABELS = [row.label for row in TABLES["table2"].rows]
FINDINGS = {
    "AP 18.5 (“RetinaNet (#A=1)”) to 19.6 (“RetinaNet (#A=1) + ATSS”), +1.1 against "
    "“RetinaNet (#A=1)”. The paper: 37.0 (“RetinaNet (#A=1)”) to 39.3 (“RetinaNet (#A=1) + "
    "ATSS”).": make_bundle("table3"),
    "No run is finished.": make_bundle("table2", missing=[(label, 0) for label in LABELS]),
    "AP 18.5 (“Intersection over Union, Box”). The paper: 36.9 (“Intersection over Union, Point”) "
    "to 37.8 (“Spatial and Scale Constraint, Box”).": (
        make_bundle("table2", missing=[(label, 0) for label in LABELS[1:]])
    ),
}


@pytest.mark.parametrize("told", FINDINGS)
def test_findings_are_sentences_with_our_numbers_and_the_papers(told):
    assert finding(FINDINGS[told]) == told


def test_an_interval_says_whether_it_is_of_these_trained_weights_alone():
    one, three = (finding(with_scores(make_bundle("table3", it))) for it in ((0,), (0, 1, 2)))
    known = with_scores(make_bundle("table3", (0,))).rows[1].ap.gain_estimate
    ends = f"{signed(known.low)} to {signed(known.high)}"
    assert f"+1.1 (95 %, these weights: {ends})" in one and "(95 %: " in three


def test_a_table_has_the_claims_that_its_rows_can_decide():
    names = {name: [claim.name for claim in claims_about(TABLES[name])] for name in NAMES}
    assert names["table1"] == ["H1", "H2", "H3"]
    assert names["table2"] == ["H3", "H4", "H5"]
    assert {"H6", "H7", "H8", "H9"} <= set(names["table3"])
    assert names["table4"] == ["H10", "H11"]
    assert "H21" not in sum(names.values(), [])  # of Table 8's longer schedule


def test_counts_judge_what_training_cannot(study, tmp_path: Path):
    file = tmp_path / "positives.csv"
    frame({"IoU": [1, 9] * 30, "ATSS": [9, 9] * 30}).to_csv(file, index=False)
    without, counted = judged(study, None), judged(study, file)
    assert [verdict.claim.name for verdict in counted] == [it.claim.name for it in without]
    changed = {one.claim.name for one, other in zip(counted, without, strict=True) if one != other}
    assert changed == {"H17", "H18", "H19", "H23"}
