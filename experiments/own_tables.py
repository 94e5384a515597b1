"""A user's own file: tables beyond the paper's, and assigners of their own.

An assigner's source is its whole file: that text is what the signature hashes and also what a trial
runs, so nothing that is left out of the one can act in the other. Installed packages stay outside,
as they do for every run; another file of the user's is refused.
"""

import ast
import inspect
import json
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.experiment import OwnAssigner, Table

PACKAGES = ("detector", "experiments", "reports", "orchestration")


def load_tables(path: Path) -> dict[str, Table]:
    """Its TABLE or TABLES by name, or the file's name; ValueError in one line where it has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no file of tables: {error}") from error
    module = _run(text, str(path), f"own_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}")
    found = getattr(module, "TABLES", None) or [getattr(module, "TABLE", None)]
    tables = list(found.values() if isinstance(found, Mapping) else found)
    if not all(isinstance(table, Table) for table in tables):
        raise ValueError(
            f"{path} needs TABLE = Table(...) of experiments.experiment, or TABLES with several"
        )
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "own"
    named: dict[str, Table] = {}
    for table in tables:
        name, line = table.name or stem, ("reproduce", str(path))
        if name in named:
            raise ValueError(f"{path.name}: two tables are called '{name}'; set name=")
        try:
            rows = tuple(replace(row, assigner=own_assigner(row.assigner)) for row in table.rows)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        named[name] = replace(table, number=0, name=name, rows=rows, line=line)
    return named


def own_assigner(
    assigner: Callable[..., Any] | OwnAssigner | None, changed: Container[str] = ()
) -> OwnAssigner | None:
    """A function as what can be stored and hashed; ValueError where its source cannot be told.

    changed: settings of its row, which must not choose another assigner instead.
    """
    if assigner and "assigner" in changed:
        raise ValueError("assigner has no effect here, because the row has one of its own")
    if assigner is None or isinstance(assigner, OwnAssigner):
        return assigner
    if not callable(assigner):
        raise ValueError(f"assigner needs a function, got {assigner!r}: ours stand in config")
    whole = partial(assigner)  # of a partial: the same once more
    function, settings = whole.func, whole.keywords
    name = getattr(function, "__name__", str(function))
    if not inspect.isfunction(function) or function.__qualname__ != name or not name.isidentifier():
        raise ValueError(
            f"assigner needs a function defined at the top of the file, or functools.partial of "
            f"one, got {name}"
        )
    try:
        json.dumps(settings)
    except TypeError as error:
        raise ValueError(f"assigner partial({name}, ...) needs plain settings: {error}") from error
    if whole.args:
        raise ValueError(f"assigner partial({name}, ...) needs its settings by name")
    return OwnAssigner(name, _source(function), settings)


def load_assigner(own: OwnAssigner) -> Callable[..., Any]:
    """The function again: (anchors: list of [A_l, 4], gt_boxes [M, 4]) -> matched [A].

    ValueError in one line where its source does not run here.
    """
    digest = own.identity["source"].removeprefix("sha256:")[:12]
    module = _run(own.source, f"<assigner {own.name}>", f"own_assigner_{digest}")
    return partial(getattr(module, own.name), **own.settings)


def _run(text: str, filename: str, name: str) -> ModuleType:
    """Execute a text as a module; what it raises becomes one line with file, line and reason.

    Not by the import system: that would leave bytecode beside the file, and take an old one for
    the new where a file is edited twice within a second.
    """
    module = ModuleType(name)
    module.__file__ = filename
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    sys.modules[name] = module  # dataclasses and pickle look for it there
    try:
        exec(compile(text, filename, "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = [frame.lineno for frame in frames if frame.filename == filename][-1]
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ModuleNotFoundError):
            reason += " (needs an installed package: what lies beside the file has no hash)"
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{filename}, line {line}: {kind}{reason}") from error
    return module


@lru_cache
def _source(function: Callable[..., Any]) -> str:
    """All of its file; ValueError where the source goes on in a file beside, which has no hash."""
    path = Path(inspect.unwrap(function).__code__.co_filename)
    text = "".join(linecache.getlines(str(path)))
    if not text:
        raise ValueError(f"assigner {function.__name__} needs its source in a file, got {path}")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        whole = [it.name for it in node.names]
        if isinstance(node, ast.ImportFrom):
            whole = ["." * node.level + (node.module or "")]
        for name in (name.split(".")[0] for name in whole):
            beside = path.absolute().parent / name
            if name not in PACKAGES and (beside.is_dir() or beside.with_suffix(".py").exists()):
                raise ValueError(
                    f"{path.name}, line {node.lineno}: an assigner needs all of its source in one "
                    "file, got an import of another beside it"
                )
    return text
