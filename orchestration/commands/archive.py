"""`atss export`, `atss verify`: results sealed in one file, and whether they stand."""

import re
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status

from experiments.experiment import Table
from orchestration import options, views
from orchestration.plan import find_tables, setups_in
from orchestration.run_folder import DEFAULT_OUT, open_store, write_atomically
from orchestration.terminal import console, finish, warn

if TYPE_CHECKING:  # they import numpy, which help and lists need not wait for
    from orchestration.verifying import Verification
    from reports.archive import Unsealed

ENDING = ".sealed.zip"
LEAST_DIGITS = 12  # of a digest: with fewer somebody could find another archive of it
To = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help=f"The archive.  [default: TABLE{ENDING}]", show_default=False
    ),
]
Archives = Annotated[
    list[str], typer.Argument(metavar="ARCHIVE...", help="What atss export wrote.")
]
Digest = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        help="The digest that was published for the archive, or its first 12 digits or more.",
        show_default=False,
    ),
]


def export(
    tables: options.TableNames,
    out: options.Out = DEFAULT_OUT,
    scale: options.OnlyScale = None,
    data: options.OnlyData = None,
    to: To = None,
) -> None:
    """Seal results in one file that anybody can check: atss verify needs no data and no GPU.

    It holds tables and claims to be read, and of every run the resolved config, its numbers, the
    match records that they follow from, and versions; no images, no weights, no paths. Publish the
    digest that is printed with the paper: it tells the archive from any other.

    Examples:

    - `atss export table2`
    - `atss export all --scale paper --to atss-study.zip`
    """
    chosen, store = find_tables(tables), open_store(out)
    path = _destination(to, tables, chosen)
    store.require_there()
    warn(store.unreadable())
    found = [
        (setup, seeds)
        for setup, seeds in setups_in(store)
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where)
    ]
    from orchestration.sealing import stage

    with tempfile.TemporaryDirectory() as name, console.status("Sealing") as status:
        num_tables = stage(store, found, chosen, Path(name), status.update)
        if not num_tables:
            raise ValueError(views.nothing_found(store, tables))
        num_runs = len(list(Path(name).glob("runs/*")))
        digest = _seal(Path(name), path)
    with tempfile.TemporaryDirectory() as name, console.status("Looking at it") as status:
        from orchestration.verifying import verify as check
        from reports.archive import unseal

        for problem in check(unseal(path, Path(name)), status.update).problems:
            console.print(f"! {problem}", soft_wrap=True)
    what = f"{views.count(num_tables, 'table')}, {views.count(num_runs, 'run')}"
    console.print(f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    console.print(f"digest {digest}", soft_wrap=True)


def _destination(to: str | None, names: Sequence[str], tables: Sequence[Table]) -> Path:
    """Where the archive goes; ValueError for what must not be overwritten."""
    several = Path(names[0]).stem if len(names) == 1 else "tables"
    name = tables[0].name if len(tables) == 1 else several
    path = Path(to or f"{name}{ENDING}").expanduser()
    if path.is_dir() or (path.exists() and not zipfile.is_zipfile(path)):
        raise ValueError(f"--to {path}: needs a new file or an archive, this is neither")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--to {path}: there is no folder {path.absolute().parent}")
    return path


def _seal(folder: Path, path: Path) -> str:
    from orchestration.provenance import code_version
    from reports.archive import seal

    code, digests = {"code": code_version()}, list[str]()
    write_atomically(path, lambda part: digests.append(seal(folder, code, part)))
    return digests[0]


def verify(archives: Archives, digest: Digest = None) -> None:
    """Say of each cell and claim of an archive whether it stands, and why not.

    Everything is made again of the runs' match records: numbers, intervals, verdicts, pages. With
    several archives their tables are then shown side by side, with every difference of data,
    schedule, evaluation and versions below.

    Examples:

    - `atss verify table2.sealed.zip --digest 3f2a...`
    - `atss verify ours.zip theirs.zip`

    Exit codes: 0 all stand, 1 something does not, 2 not an archive.
    """
    wanted, paths = _wanted(digest, archives), {name: _archive(name) for name in archives}
    from orchestration.verifying import side_by_side
    from orchestration.verifying import verify as check
    from reports.archive import unseal
    from reports.render import terminal

    problems: list[str] = []
    found: dict[str, Verification] = {}
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as folder, console.status(path.name) as status:
            unsealed = unseal(path, Path(folder))
            if not unsealed.digest.startswith(wanted):
                finish([f"{name}: its digest is {unsealed.digest}, not {wanted}: another archive"])
            found[name] = check(unsealed, partial(_tell, status, path.name))
        problems += [f"{name}: {text}" for text in _show(name, unsealed, found[name])]
    for grid in side_by_side(found) if len(found) > 1 else []:
        console.print()
        console.print(terminal(grid))
    finish(problems)


def _wanted(digest: str | None, archives: Sequence[str]) -> str:
    """How the digest has to begin; ValueError for so little that another's could, too."""
    if digest is None:
        return ""
    if len(archives) > 1:
        raise ValueError(f"--digest is of one archive, got {len(archives)}")
    wanted = digest.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{LEAST_DIGITS},64}}", wanted):
        raise ValueError(
            f"--digest '{digest}': needs the 64 hex digits that atss export printed, or at least "
            f"the first {LEAST_DIGITS}"
        )
    return wanted


def _archive(name: str) -> Path:
    """Where it is; ValueError where there is no file."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; needs a file that atss export wrote of one")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; needs an archive of atss export")
    return path


def _tell(status: Status, name: str, text: str) -> None:
    status.update(f"{name}: {text}")


def _shown(code: Any) -> str:
    its = code if isinstance(code, dict) else {}
    return f"{its.get('version')} ({str(its.get('commit'))[:12]}, {its.get('tree')})"


def _show(name: str, unsealed: "Unsealed", found: "Verification") -> list[str]:
    """Print what stands and what does not, in tables and lines; returns how much does not."""
    from orchestration.provenance import code_version
    from orchestration.verifying import FAILS, STANDS, checked_grid
    from reports.render import terminal

    console.print(name, soft_wrap=True)
    if unsealed.manifest.get("code") != (here := code_version()):
        sealed = _shown(unsealed.manifest.get("code"))
        text = f"sealed by version {sealed}, this is {_shown(here)}: pages may be worded otherwise"
        console.print(text, soft_wrap=True)
    for where, content in found.tables.items():
        console.print()
        console.print(terminal(checked_grid(where, content, found.cells)))
    console.print()
    for where in dict.fromkeys(claim.where for claim in found.claims):
        told = ", ".join(
            f"{claim.name} {claim.value} {FAILS if claim.problems else STANDS}"
            for claim in found.claims
            if claim.where == where
        )
        console.print(f"Claims, {Path(where).name}: {told}", soft_wrap=True)
    of_cells = {problem for cell in found.cells for problem in cell.problems}
    for problem in (problem for problem in found.problems if problem not in of_cells):
        console.print(f"{FAILS} {problem}", soft_wrap=True)
    stands = [not cell.problems for cell in found.cells]
    console.print(f"{sum(stands)} of {views.count(len(stands), 'cell')} stand")
    console.print(f"digest {found.digest}", soft_wrap=True)
    wrong = [
        f"{sum(bool(it.problems) for it in checked)} of {len(checked)} {noun}s"
        for noun, checked in (("cell", found.cells), ("claim", found.claims))
        if any(it.problems for it in checked)
    ]
    if not wrong and found.problems:
        return [f"not as it was sealed: {found.problems[0]}"]
    return [f"{' and '.join(wrong)} do not stand"] if wrong else []
