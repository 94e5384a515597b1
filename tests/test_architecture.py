"""The borders between the packages, and the sizes that keep them readable."""

import ast
import os
import subprocess
import sys
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
ONLY_IN = {"ray": "orchestration/tune.py", "mlflow": "orchestration/tracking.py"}
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


@pytest.mark.parametrize("engine", ONLY_IN)
def test_only_one_file_knows(engine):
    knowing = {
        where(path)
        for path in modules(*PACKAGES)
        if engine in {name.split(".")[0] for name in imported(path)}
    }
    assert knowing == {ONLY_IN[engine]}


def test_the_toggles_are_read_only_where_they_become_parts():
    for path in modules("detector"):
        if where(path) == "detector/config.py":
            continue
        tree = parsed(path)
        allowed = set()
        for function in functions(tree):
            if function.name == READS_CONFIG.get(where(path)):
                allowed |= {id(node) for node in ast.walk(function)}
        reads = [
            node for node in ast.walk(tree) if is_read_of_config(node) and id(node) not in allowed
        ]
        assert not reads, f"{where(path)}:{reads[0].lineno}" if reads else ""


def is_read_of_config(node):
    """config.x, self.config.x, getattr(config, ...) and the like."""
    if isinstance(node, ast.Attribute):
        owner = node.value
        name = getattr(owner, "id", None) or getattr(owner, "attr", None)
        return name in {"config", "_config", "cfg"}
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"getattr", "asdict", "vars"}:
        return any(getattr(argument, "id", "") == "config" for argument in node.args)
    return False


def test_every_toggle_is_read():
    """A field that nobody reads would promise something that does not happen."""
    from detector.config import DetectorConfig

    read = {
        node.attr
        for path in modules("detector")
        if where(path) in READS_CONFIG
        for node in ast.walk(parsed(path))
        if is_read_of_config(node) and isinstance(node, ast.Attribute)
    }
    fields = set(DetectorConfig.__dataclass_fields__)
    assert fields <= read
    assert read <= fields | {"anchors_per_location"}


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=where)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for function in functions(parsed(path)):
        assert function.end_lineno - function.lineno < LONGEST_FUNCTION, function.name


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=where)
def test_every_module_and_public_function_says_what_it_is_and_types_what_it_takes(path):
    tree = parsed(path)
    assert path.name == "__init__.py" or ast.get_docstring(tree), "module"
    for function in functions(tree):
        assert function.returns is not None, function.name
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        untyped = [one.arg for one in arguments if one.annotation is None]
        assert set(untyped) <= {"self", "cls"}, function.name
    for node in tree.body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        if is_public:
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize(
    "module", ["experiments.claims", "experiments.own_tables", "detector.config"]
)
def test_listing_the_tables_loads_no_torch(module):
    heavy = "{'torch', 'torchvision', 'numpy', 'pandas', 'matplotlib', 'ray', 'mlflow'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
