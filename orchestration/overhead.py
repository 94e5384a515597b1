"""What networks cost, counted without computing anything: torch's meta device has shapes only."""

from collections.abc import Iterable

from detector.config import DetectorConfig
from experiments.claim import Claim, Equal, places
from reports.study import find_row
from reports.verdicts import Cost

NUM_CLASSES = 80  # COCO's
SIZE = (800, 1344)  # pixels of one image, as most of COCO's are resized to and padded


def costs(claims: Iterable[Claim]) -> dict[DetectorConfig, Cost]:
    """What the networks cost that these claims compare, with the paper's ResNet-50."""
    parts = [part for claim in claims for part in claim.parts if isinstance(part, Equal)]
    rows = [find_row(place) for part in parts for place in places(part)]
    return {row.config: cost(row.config) for row in rows if row is not None}


def cost(config: DetectorConfig) -> Cost:
    """Parameters, and the operations of one forward pass (multiplying and adding are two)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from detector.detector import build_detector

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        detector = build_detector(config, NUM_CLASSES).eval()
        detector(torch.empty(1, 3, *SIZE))
    return Cost(sum(one.numel() for one in detector.parameters()), counter.get_total_flops())
