"""What MLflow's records say, in its terms: every param and tag is text."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RowRecord:
    """A row of a table with one seed, as MLflow shows it."""

    name: str  # "01 RetinaNet (#A=1) - seed 0"
    order: int  # its place in the paper's table, from 0
    signature: str
    toggles: dict[str, Any]
    metrics: dict[str, float]  # AP first: the compare page starts with the first one


def tags_of(facts: dict[str, Any]) -> dict[str, str]:
    """What a training is searched by: setup, rows, seed, code and machine."""
    groups = {"code": facts["code"], "environment": facts["environment"]}
    nested = {
        f"{group}.{name}": text for group, known in groups.items() for name, text in known.items()
    }
    return texts({"setup": facts["setup"]["name"], "seed": facts["seed"], **nested}) | {
        "rows": "; ".join(facts["rows"])
    }


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Params and tags are text: true rather than True, "8.0, 10.1" rather than a tuple."""

    def write(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return ", ".join(map(write, value))
        return value if isinstance(value, str) else json.dumps(value)

    return {name: write(value) for name, value in values.items()}
