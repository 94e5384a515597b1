"""`atss claims` on results folders that nobody measured."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from made_up_results import frame, made_up, papers_numbers
from test_plan import SETUP, facts

from experiments import TABLES
from experiments.claims import BY_NAME, CLAIMS
from experiments.experiment import signature
from orchestration.plan import Setup
from orchestration.run_folder import Store, open_store
from reports.breakdown import Insight
from reports.coco_bootstrap import save_scores

Atss = Callable[..., tuple[int, str, str]]


def measure(store: Store, table: str, seeds: tuple[int, ...], setup: Setup = SETUP) -> None:
    """Leave the files of finished runs: the paper's numbers, and draws made up from them."""
    nothing = Insight(precision={}, classes=(), errors={}, threshold=0.5, images=())
    source = hashlib.sha256(b"made up").hexdigest()
    for row in TABLES[table].rows:
        for seed in seeds:
            folder = store.folder(signature(setup.row_run(row, seed)))
            result, scores = made_up(folder.signature, seed, papers_numbers()[row.config])
            about = {"metrics": asdict(result.metrics), "signature": folder.signature}
            folder.write("run", facts(seed, setup))
            folder.write("result", {**about, "seed": seed, "seconds": 1.0, "facts": {}})
            folder.write("insight", asdict(nothing))
            folder.matches.write_bytes(b"made up")
            save_scores(scores, folder.scores, source=source)


def test_a_fresh_folder_has_the_list_and_what_each_claim_needs(
    atss: Atss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = atss("claims")
    assert (code, errors) == (0, "")
    lines = [line.strip() for line in output.splitlines()]
    for claim in CLAIMS:
        assert any(line.startswith(f"{claim.name} ") for line in lines)
    own = "--scale paper-2x --data coco2017"  # at demo smaller backbones would stand in
    for need in (
        "H1: atss reproduce table1 --rows 1,2 --seeds 0,1,2",
        f"H21: atss reproduce table8 {own} --rows 1,2,3,4,5,6",
        "H17, H18, H19, H23: atss positives",
    ):
        assert need in lines
    assert not any(line.endswith("supported") for line in lines)
    assert "agrees" in output and "> 4" in output and "0.4 to 1.2" in output
    assert not list(tmp_path.iterdir())


def test_what_is_measured_is_judged_by_setup(atss: Atss, tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    measure(store, "table3", (0, 1, 2))
    pets = replace(SETUP, scale="mini", data="pets", fingerprint="0" * 16)
    measure(store, "table2", (0,), pets)

    def told(*options: str) -> str:
        code, output, errors = atss("claims", "--out", store.root, *options)
        assert (code, errors) == (0, "")
        return output

    demo, mini = told().split("The paper's claims: scale mini on pets")
    assert "The paper's claims: scale demo on shapes" in demo
    (lifted,) = [line.strip() for line in demo.splitlines() if line.startswith(" H6 ")]
    assert lifted.endswith("supported")
    line = f"atss reproduce table1 --seeds 0,1,2 --rows 1,2 --out {store.root}"
    assert f"H1: {line}\n" in demo
    assert "*: one seed" not in demo and "*: one seed" in mini
    assert "--scale mini" in mini and "H20: atss claims --count" in mini
    only = told("--scale", "mini")
    assert "scale demo" not in only and "scale mini on pets" in only
    assert "nothing measured on other" in told("--data", "other")
    trained, _, others = json.loads(told("--format", "json"))["judged"]
    by_name = {claim["name"]: claim for claim in [*trained, *others]}
    assert sorted(by_name) == sorted(BY_NAME)
    assert by_name["H9"]["verdict"] == "supported"
    assert by_name["H9"]["setting"] == "scale demo on shapes"
    assert by_name["H9"]["parts"][0]["estimate"]["num_seeds"] == 3
    lines = told("--format", "markdown").splitlines()
    assert [it[-11:] for it in lines if it.startswith("| H9 |")] == ["supported |", "undecided |"]
    assert f"- H1: {line}" in lines


def test_counted_positives_judge_their_claims(atss: Atss, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "positives" / "pets-val"
    folder.mkdir(parents=True)
    counts = frame({"IoU": [2, 20, 4, 20], "ATSS": [9, 9, 9, 9]})
    counts.to_csv(folder / "positives.csv", index=False)
    code, output, errors = atss("claims", "--out", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert "Counted: pets-val" in output and "supported: share of the candidates 0.200" in output
    assert "atss positives" not in output
    code, output, _ = atss("claims", "--out", tmp_path / "out", "--format", "json")
    counted = json.loads(output)["counted"]["pets-val"]
    assert [claim["verdict"] for claim in counted] == ["supported"] * 3 + ["undecided"]


@pytest.mark.slow
def test_counting_the_networks_decides_about_overhead(atss: Atss, tmp_path: Path) -> None:
    code, output, errors = atss("claims", "--out", tmp_path, "--count", "--format", "json")
    assert (code, errors) == (0, "")
    (claim,) = [claim for claim in json.loads(output)["judged"][0] if claim["name"] == "H20"]
    assert claim["verdict"] == "supported"
    assert claim["parts"][0]["ours"] == "32,244,250 parameters, 429.46 GFLOPs: equal"
