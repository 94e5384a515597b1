"""`atss claims`: the paper's claims, and what is measured so far says about each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from experiments import TABLES, table9
from experiments.claims import CLAIMS, Equal, places
from orchestration import options
from orchestration.plan import setups_in
from orchestration.run_folder import DEFAULT_OUT, Store, open_store
from orchestration.terminal import clean, console, out_option, print_grid, print_json, say, warn

if TYPE_CHECKING:
    from reports.claims import Costs, Verdict
    from reports.coco_bootstrap import Scores
    from reports.measurements import Measurements
    from reports.results import Bundle

NUM_CLASSES = 80  # COCO's
SIZE = (800, 1344)  # pixels of one image, as most of COCO's are resized to and padded
PAPERS = {table.scale for table in TABLES.values()}
OF_PAPER = (
    "But for those with paper-2x these lines train at scale {scale}, where only the sign of a "
    "difference is judged. What agrees above is the paper's, for --scale paper --data coco2017 "
    "(Table 8: --scale paper-2x)."
)
OF_OURS = f"Table 9 has {len(table9.CLAIMS)} claims of its own: atss reproduce table9"
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
        studies = list(_measured(store, scale, data, lambda it: status.update(f"Intervals: {it}")))
    counted, costs = _counted(store, data), _costs() if count else {}
    # What is not known stands in one list of all, which is easier to read.
    known = [kind for kind, it in (("training", studies), ("counting", counted)) if it]
    trained = [claim for claim in CLAIMS if claim.evidence == "training"]
    left = [claim for claim in CLAIMS if claim.evidence not in known]
    blocks = [judge_all(study, trained) for study in studies]
    blocks.append(judge_all(Measurements(scale=scale or "", data=data or ""), left, costs))
    ours = [[judge(it, study) for it in table9.CLAIMS] for study in studies if study.crowds]
    blocks = [[_of_folder(it, out_option(store)) for it in each] for each in (*blocks, *ours)]
    if form == "json":
        found = {name: [*map(as_json, verdicts)] for name, verdicts in counted.items()}
        print_json({"judged": [[*map(as_json, it)] for it in blocks], "counted": found})
    else:
        _print(blocks, counted, form)
        if not studies and scale not in PAPERS:
            console.print(f"\n{OF_PAPER.format(scale=scale or 'demo')}")
        if not ours:
            say(f"\n{OF_OURS}{out_option(store)}")
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
            yield Measurements(tables, crowds=_crowds(store, tables[-1], progress))


def _crowds(
    store: Store, content: "Bundle", progress: Callable[[str], None]
) -> dict[str, "Scores"]:
    """Of Table 9's runs that a claim compares in crowds; empty while it has none of its own."""
    from detector.evaluation.match_records import load_matches
    from reports.coco_bootstrap import of_crowds

    its, found = content.signatures, {}
    rows = [its.get(place.label, []) for place in (*table9.IN_CROWDS, table9.ATSS)]
    done = [[name for name in names if name in content.scores] for names in rows]
    for name in sum(done, []) if any(done[:-1]) else ():
        progress(f"crowded images of {name}")
        matches = load_matches(store.folder(name).matches)
        found[name] = of_crowds(name, content.results[name].seed, matches)
    return found


def _counted(store: Store, data: str | None) -> dict[str, list["Verdict"]]:
    """What `atss positives` counted says, by the folders it wrote; those without ATSS say little.

    data: how the folder's name begins.
    """
    found = {}
    for path in sorted((store.root / "positives").glob(f"{data or ''}*/positives.csv")):
        import pandas as pd

        from reports.positives import claims

        try:
            found[path.parent.name] = claims(pd.read_csv(path))
        except (KeyError, ValueError) as error:
            problem = f"{path} needs the columns that atss positives writes: {error}"
            raise ValueError(problem) from error
    return {name: verdicts for name, verdicts in found.items() if len(verdicts) > 1}


def _costs() -> "Costs":
    """Of networks that claims compare: parameters, and the operations of one forward pass.

    With the paper's ResNet-50; multiplying and adding are two. Counted without computing anything:
    torch's meta device has shapes only.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from detector.detector import build_detector
    from reports.measurements import find_row

    equal = (part for claim in CLAIMS for part in claim.parts if isinstance(part, Equal))
    found = {}
    for config in {find_row(place).config for part in equal for place in places(part)}:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            detector = build_detector(config, NUM_CLASSES).eval()
            detector(torch.empty(1, 3, *SIZE))
        num_parameters = sum(one.numel() for one in detector.parameters())
        found[config] = num_parameters, counter.get_total_flops()
    return found


def _of_folder(verdict: "Verdict", option: str) -> "Verdict":
    """With lines to paste that are about this results folder."""
    needs = (need + option if need.startswith("atss ") else need for need in verdict.needs)
    return replace(verdict, needs=tuple(needs))


def _print(
    blocks: Sequence[Sequence["Verdict"]], counted: dict[str, list["Verdict"]], form: Form
) -> None:
    """Each setup's table, what would decide it, and what was counted."""
    from rich.markdown import Markdown

    from reports.claims import claims_grid, deciding

    is_markdown = form == "markdown"
    bullet, gap = ("- ", "\n") if is_markdown else ("  ", "")
    for verdicts in blocks:
        is_ours = verdicts[0].claim in table9.CLAIMS
        print_grid(claims_grid(verdicts, *(OURS, "published")[: 2 * is_ours]), form)
        if texts := deciding(verdicts):
            say("", DECIDING + gap, *(bullet + text for text in texts))
        if verdicts is not blocks[-1]:
            console.print()
    for name, verdicts in counted.items():
        from reports.positives import markdown_claims  # it waits for pandas

        text = markdown_claims(verdicts)
        say(f"\nCounted: {name}")
        console.print(f"\n{text}" if is_markdown else Markdown(clean(text)), soft_wrap=is_markdown)
