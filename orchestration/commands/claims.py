"""`atss claims`: the paper's claims, and what is measured so far says about each."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status

from experiments import TABLES
from experiments.claims import CLAIMS
from orchestration import judging, options, views
from orchestration.positives import print_counted
from orchestration.run_folder import DEFAULT_OUT, open_store
from orchestration.terminal import console, out_option, warn

if TYPE_CHECKING:
    from reports.verdicts import Verdict

FORMATS = ("text", "markdown", "json")
PAPERS = {table.scale for table in TABLES.values()}
OF_PAPER = (
    "These lines train at scale {scale}, where only the sign of a difference is judged. What "
    "agrees above is the paper's, for --scale paper --data coco2017 (Table 8: --scale paper-2x)."
)

Form = Annotated[
    str, typer.Option("--format", metavar="|".join(FORMATS), help="Of what is printed.")
]
Count = Annotated[
    bool,
    typer.Option(
        "--count", help="Build the networks that ATSS must not make larger, and count (H20)."
    ),
]


def claims(
    scale: options.OnlyScale = None,
    data: options.OnlyData = None,
    out: options.Out = DEFAULT_OUT,
    form: Form = "text",
    count: Count = False,
) -> None:
    """List the paper's claims with a verdict on each: supported, contradicted or undecided.

    A verdict is about an interval, never about a number alone. Below it stands what would decide
    the undecided: the line that trains the rows that are missing, more seeds, more images. Results
    of different setups (scale, settings, data) are judged apart; the paper's tolerances hold for
    runs as in the paper, elsewhere only directions are judged.

    Examples:

    - `atss claims`
    - `atss claims --scale paper --data coco2017 --format markdown`
    - `atss claims --count`
    """
    if form not in FORMATS:
        raise ValueError(f"--format needs one of {', '.join(FORMATS)}, got '{form}'")
    store = open_store(out)
    if not store.root.is_dir() and (store.root.exists() or out != DEFAULT_OUT):
        store.require_there()
    with console.status("Intervals") as shown:
        measured = judging.studies(store, scale, data, partial(_tell, shown))
    counted = judging.of_counts(store, data)
    others = judging.of_building(is_to_count=count)
    others += [] if counted else judging.not_counted()
    if measured:
        blocks = [*map(judging.of_training, measured), sorted(others, key=_order)]
    else:  # one list of all is easier to read
        blocks = [sorted([*_unmeasured(scale, data), *others], key=_order)]
    blocks = [[_for_folder(verdict, out_option(store)) for verdict in block] for block in blocks]
    {"text": _print, "markdown": _print_markdown, "json": _print_json}[form](blocks, counted)
    if form != "json" and not measured and scale not in PAPERS:
        console.print(f"\n{OF_PAPER.format(scale=scale or 'demo')}")
    warn(views.unreadable(store))


def _for_folder(verdict: "Verdict", option: str) -> "Verdict":
    """With lines to paste that are about this results folder."""
    needs = (need + option if need.startswith("atss ") else need for need in verdict.needs)
    return replace(verdict, needs=tuple(needs))


def _unmeasured(scale: str | None, data: str | None) -> list["Verdict"]:
    from reports.study import Study

    return judging.of_training(Study(scale=scale or "", data=data or ""))


def _order(verdict: "Verdict") -> int:
    return CLAIMS.index(verdict.claim)


def _tell(status: Status, text: str) -> None:
    status.update(f"Intervals: {text}")


def _print(blocks: Sequence[Sequence["Verdict"]], counted: dict[str, list["Verdict"]]) -> None:
    from reports.claims import claims_grid, deciding
    from reports.terminal import terminal

    for verdicts in blocks:
        console.print(terminal(claims_grid(verdicts)))
        if open_questions := deciding(verdicts):
            console.print("\nWhat would decide the undecided:")
        for text in open_questions:
            console.print(f"  {text}", soft_wrap=True)
        if verdicts is not blocks[-1]:
            console.print()
    for name, verdicts in counted.items():
        console.print(f"\nCounted: {name}", soft_wrap=True)
        print_counted(verdicts)


def _print_markdown(
    blocks: Sequence[Sequence["Verdict"]], counted: dict[str, list["Verdict"]]
) -> None:
    from reports.claims import claims_grid, deciding
    from reports.positives.fairness import markdown_claims
    from reports.render import markdown

    for verdicts in blocks:
        print(markdown(claims_grid(verdicts)))
        if open_questions := deciding(verdicts):
            print("\n".join(["What would decide the undecided:", ""]))
            print("\n".join(f"- {text}" for text in open_questions), end="\n\n")
    for name, verdicts in counted.items():
        print(f"Counted: {name}\n\n{markdown_claims(verdicts)}")


def _print_json(blocks: Sequence[Sequence["Verdict"]], counted: dict[str, list["Verdict"]]) -> None:
    from reports.claims import as_json
    from reports.numbers import finite

    content = {
        "judged": [list(map(as_json, verdicts)) for verdicts in blocks],
        "counted": {name: list(map(as_json, verdicts)) for name, verdicts in counted.items()},
    }
    print(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False))
