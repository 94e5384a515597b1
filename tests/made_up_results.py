"""Results that nobody measured, for the tests of reports: the paper's AP, halved, plus the seed."""

from collections.abc import Collection, Sequence

from detector.config import Recipe
from detector.metrics import Metrics
from experiments import TABLES
from experiments.experiment import Run, Table, signature
from experiments.own import own_assigner
from reports.bundle import Bundle
from reports.compare import Result

RECIPE = Recipe(
    backbone="small",
    norm="group_norm",
    weights="none",
    iterations=40,
    batch_size=4,
    short_side=(96, 128),
    long_side=160,
)


def metrics_of(ap: float) -> Metrics:
    """Six numbers that are all different, without any small object."""
    return Metrics(ap, ap + 10, ap + 1, None, ap + 2, ap + 4)


def make_bundle(
    table: str | Table,
    seeds: Sequence[int] = (0,),
    *,
    missing: Collection[tuple[str, int]] = (),
    scale: str = "demo",
    recipe: Recipe = RECIPE,
    data: str = "made-up",
) -> Bundle:
    """A table's runs for some seeds; missing: (row label, seed) of those without a result.

    A row without a number of the paper's gets 10, plus its index.
    """
    table = TABLES[table] if isinstance(table, str) else table
    signatures: dict[str, list[str]] = {}
    results = {}
    for index, row in enumerate(table.rows):
        for seed in seeds:
            name = signature(Run(row.config, recipe, "f" * 16, seed, own_assigner(row.assigner)))
            signatures.setdefault(row.label, []).append(name)
            if (row.label, seed) not in missing:
                ap = (row.paper.ap / 2 if row.paper.ap else 10.0 + index) + seed
                history = [
                    {"step": step, "loss/cls": 1 / step, "loss/box": 2 / step}
                    | ({"AP": ap * step / 40} if step % 20 == 0 else {})
                    for step in range(2, 41, 2)
                ]
                results[name] = Result(
                    signature=name,
                    seed=seed,
                    metrics=metrics_of(ap),
                    history=history,
                    seconds=90.0,
                    facts={"device": "cpu"},
                )
    return Bundle(
        table=table,
        scale=scale,
        recipe=recipe,
        data=data,
        fingerprint="f" * 16,
        signatures=signatures,
        results=results,
        command=f"atss run {table.name} --scale {scale}",
    )
