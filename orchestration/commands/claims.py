"""`atss claims`: the paper's claims, and what is measured so far says about each."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from detector.config import DetectorConfig
from experiments import TABLES, table9
from experiments.claims import CLAIMS
from orchestration import options
from orchestration.plan import setups_in
from orchestration.run_folder import DEFAULT_OUT, POSITIVES, Store, open_store
from orchestration.terminal import clean, console, out_option, print_grid, print_json, say, warn

if TYPE_CHECKING:  # they import numpy and pandas, which help need not wait for
    from reports.claims import Verdict
    from reports.coco_bootstrap import Scores
    from reports.measurements import Measurements
    from reports.results import Bundle

NUM_CLASSES = 80  # COCO's
SIZE = (800, 1344)  # pixels of one image, as most of COCO's are resized to and padded
DECIDING = "What would decide the undecided:"
OURS = "Claims of ours, written down before their runs"

Form = Annotated[
    Literal["text", "markdown", "json"], options.option("Of what is printed.", "--format")
]
COUNT = "Build the networks that ATSS must not make larger, and count (H20)."


def claims(
    scale: options.OnlyScale = None,
    data: options.OnlyData = None,
    out: options.Out = DEFAULT_OUT,
    form: Form = "text",
    count: Annotated[bool, options.option(COUNT, "--count")] = False,
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
    from reports.claims import as_json, judge, judge_all
    from reports.measurements import Measurements

    store = open_store(out)
    if not store.root.is_dir() and (store.root.exists() or out != DEFAULT_OUT):
        store.require_there()
    with console.status("Intervals") as status:
        studies = list(_measured(store, scale, data, status.update))
    counted = _counted(store, data)
    # What is not known stands in one list of all, which is easier to read.
    known = [kind for kind, it in (("training", studies), ("counting", counted)) if it]
    trained = [claim for claim in CLAIMS if claim.evidence == "training"]
    left = [claim for claim in CLAIMS if claim.evidence not in known]
    blocks = [judge_all(study, trained) for study in studies]
    nothing = Measurements(scale=scale or "", data=data or "")
    blocks.append(judge_all(nothing, left, _cost if count else None))
    blocks += [[judge(it, study) for it in table9.CLAIMS] for study in studies if study.crowds]
    blocks = [[_of_folder(it, out_option(store)) for it in each] for each in blocks]
    if form == "json":
        found = {name: [*map(as_json, verdicts)] for name, verdicts in counted.items()}
        print_json({"judged": [[*map(as_json, it)] for it in blocks], "counted": found})
    else:
        _print(blocks, counted, is_markdown=form == "markdown")
    warn(store.unreadable())


def _measured(
    store: Store, scale: str | None, data: str | None, progress: Callable[[str], None]
) -> Iterator["Measurements"]:
    """What is measured, setup by setup, of this scale and data if one is asked for."""
    from reports.measurements import Measurements

    for setup, seeds in setups_in(store, scale, data):
        from orchestration.results import bundle  # it waits for pandas

        wanted = (*TABLES.values(), table9.TABLE)
        tables = [bundle(store, setup, table, seeds, progress) for table in wanted]
        if any(table.results for table in tables):
            yield Measurements(tables, crowds=_crowds(store, tables[-1]))


def _crowds(store: Store, content: "Bundle") -> dict[str, "Scores"]:
    """Of Table 9's runs that a claim compares in crowds; empty while it has none of its own."""
    from detector.evaluation.match_records import load_matches
    from reports.coco_bootstrap import of_crowds

    known, its = content.scores, content.signatures
    own, atss = (
        [name for place in places for name in its.get(place.label, []) if name in known]
        for places in (table9.IN_CROWDS, [table9.ATSS])
    )
    return {
        name: of_crowds(known[name], load_matches(store.folder(name).matches))
        for name in (own + atss if own else ())
    }


def _counted(store: Store, data: str | None) -> dict[str, list["Verdict"]]:
    """What `atss positives` counted says, by the folders it wrote; those without ATSS say little.

    data: of these images alone.
    """
    found = {}
    for path in sorted((store.root / POSITIVES).glob("*/positives.csv")):
        if data and not re.match(f"{re.escape(data)}-(train|val)", path.parent.name):
            continue
        import pandas as pd

        from reports.positives import claims

        found[path.parent.name] = claims(pd.read_csv(path))
    return {name: verdicts for name, verdicts in found.items() if len(verdicts) > 1}


def _cost(config: DetectorConfig) -> tuple[int, int]:
    """Of a network, with the paper's ResNet-50: parameters, and operations of one forward pass.

    Multiplying and adding are two. Counted without computing anything: torch's meta device has
    shapes only.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from detector.detector import build_detector

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        detector = build_detector(config, NUM_CLASSES).eval()
        detector(torch.empty(1, 3, *SIZE))
    return sum(it.numel() for it in detector.parameters()), counter.get_total_flops()


def _of_folder(verdict: "Verdict", option: str) -> "Verdict":
    """With lines to paste that are about this results folder."""
    needs = (need + option if need.startswith("atss ") else need for need in verdict.needs)
    return replace(verdict, needs=tuple(needs))


def _print(
    blocks: Sequence[Sequence["Verdict"]],
    counted: dict[str, list["Verdict"]],
    *,
    is_markdown: bool,
) -> None:
    """Each setup's table, what would decide it, and what was counted."""
    from rich.markdown import Markdown

    from reports.claims import claims_grid, deciding

    bullet, gap = ("- ", "\n") if is_markdown else ("  ", "")
    for verdicts in blocks:
        is_ours = verdicts[0].claim in table9.CLAIMS
        grid = claims_grid(verdicts, *(OURS, "published")[: 2 * is_ours])
        print_grid(grid, "markdown" if is_markdown else "text")
        if texts := deciding(verdicts):
            say("", DECIDING + gap, *(bullet + text for text in texts))
        if verdicts is not blocks[-1]:
            console.print()
    for name, verdicts in counted.items():
        from reports.positives import markdown_claims  # it waits for pandas

        text = markdown_claims(verdicts)
        say(f"\nCounted: {name}")
        console.print(f"\n{text}" if is_markdown else Markdown(clean(text)), soft_wrap=is_markdown)
