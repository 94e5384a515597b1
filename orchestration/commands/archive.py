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
from orchestration.store import DEFAULT_OUT, open_store, write_atomically
from orchestration.terminal import console, finish, warn

if TYPE_CHECKING:  # they import numpy, which help and lists need not wait for
    from reports.sealed.archive import Unsealed
    from reports.sealed.verification import Verification

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
Quick = Annotated[
    bool,
    typer.Option("--quick", help="Compute 20 of each run's 1,000 resamples again, not all."),
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
    warn(views.unreadable(store))
    found = [
        (setup, seeds)
        for setup, seeds in setups_in(store)
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where)
    ]
    from orchestration.sealing import stage
    from reports.sealed.archive import Unsealed
    from reports.sealed.verification import verify as check

    with tempfile.TemporaryDirectory() as name, console.status("Sealing") as status:
        folder = Path(name)
        if not stage(store, found, chosen, folder, status.update):
            raise ValueError(views.nothing_found(store, tables))
        digest = _seal(folder, path)
        status.update("Looking at it as atss verify will")
        looked = check(Unsealed(folder, {}, digest, ()), is_quick=True, progress=status.update)
    for problem in looked.problems:
        console.print(f"! {problem}", soft_wrap=True)
    what = f"{views.count(len(looked.tables), 'table')}, {views.count(len(looked.runs), 'run')}"
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
    from orchestration.launch import code_version
    from reports.sealed.archive import seal

    code, digests = {"code": code_version()}, list[str]()
    write_atomically(path, lambda part: digests.append(seal(folder, code, part)))
    return digests[0]


def verify(
    archives: Archives,
    digest: Digest = None,
    quick: Quick = False,
) -> None:
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
    from reports.grids.terminal import terminal
    from reports.sealed.archive import unseal
    from reports.sealed.side_by_side import side_by_side
    from reports.sealed.verification import verify as check
    from reports.sealed.verified import conclusions

    problems: list[str] = []
    found: dict[str, Verification] = {}
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as folder, console.status(path.name) as status:
            unsealed = unseal(path, Path(folder))
            if not unsealed.digest.startswith(wanted):
                finish([f"{name}: its digest is {unsealed.digest}, not {wanted}: another archive"])
            tell = partial(_tell, status, path.name)
            found[name] = check(unsealed, is_quick=quick, progress=tell)
        _show(name, unsealed, found[name], is_quick=quick)
        problems += [f"{name}: {text}" for text in conclusions(found[name])]
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


def _show(name: str, unsealed: "Unsealed", found: "Verification", *, is_quick: bool) -> None:
    """What stands and what does not, in tables and lines."""
    from orchestration.launch import code_version
    from reports.grids.terminal import terminal
    from reports.sealed.verified import absent_claims, cells_grid, claims_lines, others

    console.print(name, soft_wrap=True)
    if unsealed.manifest.get("code") != (here := code_version()):
        sealed = _shown(unsealed.manifest.get("code"))
        text = (
            f"sealed by version {sealed}, this is {_shown(here)}: pages may be worded differently"
        )
        console.print(text, soft_wrap=True)
    for table in found.tables:
        if (grid := cells_grid(table)) is not None:
            console.print()
            console.print(terminal(grid))
    console.print()
    for text in [*claims_lines(found), *absent_claims(found), *map(str, others(found))]:
        console.print(text, soft_wrap=True)
    cells = found.cells
    stands = sum(cell.stands for cell in cells)
    sample = ", 20 of each run's resamples" if is_quick else ""
    console.print(f"{stands} of {views.count(len(cells), 'cell')} stand{sample}")
    console.print(f"digest {found.digest}", soft_wrap=True)
