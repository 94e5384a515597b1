"""Whole studies that nobody measured: the paper's own numbers, moved where a test asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from made_up_results import scores_of

from detector.config import DetectorConfig, Recipe
from detector.metrics import HEADINGS, Metrics
from experiments import STUDY
from experiments.claims import Place
from experiments.experiment import Run, Table, signature
from experiments.schedules import PAPER
from reports.coco_bootstrap import Scores
from reports.measurements import Measurements, find_row
from reports.results import Bundle, Result

DRAWS = 200
JITTER = 0.02  # AP: from seed to seed, and of one run from one sample of images to another


def papers_numbers() -> dict[DetectorConfig, dict[str, float]]:
    """All that the paper's tables say of each detector: some print AP alone."""
    found: dict[DetectorConfig, dict[str, float]] = {}
    for table in STUDY.values():
        for row in table.rows:
            known = {name: value for name, value in asdict(row.paper).items() if value is not None}
            found.setdefault(row.config, {}).update(known)
    return found


def made_up(name: str, seed: int, numbers: Mapping[str, float]) -> tuple[Result, Scores]:
    """A run with these numbers, give or take a little by its name."""
    random = np.random.default_rng(int(name, 16))
    values = [numbers.get(metric) for metric in HEADINGS]
    moved = [None if value is None else value + random.normal(0, JITTER) for value in values]
    result = Result(signature=name, seed=seed, metrics=Metrics(*moved))
    shared = np.random.default_rng(0).normal(0, 1, (DRAWS, len(values)))  # of all runs alike
    own = random.normal(0, JITTER, (DRAWS, len(values)))
    return result, scores_of(result, shared, own, num_images=5000)


def made_up_study(
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    moved: Mapping[Place, float] | None = None,
    without: Sequence[Place] = (),
    recipe: Recipe = PAPER,
    scale: str = "paper",
    data: str = "coco2017",
    tables: Mapping[str, Table] = STUDY,
) -> Measurements:
    """The paper's numbers; moved: by so many points in all metrics; without: not measured."""
    configs = {find_row(place).config: change for place, change in (moved or {}).items()}
    left_out = {find_row(place).config for place in without}
    papers = papers_numbers()
    bundles = []
    for table in tables.values():
        signatures, results, scores = {}, {}, {}
        for row in table.rows:
            is_shared = 0 < table.number < 8
            numbers = papers.get(row.config, {}) if is_shared else asdict(row.paper)
            change = configs.get(row.config, 0)
            changed = {it: value + change for it, value in numbers.items() if value is not None}
            own = replace(recipe, **row.recipe_at(scale))
            for seed in seeds:
                name = signature(Run(row.config, own, "f" * 16, seed))
                signatures.setdefault(row.label, []).append(name)
                if row.config not in left_out:
                    results[name], scores[name] = made_up(name, seed, changed)
        command = f"atss reproduce {table.name} --scale {scale} --seeds 7"
        about = {"scale": scale, "recipe": recipe, "data": data, "fingerprint": "f" * 16}
        found = {"signatures": signatures, "results": results, "scores": scores}
        bundles.append(Bundle(table=table, command=command, **about, **found))
    return Measurements(bundles)
