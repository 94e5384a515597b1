"""Verdicts: every rule with made-up intervals, then whole studies, then `atss claims`."""

import itertools
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from made_up_folder import finish_run, write_data
from made_up_results import frame, made_up, made_up_study
from test_oracles import check

from detector.metrics import Metrics
from experiments import STUDY, TABLES, claims, table9
from experiments.claims import BY_NAME, CLAIMS, Region, places
from experiments.schedules import DEMO, SCALES
from orchestration.run_folder import open_store
from reports import coco_bootstrap
from reports.claims import claims_grid, compare, deciding, judge, judge_all, number, power
from reports.intervals import Estimate
from reports.measurements import Measurements, spread
from reports.render import markdown

Ends = list[tuple[float, float]]
demo_study = partial(made_up_study, scale="demo", recipe=DEMO, data="shapes")
TRAINED = [claim for claim in CLAIMS if claim.evidence == "training" and 8 not in claim.tables]


def estimate(value: float, low: float, high: float, **changes: object) -> Estimate:
    about = {"image_error": 0.1, "seed_error": 0.1, "num_seeds": 3, "num_images": 5000}
    return Estimate(value=value, low=low, high=high, **about | changes)


# The rules


@pytest.mark.parametrize(
    ("region", "supported", "undecided", "contradicted"),
    [
        (Region(0.4), [(0.4, 0.9)], [(0.39, 0.9), (0.1, 0.4)], [(0.1, 0.39)]),
        (Region(4, is_open=True), [(4.01, 5.0)], [(4.0, 5.0)], [(3.0, 4.0)]),
        (Region(0.4, 1.2), [(0.4, 1.2)], [(0.5, 1.21), (1.2, 1.5), (0.0, 2.0)], [(1.21, 1.5)]),
        # Not significant, and not shown to be equal
        (Region(0, 0.3), [(0.0, 0.3)], [(0.0, 0.31)], [(0.31, 0.5)]),
        (Region(0, is_open=True), [], [], [(0.0, 0.0)]),  # no difference at all
    ],
)
def test_an_interval_is_judged_as_a_whole(region, supported, undecided, contradicted):
    found = {"supported": supported, "undecided": undecided, "contradicted": contradicted}
    for state, intervals in found.items():
        for low, high in intervals:
            one = estimate((low + high) / 2, low, high)
            assert compare(region, one, one) == state, (low, high)


@pytest.mark.parametrize(("value", "state"), [(0.2, "undecided"), (0.7, "supported")])
def test_the_stricter_interval_contradicts_and_the_other_supports(value, state):
    narrow, wide = (estimate(value, value - reach, value + reach) for reach in (0.1, 0.3))
    assert compare(Region(0.4), narrow, narrow) != "undecided"
    assert compare(Region(0.4), narrow, wide) == state


def test_a_spread_holds_what_any_pair_may_be():
    """Against all values that its pairs' intervals allow, one by one."""
    draw = random.Random(0)
    for _ in range(200):
        pairs = []
        for _ in range(draw.randint(1, 4)):
            low, high = sorted(draw.uniform(-1, 1) for _ in range(2))
            pairs.append(estimate(draw.uniform(low, high), low, high))
        found = spread(pairs)
        ends = [[it.low, it.high] + ([0.0] if it.low < 0 < it.high else []) for it in pairs]
        possible = [max(map(abs, values)) for values in itertools.product(*ends)]
        assert (found.low, found.high) == pytest.approx((min(possible), max(possible)))
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("value", "has_to_differ_more"), [(0.5, False), (0.3, True)])
def test_the_more_is_looked_at_the_more_has_to_be_seen_to_contradict(value, has_to_differ_more):
    """Whereas to support, all has to hold at once."""
    found = estimate(value, value - 1, value + 1)
    one, many = (power(found, Region(0.4), level) for level in (0.95, 0.99))
    assert (one != many) == has_to_differ_more


def test_numbers_are_printed_with_their_signs():
    signed = " ".join(number(it, "+") for it in (3.94, -0.04, 0.04, -1.25))
    assert signed == "+3.9 +0.0 +0.0 −1.2"
    assert [number(it) for it in (-0.4, -0.04, 0.3)] == ["−0.4", "0.0", "0.3"]


# Whole studies


def one_run(study: Measurements) -> Measurements:
    """What a setting makes of rows that differ in nothing else."""
    bundles, run = [], "0" * 12
    for bundle in study.bundles:
        results = {run: next(iter(bundle.results.values()))}
        signatures = {label: [run] for label in bundle.signatures}
        bundles.append(replace(bundle, signatures=signatures, results=results))
    return Measurements(bundles)


def lost(study: Measurements, what: str, runs: Sequence[str]) -> Measurements:
    """Without the results, or the scores, of these runs."""
    bundles = []
    for bundle in study.bundles:
        kept = {name: it for name, it in getattr(bundle, what).items() if name not in runs}
        bundles.append(replace(bundle, **{what: kept}))
    return Measurements(bundles)


def without_a_record(study: Measurements) -> Measurements:
    """Of a seed that must not be passed over: it may be the worst."""
    return lost(study, "scores", study.row(claims.K7).signatures[:1])


def without_two_rows(study: Measurements) -> Measurements:
    one, other = study.row(claims.PLAIN_FCOS), study.row(claims.FCOS_WITH_ATSS)
    return lost(study, "results", one.signatures + other.signatures)


def with_one_seed(study: Measurements) -> Measurements:
    """Of one row; all others keep theirs."""
    return lost(study, "results", study.row(FEW).signatures[1:])


def of_table_9(tal: float, poto: float, without_nms: float, in_crowds: float) -> Measurements:
    """AP of some rows; of all others the paper's 39.3. in_crowds: what crowds gain more of it."""
    aps = {"TAL": tal, "PAA": 39.6, "POTO": poto, "POTO, without NMS": without_nms}
    rows = tuple(
        replace(row, paper=Metrics(ap=aps.get(row.label, 39.3))) for row in table9.TABLE.rows
    )
    study = demo_study((0, 1, 2), tables={"table9": replace(table9.TABLE, rows=rows)})
    gains = {place: in_crowds for place in table9.IN_CROWDS} | {table9.ATSS: 0}
    crowds = {
        name: made_up(name, seed, {"ap": -9.0 + gain})[1]
        for place, gain in gains.items()
        for seed, name in enumerate(study.row(place).signatures)
    }
    return replace(study, crowds=crowds)


FEW = claims.FEWER_ATSS[1]
EVERY = {place: -34.4 for claim in TRAINED for part in claim.parts for place in places(part)}
AT_2X = {"recipe": SCALES["paper-2x"], "scale": "paper-2x", "data": "COCO 2017"}
STUDIES: dict[str, Callable[[], Measurements]] = {
    "paper": made_up_study,
    "paper-one-seed": lambda: made_up_study((0,)),  # it borrows the spread of reruns
    "paper-near": lambda: made_up_study(moved={claims.FCOS: -0.4}),  # to its end: may be either
    "paper-gaps": lambda: without_two_rows(made_up_study((0, 1))),
    "paper-no-record": lambda: without_a_record(made_up_study()),
    "paper-one-run": lambda: one_run(made_up_study()),
    "paper-small-objects": lambda: made_up_study(moved={claims.WITH_ATSS: -2.0}),
    # Elsewhere only directions: FCOS is 3 AP better, not the paper's 4, but better
    "demo-less": lambda: demo_study(moved={claims.FCOS: -2.0}),
    "demo-worse": lambda: demo_study(moved={claims.FCOS: -6.0}),
    "demo-one-seed": lambda: demo_study((0,)),
    "demo-learnt-nothing": lambda: demo_study((0, 1, 2), moved=EVERY),
    # A spread knows no more of seeds than the row with the fewest
    "demo-few-seeds": lambda: with_one_seed(demo_study((0, 1))),
    "demo-few-seeds-moved": lambda: with_one_seed(demo_study((0, 1), moved={FEW: -1.0})),
    "paper-few-seeds": lambda: with_one_seed(made_up_study((0, 1, 2), moved={FEW: -2.0})),
    "paper-2x": lambda: made_up_study(tables={"table8": TABLES["table8"]}, **AT_2X),
    "nothing": lambda: Measurements(scale="mini", data="my pets"),
    # Ours, whose bound C1 is in AP points at every scale
    "table9-supported": lambda: of_table_9(40.5, 38.0, 40.0, in_crowds=2),
    "table9-contradicted": lambda: of_table_9(41.5, 40.0, 40.0, in_crowds=-2),
    "table9-no-crowds": lambda: of_table_9(40.5, 38.0, 38.0, in_crowds=0),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_stands_why_and_what_would_decide(name):
    found = judge_all(STUDIES[name](), table9.CLAIMS if "table9" in name else CLAIMS)
    told = [markdown(claims_grid(found))] if name in ("paper", "demo-one-seed") else []
    for verdict in found:
        told.append(f"{verdict.claim.name} {verdict.state}: {verdict.reason}")
        told += [f"- {it.what}: {it.ours}, {it.state}: {it.reason}" for it in verdict.findings]
    check(f"verdicts/{name}.md", "\n".join([*told, "", *deciding(found)]) + "\n")


def test_an_interval_that_would_contradict_if_it_were_the_only_one_is_explained():
    found = judge_all(demo_study((0, 1), moved={FEW: -0.35}))
    (verdict,) = (it for it in found if it.claim.name == "H15")
    assert verdict.findings[0].ours == "0.4 (0.3 to 0.6)" and verdict.state == "undecided"
    assert "a part of the interval that allows for 6 comparisons is 0 to 0.3" in verdict.reason


@pytest.mark.parametrize("claim", TRAINED, ids=lambda claim: claim.name)
def test_other_numbers_contradict(claim):
    """Its first row so much worse that the first part is more than an AP point off."""
    first, *_ = claim.parts
    moved = {places(first)[0]: -first.paper - 1.2}
    found = judge(claim, made_up_study(moved=moved))
    assert found.state == "contradicted" and found.needs == () and found.reason


@pytest.mark.parametrize("table", STUDY)
def test_a_tables_own_report_says_what_the_study_says(table):
    """Whatever tables a claim names: its rows' runs may all stand in another."""
    whole = made_up_study((0, 1, 2), moved={claims.FCOS: -0.6})
    part = Measurements([it for it in whole.bundles if it.table.name == table])
    found = [it for it in judge_all(part) if any(one.estimate for one in it.findings)]
    assert found
    for verdict in found:
        if all(one.estimate for one in verdict.findings):
            expected = judge(verdict.claim, whole)
            assert (verdict.findings, verdict.state) == (expected.findings, expected.state)


def test_only_tables_of_one_setup_are_a_study_and_each_has_its_own_scale_in_the_paper():
    one, other = made_up_study((0,)).bundles[:2]
    with pytest.raises(ValueError, match=r"one scale, data and settings, got Table 1 .* Table 2"):
        Measurements([one, replace(other, data="other", fingerprint="0" * 16)])
    study = STUDIES["paper-2x"]()
    assert study.are_as_in_paper([8]) and not study.are_as_in_paper([1, 8])


@pytest.mark.parametrize(("operations", "state"), [(200, "supported"), (201, "contradicted")])
def test_costs_are_equal_exactly_or_not_at_all(operations, state):
    """By networks of which those with ATSS have so many."""

    def cost(config):
        return 100, operations if config.assigner == "atss" else 200

    assert judge(BY_NAME["H20"], Measurements(), cost).state == state


# The command


def test_a_fresh_folder_has_the_list_and_what_each_claim_needs(atss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output, errors = atss("claims")
    assert (code, errors) == (0, "") and not list(tmp_path.iterdir())
    check("verdicts/fresh.txt", output)


def test_what_is_measured_is_judged_by_setup(atss, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", 50)
    store, (data, setup) = open_store(tmp_path / "out"), write_data(tmp_path / "pets", 12)
    mini = replace(setup, scale="mini", recipe=replace(DEMO, iterations=20))
    for row, skill in zip(TABLES["table3"].rows, (0.3, 0.9), strict=False):
        for one, seed in ((setup, 0), (setup, 1), (mini, 0)):
            finish_run(store, one, row, data, seed=seed, skill=skill)

    def told(*options: str) -> str:
        code, output, errors = atss("claims", "--out", store.root, *options)
        assert (code, errors) == (0, "")
        return output

    demo, other = told().split("The paper's claims: scale mini on pets")
    assert "The paper's claims: scale demo on pets" in demo
    assert re.search(r"· AP +\+2\.3 .*\(.* to .*\)", demo)  # ours, with its interval
    assert "*: one seed" in other and "*: one seed" not in demo
    assert "scale demo" not in told("--scale", "mini")
    assert "nothing measured on other" in told("--data", "other")
    assert told("--format", "markdown").count("\n| H9 |") == 2


def test_counted_positives_judge_their_claims(atss, tmp_path):
    folder = tmp_path / "out" / "positives" / "pets-val"
    folder.mkdir(parents=True)
    counts = frame({"IoU": [2, 20, 4, 20], "ATSS": [9, 9, 9, 9]})
    counts.to_csv(folder / "positives.csv", index=False)
    code, output, _ = atss("claims", "--out", tmp_path / "out")
    assert code == 0 and "supported: share of the candidates 0.200" in output
    assert "Counted: pets-val" in output and "atss positives" not in output
    assert "Counted" not in atss("claims", "--out", tmp_path / "out", "--data", "pet")[1]
    code, output, _ = atss(
        "claims", "--out", tmp_path / "out", "--format", "json", "--data", "pets"
    )
    counted = json.loads(output)["counted"]["pets-val"]
    assert [claim["verdict"] for claim in counted] == ["supported"] * 3 + ["undecided"]


@pytest.mark.slow
def test_counting_the_networks_decides_about_overhead(atss, tmp_path):
    code, output, errors = atss("claims", "--out", tmp_path, "--count", "--format", "json")
    assert (code, errors) == (0, "")
    (claim,) = [claim for claim in json.loads(output)["judged"][0] if claim["name"] == "H20"]
    assert claim["verdict"] == "supported"
    assert claim["parts"][0]["ours"] == "32,244,250 parameters, 429.46 GFLOPs: equal"
