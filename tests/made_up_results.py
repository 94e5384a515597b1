"""Results that nobody measured, for the tests of reports.

A bundle has the paper's AP, halved, plus the seed; a study the paper's own numbers.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS, Metrics
from experiments import STUDY, TABLES
from experiments.experiment import Row, Run, signature
from experiments.own_tables import own_assigner
from experiments.schedules import PAPER
from experiments.settings import with_settings
from reports.breakdown import ERRORS, SPECIAL, ClassInsight, ImageInsight, Insight, Share
from reports.coco_bootstrap import Scores
from reports.measurements import Measurements, find_row
from reports.positives import LEVELS
from reports.results import Bundle, Result

KINDS = (*ERRORS, *SPECIAL)
SMALL = {"backbone": "small", "norm": "group_norm", "weights": "none", "batch_size": 4}
RECIPE = Recipe(**SMALL, iterations=40, short_side=(96, 128), long_side=160)
SHARED = np.random.default_rng(0).normal(0, 1, (200, 6))  # what 200 draws do to all runs alike


def metrics_of(ap: float) -> Metrics:
    """Six numbers that are all different, without any small object."""
    return Metrics(ap, ap + 10, ap + 1, None, ap + 2, ap + 4)


def make_bundle(table, seeds=(0,), *, missing=(), scale="demo", recipe=RECIPE, data="made-up"):
    """A bundle of a table, or of a name's; missing: (row label, seed) of runs without a result.

    A row without a number of the paper's gets 10, plus its index.
    """
    table = TABLES[table] if isinstance(table, str) else table
    signatures: dict[str, list[str]] = {}
    results = {}
    for index, row in enumerate(table.rows):
        for seed in seeds:
            config, schedule = with_settings(row.config, recipe, row.recipe)
            name = signature(Run(config, schedule, "f" * 16, seed, own_assigner(row.assigner)))
            signatures.setdefault(row.label, []).append(name)
            if (row.label, seed) not in missing:
                ap = row.paper.ap / 2 if row.paper.ap else 10.0 + index
                about = {"seconds": 90.0, "facts": {"device": "cpu"}}
                metrics = metrics_of(ap + seed)
                results[name] = Result(signature=name, seed=seed, metrics=metrics, **about)
    command = f"atss run {table.name} --scale {scale}"
    about = {"scale": scale, "recipe": recipe, "data": data, "fingerprint": "f" * 16}
    return Bundle(table=table, signatures=signatures, results=results, command=command, **about)


def scores_of(run: Result, own: np.ndarray, num_images: int = 1000) -> Scores:
    """A run's numbers under resampled images; own: what these do to this one alone."""
    centers = np.array([getattr(run.metrics, name) for name in HEADINGS], dtype=float)
    draws = centers + SHARED + own
    return Scores(run.signature, run.seed, run.metrics, draws, "f" * 64, num_images)


def with_scores(bundle: Bundle, *, noise: float = 0.5) -> Bundle:
    """The bundle with draws for its results."""
    scores = {}
    for number, (name, result) in enumerate(bundle.results.items(), start=1):
        own = np.random.default_rng(number).normal(0, noise, SHARED.shape)
        scores[name] = scores_of(result, own)
    return replace(bundle, scores=scores)


def with_insights(bundle: Bundle) -> Bundle:
    """The bundle with curves, errors, two classes and two images for each of its results."""
    insights = {}
    for number, (name, result) in enumerate(bundle.results.items()):
        ap = result.metrics.ap
        curve = tuple(round(max(0.0, 2.5 * ap - recall), 2) for recall in range(101))
        insights[name] = Insight(
            precision={"ap": curve, "ap50": curve[:50] + (0.0,) * 51, "ap75": curve},
            classes=(ClassInsight(1, "disc", 5), ClassInsight(2, "<b>", 0)),
            errors={kind: Share(10 * i + number, i + ap / 10) for i, kind in enumerate(KINDS)},
            threshold=0.5,
            images=(ImageInsight(7, 80.0, 4, 1, 0), ImageInsight(9, None, 0, 0, 2)),
        )
    return replace(bundle, insights=insights)


# Whole studies

JITTER = 0.02  # AP: from seed to seed, and of one run from one sample of images to another


def papers_numbers() -> dict[DetectorConfig, dict[str, float]]:
    """All that the paper's tables say of each detector: some print AP alone."""
    found: dict[DetectorConfig, dict[str, float]] = {}
    for row in (row for table in STUDY.values() for row in table.rows):
        found.setdefault(row.config, {}).update(known_numbers(row))
    return found


def known_numbers(row: Row) -> dict[str, float]:
    """Those of the paper."""
    return {name: value for name, value in asdict(row.paper).items() if value is not None}


def made_up(name: str, seed: int, numbers: Mapping[str, float]) -> tuple[Result, Scores]:
    """A run with these numbers, give or take a little by its name."""
    random = np.random.default_rng(int(name, 16))
    values = [numbers.get(metric) for metric in HEADINGS]
    moved = [None if value is None else value + random.normal(0, JITTER) for value in values]
    result = Result(signature=name, seed=seed, metrics=Metrics(*moved))
    own = random.normal(0, JITTER, SHARED.shape)
    return result, scores_of(result, own, num_images=5000)


def made_up_study(
    seeds=range(5), *, moved=None, scale="paper", recipe=PAPER, data="coco2017", tables=STUDY
) -> Measurements:
    """The paper's numbers; moved: by so many points in all metrics."""
    configs = {find_row(place).config: change for place, change in (moved or {}).items()}
    papers, bundles = papers_numbers(), []
    for table in tables.values():
        bundle = make_bundle(table, seeds, scale=scale, recipe=recipe, data=data)
        results, scores = {}, {}
        for row in table.rows:
            is_shared = 0 < table.number < 8
            numbers = papers[row.config] if is_shared else known_numbers(row)
            change = configs.get(row.config, 0)
            changed = {metric: value + change for metric, value in numbers.items()}
            for name, seed in zip(bundle.signatures[row.label], seeds, strict=True):
                results[name], scores[name] = made_up(name, seed, changed)
        command = f"atss reproduce {table.name} --scale {scale} --seeds 7"
        bundles.append(replace(bundle, results=results, scores=scores, command=command))
    return Measurements(bundles)


# Positives that nobody counted

CANDIDATES = {"candidates": 45, "above_threshold": 10, "threshold": 0.5}


def frame(positives: dict[str, list[int]], **columns: list) -> pd.DataFrame:
    """Objects of two sizes as positives.csv has them; candidates where a name begins with ATSS."""
    parts = []
    for name, counts in positives.items():
        half = len(counts) // 2
        part = {
            "selection": name,
            "size": ["small", "large"] * half,
            "relative_size": [2.0, 50.0] * half,
            "aspect_ratio": [1.0, 3.0] * half,
            "x": [0.5, 0.1] * half,
            "y": [0.5, 0.9] * half,
            "positives": counts,
            "lost": [0, 1] * half,
            **{level: counts if level == "P4" else 0 for level in LEVELS},
            **(CANDIDATES if name.startswith("ATSS") else dict.fromkeys(CANDIDATES)),
        }
        parts.append(pd.DataFrame(part | columns))
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(CANDIDATES, float))
