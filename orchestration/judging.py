"""What a results folder says about the paper's claims: its runs by setup, and its counts."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from detector.config import DetectorConfig
from experiments import TABLES
from experiments.claim import Claim, Equal, places
from experiments.claims import CLAIMS
from orchestration.plan import setups_in
from orchestration.run_folder import Store

if TYPE_CHECKING:  # they import numpy and pandas, which lists need not wait for
    from reports.study import Study
    from reports.verdicts import Cost, Verdict

NUM_CLASSES = 80  # COCO's
SIZE = (800, 1344)  # pixels of one image, as most of COCO's are resized to and padded

Progress = Callable[[str], None]


def studies(store: Store, scale: str | None, data: str | None, progress: Progress) -> list["Study"]:
    """What is measured, setup by setup, of this scale and data if one is asked for."""
    from orchestration.results import bundle
    from reports.study import Study

    found = []
    for setup, seeds in setups_in(store):
        if scale in (None, setup.scale) and data in (None, setup.data, setup.where):
            tables = [bundle(store, setup, table, seeds, progress) for table in TABLES.values()]
            found.append(Study(tables))
    return [study for study in found if study.is_measured]


def of_training(study: "Study") -> list["Verdict"]:
    """What the runs of a study say."""
    from reports.verdicts import judge_all

    return judge_all(study, [claim for claim in CLAIMS if claim.evidence == "training"])


def of_counts(store: Store, data: str | None) -> dict[str, list["Verdict"]]:
    """What `atss positives` counted says, by the folders it wrote; those without ATSS say little.

    data: how the folder's name begins.
    """
    found = {}
    for path in sorted((store.root / "positives").glob("*/positives.csv")):
        if path.parent.name.startswith(data or ""):
            import pandas as pd

            from reports.positives.fairness import claims

            try:
                verdicts = claims(pd.read_csv(path))
            except (KeyError, ValueError) as error:
                problem = f"{path} needs the columns that atss positives writes: {error}"
                raise ValueError(problem) from error
            if len(verdicts) > 1:
                found[path.parent.name] = verdicts
    return found


def of_building(*, is_to_count: bool) -> list["Verdict"]:
    """What ATSS costs; undecided unless the networks are to be built."""
    from reports.study import Study
    from reports.verdicts import judge

    chosen = [claim for claim in CLAIMS if claim.evidence == "building"]
    built = costs(chosen) if is_to_count else {}
    return [judge(claim, Study(), built) for claim in chosen]


def not_counted() -> list["Verdict"]:
    """The claims about counts where nothing is counted."""
    from reports.study import Study
    from reports.verdicts import judge

    return [judge(claim, Study()) for claim in CLAIMS if claim.evidence == "counting"]


def costs(claims: Iterable[Claim]) -> dict[DetectorConfig, "Cost"]:
    """What the networks cost that these claims compare, with the paper's ResNet-50."""
    from reports.study import find_row

    parts = [part for claim in claims for part in claim.parts if isinstance(part, Equal)]
    rows = [find_row(place) for part in parts for place in places(part)]
    return {row.config: cost(row.config) for row in rows if row is not None}


def cost(config: DetectorConfig) -> "Cost":
    """Parameters, and the operations of one forward pass (multiplying and adding are two).

    Counted without computing anything: torch's meta device has shapes only.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from detector.detector import build_detector
    from reports.verdicts import Cost

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        detector = build_detector(config, NUM_CLASSES).eval()
        detector(torch.empty(1, 3, *SIZE))
    return Cost(sum(one.numel() for one in detector.parameters()), counter.get_total_flops())
