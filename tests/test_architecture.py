"""The borders between the packages, and the sizes that keep them readable.

What ruff and mypy see they are asked for (pyproject.toml): that one file each knows Ray and MLflow,
that modules, classes and public functions have docstrings, and all functions types.
"""

import ast
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("detector", "experiments", "reports", "orchestration")
FORBIDDEN = {
    "detector": {"experiments", "reports", "orchestration", "ray", "mlflow"},
    "experiments": {"reports", "orchestration", "ray", "mlflow", "torch", "torchvision"},
    "reports": {"orchestration", "ray", "mlflow", "torch", "torchvision"},
    "orchestration": set(),
}
TORCH_FREE = {
    "detector.config",
    "detector.evaluation.errors",
    "detector.evaluation.match_records",
    "detector.metrics",
}
READS_CONFIG = {"detector/assigners.py": "build_assigner", "detector/detector.py": "build_detector"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 50


def modules(*packages):
    return [
        path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if "notebooks" not in path.parts
    ]


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Every module that the file imports, in whatever place: "ray.tune", "detector.config" ..."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module in PACKAGES else {node.module}
    return found


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def where(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrow_and_tables_and_reports_need_no_torch(package):
    assert modules(package)
    for path in modules(package):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & FORBIDDEN[package], where(path)
        if package in ("experiments", "reports"):
            ours = {name for name in names if name.split(".")[0] == "detector"}
            assert ours <= TORCH_FREE, where(path)


def reads_of_config(node):
    """Fields of config.x, self.config.x and the like."""
    attributes = [it for it in ast.walk(node) if isinstance(it, ast.Attribute)]
    owners = {"config", "_config", "cfg"}
    return sorted(it.attr for it in attributes if ast.unparse(it.value).split(".")[-1] in owners)


def test_every_toggle_is_read_and_only_where_it_becomes_a_part():
    """A field that nobody reads would promise something that does not happen."""
    from detector.config import DetectorConfig

    read, fields = set(), set(DetectorConfig.__dataclass_fields__)
    for path in modules("detector"):
        tree = parsed(path)
        builders = [it for it in functions(tree) if it.name == READS_CONFIG.get(where(path))]
        built = sorted(chain(*map(reads_of_config, builders)))
        if where(path) != "detector/config.py":
            assert reads_of_config(tree) == built, where(path)
        read |= set(built)
    assert fields <= read <= fields | {"anchors_per_location"}


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=where)
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for function in functions(parsed(path)):
        assert function.end_lineno - function.lineno < LONGEST_FUNCTION, function.name
