"""`atss export`, `atss verify`: results sealed in one file, and whether they stand."""

import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table as Grid
from rich.text import Text

from detector.metrics import HEADINGS
from orchestration import options
from orchestration.json_files import write_atomically
from orchestration.options import argument, option
from orchestration.plan import find_tables, setups_in
from orchestration.progress import count
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, finish, nothing_found, warn
from reports.numbers import number

if TYPE_CHECKING:  # they import numpy, which help and lists need not wait for
    from orchestration.archive import Verification

ENDING = ".sealed.zip"
MARKS = {True: " ✓", False: " ✗", None: ""}  # whether something stands
LEAST_DIGITS = 12  # of a digest: with fewer somebody could find another archive of it
To = Annotated[str | None, option(f"The archive.  [default: TABLE{ENDING}]", metavar="FILE")]
Archives = Annotated[list[str], argument("ARCHIVE...", "What atss export wrote.")]
DIGEST = "The digest that was published for the archive, or its first 12 digits or more."
Digest = Annotated[str | None, option(DIGEST, metavar="HEX")]


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
    path = _destination(to, [it.name for it in chosen] if len(chosen) == 1 else tables)
    store.require_there()
    warn(store.unreadable())
    found = setups_in(store, scale, data)
    from orchestration.archive import stage
    from orchestration.archive import verify as check
    from orchestration.provenance import code_version
    from reports.archive import seal, unseal

    with tempfile.TemporaryDirectory() as name, console.status("Sealing") as status:
        num_tables = stage(store, found, chosen, Path(name), status.update)
        if not num_tables:
            raise ValueError(nothing_found(store, tables, data))
        num_runs = len(list(Path(name).glob("runs/*")))
        about = {"code": code_version()}
        write_atomically(path, lambda part: seal(Path(name), about, part))
    with tempfile.TemporaryDirectory() as name, console.status("Looking at it") as status:
        unsealed = unseal(path, Path(name))
        told = check(unsealed, status.update)
    for problem in told.problems:
        console.print(f"! {problem}", soft_wrap=True)
    what = f"{count(num_tables, 'table')}, {count(num_runs, 'run')}"
    console.print(f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    console.print(f"digest {unsealed.digest}", soft_wrap=True)


def _destination(to: str | None, names: Sequence[str]) -> Path:
    """Where the archive goes; ValueError for what must not be overwritten."""
    name = Path(names[0]).stem if len(names) == 1 else "tables"
    path = Path(to or f"{name}{ENDING}").expanduser()
    if path.is_dir() or (path.exists() and not zipfile.is_zipfile(path)):
        raise ValueError(f"--to {path}: needs a new file or an archive, this is neither")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--to {path}: there is no folder {path.absolute().parent}")
    return path


def verify(archives: Archives, digest: Digest = None) -> None:
    """Say of each cell and claim of an archive whether it stands, and why not.

    Everything is made again of the runs' match records: numbers, intervals, verdicts, pages.

    Examples:

    - `atss verify table2.sealed.zip --digest 3f2a...`
    - `atss verify ours.zip theirs.zip`

    Exit codes: 0 all stand, 1 something does not, 2 not an archive.
    """
    wanted, paths = _wanted(digest, archives), {name: _archive(name) for name in archives}
    from orchestration.archive import verify as check
    from reports.archive import unseal

    problems: list[str] = []
    for name, path in paths.items():
        with tempfile.TemporaryDirectory() as folder, console.status(path.name) as status:
            unsealed = unseal(path, Path(folder))
            if not unsealed.digest.startswith(wanted):
                finish([f"{name}: its digest is {unsealed.digest}, not {wanted}: another archive"])
            found = check(unsealed, status.update)
        console.print(name, soft_wrap=True)
        problems += [f"{name}: {text}" for text in _show(unsealed.manifest.get("code"), found)]
        console.print(f"digest {unsealed.digest}", soft_wrap=True)
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


def _show(code: Any, found: "Verification") -> list[str]:
    """Print what stands and what does not; in a line, if so, how much does not."""
    from orchestration.provenance import code_version

    if code != code_version():
        console.print("sealed by other code than this: pages may be worded otherwise")
    for where, content in found.tables.items():
        title = f"{content.table.heading} ({where})"
        grid = Grid("Run", title=title, box=None, pad_edge=False, title_justify="left")
        for metric in content.table.metrics:
            grid.add_column(HEADINGS[metric], justify="right")
        for row in content.rows:
            label, cells = row.row.label, list[str]()
            for metric in content.table.metrics:
                mark = MARKS[found.cells.get((where, label, HEADINGS[metric]))]
                cells.append(f"{number(row.metrics[metric].ours)}{mark}")
            grid.add_row(Text(label), *cells)
        console.print("", grid, "")
    for (slug, claim), (verdict, stands) in found.claims.items():
        console.print(f"{slug}: {claim} {verdict}{MARKS[stands]}", soft_wrap=True)
    for problem in found.problems:
        console.print(f"!  {problem}", soft_wrap=True)
    stand = sum(found.cells.values())
    console.print(f"{stand} of {count(len(found.cells), 'cell')} stand")
    claims = [stands for _, stands in found.claims.values()]
    wrong = [
        f"{stand.count(False)} of {len(stand)} {noun}s"
        for noun, stand in (("cell", [*found.cells.values()]), ("claim", claims))
        if not all(stand)
    ]
    if wrong:
        return [f"{' and '.join(wrong)} do not stand"]
    return [f"not as it was sealed: {found.problems[0]}"] if found.problems else []
