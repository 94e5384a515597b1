"""What a reader of an archive sees without this tool: its tables, its claims, and what it is."""

import json
from collections.abc import Iterator, Mapping, Sequence

from experiments.claims import CLAIMS
from reports.bundle import Bundle
from reports.claims import as_json, claims_grid, deciding
from reports.effects import effects_grids
from reports.gains import changes_grid, gains_grid
from reports.grids.grid import markdown
from reports.sealed.runs import SealedRun
from reports.study import Study
from reports.tables import paper_grid, runs_grid
from reports.verdicts import Verdict, judge

TRAINED = tuple(claim for claim in CLAIMS if claim.evidence == "training")
README = """Sealed results of the ATSS suite

This archive holds the numbers of the tables below, and all that they rest on but images and
weights. Every table and verdict in it can be made again from the runs' match records:

    atss verify ARCHIVE

says for each cell whether it stands; it needs no data set and no GPU. Without the tool, the files
are plain text, JSON, and NumPy arrays; manifest.json has the sha256 of each, and the digest of the
whole. The digest proves that an archive is the one whose digest was published, and no more: who
makes up an archive can seal that, too.

{tables}

{runs}

A run's folder, named by the signature of all that can move its number:

    run.json        detector, schedule, seed, data set, code and versions
    result.json     the six numbers of COCO's evaluation, in percent, and what they took
    matches.npz     every detection: its image, class, score, and whether it is right (1), wrong (0)
                    or ignored (2) for 4 area ranges x 10 IoUs; and every object to be found
    history.jsonl   the losses and tests of the training
    insight.json    precision and recall, classes and errors, where they were told
    warnings.json   what looked wrong while it was trained
"""


def texts(tables: Mapping[str, Bundle], runs: Mapping[str, SealedRun]) -> dict[str, str]:
    """Member -> content of all that is made of bundles. tables: "tables/demo-shapes/table2" -> it.

    Keys come in the order of the tables.
    """
    pages = {f"{where}.md": page(bundle) for where, bundle in tables.items()}
    found = dict(pages)
    for setup, verdicts in setups(tables).items():
        needs = "".join(f"- {need}\n" for need in deciding(verdicts))
        found[f"claims/{setup}.md"] = markdown(claims_grid(verdicts)) + "\n" + needs
        content = [as_json(verdict) for verdict in verdicts]
        found[f"claims/{setup}.json"] = json.dumps(content, indent=1) + "\n"
    listed = "\n".join(f"    {name}\n        {_about(tables[name[:-3]])}" for name in pages)
    data = "\n".join(dict.fromkeys(_data(run) for run in runs.values()))
    found["README.txt"] = README.format(tables=f"Tables\n\n{listed}", runs=f"Data sets\n\n{data}")
    return found


def page(bundle: Bundle) -> str:
    """A table as the report's Markdown has it, with the runs behind it."""
    comparison = bundle.comparison
    grids = [paper_grid(bundle), gains_grid(comparison), *changes_grid(comparison)]
    grids += [*effects_grids(comparison), runs_grid(bundle)]
    return "\n".join(map(markdown, grids))


def setups(tables: Mapping[str, Bundle]) -> dict[str, list[Verdict]]:
    """What the tables of each setup say about the claims that they are about."""
    by_setup: dict[str, list[Bundle]] = {}
    for where, bundle in tables.items():
        by_setup.setdefault(where.split("/")[1], []).append(bundle)
    found = {name: list(_judged(Study(bundles))) for name, bundles in by_setup.items()}
    return {name: verdicts for name, verdicts in found.items() if verdicts}


def _judged(study: Study) -> Iterator[Verdict]:
    numbers = {bundle.table.number for bundle in study.bundles}
    return (judge(claim, study) for claim in TRAINED if numbers & set(claim.tables))


def _about(bundle: Bundle) -> str:
    changed = ", ".join(bundle.settings)
    setup = f"scale {bundle.scale} on {bundle.data}" + (f", changed: {changed}" if changed else "")
    return f"{bundle.table.heading}; {len(bundle.results)} runs; {setup}"


def _data(run: SealedRun) -> str:
    data = run.facts.get("data") or {}
    images, classes = data.get("images") or {}, data.get("classes") or []
    return (
        f"    {data.get('name')}: {images.get('train')} images to learn, {images.get('val')} to "
        f"test; {len(classes)} classes ({_listed(classes)})\n"
        f"        fingerprint {data.get('fingerprint')}"
    )


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(map(str, classes))
