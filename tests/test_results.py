"""A table's runs: their file, and the draws beside it."""

import json
from dataclasses import replace

import pytest
from made_up_results import make_bundle, with_scores

from reports.results import load_bundle, save_bundle


@pytest.fixture
def path(tmp_path):
    """A bundle's file, with draws."""
    save_bundle(with_scores(make_bundle("table3", (0, 1))), tmp_path / "table3.json")
    return tmp_path / "table3.json"


def test_a_bundle_survives_its_file(tmp_path):
    bundle = make_bundle("table3", seeds=(0, 1), missing={("FCOS", 1)})
    bundle = replace(bundle, settings={"k": 5, "short_side": [96, 128]}, notes=["a note"])
    save_bundle(bundle, tmp_path / "b.json")
    assert load_bundle(tmp_path / "b.json") == bundle
    row = json.loads((tmp_path / "b.json").read_text())["table"]["rows"][1]
    assert (row["label"], row["changes"]["assigner"]) == ("RetinaNet (#A=1) + ATSS", "atss")
    assert row["paper"]["ap"] == 39.3 and len(row["signatures"]) == 2


def test_its_draws_lie_beside_it_to_the_bit_and_without_them_it_has_no_intervals(path):
    before = with_scores(make_bundle("table3", (0, 1)))
    loaded, text = load_bundle(path), path.read_bytes()
    assert [row.metrics for row in loaded.rows] == [row.metrics for row in before.rows]
    save_bundle(loaded, path)
    assert path.read_bytes() == text
    path.with_suffix(".npz").unlink()
    without = load_bundle(path)
    assert without.results == loaded.results and without.scores == {}
    assert not any(row.ap.estimate for row in without.rows)


def of_another_recipe(path):
    content = json.loads(path.read_text())
    content["recipe"]["unheard_of"] = 1
    path.write_text(json.dumps(content))


def with_draws_of_another(path):
    bundle = with_scores(make_bundle("table3", (0, 1)), noise=0.7)
    save_bundle(bundle, path.with_name("other.json"))
    path.with_name("other.npz").replace(path.with_suffix(".npz"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        *((lambda path, text=text: path.write_text(text), "") for text in ("", "[]", "{}")),
        (of_another_recipe, "unheard_of"),
        (with_draws_of_another, "other draws"),
        (lambda path: path.with_suffix(".npz").write_bytes(b""), ""),
        (lambda path: path.with_suffix(".npz").write_bytes(b"no archive"), ""),
    ],
)
def test_a_file_that_is_no_bundle_of_this_version_is_refused(path, spoil, reason):
    spoil(path)
    with pytest.raises(ValueError, match=rf"table3\.json is no report bundle of .*{reason}"):
        load_bundle(path)
