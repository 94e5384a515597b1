"""Trains what a table still lacks: the plan, Ray's trials, MLflow's records, the `atss` command."""

import sys
from importlib.util import find_spec
from pathlib import Path

for _name in ("detector", "experiments", "reports"):
    _found = Path((_spec := find_spec(_name)) and _spec.origin or "")
    if _found.parent.parent != Path(__file__).parents[1]:
        print(f"atss: {_found} hides our package {_name}: take it off PYTHONPATH", file=sys.stderr)
        sys.exit(2)
