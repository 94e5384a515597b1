"""`atss claims`: the paper's claims, and what is measured so far says about each."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from detector.config import DetectorConfig
from experiments import TABLES, table9
from experiments.claims import CLAIMS, Evidence, Place, places
from orchestration import options
from orchestration.commands.positives import print_counted
from orchestration.plan import setups_in
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.terminal import console, out_option, warn

if TYPE_CHECKING:
    from reports.claims import Costs, Verdict
    from reports.coco_bootstrap import Scores
    from reports.measurements import Measurements
    from reports.render import Grid
    from reports.results import Bundle

FORMATS = ("text", "markdown", "json")
NUM_CLASSES = 80  # COCO's
SIZE = (800, 1344)  # pixels of one image, as most of COCO's are resized to and padded
PAPERS = {table.scale for table in TABLES.values()}
OF_PAPER = (
    "These lines train at scale {scale}, where only the sign of a difference is judged. What "
    "agrees above is the paper's, for --scale paper --data coco2017 (Table 8: --scale paper-2x)."
)
DECIDING = "What would decide the undecided:"
OURS = "Claims of ours, written down before their runs"

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
    from reports.claims import judge
    from reports.measurements import Measurements

    store = open_store(out)
    if not store.root.is_dir() and (store.root.exists() or out != DEFAULT_OUT):
        store.require_there()
    with console.status("Intervals") as status:
        measured = list(_measured(store, scale, data, lambda it: status.update(f"Intervals: {it}")))
    counted = _counted(store, data)
    nothing = Measurements(scale=scale or "", data=data or "")
    others = _judged("building", Measurements(), _costs() if count else {})
    others += [] if counted else _judged("counting", Measurements())
    if measured:
        blocks = [*(_judged("training", study) for study in measured), others]
    else:  # one list of all is easier to read
        blocks = [[*_judged("training", nothing), *others]]
    blocks += [
        [judge(claim, study) for claim in table9.CLAIMS] for study in measured if study.crowds
    ]
    blocks = [_in_order(verdicts, out_option(store)) for verdicts in blocks]
    {"text": _print, "markdown": _print_markdown, "json": _print_json}[form](blocks, counted)
    if form != "json" and not measured and scale not in PAPERS:
        console.print(f"\n{OF_PAPER.format(scale=scale or 'demo')}")
    warn(store.unreadable())


def _measured(
    store: Store, scale: str | None, data: str | None, progress: Callable[[str], None]
) -> Iterator["Measurements"]:
    """What is measured, setup by setup, of this scale and data if one is asked for."""
    from reports.measurements import Measurements

    for setup, seeds in setups_in(store):
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where):
            from orchestration.results import bundle  # it waits for pandas

            wanted = (*TABLES.values(), table9.TABLE)
            tables = [bundle(store, setup, table, seeds, progress) for table in wanted]
            if any(table.results for table in tables):
                yield Measurements(tables, crowds=_crowds(store, tables[-1], progress))


def _crowds(
    store: Store, content: "Bundle", progress: Callable[[str], None]
) -> dict[str, "Scores"]:
    """Of Table 9's runs that a claim compares in crowds; empty while it has none of its own."""
    from detector.evaluation.match_records import load_matches
    from reports.coco_bootstrap import of_crowds

    def done(place: Place) -> list[str]:
        return [it for it in content.signatures.get(place.label, ()) if it in content.scores]

    own = [name for place in table9.IN_CROWDS for name in done(place)]
    found = {}
    for name in (*own, *done(table9.ATSS)) if own else ():
        progress(f"crowded images of {name}")
        matches = load_matches(store.folder(name).matches)
        found[name] = of_crowds(name, content.results[name].seed, matches)
    return found


def _judged(
    evidence: Evidence, study: "Measurements", costs: "Costs | None" = None
) -> list["Verdict"]:
    """The verdicts on the claims that need this evidence."""
    from reports.claims import judge_all

    return judge_all(study, [claim for claim in CLAIMS if claim.evidence == evidence], costs)


def _counted(store: Store, data: str | None) -> dict[str, list["Verdict"]]:
    """What `atss positives` counted says, by the folders it wrote; those without ATSS say little.

    data: how the folder's name begins.
    """
    found = {}
    for path in sorted((store.root / "positives").glob(f"{data or ''}*/positives.csv")):
        import pandas as pd

        from reports.positives import claims

        try:
            verdicts = claims(pd.read_csv(path))
        except (KeyError, ValueError) as error:
            problem = f"{path} needs the columns that atss positives writes: {error}"
            raise ValueError(problem) from error
        if len(verdicts) > 1:
            found[path.parent.name] = verdicts
    return found


def _costs() -> "Costs":
    """What the networks cost that claims compare, with the paper's ResNet-50."""
    from reports.measurements import find_row

    parts = (part for claim in CLAIMS if claim.evidence == "building" for part in claim.parts)
    configs = {find_row(place).config for part in parts for place in places(part)}
    return {config: _cost(config) for config in configs}


def _cost(config: DetectorConfig) -> tuple[int, int]:
    """Parameters, and the operations of one forward pass (multiplying and adding are two).

    Counted without computing anything: torch's meta device has shapes only.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from detector.detector import build_detector

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        detector = build_detector(config, NUM_CLASSES).eval()
        detector(torch.empty(1, 3, *SIZE))
    return sum(one.numel() for one in detector.parameters()), counter.get_total_flops()


def _in_order(verdicts: Sequence["Verdict"], option: str) -> list["Verdict"]:
    """As the paper has them, with lines to paste that are about this results folder."""
    order = [*CLAIMS, *table9.CLAIMS]
    ordered = sorted(verdicts, key=lambda verdict: order.index(verdict.claim))
    return [
        replace(it, needs=tuple(n + option if n.startswith("atss ") else n for n in it.needs))
        for it in ordered
    ]


def _grid(verdicts: Sequence["Verdict"]) -> "Grid":
    from reports.claims import claims_grid

    if verdicts[0].claim in table9.CLAIMS:
        return claims_grid(verdicts, OURS, "published")
    return claims_grid(verdicts)


def _print(blocks: Sequence[Sequence["Verdict"]], counted: dict[str, list["Verdict"]]) -> None:
    from reports.claims import deciding
    from reports.render import terminal

    for verdicts in blocks:
        console.print(terminal(_grid(verdicts)))
        if open_questions := deciding(verdicts):
            console.print(f"\n{DECIDING}")
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
    from reports.claims import deciding
    from reports.positives import markdown_claims
    from reports.render import markdown

    for verdicts in blocks:
        print(markdown(_grid(verdicts)))
        if open_questions := deciding(verdicts):
            print(f"{DECIDING}\n", *(f"- {text}" for text in open_questions), sep="\n", end="\n\n")
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
