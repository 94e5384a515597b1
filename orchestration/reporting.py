"""A setup's folder of reports: what has changed is written anew, and its pages form a site.

<out>/reports/index.html               above several setups
<out>/reports/<setup>/<table>.html     and the table's other files
<out>/reports/<setup>/index.html       with claims.html, for several tables
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from experiments import TABLES
from experiments.experiment import Table
from orchestration.gallery import bring_gallery
from orchestration.plan import Setup, setups_in
from orchestration.positives import POSITIVES, slug
from orchestration.run_folder import Store
from reports.bundle import Bundle, load_bundle, save_bundle

REPORTS = "reports"
ENDINGS = (".html", ".ipynb", ".md", ".tex", ".csv")  # what a report consists of, the page first
INDEX = "index.html"

Progress = Callable[[str], None]


def reports_folder(store: Store, setup: Setup) -> Path:
    """Where the reports of a setup are."""
    return store.root / REPORTS / setup.slug


def write_reports(
    bundles: Sequence[Bundle], store: Store, setup: Setup, progress: Progress, *, is_forced: bool
) -> list[str]:
    """Write the reports whose content has changed, or all by force, and the site; what failed.

    The site is made for several tables, and kept up to date once it is there.
    """
    folder = reports_folder(store, setup)
    stale = [one for one in bundles if is_forced or not _is_current(one, folder)]
    for content in stale:
        _bring_positives(store, setup, content.table, folder)
        bring_gallery(content, setup, store.folder, folder)
    problems = [_write_report(content, folder, progress) for content in stale]
    if len(bundles) > 1 or (folder / INDEX).is_file():
        file = _counted(store, setup, []) / "positives.csv"
        counts = file if file.is_file() else None
        progress("Site")
        problems.append(_write_site(bundles, folder, counts))
        _write_top(store)
    return [problem for problem in problems if problem]


def _write_report(content: Bundle, folder: Path, progress: Progress) -> str:
    """Write one table's files; what failed, if anything."""
    from reports.notebook import (  # seconds of imports, often not needed
        NotebookError,
        write_report,
    )

    name = content.table.name
    try:
        write_report(content, folder, lambda text: progress(f"Report of {name}: {text}"))
    except (NotebookError, OSError) as error:  # a cell that fails, a full disk
        return f"the report of {name} failed: {error}"
    return ""


def _write_site(bundles: Sequence[Bundle], folder: Path, counts: Path | None) -> str:
    """Write the pages about all tables of the folder; what failed, if anything."""
    from reports.measurements import Measurements
    from reports.site import write_site

    try:
        write_site(Measurements(with_others(bundles, folder)), folder, counts)
    except (OSError, ValueError) as error:
        return f"the pages about all tables failed: {error}"
    return ""


def with_others(bundles: Sequence[Bundle], folder: Path) -> list[Bundle]:
    """These bundles and those of the folder's other tables, the paper's tables first."""
    found = {content.table.name: content for content in bundles}
    for file in sorted(folder.glob("*.json")):
        if file.stem not in found and file.with_suffix(".html").is_file():
            with suppress(ValueError):  # another version's
                found[file.stem] = load_bundle(file)
    order = [*TABLES, *sorted(found.keys() - TABLES.keys())]
    return [found[name] for name in order if name in found]


def _write_top(store: Store) -> None:
    """The index above all setups that have a site, where there are several."""
    from reports.site import write_top

    setups = {setup.slug: setup.name for setup, _ in setups_in(store)}
    folder = store.root / REPORTS
    there = {slug: name for slug, name in setups.items() if (folder / slug / INDEX).is_file()}
    if len(there) > 1:
        with suppress(OSError):  # the setups' own pages have told of a full disk
            write_top(there, folder)


def _is_current(content: Bundle, folder: Path) -> bool:
    """Whether all files are there, and made from the same numbers."""
    paths = [folder / f"{content.table.name}{ending}" for ending in (".json", *ENDINGS)]
    if not all(path.is_file() for path in paths):
        return False
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "fresh.json"
        save_bundle(content, fresh)
        is_same = fresh.read_bytes() == paths[0].read_bytes()
    return is_same and paths[1].stat().st_mtime >= paths[0].stat().st_mtime


def _bring_positives(store: Store, setup: Setup, table: Table, folder: Path) -> None:
    """Copy the figures of `atss positives`: of the table's selections, else of the paper's five."""
    counted = [_counted(store, setup, asked) for asked in ([table.name], [])]
    found = next((one for one in counted if one.is_dir()), None)
    if found is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(found.glob("positives-by-*.svg")):
            shutil.copyfile(file, folder / f"{table.name}-{file.name}")


def _counted(store: Store, setup: Setup, asked: Sequence[str]) -> Path:
    """Where `atss positives` has written what it counted on a setup's test images."""
    return store.root / POSITIVES / slug(f"{setup.data} val", asked)
