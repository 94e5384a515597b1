"""`atss export`, `atss verify`: results sealed in one file, and whether they stand."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from orchestration import options
from orchestration.json_files import write_atomically
from orchestration.options import argument, option
from orchestration.plan import find_tables, setups_in
from orchestration.progress import count
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, finish, nothing_found, say, warn
from reports.render import terminal

ENDING = ".sealed.zip"
DIGEST = "The digest that was published for the archive, or its first 12 digits or more."
To = Annotated[str | None, option(f"The archive.  [default: TABLE{ENDING}]", metavar="FILE")]
Archive = Annotated[str, argument("ARCHIVE", "What atss export wrote.")]
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
    warn(store.require_there().unreadable())
    found = setups_in(store, scale, data)
    from orchestration import archive
    from orchestration.provenance import code_version
    from reports.archive import seal

    with TemporaryDirectory() as name, console.status("Sealing") as status:
        num_tables = archive.stage(store, found, chosen, Path(name), status.update)
        if not num_tables:
            raise ValueError(nothing_found(store, tables, data))
        num_runs = len(list(Path(name).glob("runs/*")))
        write_atomically(path, lambda part: seal(Path(name), code_version(), part))
        sealed = archive.verify(path, status.update)
    say(*(f"! {problem}" for problem in sealed.problems))
    what = f"{count(num_tables, 'table')}, {count(num_runs, 'run')}"
    say(f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB", f"digest {sealed.digest}")


def _destination(to: str | None, names: Sequence[str]) -> Path:
    """Where the archive goes; ValueError for what must not be overwritten."""
    name = Path(names[0]).stem if len(names) == 1 else "tables"
    path = Path(to or f"{name}{ENDING}").expanduser()
    if path.is_dir() or (path.exists() and not zipfile.is_zipfile(path)):
        raise ValueError(f"--to {path}: needs a new file or an archive, this is neither")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--to {path}: there is no folder {path.absolute().parent}")
    return path


def verify(file: Archive, digest: Digest = None) -> None:
    """Say how many cells and claims of an archive stand, and which do not and why.

    Everything is made again of the runs' match records: numbers, intervals, verdicts, pages.

    Example: `atss verify table2.sealed.zip --digest 3f2a...`

    Exit codes: 0 all stand, 1 something does not, 2 not an archive.
    """
    wanted = (digest or "").strip().lower()
    if digest is not None and not re.fullmatch("[0-9a-f]{12,64}", wanted):
        needed = "the 64 hex digits that atss export printed, or at least the first 12"
        raise ValueError(f"--digest '{digest}': needs {needed}: fewer could be another archive's")
    from orchestration import archive
    from orchestration.provenance import code_version
    from reports.tables import paper_grid

    path = Path(file).expanduser()
    with console.status(path.name) as status:
        found = archive.verify(path, status.update, wanted)
    if not found.digest.startswith(wanted):
        finish([f"{path}: its digest is {found.digest}, not {wanted}: another archive"])
    if found.code != code_version():
        say("sealed by other code than this: pages may be worded otherwise")
    for content in found.tables.values():
        console.print("", terminal(paper_grid(content)))
    say(*(f"!  {problem}" for problem in found.problems))
    for page, (num_standing, num) in found.pages.items():
        if noun := {".csv": "cell", ".jsonl": "claim"}.get(Path(page).suffix):
            say(f"{page}: {num_standing} of {count(num, noun)} stand")
    say(f"digest {found.digest}")
    what = count(len(found.problems), "problem")
    finish([f"{path}: {what}, the first: {it}" for it in found.problems[:1]])
